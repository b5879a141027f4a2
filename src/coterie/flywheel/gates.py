"""The two gates of a deployment: on the stream of compared answers, and on held-out rows that people labelled.

*Stream.* Each call that both answered is a row: 0 where the answers are equal, where the deployment abstains (the
current model answers then) or where both are wrong; +1 or -1 where a person found one of them right. Rows are taken in
order, up to the first unjudged difference: skipping it would drop differences only. The evidence is
that of `flywheel.evidence`; a level once reached stays, unless there is also evidence that the deployment is worse.

*Frozen rows.* Examples of the audit slice, sampled by id, that no version is ever trained on. A candidate is
refused if it is measurably worse there than the given answers, over all rows or on those of one label: exact McNemar,
Holm over the labels (`learning.metrics`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from coterie.flywheel.discovery import fold
from coterie.flywheel.evidence import Estimate, StreamDecision, estimate, exact, paths_at, rows_needed
from coterie.learning.metrics import paired_drop, worse
from coterie.types import (
    AnsweredCall,
    CapturedExample,
    ComparedAnswer,
    ComparedConfidence,
    ComparedStream,
    GivenLabel,
)

_WON, _LOST, _BEFORE = 0.4, 0.3, 10
"""Prior shares of differences that a deployment wins and loses, and their weight in differences."""
_LEAST_LEFT = 0.1
"""Smallest expected remainder of an open gate, as a part of all rows that it needs."""
_PLACES = 40
"""Points at which the growth of the evidence is recorded."""
Truths = Mapping[str, str | None]
"""The right answers by people, folded, by example; None where no possible answer is right."""


def drawn(key: str, share: float, *, salt: str) -> bool:
    """Return whether an id is in a sample of this share: deterministic, and independent between salts."""
    digest = blake2b(key.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


@lru_cache(maxsize=1 << 15)  # the same calls are asked about for each page of a review
def is_audit(example: str, share: float) -> bool:
    """Return whether an example is in the slice that is never used for training."""
    return drawn(example, share, salt="audit")


def truths_of(labels: Iterable[GivenLabel]) -> dict[str, str | None]:
    """Return people's label of each example: the majority, the latest for a tie. Feedback does not count as a label."""
    values_by_example: dict[str, list[str | None]] = defaultdict(list)
    for label in sorted(labels, key=lambda label: label.time):
        if label.origin == "person":
            values_by_example[label.example].append(None if label.value is None else fold(label.value))
    return {
        example: max(reversed(values), key=values.count)  # of equally many the latest
        for example, values in values_by_example.items()
    }


@dataclass(frozen=True, kw_only=True)
class StreamEvidence:
    """The evidence of the compared answers so far."""

    compared: int
    accepted: int
    """Compared calls that the deployment answered."""
    same: int
    """Accepted answers that equal the given answer."""
    failed: int
    judged: int
    """Rows in order before the first unjudged difference."""
    wins: int
    losses: int
    pending: tuple[str, ...]
    """Examples with unjudged differences, oldest first."""
    decision: StreamDecision
    not_worse: float
    """Evidence that it is not worse by the margin, as a share of the needed: 1 passes."""
    is_worse: float
    """Evidence that it is worse by the margin; 1 refuses."""
    rows_left: float = math.inf
    """Expected further rows until the gate is passed, if the shares of wins and losses stay as judged."""
    growth: tuple[tuple[int, float, float], ...] = ()
    """Growth of both kinds of evidence: rows judged, then both values, at some rows in order."""

    @property
    def coverage(self) -> float:
        """Share of calls that the deployment would answer."""
        return self.accepted / self.compared if self.compared else 0.0

    @property
    def disagreement(self) -> float:
        """Share of accepted answers that differ."""
        return 1 - self.same / self.accepted if self.accepted else 0.0

    def figures(self) -> dict[str, object]:
        """Return the numbers, for a transition and the audit log."""
        return {
            "compared": self.compared,
            "coverage": round(self.coverage, 4),
            "disagreement": round(self.disagreement, 4),
            "judged": self.judged,
            "wins": self.wins,
            "losses": self.losses,
            "pending": len(self.pending),
            "not_worse": round(self.not_worse, 3),
            "is_worse": round(self.is_worse, 3),
            "decision": self.decision,
        }


