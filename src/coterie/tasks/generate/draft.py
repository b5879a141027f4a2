"""A draft while it is written: which sentences of it may be said, and what the source says in place of the others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coterie.tasks.generate.grounding import Grounding, check_grounding, keys
from coterie.text.language import language_of
from coterie.text.segmentation import SentenceStream, split_sentences
from coterie.types import Message, Reason

# --- How a draft is asked for: an instruction, a few examples, the message and the source text.
#
# The heading above the source text, which the reply repeats, is what makes a very small model copy instead of making
# things up: it is different in every request, so there is one place in the prompt that goes on as the reply should.
# Of 40 BANKING77 messages SmolLM2-135M answered 37 with grounded sentences only; without the heading it was about
# half.

HEADING = "#"
"""A line of a draft that begins with it is not part of the reply."""
_MOST_ASKED = 600  # characters of a message; a draft thanks and restates, and more would only take time


@dataclass(frozen=True, kw_only=True)
class Example:
    """One exchange the model is shown."""

    asked: str
    key: str
    source: str
    reply: str


@dataclass(frozen=True, kw_only=True)
class Drafting:
    """What a stored version says to its model. Everything but the last message is the same in each request."""

    instruction: str
    examples: tuple[Example, ...] = ()

    def messages(self, *, asked: str, key: str, source: str) -> tuple[Message, ...]:
        """The prompt for one message and the source text that answers it."""
        shown = [Message(role="system", text=self.instruction)]
        for example in self.examples:
            shown.append(_request(example.asked, example.key, example.source))
            reply = f"{example.reply}\n\n{HEADING} {_heading(example.key)}\n{example.source}"
            shown.append(Message(role="assistant", text=reply))
        return (*shown, _request(asked, key, source))


def one_line(asked: str) -> str:
    """As much of a message as the model is shown, in one line: it should not look like the heading of a source text."""
    return " ".join(asked[: 2 * _MOST_ASKED].split())[:_MOST_ASKED]


def _request(asked: str, key: str, source: str) -> Message:
    return Message(role="user", text=f"Customer: {one_line(asked)}\n\n{HEADING} {_heading(key)}\n{source}")


def _heading(key: str) -> str:
    """A fact's value as words: `card_arrival` is "card arrival"."""
    return re.sub(r"[\W_]+", " ", key).strip().lower()


_MOST_SHOWN = 120  # characters of a sentence in a reason
_SLACK = 200  # characters that a sentence may have beyond those of what it may state or say back


class SupportedDraft:
    """Reads a draft piece by piece and gives out the sentences that the source bears out, up to the first it does not.

    A draft that is not supported, breaks off or states nothing of the source is given up, and the source goes on in
    its place, from where the draft left it: where the draft has said the source's first sentences, with the others,
    else as a whole.
    """

    def __init__(self, *, source: str, asked: str) -> None:
        self.said: list[str] = []
        self.fault: Reason | None = None
        """Why it was given up; None as long as it stands."""
        self._source = source
        self._asked = asked
        self._language = language_of(source, "en")
        self._splitter = SentenceStream(self._language)
        self._claims: list[str] = []
        self._stated = -1  # number of the source's sentence that was stated last

    def read(self, piece: str) -> Iterator[str]:
        """The sentences that this piece completes and that may be said."""
        yield from self._judge(self._splitter.feed(piece))
        if self._splitter.unfinished > len(self._source) + len(self._asked) + _SLACK:
            self.give_up(Reason("draft.long_sentence"))

    def end(self, *, cut: bool = False) -> Iterator[str]:
        """What is left at the end of the draft, as far as it may be said; a sentence that was cut is dropped."""
        rest = self._splitter.close()
        if cut and not self.fault:
            yield from self._judge([sentence for sentence in rest if self._ground(sentence).ok])
            self.give_up(Reason("draft.cut"))
            return
        yield from self._judge(rest)
        if not self._claims:
            self.give_up(Reason("draft.states_nothing" if self.said else "draft.empty"))

    def give_up(self, reason: Reason) -> None:
        """Read no further; the first reason counts."""
        self.fault = self.fault or reason

    def replacement(self) -> str:
        """What the source says in place of a draft that was given up, to be put behind what was said."""
        if not self.fault:
            return ""
        if not self.said:
            return self._source
        rest = self._rest_of_source()
        if rest is None:
            return f"\n\n{self._source}"
        return f" {rest}" if rest else ""

    def reason(self, key: str) -> Reason:
        """Whose sentences the reply is made of."""
        if self.fault is None:
            return Reason("accept.grounded", source=key)
        if not self.said:
            return Reason("accept.replaced", source=key, fault=self.fault)
        if not self.replacement():
            return Reason("accept.source_complete", source=key, fault=self.fault)
        return Reason("accept.replaced_from", source=key, fault=self.fault, sentence=len(self.said) + 1)

    def _judge(self, sentences: Sequence[str]) -> Iterator[str]:
        for sentence in sentences:
            if self.fault:
                return
            if sentence.startswith(HEADING):
                continue
            judged = self._ground(sentence)
            if not judged.ok:
                self.give_up(Reason("draft.not_grounded", sentence=_shortened(sentence), why=judged.reason))
                return
            self.said.append(sentence)
            if judged.kind == "claim":
                self._claims.append(sentence)
                self._stated = judged.evidence[-1]
            yield sentence

    def _ground(self, sentence: str) -> Grounding:
        judged = check_grounding(sentence, self._source, asked=self._asked, after=self._stated)
        if judged.ok and keys(sentence) in map(keys, self.said):
            return Grounding(ok=False, reason=Reason("grounding.repeated"), kind=judged.kind)
        return judged

    def _rest_of_source(self) -> str | None:
        """The source behind its first sentences, if those and nothing else have been stated."""
        stated, read, place = keys(" ".join(self._claims)), "", 0
        for sentence in ["", *split_sentences(self._source, self._language)]:
            place = self._source.index(sentence, place) + len(sentence)
            read = f"{read} {sentence}"
            if keys(read) == stated:
                return self._source[place:].strip()
        return None


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= _MOST_SHOWN else f"{sentence[:_MOST_SHOWN]}…"


INSTRUCTION = "You answer customers. Thank the customer, then repeat the help text."
_THANKS = "Thank you for your message."

EXCHANGES = (
    Example(
        asked="the app wont load at all",
        key="app_not_working",
        source="Please close the app and open it again. If it does not load, install the newest version. Your money is "
        "safe, and you can also sign in on our website.",
        reply=_THANKS,
    ),
    Example(
        asked="I want my parcel to go to another place",
        key="change_of_address",
        source="To change the address of a parcel, open Orders and choose the parcel. Tap Change address before it is "
        "sent. After that, only the carrier can change it, and you need the number of the parcel.",
        reply=_THANKS,
    ),
    Example(
        asked="where do i find my statement for june??",
        key="statement_download",
        source="Statements are ready on the first day of each month. Open Profile and tap Statements to download one. "
        "A paper statement costs 2 pounds and takes 4 working days.",
        reply=_THANKS,
    ),
)
