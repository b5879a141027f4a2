"""A trained network opened: its router knows what is there now, and weights are read when they are needed."""

import asyncio
import shutil
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

import coterie.assembly
from coterie import open_network
from coterie.assembly import open_preview
from coterie.cli.app import main
from coterie.config.file import load_config, parse_config
from coterie.errors import ConfigError, NotTrained, UnknownSpecialist
from coterie.learning.measure import language_warnings
from coterie.registry.registry import REGISTRY_FOLDER
from coterie.specialists.parts import OnDemand
from coterie.training.train import train
from coterie.types import Request

SECTION = {"task": "classify", "rungs": ["lexical"], "target_risk": 0.2}
MANY = 80


@pytest.fixture
def folder(network, texts, encoder, monkeypatch):
    """Two trained specialists, of cards and parcels and of refunds and logins; what is opened has the word encoder."""
    monkeypatch.setattr("coterie.assembly.open_encoder", lambda *_, **_more: encoder)
    rows = texts(labels=4, each=60)
    first = [row for row in rows if row["label"] in {"card", "parcel"}]
    second = [row for row in rows if row["label"] in {"refund", "login"}]
    folder = network({"shop": SECTION, "money": SECTION}, shop=first, money=second)
    train(folder, encoder=encoder)
    return folder


@pytest.fixture
def loads(monkeypatch):
    names = []
    load = coterie.assembly.load_specialist

    def counted(name, *arguments, **more):
        names.append(name)
        return load(name, *arguments, **more)

    monkeypatch.setattr("coterie.assembly.load_specialist", counted)
    return names


def opened(folder, use, open_=open_network):
    """What `use` gives of the open network."""

    async def run():
        network = await open_(folder)
        try:
            return await use(network)
        finally:
            await network.close()

    return asyncio.run(run())


def ask(text):
    return lambda network: network.ask(Request(text=text))


def set_memory(folder, size):
    """Put a budget into the network's file."""
    path = folder / "coterie.toml"
    path.write_text(f'[network]\nmemory = "{size}"\n{path.read_text()}')


CARD, REFUND = "tell me why is my card stolen blocked please", "tell me why is my money charged refund twice"


def test_small_networks_are_loaded_at_opening(folder, loads):
    """Without a word on memory, few specialists are loaded when the network opens, so damage shows at once."""
    opened(folder, ask(CARD))

    assert sorted(loads) == ["money", "shop"]


def test_within_a_budget_only_who_is_asked_is_loaded(folder, loads):
    """With `memory` set, opening loads nothing; a question loads whom it goes to, and the answer is the same."""
    before = opened(folder, ask(CARD))
    loads.clear()
    set_memory(folder, "100MB")
    after = opened(folder, ask(CARD))

    assert loads == ["shop"]
    assert (after.text, after.trace.route.specialists) == (before.text, before.trace.route.specialists)
    assert after.trace.findings[0].confidence == before.trace.findings[0].confidence


def test_a_budget_too_small_for_two_evicts(folder, loads):
    """Two specialists that do not fit together are loaded in turns, and both answer every time."""
    set_memory(folder, "1KB")

    async def use(network):
        return [(await network.ask(Request(text=text))).accepted for text in (CARD, REFUND, CARD, CARD)]

    assert opened(folder, use) == [True] * 4
    assert loads == ["shop", "money", "shop", "shop"]


def test_weights_that_cannot_be_read_are_an_abstention(folder):
    """A specialist whose files are damaged after opening abstains and says why; the other one answers."""
    set_memory(folder, "100MB")

    async def use(network):
        weights = next((folder / "registry" / "shop").glob("*/model.json"))
        weights.chmod(0o644)
        weights.write_bytes(weights.read_bytes() + b" ")
        return await network.ask(Request(text=CARD)), await network.ask(Request(text=REFUND))

    broken, whole = opened(folder, use)

    assert not broken.accepted
    assert broken.trace.findings[0].reason.code == "error.artefact_refused"
    assert whole.accepted


def test_very_many_are_loaded_on_demand(folder, loads):
    """More than 64 specialists: opening loads none of them, and the one that is asked answers."""
    for number in range(MANY):
        shutil.copytree(folder / "registry" / "money", folder / "registry" / f"copy{number}")
    path = folder / "coterie.toml"
    section = '\n[specialists.copy{}]\ntask = "classify"\ndata = "money.jsonl"\n'
    path.write_text(path.read_text() + "".join(section.format(number) for number in range(MANY)))

    async def use(network):
        assert loads == []
        assert all(isinstance(specialist, OnDemand) for specialist in network.specialists.values())
        return await network.ask(Request(text=CARD))

    assert opened(folder, use).accepted
    assert loads == ["shop"]


@pytest.mark.parametrize(("memory", "bytes_"), [("512MB", 512_000_000), ("1.5GB", 1_500_000_000), ("64KB", 64_000)])
def test_budgets(memory, bytes_):
    """A budget is a number and its unit."""
    assert parse_config(f'[network]\nmemory = "{memory}"').network.budget(3) == bytes_


def test_budgets_left_out():
    """Left out, few are loaded at opening and very many within a gigabyte."""
    section = parse_config("").network

    assert (section.budget(64), section.budget(65)) == (None, 1_000_000_000)


@pytest.mark.parametrize("memory", ["512", "MB", "-1MB", "1 MB", "1TB", "1e3MB"])
def test_other_budgets_are_refused(memory):
    """Anything else is refused with the place in the file."""
    with pytest.raises(ConfigError, match=r"network\.memory"):
        parse_config(f'[network]\nmemory = "{memory}"')


# --- The router follows the registry -----------------------------------------------------------------


