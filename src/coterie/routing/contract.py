"""What a router's plug-in is: ours registers through the entry point `coterie.routers` as anybody's does."""

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
    """What a router is made of."""

    cards: Mapping[str, SpecialistCard]
    """Whom it may name."""
    profiles: Mapping[str, Profile]
    """What texts each of them was trained on, for those that have texts."""
    encoder: OnnxEncoder
    """The network's."""
    untrained: tuple[str, ...] = ()
    """Specialists of the file that have no version yet."""


class RouterType(ABC, Generic[R]):
    """One kind of router."""

    section: type[R]
    """Checks a `[router]` table that names it."""

    @abstractmethod
    def open(self, section: R, parts: RouterParts) -> Router:
        """The router of a network. It keeps `testing.contracts.check_router`."""


@runtime_checkable
class ExplainsRoutes(Protocol):
    """A router that can say what it compared, for `coterie route`."""

    async def explain(self, request: Request, context: Context) -> Explanation:
        """The route it would take, with all that was compared on the way."""
        ...


ROUTER_TYPES: PluginGroup[RouterType[Any]] = PluginGroup("coterie.routers", RouterType, "router")
"""Every kind of router by its name."""
