"""Answering all questions of one call: each question is assigned, and every specialist or model is asked once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from coterie.config.operation import DecisionsSection, SiteSection
from coterie.decisions.questions import check_questions, fingerprint, spaced
from coterie.decisions.zero_shot import PRODUCER, Drawing, Similarity, ZeroShot
from coterie.errors import AuditError, EngineError, InputError, PolicyError, SetupError
from coterie.protocols import Consult, Engine, Flywheel, Specialist
from coterie.text.words import folded
from coterie.types import (
    NO,
    YES,
    CallContext,
    Deciding,
    Decision,
    DecisionMethod,
    Finding,
    Prompt,
    Question,
    Reason,
    SpecialistCard,
    Step,
    Task,
)

_FEWEST = 3
"""Fewest options for a match by name, since `yes` and `no` are labels of many jobs."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The assignment of a question to a specialist."""

    specialist: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Label by option; empty where the value itself is the answer."""
    event: str = ""
    """Label whose probability answers a predicate."""


def assign(
    question: Question,
    site: str,
    cards: Mapping[str, SpecialistCard],
    section: DecisionsSection,
    *,
    pinned: bool = False,
) -> Assignment | None:
    """Return the assignment of a question to one of these specialists; None if none was trained for it.

    Whoever names the only specialist says whose the question is: two of its labels are enough then, and a predicate is
    answered by the label `true`, or by a probability.
    """
    named = next((setting for setting in section.sites.values() if setting.question == site), None)
    if named is not None:
        card = cards.get(named.specialist or "")
        return None if card is None else _named(question, named, card)
    if pinned and (own := _of_named(question, *cards.values())) is not None:
        return own
    if question.kind == "predicate" or not (section.match or pinned):
        return None
    return _matching(question, cards, fewest=2 if pinned else _FEWEST)


def _of_named(question: Question, *cards: SpecialistCard) -> Assignment | None:
    """Return the assignment of a question of two sides to the named specialist; None if it has no such answer."""
    for card in cards:
        labels = {folded(option.name): option.name for option in card.options}
        if card.form == "number" and question.kind != "choice":
            return Assignment(specialist=card.name)
        if question.kind == "predicate" and labels.keys() == {NO, YES}:
            return Assignment(specialist=card.name, event=labels[YES])
    return None


def _named(question: Question, site: SiteSection, card: SpecialistCard) -> Assignment | None:
    if question.kind == "predicate" or not card.options:
        event = site.label or ""
        is_known = not card.options or any(label.name == event for label in card.options)
        return Assignment(specialist=card.name, event=event) if is_known else None
    labels = {**_labels_of(question, card), **site.labels}
    chosen = {option: labels[option] for option in question.names if option in labels}
    return Assignment(specialist=card.name, labels=chosen) if len(chosen) == len(question.names) else None


def _matching(question: Question, cards: Mapping[str, SpecialistCard], *, fewest: int) -> Assignment | None:
    """Return the specialist with the fewest labels that include all options; None if two qualify."""
    if len(question.names) < fewest:
        return None
    matches = [
        (len(card.options), card.name, labels)
        for card in cards.values()
        if len(labels := _labels_of(question, card)) == len(question.names)
    ]
    least = [match for match in matches if match[0] == min(matches)[0]]
    return Assignment(specialist=least[0][1], labels=least[0][2]) if len(least) == 1 else None


def _labels_of(question: Question, card: SpecialistCard) -> dict[str, str]:
    """Map options to labels where they are equal, ignoring letter case, hyphens and underscores."""
    exact = {label.name for label in card.options}
    if set(question.names) <= exact:
        return {option: option for option in question.names}
    alike = Counter(folded(name) for name in exact)
    by_fold = {folded(name): name for name in exact if alike[folded(name)] == 1}
    labels = {option: by_fold[folded(option)] for option in question.names if folded(option) in by_fold}
    return labels if len(labels) == len(set(labels.values())) else {}


@dataclass(frozen=True, kw_only=True)
class AnswerWeights:
    """Probabilities of a question's options, in its order, with their calibration."""

    probabilities: tuple[float, ...]
    confidence: float
    accepted: bool
    reason: Reason


