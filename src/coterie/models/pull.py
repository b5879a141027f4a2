"""Getting a known model onto this machine: the only module of the package that starts network use.

Whatever the source, the file is complete and has the pinned checksum before it gets its name, in one step.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import httpx

from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.catalogue import CATALOGUE, KnownModel
from coterie.models.download import Download, PartialFile, Progress
from coterie.models.files import HOME_VARIABLE, checksum_of
from coterie.models.locate import home_of, is_whole
from coterie.models.pip import download_wheel, find_wheel
from coterie.models.publishers import Wire, hub_endpoint
from coterie.models.pull_snapshot import pull_snapshot
from coterie.models.snapshot import Origin
from coterie.runtime.files import locked

_CHUNK = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, zlib.error, EOFError, OSError)
"""What the standard library raises for a damaged wheel."""


def pull(name: str, *, file: str | None = None, source: str | None = None, progress: Progress | None = None) -> Path:
    """Fetch a model, unless it is already here.

    Args:
        name: a name of `CATALOGUE`; or `OWNER/NAME[@REVISION]` on the hub, or `package:NAME[==VERSION]`.
        file: of the latter two the only one that is wanted, such as a GGUF file; else what fine-tuning an encoder
            needs.
        source: `package` (the default: the wheel that pip finds), `hub`, an http(s) address, or a file or
            folder; addresses and files may be the model itself or a wheel that holds it.
        progress: told the bytes that are here and the bytes of the whole, if known.

    Returns:
        The file, or the folder with the files, verified.

    Raises:
        ModelMissing: no such name, the source has no such file or cannot be reached, or there is no room.
        ArtefactRefused: the source's file is not the pinned one.
    """
    if name not in CATALOGUE and (origin := Origin.read(name)) is not None:
        snapshot = pull_snapshot(origin, Wire(progress=progress), file=file, source=source)
        return snapshot.folder / (file or "")
    if name not in CATALOGUE:
        raise ModelMissing(
            f"No model is named {name!r}; known are {', '.join(sorted(CATALOGUE))}.",
            hint="Others are pulled as OWNER/NAME of the hub or package:NAME. "
            "A GGUF file of your own needs no pull: give its path as `name` in coterie.toml.",
        )
    if file is not None:
        raise ModelMissing(f"{name!r} is one file: leave --file out.")
    return fetch(CATALOGUE[name], source or "package", progress)


def fetch(
    model: KnownModel,
    source: str,
    progress: Progress | None = None,
    *,
    transport: httpx.BaseTransport | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """`pull` for any model; `transport` and `sleep` are those of `Download`."""
    target = home_of(model)
    errand = _Errand(model=model, target=target, progress=progress, transport=transport, sleep=sleep)
    with _disk_errors_explained(errand):
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f"{target.name}.lock")):
            if not is_whole(target, model):  # else it was here, or another process pulled it meanwhile
                errand.check_room()
                errand.run(source)
                checksum_of(target)  # remembered for `locate`
    return target


@dataclass(kw_only=True)
class _Errand:
    """Brings one model from one source: gets the bytes, checks them, gives them their name."""

    model: KnownModel
    target: Path
    progress: Progress | None
    transport: httpx.BaseTransport | None
    sleep: Callable[[float], None]

    @property
    def part(self) -> PartialFile:
        """The unfinished download."""
        return PartialFile(self.target.with_name(f"{self.target.name}.part"))

    def check_room(self) -> None:
        """A download and what is copied from it must fit side by side."""
        if shutil.disk_usage(self.target.parent).free < 2 * self.model.bytes - self.part.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def run(self, source: str) -> None:
        """Bring it from a source as users name them."""
        model = self.model
        if source == "package":
            self._from_package()
        elif source == "hub":
            self._from_address(f"{hub_endpoint()}/{model.hub_repo}/resolve/{model.hub_revision}/{model.hub_file}")
        elif source.startswith(("http://", "https://")):
            self._from_address(source)
        else:
            self._place(_find_file(model, Path(source).expanduser()))

    def _from_package(self) -> None:
        """From the installed package, or the wheel that pip finds: by our resumable download, or else by pip."""
        if (file := _installed_file(self.model)) is not None:
            return self._place(file)
        address = urlsplit(url := find_wheel(self.model.requirement))
        if address.scheme == "file":
            return self._place(Path(unquote(address.path)))
        try:
            self._from_address(url)
        except ModelMissing:
            # pip may know a proxy, a certificate or a password that we do not.
            with tempfile.TemporaryDirectory(dir=self.target.parent) as folder:
                self._place(download_wheel(self.model.requirement, Path(folder)))

    def _from_address(self, url: str) -> None:
        part = self.part
        Download(
            url=url,
            part=part,
            most=2 * self.model.bytes,
            progress=self.progress,
            transport=self.transport,
            sleep=self.sleep,
        ).run()
        try:
            self._place(part.path, report=False)
        except ArtefactRefused:
            part.discard()  # going on with wrong bytes would not make them right
            raise
        part.discard()

    def _place(self, file: Path, *, report: bool = True) -> None:
        """Copy the model out of a file into its place, if it has the right checksum."""
        descriptor, name = tempfile.mkstemp(dir=self.target.parent, prefix=f"{self.target.name}.")
        copy = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as into:
                found, size = self._copy(file, into, report=report)
                into.flush()
                os.fsync(into.fileno())
            if found != self.model.sha256:
                raise _refused(self.model, file, f"it has {size} bytes or more with the checksum {found}")
            copy.chmod(0o644)
            copy.replace(self.target)
        finally:
            copy.unlink(missing_ok=True)

    def _copy(self, file: Path, into: IO[bytes], *, report: bool) -> tuple[str, int]:
        """Checksum and size of what was copied; stops just beyond the model's size."""
        digest, size = hashlib.sha256(), 0
        for piece in _pieces(self.model, file):
            digest.update(piece)
            into.write(piece)
            size += len(piece)
            if report and self.progress is not None:
                self.progress(size, self.model.bytes)
            if size > self.model.bytes:
                break
        return digest.hexdigest(), size


