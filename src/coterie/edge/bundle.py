"""Make a bundle: a signed folder with interpreter, packages and a network; or the same as an OCI image.

The content is measured: a process serves the network, and the packages that it has imported are copied. A server
imports no training code and no training packages, so they are left out. `device` is the part on the device.

One layer holds the bundle, with fixed dates and owners, so that one bundle gives one digest.
"""

from __future__ import annotations

import compileall
import gzip
import io
import json
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from coterie import __version__
from coterie.config.file import Config, LlamaModel, load_config
from coterie.edge import device as devices
from coterie.edge.device import MANIFEST, NETWORK, SIGNATURE, BundleRelease
from coterie.engines.onnx import BUNDLED, ENCODER_FILES, encoder_folder
from coterie.errors import InputError, SetupError
from coterie.models.catalogue import SNAPSHOT_FILE, locate, models_folder
from coterie.registry.registry import REGISTRY_FOLDER, open_registry
from coterie.registry.signature import Signer
from coterie.tasks.contract import task_of

_ASKED = ("What is this about?", "Please help me with my account, 25 March 2026, EUR 12.50.")
"""Requests that are served to find out what is imported."""
_LEFT_OUT = shutil.ignore_patterns(
    *("__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "distutils"),
    *("pydoc_data", "site-packages", "config-*", "*.pyi", "*.pxd", "*.h", "*.a", "*.exe", "*.c", "*.cpp"),
)
_UNUSED = (
    *(f"onnxruntime/{name}" for name in ("transformers", "tools", "quantization", "datasets")),
    *(f"numpy/{name}" for name in ("f2py", "distutils", "_pyinstaller")),
    "coterie/examples",
)
"""Parts of packages that serving does not use: programs that convert models, compile Fortran, examples."""
_WEIGHTED = ("privacy/tagger",)
"""Modules of Coterie with weights in a folder of their name, left out of a network that does not import them."""
_READING = ("engines/checker/*", "engines/reader/upper.onnx", "engines/reader/heads.safetensors")
"""Files of models that read documents, left out of a network that reads none; follow-ups need the lower layers."""
_TRAINS = frozenset({"scikit-learn", "sympy", "huggingface-hub", "pygments"})
"""Requirements of Coterie and of its requirements that train, convert or download models, or colour code."""
_SYSTEM = re.compile(r"^(ld-linux|libc|libm|libdl|libpthread|librt|libutil|libresolv|linux-vdso)[.-]")
"""Libraries that every Linux of this architecture has."""
_LAUNCHER = """#!/bin/sh
# Serves the network in the slot that runs, after a check of every byte; or: run verify, install RELEASE, revert.
here=$(cd "$(dirname "$0")" && pwd)
slot=$(cd "$here/current" && pwd -P)
LD_LIBRARY_PATH="$slot/python/lib" exec "$slot/python/bin/python3" -I -B -X utf8 -m coterie.edge.device "$here" "$@"
"""


def build_bundle(folder: Path, out: Path, *, signer: Signer, release: int | None = None) -> BundleRelease:
    """Make a bundle of a network, or a further release of it in the slot that does not run.

    Args:
        folder: The network's folder; its champions are copied, and nothing of `state` but indexes of documents.
        out: The bundle; a new folder, or one that an earlier call made.
        signer: Signs the release.
        release: Number of the release; the next one by default.

    Raises:
        InputError: there is something else at `out`, or the number is not higher than the last.
        SetupError: the network cannot be served, or something cannot be copied.
    """
    if sys.platform != "linux":
        raise SetupError(f"A bundle was to be made on {sys.platform}; they are made for Linux, on Linux.")
    new = not out.exists()
    if not new and not (out / devices.CURRENT).is_symlink():
        raise InputError(f"{str(out)!r} exists and is no bundle.", hint="Name a folder that does not exist yet.")
    config = load_config(folder)
    highest = 0 if new else int((out / devices.RELEASE).read_text())
    number = highest + 1 if release is None else release
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as draft:
        home = Path(draft) / "release"
        _copy_network(folder, config, home / devices.NETWORK)
        tried = Path(draft) / "tried"  # a copy: what is asked there is in nobody's ledger
        shutil.copytree(home / devices.NETWORK, tried)
        _copy_packages(home, _imported(tried), reads=_reads(config))
        _compile(home / "python")
        _sign(home, signer, {"release": number, "network": config.network.name, "coterie": __version__})
        if new:
            out.mkdir()
            (out / devices.TRUSTED).write_text(f"{signer.public}\n")
            launcher = out / "run"
            launcher.write_text(_LAUNCHER)
            launcher.chmod(0o755)
        return devices.install(home, out)


def _copy_network(folder: Path, config: Config, home: Path) -> None:
    """Copy the file, the champions, the indexes of documents and the models that run in the process."""
    home.mkdir(parents=True)
    shutil.copy2(folder / "coterie.toml", home)
    registry = open_registry(folder, config.registry)
    for name in config.specialists:
        champion = registry.champion(name)
        target = home / REGISTRY_FOLDER / name
        shutil.copytree(champion.folder, target / champion.folder.name)
        shutil.copy2(champion.folder.parent / "champion", target)
    for path in (folder / devices.STATE).glob("*"):
        if path.name == "knowledge" or path.suffix == ".safetensors" or path.name.endswith("checks.json"):
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            (home / devices.STATE).mkdir(exist_ok=True)
            copy(path, home / devices.STATE / path.name)
    for path in _files_of_models(folder, config):
        if path.is_relative_to(folder):
            target = home / path.relative_to(folder)
        else:
            target = home.parent / devices.MODELS / path.relative_to(models_folder())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def _files_of_models(folder: Path, config: Config) -> Iterator[Path]:
    """Yield the files of the models that run in the process, and of the encoder where it is not part of Coterie.

    Raises:
        InputError: a file is neither in the network's folder nor of a pulled model.
    """
    paths: list[Path] = []
    for model in config.models.values():
        if isinstance(model, LlamaModel):
            path = locate(model, folder)
            paths += [path, *(file for above in path.parents if (file := above / SNAPSHOT_FILE).is_file())]
    if config.network.encoder != BUNDLED:
        encoder = encoder_folder(config.network.encoder, folder)
        paths += (encoder / name for name in ENCODER_FILES)
    names = {model.name for model in config.models.values()} | {config.network.encoder}
    by_path = {Path(name).expanduser() for name in names if Path(name).expanduser().is_absolute()}
    for path in paths:
        if by_path & {path, *path.parents} or not any(map(path.is_relative_to, (folder, models_folder()))):
            raise InputError(
                f"The network uses {str(path)!r}, which is neither in its folder nor a pulled model.",
                hint="Put it into the network's folder, and name it by its path there.",
            )
        yield path


def _imported(folder: Path) -> list[Path]:
    """Return the files of all modules that a server of the network imports."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "coterie.edge.imports", str(folder), *_ASKED],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no word of it"])[-1].replace(f"{folder}/", "")
        raise SetupError(
            f"The network in {str(folder)!r} cannot be served: {why}",
            hint="A bundle holds what coterie.toml names, and no private key: name such a key by `env:NAME`.",
        )
    return [Path(name) for name in json.loads(done.stdout.splitlines()[-1])]


def _reads(config: Config) -> bool:
    """Return whether anything in the network reads documents."""
    reading = any(task_of(section).reads_documents for section in config.specialists.values())
    return bool(config.knowledge or config.generalist or reading)


def _copy_packages(home: Path, imported: Sequence[Path], *, reads: bool) -> None:
    """Copy the interpreter, its library and every distribution of which something was imported."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python, base = home / "python", Path(sys.base_prefix)
    (python / "bin").mkdir(parents=True)
    interpreter = (base / "bin" / version).resolve()
    shutil.copy2(interpreter, python / "bin" / "python3")
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, python / "lib" / version, ignore=_LEFT_OUT)
    dynamic = python / "lib" / version / "lib-dynload"
    if not dynamic.exists():
        shutil.copytree(Path(sysconfig.get_config_var("DESTSHARED")), dynamic)
    for unused in (*dynamic.glob("_test*"), *dynamic.glob("_tkinter*")):
        unused.unlink()
    needed = _shared_libraries([interpreter, *dynamic.glob("*.so")])
    for library in dynamic.glob("*.so"):
        _strip(library)
    for name, path in needed.items():
        shutil.copy2(path, python / "lib" / name)
        _strip(python / "lib" / name)
    site = python / "lib" / version / "site-packages"
    for distribution in _distributions(imported):
        _copy_distribution(distribution, site)
    ours = Path(__file__).parent.parent
    shutil.copytree(ours, site / "coterie", ignore=_LEFT_OUT, dirs_exist_ok=True)
    _copy_distribution(metadata.distribution("coterie"), site, only=".dist-info")  # with its entry points
    _leave_out(site, imported)
    for part in () if reads else _READING:
        for file in (site / "coterie").glob(part):
            file.unlink()


