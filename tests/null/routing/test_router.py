"""Where requests go: the right specialist, several, or nobody, and why."""

from dataclasses import replace

import numpy as np
import pytest

from coterie.routing.profile import Compared, CosineScale, Profile, make_profile
from coterie.testing import check_router
from coterie.types import CallContext, Context, Label, Principal, Reason, Request


@pytest.fixture
def clouds(tools):
    """Two specialists that are nothing like each other."""
    return {"triage": tools.Cloud(1), "clauses": tools.Cloud(2)}


@pytest.fixture
def profiles(clouds):
    return {name: cloud.profile() for name, cloud in clouds.items()}


async def test_keeps_the_contract(tools, profiles, clouds):
    """It keeps the contract of routers."""
    by = tools.router(profiles, {"a card": clouds["triage"].draw(1)[0]})

    await check_router(by, Request(text="a card", label=Label.INTERNAL))


async def test_a_text_goes_to_the_specialist_whose_examples_it_is_like(tools, profiles, clouds):
    """The nearest specialist is asked, with the text's vector, a score for each, and the reason in words."""
    vector = clouds["triage"].draw(1)[0]
    route = await tools.route(tools.router(profiles, {"my card": vector}), "my card")

    assert route.specialists == ("triage",)
    assert route.parts[0].vector is not None
    assert 0.03 <= route.parts[0].score <= 1.0
    assert route.scores["triage"] > route.scores["clauses"]
    assert route.reason.code == "route.like"
    assert route.reason.values["nearest"].startswith("label")
    assert {"fit.typicality", "route.second"} <= set(route.reason.codes)
    assert route.steps[0].producer == "router"


async def test_what_is_like_nobody_s_examples_goes_nowhere(tools, profiles):
    """A text far from everybody is sent to nobody, and the reason names the nearest and what it would have needed."""
    route = await tools.route(tools.router(profiles), "the weather on Mars")

    assert route.parts == ()
    assert route.reason.code == "route.unlike_examples"
    assert route.reason.values["needed"] == 0.04


def outside(by, profile, vectors):
    compared = Compared(*(values[:, None] for values in profile.compare(vectors)))
    return [not fit.in_scope for fit in by._fits(np.array([0]), compared, compared.similarity)["it"]]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
async def test_false_rejection_is_as_configured(tools, share):
    """Of texts like a specialist's own, about the configured share is taken for out of scope, and no more."""
    rejected = []
    for seed in (3, 4, 5):
        cloud = tools.Cloud(seed, spread=1.3)
        profile = cloud.profile(1000)
        by = tools.router({"it": profile}, false_rejection=share)
        rejected.append(np.mean(outside(by, profile, cloud.draw(1000))))

    assert share * 0.6 <= np.mean(rejected) <= share * 1.4


async def test_near_copies_keep_scores_honest(tools):
    """Examples that come in near copies do not make fresh texts look untypical, whether groups tell of them or not."""
    cloud = tools.Cloud(4, spread=1.3)
    origins = cloud.draw(100)
    copies = tools.unit(np.repeat(origins, 5, axis=0) + 0.01 * cloud.random.normal(size=(500, origins.shape[1])))
    fresh = cloud.draw(500)

    def rejected(groups) -> float:
        profile = make_profile(copies, ["a"] * 500, groups, hints=origins[:0], hint_texts=[], seed=0)
        by = tools.router({"it": profile})
        return float(np.mean(outside(by, profile, fresh)))

    assert rejected([None] * 500) < 0.1
    assert rejected([f"g{i // 5}" for i in range(500)]) < 0.1


# --- Few and many ---------------------------------------------------------------------------------


async def test_one_specialist_only(tools, clouds, profiles):
    """A network of one still tells what belongs to it from what does not."""
    by = tools.router({"triage": profiles["triage"]}, {"in": clouds["triage"].draw(1)[0]})

    assert (await tools.route(by, "in")).specialists == ("triage",)
    assert "second" not in str((await tools.route(by, "in")).reason)
    assert (await tools.route(by, "out")).specialists == ()


