"""`classify` by a prompted model (rung `llm`): no weights are trained, examples are chosen from the training texts.

Each request gets its own prompt, with the training texts nearest to it as examples. The model's answer is compared with
the votes of those texts; their agreement determines the confidence of the finding (`_agreement`). A prompt contains
training texts, so it is as sensitive as the most sensitive of those and of the request: the egress gate checks all of
it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.config.specialists import SpecialistSection
from coterie.engines.linear import stored_array
from coterie.errors import EgressRefused, TooLong
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.specialists.parts import Acceptance, abstention, model_of
from coterie.tasks.contract import Parts, Stored
from coterie.text.folding import estimate_tokens
from coterie.types import (
    SYSTEM,
    CallContext,
    ContextView,
    Evidence,
    Fact,
    Finding,
    Label,
    Message,
    Output,
    Prompt,
    Reason,
    SpecialistCard,
    Step,
    Task,
    label_without_pii,
)

# --- Reading a label out of what a model said.

_AROUND = " \t\r\n\"'`*."
"""Characters that models put around a label."""


def match_label(answer: str, labels: Sequence[str]) -> str | None:
    """Return the label that an answer is equal to, ignoring case and characters around the label."""
    if answer.strip() in labels:
        return answer.strip()
    folded = {label.casefold().strip(_AROUND): label for label in labels}
    return folded.get(answer.casefold().strip(_AROUND))


def find_label(answer: str, labels: Sequence[str]) -> str | None:
    """Return the label that an answer is, or the one label that it contains; None if it contains none, or several.

    An answer that is a JSON object stands for its `label`. A label inside another one is not counted beside it:
    "card_lost_abroad" does not name `card_lost`.
    """
    answer_text = _unwrapped(answer)
    if (whole := match_label(answer_text, labels)) is not None:
        return whole
    named_labels = [label for label in labels if label.strip(_AROUND) and _names(answer_text, label)]
    longest = [
        label for label in named_labels if not any(label != other and _inside(label, other) for other in named_labels)
    ]
    return longest[0] if len(longest) == 1 else None


def _unwrapped(answer: str) -> str:
    """Return the `label` of a JSON object, else the answer unchanged."""
    try:
        content = parse_json(answer)
    except ValueError:
        return answer
    label = content.get("label") if isinstance(content, dict) else content
    return label if isinstance(label, str) else answer


def _names(answer_text: str, label: str) -> bool:
    """Return whether the label occurs in the text as separate words."""
    pattern = rf"(?<![\w-]){re.escape(label.casefold().strip(_AROUND))}(?![\w-])"
    return re.search(pattern, answer_text.casefold()) is not None


def _inside(label: str, other: str) -> bool:
    return label.casefold() in other.casefold()


# --- Training texts with their labels, found by their encoding: what a prompted model is shown, and who votes with
# it.

ARRAYS_FILE, TEXTS_FILE = "demonstrations.safetensors", "demonstrations.json"
_SHARPNESS = 10.0
"""A neighbour's vote is exp(10 x cosine): one that is .1 closer counts e times as much."""


