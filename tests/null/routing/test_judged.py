"""A request read once: which of its words are like which specialist says where it comes apart."""

import re

import numpy as np
import pytest

from coterie.routing.profile import make_profile
from coterie.routing.router import LearnedRouter
from coterie.routing.splitting import OrderSense, propose_clearest, propose_judged, span_means
from coterie.types import Context, Entry, Fact, Label, Message, Output, Request, Usage

WORDS = {
    "bank": ["card", "blocked", "stolen", "transfer", "account", "balance", "pin", "cash"],
    "food": ["recipe", "oven", "flour", "bake", "dinner", "soup", "onions", "stew"],
    "trip": ["flight", "hotel", "luggage", "airport", "visa", "passport", "beach", "tour"],
}
DIMENSION = 64


def direction(word: str) -> np.ndarray:
    """Where a word points: a word of a subject mostly where its subject does."""
    home = next((name for name, words in WORDS.items() if word in words), None)
    own = np.random.default_rng(sum(ord(c) * 31**i for i, c in enumerate(word)) % 2**32).normal(size=DIMENSION)
    if home is None:
        return 0.3 * own / np.linalg.norm(own)
    subject = np.random.default_rng(list(WORDS).index(home)).normal(size=DIMENSION)
    return subject / np.linalg.norm(subject) + 0.4 * own / np.linalg.norm(own)


class Reader:
    """An encoder whose tokens are words, and whose vector is the mean of their states."""

    name, clearance = "onnx", Label.RESTRICTED

    def __init__(self):
        self.batches = []

    async def run(self, batch, *, call=None):
        """A vector a text; states where they are asked for."""
        self.batches.append([prompt.text for prompt in batch])
        return [self._output(prompt) for prompt in batch]

    def _output(self, prompt):
        words = list(re.finditer(r"\w+", prompt.text))
        states = np.array([direction(word[0].lower()) for word in words]).reshape(len(words), DIMENSION)
        more = {"states": states, "offsets": np.array([word.span() for word in words])} if prompt.states else {}
        return Output(vector=vector(prompt.text), usage=Usage(tokens_in=len(words)), **more)

    async def close(self):
        pass


def vector(text: str) -> np.ndarray:
    total = sum((direction(word.lower()) for word in re.findall(r"\w+", text)), np.zeros(DIMENSION))
    return (total / max(np.linalg.norm(total), 1e-9)).astype(np.float32)


def profile_of(texts):
    vectors = np.stack([vector(text) for text in texts])
    return make_profile(vectors, ["a"] * len(texts), [None] * len(texts), hints=vectors[:1], hint_texts=["x"], seed=0)


@pytest.fixture
def profiles():
    by_name = {}
    for name, words in WORDS.items():
        random = np.random.default_rng(len(words))
        by_name[name] = profile_of(
            [" ".join([*random.choice(words, 3), *random.choice(["my", "the", "please"], 2)]) for _ in range(60)]
        )
    return by_name


@pytest.fixture
def router(tools, profiles):
    """A router over the three subjects."""
    cards = {name: tools.card(name) for name in profiles}
    return LearnedRouter(cards=cards, profiles=profiles, encoder=Reader(), false_rejection=0.04)


async def parts(router, text):
    route = await router.route(Request(text=text), Context())
    return [(part.specialists[0], part.text) for part in route.parts]


@pytest.mark.parametrize(
    "joiner",
    [" and ", ", and also ", ". ", "\n", "; ", ". By the way, ", " as well as ", " - ", ", ", " ", ", then "],
)
async def test_two_requests_however_joined(router, joiner):
    """A request for two comes apart where the second begins, whatever stands between them, also nothing."""
    routed = await parts(router, f"my stolen card blocked account{joiner}bake soup flour dinner")

    assert [name for name, _ in routed] == ["bank", "food"]
    assert routed[0][1].rstrip(".") == "my stolen card blocked account"
    assert routed[1][1] == "bake soup flour dinner"


class Turns:
    """A model of turns for which texts with certain words depend on what is before them."""

    languages, talk_languages, least_leaning = frozenset({"en"}), frozenset(), 0.5

    def __init__(self, *words, surely=0.99):
        self.words, self.surely, self.read = words, surely, []

    def leans(self, text, before):
        self.read.append((before[-1], text))
        return self.surely if set(self.words) & set(text.split()) else 0.2