def _leave_out(site: Path, imported: Sequence[Path]) -> None:
    """Remove files of the packages that this network does not use."""
    for part in _UNUSED:
        shutil.rmtree(site / part, ignore_errors=True)
    for library in site.glob("onnxruntime/capi/libonnxruntime.so.*"):
        library.unlink()  # for programs in C: the Python module has its own copy
    for library in site.rglob("*.so"):
        if b"\0.debug_info\0" in library.read_bytes():  # others may have been moved about by tools, and break
            _strip(library)
    for module in _WEIGHTED:
        if not any(path.match(f"coterie/{module}.py") for path in imported):
            for pattern in ("*.onnx", "tokenizer.json"):
                for file in (site / "coterie" / module).glob(pattern):
                    file.unlink()


def _shared_libraries(binaries: Iterable[Path]) -> dict[str, Path]:
    """Return the libraries that these binaries need and that not every Linux has, by name."""
    libraries: dict[str, Path] = {}
    for binary in binaries:
        listing = subprocess.run(["ldd", str(binary)], capture_output=True, check=False, text=True).stdout  # noqa: S603, S607
        for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listing, re.MULTILINE):
            if not _SYSTEM.match(name):
                libraries[name] = Path(path).resolve()
    return libraries


def _strip(library: Path) -> None:
    """Remove debugging information from a library, where there is a tool for that."""
    if (tool := shutil.which("strip")) is not None:
        subprocess.run([tool, "--strip-unneeded", str(library)], check=False, capture_output=True)  # noqa: S603


