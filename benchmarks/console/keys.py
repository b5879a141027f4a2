"""How long it takes from a key to the next item of a review, in Chromium, beside a store of a million requests.

python benchmarks/console/keys.py --store FILE        # the one that run.py --keep made

The time is taken in the page: from the event of the key to the frame in which the next item stands.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO, cast

from playwright.sync_api import Page, sync_playwright
from run import folder_with

HERE = Path(__file__).parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WATCH = """
() => {
  window.taken = [];
  const current = () => (document.querySelector("[data-item]:not([hidden])") || { dataset: {} }).dataset.item;
  document.addEventListener("keydown", () => {
    const began = performance.now(), before = current();
    const look = () => {
      const now = current();
      if (now && now !== before) window.taken.push(performance.now() - began);
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, { capture: true });
}
"""


def press(page: Page, count: int, pause: int) -> list[float]:
    """Give so many labels, one a pause; milliseconds from each key to the next item."""
    page.evaluate(WATCH)
    for number in range(count):
        page.keyboard.press("12345"[number % 5])
        page.wait_for_function(f"window.taken.length === {number + 1}")
        page.wait_for_timeout(pause)
    taken: list[float] = page.evaluate("window.taken")
    return sorted(taken)


def main() -> None:
    """Measure, and write the result beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--network", type=Path, help="its folder, made before or made there now")
    parser.add_argument("--labels", type=int, default=60)
    parser.add_argument("--pause", type=int, default=700, help="milliseconds between a label and the next")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args()
    folder = folder_with(given.store.absolute(), at=given.network)
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", "0", "--json"]
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:  # noqa: S603 - ours
        try:
            address = json.loads(cast("TextIO", served.stdout).readline())["address"]
            with sync_playwright() as playwright:
                page = playwright.chromium.launch(executable_path=chromium, args=FLAGS).new_page()
                page.goto(f"{address}/review?queue=job:job-2")
                taken = press(page, given.labels, given.pause)
        finally:
            served.terminate()
    figures = {
        "p50_ms": round(statistics.median(taken), 1),
        "p95_ms": round(taken[int(0.95 * len(taken))], 1),
        "longest_ms": round(taken[-1], 1),
        "labels": len(taken),
    }
    result = {
        "command": f"python benchmarks/console/keys.py --labels {given.labels} --pause {given.pause} --store FILE",
        "seed": 1,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "bar_ms": 100,
        "found": figures,
    }
    given.out.mkdir(exist_ok=True)
    (given.out / "keys.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
