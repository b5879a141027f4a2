"""Build a running `Network` from its folder. All components are chosen and connected in this module."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from safetensors import SafetensorError
from threadpoolctl import threadpool_limits

from coterie.accounting.meter import CLOCK_SECONDS, CostMeter, PackageMeter, ProcessOverhead
from coterie.config.file import Config, DecisionModel, LlamaModel, ModelEntry, RemoteModel, VllmModel, load_config
from coterie.config.operation import PrivacySection
from coterie.config.specialists import SpecialistSection
from coterie.decisions.deciding import Likelihood, RemoteAnswerer, Similarity, ZeroShot
from coterie.engines.kinds import ENGINE_TYPES, EnginePlace, local_type
from coterie.engines.onnx import OnnxEncoder, open_encoder
from coterie.errors import ArtefactRefused, ConfigError, EngineError, ExtraMissing, NotTrained, SetupError
from coterie.flywheel.deployments import Deployment, Deployments, KnownJob
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.audit import open_audit
from coterie.governance.egress import ClearancePolicy, Gate, McpServer
from coterie.knowledge.open import open_declared
from coterie.limits.limits import StoredLimits, open_limits
from coterie.models.catalogue import checksum_of, describe_model, locate
from coterie.network.network import Network, RelayModel
from coterie.policy.cost_quality import (
    SPOT_CHECKS_FILE,
    Aim,
    CalibrationOutcomes,
    CostQualityPolicy,
    SpotChecks,
    generalist_by_domain,
    generalist_quality,
    load_checks,
    read_outcomes,
)
from coterie.privacy.detection import Detector
from coterie.privacy.kinds import open_detector
from coterie.protocols import (
    Audit,
    Engine,
    Flywheel,
    FunctionServer,
    Meter,
    OwnsEngines,
    Retriever,
    Router,
    Specialist,
    Store,
    StreamingEngine,
    WarmsUp,
)
from coterie.registry.registry import open_registry
from coterie.registry.version import Version
from coterie.routing.kinds import ROUTER_TYPES, ExplainsRoutes, RouterParts
from coterie.routing.matching import Explanation
from coterie.routing.profile import PROFILE_FILE, Profile
from coterie.specialists.parts import ADAPTER_FILE, OnDemand, WeightMemory, base_of
from coterie.store.opening import database_of, open_store
from coterie.tasks.contract import task_of
from coterie.tasks.versions import card_of, load_specialist
from coterie.text.language import detect
from coterie.turns.reader import TurnReader
from coterie.types import Request


async def open_network(
    folder: Path | str,
    *,
    warm: bool = False,
    empty: bool = False,
    encoder: OnnxEncoder | None = None,
    config: Config | None = None,
) -> Network:
    """Open a trained network: read its configuration, load its champions, open its store.

    Args:
        folder: The network's folder.
        warm: Let generative specialists read the constant part of their prompts. This takes seconds, so it is for a
            server.
        empty: Open the network even if no specialist has a version: for a server, whose console trains the first one.
        encoder: The network's encoder if it is loaded already: workers share its memory.
        config: The content of the network's file if it was read already.

    Raises:
        SetupError: something is missing or wrong; the message says what, and the hint names the command.
    """
    # BLAS threads busy-wait: in products as small as ours one serves five times the requests (benchmarks/latency).
    threadpool_limits(1, user_api="blas")
    folder = Path(folder)
    config = config or load_config(folder)
    memory = config.network.budget(len(config.specialists))
    versions = champions(config, folder, outlines=memory is not None, empty=empty)
    audit = open_audit(config.audit, folder)
    encoder = await asyncio.to_thread(_encoder, config, folder, encoder)
    _check_encoder(versions, encoder)
    _check_models(config, versions)
    limits = open_limits(config.budgets, folder, per_1000=config.policy.budget, address=database_of(config))
    detector = await asyncio.to_thread(open_detector, config.privacy, folder)
    also = _named_models(config, folder)
    models = await open_models(config, folder, versions, also=also, limits=limits, detector=detector, audit=audit)
    policy = cost_quality_policy(config, folder, versions)
    servers = _servers(config, limits=limits, detector=detector, audit=audit)
    specialists = _specialists(config, versions, encoder, models, budget=memory, servers=servers)
    # The first detection loads a table for 40 ms: here, so that no request does it in the event loop.
    await asyncio.to_thread(detect, "The first request waits for no table.")
    choosing = await asyncio.to_thread(_choosing_encoders, config, folder, encoder)
    others = [other for other in choosing if other is not encoder]
    if warm:
        await _warm(config, specialists, models)
    store = _observed(config, await open_store(config, folder))
    meter = CostMeter(
        config.accounting,
        config.models,
        config.generalist.model if config.generalist else None,
        package=PackageMeter() if config.accounting.energy_meter else None,
        servers=config.mcp,
    )
    flywheel = await _flywheel(config, folder, store, audit, encoder, detector=detector, scheduled=warm)
    return Network(
        specialists=specialists,
        router=_router(config, specialists, versions, encoder),
        store=store,
        meter=meter,
        encoder=encoder,
        turns=TurnReader.of(encoder.about),
        policy=policy,
        detector=detector,
        knowledge=_indexes(config, folder, specialists, encoder),
        generalist=_generalist(config, models, meter),
        untrained=_untrained(config, versions),
        escalate_out_of_scope=bool(config.generalist and config.generalist.escalate_out_of_scope),
        default_label=config.network.default_label,
        language=config.network.language,
        name=config.network.name,
        engines=(encoder, *others, *models.values(), *_own_engines(specialists), *(s.engine for s in servers.values())),
        models=_relayed(config, models),
        audit=audit,
        limits=limits,
        overhead=ProcessOverhead(every=CLOCK_SECONDS),
        flywheel=flywheel,
        deciding=config.decisions,
        zero_shot=_zero_shot(config, models, Similarity(encoder=encoder, choosing=choosing)),
        deciding_encoders=choosing,
    )


def _named_models(config: Config, folder: Path) -> set[str]:
    """Return the models that are opened whether or not a version needs them."""
    above = config.generalist
    named = {above.model, *above.fallback} if above and above.escalate else set()
    here = {key for key, model in config.models.items() if isinstance(model, RemoteModel) or _is_here(model, folder)}
    return named | config.decisions.models | here


async def _flywheel(
    config: Config,
    folder: Path,
    store: Store,
    audit: Audit | None,
    encoder: OnnxEncoder,
    *,
    detector: Detector,
    scheduled: bool,
) -> Flywheel | None:
    """Return the flywheel, which captures calls and answers for deployments; None without a section."""
    tables = getattr(store, "flywheel", None)
    if tables is None or not ({"capture", "flywheel"} & config.model_fields_set):
        return None
    from coterie.flywheel.live import LiveFlywheel, caller_secret  # noqa: PLC0415 - it brings scikit-learn

    if config.capture.enabled:
        detector = await asyncio.to_thread(capture_detector, config, folder, detector)
    live = LiveFlywheel(
        books=Deployments(store=tables, audit=audit),
        section=config.flywheel,
        capture=config.capture,
        detector=detector,
        load=deployment_loader(config, folder, encoder),
        secret=caller_secret(folder / config.store.path),
        command=(sys.executable, "-m", "coterie", "-C", str(folder)),
        scheduled=scheduled,
    )
    return await live.open()


def deployment_loader(
    config: Config, folder: Path, encoder: OnnxEncoder
) -> Callable[[KnownJob, Deployment], Awaitable[Specialist]]:
    """Return the function that loads the specialist of a deployment from the registry."""
    registry = open_registry(folder, config.registry)

    async def load(job: KnownJob, deployment: Deployment) -> Specialist:
        from coterie.flywheel.training import load_version  # noqa: PLC0415 - it brings all that trains

        return await load_version(registry, config, job, deployment, encoder=encoder, encoder_sha256=encoder.sha256)

    return load


def capture_detector(config: Config, folder: Path, detector: Detector) -> Detector:
    """Return the detector of personal data that captured texts must not hold."""
    named = config.capture.detector or ("names" if config.privacy.detector == "patterns" else None)
    if named is None:
        return detector
    section = config.privacy.model_dump(exclude_unset=True) | {"detector": named}
    return open_detector(PrivacySection.model_validate(section), folder)


def _choosing_encoders(config: Config, folder: Path, encoder: OnnxEncoder) -> tuple[OnnxEncoder, ...]:
    """Open the encoders for zero-shot choices: a single name is used beside the network's own encoder, a list alone."""
    named, own = config.decisions.encoder, config.network.encoder
    if named is None or named == own:
        return ()
    every = (own, named) if isinstance(named, str) else named
    return tuple(encoder if name == own else open_encoder(name, folder) for name in every)


