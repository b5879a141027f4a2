"""Who asks, and what: requests of several tenants, with canaries of every label in them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from coterie.network.network import Relayed
from coterie.structured.schema import function_of
from coterie.testing import Canaries
from coterie.types import Document, Label, Message, Passage, Principal, Question, Release, Request, Tools

TENANTS = ("acme", "globex", "initech")
SESSIONS = ("a", "b")
"""Every tenant calls its sessions so."""
INDEX = "docs"
NAMES = ("triage", "clauses", "notes", "remote", "distant", "ask")
"""Of the specialists."""
TOOL = {
    "name": "set_scale",
    "description": "Set the scale.",
    "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}
SCALE = function_of(**TOOL)
"""What may be called."""


@dataclass
class Tenant:
    """One tenant's words."""

    name: str
    canaries: Canaries
    draw: random.Random

    def words(self, label: Label) -> str:
        """A sentence of this label, perhaps with something in it that is more sensitive than it says."""
        parts = [f"triage says {self.canaries.word(label).text}"]
        if self.draw.random() < 0.5:
            parts += [f"write to {self.canaries.personal().text}" for _ in range(self.draw.randrange(1, 3))]
        if self.draw.random() < 0.1:
            parts.append(f"key {self.canaries.secret().text}")
        if self.draw.random() < 0.2:
            parts.append(self.draw.choice(["<EMAIL_1>", "iban_1", "<LITERAL_1>", "&lt;CARD_2&gt;"]))
        parts += ["It is long. " * 200] * (self.draw.random() < 0.05)
        self.draw.shuffle(parts)
        return ", ".join(parts)

    def request(self) -> Request:
        """Something to ask."""
        draw, label = self.draw, self.draw.choice(list(Label))
        named = "+".join(draw.sample(NAMES, draw.choice([0, 1, 1, 1, 2, 3])))
        turns = (Message(role="user", text=self.words(label)), Message(role="system", text=self.words(label)))
        release = Release(to=draw.choice(list(Label)), because="a test") if draw.random() < 0.05 else None
        return Request(
            text=f"{named or 'nobody'} {self.words(label)}",
            label=label,
            columns={"note": self.words(label), self.canaries.word(label).text: 1} if draw.random() < 0.1 else None,
            history=turns if draw.random() < 0.2 else (),
            clearance=draw.choice([None, *Label]),
            session=draw.choice([None, *SESSIONS]),
            tenant=self.name,
            key=draw.choice(["", f"{self.name}-1", f"{self.name}-2"]),
            tools=Tools(functions=(SCALE,), required=draw.random() < 0.3) if draw.random() < 0.06 else None,
            specialist=draw.choice(["triage", "absent"]) if draw.random() < 0.06 else None,
            allowed=tuple(draw.sample([*NAMES, "generalist"], 3)) if draw.random() < 0.1 else (),
            max_tokens=draw.choice([None, None, 8]),
            document=self._document(label) if draw.random() < 0.12 else None,
            release=release,
        )

    def relayed(self, models: Sequence[str]) -> Relayed:
        """A request for one model alone, byte by byte."""
        draw, label = self.draw, self.draw.choice(list(Label))
        turns = [{"role": "user", "content": f"about {self.words(label)}"} for _ in range(draw.choice([1, 1, 3]))]
        model = draw.choice(models)
        content: dict[str, Any] = {"model": model, "messages": turns, "max_tokens": draw.choice([8, 40, 400])}
        content |= {"stream": True} if draw.random() < 0.5 else {}
        content |= {"n": 2} if draw.random() < 0.1 else {}
        content |= {"tools": [{"type": "function", "function": TOOL}]} if draw.random() < 0.4 else {}
        key = draw.choice(["", f"{self.name}-1", f"{self.name}-2"])
        return Relayed(
            model=model,
            path="/chat/completions",
            body=json.dumps(content, ensure_ascii=draw.random() < 0.5, indent=draw.choice([None, 1])).encode(),
            content=content,
            principal=Principal(tenant=self.name, key=key, clearance=draw.choice(list(Label))),
            label=label,
            budget=draw.choice([None, None, Decimal("0.5")]),
        )

    def questions(self) -> list[Question]:
        """Typed questions: of one or several kinds, some of them twice."""
        draw = self.draw
        choices = [
            Question.choice(["red", "green", "blue"], "Which?", name="colour"),
            Question.choice([f"{n} of {self.name}" for n in range(draw.randrange(2, 9))], name="of many"),
            Question.predicate("It is about a fee.", name="fee"),
            Question.score(["low", "middle", "high"], "How much?", name="level"),
        ]
        return [draw.choice(choices) for _ in range(draw.choice([1, 1, 2, 5]))]

    def _document(self, least: Label) -> Document:
        own = self.draw.choice([least, *Label])
        text = " ".join(f"The fee is {n} pounds, {self.words(max(own, least))}." for n in range(12))
        return Document(text=text, label=own)

    def release(self, request: Request) -> None:
        """What its caller releases may be seen as what it is released to."""
        if request.release is None:
            return
        for index, canary in enumerate(self.canaries.made):
            if canary.text in str(request) and canary.kind != "SECRET":
                self.canaries.made[index] = replace(canary, label=min(canary.label, request.release.to))

    @cached_property
    def passages(self) -> list[Passage]:
        """Documents of this tenant, one of every label, which match every question."""
        texts = [(label, f"about {' '.join(NAMES)} {self.words(label)}") for label in Label]
        return [
            Passage(document=f"{self.name}-{label.value}", start=0, end=len(text), text=text, score=1.0, label=label)
            for label, text in texts
        ]

    def readable(self, clearance: Label) -> list[str]:
        """Documents with this clearance: who may read one may read the personal data in it, though no secret."""
        return [passage.text for passage in self.passages if passage.label <= clearance]
