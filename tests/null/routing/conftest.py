"""Texts as points: an encoder that knows where each text lies, and profiles of clouds of points."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from coterie.protocols import TurnModel
from coterie.routing.profile import BUNDLED_SCALE, CosineScale, Profile, make_profile
from coterie.routing.router import LearnedRouter
from coterie.types import Context, Label, Output, Request, Route, SpecialistCard, Usage

DIMENSION = 48


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)


class Cloud:
    """Points around one direction; `spread` is how far they scatter."""

    def __init__(self, seed: int, *, spread: float = 0.6, dimension: int = DIMENSION) -> None:
        self.random = np.random.default_rng(seed)
        self.center = unit(self.random.normal(size=dimension))
        self.spread = spread

    def draw(self, n: int) -> np.ndarray:
        noise = self.random.normal(size=(n, len(self.center)))
        return unit(self.center + self.spread * noise / np.sqrt(len(self.center)))

    def profile(self, n: int = 200, *, labels: int = 4, groups: Sequence[str | None] | None = None) -> Profile:
        return make_profile(
            self.draw(n),
            [f"label{i % labels}" for i in range(n)],
            groups or [None] * n,
            hints=self.draw(1),
            hint_texts=["what it is for"],
            seed=0,
        )


class Places:
    """An encoder that says of each text where it was put; anything else lies somewhere at random."""

    name = "onnx"
    clearance = Label.RESTRICTED

    def __init__(self, places: Mapping[str, np.ndarray], finish: str = "stop") -> None:
        self.places = dict(places)
        self.finish = finish
        self.batches: list[list[str]] = []

    async def run(self, batch, *, call=None):
        self.batches.append([prompt.text for prompt in batch])
        await asyncio.sleep(0)
        elsewhere = np.random.default_rng(99)
        return [
            Output(
                vector=self.places.get(p.text, unit(elsewhere.normal(size=DIMENSION))),
                finish=self.finish,
                usage=Usage(tokens_in=1),
            )
            for p in batch
        ]

    async def close(self) -> None:
        pass


def card(name: str, **more: object) -> SpecialistCard:
    return SpecialistCard(
        **{"name": name, "task": "classify", "description": "", "rung": "lexical", "version": "0", **more}
    )


def router(
    profiles: Mapping[str, Profile],
    places: Mapping[str, np.ndarray] | None = None,
    *,
    cards: Sequence[SpecialistCard] = (),
    false_rejection: float = 0.04,
    finish: str = "stop",
    turns: TurnModel | None = None,
    scale: CosineScale = BUNDLED_SCALE,
) -> LearnedRouter:
    """A router over profiles; specialists without a card of their own get a plain one."""
    all_cards = {name: card(name) for name in profiles} | {own_card.name: own_card for own_card in cards}
    encoder = Places(places or {}, finish)
    return LearnedRouter(
        cards=all_cards, profiles=profiles, encoder=encoder, false_rejection=false_rejection, turns=turns, scale=scale
    )


async def route(by: LearnedRouter, text: str, **more: object) -> Route:
    return await by.route(Request(text=text, **more), Context())


@pytest.fixture
def tools():
    """What the tests of routing are written with."""
    return Tools


class Tools:
    """Makers of clouds, cards, routers and routes."""

    Cloud = Cloud
    Places = Places
    card = staticmethod(card)
    router = staticmethod(router)
    route = staticmethod(route)
    unit = staticmethod(unit)