def _zero_shot(config: Config, models: Mapping[str, StreamingEngine], floor: Similarity) -> dict[str, ZeroShot]:
    """Return the engines that answer typed questions without training, by `[models]` key."""
    answerers: dict[str, ZeroShot] = {}
    for name in config.decisions.models:
        if isinstance(model := config.models[name], RemoteModel):
            answerers[name] = RemoteAnswerer(engine=models[name], typed=isinstance(model, DecisionModel))
        else:
            answerers[name] = Likelihood(engine=models[name], floor=floor)
    return answerers


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A network that only routes: no weights and no models are loaded."""

    network: Network
    router: ExplainsRoutes

    async def explain(self, request: Request) -> Explanation:
        """Return the route of a request, with the reasons. Raises `InputError` if the request cannot be served."""
        question, context = await self.network.prepare(request)
        return await self.router.explain(question, context)

    async def close(self) -> None:
        """Close the store and the encoder."""
        await self.network.close()


async def open_preview(folder: Path | str) -> Preview:
    """Open a trained network for routing only. Raises `SetupError` as `open_network` does."""
    threadpool_limits(1, user_api="blas")
    folder = Path(folder)
    config = load_config(folder)
    versions = champions(config, folder, outlines=True)
    encoder = await asyncio.to_thread(open_encoder, config.network.encoder, folder)
    _check_encoder(versions, encoder)
    specialists = _specialists(config, versions, encoder, {}, budget=0)
    router = _router(config, specialists, versions, encoder)
    if not isinstance(router, ExplainsRoutes):
        raise ConfigError(f"router.kind is {config.router.kind!r}, which does not explain its routes.")
    network = Network(
        specialists=specialists,
        router=router,
        store=await open_store(config, folder, reading=True),
        meter=CostMeter(config.accounting, config.models, None),
        encoder=encoder,
        turns=TurnReader.of(encoder.about),
        untrained=_untrained(config, versions),
        default_label=config.network.default_label,
        language=config.network.language,
        name=config.network.name,
        engines=(encoder,),
    )
    return Preview(network=network, router=router)


def _encoder(config: Config, folder: Path, shared: OnnxEncoder | None) -> OnnxEncoder:
    """Return the network's encoder. The network closes its own encoder; of a shared one it counts its own use only."""
    return open_encoder(config.network.encoder, folder, states=True) if shared is None else shared.shared()