def _distributions(imported: Sequence[Path]) -> list[metadata.Distribution]:
    """Return the installed distributions, except Coterie, that have one of these files."""
    files = {path.resolve() for path in imported}
    required = _required("coterie")
    return [
        distribution
        for distribution in metadata.distributions()
        if distribution.metadata["Name"].lower() != "coterie"
        and (
            canonical(distribution.metadata["Name"]) in required
            or any(Path(str(distribution.locate_file(file))).resolve() in files for file in distribution.files or ())
        )
    ]


def _required(name: str) -> set[str]:
    """Return the names of all direct and indirect requirements of a distribution, without extras and training ones."""
    required: set[str] = set()
    left = [name]
    while left:
        try:
            wanted = metadata.requires(left.pop()) or []
        except metadata.PackageNotFoundError:
            continue  # of another system
        names = {
            canonical(re.split(r"[^A-Za-z0-9._-]", requirement)[0])
            for requirement in wanted
            if "extra ==" not in requirement
        }
        new = names - required - _TRAINS
        required |= new
        left += new
    return required


def canonical(name: str) -> str:
    """Return the name of a distribution in the normalised form of its index."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _copy_distribution(distribution: metadata.Distribution, site: Path, *, only: str = "") -> None:
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        parts = set(file.parts[:-1])
        if file.parts[0] == ".." or parts & {"tests", "test", "__pycache__"} or not source.is_file():
            continue
        if not file.parts[0].endswith(only):
            continue
        if file.suffix in {".pyi", ".pxd", ".h", ".a", ".c", ".cpp", ".pyc"}:
            continue
        target = site / Path(*file.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _compile(python: Path) -> None:
    """Compile all modules, without dates in them, since the bundle's check guarantees the same source."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(
        str(python), quiet=2, invalidation_mode=mode, stripdir=str(python), workers=os.cpu_count() or 1
    )