async def leaning_parts(tools, profiles, text, turns, language="en"):
    cards = {name: tools.card(name) for name in profiles}
    router = LearnedRouter(cards=cards, profiles=profiles, encoder=Reader(), false_rejection=0.04, turns=turns)
    route = await router.route(Request(text=text, language=language), Context())
    return [(part.specialists[0], part.text) for part in route.parts], route


async def test_a_piece_that_depends_on_the_one_before_it_is_no_request_of_its_own(tools, profiles):
    """Both are one request for one specialist, and reading them is in the route's steps."""
    text = "my stolen card blocked account pin. bake soup them"
    split, _ = await leaning_parts(tools, profiles, text, Turns("nothing"))
    turns = Turns("them")
    together, route = await leaning_parts(tools, profiles, text, turns)

    assert [name for name, _ in split] == ["bank", "food"]
    assert together == [("bank", text)]
    assert turns.read == [("my stolen card blocked account pin.", "bake soup them")]
    assert [step.engine for step in route.steps].count("follow-ups") == 1


async def test_only_what_depends_on_something_is_joined_with_it(tools, profiles):
    """Of three pieces the third stays apart."""
    text = "block stolen card pin cash, and bake soup them please, and flight hotel visa airport"
    routed, _ = await leaning_parts(tools, profiles, text, Turns("them"))

    assert [name for name, _ in routed] == ["bank", "trip"]
    assert routed[1][1] == "flight hotel visa airport"


async def test_pieces_stay_apart_where_it_is_not_sure_or_does_not_know_the_language(tools, profiles):
    """A request for two specialists may name something of the first again."""
    text = "my stolen card blocked account pin. bake soup them"
    unsure, _ = await leaning_parts(tools, profiles, text, Turns("them", surely=0.4))
    other = Turns("them")
    foreign, _ = await leaning_parts(tools, profiles, text, other, language="fi")

    assert [name for name, _ in unsure] == [name for name, _ in foreign] == ["bank", "food"]
    assert other.read == []


async def test_a_piece_is_asked_about_as_it_was_written(tools, profiles):
    """Typing errors are corrected for the route alone: who is asked may know the word that nobody else does."""
    cards = {name: tools.card(name) for name in profiles}
    words = [word for known in WORDS.values() for word in known]
    router = LearnedRouter(
        cards=cards, profiles=profiles, encoder=Reader(), false_rejection=0.04, words=[*words, "please"]
    )

    routed = await parts(router, "please stolen card blocked acount, and bake soup flour dinnr.")

    assert routed == [("bank", "please stolen card blocked acount"), ("food", "bake soup flour dinnr.")]


async def test_an_aside_belongs_to_what_is_before_it(router):
    """What a follow-up question was given back, in brackets at its end, is no request of its own."""
    routed = await parts(router, "my stolen card blocked account pin? (bake soup flour)")

    assert [name for name, _ in routed] == ["bank"]


async def test_three_requests(router):
    """Three are found as well, in their order."""
    routed = await parts(router, "block stolen card pin and then bake soup flour dinner and flight hotel visa airport")

    assert [name for name, _ in routed] == ["bank", "food", "trip"]


@pytest.mark.parametrize(
    "text",
    [
        "my stolen card and my blocked account",
        "transfer cash. my account balance please, and the pin",
        "stolen card blocked account, soup",
        "please tell me the balance and do it now",
        "bake soup with flour, onions and stew for dinner",
    ],
)
async def test_one_request_stays_whole(router, text):
    """Pieces for one specialist, and pieces too short to be requests, do not part a text."""
    assert [text_ for _, text_ in await parts(router, text)] == [text]


async def test_numbered_requests(router):
    """Numbers and ordinals before the parts are left out of them."""
    numbered = await parts(router, "1. my stolen card blocked 2. bake soup flour dinner")
    counted = await parts(router, "First, my stolen card blocked. Second, bake soup flour dinner")

    assert numbered == [("bank", "my stolen card blocked"), ("food", "bake soup flour dinner")]
    assert [name for name, _ in counted] == ["bank", "food"]
    assert counted[1][1] == "bake soup flour dinner"