def read_finding(question: Question, assignment: Assignment, finding: Finding) -> AnswerWeights | None:
    """Return the probabilities of a question's options by a specialist's finding; None if it has no value."""
    if finding.value is None:
        return None
    if isinstance(finding.value, int | float):
        return _of_number(question, float(finding.value), finding)
    distribution = distribution_of(finding)
    if question.kind == "predicate":
        true = distribution.get(assignment.event, 0.0)
        return AnswerWeights(
            probabilities=(1.0 - true, true),
            confidence=max(true, 1.0 - true),
            accepted=finding.accepted,
            reason=finding.reason,
        )
    weights = [distribution.get(assignment.labels[option], 0.0) for option in question.names]
    total = sum(weights)
    chosen = finding.value in assignment.labels.values()
    probabilities = tuple(weight / total for weight in weights) if total > 0 else _even(len(weights))
    reason = finding.reason if chosen else Reason("decision.other_label", guess=finding.text, options=len(weights))
    accepted = finding.accepted and chosen
    return AnswerWeights(probabilities=probabilities, confidence=max(probabilities), accepted=accepted, reason=reason)


def distribution_of(finding: Finding) -> Mapping[str, float]:
    """Return the probability of each label; a specialist that names only some labels gives only those."""
    if finding.distribution:
        return finding.distribution
    named = {
        alternative.name: alternative.weight for alternative in finding.evidence if alternative.kind == "alternative"
    }
    return {**named, str(finding.value): finding.confidence}


def _of_number(question: Question, probability: float, finding: Finding) -> AnswerWeights:
    """Convert the probability of a `score` specialist: of true, or as a position between lowest and highest level."""
    levels = question.names if question.kind == "score" else ("", YES)
    position = min(max(probability, 0.0), 1.0) * (len(levels) - 1)
    weights = tuple(max(0.0, 1.0 - abs(position - level)) for level in range(len(levels)))
    return AnswerWeights(
        probabilities=weights, confidence=finding.confidence, accepted=finding.accepted, reason=finding.reason
    )


def _even(size: int) -> tuple[float, ...]:
    return tuple([1.0 / size] * size)


# --- Answering all questions of one call: each is assigned, every answerer is asked once, and who answered is said.


