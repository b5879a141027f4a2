"""A page of `coterie bundle --web` in Chromium: answers as in Python, nothing from elsewhere, no changed byte."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from coterie.config.file import load_config
from coterie.edge.page import RUNTIME, build_page
from coterie.engines.onnx import OnnxEncoder
from coterie.registry.registry import open_registry
from coterie.tasks.versions import load_specialist
from coterie.types import ContextView, Task

from .conftest import TEXTS, beside, rows, run

ASK = """async ([name, texts]) => {
  const specialist = await window.coterie.specialist(name), found = [];
  for (const text of texts) {
    const answer = await specialist.ask(text);
    found.push({ ...answer, vector: answer.vector && [...answer.vector] });
  }
  return found;
}"""
ASKED = (
    "My parcel is late",
    "  Where\tis my REFUND?? $5 ",
    "the weather in Paris",
    "naïve Ünïcode ΑΣ ΟΔΟΣ İstanbul 你好 [SEP] 👍 ￼",
    "zzz " * 300,
    "x" * 150,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """A network with a lexical and an embedding classifier, and a task that no page runs."""
    folder = tmp_path_factory.mktemp("page") / "shop"
    run(folder.parent, "init", str(folder))
    data = folder.parent / "messages.csv"
    data.write_text(rows())
    run(folder, "add", "words", "--data", str(data), "--description", "By words.", "--rungs", "lexical")
    run(folder, "add", "intents", "--data", str(data), "--description", "By meaning.", "--rungs", "embedding")
    run(folder, "train")
    toml = folder / "coterie.toml"
    toml.write_text(toml.read_text() + '\n[specialists.drafts]\ntask = "pairs"\ndata = "data/words.csv"\n')
    return folder


@pytest.fixture(scope="module")
def shop_of_words(shop) -> Path:
    """The same network with its lexical classifier only."""
    folder = shop.with_name("words")
    shutil.copytree(shop, folder)
    toml = folder / "coterie.toml"
    toml.write_text(toml.read_text().split("[specialists.intents]")[0])
    return folder


@pytest.fixture(scope="module")
def page_of_words(shop_of_words, tmp_path_factory):
    """Its page, without an encoder, and what was said of it; who changes it changes a copy."""
    folder = tmp_path_factory.mktemp("packed") / "words"
    return folder, build_page(shop_of_words, folder)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> str:
    """onnxruntime-web: what COTERIE_TEST_ORT_WEB names, else what npm gives."""
    if named := os.environ.get("COTERIE_TEST_ORT_WEB"):
        return named
    home = tmp_path_factory.mktemp("npm")
    command = ["npm", "pack", RUNTIME, "--silent", "--pack-destination", str(home)]
    if shutil.which("npm") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip(f"needs {RUNTIME}: npm, or COTERIE_TEST_ORT_WEB with its archive")
    return str(next(home.glob("*.tgz")))


@pytest.fixture(scope="module")
def page(shop, runtime, tmp_path_factory):
    """The page with its encoder, packed once, and what was said of it; who changes it changes a copy."""
    folder = tmp_path_factory.mktemp("packed") / "page"
    return folder, build_page(shop, folder, runtime=runtime)


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Say nothing."""


@pytest.fixture
def opened(chromium):
    """Open a page's folder: the tab, and what it did that it should not."""
    servers, tabs = [], []

    def open_folder(folder: Path):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        home, wrong = f"http://127.0.0.1:{server.server_port}/", []
        tab = chromium.new_page()
        tabs.append(tab)
        tab.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on(
            "request", lambda request: None if request.url.startswith((home, "data:")) else wrong.append(request.url)
        )
        tab.goto(home)
        return tab, wrong

    yield open_folder
    for tab in tabs:
        tab.close()
    for server in servers:
        server.shutdown()
        server.server_close()


def consulted(folder: Path, name: str, texts) -> list:
    """What Python says."""
    config, encoder = load_config(folder), OnnxEncoder.bundled()
    version = open_registry(folder, config.registry).champion(name)
    specialist = load_specialist(name, config.specialists[name], version, encoder=encoder, models={})

    async def consult():
        findings = [await specialist.consult(Task(text=text), ContextView()) for text in texts]
        await encoder.close()
        return findings

    return beside(consult())


def alike(answers: list, expected: list, apart: float) -> None:
    for ours, theirs in zip(answers, expected, strict=True):
        assert (ours["value"], ours["accepted"]) == (theirs.value, theirs.accepted)
        assert ours["code"] == theirs.reason.code
        assert ours["truncated"] == theirs.truncated
        assert ours["confidence"] == pytest.approx(theirs.confidence, abs=apart)
        assert ours["inScope"] == pytest.approx(theirs.in_scope, abs=apart)
        assert [entry["label"] for entry in ours["ranked"]] == [item.name for item in theirs.evidence]


