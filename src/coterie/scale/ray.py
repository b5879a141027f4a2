"""The gateway on Ray Serve: `serve run coterie.scale.ray:app network=FOLDER`. Needs the extra `ray`.

A replica is the same worker that `coterie serve` runs: same folder, same answers. Replicas on several hosts need the
folder at one path on each host, and one database: `[store] url`. Ray's proxy accepts the requests, and its controller
scales the replicas by requests in flight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray.serve import Application

from coterie.config.file import load_config
from coterie.scale.application import NetworkApplication
from ray import serve


class RayArguments(BaseModel):
    """Arguments of `serve run coterie.scale.ray:app NAME=VALUE ...`."""

    model_config = ConfigDict(extra="forbid")

    network: str
    """Folder of the network, at the same path on every host."""
    replicas: int = Field(default=1, ge=1)
    """Initial and lowest number of replicas."""
    most: int | None = Field(default=None, ge=1)
    """Highest number of replicas; the initial number by default."""
    in_flight: int = Field(default=32, ge=1)
    """Requests in flight per replica above which another replica is started."""
    cpus: float = Field(default=1.0, gt=0)
    """CPUs that Ray reserves for a replica."""


def app(arguments: RayArguments) -> Application:
    """Return the Ray Serve application of a network.

    Raises:
        ConfigError: the network's file is missing or wrong.
    """
    folder = Path(arguments.network).absolute()
    section = load_config(folder).gateway
    most = max(arguments.replicas, arguments.most or arguments.replicas)

    class Gateway:
        """One replica of the gateway."""

    replica: Any = serve.ingress(lambda: NetworkApplication(folder))(Gateway)
    deployment: Any = serve.deployment(
        name="coterie",
        max_ongoing_requests=section.concurrency + section.queue + section.remote,
        graceful_shutdown_timeout_s=section.drain,
        ray_actor_options={"num_cpus": arguments.cpus},
        autoscaling_config={
            "min_replicas": arguments.replicas,
            "initial_replicas": arguments.replicas,
            "max_replicas": most,
            "target_ongoing_requests": arguments.in_flight,
        },
    )(replica)
    bound: Application = deployment.bind()
    return bound
