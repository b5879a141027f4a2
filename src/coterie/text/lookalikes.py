"""Signs that stand for others where values are compared: one table, for pseudonyms and for erasure."""

from __future__ import annotations

ALIKE = {"'": "'\u2018\u2019\u02bc\u00b4`", "-": "-\u2010\u2011\u2012\u2013\u2212"}
"""Signs that stand for an apostrophe and for a hyphen in names."""
_NO_WIDTH = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
FOLDED = str.maketrans({sign: plain for plain, alike in ALIKE.items() for sign in alike} | dict.fromkeys(_NO_WIDTH, ""))
"""For `str.translate`: each of them as the plain sign, and none of those without width."""
