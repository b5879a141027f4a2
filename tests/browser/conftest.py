"""A real Chromium before a served network; without Chromium these tests are skipped, and a line says so."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TEXTS = {
    "delivery": (
        "Where is my parcel?",
        "My order has not arrived yet",
        "When will my package be delivered?",
        "The courier left the box at the wrong house",
        "Can I follow my shipment online?",
        "The tracking page has not changed for three days",
        "I was promised delivery on Friday and nothing came",
        "Please send the order to my office instead",
        "How long does shipping to Spain take?",
        "My parcel is stuck at customs",
        "Do you deliver on Saturdays?",
        "One of the two boxes is still missing",
    ),
    "returns": (
        "I want to send these shoes back",
        "How do I return an item?",
        "The jacket is too small and I would like another size",
        "Where do I find the return label?",
        "Can I exchange the blue one for a red one?",
        "The vase arrived broken and I want to give it back",
        "How many days do I have to send something back?",
        "I changed my mind about the lamp",
        "Do I have to pay for the return postage?",
        "You sent me the wrong book and I do not want it",
        "The zip broke and I want a replacement",
        "The dress does not fit and should go back",
    ),
    "billing": (
        "You charged my card twice",
        "I need an invoice for my company",
        "Why was I billed 40 euros more than the price?",
        "My voucher was not taken off the total",
        "Which payment methods do you accept?",
        "The payment was refused by my bank",
        "When do I get my money back?",
        "Please correct the address on the invoice",
        "Is VAT included in the price?",
        "I was charged for an order that I cancelled",
        "Can I pay in three instalments?",
        "My refund has not reached my account",
    ),
}
"""What customers of a shop ask, by topic."""


def rows(texts=TEXTS) -> str:
    """They as a CSV file."""
    lines = [f'"{text}",{label}' for label, label_texts in texts.items() for text in label_texts]
    return "text,label\n" + "\n".join(lines) + "\n"


@dataclass
class House:
    """A served network, and what a browser did that it should not."""

    folder: Path
    address: str
    wrong: list[str] = field(default_factory=list)
    bytes_read: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Path:
    """The folder of a network with one trained specialist, to be copied."""
    folder = tmp_path_factory.mktemp("trained") / "shop"
    run(folder.parent, "init", str(folder))
    toml = (folder / "coterie.toml").read_text()
    (folder / "coterie.toml").write_text(toml.replace("[network]", "[store]\nkeep_content = true\n\n[network]", 1))
    data = tmp_path_factory.mktemp("data") / "messages.csv"
    data.write_text(rows())
    run(folder, "add", "intents", "--data", str(data), "--description", "What customers ask the shop.")
    run(folder, "train")
    return folder


@pytest.fixture(scope="module")
def house(tmp_path_factory, shop) -> Iterator[House]:
    """A shop with one trained specialist, served on a free port of 127.0.0.1 without keys."""
    folder = tmp_path_factory.mktemp("house") / "shop"
    shutil.copytree(shop, folder)
    with served(folder) as address:
        yield House(folder, address)


@contextmanager
def served(folder: Path, *options: str, port: int = 0, **environment: str) -> Iterator[str]:
    """The address of a served network."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", str(port), "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.terminate()
            process.wait(60)


def run(folder: Path, *arguments: str) -> None:
    """A command of `coterie`."""
    subprocess.run([sys.executable, "-m", "coterie", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def chromium():
    """The system's Chromium, without a network of its own."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium, or any package that has it")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra `dev`")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, house) -> Iterator[Callable]:
    """Opens pages in a context of its own; whatever goes wrong on them fails the test at its end."""
    house.wrong.clear()
    contexts = []

    def open_page(beside=(), **settings):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        watch(page, house, (house.address, *beside))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert house.wrong == []


def watch(page, house: House, origins) -> None:
    """Note requests to other addresses, errors of scripts, and violations of the policy, which the console tells."""

    def asked(request):
        if not request.url.startswith((*origins, "data:", "blob:")):
            house.wrong.append(f"foreign request {request.url}")

    def told(message):
        if message.type in {"error", "warning"} and "status of 4" not in message.text:
            house.wrong.append(f"console {message.type}: {message.text}")

    page.on("request", asked)
    page.on("console", told)
    page.on("pageerror", lambda error: house.wrong.append(f"script error: {error}"))


def beside(work):
    """Run a coroutine in a thread: playwright's loop has this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()