def judge_differences(stream: ComparedStream, truths: Truths, *, margin: float, alpha: float) -> StreamEvidence:
    """Return the evidence of a stream; only differing rows are read."""
    judged: list[tuple[int, int]] = []
    pending: list[str] = []
    erased, end = 0, stream.compared
    for difference in stream.differing:
        if difference.given is None:  # an erased call is no row
            erased += 1
        elif difference.example not in truths:
            if not pending:
                end = difference.place - erased
            pending.append(difference.example)
        elif not pending:
            truth = truths[difference.example]
            row = int(fold(difference.answer) == truth) - int(fold(difference.given) == truth)
            judged.append((difference.place - erased, row))
    rows = end if pending else stream.compared - erased
    places = np.unique(np.linspace(0, rows - 1, min(rows, _PLACES)).astype(int)) if rows else np.zeros(0, int)
    at = np.asarray([number for number, row in judged if row], dtype=int)
    signs = np.asarray([row for _, row in judged if row], dtype=int)
    grown = [path / -math.log(alpha) for path in paths_at(places, at, signs, margin=margin)]
    better, is_worse = (float(path[-1]) if len(path) else 0.0 for path in grown)
    differing = sum(row.given is not None for row in stream.differing) / max(1, stream.compared - erased)
    shares = [
        differing * (int((signs == sign).sum()) + part * _BEFORE) / (len(judged) + _BEFORE)
        for sign, part in ((1, _WON), (-1, _LOST))
    ]
    needed = float(rows_needed(*np.asarray(shares)[:, None], margin=margin, alpha=alpha)[0])
    return StreamEvidence(
        compared=stream.compared - erased,
        accepted=stream.accepted - erased,
        same=stream.same,
        failed=stream.failed,
        judged=rows,
        wins=int((signs == 1).sum()),
        losses=int((signs == -1).sum()),
        pending=tuple(pending),
        decision="worse" if is_worse >= 1 else "better" if better >= 1 else "open",
        not_worse=better,
        is_worse=is_worse,
        rows_left=0.0 if better >= 1 else max(needed - rows, _LEAST_LEFT * needed),
        growth=tuple(
            (int(number) + 1, round(float(a), 4), round(float(b), 4))
            for number, a, b in zip(places, *grown, strict=True)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class FrozenEvidence:
    """A candidate compared with the given answers, on rows that people labelled."""

    rows: int
    right: int
    """Rows that the candidate answers right, with the model answering where it abstains."""
    before: int
    """Rows that were answered right before."""
    chance: float | None
    """Probability of so large a loss by chance; None without rows."""
    worse: tuple[str, ...]
    """Slices on which it is measurably worse: `all` or a label."""

    @property
    def passed(self) -> bool:
        """Whether it is measurably worse on no slice."""
        return not self.worse

    def figures(self) -> dict[str, object]:
        """Return the numbers, for a transition and the audit log."""
        return {"frozen_rows": self.rows, "right": self.right, "before": self.before, "worse": list(self.worse)}


def judge_frozen(truths: Truths, given: Mapping[str, str], answers: Mapping[str, str | None]) -> FrozenEvidence:
    """Return the evidence of held-out rows.

    Args:
        truths: The right answers by people, by example.
        given: The given answers.
        answers: The candidate's answers; None where it abstains.
    """
    examples = [example for example in truths if example in given and example in answers]
    before = np.asarray([fold(given[example]) == truths[example] for example in examples], dtype=bool)
    after = np.asarray(
        [
            fold(given[example] if answers[example] is None else answers[example] or "") == truths[example]
            for example in examples
        ],
        bool,
    )
    if not examples:
        return FrozenEvidence(rows=0, right=0, before=0, chance=None, worse=())
    names = np.asarray([truths[example] or "" for example in examples])
    overall = float(paired_drop(before, after))
    slices = {str(name): float(paired_drop(before[names == name], after[names == name])) for name in sorted(set(names))}
    verdicts = worse(list(slices.values()))
    bad = [*(["all"] if worse([overall])[0] else []), *(n for n, v in zip(slices, verdicts, strict=True) if v)]
    return FrozenEvidence(
        rows=len(examples), right=int(after.sum()), before=int(before.sum()), chance=overall, worse=tuple(bad)
    )


def audit_sample(examples: Iterable[CapturedExample | AnsweredCall], size: int, *, share: float) -> list[str]:
    """Return the examples whose labels estimate the current model: a random sample, stratified by answer.

    For each answer the lowest hashes come first, regardless of other reasons for a label, and later calls are
    included in the same way: the sample stays one of all calls.
    """
    strata: dict[str, list[str]] = defaultdict(list)
    folded: dict[str, str] = {}  # many calls have few answers
    total = 0
    for candidate in examples:
        if not candidate.failed and not candidate.by_specialist:
            total += 1
            if candidate.answer not in folded:
                folded[candidate.answer] = fold(candidate.answer)
            strata[folded[candidate.answer]].append(candidate.id)
    wanted = {name: len(ids) / total * size for name, ids in strata.items()}
    counts = {name: int(size) for name, size in wanted.items()}
    rest = sorted(wanted, key=lambda name: (counts[name] - wanted[name], name))
    for name in rest[: min(size, total) - sum(counts.values())]:
        counts[name] += 1
    return [
        example
        for name in sorted(strata)
        for example in sorted((e for e in strata[name] if is_audit(e, share)), key=_rank)[: counts[name]]
    ]


def _rank(example: str) -> bytes:
    return blake2b(example.encode(), key=b"rank", digest_size=8).digest()


def teacher_accuracy(
    truths: Truths,
    examples: Iterable[CapturedExample | AnsweredCall],
    compared: Iterable[ComparedAnswer | ComparedConfidence],
    sample: Sequence[str],
) -> Estimate:
    """Return the accuracy of the current model, from labels of a random sample and a specialist's confidence.

    With a specialist's answers to the same calls the estimate is prediction-powered: the probability that an answer is
    right is the specialist's confidence where it agrees, and the complement where it does not.

    Args:
        truths: Labels by people; those of other examples, which were chosen because they are hard, are left out.
        examples: Examples of the job.
        compared: A specialist's answers to them.
        sample: The sample of `audit_sample`.
    """
    by_model = {example.id: example for example in examples if not example.failed and not example.by_specialist}
    likely = {
        comparison.example: comparison.confidence if comparison.same else 1 - comparison.confidence
        for comparison in compared
        if isinstance(comparison, ComparedConfidence) or not comparison.failed
    }
    judged = [example for example in sample if example in truths and example in by_model]
    right = np.asarray([fold(by_model[example].answer) == truths[example] for example in judged], dtype=float)
    if not judged or any(example not in likely for example in judged):
        return exact(int(right.sum()), len(right))
    others = np.asarray([likely[example] for example in by_model if example in likely and example not in truths])
    return estimate(right, np.asarray([likely[example] for example in judged]), others)
