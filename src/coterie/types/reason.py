"""The reason for a decision: a stable code and values, and the words of every code. Only this module words a verdict.

A template is a `str.format` pattern over the reason's values. Text in square brackets is left out where one of its
values is missing or empty. A value that a person wrote is quoted (`!r`), so that it can be recognised as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from string import Formatter

Value = str | int | float | bool | None
"""A value of a reason that is not itself a reason."""

TEXT = "text"
"""The code of a reason that has no code of its own: its words are the value `text`."""


OPERATOR = "operator"
"""The value with the words for the operator of the network alone, such as the path of a file; it is in no answer."""


@dataclass(frozen=True, init=False)
class Reason:
    """A code, the values that its words are filled with, and the reasons that follow it.

    Tests and clients check the code; `str(reason)` gives the words, which may change. A plug-in uses codes of its own
    (`acme.too_late`) and gives the words as the value `text`.
    """

    code: str
    values: Mapping[str, Value | Reason] = field(hash=False)
    """Values by their names in the words. A value that is itself a reason is worded within this one."""
    notes: tuple[Reason, ...] = ()
    """Reasons that follow it."""

    def __init__(self, code: str, /, *notes: Reason, **values: Value | Reason) -> None:
        """Create a reason from a code, the reasons that follow it, and the values of its words."""
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "notes", notes)

    def __str__(self) -> str:
        """Return the reason in words."""
        return "; ".join([render(self.code, self.values), *map(str, self.notes)])

    def __format__(self, spec: str) -> str:
        """Return the reason in words, for use within other words."""
        return format(str(self), spec)

    def noting(self, *notes: Reason) -> Reason:
        """Return the reason with further notes."""
        return Reason(self.code, *self.notes, *notes, **self.values) if notes else self

    def in_full(self) -> Reason:
        """Return the reason as its operator reads it: with the words that no caller sees."""
        values = {
            name: value.in_full() if isinstance(value, Reason) else value
            for name, value in self.values.items()
            if name != OPERATOR
        }
        if OPERATOR in self.values:
            values["text"] = self.values[OPERATOR]
        return Reason(self.code, *[note.in_full() for note in self.notes], **values)

    @property
    def codes(self) -> tuple[str, ...]:
        """Its code and those of all reasons within and after it."""
        return (self.code, *(code for reason in self._inner for code in reason.codes))

    @property
    def for_operator(self) -> tuple[str, ...]:
        """The words for the operator alone, of it and of all reasons within and after it."""
        own = self.values.get(OPERATOR)
        return (
            *(() if own is None else (str(own),)),
            *(words for reason in self._inner for words in reason.for_operator),
        )

    @property
    def _inner(self) -> Iterator[Reason]:
        return (value for value in (*self.values.values(), *self.notes) if isinstance(value, Reason))

    def to_json(self) -> dict[str, object]:
        """Return the stored form, without words; reasons within it are still to be converted."""
        document: dict[str, object] = {"code": self.code, "values": self.values}
        return {**document, "notes": self.notes} if self.notes else document

    @classmethod
    def from_json(cls, data: object) -> Reason:
        """Restore the stored form, or the words that were stored before there were codes. Raises `TypeError`."""
        if isinstance(data, str):
            return cls(TEXT, text=data)
        if not isinstance(data, dict) or not isinstance(data.get("values"), dict):
            raise TypeError(f"expected a reason, found {data!r}")
        values = data["values"].items()
        code, renamed = FORMER_CODES.get(code := str(data.get("code", TEXT)), (code, {}))
        read = {
            renamed.get(key, key): cls.from_json(value) if isinstance(value, dict) else value for key, value in values
        }
        return cls(code, *map(cls.from_json, data.get("notes", ())), **read)

    def described(self, key: str = "reason") -> dict[str, object]:
        """Return JSON for readers: the words under `key`, and beside them the code, the values and the notes."""
        values = {
            name: value.described() if isinstance(value, Reason) else value
            for name, value in self.values.items()
            if name != OPERATOR
        }
        notes = {f"{key}_notes": [note.described() for note in self.notes]} if self.notes else {}
        return {key: str(self), f"{key}_code": self.code, f"{key}_values": values, **notes}


def all_of(reasons: Iterable[Reason]) -> Reason:
    """Return several reasons as one: the first, with the others as notes. Raises `ValueError` if there is none."""
    first, *others = reasons
    return first.noting(*others)


def worded(text: str) -> Reason:
    """Return a reason from words without a code, such as a person's text."""
    return Reason(TEXT, text=text)