class Neighbour(NamedTuple):
    """A training text near the text in question."""

    text: str
    label: str
    cosine: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Demonstrations:
    """Candidates for a prompt, each with its unit vector."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    """The label of each text."""
    vectors: np.ndarray  # (N, D) float32

    def nearest(self, vector: np.ndarray, n: int, *, leave_out: np.ndarray | None = None) -> list[Neighbour]:
        """Return the most similar texts, nearest first; equal ones in their order.

        Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?" (their KATE): the nearest neighbours of a
        text in the space of a sentence encoder are better examples for it than random ones.

        Args:
            vector: (D,) the text's encoding, of unit length.
            n: How many at most.
            leave_out: (N,) texts to leave out.
        """
        cosines = self.vectors @ vector
        if leave_out is not None:
            cosines = np.where(leave_out, -np.inf, cosines)
        order = np.argsort(-cosines, kind="stable")[:n]
        return [Neighbour(self.texts[i], self.labels[i], float(cosines[i])) for i in order if np.isfinite(cosines[i])]

    def to_files(self) -> dict[str, bytes]:
        """Return the files that are stored with a version."""
        names = sorted(set(self.labels))
        numbers = np.array([names.index(label) for label in self.labels], dtype=np.int32)
        arrays: dict[str, np.ndarray] = {"vectors": self.vectors.astype(np.float16), "labels": numbers}
        texts = {"labels": names, "texts": list(self.texts)}
        return {
            ARRAYS_FILE: save_arrays(arrays),
            TEXTS_FILE: json.dumps(texts, indent=0, ensure_ascii=False).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Demonstrations:
        """Restore those of a stored version. Raises `KeyError` or `ValueError` if they are incomplete."""
        described, arrays = parse_json(files[TEXTS_FILE]), load_arrays(files[ARRAYS_FILE])
        texts, names = (from_json(tuple[str, ...], described[key]) for key in ("texts", "labels"))
        numbers = stored_array(arrays, "labels", len(texts))
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(names)):
            raise ValueError("a demonstration's label is none of those named")
        return cls(
            texts=texts,
            labels=tuple(names[number] for number in numbers),
            vectors=stored_array(arrays, "vectors", len(texts), None).astype(np.float32),
        )


def vote(neighbours: Sequence[Neighbour]) -> dict[str, float]:
    """Return each label's share of the neighbours' votes, nearer ones weigh more; nearest label first."""
    weights = [np.exp(_SHARPNESS * (neighbour.cosine - 1.0)) for neighbour in neighbours]
    shares = dict.fromkeys((neighbour.label for neighbour in neighbours), 0.0)
    for neighbour, weight in zip(neighbours, weights, strict=True):
        shares[neighbour.label] += float(weight / sum(weights))
    return shares


# --- What a prompted classifier says to its model: an instruction, labels to choose from, examples, the text.

Form = Literal["schema", "grammar", "free"]
"""How an answer is restricted to the labels: a JSON Schema (servers), a grammar (`llama`), or by the prompt alone."""

NEIGHBOURS = 50
"""Training texts retrieved for one prompt: the nearest are shown, and all of them decide which labels are listed."""
VOTERS = 20
"""Number of nearest texts that vote on the answer."""
NONE_OF_THESE = "none of these"
DEFAULT_INSTRUCTION = "Label the last message as the messages before it are labelled."

_TOKENS_A_TURN = 8  # what frames a message


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """Turns a text into a prompt, and an answer into a label. Stored with the version."""

    instruction: str
    labels: tuple[str, ...]
    form: Form
    shots: int = 8
    """Most examples shown."""
    list_all: int = 20
    """Number of labels up to which all are listed.

    With more labels, those of the neighbours are listed, and an answer for none of them.
    """
    listed: int = 12
    """Number of labels listed in that case."""
    room: int = 2000
    """Approximate tokens that the examples may take together."""

    def __post_init__(self) -> None:
        if not self.labels or min(self.shots, self.room) < 0 or min(self.list_all, self.listed) < 1:
            raise ValueError("labels, shots, room and the numbers of labels listed cannot be empty or negative")

    def choices(self, neighbours: Sequence[Neighbour]) -> tuple[str, ...]:
        """Return the possible answers, given the training texts nearest to the text in question."""
        if len(self.labels) <= self.list_all:
            return self.labels
        near = tuple(dict.fromkeys(neighbour.label for neighbour in neighbours))[: self.listed]
        return (*near, NONE_OF_THESE) if NONE_OF_THESE not in self.labels else near

    def prompt(self, text: str, neighbours: Sequence[Neighbour], label: Label) -> Prompt:
        """Return the prompt for a text.

        Args:
            text: The text to classify.
            neighbours: Training texts near it, nearest first.
            label: Sensitivity of the most sensitive part: the text, or the examples.
        """
        choices = self.choices(neighbours)
        messages = [Message(role="system", text=self._instruction_for(choices))]
        for neighbour in self._shown(neighbours, choices):
            messages.append(Message(role="user", text=neighbour.text))
            messages.append(Message(role="assistant", text=self._written(neighbour.label)))
        messages.append(Message(role="user", text=text))
        return Prompt(
            messages=tuple(messages),
            label=label,
            json_schema=_schema(choices) if self.form == "schema" else None,
            grammar="root ::= " + " | ".join(map(json.dumps, choices)) if self.form == "grammar" else None,
            max_tokens=16 + 2 * max(estimate_tokens(self._written(choice)) for choice in choices),
            logprobs=True,
        )

    def read(self, answer: str, choices: Sequence[str]) -> str | None:
        """Return the choice that an answer names, or None."""
        return find_label(answer, choices)

    def refuses(self, answer: str | None) -> bool:
        """Return whether the answer says that none of the labels fits."""
        return answer == NONE_OF_THESE and NONE_OF_THESE not in self.labels

    def _shown(self, neighbours: Sequence[Neighbour], choices: Sequence[str]) -> list[Neighbour]:
        """Return the nearest examples that fit, the nearest last: models weigh the end most (Zhao et al. 2021)."""
        room, shown = self.room, list[Neighbour]()
        for neighbour in neighbours:
            tokens = estimate_tokens(neighbour.text) + estimate_tokens(neighbour.label) + 2 * _TOKENS_A_TURN
            if len(shown) < self.shots and tokens <= room and match_label(neighbour.label, choices) is not None:
                shown.append(neighbour)
                room -= tokens
        return shown[::-1]

    def _instruction_for(self, choices: Sequence[str]) -> str:
        how = 'Answer with a JSON object, {"label": ...}, and' if self.form == "schema" else "Answer with"
        listed = "\n".join(f"- {choice}" for choice in choices)
        return f"{self.instruction}\n{how} one of these labels, written as here, and nothing else:\n{listed}"

    def _written(self, label: str) -> str:
        return json.dumps({"label": label}, ensure_ascii=False) if self.form == "schema" else label


def _schema(choices: Sequence[str]) -> dict[str, object]:
    """Return a JSON Schema of the choices. It is an object, since strict servers accept no other root."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(choices)}},
        "required": ["label"],
        "additionalProperties": False,
    }