async def test_no_specialist_with_texts(tools):
    """Where nobody reads texts the encoder is not asked, and the reason says that nobody takes it."""
    by = tools.router({}, cards=[tools.card("underwriting", task="score", columns=("income",))])
    route = await tools.route(by, "hello")

    assert (route.parts, route.reason) == ((), Reason("route.nobody"))
    assert not by._encoder.batches


async def test_cold_start_from_a_description(tools, clouds):
    """A specialist without examples is found by its description, and what is unlike it is not sent there."""
    center = clouds["triage"].center
    profile = make_profile(
        np.empty((0, len(center))), [], [], hints=center[None], hint_texts=["questions about cards"], seed=0
    )
    near, far = tools.unit(center + 0.5 * clouds["clauses"].center), clouds["clauses"].center
    by = tools.router({"triage": profile}, {"near": near, "far": far})

    assert (await tools.route(by, "near")).specialists == ("triage",)
    reason = (await tools.route(by, "near")).reason
    assert (reason.code, reason.values["nearest"]) == ("route.like", "questions about cards")
    assert reason.values["fit"].values["similarity"] == pytest.approx(0.91, abs=0.01)
    assert (await tools.route(by, "far")).specialists == ()
    assert "needs 0.2" in str((await tools.route(by, "far")).reason)


async def test_what_a_neighbour_does_not_want_may_be_for_a_cold_one(tools, clouds, profiles):
    """A text that is nearest to examples, but none of theirs, goes to a cold specialist that it is like."""
    center, other = clouds["triage"].center, clouds["clauses"].center
    cold = make_profile(np.empty((0, len(center))), [], [], hints=center[None], hint_texts=["cards"], seed=0)
    between = tools.unit(0.5 * center + 0.6 * other + 0.7 * tools.Cloud(9).center)
    by = tools.router(
        {"new": cold, "clauses": profiles["clauses"]}, {"between": between, "clause": clouds["clauses"].draw(1)[0]}
    )

    assert (await tools.route(by, "between")).specialists == ("new",)
    assert (await tools.route(by, "clause")).specialists == ("clauses",)


@pytest.mark.parametrize("text", ["?", "...", "- !", "\u200b?"])
async def test_a_text_without_a_letter_or_digit_is_nobody_s(tools, profiles, text):
    """It says nothing, whatever its vector is like."""
    places = {text: profiles["triage"].vectors[0]}

    assert (await tools.route(tools.router(profiles, places), text)).specialists == ()


async def test_a_specialist_near_everything_does_not_draw_texts_of_others(tools):
    """Where examples lie close together a text must be closer: it goes to whom it is unusually near to."""
    middle, far = tools.Cloud(1, spread=0.8).center, tools.Cloud(2).center
    dense, sparse = tools.Cloud(1, spread=0.7), tools.Cloud(1, spread=1.4)
    dense.center, sparse.center = tools.unit(middle + 0.2 * far), tools.unit(middle + 0.9 * far)
    profiles = {"dense": dense.profile(300), "sparse": sparse.profile(300)}
    texts = sparse.draw(300)
    cosines = {
        name: np.sort(texts @ profile.vectors.T, axis=1)[:, -5:].mean(axis=1) for name, profile in profiles.items()
    }
    ours = {name: profile.similarity(texts) for name, profile in profiles.items()}

    assert np.mean(ours["sparse"] > ours["dense"]) > np.mean(cosines["sparse"] > cosines["dense"]) + 0.05


async def test_documents_are_looked_into_where_a_text_is_like_nobody(tools, clouds, profiles):
    """A description says little of what documents know. Texts that somebody takes are not looked up."""
    center = clouds["triage"].center
    cold = make_profile(np.empty((0, len(center))), [], [], hints=center[None], hint_texts=["rules"], seed=0)
    cards = [
        tools.card("drafts", task="generate", knowledge=("house",)),
        tools.card("rules", task="answer", looks_up=True),
    ]
    taken = clouds["clauses"].draw(1)[0]
    by = tools.router(
        {"clauses": profiles["clauses"], "drafts": cold, "rules": cold}, {"far": -center, "clause": taken}, cards=cards
    )

    far = await tools.route(by, "far")

    assert [part.stages for part in far.parts] == [(("rules",),)]
    assert far.reason.codes[-1] == "route.documents"
    assert (await tools.route(by, "clause")).specialists == ("clauses",)