_UNSURE = "not sure enough[ that it is {guess!r}]"
_SHOWING = "to show with {sure_percent:.3g}% confidence that at most {risk:.1%} of accepted answers are wrong"
_WRONG = "{wrong:,} of {accepted:,} such calibration answers were wrong ({share:.1%})"
_CONFIDENT = (
    "of the {accepted:,} most confident of {rows:,} calibration answers {wrong:,} were wrong ({share:.1%}), and no "
    "other threshold does better"
)

FORMER_CODES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "abstain.not_searched": ("abstain.not_searched", {"shelves": "indexes"}),
    "abstain.shelf_not_searched": ("abstain.index_not_searched", {"shelf": "index"}),
}
"""Codes of stored reasons that were renamed, or whose values were renamed."""

TEMPLATES: Mapping[str, str] = {
    "text": "{text}",
    # --- a finding, a field or an answer is accepted
    "accept.above_override": "confidence {confidence:.{decimals}f} reaches {needed:.{decimals}f}, {why}",
    "accept.above_threshold": "confidence {confidence:.{decimals}f} reaches {needed:.{decimals}f}, "
    "which keeps the error at {risk_percent:g}% or below",
    "accept.called": "{model!r} calls {functions}; the confidence is unknown",
    "accept.concluded": "concluded from {quotes} quote(s) of {document!r}; the confidence is unknown",
    "accept.fields": "sure of {sure} of {fields} fields[; not sure of {unsure}]",
    "accept.generalist": "answered by {model!r}; the confidence is unknown",
    "accept.grounded": "the source text {source!r} supports every sentence",
    "accept.function": "the request asks for {function}: {why}",
    "accept.from_results": "{model!r} answered from the results of its calls; the confidence is unknown",
    "accept.no_function": "no function fits: {why}",
    "accept.replaced": "{fault}: replaced by the source text {source!r}",
    "accept.replaced_from": "{fault}: replaced from sentence {sentence} on by the source text {source!r}",
    "accept.source_complete": "{fault}; the draft had already given the whole source text {source!r}",
    # --- it abstains
    "abstain.argument": "not sure of {argument!r} of {function}: {why}",
    "abstain.arguments": "the arguments of {function} do not match its schema: {found}",
    "abstain.blank_cell": "the row {row!r} has no value in the column {column!r}",
    "abstain.below_override": f"{_UNSURE} (confidence {{confidence:.{{decimals}}f}}, needs {{needed:.{{decimals}}f}}, "
    "{why})",
    "abstain.below_threshold": f"{_UNSURE} (confidence {{confidence:.{{decimals}}f}}, needs {{needed:.{{decimals}}f}})",
    "abstain.empty_answer": "the model wrote nothing",
    "abstain.fields": "sure of {sure} of {fields} fields[; not sure of {unsure}]",
    "abstain.no_call": "a call was required, and no specialist or model made one",
    "abstain.no_columns": "the input needs columns as a JSON object: {columns}",
    "abstain.no_fact": "no specialist wrote the fact {fact!r}",
    "abstain.no_label_fits": "the model says that none of the {labels} labels it was shown fits",
    "abstain.no_label_named": "the model answered {answer!r}, which names none of the {labels} labels it was shown, "
    "or several",
    "abstain.no_model": "no model was available",
    "abstain.no_passage": "no passage that the caller may see was found in the indexes",
    "abstain.no_second_text": "the input needs a second text beside the document, in columns as a JSON object: "
    '{{"{column}": "..."}}',
    "abstain.no_sentence": "the passages contain no sentence",
    "abstain.no_source": "there is no source text for {fact} = {value!r}",
    "abstain.no_text": "the input has no text",
    "abstain.no_text_and_columns": "the input needs a text, and columns as a JSON object: {columns}",
    "abstain.no_threshold": f"{_UNSURE} (confidence {{confidence:.2f}}; its examples show no confidence that keeps the "
    "error at {risk_percent:g}% or below, so it never decides: more examples may, or a higher target_risk)",
    "abstain.no_word_shared": "the passages that were found contain no word of the question",
    "abstain.not_asked": "no specialist was asked",
    "abstain.not_searched": "no passage that was found answers the question, and {indexes} could not be searched",
    "abstain.beside_documents": "the question is not about the subjects of the documents (nearest sentence "
    "{nearest:.2f}, needs {needed:.2f})",
    "abstain.not_offered": "the text asks for {function!r}, which the request does not offer",
    "abstain.out_of_scope": "unlike the training data (in-scope score {in_scope:.{decimals}f}, needs "
    "{needed:.{decimals}f})",
    "abstain.override_accepts_nothing": "the cost-quality policy accepts no answer of this specialist: {why}",
    "abstain.results": "this specialist makes calls and does not answer from their results",
    "abstain.rounds": "no answer after {rounds} rounds of calls",
    "abstain.reply_cut": "the reply was longer than its limit of tokens (`max_tokens`)",
    "abstain.not_said": "the text does not state {value}, which the training texts state",
    "abstain.other_number": "the sentence found is not about {asked!r}, which the question names",
    "abstain.other_row": "no row found is about {asked!r}; the nearest is {row!r}",
    "abstain.overlooked": "the table of the row {row!r} says nothing of {words!r}",
    "abstain.row_not_named": "the question does not distinguish the row {row!r} from other rows that fit",
    "abstain.index_not_searched": "index {index!r} could not be searched: {why}",
    "abstain.same_words": "{value!r} would be two arguments of {function}, and one of them is not stated",
    "abstain.too_little_known": "{unknown:.0%} of the inputs that the score depends on are missing or unknown",
    "abstain.unsupported": "no finding supports {added}",
    "abstain.value_left": "the text states {value}, which is no argument of {function}: it may ask for several calls",
    # --- what an answer specialist and its writer did
    "answer.contradicted": "the documents contradict each other: {places}[; {newest!r} is the newest]",
    "answer.depends": "the answer depends on which of these documents is meant: {places}",
    "answer.no_answer_written": "{model!r} wrote a sentence that is no answer ({sentence!r})",
    "answer.no_room": "no passage fits the model's window",
    "answer.none_written": "{model!r} found no answer",
    "answer.not_stated": "no passage found answers the question",
    "answer.not_worded": "not worded by a model: {why}",
    "answer.other_sentences": "{model!r} answered from sentences other than those found ({sentence!r})",
    "answer.question_repeated": "{model!r} repeated the question ({sentence!r})",
    "answer.quoted": "quoted from {places}",
    "answer.unsupported": "{model!r} wrote a sentence that the passages do not support ({sentence!r}: support "
    "{support:.2f}, needs {needed:.2f})",
    "answer.worded": "worded by {model!r}, every sentence supported",
    # --- a try of a large model that gave nothing
    "attempt.empty": "{model!r} returned an empty answer",
    "attempt.other_first": "{model!r} answered first",
    "attempt.refused": "{model!r} refused to answer",
    "attempt.out_of_time": "{model!r} had not finished when the request's time ran out",
    "attempt.wrong_form": "{model!r} did not answer in the requested form",
    # --- limits
    "budget.joules": "budget {budget!r} is {limit:,.1f} joules[ a {per}]: {left:,.1f} are left, and this request may "
    "take {most:,.1f}",
    "budget.money": "budget {budget!r} is {limit} of money[ a {per}]: {left} are left, and this call may take {most}",
    "budget.requests": "budget {budget!r} is {limit:,} requests[ a {per}]: {made:,} were made",
    "budget.tokens": "budget {budget!r} is {limit:,} tokens[ a {per}]: {left:,} are left, and this call may take "
    "{most:,}",
    "budget.unpriced": "budget {budget!r} limits money, and the price of model {model!r} is unknown",
    "budget.used_up": "budget {budget!r} is used up",
    "limit.money": "asking {model!r} may cost {most}; the budget of {of} has {left} left (it gets {per_1000} "
    "per 1,000 requests)",
    "limit.money_used_up": "the limit of {limit} is used up ({used})",
    "limit.price_unknown": "the price of {model!r} is unknown, and a budget limits money",
    "limit.tokens": "asking {model!r} may take {most:,} tokens; {of} has {left:,} left",
    "limit.tokens_used_up": "the limit of {limit:,} tokens is used up ({used:,})",
    # --- the stop of a chain of rungs
    "chain.no_stop": "{rows:,} calibration rows show no confidence from which an earlier rung may answer and "
    "{quality:g} of what {last} gets right is kept",
    "chain.no_stop_within_risk": "{rows:,} calibration rows show no confidence from which an earlier rung may answer "
    "and {quality:g} of what {last} gets right and a share of errors among accepted answers is kept",
    "chain.stop": "a rung before {last} answers from {stop:g} on: {rows:,} calibration rows show with 95% confidence "
    "that the whole keeps {quality:g} of what {last} gets right",
    # --- a larger model that chooses among sentences
    "choosing.no_gain": "{model!r} only words answers: asked {asked} public questions, its choice answers no more of "
    "them at a risk of {risk:.0%} than the reader alone",
    "choosing.no_numbers": "{model!r} only words answers: {named} of its {asked} answers name a sentence, or none",
    "choosing.not_asked": "{model!r} only words answers: its choices could not be measured ({why}); train again when "
    "it can be reached, or set `calibration_calls = 0`",
    "choosing.other_reader": "the model only words answers: the public questions were read by another reading model",
    # --- a column of structured input
    "column.far": "{column} is {value}, far from all training values ({learnt})",
    "column.missing": "{column} is missing",
    "column.no_number": "{column} is {value}, not a number",
    "column.unlearnt": "{column} is {value}, a value that the training data do not have",
    # --- two versions beside each other
    "compare.fell": "{what} fell from {before:.3f} to {after:.3f} ({difference:+.3f}[, p = {chance:.2g}][ on {rows:,} "
    "rows])",
    "compare.not_measured": "no figures were measured",
    "compare.other_rows": "they were measured on different held-out rows",
    "compare.same_rows": "on the same {rows:,} held-out rows",
    "compare.went": "{what} went from {before:.3f} to {after:.3f} ({difference:+.3f}[, p = {chance:.2g}][ on {rows:,} "
    "rows])",
    # --- typed questions
    "decision.other_label": "the specialist's label is {guess!r}, which is none of the {options} options",
    "decision.zero_shot": "zero-shot by {by} ({method}): {probability:.2f} is calibrated only once outcomes are known",
    # --- what the generalist failed to do
    "conclude.unsupported": "no quote supports its conclusion: {added}",
    "degraded.stage": "{stage}: {why}",
    # --- why a draft was given up, and what is wrong with its sentence
    "draft.cut": "the draft reached its maximum length",
    "draft.empty": "the draft is empty",
    "draft.failed": "the draft failed: {why}",
    "draft.long_sentence": "the draft has a sentence longer than the source text",
    "draft.no_result": "the draft failed: the engine ended without a result",
    "draft.not_grounded": "the source does not support the draft ({sentence!r}: {why})",
    "draft.refused": "there is no draft: {why}",
    "draft.states_nothing": "the draft states nothing from the source text",
    "draft.too_slow": "the draft had no sentence within {seconds:g} seconds",
    "grounding.asks": "asks a question that the source answers",
    "grounding.breaks_off": "the sentence breaks off",
    "grounding.claim_left_out": "part of the claim left out: {words}",
    "grounding.condition_left_out": "a condition left out: {words}",
    "grounding.contact": "a contact or number that is not in the source: {found!r}",
    "grounding.courtesy": "courtesy",
    "grounding.echo": "repeats the customer's words",
    "grounding.empty": "states nothing",
    "grounding.negation": "a negation added or left out: {words}",
    "grounding.no_claims": "the source states nothing",
    "grounding.not_same": "not what a sentence of the source states, in {language!r}",
    "grounding.not_verbatim": "not word for word a sentence of the source, in {language!r}",
    "grounding.number": "a number that is not in the source: {found!r}",
    "grounding.number_left_out": "a number left out: {words}",
    "grounding.order": "the words are in another order",
    "grounding.other_language": "a courtesy in another language than {language!r}",
    "grounding.other_number": "a number from another sentence: {words}",
    "grounding.other_words": "words from another sentence: {words}",
    "grounding.owner": "changes whose it is: {words}",
    "grounding.reference": "refers to a sentence that was left out",
    "grounding.repeated": "repeats an earlier sentence",
    "grounding.sign": "a symbol that is not in the source: {found!r}",
    "grounding.stated": "stated by the source",
    "grounding.unknown_number": "a number that is not in the source: {words}",
    "grounding.unknown_words": "words that are not in the source: {words}",
    # --- the egress gate, labels, releases, suspected injections
    "egress.above_clearance": "{label} data is above the clearance of {destination!r}, which is {clearance}",
    "egress.pseudonymised": "pseudonymised: {hidden}",
    "egress.within_clearance": "{label} data is within the clearance of {destination!r}, which is {clearance}",
    "injection.suspected": "{where} contains instructions to a model ({kinds}); they are treated as data",
    "label.flow": "{specialist} labelled its finding {labelled!r}, below the label {least!r} of its inputs; the "
    "finding carries {least!r}",
    "label.raised": "raised from {declared} to {label}: {found} in {where}",
    "label.released": "released from {label} to {lowered}: {because}",
    "release.no_reason": "a release needs a reason of 1 to {most} characters ({given} given)",
    "release.personal_data": "the reason of a release is kept permanently, and it contains {found}",
    "release.restricted": "restricted data never leaves this process and cannot be released",
    "release.role": "a key of the role {role!r} may not release",
    # --- how well a text fits a specialist, and whom a request is for
    "fit.similarity": "similarity {similarity:.2f}",
    "fit.typicality": "more typical than {p_value:.0%} of the examples",
    "route.allowed": "of the specialists that the caller may ask: {specialists}",
    "route.columns": "{specialist}: the input has {shared} of its {columns} columns",
    "route.decisions": "{questions} typed questions: {trained} for specialists, {zero_shot} zero-shot",
    "route.document": "the request includes a document, which is read for it",
    "route.documents": "{specialist} searches its documents",
    "route.like": "{specialist}: like its example {nearest!r}, {fit}",
    "route.nobody": "no specialist takes this kind of input",
    "route.nobody_allowed": "no specialist that the caller may ask fits the request",
    "route.not_yet": "not routed yet",
    "route.part_not_allowed": "no specialist that the caller may ask fits a part of the request",
    "route.deployed": "{specialist} is deployed for this job of the model {model!r}",
    "route.relayed": "the request names the model {model!r}, which was asked directly",
    "route.schema": "{specialists} answer in the requested form",
    "route.schema_ambiguous": "several specialists could fill in {wanted!r} of the schema: {specialists}",
    "route.schema_unowned": "no specialist answers in the requested form: none fills in {wanted!r}",
    "abstain.not_filled": "no value for {property!r}, which {specialist} was asked for",
    "abstain.not_in_schema": "{model} returned no JSON that matches the schema: {found}",
    "route.pinned": "the request names {specialist!r}",
    "route.second": "second: {specialist}, {fit}",
    "route.small_talk": "a greeting, thanks or small talk, which no specialist answers",
    "route.unlike_description": "unlike the examples of every specialist: the nearest is {specialist} (similarity "
    "{similarity:.2f}, needs {needed:g})",
    "route.unlike_examples": "unlike the examples of every specialist: the nearest is {specialist} (similarity "
    "{similarity:.2f}, more typical than {p_value:.1%} of the examples, needs {needed:.0%})",
    "route.window": "only the first {first} and the last {last} characters were read for routing",
    "route.untrained": "{specialist} is not trained yet and was not asked: coterie train {specialist}",
    # --- what is said behind a reason
    "note.answer_cut": "the answer reached its maximum length",
    "note.apart": "{what} {before:.3f} there, {after:.3f} here",
    "note.before": "earlier: {why}",
    "note.clause_truncated": "a clause was too long for the encoder, which read only its beginning",
    "note.as_asked": "read without the earlier question, since no passage answers both together",
    "note.missing": "missing: {columns}",
    "note.nearest": "the nearest sentence is {quote!r}",
    "note.neighbours_truncated": "its neighbours were searched by its beginning only",
    "note.no_champion": "no champion to compare it with",
    "note.no_pseudonyms": "not pseudonymised: {why}",
    "note.not_comparable": "cannot be compared with {champion}: {why}",
    "note.not_judged": "not judged",
    "note.not_used": "not used: {column} ({why})",
    "note.not_worse": "not measurably worse than {champion} {why}",
    "note.personal_data": "the prompt is {label} and contains {found}",
    "note.recorded": "as recorded",
    "note.rung": "answered by rung {rung}[, after {after}]",
    "note.alike_options": "{by} cannot distinguish {options} of the options: it knows no part of their names",
    "note.fitted_options": "its options were fitted to {texts:,} texts without labels",
    "note.floor_instead": "the encoder answered, because {model!r} could not: {why}",
    "note.met_from": "from confidence {confidence:.3f}, at most {risk:g} were wrong",
    "note.text_truncated": "only the beginning of the text was read",
    "note.unknown_is_average": "unknown values count as average",
    "note.untrained_pair": "its {column} is not among those of the training data",
    "note.chosen_by": "{model!r} chose the sentence that answers",
    "note.chooses": (
        "{model!r} chooses where the reader is not sure: {answered} of {asked} public questions answered, "
        "{before} without it"
    ),
    "note.worded_by": "answers are worded by {model!r}, and each sentence is checked",
    # --- why an entry is not in a view
    "omit.above_caller": "{label} is above the caller's clearance ({clearance})",
    "omit.above_clearance": "{label} is above {specialist}'s clearance ({clearance})",
    "omit.budget": "did not fit the budget of {tokens:,} tokens",
    "omit.found_again": "found again",
    "omit.not_read": "{specialist} does not read it",
    "omit.not_searched": "not searched: {why}",
    "omit.retracted": "retracted by {by}",
    "omit.retraction": "it only retracts a fact",
    "omit.superseded": "superseded by a newer one from {by}",
    # --- what became of a part of a request
    "outcome.finding": "{specialist}: {why}",
    # --- the cost-quality policy
    "flywheel.breaks_even": "from which it is no worse than the model that answers otherwise",
    "policy.keeps": "which keeps {quality:g} of the generalist's quality ({source}): {expected:.3f} expected, "
    "{escalated:.0%} of such requests go to it[, {by}]",
    "policy.keeps_nothing": "{why} {quality:g} of the generalist's quality ({source})",
    "policy.not_shown": "{outcomes:,} outcomes do not show that any threshold keeps",
    "policy.refuted": "{checks:,} spot checks show that the calibrated threshold does not keep",
    "policy.spot_checked": "by {checks:,} spot checks",
    # --- which version serves
    "promote.bar_not_measured": "{measure} was not measured; its bar is {bar:g}",
    "promote.below_bar": "{measure} is {value:.3f}, {short:.3f} below its bar of {bar:g}",
    "promote.champion_damaged": "it misses its bar ({why}), but the version that serves is damaged",
    "promote.meets_bar": "it meets its bar",
    "promote.misses_bar": "it misses its bar, with {measure} {after:.3f} against {before:.3f} of {champion}",
    "promote.misses_bar_alone": "it misses its bar, and {champion} cannot be compared with it",
    "promote.no_bar": "it has no bar to meet",
    "promote.only_version": "it misses its bar ({why}), but there is no other version",
    "promote.serves_already": "it already serves",
    # --- which rung is taken
    "rung.best": "best out-of-fold {measure} ({value:.3f})",
    "rung.chain": "the chain [{rungs} ]that is asked for (out-of-fold {measure} {value:.3f})",
    "rung.cheapest": "cheapest rung not measurably below the best (out-of-fold {measure} {value:.3f} against "
    "{best:.3f})",
    "rung.covers": "answers {share:.0%} out of fold at a risk of {risk:.0%}; {cheaper!r}, as accurate as far as can be "
    "told, answers {covers:.0%} at {at:.0%}",
    "rung.meets_bar": "cheapest rung whose out-of-fold {bar} is reached with 95% confidence ({reached})",
    "rung.no_questions": "no questions to train on: calibrated on public questions",
    "rung.none_meets_bar": "no rung reaches {bar} with 95% confidence out of fold; this is the best ({reached})",
    "rung.floor": "the lexical floor (out-of-fold {measure} {value:.3f}): {worse} is measurably worse ({at:.3f})",
    "rung.richer": "of {rows} out-of-fold rows it names {value:.1%} right and {cheaper!r} {at:.1%}; with what is usual "
    "between the two it is expected to name {gain:.1%} more right",
    "rung.only": "the only rung (out-of-fold {measure} {value:.3f})",
    # --- from which confidence answers are accepted
    "threshold.everything_with_prior": f"confidence from {{value:.3f}} (everything) is accepted: {_WRONG}; with how "
    f"confidence usually falls off, from public sets, few enough {_SHOWING}",
    "threshold.with_prior": f"confidence from {{value:.3f}} is accepted: {_WRONG}; with how confidence usually falls "
    f"off, from public sets, few enough {_SHOWING}",
    "threshold.everything": f"confidence from {{value:.3f}} (everything) is accepted: {_WRONG}, few enough {_SHOWING}",
    "threshold.not_shown": f"nothing is accepted: {_CONFIDENT}: too few rows, or too many copies among them, "
    f"{_SHOWING}",
    "threshold.raised": f"confidence from {{value:.3f}} is accepted: {_WRONG}, the target of {{target:.1%}} met but "
    f"not shown; from {{shown_from:.3f}} on few enough were {_SHOWING}",
    "threshold.shown": f"confidence from {{value:.3f}} is accepted: {_WRONG}, few enough {_SHOWING}",
    "threshold.too_few_rows": f"nothing is accepted: {_SHOWING} takes at least {{fewest}} calibration rows; there are "
    "{rows}",
    "threshold.too_many_wrong": f"nothing is accepted: {_CONFIDENT}: too many {_SHOWING}",
}

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_FORMATTER = Formatter()


