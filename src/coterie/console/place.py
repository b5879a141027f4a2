"""What all pages share: the gateway behind them, the network's folder, and what runs beside them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie.config.file import Config, load_config
from coterie.console.jobs import Jobs
from coterie.console.sessions import Sessions
from coterie.console.ticker import SharedViews, Ticker
from coterie.gateway.following import Follower
from coterie.gateway.work import Gateway

if TYPE_CHECKING:
    from coterie.flywheel.overview import DeploymentView, JobView
    from coterie.network.network import Network

_SECRET = "state/console.key"  # noqa: S105 - where it is


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Jobs and deployments with what is counted about them, at some time."""

    state: Mapping[str, int]
    """Revisions of jobs, deployments and alarms: with another one it is counted anew."""
    time: float
    jobs: Sequence[JobView]
    deployments: Sequence[DeploymentView]


class Place:
    """Where the pages are."""

    def __init__(self, gateway: Gateway, folder: Path, open_network: Callable[[Config], Awaitable[Network]]) -> None:
        """Take a gateway, its network's folder, and what opens the network anew after a promotion."""
        self.gateway, self.folder = gateway, folder
        self.follower = Follower(gateway, folder, open_network)
        clock = gateway.network.clock
        config = load_config(folder)
        self.currency, self.oidc = config.accounting.currency, config.oidc
        self.jobs = Jobs(folder, self.follower.reopen, clock=clock, opened=gateway.opened)
        self.live = Ticker(gateway)
        self.shared = SharedViews()
        self.sessions = Sessions(folder / _SECRET, clock)
        self.reviewed: dict[tuple[str, ...], tuple[float, Any]] = {}
        """What pages of review remember for a minute."""
        self.counted: Counted | None = None
        """What the page of the flywheel has counted last."""