async def test_an_empty_profile_is_never_chosen(tools, clouds, profiles):
    """A specialist of which nothing is known fits nothing and breaks nothing."""
    empty = Profile(vectors=np.empty((0, 48), dtype=np.float32), names=(), typical=np.empty(0), density=np.empty(0))
    by = tools.router({"new": empty, **profiles}, {"in": clouds["triage"].draw(1)[0]})

    assert (await tools.route(by, "in")).specialists == ("triage",)
    assert (await tools.route(tools.router({"new": empty}), "anything")).specialists == ()


async def test_ties_go_to_the_first_in_the_network_s_file(tools, clouds, profiles):
    """Two specialists that fit alike: the same one is asked every time, the one that comes first."""
    vector = clouds["triage"].draw(1)[0]
    for names in (("b", "a"), ("a", "b")):
        by = tools.router(dict.fromkeys(names, profiles["triage"]), {"x": vector})
        assert (await tools.route(by, "x")).specialists == names[:1]


async def test_adding_a_specialist_changes_the_route(tools, clouds, profiles):
    """A new specialist whose examples are nearer takes over what went elsewhere, or nowhere, before."""
    vectors = {"clause": clouds["clauses"].draw(1)[0]}
    before = await tools.route(tools.router({"triage": profiles["triage"]}, vectors), "clause")
    after = await tools.route(tools.router(profiles, vectors), "clause")

    assert before.specialists == ()
    assert after.specialists == ("clauses",)


async def test_a_thousand_specialists_stay_cheap(tools):
    """With 1,000 specialists the right one is found among the 64 that a request is compared with."""
    clouds = [tools.Cloud(seed, spread=0.4) for seed in range(1000)]
    profiles = {f"s{i}": cloud.profile(20, labels=2) for i, cloud in enumerate(clouds)}
    wanted = range(0, 1000, 20)
    by = tools.router(profiles, {f"text {i}": clouds[i].draw(1)[0] for i in wanted})

    routes = [(await tools.route(by, f"text {i}")) for i in wanted]

    nearest = [max(route.scores, key=route.scores.__getitem__) if route.scores else "" for route in routes]
    assert sum(f"s{i}" in route.scores for i, route in zip(wanted, routes, strict=True)) == len(routes)
    assert sum(route.specialists == (f"s{i}",) for i, route in zip(wanted, routes, strict=True)) >= 0.9 * len(routes)
    assert len(routes[0].scores) <= 64
    assert nearest


# --- Compound requests -----------------------------------------------------------------------------


@pytest.fixture
def compound(tools, clouds, profiles):
    """A text of two parts for two specialists, and the places of it and of its parts."""
    first, second = clouds["triage"].draw(1)[0], clouds["clauses"].draw(1)[0]
    text = "my card was stolen, and does clause seven let me leave?"
    places = {
        text: tools.unit(first + second),
        "my card was stolen": first,
        "does clause seven let me leave?": second,
    }
    return text, places


async def test_a_compound_request_is_asked_piece_by_piece(tools, profiles, compound):
    """Two pieces for two specialists become two parts in order, each with its own text and vector."""
    text, places = compound
    by = tools.router(profiles, places)
    route = await tools.route(by, text)

    assert [(part.text, part.specialists) for part in route.parts] == [
        ("my card was stolen", ("triage",)),
        ("does clause seven let me leave?", ("clauses",)),
    ]
    assert len(by._encoder.batches) == 2
    np.testing.assert_array_equal(route.parts[1].vector, places["does clause seven let me leave?"])


async def test_pieces_for_one_specialist_stay_together(tools, profiles, clouds):
    """A text whose pieces fit the same specialist is one request."""
    text = "my card was stolen. please block it now"
    places = dict(zip((text, "my card was stolen.", "please block it now"), clouds["triage"].draw(3), strict=True))

    assert [part.text for part in (await tools.route(tools.router(profiles, places), text)).parts] == [text]


