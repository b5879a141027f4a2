"""Conversations written for training: what one person asks, turn after turn. `check` says what is wrong with a file.

    python scripts/turns/conversations.py scripts/turns/conversations/*.txt

`# LANG | TOPIC` begins a conversation, `= TURN` stands alone, `> TURN => REWRITE` leans on an earlier turn and says
what it means in one question that needs nothing before it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("conversations")


class Said(NamedTuple):
    """A turn; one that stands alone has no rewrite."""

    text: str
    rewrite: str


class Conversation(NamedTuple):
    """The turns of one person, in order."""

    language: str
    topic: str
    turns: list[Said]


def parse(path: Path) -> Iterator[Conversation]:
    """The conversations of a file; ValueError names the line that is wrong."""
    conversation: Conversation | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}: {line[:80]!r}"
        if header := re.fullmatch(r"# ([a-z]{2}) \| (.+)", line):
            if conversation is not None:
                yield conversation
            conversation = Conversation(header[1], header[2], [])
            continue
        if conversation is None:
            raise ValueError(f"{where} stands before the first `# LANG | TOPIC`")
        text, _, rewrite = (part.strip() for part in line[2:].partition(" => "))
        leans = line.startswith("> ")
        if not (leans or line.startswith("= ")) or not text or leans != bool(rewrite):
            raise ValueError(f"{where} is neither `= TURN` nor `> TURN => REWRITE`")
        if leans and not conversation.turns:
            raise ValueError(f"{where} leans on nothing: the first turn stands alone")
        conversation.turns.append(Said(text, rewrite))
    if conversation is not None:
        yield conversation


def conversations() -> Iterator[Conversation]:
    """All conversations of the folder."""
    for path in sorted(FOLDER.glob("*.txt")):
        yield from parse(path)


def main() -> None:
    """Count what files hold; end with the first line that is wrong."""
    for name in sys.argv[1:]:
        try:
            found = list(parse(Path(name)))
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        turns = [turn for conversation in found for turn in conversation.turns]
        print(name, dict(Counter(conversation.language for conversation in found)),
              "stand alone", sum(not turn.rewrite for turn in turns), "lean", sum(bool(turn.rewrite) for turn in turns),
              sep=", ")  # fmt: skip


if __name__ == "__main__":
    main()