def _observed(config: Config, store: Store) -> Store:
    """Return the store, with OpenTelemetry behind it if it is configured. Raises `ExtraMissing`."""
    endpoint = config.observe.otlp_endpoint
    if endpoint is None:
        return store
    if find_spec("opentelemetry") is None:
        raise ExtraMissing(
            f"[observe] otlp_endpoint is {endpoint!r}, but the package 'opentelemetry-sdk' is not installed.",
            hint="Install it: pip install 'coterie[otel]'",
        )
    from coterie.observe.spans import observed  # noqa: PLC0415 - it needs an extra

    name, currency = config.network.name, config.accounting.currency
    return observed(store, endpoint=endpoint, network=name, models=config.models, currency=currency)


def champions(config: Config, folder: Path, *, outlines: bool, empty: bool = False) -> dict[str, Version]:
    """Return the champion of each specialist that has one.

    Args:
        config: The network's configuration.
        folder: The network's folder.
        outlines: Read each file of a version when it is needed, not now.
        empty: Whether it is allowed that no specialist has a champion.

    Raises:
        NotTrained: there is no specialist, or none has a champion.
        ArtefactRefused: a champion is damaged.
    """
    if not config.specialists and (empty or (config.models and config.capture.enabled)):
        return {}  # it relays, and what it captures makes the first specialist
    if not config.specialists:
        raise NotTrained(
            f"The network in {str(folder)!r} has no specialists.",
            hint="Add one: coterie add NAME --task classify --data FILE",
        )
    registry = open_registry(folder, config.registry)
    find = registry.outline if outlines else registry.champion
    by_name: dict[str, Version] = {}
    missing: NotTrained | None = None
    for name in config.specialists:
        try:
            by_name[name] = find(name)
        except NotTrained as error:
            missing = missing or error
    if missing is not None and not by_name and not empty:
        raise missing
    return by_name