async def test_the_second_is_planned_where_it_is_in_scope(tools, clouds, profiles):
    """A text between two specialists names the one that is asked if the first abstains; a clear one names nobody."""
    near, clear = clouds["triage"].draw(1)[0], clouds["clauses"].draw(1)[0]
    twin = replace(profiles["triage"])
    by = tools.router({**profiles, "twin": twin}, {"near": near, "clear": clear})

    assert (await tools.route(by, "near")).parts[0].otherwise == (("twin",),)
    assert (await tools.route(by, "clear")).parts[0].otherwise == ()


async def test_filler_is_not_answered(tools, profiles, compound):
    """A piece that fits nobody is left out; the others are still asked."""
    text, places = compound
    longer = f"{text} what can I do?"
    places[longer] = places[text]
    route = await tools.route(tools.router(profiles, places), longer)

    assert route.specialists == ("triage", "clauses")


# --- Columns ---------------------------------------------------------------------------------------


@pytest.fixture
def underwriting(tools):
    """A score over three columns."""
    return tools.card("underwriting", task="score", columns=("income", "home", "age"))


async def test_columns_go_to_who_knows_them(tools, profiles, underwriting):
    """Structured input is for the specialist whose columns it has, also if some are missing; unknown ones are borne."""
    by = tools.router(profiles, cards=[underwriting])
    route = await tools.route(by, "", columns={"income": 1, "home": "own", "more": 2})
    one = await tools.route(by, "", columns={"income": 1})

    assert route.specialists == one.specialists == ("underwriting",)
    assert route.reason.code == "route.columns"
    assert not by._encoder.batches


async def test_other_columns_go_nowhere(tools, profiles, underwriting):
    """Columns that hardly anybody knows are for nobody."""
    by = tools.router(profiles, cards=[underwriting])

    assert (await tools.route(by, "", columns={"x": 1, "y": 2, "income": 3})).parts == ()
    assert (await tools.route(by, "", columns={"x": 1})).reason.code == "route.nobody"


async def test_columns_and_text(tools, profiles, clouds, underwriting):
    """Columns with a text for another specialist ask both; a text that fits nobody goes with the columns."""
    by = tools.router(profiles, {"my card": clouds["triage"].draw(1)[0]}, cards=[underwriting])

    both = await tools.route(by, "my card", columns={"income": 1})
    alone = await tools.route(by, "please score this", columns={"income": 1})

    assert both.specialists == ("underwriting", "triage")
    assert alone.specialists == ("underwriting",)
    assert alone.parts[0].text == "please score this"


async def test_a_text_beside_columns_that_is_little_like_a_description(tools, clouds, underwriting):
    """It is about the columns; the same text alone is asked of who has the description."""
    center, other = clouds["triage"].center, clouds["clauses"].center
    cold = make_profile(np.empty((0, len(center))), [], [], hints=center[None], hint_texts=["terms"], seed=0)
    across = tools.unit(other - (other @ center) * center)
    places = {f"{share}": share * center + np.sqrt(1 - share**2) * across for share in (0.25, 0.35)}
    by = tools.router({"documents": cold}, places, cards=[underwriting])
    little, much = [await tools.route(by, text, columns={"income": 1}) for text in places]

    assert (little.specialists, little.parts[0].otherwise) == (("underwriting",), ())
    assert much.specialists == ("underwriting", "documents")
    assert (await tools.route(by, "0.25")).specialists == ("documents",)


async def test_a_score_with_text_is_asked_once(tools, clouds, profiles):
    """A specialist that both columns and text point to gets them together, in one part."""
    score = tools.card("triage", task="score", columns=("income", "note"))
    by = tools.router(profiles, {"my card": clouds["triage"].draw(1)[0]}, cards=[score])
    route = await tools.route(by, "my card", columns={"income": 1})

    assert [part.stages for part in route.parts] == [(("triage",),)]


# --- Odd texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["☕", "?", "\n\n\n", "   ", "a" * 100_000, "and and and and", ". . . . .", "\u202e\u0000", "x;y;z"]
)
async def test_odd_texts_are_routed_like_any_other(tools, profiles, text):
    """Emoji, control characters, a hundred thousand letters: a route with a reason, never an error."""
    route = await tools.route(tools.router(profiles), text)

    assert route.parts == ()
    assert route.reason