def routed(folder, text):
    """Whom the network would ask."""
    explanation = opened(folder, lambda preview: preview.explain(Request(text=text)), open_preview)
    return explanation.asked


@pytest.mark.slow
def test_the_router_follows_what_is_added_changed_and_removed(folder, network, texts, encoder):
    """A specialist that is added, trained on other data or removed changes the routes when the network opens next."""
    rows = texts(labels=4, each=60)
    labelled = {
        label: [row for row in rows if row["label"] == label] for label in ("card", "parcel", "refund", "login")
    }
    assert (routed(folder, CARD), routed(folder, REFUND)) == (("shop",), ("money",))

    # Removed.
    network({"shop": SECTION}, shop=labelled["card"] + labelled["parcel"])
    assert routed(folder, REFUND) == ()

    # Changed: it learns about refunds.
    network({"shop": SECTION}, shop=labelled["card"] + labelled["refund"])
    train(folder, encoder=encoder)
    assert routed(folder, REFUND) == ("shop",)

    # Added: one whose examples are nearer.
    network(
        {"shop": SECTION, "money": SECTION},
        shop=labelled["card"] + labelled["parcel"],
        money=labelled["refund"] + labelled["login"],
    )
    train(folder, encoder=encoder)
    assert (routed(folder, CARD), routed(folder, REFUND)) == (("shop",), ("money",))


def test_a_preview_loads_nothing(folder, loads):
    """To see where a request goes, no weights are loaded, and nothing is settled."""
    assert routed(folder, CARD) == ("shop",)
    assert loads == []
    assert set(load_config(folder).specialists) == {"shop", "money"}


@pytest.fixture
def half(folder):
    """The folder after one of its two specialists lost all it was trained for."""
    shutil.rmtree(folder / REGISTRY_FOLDER / "money")
    return folder


def test_who_is_trained_answers(half):
    """A specialist without a version stops nobody: the other answers, and what is nobody's says who may be missing."""

    async def use(network):
        return (
            network.untrained,
            await network.ask(Request(text=CARD)),
            await network.ask(Request(text="xylophone zebra")),
        )

    untrained, mine, nobody = opened(half, use)

    assert untrained == ("money",)
    assert mine.trace.route.specialists == ("shop",)
    assert "coterie train money" not in str(mine.trace.route.reason)
    assert nobody.trace.route.parts == ()
    assert "money is not trained yet" in str(nobody.trace.route.reason)
    assert "coterie train money" in str(nobody.trace.route.reason)


def test_named_and_not_trained(half):
    """Who names the one that is not trained is told the command; who may not know of it is not told of it."""

    async def use(network):
        with pytest.raises(NotTrained, match="'money'") as caught:
            await network.ask(Request(text=CARD, specialist="money"))
        with pytest.raises(UnknownSpecialist):
            await network.ask(Request(text=CARD, specialist="money", allowed=("shop",)))
        return caught.value.hint

    assert opened(half, use) == "Train it: coterie train money"


def test_nobody_trained(half):
    """A network in which nobody can answer is not opened."""
    shutil.rmtree(half / REGISTRY_FOLDER / "shop")

    with pytest.raises(NotTrained, match="'shop'"):
        opened(half, ask(CARD))


def test_nobody_trained_and_served(half):
    """A server opens it all the same, and requests are told that nobody is trained."""
    shutil.rmtree(half / REGISTRY_FOLDER / "shop")

    async def use(network):
        with pytest.raises(NotTrained, match="no trained specialist"):
            await network.ask(Request(text=CARD))
        return network.untrained

    assert opened(half, use, partial(open_network, empty=True)) == ("shop", "money")


@pytest.mark.parametrize("command", ["ask", "route"])
def test_said_at_opening(half, capsys, command):
    """The command line says beside the answer who is not trained, and how to train it."""
    assert main(["-C", str(half), command, CARD]) == 0
    output = capsys.readouterr().err

    assert "Not trained, so not asked: 'money'." in output
    assert f"coterie -C {half} train money" in output


# --- Training takes one thread, also in libraries that a task loads when it trains.


CODE = """
from threadpoolctl import threadpool_info
from coterie.learning.calibration import one_thread
with one_thread():
    import coterie.tasks.score.fit
    print(*sorted({(each["internal_api"], each["num_threads"]) for each in threadpool_info()}))
"""


def test_openmp_is_limited_too():
    """What is loaded inside the context has no more threads than what was there before."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)

    assert "openmp" in done.stdout
    assert set(done.stdout.split()) - {"('openmp',", "('openblas',"} == {"1)"}


# --- Training says when the encoder does not know the language of the texts.


GERMAN = [f"Wo bleibt mein Paket, das ich vor {i} Tagen bestellt habe?" for i in range(2, 22)]
ENGLISH = [f"Where is the parcel that I ordered {i} days ago?" for i in range(2, 82)]


class Texts(SimpleNamespace):
    def __len__(self):
        return len(self.texts)


def warnings(texts, languages):
    encoder = SimpleNamespace(languages=frozenset(languages), about={"name": "minilm"})
    return list(language_warnings(SimpleNamespace(has_texts=True, encoder=encoder, train=Texts(texts=texts))))


def test_foreign_texts():
    """The language, the share and the command are named."""
    (warning,) = warnings(GERMAN + ENGLISH, ["en"])
    assert "20%" in warning
    assert "--languages de" in warning


@pytest.mark.parametrize("languages", [["en"], ["de", "en"], ["all"], []])
def test_nothing_to_say(languages):
    """Nothing of a language that is known, or where nobody says what is; nothing of a few texts."""
    texts = ENGLISH + GERMAN[:5] if languages == ["en"] else GERMAN + ENGLISH
    assert not warnings(texts, languages)
