"""Narrow models with one task each: a specialist answers, or abstains and gives a reason.

The prompt of a tuned small model is raw text, without a chat template, and short: an adapter learns the task from its
examples, and every token of the prompt is read again with each request. An answer begins with a space, so that a
byte-pair tokenizer cuts it in the same way whether it sees the answer alone or after the prompt.

A network of a thousand specialists is open before any of them is loaded: router and planner need their cards only. The
first caller waits for the load, and later callers wait for the same load. When the budget is reached, the least
recently used specialists are dropped, never one that is answering. A budget of memory bounds them all.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from coterie.config.specialists import SpecialistSection
from coterie.errors import ArtefactRefused, ConfigError, CoterieError
from coterie.protocols import Engine, Specialist
from coterie.registry.version import Version
from coterie.runtime.codec import parse_json, replace
from coterie.types import SYSTEM, AcceptanceOverride, CallContext, ContextView, Finding, Reason, SpecialistCard, Task

if TYPE_CHECKING:
    from coterie.engines.onnx import OnnxEncoder, OnnxTagger

_FEWEST_DECIMALS, _MOST_DECIMALS = 2, 6


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The criteria for accepting a finding: fitted in training, stored with the version."""

    temperature: float
    """Divisor of the logits."""
    threshold: float | None
    """Lowest confidence accepted; None accepts nothing."""
    target_risk: float
    """Share of wrong answers among accepted ones that the threshold guarantees."""
    scope_threshold: float | None
    """Lowest in-scope score accepted; None accepts any."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and math.isnan(value):
                raise ValueError(f"{name} is not a number")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature!r}, not above 0")

    def judge(
        self,
        confidence: float,
        in_scope: float | None,
        override: AcceptanceOverride | None = None,
        *,
        guess: str = "",
    ) -> tuple[bool, Reason]:
        """Return whether a finding is accepted, and why. An override replaces the threshold, not the scope threshold.

        Args:
            confidence: The probability that the answer is right.
            in_scope: The in-scope score, where there is one.
            override: The acceptance override of the cost-quality policy.
            guess: The likely answer, if it is short: the caller can continue with it although it is not sure.
        """
        if self.scope_threshold is not None and in_scope is not None and in_scope < self.scope_threshold:
            apart = _decimals(in_scope, self.scope_threshold)
            return False, Reason("abstain.out_of_scope", in_scope=in_scope, needed=self.scope_threshold, decimals=apart)
        if override is not None:
            return overridden(confidence, override, guess)
        risk = 100 * self.target_risk
        if self.threshold is None:
            return False, Reason("abstain.no_threshold", guess=guess, confidence=confidence, risk_percent=risk)
        needed, apart = self.threshold, _decimals(confidence, self.threshold)
        if confidence < needed:
            return False, Reason(
                "abstain.below_threshold", guess=guess, confidence=confidence, needed=needed, decimals=apart
            )
        return True, Reason(
            "accept.above_threshold", confidence=confidence, needed=needed, decimals=apart, risk_percent=risk
        )


def overridden(confidence: float, override: AcceptanceOverride, guess: str = "") -> tuple[bool, Reason]:
    """Return whether an acceptance override accepts an answer, and why."""
    if override.confidence is None:
        return False, Reason("abstain.override_accepts_nothing", why=override.reason)
    needed = override.confidence
    about: dict[str, float | Reason] = {
        "confidence": confidence,
        "needed": needed,
        "decimals": _decimals(confidence, needed),
        "why": override.reason,
    }
    if confidence < needed:
        return False, Reason("abstain.below_override", guess=guess, **about)
    return True, Reason("accept.above_override", **about)


def _decimals(value: float, needed: float) -> int:
    """Return the number of decimals with which two numbers are shown: enough to tell them apart."""
    for decimals in range(_FEWEST_DECIMALS, _MOST_DECIMALS + 1):
        if f"{value:.{decimals}f}" != f"{needed:.{decimals}f}":
            return decimals
    return _FEWEST_DECIMALS


# --- From the probability of an answer to the confidence that it is right.

_SUREST = 1e-6
"""A probability is clipped to at least this distance from 0 and from 1."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceLine:
    """A line through the log-odds, fitted in training by `coterie.learning`, stored with the version."""

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise ValueError(f"{self!r} does not rise")

    def believe(self, probability: ArrayLike) -> np.ndarray:  # (...) -> (...)
        """Return confidences for probabilities, in their shape and order."""
        probabilities = np.asarray(probability, dtype=float)
        if self == STRAIGHT:
            return probabilities
        sure = np.clip(probabilities, _SUREST, 1 - _SUREST)
        odds = self.intercept + self.slope * np.log(sure / (1 - sure))  # their logarithm
        return np.asarray(np.exp(-np.logaddexp(0.0, -odds)))