async def test_readers_join(tools, clouds, profiles):
    """Who reads what the chosen specialist writes runs after it."""
    cards = [tools.card("triage", writes=("intent",)), tools.card("reply", task="generate", reads=("intent",))]
    by = tools.router(profiles, {"my card": clouds["triage"].draw(1)[0]}, cards=cards)

    assert (await tools.route(by, "my card")).parts[0].stages == (("triage",), ("reply",))


async def test_examples_made_from_patterns_do_not_shut_out_other_words(tools):
    """Where examples are near-copies of each other, a text that is quite similar is in scope nevertheless."""
    copies = tools.Cloud(6, spread=0.1)
    near = tools.unit(copies.center + 0.7 * tools.Cloud(7).center)
    far = tools.unit(copies.center + 1.5 * tools.Cloud(7).center)
    by = tools.router({"it": copies.profile(200)}, {"near": near, "far": far})

    assert (await tools.route(by, "near")).specialists == ("it",)
    assert (await tools.route(by, "far")).specialists == ()


# --- Encoders all of whose vectors are alike -----------------------------------------------------


class Alike:
    """What of an encoder says that texts with nothing in common have a cosine of .8."""

    unrelated = 0.8


def pressed(vectors):
    """Vectors of unit length as such an encoder gives them: beside a large part that all share."""
    shared = np.full((len(vectors), 1), np.sqrt(Alike.unrelated))
    return np.hstack([vectors * np.sqrt(1 - Alike.unrelated), shared])


async def test_a_cosine_means_what_it_means_with_the_encoder(tools):
    """Where all are alike a foreign text is no near copy of an example, and a copy still is one."""
    cloud, scale = tools.Cloud(1), CosineScale.of(Alike())
    vectors = pressed(cloud.draw(120))
    profile = make_profile(
        vectors, ["label"] * 120, [None] * 120, hints=vectors[:1], hint_texts=["it"], seed=0, scale=scale
    )
    (foreign,) = pressed(tools.Cloud(7).draw(1))
    assert (profile.vectors @ foreign).max() > 0.8
    by = tools.router({"it": profile}, {"foreign": foreign, "own": vectors[0]}, scale=scale)

    assert (await tools.route(by, "foreign")).parts == ()
    assert (await tools.route(by, "own")).specialists == ("it",)


async def test_a_likeness_to_a_description_is_on_the_scale_of_the_encoder(tools):
    """A description that shares with a text what all texts share is not before examples that lie around the text."""
    warm, other = tools.Cloud(1, spread=1.6), tools.Cloud(7)
    near = tools.unit(warm.center + other.center)  # of a subject beside theirs
    vectors, hint = pressed(warm.draw(120)), pressed(near[None])
    scale = CosineScale.of(Alike())
    profiles = {
        "warm": make_profile(
            vectors, ["label"] * 120, [None] * 120, hints=vectors[:1], hint_texts=["it"], seed=0, scale=scale
        ),
        "cold": make_profile(vectors[:0], [], [], hints=hint, hint_texts=["other"], seed=0, scale=scale),
    }
    own = pressed(warm.draw(20))
    texts = {str(at): vector for at, vector in enumerate(own)} | {"described": pressed(other.center[None])[0]}
    by = tools.router(profiles, texts, scale=scale)

    assert {(await tools.route(by, str(at))).specialists for at in range(20)} == {("warm",)}
    assert (await tools.route(by, "described")).specialists == ("cold",)


def test_the_scale_of_an_encoder():
    """Stretched between what it says of unrelated texts and 1; the bundled one's where it says nothing."""
    assert CosineScale.of(object()) == CosineScale()
    scale = CosineScale.of(Alike())
    assert (scale.near_copy, scale.cold) == (pytest.approx(0.96), pytest.approx(0.84))
    assert (CosineScale().crowding, scale.crowding) == (0.0, pytest.approx(0.16))


# --- Small talk ------------------------------------------------------------------------------------


class Talkers:
    """Knows small talk in English by where its vectors lie."""

    talk_languages = frozenset({"en"})

    def __init__(self, *places):
        self._places = np.stack(places)

    def talk(self, vectors):
        """Above 0 at those places."""
        return (vectors @ self._places.T).max(axis=1) - 0.99


