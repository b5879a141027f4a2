"""Checks of what a file says before a head is made of it: a file is data from outside, whoever signed for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def stored_array(arrays: Mapping[str, np.ndarray], name: str, *shape: int | None) -> np.ndarray:
    """The array of this name.

    Args:
        arrays: What the file holds.
        name: Which one.
        shape: What its shape must be; None stands for any length.

    Raises:
        ValueError: there is none, or its shape or a value is wrong.
    """
    if name not in arrays:
        raise ValueError(f"there is no array {name!r}")
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        wanted in {None, found} for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"array {name!r} has the shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"array {name!r} has values that are not finite")
    return array


def stored_strings(description: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of distinct strings. Raises `ValueError`."""
    values = description[key]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{key!r} is no list of strings")
    if len(set(values)) < len(values):
        raise ValueError(f"{key!r} names something twice")
    return tuple(values)