STRAIGHT = ConfidenceLine()
"""The line that leaves probabilities unchanged."""

# --- A finding that says nothing but why.


def abstention(specialist: str, task: Task, reason: Reason) -> Finding:
    """Return the finding of a specialist that cannot even try."""
    return Finding(
        specialist=specialist,
        value=None,
        text="",
        confidence=0.0,
        accepted=False,
        reason=reason,
        label=task.label,
        label_without_pii=task.label_without_pii,
    )


# --- Saying that a text was not read to its end.


def truncated_finding(finding: Finding) -> Finding:
    """Return the finding of a text that was only partly read, with a note on that added to its reason."""
    return replace(finding, reason=finding.reason.noting(Reason("note.text_truncated")), truncated=True)


# --- Stored versions in use: their adapters, prompts and bases; weights loaded on the first request.

ADAPTER_FILE = "adapter.gguf"


def base_of(version: Version) -> str | None:
    """Return the checksum of the model file that a version's adapter was trained on; None if it has no adapter.

    Raises:
        ArtefactRefused: the version has an adapter and does not name its model.
    """
    if ADAPTER_FILE not in version.files:
        return None
    try:
        return str(parse_json(version.files["model.json"])["base"]["sha256"])
    except (LookupError, TypeError, ValueError) as error:
        raise ArtefactRefused(
            f"Version {version.version} of {version.name!r} has an adapter and does not say for which model.",
            hint=f"Train it again: coterie train {version.name}",
        ) from error


def model_of(card: SpecialistCard, section: SpecialistSection, models: Mapping[str, Engine]) -> Engine:
    """Return the engine that a section names. Raises `ConfigError` when there is none."""
    if section.model is None or section.model not in models:
        raise ConfigError(
            f"specialists.{card.name}.model is {section.model!r}; the open models are {sorted(models)}.",
            hint=f"Correct `model` of specialists.{card.name} in coterie.toml.",
        )
    return models[section.model]


# --- A version's own encoder: its files among the others, under a prefix.

_PREFIX = "encoder."


def own_encoder_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return an encoder's files under the names that they have in a version."""
    return {_PREFIX + name: content for name, content in files.items()}


def load_own_encoder(name: str, files: Mapping[str, bytes]) -> OnnxEncoder:
    """Load the encoder from a version's files. Raises `KeyError` if it is incomplete, `ArtefactRefused` if damaged."""
    # Imported here: other specialists need no onnxruntime.
    from coterie.engines.onnx import ENCODER_FILES, OnnxEncoder  # noqa: PLC0415

    own = {file: files[_PREFIX + file] for file in ENCODER_FILES}
    return OnnxEncoder(own, name=f"encoder of {name}", location=f"specialist {name}")


def load_own_tagger(name: str, files: Mapping[str, bytes]) -> OnnxTagger:
    """Load the tagger from a version's files. Raises `KeyError` if it is incomplete, `ArtefactRefused` if damaged."""
    from coterie.engines.onnx import ENCODER_FILES, OnnxTagger  # noqa: PLC0415 - as above

    own = {file: files[_PREFIX + file] for file in ENCODER_FILES}
    return OnnxTagger(own, name=f"encoder of {name}", location=f"specialist {name}")


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """The prompt of a `classify` specialist on the rung `slm`; stored with the version under `prompt`."""

    instruction: str = ""
    """First line of the prompt; empty for none."""
    text: str = "Text:"
    """Words before the text."""
    answer: str = "Label:"
    """Words before the answer, at the end of the prompt."""

    def __post_init__(self) -> None:
        if not self.answer:
            raise ValueError("its prompt ends with nothing")

    def prompt(self, text: str) -> str:
        """Return the prompt for a text, put on one line so that it cannot look like the rest of the prompt."""
        lines = (self.instruction, f"{self.text} {' '.join(text.split())}", self.answer)
        return "\n".join(line for line in lines if line)