@dataclass(kw_only=True)
class Decider:
    """Answers typed questions with a network's specialists, and zero-shot where none is trained for a question."""

    specialists: Mapping[str, Specialist]
    encoder: Engine
    section: DecisionsSection = field(default_factory=DecisionsSection)
    models: Mapping[str, ZeroShot] = field(default_factory=dict)
    """Zero-shot answerers by `[models]` key."""
    choosing: tuple[Engine, ...] = ()
    """Encoders whose mean similarity weighs a choice; empty for the network's alone."""
    flywheel: Flywheel | None = None
    """Captures questions without a manually trained specialist, and answers for its deployments."""
    floor: Similarity = field(init=False)

    def __post_init__(self) -> None:
        drawing = Drawing() if self.section.adapt else None
        self.floor = Similarity(encoder=self.encoder, choosing=self.choosing, drawing=drawing)

    def inherit(self, before: Decider) -> None:
        """Take over the adapted options of another decider, where the same encoders weigh them."""
        if self.floor.drawing and before.floor.drawing and self._weighing == before._weighing:
            self.floor.drawing = before.floor.drawing

    @property
    def _weighing(self) -> list[str]:
        return [getattr(encoder, "sha256", encoder.name) for encoder in self.choosing or (self.encoder,)]

    def check(self, questions: Sequence[Question]) -> None:
        """Check that the questions can be answered. Raises `InputError`."""
        check_questions(questions)

    async def decide(
        self,
        state: Task,
        questions: Sequence[Question],
        *,
        only: Sequence[str] = (),
        pinned: str | None = None,
        consult: Consult,
        call: CallContext,
    ) -> Deciding:
        """Answer questions about a state, as `QuestionAnswerer` specifies."""
        sites = [fingerprint(question) for question in questions]
        cards = {
            name: specialist.card
            for name, specialist in self.specialists.items()
            if (not only or name in only) and pinned in {None, name}
        }
        different = dict(zip(sites, questions, strict=True))
        assigned = {site: self._assign(question, site, cards, pinned) for site, question in different.items()}
        state, steps = await self._encoded(state, call)
        specialists_asked = dict.fromkeys(
            assignment.specialist for assignment in assigned.values() if assignment is not None
        )
        task = replace(state, distribution=True)
        findings = {name: await consult(self.specialists[name], task) for name in specialists_asked}
        answers: dict[str, Decision] = {}
        for site, assignment in assigned.items():
            if assignment is not None:
                read = read_finding(different[site], assignment, findings[assignment.specialist])
                if read is not None:
                    answers[site] = _decision(different[site], site, read, assignment.specialist, "specialist")
        entered = {site: self._entered(state, q, site, call) for site, q in different.items() if assigned[site] is None}
        for site, open_question in entered.items():
            if (
                self.flywheel is not None
                and (found_there := await self.flywheel.answer(open_question, call=call)) is not None
            ):
                steps = (*steps, *found_there.steps)
                if (decided_there := _deployed(different[site], site, found_there)) is not None:
                    answers[site] = decided_there
                    findings[found_there.specialist] = found_there
        rest = {
            site: question for site, question in different.items() if site not in answers
        }  # also if it had no value
        for name, group in self._by_model(rest, only).items():
            decided, took = await self._zero_shot(name, state, {site: rest[site] for site in group}, call)
            answers, steps = {**answers, **decided}, (*steps, *took)
        for site, open_question in entered.items():
            if self.flywheel is not None:
                by = "" if answers[site].method == "specialist" else answers[site].answered_by
                self.flywheel.leave(open_question, answers[site].choice, model=by)
        return Deciding(
            decisions=tuple(
                _as_listed(answers[site], question) for site, question in zip(sites, questions, strict=True)
            ),
            findings=tuple(replace(finding, distribution={}) for finding in findings.values()),
            steps=steps,
        )

    def _entered(self, state: Task, question: Question, site: str, call: CallContext) -> Any:  # noqa: ANN401
        """Return the flywheel's entry for a question."""
        if self.flywheel is None:
            return None
        return self.flywheel.enter_site(
            trace_id=call.trace,
            site=site,
            name=question.instructions or question.name,
            text=state.text,
            options=question.names,
            principal=call.principal,
            label=state.label,
        )

    def _assign(
        self, question: Question, site: str, cards: Mapping[str, SpecialistCard], pinned: str | None
    ) -> Assignment | None:
        assignment = assign(question, site, cards, self.section, pinned=pinned is not None)
        if assignment is None and pinned is not None:
            raise InputError(
                f"Specialist {pinned!r} cannot answer question {question.name!r}: its labels are not its options.",
                hint="Name its labels as options, or name it under [decisions.sites] in coterie.toml.",
            )
        return assignment

    async def _encoded(self, state: Task, call: CallContext) -> tuple[Task, tuple[Step, ...]]:
        if not state.text.strip():
            return state, ()
        (output,) = await self.encoder.run([Prompt(text=state.text, label=state.label)], call=call)
        step = Step(producer=PRODUCER, engine=self.encoder.name, usage=output.usage)
        return replace(state, vector=output.vector, truncated=output.finish == "length"), (step,)

    def _by_model(self, questions: Mapping[str, Question], only: Sequence[str]) -> dict[str, list[str]]:
        """Group sites by the model that answers them; the fallback to the encoder has no name."""
        named = {site.question: site.model or "" for site in self.section.sites.values()}
        groups: dict[str, list[str]] = {}
        for site in questions:
            name = named.get(site) or self.section.model or ""
            groups.setdefault(name if name in self.models and (not only or name in only) else "", []).append(site)
        return groups

    async def _zero_shot(
        self, name: str, state: Task, questions: Mapping[str, Question], call: CallContext
    ) -> tuple[dict[str, Decision], tuple[Step, ...]]:
        """Return the answers of a model, and those of the encoder where the model has none."""
        answerer: ZeroShot = self.models[name] if name else self.floor
        open_questions, failed = dict(questions), None
        steps: tuple[Step, ...] = ()
        answers: dict[str, Decision] = {}
        if answerer is not self.floor:
            try:
                weights_of_all, steps = await answerer.weigh(state, list(open_questions.values()), call=call)
            except AuditError:  # what cannot be written down is not done: no answer of ours hides it
                raise
            except (EngineError, InputError, PolicyError, SetupError) as error:
                failed = Reason("note.floor_instead", model=name, why=error.reason)
            else:
                for (site, question), weights in zip(list(open_questions.items()), weights_of_all, strict=True):
                    if len(weights):
                        answers[site] = _guess(question, site, weights, answerer, state)
                        del open_questions[site]
        if not open_questions:
            return answers, steps
        behind = {site: self._texts_behind(question, call) for site, question in open_questions.items()}
        weights_of_all, took = await self.floor.weigh(state, list(open_questions.values()), call=call)
        for (site, question), weights in zip(open_questions.items(), weights_of_all, strict=True):
            decision = _guess(question, site, weights, self.floor, state)
            if behind[site]:
                note = Reason("note.fitted_options", texts=behind[site])
                decision = replace(decision, reason=decision.reason.noting(note))
            answers[site] = decision if failed is None else replace(decision, reason=decision.reason.noting(failed))
        return answers, (*steps, *took)

    def _texts_behind(self, question: Question, call: CallContext) -> int:
        """Return the number of texts that a question's options were adapted to."""
        drawn = self.floor.drawing and self.floor.drawing.find(call.principal.tenant, question)
        return drawn.texts if drawn else 0


