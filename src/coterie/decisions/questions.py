"""Typed questions and the state that they are about: which ones are valid, and their text and columns."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from coterie.errors import InputError
from coterie.text.records import cells_of, render_messages, render_record
from coterie.types import NO, YES, Message, Question, Request

MOST_QUESTIONS = 64
MOST_OPTIONS = 255
MOST_IN_ALL = 2_048
"""Most options of all questions of a call, since each is encoded when it is first seen."""
_LONGEST_NAME = 1_000
_LONGEST_TEXT = 20_000
_FINGERPRINT = 16  # hexadecimal digits


def check_questions(questions: Sequence[Question]) -> None:
    """Check that questions can be answered. Raises `InputError` with the question and the problem."""
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise InputError(
            f"Found {len(questions)} questions; 1 to {MOST_QUESTIONS} can be asked at once.",
            hint="Give at least one (`coterie decide`: --choice NAME=A|B), or ask in several calls.",
        )
    if (options := sum(len(ensure_question(question).options) for question in questions)) > MOST_IN_ALL:
        raise InputError(f"The questions have {options} options together; at most {MOST_IN_ALL} are weighed at once.")
    for index, question in enumerate(questions):
        _check(question, f"Question {question.name[:100]!r}" if question.name else f"Question {index}")
    if twice := _first_repeated(question.name for question in questions if question.name):
        raise InputError(f"Two questions have the name {twice[:100]!r}.", hint="Give each a name of its own.")


def ensure_question(given: object) -> Question:
    """Return the value as a question. Raises `InputError` for anything else."""
    if not isinstance(given, Question):
        raise InputError(f"A question is a {type(given).__name__}.", hint="Give a Question of coterie.types.")
    return given


def _check(question: Question, which: str) -> None:
    names = question.names
    if question.kind == "predicate" and names != (NO, YES):
        raise InputError(f"{which} is a predicate with the options {list(names)[:5]}; it has {[NO, YES]}.")
    if not 2 <= len(names) <= MOST_OPTIONS:
        raise InputError(f"{which} has {len(names)} options; a {question.kind} has 2 to {MOST_OPTIONS}.")
    if any(not name.strip() for name in names):
        raise InputError(f"{which} has an option without a name.", hint="Give each option a name.")
    if twice := _first_repeated(map(spaced, names)):
        raise InputError(f"{which} has two options of the name {twice[:100]!r}.")
    if (longest := max(map(len, names))) > _LONGEST_NAME:
        raise InputError(f"{which} has an option name of {longest} characters; at most {_LONGEST_NAME} are read.")
    descriptions = [option.description for option in question.options]
    if (longest := max(map(len, [question.instructions, *descriptions]))) > _LONGEST_TEXT:
        raise InputError(f"{which} has a text of {longest} characters; at most {_LONGEST_TEXT} are read.")
    if question.kind == "predicate" and not (question.instructions.strip() or any(map(str.strip, descriptions))):
        raise InputError(f"{which} asks nothing.", hint="Give instructions, or describe one of the two cases.")
    for text in (question.name, question.instructions, *names, *descriptions):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(f"{which} holds half a surrogate pair, which is no text.")


def _first_repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")  # type: ignore[func-returns-value]


def fingerprint(question: Question) -> str:
    """Return the fingerprint of a question; its name, the order of a choice's options and white space are ignored."""
    options = [[spaced(option.name), spaced(option.description)] for option in question.options]
    if question.kind == "choice":
        options.sort()
    canonical = json.dumps([question.kind, spaced(question.instructions), options], ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_FINGERPRINT]


def spaced(text: str) -> str:
    """Return a text in Unicode normal form C, with single spaces for white space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


LONGEST_STATE = 1_000_000
"""Longest state in characters: about 250,000 tokens. Encoders read the beginning of it."""
_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
}


def request_about(state: object) -> Request:
    """Return a request about a state: a text, a JSON object or list, or messages.

    The fields of an object are written as in training (`coterie.text.records`) and are the columns of the request. A
    text that is a JSON object counts as that object, and a list of objects with `role` and `content` as a conversation.
    Raises `InputError` for any other value.
    """
    if isinstance(state, str) and state.lstrip().startswith("{"):
        state = _object(state) or state
    if isinstance(state, str | Mapping):
        text = render_record(state)
    elif isinstance(state, Sequence):
        turns = [_turn(item) for item in state]
        messages = [turn for turn in turns if turn is not None]
        text = render_messages(messages) if turns and len(messages) == len(turns) else render_record(state)
    else:
        raise InputError(f"The state is a {type(state).__name__}.", hint="It is a text, a JSON object or a list.")
    if not text.strip():
        raise InputError("The state is empty.", hint="Send a text, or an object with a field that is not empty.")
    if len(text) > LONGEST_STATE:
        raise InputError(f"The state has {len(text)} characters; at most {LONGEST_STATE} are read.")
    return Request(text=text, columns=cells_of(state) if isinstance(state, Mapping) else {})


def _object(text: str) -> dict[str, object] | None:
    """Return the JSON object in a text, as a network reads structured input."""
    try:
        parsed = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _turn(item: object) -> Message | None:
    if isinstance(item, Message):
        return item
    if not isinstance(item, Mapping) or not {"role", "content"} <= item.keys() <= {"role", "content", "type"}:
        return None
    role = _ROLES.get(str(item["role"]))
    return (
        Message(role=role, text=render_record(item["content"])) if role and isinstance(item["content"], str) else None
    )