def answers(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the model's answer for each label: `card_arrival` as " card arrival", or the label where these clash.

    In training, the end of the turn follows the answer, so that a label that is a prefix of another is told apart
    from it.
    """
    words = [re.sub(r"[\W_]+", " ", label).strip() for label in labels]
    if len(set(words)) < len(words) or not all(words):
        words = list(labels)
    return tuple(f" {word}" for word in words)


# --- Specialists whose weights are loaded on the first request, within a memory budget.

Load = Callable[[], Specialist]
"""A function that reads a specialist's files. Called in a thread."""

_SIDE_BY_SIDE = 2  # loads at once: they read files and copy arrays


class WeightMemory:
    """Holds loaded specialists, and drops the least recently used first. Callers of any event loop may share it.

    A specialist larger than the budget is loaded nevertheless, alone, and dropped when it has answered.
    """

    def __init__(self, budget: int) -> None:
        """Create an empty memory of `budget` bytes."""
        self._budget = budget
        self._held: OrderedDict[str, _Held] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="coterie-load")

    @property
    def used(self) -> int:
        """Bytes of the specialists that are held or being loaded."""
        with self._lock:
            return self._sum()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the specialists that are held or being loaded, the least recently used first."""
        with self._lock:
            return tuple(self._held)

    @asynccontextmanager
    async def hold(self, name: str, size: int, load: Load) -> AsyncIterator[Specialist]:
        """Yield a specialist that stays in memory inside the block; load it first if it is not there.

        Raises whatever `load` raises, for every caller that waits for it; the next caller tries again.
        """
        held = self._take(name, size, load)
        try:
            # Shielded: somebody else may wait for the same load.
            yield await asyncio.shield(asyncio.wrap_future(held.loading))
        finally:
            self._give_back(held)

    def _take(self, name: str, size: int, load: Load) -> _Held:
        with self._lock:
            held_one = self._held.get(name)
            if held_one is None:
                self._make_room(size)
            held = self._held[name] = held_one or _Held(size=size, loading=self._pool.submit(load))
            held.users += 1
            self._held.move_to_end(name)
        if held_one is None:  # without the lock: a load that is done already calls back at once
            held.loading.add_done_callback(lambda done: self._forget_failed(name, held, done))
        return held

    def _give_back(self, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            self._make_room(0)

    def _forget_failed(self, name: str, held: _Held, done: Future[Specialist]) -> None:
        if done.cancelled() or done.exception() is not None:
            with self._lock:
                if self._held.get(name) is held:
                    del self._held[name]

    def _make_room(self, size: int) -> None:
        """Drop idle specialists, the least recently used first, until `size` bytes fit."""
        for name in [name for name, held in self._held.items() if not held.users]:
            if self._sum() + size <= self._budget:
                return
            del self._held[name]

    def _sum(self) -> int:
        return sum(held.size for held in self._held.values())


@dataclass(kw_only=True, eq=False)
class _Held:
    size: int
    loading: Future[Specialist]
    users: int = 0


class OnDemand:
    """A specialist that is loaded when it is consulted."""

    def __init__(self, *, card: SpecialistCard, size: int, load: Load, memory: WeightMemory) -> None:
        """Describe the specialist without reading its files.

        Args:
            card: What the network knows of the specialist without loading it.
            size: Bytes of its weights.
            load: Reads the specialist.
            memory: Holds the specialist together with others.
        """
        self.card = card
        self._size = size
        self._load = load
        self._memory = memory

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Return the specialist's finding. Raises `ArtefactRefused` if it cannot be loaded, and its own errors."""
        async with self._memory.hold(self.card.name, self._size, self._loaded) as specialist:
            return await specialist.consult(task, view, call=call)

    def _loaded(self) -> Specialist:
        try:
            return self._load()
        except CoterieError:
            raise
        except Exception as error:
            raise ArtefactRefused(
                f"The weights of {self.card.name!r} cannot be loaded: {type(error).__name__} {error}.",
                hint=f"Free memory, or train it again: coterie train {self.card.name}",
            ) from error