def tokens_of(prompt: Prompt) -> int:
    """Return the estimated tokens of a prompt."""
    return sum(estimate_tokens(message.text) + _TOKENS_A_TURN for message in prompt.messages)


# --- How far a prompted model's answer is to be believed.
#
# What a model says of its own certainty is worth little, and many servers do not say it. So the answer is held
# against what is known without the model: do the training texts nearest to this one have that label, and how near are
# they? Where the server gives the answer's probability, it counts too. A logistic regression, fitted on rows with
# known labels, makes a probability of these signs.

SIGNS = ("vote", "lead", "cosine", "logprob", "length")
"""Signs of how reliable an answer is.

The label's share of the neighbours' votes, that share less the best other one's, the nearest neighbour's cosine, the
log-probability of the answer's text (of a written one, a token's on average), and the logarithm of its length.
"""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A fitted logistic regression over some of the signs."""

    weights: Mapping[str, float]
    """Weights by sign."""
    usual: Mapping[str, float]
    """Each sign's mean over the rows of the fit, which replaces a missing sign."""
    bias: float

    def __post_init__(self) -> None:
        if not set(self.weights) <= set(SIGNS) or self.weights.keys() != self.usual.keys():
            raise ValueError(f"its signs are {sorted(self.weights)} and {sorted(self.usual)}, of {list(SIGNS)}")
        for number in (self.bias, *self.weights.values(), *self.usual.values()):
            if not math.isfinite(number):
                raise ValueError(f"{number!r} is no finite number")

    def confidence(self, signs: Mapping[str, float]) -> float:
        """Return the probability that an answer with these signs is right."""
        odds = self.bias + sum(
            weight * signs.get(name, self.usual[name]) for name, weight in sorted(self.weights.items())
        )
        return 0.5 * (1.0 + math.tanh(odds / 2.0))