def _deployed(question: Question, site: str, finding: Finding) -> Decision | None:
    """Return the answer of a deployment, whose labels are the options; None if its finding has no value."""
    own = Assignment(specialist=finding.specialist, labels={name: name for name in question.names}, event=YES)
    weights = read_finding(question, own, finding)
    return None if weights is None else _decision(question, site, weights, finding.specialist, "specialist")


_ALIKE = 1e-5
"""Difference of probabilities below which an encoder does not tell options apart: it knows no part of their names."""


def _guess(question: Question, site: str, weights: np.ndarray, answerer: ZeroShot, state: Task) -> Decision:
    confidence = float(weights.max())
    reason = Reason("decision.zero_shot", by=answerer.name, method=answerer.method, probability=confidence)
    if state.truncated and answerer.method == "similarity":
        reason = reason.noting(Reason("note.text_truncated"))
    alike = int((weights > confidence - _ALIKE).sum())
    if alike > 1 and question.kind != "predicate" and answerer.method == "similarity":
        reason = reason.noting(Reason("note.alike_options", by=answerer.name, options=alike))
    weights_ = AnswerWeights(
        probabilities=tuple(weights.tolist()), confidence=confidence, accepted=False, reason=reason
    )
    return _decision(question, site, weights_, answerer.name, answerer.method)


def _decision(question: Question, site: str, weights: AnswerWeights, by: str, method: DecisionMethod) -> Decision:
    return Decision(
        question=question.name,
        site=site,
        kind=question.kind,
        options=question.names,
        probabilities=weights.probabilities,
        confidence=weights.confidence,
        accepted=weights.accepted,
        reason=weights.reason,
        answered_by=by,
        method=method,
        instructions=question.instructions,
    )


def _as_listed(decision: Decision, question: Question) -> Decision:
    """Return the answer for this question, whose options may have another order or white space."""
    if decision.options != question.names:
        by_option = dict(zip(map(spaced, decision.options), decision.probabilities, strict=True))
        probabilities = tuple(by_option[spaced(name)] for name in question.names)
        decision = replace(decision, options=question.names, probabilities=probabilities)
    return replace(decision, question=question.name)