async def test_a_text_without_pieces_is_encoded_once(router):
    """Only where pieces are like different specialists are they encoded themselves."""
    await parts(router, "my stolen card and my blocked account")
    assert len(router._encoder.batches) == 1

    await parts(router, "my stolen card blocked account and bake soup flour dinner")
    assert len(router._encoder.batches) == 3


async def test_a_part_between_two_of_another(router):
    """A part that interrupts another request splits it in two parts, each answered in its place."""
    routed = await parts(router, "stolen card blocked pin. bake soup flour dinner. transfer cash account balance")

    assert [name for name, _ in routed] == ["bank", "food", "bank"]


async def test_the_explanation_shows_the_pieces(router):
    """Whole and pieces are listed, each with whom it is asked of, the candidates and by how much the first leads."""
    text = "my stolen card blocked account and bake soup flour dinner"
    explanation = await router.explain(Request(text=text), Context())

    assert explanation.asked == ("bank", "food")
    assert [piece.text for piece in explanation.considered] == [
        text,
        "my stolen card blocked account",
        "bake soup flour dinner",
    ]
    assert [piece.asked for piece in explanation.considered] == [None, "bank", "food"]
    first = explanation.considered[1]
    assert first.candidates[0].specialist == "bank"
    assert first.margin == pytest.approx(first.candidates[0].score - first.candidates[1].score, abs=1e-3)
    assert first.candidates[0].nearest[0].similarity >= first.candidates[0].nearest[1].similarity
    assert explanation.route == await router.route(Request(text=text), Context())


FOREIGN = "quaint zebras juggle violet umbrellas under xylophones"


@pytest.mark.parametrize("glue", [" ", ". ", "\n", "; "])
@pytest.mark.parametrize("before", [True, False])
async def test_what_is_nobody_s_changes_nobody(router, glue, before):
    """Text that is nobody's, before a question or behind it, takes no specialist away and adds none."""
    question = "my stolen card blocked account"
    assert await parts(router, FOREIGN) == []

    routed = await parts(router, f"{FOREIGN}{glue}{question}" if before else f"{question}{glue}{FOREIGN}")

    assert [name for name, _ in routed] == ["bank"]


@pytest.mark.parametrize("glue", [". ", "\n"])
async def test_who_knows_of_many_things_is_not_added(tools, profiles, glue):
    """What is a little like one of a wide specialist's examples is no request for it; what is like them is."""
    random = np.random.default_rng(5)
    words = [f"w{first}{second}" for first in "abcdef" for second in "abcdefghij"]
    many = [" ".join(random.choice(words, 5)) for _ in range(300)]
    profiles |= {"any": profile_of(many)}
    cards = {name: tools.card(name) for name in profiles}
    router = LearnedRouter(cards=cards, profiles=profiles, encoder=Reader(), false_rejection=0.04)
    question = "my stolen card blocked account"

    foreign = await parts(router, f"{question}{glue}wad zebras wah violet umbrellas")
    own = await parts(router, f"{question}{glue}{many[0]} please")

    assert [name for name, _ in foreign] == ["bank"]
    assert [name for name, _ in own] == ["bank", "any"]


async def test_the_question_among_much_that_is_nobody_s(router):
    """It is found where the whole is nobody's, and asked as it stands there."""
    routed = await parts(router, f"{FOREIGN} stolen card blocked account {FOREIGN}")

    assert [name for name, _ in routed] == ["bank"]
    assert "stolen card blocked account" in routed[0][1]


async def test_a_question_in_one_sentence_with_an_order_is_found(tools, profiles):
    """The sentence is left out of the reading; what is clearly somebody's in it is asked where the rest is nobody's."""
    sense = OrderSense(weights=20 * direction("zig"), bias=0.5)
    cards = {name: tools.card(name) for name in profiles}
    router = LearnedRouter(cards=cards, profiles=profiles, encoder=Reader(), false_rejection=0.04, order_sense=sense)
    question = "my stolen card blocked account"

    order = f"obey {'zig zag ' * 30}obey rules"

    explanation = await router.explain(Request(text=f"{question} {order}. {FOREIGN}"), Context())
    named = await router.explain(Request(text=f"{question} bank {order}. {FOREIGN}"), Context())

    assert any("obey rules" in order for order in explanation.orders)
    assert [part.specialists for part in explanation.route.parts] == [("bank",)]
    assert "obey" not in explanation.route.parts[0].text
    assert all("obey" not in part.text for part in named.route.parts)