def read_signs(
    label: str, shares: Mapping[str, float], cosines: Sequence[float], logprob: float | None
) -> dict[str, float]:
    """Return the signs of one answer; an unknown logprob is left out.

    Args:
        label: The model's label.
        shares: Each label's share of the neighbours' votes.
        cosines: Cosines of the neighbours, nearest first.
        logprob: Log-probability of the answer's text.
    """
    mine = shares.get(label, 0.0)
    best_other = max((share for name, share in shares.items() if name != label), default=0.0)
    signs = {"vote": mine, "lead": mine - best_other, "cosine": cosines[0] if cosines else 0.0}
    return signs if logprob is None else {**signs, "logprob": logprob}


_ALTERNATIVES = 3  # runners-up shown with a finding
_QUOTED = 40  # characters of an answer that is no label
_CUT = Reason("note.neighbours_truncated")


@dataclass(frozen=True, kw_only=True)
class PromptedSpecialist:
    """Finds examples, asks its model, and decides whether to accept the answer."""

    card: SpecialistCard
    model: Engine
    encoder: Engine
    demonstrations: Demonstrations
    prompting: FewShot
    agreement: Agreement
    acceptance: Acceptance
    label: Label
    """Sensitivity of the demonstrations."""
    made_for: Mapping[str, str | None]
    """The model whose answers it was calibrated on: `name`, `sha256`."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - it reads the text alone
        """Return the label that the model names, or an abstention.

        A prompt that may not go to the model leads to an abstention with the verdict as its reason, and so does a
        prompt that does not fit. Raises the other errors of the model's engine.
        """
        if not task.text.strip():
            return abstention(self.card.name, task, Reason("abstain.no_text"))
        vector, steps, cut = await self._encode(task, call)
        neighbours = self.demonstrations.nearest(vector, NEIGHBOURS)
        prompt = replace(
            self.prompting.prompt(task.text, neighbours, max(task.label, self.label)),
            label_without_pii=max(label_without_pii(task), self.label),
        )
        try:
            (output,) = await self.model.run([prompt], call=call)
        except EgressRefused as refusal:
            refused = replace(
                abstention(self.card.name, task, refusal.verdict.reason), label_without_pii=prompt.label_without_pii
            )
            return replace(refused, label=prompt.label, steps=steps, verdicts=(refusal.verdict,))
        except TooLong as error:
            long = replace(abstention(self.card.name, task, error.reason), label_without_pii=prompt.label_without_pii)
            return replace(long, label=prompt.label, steps=steps)
        steps = (*steps, self._step(self.model, output))
        finding = self._finding(prompt, neighbours, output)
        noted = finding.reason.noting(_CUT) if cut else finding.reason
        return replace(finding, steps=steps, reason=noted, truncated=cut)

    async def _encode(self, task: Task, call: CallContext) -> tuple[np.ndarray, tuple[Step, ...], bool]:
        """Return the text's vector (D,), its usage, and whether only the beginning of the text was read."""
        if task.vector is not None:
            return task.vector, (), task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=task.text, label=task.label)], call=call)
        return np.asarray(encoded.vector), (self._step(self.encoder, encoded),), encoded.finish == "length"

    def _finding(self, prompt: Prompt, neighbours: Sequence[Neighbour], output: Output) -> Finding:
        reply = read_reply(self.prompting, neighbours, output)
        confidence = 0.0 if reply.label is None else self.agreement.confidence(reply.signs)
        in_scope = neighbours[0].cosine if neighbours else 0.0
        accepted, reason = self.acceptance.judge(confidence, in_scope)
        if reply.trouble is not None:
            accepted, reason = False, reply.trouble
        return Finding(
            specialist=self.card.name,
            value=reply.label,
            text=reply.label or "",
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            in_scope=in_scope,
            label=prompt.label,
            label_without_pii=prompt.label_without_pii,
            evidence=_alternatives(reply, confidence),
            facts=self._facts(reply.label, confidence) if accepted else (),
            verdicts=() if output.verdict is None else (output.verdict,),
        )

    def _facts(self, label: str | None, confidence: float) -> tuple[Fact, ...]:
        return tuple(Fact(name=name, value=label, confidence=confidence) for name in self.card.writes[:1])

    def _step(self, engine: Engine, output: Output) -> Step:
        return Step(producer=self.card.name, engine=engine.name, usage=output.usage)

    def describe(self) -> dict[str, object]:
        """Return the description that a stored version has beside its demonstrations."""
        return {
            "task": "classify",
            "rung": "llm",
            "labels": list(self.prompting.labels),
            "prompting": {name: value for name, value in to_json(self.prompting).items() if name != "labels"},
            "agreement": to_json(self.agreement),
            "acceptance": to_json(self.acceptance),
            "data_label": self.label.value,
            "model": dict(self.made_for),
            "columns": [],
        }

    def to_files(self) -> dict[str, bytes]:
        """Return the files of its version."""
        described = json.dumps(self.describe(), indent=1, ensure_ascii=False).encode()
        return {"model.json": described, **self.demonstrations.to_files()}


