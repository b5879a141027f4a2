"""The process that reads files: it gets a path a line and answers a line, and may die of any of them.

It runs with limits on memory, on CPU time and on what it may write (nothing), so that a hostile file cannot harm
who asked. It imports neither numpy nor anything that runs models: `_read` starts it and is the other end.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from coterie.knowledge.parse_docx import parse_docx
from coterie.knowledge.parse_html import parse_html
from coterie.knowledge.parse_pdf import parse_pdf
from coterie.knowledge.parse_text import parse_csv, parse_markdown, parse_rst, parse_text
from coterie.knowledge.parsed import Parsed, Unreadable
from coterie.runtime.codec import dumps

PARSERS: dict[str, Callable[[bytes], Parsed]] = {
    ".pdf": parse_pdf,
    ".docx": parse_docx,
    ".html": parse_html,
    ".htm": parse_html,
    ".xhtml": parse_html,
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".txt": parse_text,
    ".text": parse_text,
    ".rst": parse_rst,
    ".csv": parse_csv,
    ".tsv": parse_csv,
}
"""What reads a file, by the end of its name."""

MAX_CHARACTERS = 20_000_000
"""Longest text of one document: some 10,000 pages."""
_RESERVE = 64 * 1024 * 1024
"""Bytes of address space that are given back when the limit is hit, so that this can still be said."""


def parse(path: Path) -> Parsed:
    """The text of a file.

    Raises:
        Unreadable: it cannot be read; the message says why.
    """
    parser = PARSERS.get(path.suffix.lower())
    if parser is None:
        raise Unreadable(f"files {path.suffix or 'without an ending'} are not read; {', '.join(sorted(PARSERS))} are")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{error.strerror or type(error).__name__}") from error
    parsed = parser(content)
    if len(parsed.text) > MAX_CHARACTERS:
        raise Unreadable(
            f"its text exceeds the limit of {MAX_CHARACTERS:,} characters ({len(parsed.text):,}): split it"
        )
    if not parsed.text.strip():
        raise Unreadable("it holds no text")
    # Half of a surrogate pair cannot be stored or encoded; as one character it changes no offset.
    text = parsed.text.encode("utf-8", "replace").decode() if not parsed.text.isascii() else parsed.text
    return Parsed(text=text, headings=parsed.headings, pages=parsed.pages, note=parsed.note)


def main(memory: int, seconds: int) -> None:
    """Answer until standard input ends: `{"error": ...}` or the parsed file, a line each."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory + _RESERVE))
    for line in sys.stdin:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        sys.stdout.write(f"{_answer(Path(json.loads(line)), memory)}\n")
        sys.stdout.flush()


def _answer(path: Path, memory: int) -> str:
    try:
        return dumps(parse(path))
    except Unreadable as error:
        return json.dumps({"error": str(error)})
    except (MemoryError, RecursionError) as error:
        resource.setrlimit(resource.RLIMIT_AS, (memory + _RESERVE, memory + _RESERVE))
        return json.dumps({"error": f"reading it takes too much memory ({type(error).__name__})", "end": True})
    except Exception as error:  # noqa: BLE001 - whatever a file does to its parser is that file's problem
        return json.dumps({"error": f"reading it failed ({type(error).__name__}: {error})"})
