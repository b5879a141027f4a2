"""Options drawn towards the texts that are asked about."""

from dataclasses import replace

import numpy as np

from coterie.config.operation import DecisionsSection
from coterie.decisions.deciding import Decider, DrawnOptions
from coterie.types import SYSTEM, Output, Question, Task

NAMES = {"north": 0, "east": 90}


class Plane:
    """An encoder of a plane: a text is an angle in degrees, a name has one of its own."""

    name, sha256 = "plane", "f" * 64

    def encode(self, texts):
        angles = np.radians([float(NAMES.get(text.rstrip("?"), text)) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    async def run(self, batch, *, call):
        return [Output(vector=vector) for vector in self.encode([prompt.text for prompt in batch])]


QUESTION = Question.choice(["north", "east"])


async def decided(decider, angle, question=QUESTION, call=SYSTEM):
    """The answer about one text."""
    answer = await decider.decide(Task(text=str(angle)), [question], consult=None, call=call)
    return answer.decisions[0]


async def test_drawn_text_by_text():
    """Texts move the options as they are asked about: one between the names changes sides, and the reason says why."""
    decider = Decider(specialists={}, encoder=Plane(), section=DecisionsSection(adapt=True))
    first = await decided(decider, 60)
    rng = np.random.default_rng(0)
    for angle in rng.permutation([*rng.normal(35, 4, 60), *rng.normal(125, 4, 60)]):
        await decided(decider, angle)
    last = await decided(decider, 60, Question.choice(["east", "north"]))

    assert (first.choice, last.choice) == ("east", "north")
    assert "note.fitted_options" not in first.reason.codes
    assert "note.fitted_options" in last.reason.codes
    assert not last.accepted
    plain = Decider(specialists={}, encoder=Plane())
    assert (await decided(plain, 60)).choice == "east"


async def test_two_encoders_draw_together():
    """Their vectors side by side are drawn as one: of two that see the same, the choices are those of one."""
    section, rng = DecisionsSection(adapt=True), np.random.default_rng(1)
    one = Decider(specialists={}, encoder=Plane(), section=section)
    two = Decider(specialists={}, encoder=Plane(), section=section, choosing=(Plane(), Plane()))
    for angle in rng.permutation([*rng.normal(35, 4, 40), *rng.normal(125, 4, 40)]):
        assert (await decided(one, angle)).choice == (await decided(two, angle)).choice
    assert (await decided(two, 60)).choice == "north"


class Tilted(Plane):
    """Another encoder."""

    sha256 = "tilted"


async def test_a_network_in_its_place_goes_on():
    """With the drawn options, where the same encoder weighs them; another encoder, or none to draw, begins anew."""
    section = DecisionsSection(adapt=True)
    first = Decider(specialists={}, encoder=Plane(), section=section)
    await decided(first, 35)
    shared = {}
    for name, encoder, wanted in (("same", Plane(), True), ("other", Tilted(), True), ("off", Plane(), False)):
        later = Decider(specialists={}, encoder=encoder, section=DecisionsSection(adapt=wanted))
        later.inherit(first)
        shared[name] = later.floor.drawing is first.floor.drawing
    assert shared == {"same": True, "other": False, "off": False}


async def test_what_draws_no_option():
    """A text that was met counts once; another tenant's texts, and those about a predicate, count not at all."""
    decider = Decider(specialists={}, encoder=Plane(), section=DecisionsSection(adapt=True))
    for _ in range(50):
        await decided(decider, 35)
    other = replace(SYSTEM, principal=replace(SYSTEM.principal, tenant="other"))
    await decided(decider, 0, Question.predicate("90", name="p"))
    drawing = decider.floor.drawing

    assert drawing.find(SYSTEM.principal.tenant, QUESTION).texts == 1
    assert drawing.find("other", QUESTION) is None
    assert (await decided(decider, 60, call=other)).choice == "east"


def test_no_more_texts_than_are_allowed(monkeypatch):
    """Once enough texts were met, the options stay where they are."""
    monkeypatch.setattr("coterie.decisions.deciding.MOST_TEXTS", 2)
    options = DrawnOptions(["a", "b"], Plane().encode(["north", "east"]))
    for angle in (10, 20, 80):
        options.weigh(str(angle), Plane().encode([str(angle)])[0], ["a", "b"], 16.0)
    assert options.texts == 2
