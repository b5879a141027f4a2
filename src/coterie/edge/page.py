"""Make a static page that runs the network's `classify` specialists in a browser.

The page's own files are in `web/`: `coterie.js` (tokenizer, head, calibration, abstention), `page.js`, `page.css` and
`index.html`. The versions are included as they are stored, packed with gzip. The browser unpacks them itself, so any
server of static files is sufficient. Encodings are made by onnxruntime-web, which is no part of Coterie: it is taken
from npm, a folder or an archive when a page is made. `index.html` holds the checksum of every other file.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from tokenizers import Tokenizer

from coterie import __version__
from coterie.config.file import Config, load_config
from coterie.engines.onnx import GRAPH_FILE, PREFIX_CHARACTERS, PROVENANCE_FILE, TOKENIZER_FILE, encoder_folder
from coterie.errors import ArtefactRefused, InputError, NotTrained, SetupError
from coterie.models.publishers import download
from coterie.registry.registry import open_registry
from coterie.registry.version import Version
from coterie.runtime.codec import parse_json
from coterie.types.reason import TEMPLATES

RUNTIME = "onnxruntime-web@1.30.0"
_RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""Files of the package with checksums: the page was compared with Python on these."""
_MODULE, _WASM = _RUNTIME_FILES
_TASKS = ("classify",)
_RUNGS = ("lexical", "embedding", "encoder")
_VERSION_FILES = ("model.json", "weights.safetensors", "scope.safetensors")
_OWN = ("coterie.js", "page.js", "page.css")
_SAID = (
    *("accept.above_threshold", "abstain.below_threshold", "abstain.no_threshold", "abstain.out_of_scope"),
    *("abstain.no_text", "note.text_truncated"),
)
_MARK = "\U0001f600"
"""Separator between characters when a tokenizer is probed for each; no normaliser changes it."""
_WORD = re.compile(r"\w")  # as `engines.features`


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """A generated page."""

    specialists: tuple[str, ...]
    left_out: Mapping[str, str]
    """Specialists that a browser cannot run, each with the reason."""
    files: int
    bytes: int
    """Size of all files as transferred to a browser, for any choice of specialists."""
    sha256: str
    """Checksum of `index.html`, which holds the checksums of all other files."""