@pytest.fixture
def talk(tools):
    """A specialist of diverse examples, and a greeting at its edge."""
    cloud = tools.Cloud(1, spread=1.3)
    hello = cloud.draw(200)
    profile = cloud.profile()
    edge = hello[
        np.argmin(profile.similarity(hello) + 10 * (profile.similarity(hello) < np.quantile(profile.typical, 0.1)))
    ]
    return profile, dict.fromkeys(("Hello?", "a text of nine words that happens to lie there", "Hallo?"), edge)


async def test_small_talk_is_nobody_s_job(tools, talk):
    """A greeting that a specialist of diverse examples would take is asked of nobody, and the reason says so."""
    profile, places = talk
    by = tools.router({"parties": profile}, places, turns=Talkers(places["Hello?"]))
    route = await tools.route(by, "Hello?", language="en-GB")

    assert route.parts == ()
    assert route.reason.code == "route.small_talk"
    long = "a text of nine words that happens to lie there"
    assert (await tools.route(by, long)).specialists == ("parties",)
    assert (await tools.route(by, "Hallo?", language="de")).specialists == ("parties",)


async def test_without_a_turn_model_nothing_is_small_talk(tools, talk):
    """The encoder may be one that the package has no turn model for."""
    profile, places = talk

    assert (await tools.route(tools.router({"parties": profile}, places), "Hello?")).specialists == ("parties",)


async def test_a_specialist_may_be_made_for_small_talk(tools, talk):
    """Whose nearest example is small talk gets it."""
    profile, places = talk
    cosines = profile.vectors @ places["Hello?"]
    own = profile.vectors[cosines.argmax()]
    by = tools.router({"chat": profile}, places, turns=Talkers(places["Hello?"], own))

    assert (await tools.route(by, "Hello?")).specialists == ("chat",)


async def test_a_cut_text_is_told(tools):
    """A part whose text is longer than the encoder's window says that its vector is of the beginning only."""
    cloud = tools.Cloud(3)
    vector = cloud.draw(1)[0]
    for finish in ("length", "stop"):
        by = tools.router({"it": cloud.profile(100)}, {"a very long text": vector}, finish=finish)
        route = await tools.route(by, "a very long text")

        assert [part.truncated for part in route.parts] == [finish == "length"]


async def test_a_known_text_is_routed_from_memory(tools, profiles, clouds):
    """The same tenant's text is encoded once, its route is the same at no cost, and no text is remembered."""
    by = tools.router(profiles, {"my card": clouds["triage"].draw(1)[0]})
    first, second = await tools.route(by, "my card"), await tools.route(by, "my card")

    assert by._encoder.batches == [["my card"]]
    assert replace(second, steps=()) == replace(first, steps=())
    assert [step.usage.tokens_in for step in second.steps] == [sum(s.usage.tokens_in for s in first.steps)]
    assert not any(step.usage.cpu_seconds for step in second.steps)
    assert "my card" not in repr(vars(by._known))
    await by.route(Request(text="my card", tenant="b"), Context(), call=CallContext(principal=Principal(tenant="b")))
    await by.route(Request(text="my card", language="de"), Context())
    assert len(by._encoder.batches) == 3


async def test_a_known_text_beside_columns_is_routed_from_memory(tools, profiles, clouds, underwriting):
    """The values of columns change no route: the text is encoded once for all rows, and anew for other columns."""
    by = tools.router(profiles, {"my card": clouds["triage"].draw(1)[0]}, cards=[underwriting])
    rows = [{"income": 1, "home": "own"}, {"income": 2, "home": "rented"}, {"income": 2}, {"x": 1}]
    first, second, fewer, others = [await tools.route(by, "my card", columns=row) for row in rows]

    assert replace(second, steps=()) == replace(first, steps=())
    assert first.specialists == fewer.specialists == ("underwriting", "triage")
    assert (first.parts[0].score, fewer.parts[0].score) == (2 / 3, 1 / 3)
    assert others.specialists == ("triage",)
    assert len(by._encoder.batches) == 3