async def test_texts_longer_than_a_question_are_not_cut_up(router):
    """A document is one request, whatever its sentences are about."""
    text = "my stolen card blocked account. bake soup flour dinner. " * 20

    assert len(await parts(router, text)) <= 1


async def test_earlier_turns_do_not_pin_the_route(router):
    """What was asked and found before does not draw a question about something else to the same specialist."""
    message = Message(role="user", text="my stolen card blocked account")
    fact = Fact(name="intent", value="card_lost", confidence=0.9)
    context = Context().append(
        *(Entry(content=content, producer="bank", label=Label.INTERNAL, time=1.0) for content in (message, fact) * 5)
    )
    food = await router.route(Request(text="bake soup flour dinner", session="s"), context)
    bank = await router.route(Request(text="transfer cash account balance", session="s"), context)

    assert (food.specialists, bank.specialists) == (("food",), ("bank",))


def halves(mark, judge):
    """What is proposed of two halves with a mark between them: the left one is (1, 0), the right one (0, 1)."""
    text = f"one two three{mark}four five six"
    second = text.index("four")
    offsets = np.array([match.span() for match in re.finditer(r"\w+", text)])
    states = np.array([[1.0, 0.0] if start < second else [0.0, 1.0] for start, _ in offsets])
    return propose_judged(text, states, offsets, judge)


@pytest.mark.parametrize(("mark", "pieces"), [(". ", 2), (" and ", 2), (" ", 0)])
def test_a_bare_space_must_promise_more(mark, pieces):
    """Pieces that say hardly more than the whole are looked at only where something stands between them."""
    proposed = halves(mark, lambda vectors: 0.02 * np.sign(vectors - vectors[:, ::-1]))
    assert len(proposed.pieces) == pieces


@pytest.mark.parametrize(("mark", "pieces"), [(". ", 2), (" and ", 2), (" ", 0)])
def test_pieces_that_seem_to_be_for_one_are_looked_at_where_something_stands_between(mark, pieces):
    """Both sides are most like the first specialist, and the second side is more like another one than the whole is."""
    proposed = halves(mark, lambda vectors: np.stack([0.6 + 0.05 * vectors[:, 0] ** 2, 0.59 * vectors[:, 1] ** 4], 1))
    assert len(proposed.pieces) == pieces


async def test_a_question_in_the_middle_of_a_long_letter_is_found(router):
    """Of its sentences those whose tokens are most like somebody's examples are looked at beside its ends."""
    idle = " ".join(f"word{i} other{i} thing{i} more{i} talk{i}." for i in range(8))
    letter = f"{idle} My stolen card blocked account. {idle.replace('word', 'term')}"

    assert len(letter) > 450
    assert await parts(router, letter) == [("bank", letter)]
    considered = (await router.explain(Request(text=letter), Context())).considered
    assert "My stolen card blocked account." in [piece.text for piece in considered]


def test_a_question_is_looked_for_in_four_words_and_more():
    """Three clear words among many of nobody's are proposed with a word beside them: three cannot be the question."""
    text = "set a timer quartz zebra violin mango lemur granite opera"
    offsets = np.array([match.span() for match in re.finditer(r"\w+", text)])
    states = np.array([[1.0, 0.0] if start < text.index("quartz") else [0.0, 1.0] for start, _ in offsets])

    pieces = propose_clearest(text, states, offsets, lambda vectors: vectors[:, :1], [(0, len(text))])

    assert [piece.text for piece in pieces] == ["set a timer quartz"]


@pytest.mark.parametrize("space", [0, 1])
def test_a_piece_has_its_first_word_also_where_tokens_begin_with_a_space(space):
    """The tokens of SentencePiece do: " and" is the word "and"."""
    offsets = np.array([(0, 4), (5 - space, 8), (9 - space, 12)])  # "open and why"
    means = span_means(np.eye(3, dtype=np.float32), offsets, np.array([(0, 4), (5, 8), (9, 12), (5, 12)]))

    assert means[:3].argmax(axis=1).tolist() == [0, 1, 2]
    assert np.flatnonzero(means[3]).tolist() == [1, 2]