def _untrained(config: Config, versions: Mapping[str, Version]) -> tuple[str, ...]:
    return tuple(name for name in config.specialists if name not in versions)


def _specialists(
    config: Config,
    versions: Mapping[str, Version],
    encoder: Engine,
    models: Mapping[str, StreamingEngine],
    *,
    budget: int | None,
    servers: Mapping[str, FunctionServer] = MappingProxyType({}),
) -> dict[str, Specialist]:
    """Return all specialists. Without a memory budget they are loaded now; with one (in bytes), at first use."""
    memory = None if budget is None else WeightMemory(budget)
    windows = {key: model.window for key, model in config.models.items()}
    specialists: dict[str, Specialist] = {}
    for name, version in versions.items():
        section, tokens = config.specialists[name], config.view_tokens(name)
        load = partial(
            load_specialist,
            name,
            section,
            version,
            encoder=encoder,
            models=models,
            data_label=config.network.default_label,
            view_tokens=tokens,
            windows=windows,
            servers={key: servers[key] for key in section.mcp if key in servers},
        )
        if memory is None or (models and _asks_model(section, version)):
            specialists[name] = load()
        else:
            card = card_of(name, section, version, view_tokens=tokens)
            size = version.size - version.size_of(PROFILE_FILE)
            specialists[name] = OnDemand(card=card, size=size, load=load, memory=memory)
    return specialists


def load_beside(config: Config, folder: Path, name: str, version: str, *, network: Network) -> Specialist:
    """Load a version that does not serve, with the encoder of an open network, so that it can be compared.

    Raises:
        ConfigError: the version asks a generative model, whose engine holds the adapters of the champions only.
        ArtefactRefused: the version is damaged, or was made with another encoder.
    """
    section, loaded = config.specialists[name], open_registry(folder, config.registry).load(name, version)
    if _asks_model(section, loaded):
        raise ConfigError(
            f"Version {version} of {name!r} needs a generative model, which runs for the champion only.",
            hint="Promote it to ask it, or compare their reports.",
        )
    if isinstance(network.encoder, OnnxEncoder):
        _check_encoder({name: loaded}, network.encoder)
    return load_specialist(
        name,
        section,
        loaded,
        encoder=network.encoder,
        models={},
        data_label=config.network.default_label,
        view_tokens=config.view_tokens(name),
        windows={key: model.window for key, model in config.models.items()},
    )


def _indexes(
    config: Config, folder: Path, specialists: Mapping[str, Specialist], encoder: OnnxEncoder
) -> dict[str, Retriever]:
    """Open the indexes that specialists read; others stay closed."""
    named = dict.fromkeys(index for specialist in specialists.values() for index in specialist.card.knowledge)
    return {name: open_declared(name, config, folder, encoder=encoder) for name in named}


def _own_engines(specialists: Mapping[str, Specialist]) -> list[Engine]:
    """Return the engines that are part of a version and belong to one specialist."""
    return [
        engine
        for specialist in specialists.values()
        if isinstance(specialist, OwnsEngines)
        for engine in specialist.engines
    ]


def cost_quality_policy(config: Config, folder: Path, versions: Mapping[str, Version]) -> CostQualityPolicy:
    """Return the policy of `[policy]`, with the outcomes from which its thresholds are derived."""
    section, above = config.policy, config.generalist
    aim = None
    if section.quality is not None or section.budget is not None:
        aim = Aim(quality=section.quality, budget=section.budget)
    policy = CostQualityPolicy(default=aim)
    if above is None or not above.escalate:
        return policy
    outcomes_by_name = {name: _calibration_outcomes(name, version) for name, version in versions.items()}
    policy.known = {name: outcomes for name, outcomes in outcomes_by_name.items() if outcomes is not None}
    policy.checked = spot_checks(config, folder, versions)
    if section.outcomes is not None:
        recorded = read_outcomes(folder / section.outcomes)
        policy.generalist, policy.source = generalist_quality(recorded, above.model)
        policy.domains = generalist_by_domain(recorded, above.model)
    return policy


def spot_checks_path(config: Config, folder: Path) -> Path:
    """Return the path of the applied spot checks, beside the file of the store."""
    return (folder / config.store.path).with_name(SPOT_CHECKS_FILE)