@dataclass
class _Folder:
    """The folder of the page while it is written."""

    home: Path
    integrity: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, content: bytes) -> None:
        """Write a file unchanged."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.integrity[name] = _integrity(content)

    def pack(self, name: str, content: bytes) -> dict[str, object]:
        """Write a file compressed; return what the page needs to read it. No `.gz` name: servers treat it specially."""
        packed = gzip.compress(content, 9, mtime=0)
        self.put(f"{name}.packed", packed)
        about = {"path": f"{name}.packed", "integrity": self.integrity[f"{name}.packed"]}
        return about | {"size": len(content), "packed": len(packed)}


def build_page(folder: Path, out: Path, *, runtime: str | None = None) -> WebPage:
    """Make the page of a network's `classify` champions.

    Args:
        folder: The network's folder.
        out: The page's folder; a new one.
        runtime: onnxruntime-web as a folder, an archive (.tgz) or an address of one; taken from npm by default. A
            network of lexical specialists needs none.

    Raises:
        InputError: there is something at `out`.
        SetupError: no specialist is supported, or the runtime cannot be obtained.
        ArtefactRefused: the runtime is another one.
    """
    if out.exists():
        raise InputError(f"{str(out)!r} exists already.", hint="Name a folder that does not exist yet.")
    config = load_config(folder)
    versions, left_out = _versions(folder, config)
    if not versions:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "there are none"
        raise SetupError(f"No specialist of {str(folder)!r} can go into a page ({why}).", hint="Train a classify one.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".page-") as draft:
        page = _Folder(Path(draft) / "page")
        bundle = _bundle(config, folder, page, versions)
        if bundle["encoders"]:
            bundle["runtime"] = _put_runtime(page, runtime)
        _write_index(page, config.network.name, bundle)
        files = [path for path in page.home.rglob("*") if path.is_file()]
        made = WebPage(
            specialists=tuple(versions),
            left_out=left_out,
            files=len(files),
            bytes=sum(path.stat().st_size for path in files),
            sha256=sha256((page.home / "index.html").read_bytes()).hexdigest(),
        )
        page.home.rename(out)
    return made


def _versions(folder: Path, config: Config) -> tuple[dict[str, Version], dict[str, str]]:
    """Return the champions that a browser can run, and the reasons for the others."""
    registry = open_registry(folder, config.registry)
    versions, left_out = {}, {}
    for name in config.specialists:
        try:
            version = registry.champion(name)
        except NotTrained:
            left_out[name] = "not trained"
            continue
        described = parse_json(version.files["model.json"])
        if described.get("task") not in _TASKS:
            left_out[name] = f"task {described.get('task')}"
        elif described.get("rung") not in _RUNGS:
            left_out[name] = f"rung {described.get('rung')}"
        elif described.get("record"):
            left_out[name] = "trained on records"
        else:
            versions[name] = version
    return versions, left_out


def _bundle(config: Config, folder: Path, page: _Folder, versions: Mapping[str, Version]) -> dict[str, Any]:
    """Write versions and encoders; return their description for the page."""
    encoders: dict[str, object] = {}
    specialists = {}
    tables: dict[str, list[int]] = {
        "words": _ranges([point for point in _characters() if _WORD.match(chr(point)) and point != ord("_")])
    }
    for name, version in versions.items():
        described = parse_json(version.files["model.json"])
        encoder = None
        if described["rung"] != "lexical":
            own = described["rung"] == "encoder"
            encoder = f"specialists/{name}" if own else "encoder"
            if encoder not in encoders:
                files = _own_encoder(version) if own else _shared_encoder(config, folder)
                encoders[encoder] = _put_encoder(page, encoder, files, tables)
        specialists[name] = {
            "description": config.specialists[name].description,
            "version": version.version,
            "labels": len(described["labels"]),
            "encoder": encoder,
            "files": {
                file: page.pack(f"specialists/{name}/{file}", version.files[file])
                for file in _VERSION_FILES
                if file in version.files
            },
        }
    words = {code: TEMPLATES[code] for code in _SAID}
    characters = page.pack("characters.json", json.dumps(tables).encode())
    about = {"coterie": __version__, "words": words, "characters": characters}
    return {**about, "specialists": specialists, "encoders": encoders}


def _shared_encoder(config: Config, folder: Path) -> dict[str, bytes]:
    home = encoder_folder(config.network.encoder, folder)
    return {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}


def _own_encoder(version: Version) -> dict[str, bytes]:
    return {name.removeprefix("encoder."): version.files[name] for name in version.files if name.startswith("encoder.")}


def _put_encoder(
    page: _Folder, name: str, files: Mapping[str, bytes], tables: dict[str, list[int]]
) -> dict[str, dict[str, object]]:
    """Write graph and tokenizer, and record how the tokenizer treats characters."""
    provenance = parse_json(files[PROVENANCE_FILE])
    if sha256(files[GRAPH_FILE]).hexdigest() != provenance["sha256"][GRAPH_FILE]:
        raise ArtefactRefused(f"The graph of {name!r} has another checksum than its {PROVENANCE_FILE} says.")
    described, tokenizer = _tokenizer(name, parse_json(files[TOKENIZER_FILE]), provenance), files[TOKENIZER_FILE]
    tables.update(_character_tables(Tokenizer.from_buffer(tokenizer)))
    if "LICENSE" in files:
        page.put(f"{name}/LICENSE", files["LICENSE"])
    return {
        "graph": page.pack(f"{name}/{GRAPH_FILE}", files[GRAPH_FILE]),
        "tokenizer": page.pack(f"{name}/{TOKENIZER_FILE}", json.dumps(described).encode()),
    }


def _tokenizer(name: str, stored: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, object]:
    """Return a tokenizer as the page reads it. Raises `SetupError` for any but BERT's: words, signs, word pieces."""
    kinds = tuple((stored.get(key) or {}).get("type") for key in ("normalizer", "pre_tokenizer", "model"))
    added = stored.get("added_tokens", ())
    plain = not any(token[key] for token in added for key in ("single_word", "lstrip", "rstrip", "normalized"))
    lower = (stored.get("normalizer") or {}).get("lowercase")
    wanted = ("BertNormalizer", "BertPreTokenizer", "WordPiece")
    if kinds != wanted or not plain or not lower or provenance.get("prefix"):
        raise SetupError(
            f"The tokenizer of {name!r} is made of {', '.join(map(str, kinds))}; a page runs {', '.join(wanted)} in "
            "lower case, without a prefix.",
            hint="Train with the bundled encoder: [network] encoder = 'minilm'.",
        )
    ids = Tokenizer.from_str(json.dumps(stored)).encode("").ids
    window = int(provenance["max_tokens"])
    return {
        "model": stored["model"],
        "added": {token["content"]: token["id"] for token in added},
        "ends": ids,
        "window": window,
        "read": window * PREFIX_CHARACTERS,
    }