@dataclass(frozen=True, kw_only=True)
class PromptedAnswer:
    """The interpretation of a model's answer."""

    label: str | None
    """The label; None when the answer names none, or says that none fits."""
    shares: Mapping[str, float]
    """Shares of the neighbours' votes, by label."""
    signs: Mapping[str, float]
    """Signs of how reliable the answer is; empty without a label."""
    trouble: Reason | None = None
    """The reason why there is no label."""


def read_reply(prompting: FewShot, neighbours: Sequence[Neighbour], output: Output) -> PromptedAnswer:
    """Return the label that an answer names, and the signs of how reliable it is."""
    voters = neighbours[:VOTERS]
    shares, choices = vote(voters), prompting.choices(neighbours)
    label = prompting.read(output.text, choices)
    if label is not None and not prompting.refuses(label):
        signs = read_signs(label, shares, [voter.cosine for voter in voters], output.logprob)
        return PromptedAnswer(label=label, shares=shares, signs=signs)
    if label is not None:
        trouble = Reason("abstain.no_label_fits", labels=len(choices) - 1)
    elif answer := " ".join(output.text.split()):
        trouble = Reason("abstain.no_label_named", answer=answer[:_QUOTED], labels=len(choices))
    else:
        trouble = Reason("abstain.empty_answer")
    return PromptedAnswer(label=None, shares=shares, signs={}, trouble=trouble)


def _alternatives(reply: PromptedAnswer, confidence: float) -> tuple[Evidence, ...]:
    """Return the label, then the neighbours' others, which share the remaining confidence by their votes."""
    others = {name: share for name, share in reply.shares.items() if name != reply.label}
    left = (1.0 - confidence) / (sum(others.values()) or 1.0)
    ranked = sorted(others, key=lambda name: -others[name])[:_ALTERNATIVES]
    alternatives = [] if reply.label is None else [(reply.label, confidence)]
    alternatives += [(name, others[name] * left) for name in ranked]
    return tuple(Evidence(kind="alternative", name=n, text=f"{n}: {p:.2f}", weight=p) for n, p in alternatives)


def calibrated_on(files: Mapping[str, bytes]) -> Mapping[str, str | None] | None:
    """Return the model whose answers a stored version was calibrated on; None if its files do not say."""
    try:
        model = parse_json(files["model.json"])["model"]
        return {"name": model["name"], "sha256": model["sha256"]}
    except (KeyError, TypeError, ValueError):
        return None


def load_prompted(
    card: SpecialistCard,
    section: SpecialistSection,
    stored: Stored,
    parts: Parts,
) -> PromptedSpecialist:
    """Load the specialist of a stored version.

    Args:
        card: Its card.
        section: Its section, whose `model` is used; `data_label` sets the sensitivity of the demonstrations anew.
        stored: The version.
        parts: The network's parts for it.

    Raises:
        ConfigError: the model is not open.
        KeyError, TypeError, ValueError: the version is incomplete.
    """
    described = stored.described
    return PromptedSpecialist(
        card=card,
        model=model_of(card, section, parts.models),
        encoder=parts.encoder,
        demonstrations=Demonstrations.from_files(stored.files),
        prompting=from_json(FewShot, {"labels": described["labels"], **described["prompting"]}),
        agreement=from_json(Agreement, described["agreement"]),
        acceptance=from_json(Acceptance, described["acceptance"]),
        label=section.data_label or max(Label(described["data_label"]), parts.data_label),
        made_for={key: described["model"][key] for key in ("name", "sha256")},
    )