def spot_checks(config: Config, folder: Path, versions: Mapping[str, Version]) -> dict[str, SpotChecks]:
    """Return the applied spot checks of the serving versions. Raises `ArtefactRefused`."""
    path = spot_checks_path(config, folder)
    checks = load_checks(path.read_bytes()) if path.exists() else {}
    return {
        name: check for name, check in checks.items() if name in versions and check.version == versions[name].version
    }


def _calibration_outcomes(name: str, version: Version) -> CalibrationOutcomes | None:
    try:
        return CalibrationOutcomes.from_files(version.files)
    except (LookupError, ValueError, SafetensorError) as error:
        raise ArtefactRefused(
            f"Version {version.version} of {name!r} cannot be read: {type(error).__name__} {error}.",
            hint=f"Train it again: coterie train {name}",
        ) from error


def _check_encoder(versions: Mapping[str, Version], encoder: OnnxEncoder) -> None:
    """Refuse versions trained with another encoder: its vectors do not fit their heads and profiles."""
    for name, version in versions.items():
        made_with = version.report.get("encoder_sha256", encoder.sha256)
        if made_with != encoder.sha256:
            raise ArtefactRefused(
                f"Version {version.version} of {name!r} was trained with encoder "
                f"{version.report.get('encoder', 'unknown')!r} ({str(made_with)[:12]}); this network has "
                f"{encoder.about.get('name')!r} ({encoder.sha256[:12]}).",
                hint=f"Train it again (coterie train {name}), or name its encoder under [network] in coterie.toml.",
            )


def _check_models(config: Config, versions: Mapping[str, Version]) -> None:
    """Refuse versions calibrated on the answers of another model: their calibration does not hold for this one."""
    for name, version in versions.items():
        section = config.specialists[name]
        if version.report.get("rung") != "llm" or section.model is None:
            continue
        now, then = describe_model(config.models[section.model]), task_of(section).calibrated_on(version.files)
        if then is not None and then != now:
            raise ArtefactRefused(
                f"Version {version.version} of {name!r} was calibrated on the answers of {then['name']!r}; model "
                f"{section.model!r} is {now['name']!r} now.",
                hint=f"Train it again: coterie train {name}",
            )


def _relayed(config: Config, models: Mapping[str, StreamingEngine]) -> dict[str, RelayModel]:
    """Return the models that a request may name."""
    return {
        key: RelayModel(
            engine=engine,
            name=config.models[key].name,
            window=config.models[key].window,
            local=not isinstance(config.models[key], RemoteModel),
        )
        for key, engine in models.items()
        if hasattr(engine, "relay")
    }


def _servers(
    config: Config, *, limits: StoredLimits | None, detector: Detector | None, audit: Audit | None
) -> dict[str, McpServer]:
    """Return the MCP servers that specialists name, behind the gate; a server is started at its first call."""
    gate = Gate(ClearancePolicy(), limits, detector=detector, audit=audit)
    named = dict.fromkeys(key for section in config.specialists.values() for key in section.mcp)
    return {key: gate.open_server(key, config.mcp[key], label=config.network.default_label) for key in named}


async def open_models(
    config: Config,
    folder: Path,
    versions: Mapping[str, Version],
    *,
    also: Collection[str] = (),
    limits: StoredLimits | None = None,
    detector: Detector | None = None,
    audit: Audit | None = None,
) -> dict[str, StreamingEngine]:
    """Open an engine for each model that these versions need. Remote models are opened by the gate only.

    Args:
        config: The network's configuration.
        folder: The network's folder.
        versions: Versions by specialist; the engine of a model holds their adapters.
        also: Further keys of `[models]` that are needed.
        limits: Limits of calls to remote models.
        detector: Finds personal data in prompts; None for the patterns of `privacy`.
        audit: The log that records prompts before they are sent; None opens the network's log, if it keeps one.

    Raises:
        ModelMissing, ArtefactRefused, ExtraMissing: a model that runs in this process is missing or damaged.
        ConfigError: an adapter needs a model that runs in this process, and its specialist names another.
    """
    named = {name: key for name in versions if (key := config.specialists[name].model) is not None}
    used = {key for name, key in named.items() if _asks_model(config.specialists[name], versions[name])} | set(also)
    audit = audit or open_audit(config.audit, folder)
    gate = Gate(ClearancePolicy(), limits, detector=detector, audit=audit)
    engines: dict[str, StreamingEngine] = {}
    for name, model in config.models.items():
        if name not in used:
            continue
        adapted = [
            version
            for specialist, version in versions.items()
            if config.specialists[specialist].model == name and base_of(version)
        ]
        if isinstance(model, RemoteModel):
            if not ENGINE_TYPES.load(model.engine).holds_adapters:
                _refuse_adapters(name, adapted)
            engines[name] = gate.open(name, model, adapters={version.name: version.folder for version in adapted})
        else:
            engines[name] = await asyncio.to_thread(_open_here, name, model, folder, adapted)
    return engines