# --- What Python and the tokenizer know of characters, as ranges of code points.


def _characters() -> Iterator[int]:
    yield from range(0xD800)
    yield from range(0xE000, 0x110000)


def _character_tables(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Return ranges of `space`, `apart` (words of one letter), `removed` and `signs`, probed from the tokenizer."""
    points = [point for point in _characters() if chr(point) != _MARK]
    normal = tokenizer.normalizer.normalize_str(_MARK.join(map(chr, points))).split(_MARK)
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str("".join(f"a{chr(point)}a " for point in points))
    signs = {piece for piece, _ in pieces if len(piece) == 1} - {"a"}
    pairs = list(zip(points, normal, strict=True))
    return {
        "space": _ranges([point for point, text in pairs if text and not text.strip(" ")]),
        "apart": _ranges([point for point, text in pairs if len(text) > 2 and text[0] == text[-1] == " "]),
        "removed": _ranges([point for point, text in pairs if not text]),
        "signs": _ranges([point for point in points if chr(point) in signs]),
    }


def _ranges(points: list[int]) -> list[int]:
    """Return first and last point of each run, in one flat list."""
    runs = [
        [point for _, point in run] for _, run in groupby(enumerate(points), lambda numbered: numbered[1] - numbered[0])
    ]
    return [end for run in runs for end in (run[0], run[-1])]


# --- The runtime, and the page.


def _put_runtime(page: _Folder, source: str | None) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=page.home) as stage:
        files = _runtime_files(source or _from_npm(Path(stage)), Path(stage))
    for name, content in files.items():
        if sha256(content).hexdigest() != _RUNTIME_FILES[name]:
            raise ArtefactRefused(
                f"{name!r} of {source or 'npm'!r} is not that of {RUNTIME}.", hint=f"Name that one: npm pack {RUNTIME}"
            )
    page.put(f"runtime/{_MODULE}", files[_MODULE])
    return {"module": f"runtime/{_MODULE}", "wasm": page.pack(f"runtime/{_WASM}", files[_WASM]), "licence": "MIT"}


def _from_npm(stage: Path) -> str:
    """Download the archive with npm, as configured on this machine."""
    npm = shutil.which("npm")
    command = [npm or "npm", "pack", RUNTIME, "--silent", "--pack-destination", str(stage)]
    done = None
    if npm is not None:
        done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603 - as the hint says
    if done is None or done.returncode:
        why = "npm is not installed" if done is None else (done.stderr.strip().splitlines() or ["npm failed"])[-1]
        raise SetupError(
            f"The page needs {RUNTIME}, which runs encoders in browsers, and npm did not give it: {why}",
            hint=f"On a machine with npm: npm pack {RUNTIME}; then --runtime FILE.tgz.",
        )
    return str(next(stage.glob("*.tgz")))


def _runtime_files(source: str, stage: Path) -> dict[str, bytes]:
    """Return the files of the runtime in a folder, an archive or an archive at an address."""
    if re.match(r"https?://", source):
        archive = stage / "runtime.tgz"
        download(source, archive)
        source = str(archive)
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return {name: next(path.rglob(name)).read_bytes() for name in _RUNTIME_FILES}
        with tarfile.open(path) as packed:
            members = {name: packed.extractfile(f"package/dist/{name}") for name in _RUNTIME_FILES}
            return {name: member.read() for name, member in members.items() if member is not None}
    except (OSError, KeyError, StopIteration, tarfile.TarError) as error:
        raise SetupError(
            f"{source!r} holds no onnxruntime-web ({type(error).__name__}: {error}).",
            hint=f"It is a folder or archive of the npm package: npm pack {RUNTIME}",
        ) from error


def _write_index(page: _Folder, network: str, bundle: Mapping[str, object]) -> None:
    ours = resources.files("coterie.edge") / "web"
    for name in _OWN:
        page.put(name, (ours / name).read_bytes())
    modules = {f"./{name}": value for name, value in page.integrity.items() if name.endswith((".js", ".mjs"))}
    imports = json.dumps({"integrity": modules}).replace("<", "\\u003c")
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string((ours / "index.html").read_text(encoding="utf-8")).render(
        network=network,
        imports=imports,
        imports_hash=_integrity(imports.encode()),
        integrity=page.integrity,
        bundle=bundle,
    )
    (page.home / "index.html").write_text(text, encoding="utf-8")


def _integrity(content: bytes) -> str:
    return f"sha256-{base64.b64encode(sha256(content).digest()).decode()}"