def _sign(home: Path, signer: Signer, about: Mapping[str, object]) -> None:
    files = sorted(devices.files_of(home).items())
    sums = {name: sha256(Path(path).read_bytes()).hexdigest() for name, path in files}
    system = {"system": platform.system(), "machine": platform.machine(), "libc": " ".join(platform.libc_ver())}
    document = {"format": devices.FORMAT, **about, "platform": system, "files": sums}
    manifest = json.dumps(document, indent=1).encode() + b"\n"
    (home / MANIFEST).write_bytes(manifest)
    signature = signer.attest(devices.STATEMENT, manifest)
    (home / SIGNATURE).write_text(json.dumps({"algorithm": "ed25519", "key": signer.public, "signature": signature}))


# --- A bundle as an OCI image layout: a folder that container tools load, made without any of them.

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_USER = 65532
"""Owner of the files and user of the process, which is not root."""


def write_image(bundle: Path, out: Path, *, name: str) -> str:
    """Write the image of a bundle to a new folder; return its digest.

    The image has no operating system: it runs on a base with a C library and a shell, or from an image volume.

    Raises:
        InputError: there is something at `out`.
    """
    if out.exists():
        raise InputError(f"{str(out)!r} exists already.", hint="Name a folder that does not exist yet.")
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    plain, packed = _layer(bundle, blobs)
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"User": f"{_USER}", "Entrypoint": ["/coterie/run"], "WorkingDir": "/coterie"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _blob(blobs, config, "application/vnd.oci.image.config.v1+json"),
        "layers": [packed],
    }
    described = _blob(blobs, manifest, "application/vnd.oci.image.manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [described]}
    (out / "index.json").write_text(json.dumps(index))
    (out / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(described["digest"])


def _layer(bundle: Path, blobs: Path) -> tuple[str, dict[str, Any]]:
    """Write the layer; return the digest of its uncompressed content, and its description."""
    draft = blobs / "draft"
    with draft.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as zipped:
        plain = _Hashing(zipped)
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(bundle.rglob("*")):
                if path.relative_to(bundle).parts[0] == NETWORK:
                    continue  # the ledger and the keys of a device that has run: no part of a release
                archive.add(path, f"coterie/{path.relative_to(bundle)}", recursive=False, filter=_anonymous)
    content = draft.read_bytes()
    digest = sha256(content).hexdigest()
    draft.replace(blobs / digest)
    media = "application/vnd.oci.image.layer.v1.tar+gzip"
    return plain.digest.hexdigest(), {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}


class _Hashing(io.RawIOBase):
    """A stream that passes on written data and computes its SHA-256."""

    def __init__(self, target: gzip.GzipFile) -> None:
        self.digest, self._target = sha256(), target

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401 - any buffer
        self.digest.update(content)
        self._target.write(content)
        return len(content)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = _USER
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _blob(blobs: Path, document: dict[str, Any], media: str) -> dict[str, Any]:
    content = json.dumps(document, sort_keys=True).encode()
    digest = sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    os.chmod(blobs / digest, 0o644)  # noqa: PTH101 - as all blobs
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}
