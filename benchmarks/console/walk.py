"""From nothing to a trained specialist of a file of one's own, in a browser alone: every step is done and checked.

It begins with the example that `make run` serves, or with an empty network.

make run &                                                     # in another terminal; wait until it says the address
python benchmarks/console/walk.py --address http://127.0.0.1:8321
python benchmarks/console/walk.py --address http://127.0.0.1:8321 --shots docs/images     # and a picture of each step
python benchmarks/console/walk.py --empty            # begins with a folder that `coterie init` made, and serves it

It needs Chromium and playwright (the extra `dev`). Nothing but the browser touches the network.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TextIO, cast

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
FILE = HERE / "messages.csv"
TEXT = "My invoice has the wrong name on it"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 900_000
"""Milliseconds that a training may take on a busy machine."""


class Walk:
    """Does the steps, takes their time, and a picture of each."""

    def __init__(self, page: Page, address: str, shots: Path | None) -> None:
        self.page, self.address, self.shots = page, address, shots
        self.name = f"helpdesk-{int(time.time()) % 100_000}"
        self.done: list[dict[str, object]] = []
        self.wrong: list[str] = []
        page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(address) else self.wrong.append(request.url))

    def step(self, title: str, work: Callable[[], object], picture: str = "") -> None:
        """Do one step; an exception ends the walk."""
        began = time.perf_counter()
        work()
        seconds = round(time.perf_counter() - began, 1)
        self.done.append({"step": title, "seconds": seconds})
        print(f"{seconds:7.1f} s  {title}", flush=True)
        if picture and self.shots:
            self.page.wait_for_timeout(200)
            keep(self.page.screenshot(), self.shots / f"walk-{picture}.png")

    def run(self, *, empty: bool) -> None:
        """All of them."""
        page = self.page
        if empty:
            self.step("an empty network says what to do", self.open_empty, "0-empty")
        else:
            self.step("the network of the example", self.open_network, "1-network")
        button = "a:has-text('Choose a file')" if empty else "text=Add a specialist from a file"
        self.step("a form for a file of one's own", lambda: self.press(button, "h1:has-text('Right-sizing')"))
        self.step("choose the file, name its columns", self.choose, "2-file")
        self.step(
            "every rung is measured, with a verdict",
            lambda: self.press("text=Measure every rung", "h2:has-text('Verdict')"),
            "3-verdict",
        )
        self.step("it becomes a specialist and is trained", self.train, "4-trained")
        self.step("ask it, and see the trace", self.ask, "5-trace")
        self.step("say what would have been right", self.correct)
        self.step("the correction waits at the specialist", self.open_specialist, "6-specialist")
        self.step("train again, with the correction", self.train_again)
        self.step("look at the first version, and promote it with a reason", self.promote, "7-promoted")
        self.step("roll back to the one before", self.roll_back)
        self.step("it stands in the network", self.open_network, "8-network")
        page.wait_for_selector(f".node:has-text('{self.name}')")
        if self.wrong:
            raise AssertionError(self.wrong)

    def press(self, button: str, then: str) -> None:
        """Press something, and wait for what follows."""
        self.page.click(button)
        self.page.wait_for_selector(then)

    def open_network(self) -> None:
        """The first page."""
        self.page.goto(f"{self.address}/")
        self.page.wait_for_selector(".node")

    def open_empty(self) -> None:
        """The first page of a network without a specialist, and that of its playground; a program is told the same."""
        for name in ("playground", ""):
            self.page.goto(f"{self.address}/{name}")
            self.page.wait_for_selector("h2:has-text('This network answers nothing yet')")
        body = {"model": "coterie", "messages": [{"role": "user", "content": TEXT}]}
        reply = self.page.request.post(f"{self.address}/v1/chat/completions", data=body)
        if (reply.status, reply.json()["error"]["code"]) != (503, "not_trained"):
            raise AssertionError(reply.text())

    def choose(self) -> None:
        """A file whose columns have names of their own."""
        self.page.set_input_files("input[type=file]", FILE)
        self.page.click("summary:has-text('Columns under other names')")
        self.page.fill("input[name=text_column]", "message")
        self.page.fill("input[name=label_column]", "topic")

    def train(self) -> None:
        """Add and train, from the page of the verdict."""
        self.page.fill("input[name=name]", self.name)
        self.page.fill("input[name=description]", "Messages of a shop's customers about delivery, returns and billing.")
        self.press("text=Add and train", "h2:has-text('Version')")
        if self.page.inner_text(".pill.champion") != "serves now":
            raise AssertionError("the version does not serve")

    def ask(self) -> None:
        """One question, and what came of it."""
        self.page.click("a:has-text('Ask it')")
        self.page.fill("textarea[name=text]", TEXT)
        self.press("button.main", "#trace .finding")

    def correct(self) -> None:
        """The right label, and the text as a row of the training data."""
        self.page.click("summary:has-text('Was it right?')")
        self.page.select_option("#trace select[name=value]", "billing")
        if not self.page.is_visible("#trace textarea[name=text]"):  # texts are not kept: it is written again
            self.page.click("summary:has-text('Learn from it')")
        self.page.fill("#trace textarea[name=text]", TEXT)
        self.press("#trace button:has-text('Keep the value')", "[id^=said-]:has-text('would have been')")

    def open_specialist(self) -> None:
        """Its page."""
        self.page.goto(f"{self.address}/specialists/{self.name}")
        self.first = self.page.inner_text("tbody th.mono").strip()

    def train_again(self) -> None:
        """A second version."""
        self.press("button:has-text('Train')", "h2:has-text('Version')")
        self.press("a:has-text('Its report')", "h2:has-text('Versions')")
        if self.page.locator("tbody th.mono").count() < 2:
            raise AssertionError("there is no second version")

    def promote(self) -> None:
        """Let another version than the champion serve."""
        other = next(
            cell.inner_text().strip()
            for cell in self.page.locator("tr:has(th.mono):not(:has(.pill.champion)) th").all()
        )
        self.page.goto(f"{self.address}/specialists/{self.name}/{other}")
        self.page.fill("form[action$=promote] input[name=reason]", "shown to the team")
        self.page.check("form[action$=promote] input[name=force]")
        self.press("form[action$=promote] button", f"[role=status]:has-text('{other} serves now')")

    def roll_back(self) -> None:
        """The champion before serves again."""
        self.page.fill("form[action$=rollback] input[name=reason]", "tried")
        self.press("form[action$=rollback] button", "[role=status]:has-text('serves again')")


def keep(shot: bytes, path: Path) -> None:
    """Write a picture, with a palette where Pillow is there."""
    with suppress(ModuleNotFoundError):
        from PIL import Image  # noqa: PLC0415 - pictures are smaller with it

        packed = io.BytesIO()
        Image.open(io.BytesIO(shot)).convert("RGB").quantize(48, dither=Image.Dither.NONE).save(
            packed, "PNG", optimize=True
        )
        shot = packed.getvalue()
    path.write_bytes(shot)


@contextmanager
def empty_network() -> Iterator[str]:
    """The address of a network that `coterie init` made, served on a free port."""
    with tempfile.TemporaryDirectory(prefix="walk-") as directory:
        folder = Path(directory) / "my-network"
        coterie = [sys.executable, "-m", "coterie", "-C"]
        subprocess.run([*coterie, directory, "init", str(folder)], check=True, capture_output=True)  # noqa: S603 - ours
        serve = [*coterie, str(folder), "serve", "--port", "0", "--json"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:  # noqa: S603
            try:
                yield json.loads(cast("TextIO", served.stdout).readline())["address"]
            finally:
                served.terminate()


def main() -> int:
    """Walk, and write the result beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="http://127.0.0.1:8321")
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--shots", type=Path)
    given = parser.parse_args()
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        print("There is no Chromium: apt-get install chromium.", file=sys.stderr)
        return 1
    served = empty_network() if given.empty else nullcontext(given.address.rstrip("/"))
    with served as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.set_default_timeout(PATIENCE)
        walk = Walk(page, address, given.shots)
        walk.run(empty=given.empty)
        browser.close()
    command = "python benchmarks/console/walk.py"
    result = {
        "command": f"{command} --empty" if given.empty else f"make run; {command} --address http://127.0.0.1:8321",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "data": {"file": FILE.name, "sha256": sha256(FILE.read_bytes()).hexdigest()},
        "errors of the browser": 0,
        "steps": walk.done,
    }
    name = "walk_empty.json" if given.empty else "walk.json"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / name).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
