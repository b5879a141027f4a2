"""The router that comes with Coterie, registered as a plug-in."""

from __future__ import annotations

from coterie.config.file import RouterSection
from coterie.protocols import Router
from coterie.routing.contract import RouterParts, RouterType


class LearnedType(RouterType[RouterSection]):
    """A router that compares a request with the specialists' profiles."""

    section = RouterSection

    def open(self, section: RouterSection, parts: RouterParts) -> Router:
        """Return the router of the champions' profiles; it reaches readers of facts through their writers."""
        from coterie.routing.profile import CosineScale
        from coterie.routing.router import LearnedRouter
        from coterie.routing.splitting import OrderSense
        from coterie.turns.reader import TurnReader

        return LearnedRouter(
            cards=parts.cards,
            profiles=parts.profiles,
            encoder=parts.encoder,
            false_rejection=section.false_rejection,
            words=parts.encoder.words(),
            order_sense=OrderSense.bundled(parts.encoder.sha256),
            scale=CosineScale.of(parts.encoder),
            turns=TurnReader.of(parts.encoder.about),
            untrained=parts.untrained,
        )


LEARNED = LearnedType()
