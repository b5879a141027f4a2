"""A synchronous connection to a network, which is used without `await`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

from coterie.api.inputs import read_rows
from coterie.assembly import open_network
from coterie.decisions.questions import ensure_question, request_about
from coterie.errors import InputError
from coterie.knowledge.parse import FileReader
from coterie.knowledge.parsed import Unreadable
from coterie.network.network import Network
from coterie.runtime.concurrency import BackgroundLoop
from coterie.types import Answer, Decisions, Delta, Document, Label, Message, Question, Request, SpecialistCard
from coterie.types.usage import read_money


class AskOptions(TypedDict, total=False):
    """Keywords of `ask` and `stream`; see `Request`."""

    columns: Mapping[str, object] | None
    """Structured input of the request: one row."""
    document: str | Path | Document | None
    """The document that the question is about: a text, or the path of a PDF, DOCX, HTML, Markdown or text file."""
    history: Iterable[Message | Mapping[str, str]]
    """Earlier turns, oldest first: `{"role": "user", "content": "..."}`."""
    session: str | None
    """Name of a conversation that the network remembers."""
    specialist: str | None
    """Name of the specialist that is asked; the router is skipped."""
    label: Label | str | None
    """Sensitivity of the question."""
    clearance: Label | str | None
    """The most sensitive label that the caller may see."""
    max_tokens: int | None
    quality: float | None
    """Share of the generalist's quality to keep, 0 to 1."""
    budget: Decimal | float | None
    """Money per 1,000 such requests, instead of a quality."""


class DecideOptions(TypedDict, total=False):
    """Keywords of `decide`."""

    specialist: str | None
    """The only specialist that may answer."""
    label: Label | str | None
    """Sensitivity of the state."""
    clearance: Label | str | None
    """The most sensitive label that the caller may see."""


Asked = Question | str | Sequence[str]


class AnswerStream:
    """An iterator over the pieces of an answer as they become certain; `answer` is the whole answer at the end."""

    def __init__(self, events: Iterator[Delta | Answer]) -> None:
        self._events = events
        self._answer: Answer | None = None

    def __iter__(self) -> Iterator[str]:
        for event in self._events:
            if isinstance(event, Answer):
                self._answer = event
            else:
                yield event.text

    @property
    def answer(self) -> Answer:
        """The settled answer; pieces that were not read yet are skipped."""
        for _ in self:
            pass
        if self._answer is None:
            raise InputError("The stream was closed before its answer came.")
        return self._answer

    def close(self) -> None:
        """End the request early."""
        self._events.close()  # type: ignore[attr-defined]


class SyncNetwork:
    """An open network for scripts and notebooks, made by `connect`. It is a context manager that closes the network."""

    def __init__(self, folder: Path | str, *, warm: bool = False) -> None:
        self._loop = BackgroundLoop()
        try:
            self.network: Network = self._loop.run(open_network(folder, warm=warm))
        except BaseException:
            self._loop.close()
            raise
        self._folder = Path(folder)

    def ask(self, text: str | Request, **options: Unpack[AskOptions]) -> Answer:
        """Ask the network and wait for the whole answer.

        Raises:
            InputError: the request cannot be served.
            BudgetExceeded, Overloaded: the request cannot be served at present.
        """
        return self._loop.run(self.network.ask(request_of(text, **options)))

    def stream(self, text: str | Request, **options: Unpack[AskOptions]) -> AnswerStream:
        """Ask the network and return an iterator over the pieces of the answer."""
        return AnswerStream(self._loop.iterate(self.network.stream(request_of(text, **options))))

    def decide(
        self, state: object, questions: Mapping[str, Asked] | Iterable[Asked], **options: Unpack[DecideOptions]
    ) -> Decisions:
        """Answer typed questions about a state: a text, a JSON object, or messages.

        Args:
            state: The state that the questions are about.
            questions: At most 64 questions by name. A list of options is a choice; a text is a statement that is true
                or not.
            options: `specialist`, `label` and `clearance`, as in `ask`.

        Raises:
            InputError: the state or a question cannot be served.
            BudgetExceeded, Overloaded: the request cannot be served at present.
        """
        if isinstance(questions, Mapping):
            typed_questions = [replace(_question(question), name=name) for name, question in questions.items()]
        else:
            typed_questions = [_question(question) for question in questions]
        request = replace(
            request_about(state),
            specialist=options.get("specialist"),
            label=_label(options.get("label")),
            clearance=_label(options.get("clearance")),
        )
        return self._loop.run(self.network.decide(request, typed_questions))

    @property
    def specialists(self) -> Mapping[str, SpecialistCard]:
        """The card of each specialist, by name."""
        return {name: specialist.card for name, specialist in self.network.specialists.items()}

    def close(self) -> None:
        """Close the network; a second call does nothing."""
        if self._loop.closed:
            return
        try:
            self._loop.run(self.network.close())
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SyncNetwork({str(self._folder)!r}, specialists={sorted(self.network.specialists)})"


def connect(folder: Path | str, *, warm: bool = False) -> SyncNetwork:
    """Open a trained network for synchronous use, also in a notebook.

    Args:
        folder: The network's folder.
        warm: Let generative specialists read the constant part of their prompts first.

    Raises:
        SetupError: something is missing or wrong; the hint says which command fixes it.
    """
    return SyncNetwork(folder, warm=warm)


def request_of(text: str | Request, **options: Unpack[AskOptions]) -> Request:
    """Make a request from plain values. Raises `InputError`."""
    if isinstance(text, Request):
        if options:
            raise InputError(f"A Request was given beside {', '.join(sorted(options))}.", hint="Put them into it.")
        return text
    columns, budget = options.get("columns"), options.get("budget")
    return Request(
        text=text,
        columns=None if columns is None else read_rows([columns], "columns")[0],
        document=_document(options.get("document")),
        history=tuple(map(_message, options.get("history", ()))),
        session=options.get("session"),
        specialist=options.get("specialist"),
        label=_label(options.get("label")),
        clearance=_label(options.get("clearance")),
        max_tokens=options.get("max_tokens"),
        quality=options.get("quality"),
        budget=None if budget is None else _money(budget),
    )


def _money(budget: Decimal | float) -> Decimal:
    try:
        return read_money(str(budget))
    except ValueError as error:
        raise InputError(f"Asked for a budget of {str(budget)[:100]}: {error}.") from None


def _label(label: Label | str | None) -> Label | None:
    try:
        return None if label is None else Label(label)
    except ValueError:
        raise InputError(f"Unknown label {label!r}.", hint=f"Labels are: {', '.join(Label)}.") from None


def _document(given: str | Path | Document | None) -> Document | None:
    if isinstance(given, str):
        return Document(text=given)
    if not isinstance(given, Path):
        return given
    try:
        with closing(FileReader()) as reader:
            return Document(text=reader.read(given).text, name=given.name)
    except Unreadable as error:
        raise InputError(f"The document {str(given)!r} cannot be read: {error}.") from error


def _question(given: Asked) -> Question:
    if isinstance(given, str):
        return Question.predicate(given)
    if isinstance(given, Sequence) and all(isinstance(item, str) for item in given):
        return Question.choice(given)
    return ensure_question(given)


def _message(turn: Message | Mapping[str, str]) -> Message:
    if isinstance(turn, Message):
        return turn
    role, text = turn.get("role"), turn.get("content")
    if role not in {"system", "user", "assistant"} or not isinstance(text, str):
        raise InputError(f"history has {turn!r}.", hint='Write {"role": "user", "content": "..."}.')
    return Message(role=role, text=text)  # type: ignore[arg-type]
