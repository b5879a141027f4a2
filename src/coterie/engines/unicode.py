"""Text that native code and JSON encoders take: valid Unicode."""

from __future__ import annotations

from math import ceil


def valid_text(text: str) -> str:
    """The text with lone surrogates, which no encoding can carry, replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def estimate_tokens(text: str) -> int:
    """Tokens of a text whose tokenizer is not known: four UTF-8 bytes a token, the usual rule of thumb."""
    return ceil(len(valid_text(text).encode()) / 4)