def render(code: str, values: Mapping[str, object]) -> str:
    """Return the words for a code and its values; for an unknown code, its `text` or the values by name."""
    template = TEMPLATES.get(code)
    if template is None and "text" in values:
        template = "{text}"
    try:
        if template is not None:
            if "[" in template:
                template = _OPTIONAL.sub(lambda match: _segment(match[1], values), template)
            return template.format_map(values)
    except (KeyError, ValueError, TypeError):
        pass  # stored by another version, which had other values
    return f"{code} ({', '.join(f'{name} {value}' for name, value in values.items())})"


def names_of(template: str) -> tuple[str, ...]:
    """Return the values that a template names, each once; those that are only in a format last."""
    parsed = list(_FORMATTER.parse(template.replace("[", "").replace("]", "")))
    within = [name for _, _, spec, _ in parsed for _, name, _, _ in _FORMATTER.parse(spec or "") if name]
    return tuple(dict.fromkeys([*(name for _, name, _, _ in parsed if name), *within]))


def optional_in(code: str) -> frozenset[str]:
    """Return the values without which the words of a code are still complete."""
    return frozenset(name for match in _OPTIONAL.finditer(TEMPLATES.get(code, "")) for name in names_of(match[1]))


@lru_cache(maxsize=1024)
def quoted_in(code: str) -> frozenset[str]:
    """Return the values that are quoted in the words of a code: a person's words, or a name."""
    parsed = _FORMATTER.parse(TEMPLATES.get(code, ""))
    return frozenset(name for _, name, _, conversion in parsed if name and conversion == "r")


def _segment(template: str, values: Mapping[str, object]) -> str:
    """Return an optional part as a template still to be filled."""
    kept = all(values.get(name) not in (None, "") for name in names_of(template))
    return template if kept else ""