def _installed_file(model: KnownModel) -> Path | None:
    """The file inside the installed package, when the package is there with the right version."""
    try:
        package = metadata.distribution(model.package)
    except metadata.PackageNotFoundError:
        return None
    file = Path(str(package.locate_file(model.package_member)))
    return file if package.version == model.package_version and file.is_file() else None


def _find_file(model: KnownModel, source: Path) -> Path:
    """The model, or a wheel that holds it, at a path a user gave."""
    wheel = f"{model.package.replace('-', '_')}-{model.package_version}-*.whl"
    candidates = (
        [source] if source.is_file() else [source / model.file, source / model.hub_file, *sorted(source.glob(wheel))]
    )
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ModelMissing(
        f"No model {model.name!r} at {str(source)!r}: neither {model.file!r} nor a wheel {wheel!r}.",
        hint="A source is `package`, `hub`, an http(s) address, a file, or a folder with one of these files.",
    )


def _pieces(model: KnownModel, file: Path) -> Iterator[bytes]:
    """The model's bytes: those of the file itself, or of its member if it is a wheel."""
    if not zipfile.is_zipfile(file):
        with file.open("rb") as content:
            yield from iter(partial(content.read, _CHUNK), b"")
        return
    try:
        with zipfile.ZipFile(file) as wheel, wheel.open(model.package_member) as member:
            yield from iter(partial(member.read, _CHUNK), b"")
    except _UNREADABLE as error:
        raise _refused(model, file, f"as a wheel it cannot be read ({error})") from error


@contextmanager
def _disk_errors_explained(errand: _Errand) -> Iterator[None]:
    """Say what to do about a full or forbidden folder; a full one gets its room back."""
    name, folder = errand.model.name, str(errand.target.parent)
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            errand.part.discard()
            raise ModelMissing(
                f"No room for model {name!r} in {folder!r}: {2 * errand.model.bytes / 1e6:.0f} MB are used "
                "while it is fetched.",
                hint=f"Free some space, or set {HOME_VARIABLE} to a folder on a larger disk.",
            ) from error
        raise ModelMissing(
            f"Model {name!r} cannot be put in place: {error}.",
            hint=f"Set {HOME_VARIABLE} to a folder that you may write to.",
        ) from error


def _refused(model: KnownModel, file: Path, found: str) -> ArtefactRefused:
    return ArtefactRefused(
        f"{file.name!r} is not model {model.name!r}: {found}; pinned are {model.bytes} bytes with {model.sha256}.",
        hint="Try another source. If you want that other file, give its path as `name` in coterie.toml.",
    )