def _is_here(model: ModelEntry, folder: Path) -> bool:
    """Return whether a model of this process can be opened; a model that nothing needs may be missing."""
    try:
        return isinstance(model, LlamaModel) and find_spec("xllamacpp") is not None and locate(model, folder).is_file()
    except SetupError:
        return False


def _asks_model(section: SpecialistSection, version: Version) -> bool:
    """Return whether a version needs a generative model. The section may name one for a rung that was not chosen."""
    return task_of(section).asks_model(version.report) or base_of(version) is not None


def _refuse_adapters(model: str, adapted: Sequence[Version]) -> None:
    for version in adapted:
        raise ConfigError(
            f"specialists.{version.name}.model is {model!r}; the adapter of {version.name!r} needs a model "
            "that runs adapters.",
            hint=f"Set `model` of specialists.{version.name} to a [models] entry with engine = 'llama' or 'vllm'.",
        )


async def _warm(config: Config, specialists: Mapping[str, Specialist], models: Mapping[str, StreamingEngine]) -> None:
    """Fill the prompt caches of the models in this process. Remote ones get no prompt; vLLM loads its adapters."""
    for key, engine in models.items():
        if isinstance(config.models[key], VllmModel) and (load := getattr(engine, "load", None)) is not None:
            with suppress(EngineError):  # a server that is not up yet loads them when they are asked for
                await load()
    for name, specialist in specialists.items():
        model = config.models.get(config.specialists[name].model or "")
        if isinstance(specialist, WarmsUp) and isinstance(model, LlamaModel):
            await specialist.warm(slots=model.parallel)


def _open_here(name: str, model: ModelEntry, folder: Path, adapted: Sequence[Version]) -> StreamingEngine:
    """Open a model in this process with adapters. Refuses an adapter that was trained on another model file."""
    kind = local_type(model)
    if not kind.holds_adapters:
        _refuse_adapters(name, adapted)
    for version in adapted:
        if isinstance(model, LlamaModel):
            _check_base(version, name, locate(model, folder))
    # By path: an engine reads a file itself, and the version was verified a moment ago.
    adapters = {version.name: version.folder / ADAPTER_FILE for version in adapted}
    return kind.open(name, model, EnginePlace(folder=folder, adapters=adapters))


def _check_base(version: Version, name: str, path: Path) -> None:
    if (base := base_of(version)) != (checksum := checksum_of(path)):
        raise ArtefactRefused(
            f"The adapter of {version.name!r} version {version.version} was trained on a model file with the "
            f"checksum {base}; model {name!r} is {str(path)!r} with {checksum}.",
            hint=f"Train it again: coterie train {version.name}",
        )


def _router(
    config: Config, specialists: Mapping[str, Specialist], versions: Mapping[str, Version], encoder: OnnxEncoder
) -> Router:
    """Return the configured router with the profiles of the champions; the encoder prepares the memos of all."""
    profiles = {
        name: Profile.from_bytes(version.files[PROFILE_FILE])
        for name, version in versions.items()
        if PROFILE_FILE in version.files
    }
    parts = RouterParts(
        cards={name: specialist.card for name, specialist in specialists.items()},
        profiles=profiles,
        encoder=encoder,
        untrained=_untrained(config, versions),
    )
    router = ROUTER_TYPES.load(config.router.kind).open(config.router, parts)
    for memo in (memo for specialist in (router, *specialists.values()) for memo in getattr(specialist, "memos", ())):
        encoder.follow(memo)
    return router


def _generalist(config: Config, models: Mapping[str, StreamingEngine], meter: Meter) -> PromptedGeneralist | None:
    section = config.generalist
    if section is None or not section.escalate:
        return None
    chain = [(models[name], config.models[name]) for name in (section.model, *section.fallback)]
    return PromptedGeneralist(chain, section, meter=meter)
