"""The files below a folder, and every path that leads to one: what patterns of labels are compared with.

A pattern is written by somebody who sees one path. The file may be reached by others, through links, and keeps its
label on all of them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coterie.errors import InputError

_MOST_WAYS = 1000


@dataclass(kw_only=True)
class Walk:
    """What stands below a folder."""

    files: list[Path] = field(default_factory=list)
    """Files that are not hidden, links to files of the same folder among them."""
    links: list[tuple[Path, Path]] = field(default_factory=list)
    """Links to what stands below the same folder, with what they lead to."""
    outside: list[Path] = field(default_factory=list)
    """Links that lead out of it: nobody goes there."""
    closed: dict[Path, str] = field(default_factory=dict)
    """Folders that cannot be looked into, with the reason."""


def walk(root: Path) -> Walk:
    """Everything below a real folder, in order."""
    found = Walk()
    _walk(root, root, found)
    return found


def _walk(folder: Path, root: Path, found: Walk) -> None:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        found.closed[folder] = error.strerror or type(error).__name__
        return
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_symlink():
            target = Path(os.path.realpath(path))  # a link to itself is no error here
            if not target.is_relative_to(root):
                found.outside.append(path)
                continue
            found.links.append((path, target))
        if path.is_file():
            found.files.append(path)
        elif (
            path.is_dir() and not path.is_symlink()
        ):  # what a link leads to is found where it is; one upwards never ends
            _walk(path, root, found)


class Names:
    """By what paths a file is known.

    Args:
        bases: Folders and files that paths may be relative to, as they are named: the network's folder, those
            that are searched, and those of the whole shelf.
        links: Links with what they lead to.
    """

    def __init__(self, bases: Sequence[Path], links: Sequence[tuple[Path, Path]]) -> None:
        folders = [base if base.is_dir() else base.parent for base in bases]
        self._bases = list(dict.fromkeys(form for folder in folders for form in _forms(folder.absolute())))
        self._links = defaultdict[Path, list[Path]](list)
        for link, target in links:
            self._links[target].append(link)

    def of(self, named: Path, file: Path) -> list[str]:
        """Every name of a file: whole paths, and paths relative to each base.

        Args:
            named: Its path as it was named, links and all.
            file: Its path below a real folder; may be a link itself.
        """
        whole = list(dict.fromkeys([*_forms(named), *_forms(file), *self._linked(file.resolve())]))
        below = (path.relative_to(base) for path in whole for base in self._bases if path.is_relative_to(base))
        return [path.as_posix() for path in (*whole, *below)]

    def _linked(self, file: Path) -> list[Path]:
        """The paths to a file through links, each link at most once. Raises `InputError` if there is no end of them."""
        ways: list[tuple[Path, frozenset[Path]]] = [(file, frozenset())]
        for path, used in ways:  # grows
            for above in (path, *path.parents):
                new = [link for link in self._links.get(above, ()) if link not in used]
                ways += [(link / path.relative_to(above), used | {link}) for link in new]
            if len(ways) > _MOST_WAYS:
                raise InputError(
                    f"More than {_MOST_WAYS:,} paths lead to {str(file)!r} through links, so its label cannot be told.",
                    hint="Take links away that lead to folders above them.",
                )
        return [path for path, _ in ways[1:]]


def _forms(path: Path) -> tuple[Path, ...]:
    """A path as it stands, without its dots, and without its links."""
    return path, Path(os.path.normpath(path)), path.resolve()
