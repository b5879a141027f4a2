"""Data made from a few patterns, as people without data make it: what it teaches, and what is said of it."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from coterie.assembly import open_network
from coterie.training.train import TrainingReport, train
from coterie.types import Answer, Request

PATTERNS = {
    "printer": ["the printer on floor {} jams", "printer {} prints blank pages", "no toner in printer {}"],
    "password": ["I forgot the password of account {}", "account {} is locked", "reset my login number {}"],
    "vpn": ["vpn drops every {} minutes", "cannot connect to vpn gateway {}", "remote access to server {} times out"],
    "hardware": ["my laptop {} will not boot", "screen {} flickers", "keyboard of desk {} has sticky keys"],
}
BEFORE, AFTER = ("", "Hi, ", "urgent! ", "please help: "), ("", ".", " thanks", " asap")
IN_OTHER_WORDS = {
    "printer broken": "printer",
    "the laptop won't boot": "hardware",
    "My VPN does not connect": "vpn",
    "I am locked out of my account": "password",
}
FOREIGN = ("what's the weather like tomorrow?", "who painted the Mona Lisa?", "book a table for two at eight")


def from_patterns() -> list[dict[str, str]]:
    """Two hundred rows, as a script of ten lines makes them."""
    draw = random.Random(0)
    rows = []
    for _ in range(200):
        label = draw.choice(list(PATTERNS))
        text = draw.choice(PATTERNS[label]).format(draw.randint(1, 400))
        rows.append({"text": draw.choice(BEFORE) + text + draw.choice(AFTER), "label": label})
    return rows


def trained(folder: Path, rows: list[dict[str, str]]) -> TrainingReport:
    """A network of one specialist in `folder`."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = '[specialists.help]\ntask = "classify"\ndescription = "IT help desk tickets"\ndata = "rows.jsonl"\n'
    (folder / "coterie.toml").write_text(section)
    return train(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, TrainingReport]:
    folder = tmp_path_factory.mktemp("patterns")
    return folder, trained(folder, from_patterns())


async def ask(folder: Path, texts: list[str]) -> list[Answer]:
    network = await open_network(folder)
    try:
        return list(await asyncio.gather(*(network.ask(Request(text=text)) for text in texts)))
    finally:
        await network.close()


async def test_other_words_are_understood(made):
    """What is asked in words of none of the patterns is routed and answered all the same."""
    answers = await ask(made[0], list(IN_OTHER_WORDS))

    assert [answer.text for answer in answers] == list(IN_OTHER_WORDS.values())
    assert all(answer.accepted for answer in answers)


async def test_the_foreign_is_refused(made):
    """A line drawn by other words still leaves out what is nobody's."""
    answers = await ask(made[0], list(FOREIGN))

    assert not any(answer.accepted for answer in answers)


def test_who_made_them_is_told(made):
    """That the texts look made is said, and of how many patterns."""
    report = made[1].specialists["help"].report
    [warning] = [warning for warning in report["warnings"] if "made from patterns" in warning]

    assert "200 rows of about 12" in warning


def test_people_are_not_suspected(tmp_path, messages):
    """Texts that people wrote about four things are no copies of each other."""
    intents = {"lost_or_stolen_card", "card_arrival", "exchange_rate", "Refund_not_showing_up"}
    report = trained(tmp_path, messages(intents)[:200]).specialists["help"].report

    assert not [warning for warning in report["warnings"] if "patterns" in warning or "near copies" in warning]


def test_a_label_of_one_pattern_is_learned_as_it_is(tmp_path):
    """Held out together, all texts of a label would leave nobody who knows it: nothing is calibrated on that."""
    rows = [{"text": PATTERNS[label][0].format(i), "label": label} for label in PATTERNS for i in range(40)]
    report = trained(tmp_path, rows).specialists["help"].report

    assert [warning for warning in report["warnings"] if "too few of a label to hold some out" in warning]
    assert report["metrics"]["coverage"] == 1.0
