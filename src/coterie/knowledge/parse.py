"""The process that reads files: it reads one path a line and answers with one line; any file may crash it.

It runs with limits on memory, on CPU time and on what it may write (nothing), so that a hostile file cannot
harm the calling process. It imports neither numpy nor anything that runs models: `FileReader` starts it and
is its peer.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from coterie.knowledge.parse_office import parse_docx, parse_pptx, parse_xlsx
from coterie.knowledge.parse_pdf import parse_pdf
from coterie.knowledge.parse_text import parse_csv, parse_html, parse_markdown, parse_rst, parse_text
from coterie.knowledge.parsed import Parsed, Unreadable
from coterie.runtime.codec import dumps, from_json, parse_json

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
    ".xlsx": parse_xlsx,
    ".xlsm": parse_xlsx,
    ".pptx": parse_pptx,
}
"""Parsers by file extension."""

MAX_CHARACTERS = 20_000_000
"""Most characters of one document: about 10,000 pages."""
_RESERVE = 64 * 1024 * 1024
"""Bytes of address space that are freed when the limit is reached, so that the error can still be reported."""


def parse(path: Path) -> Parsed:
    """Return the text of a file.

    Raises:
        Unreadable: the file cannot be read; the message says why.
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
    return replace(parsed, text=text)


def main(memory: int, seconds: int) -> None:
    """Answer until standard input ends, one line each: `{"error": ...}` or the parsed file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory + _RESERVE))
    for line in sys.stdin:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        sys.stdout.write(f"{_answer(Path(parse_json(line)), memory)}\n")
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


# --- The parent's end: a process that hangs, crashes or takes too much memory is ended and replaced.

_SECONDS = 60
_MEMORY = 2 * 1024**3
_FILE_BYTES = 256 * 1024 * 1024
"""Size in bytes above which a file is not opened."""
_PROGRAM = "import sys; from coterie.knowledge.parse import main; main(int(sys.argv[1]), int(sys.argv[2]))"


class FileReader:
    """Reads files one after another. A context manager: leaving it ends the process.

    Args:
        seconds: Time limit for one file.
        memory: Bytes of address space that reading one file may take.
    """

    def __init__(self, *, seconds: int = _SECONDS, memory: int = _MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, path: Path) -> Parsed:
        """Return the text of a file.

        Raises:
            Unreadable: the file cannot be read, with the reason; the next file can be read.
        """
        size = _size(path)
        if size > _FILE_BYTES:
            raise Unreadable(f"it exceeds the limit of {_FILE_BYTES:,} bytes ({size:,})")
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both ends are pipes")
        try:
            process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
            process.stdin.flush()
            answer = self._line(process.stdout.fileno())
        except TimeoutError:  # first: it is an OSError too
            self.close()
            raise Unreadable(f"reading it exceeds the limit of {self._seconds} s") from None
        except (OSError, EOFError):
            raise Unreadable(f"reading it ended the process that read it ({self._ended()})") from None
        return self._understood(answer)

    def close(self) -> None:
        """End the process at once. The next `read` starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python, with our own program
                [sys.executable, "-c", _PROGRAM, str(self._memory), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # This process's own path: it may have been started with another one than the child would find.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)},
            )
        return self._process

    def _line(self, file: int) -> bytes:
        """Return the line with the answer, waiting no longer than the time limit of a file."""
        end = time.monotonic() + self._seconds
        pieces: list[bytes] = []
        with selectors.DefaultSelector() as waiting:
            waiting.register(file, selectors.EVENT_READ)
            while not pieces or not pieces[-1].endswith(b"\n"):
                if not waiting.select(max(end - time.monotonic(), 0)):
                    raise TimeoutError
                piece = os.read(file, 1 << 20)
                if not piece:
                    raise EOFError
                pieces.append(piece)
        return b"".join(pieces)

    def _understood(self, answer: bytes) -> Parsed:
        try:
            document = parse_json(answer)
            if "error" not in document:
                return from_json(Parsed, document)
        except (ValueError, KeyError, TypeError) as error:
            self.close()
            raise Unreadable("reading it gave no text") from error
        if document.get("end"):
            self.close()
        raise Unreadable(str(document["error"]))

    def _ended(self) -> str:
        process = self._process
        if process is None:
            return "it is gone"
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)  # it closed its end, so it is about to go
        self.close()
        code = process.returncode
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise Unreadable(f"{error.strerror or type(error).__name__}") from error