@pytest.mark.slow
def test_words_alone_need_no_runtime(shop_of_words, page_of_words, opened):
    """A lexical specialist answers as in Python, to the last digits; nothing else is read."""
    folder, made = page_of_words
    texts = [*(text for group in TEXTS.values() for text in group), *ASKED]
    tab, wrong = opened(folder)
    answers = tab.evaluate(ASK, ["words", texts])
    alike(answers, consulted(shop_of_words, "words", texts), 1e-5)
    assert made.specialists == ("words",)
    assert made.bytes < 300_000
    assert wrong == []


@pytest.mark.slow
def test_the_encoder_runs_in_the_browser(shop, page, opened):
    """Tokens, vectors and verdicts are Python's; int8 steps that the last bit decides move a confidence a little."""
    folder, made = page
    tab, wrong = opened(folder)
    answers = tab.evaluate(ASK, ["intents", [*ASKED, " \n"]])
    expected = consulted(shop, "intents", ASKED)
    for ours, theirs in zip(answers, expected, strict=False):
        assert (ours["value"], ours["code"], ours["truncated"]) == (theirs.value, theirs.reason.code, theirs.truncated)
        assert ours["confidence"] == pytest.approx(theirs.confidence, abs=0.1)
    encoder = OnnxEncoder.bundled()
    cosines = [np.dot(answer["vector"], vector) for answer, vector in zip(answers, encoder.encode(ASKED), strict=False)]
    assert min(cosines) > 0.98
    tokens = tab.evaluate(
        "async texts => { const { encoder } = await coterie.specialist('intents');"
        " return texts.map(text => encoder.tokenizer.encode(text).ids); }",
        list(ASKED),
    )
    whole = [encoder.tokenise(text) for text in ASKED]
    assert tokens == [ids if len(ids) <= 256 else [*ids[:255], ids[-1]] for ids in whole]
    assert answers[-1]["code"] == "abstain.no_text"
    assert made.bytes < 30e6
    assert made.left_out == {"drafts": "not trained"}
    assert wrong == []


@pytest.mark.slow
def test_a_person_asks(page, opened):
    """Chosen, typed, answered with the reason in words, without a request elsewhere; axe finds nothing serious."""
    tab, wrong = opened(page[0])
    tab.select_option("#specialist", "intents")
    tab.fill("#text", "Where is my parcel?")
    tab.click("button")
    tab.wait_for_selector("#answer[data-code]", timeout=120_000)
    assert tab.inner_text("#answer .value") == "delivery"
    assert "confidence" in tab.inner_text("#answer .why")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    violations = axe.run(tab).response["violations"]
    assert [violation["id"] for violation in violations if violation["impact"] in {"serious", "critical"}] == []
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coterie.js", "page.css", "specialists/words/weights.safetensors.packed"])
def test_a_changed_byte_is_refused(page_of_words, tmp_path, opened, name):
    """The browser checks every file against `index.html` and does not run what is another."""
    shutil.copytree(page_of_words[0], tmp_path / "page")
    path = tmp_path / "page" / name
    content = bytearray(path.read_bytes())
    if name.endswith(".packed"):
        content = bytearray(gzip.compress(gzip.decompress(content)[:-1] + b"\x01", 9, mtime=0))
    else:
        content += b"\n"
    path.write_bytes(content)
    tab, wrong = opened(tmp_path / "page")
    if name == "page.css":
        tab.wait_for_timeout(100)
    elif name == "coterie.js":
        assert tab.evaluate("() => window.coterie === undefined")
    else:
        tab.fill("#text", "Where is my parcel?")
        tab.click("button")
        tab.wait_for_selector("#answer[data-code=failed]")
    assert any("integrity" in message.lower() for message in wrong)


def test_json_and_a_folder_that_exists(shop_of_words, tmp_path):
    """`--web --json` says what was made and left out; a folder that exists is not overwritten."""
    command = [sys.executable, "-m", "coterie", "-C", str(shop_of_words), "bundle", str(tmp_path / "page")]
    command += ["--web", "--json"]
    first, second = (subprocess.run(command, check=False, capture_output=True, text=True) for _ in range(2))
    assert json.loads(first.stdout)["specialists"] == ["words"]
    assert second.returncode != 0
    assert json.loads(second.stdout)["error"]["code"]
