"""Router plug-ins: what one implements, and the router that comes with Coterie.

Both register through the entry point `coterie.routers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from coterie.config.file import RouterSection
from coterie.protocols import Router
from coterie.runtime.plugins import PluginGroup
from coterie.types import Context, Request, SpecialistCard

if TYPE_CHECKING:
    from coterie.engines.onnx import OnnxEncoder
    from coterie.routing.matching import Explanation
    from coterie.routing.profile import Profile

R = TypeVar("R", bound=RouterSection)


@dataclass(frozen=True, kw_only=True)
class RouterParts:
    """The components of a router."""

    cards: Mapping[str, SpecialistCard]
    """Cards of the specialists that the router may name."""
    profiles: Mapping[str, Profile]
    """Profiles of the training texts of each specialist that has texts."""
    encoder: OnnxEncoder
    """The network's encoder."""
    untrained: tuple[str, ...] = ()
    """Configured specialists that have no version yet."""


class RouterType(ABC, Generic[R]):
    """One kind of router."""

    section: type[R]
    """Model that validates a `[router]` table of this kind."""

    @abstractmethod
    def open(self, section: R, parts: RouterParts) -> Router:
        """Return the router of a network. It passes `testing.contracts.check_router`."""


@runtime_checkable
class ExplainsRoutes(Protocol):
    """A router that can explain its comparisons, for `coterie route`."""

    async def explain(self, request: Request, context: Context) -> Explanation:
        """Return the route that the router would take, with all comparisons."""
        ...


ROUTER_TYPES: PluginGroup[RouterType[Any]] = PluginGroup("coterie.routers", RouterType, "router")
"""All router plug-ins by name."""


# --- The router that comes with Coterie, registered as a plug-in.


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
