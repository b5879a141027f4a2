"""A stored version becomes a specialist."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from safetensors import SafetensorError

from coterie.config.specialists import SpecialistSection
from coterie.engines.linear import LinearEngine
from coterie.engines.tables import ColumnBins
from coterie.errors import ArtefactRefused
from coterie.protocols import Engine, Specialist, StreamingEngine
from coterie.registry.version import Version
from coterie.runtime.codec import from_json
from coterie.specialists.acceptance import Acceptance, ConfidenceLine
from coterie.specialists.artefacts import ADAPTER_FILE, load_own_encoder, model_of
from coterie.specialists.prompts import Prompting
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.model import load_answer
from coterie.tasks.answer.writing import INSTRUCTION, AnswerWriter
from coterie.tasks.classify.chain import load_chain
from coterie.tasks.classify.choices import ChoiceHead
from coterie.tasks.classify.model import ClassifySpecialist, ScopeScore
from coterie.tasks.classify.prompted import load_prompted
from coterie.tasks.extract.model import load_extract
from coterie.tasks.generate.model import load_generate
from coterie.tasks.generate.replies import load_write
from coterie.tasks.pairs.model import load_pairs
from coterie.tasks.score.model import ScoreSpecialist, load_text_model
from coterie.types import Label, SpecialistCard

_WINDOW = 2048
"""Tokens that a model takes of which nobody says more."""


def load_specialist(
    name: str,
    section: SpecialistSection,
    version: Version,
    *,
    encoder: Engine,
    models: Mapping[str, Engine],
    data_label: Label = Label.PUBLIC,
    view_tokens: int | None = None,
    windows: Mapping[str, int] = MappingProxyType({}),
) -> Specialist:
    """The specialist of a version, with what the network's file says of it now.

    Args:
        name: Its name in the network.
        section: Its section: description, `reads` and `writes` may have changed since training.
        version: Verified files.
        encoder: The network's encoder.
        models: Generative engines by `[models]` key; those of specialists with an adapter hold it by their name.
        view_tokens: What it is shown of the context is packed into so many; None for no limit.
        data_label: How sensitive training texts in a version are at least, where neither section nor version says more.
        windows: Tokens of prompt and answer that each model takes.

    Raises:
        ArtefactRefused: the files do not describe such a specialist.
        ConfigError: its model is not among the open ones.
    """
    try:
        described = json.loads(version.files["model.json"])
        if described["task"] != section.task:
            raise ArtefactRefused(
                f"{name!r} is configured for task {section.task!r}; its version {version.version} does "
                f"{described['task']!r}.",
                hint=f"Train it again: coterie train {name}",
            )
        card = replace(_card(name, section, version, described), view_tokens=view_tokens)
        match section.task:
            case "classify":
                return _load_classify(
                    card, section, described, version.files, encoder=encoder, models=models, least=data_label
                )
            case "score":
                return _score(card, described, version.files, encoder)
            case "extract":
                asked = partial(model_of, card, section, models)
                return load_extract(card, described, version.files, encoder=encoder, model=asked)
            case "answer":
                return load_answer(card, described, version.files, encoder, _writer(card, section, models, windows))
            case "generate":
                return _load_generate(
                    card, section, described, version.files, encoder=encoder, models=models, least=data_label
                )
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        raise _unreadable(version, error) from error


def card_of(
    name: str, section: SpecialistSection, version: Version, *, view_tokens: int | None = None
) -> SpecialistCard:
    """The card of a version's specialist, which is not loaded. Raises `ArtefactRefused`."""
    try:
        described = json.loads(version.files["model.json"])
        return replace(_card(name, section, version, described), view_tokens=view_tokens)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _unreadable(version, error) from error


def _unreadable(version: Version, error: Exception) -> ArtefactRefused:
    return ArtefactRefused(
        f"Version {version.version} of {version.name!r} cannot be read: {type(error).__name__} {error}.",
        hint=f"Train it again: coterie train {version.name}",
    )


def _writer(
    card: SpecialistCard, section: SpecialistSection, models: Mapping[str, Engine], windows: Mapping[str, int]
) -> AnswerWriter | None:
    """What words an `answer` specialist's findings; None on the rungs that quote."""
    if card.rung not in {"slm", "llm"}:
        return None
    defaults = load_defaults()
    return AnswerWriter(
        name=card.name,
        engine=model_of(card, section, models),
        support=defaults.support,
        least=defaults.supported,
        window=windows.get(section.model or "", _WINDOW),
        instruction=section.instruction or INSTRUCTION,
        max_tokens=section.max_tokens,
    )


def _load_classify(
    card: SpecialistCard,
    section: SpecialistSection,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    encoder: Engine,
    models: Mapping[str, Engine],
    least: Label,
) -> Specialist:
    """The classifier of a version: of pairs, or of the rung it was trained for."""
    _check_pairs(card.name, section.pair_column, described)
    if section.pair_column is not None:
        return load_pairs(card, described, files, encoder if card.rung == "embedding" else None)
    if card.rung == "slm":
        return _choose(card, described, files, model_of(card, section, models))
    if card.rung == "chain":
        return load_chain(card, described, files, partial(_classify, encoder=encoder))
    if card.rung == "llm":
        return load_prompted(card, section, described, files, encoder=encoder, models=models, least=least)
    return _classify(card, described, files, encoder)


def _load_generate(
    card: SpecialistCard,
    section: SpecialistSection,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    encoder: Engine,
    models: Mapping[str, Engine],
    least: Label,
) -> Specialist:
    """The writer of a version: from a source text, or from what it learnt."""
    if section.writes_freely == ("sources" in described):
        now, then = ("no `reads`", "source texts") if section.writes_freely else ("`reads`", "no source texts")
        raise ArtefactRefused(
            f"{card.name!r} is configured with {now}; its version was trained with {then}.",
            hint=f"Train it again: coterie train {card.name}",
        )
    engine = model_of(card, section, models)
    if section.writes_freely:
        return load_write(card, described, files, engine=engine, encoder=encoder)
    # The rung `llm` asks a whole answer of an engine, as training does; only drafts are streamed.
    adapter = card.name if ADAPTER_FILE in files else None
    label = section.data_label or least
    return load_generate(card, described, cast("StreamingEngine", engine), adapter=adapter, label=label)


def _card(name: str, section: SpecialistSection, version: Version, described: Mapping[str, Any]) -> SpecialistCard:
    return SpecialistCard(
        name=name,
        task=section.task,
        description=section.description,
        rung=described["rung"],
        version=version.version,
        reads=section.reads,
        writes=section.writes,
        columns=tuple(str(column) for column in described.get("columns", ())),
        knowledge=section.knowledge,
        passages=section.passages,
    )


def _classify(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine
) -> ClassifySpecialist:
    head, labels = LinearEngine.load(files), tuple(described["labels"])
    if head.size != len(labels):
        raise ValueError(f"its head gives {head.size} logits for {len(labels)} labels")
    return ClassifySpecialist(
        card=card,
        head=head,
        labels=labels,
        acceptance=from_json(Acceptance, described["acceptance"]),
        line=from_json(ConfidenceLine, described.get("line", {})),
        encoder=_encoder_of(card, files, encoder),
        multi_label=described["multi_label"],
        scope=ScopeScore.from_files(files, len(labels)),
    )


def _choose(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], engine: Engine
) -> ClassifySpecialist:
    if ADAPTER_FILE not in files:
        raise LookupError(f"it has no {ADAPTER_FILE}")
    labels = tuple(str(label) for label in described["labels"])
    prompting = from_json(Prompting, described["prompt"])
    return ClassifySpecialist(
        card=card,
        head=ChoiceHead(engine=engine, adapter=card.name, prompting=prompting, labels=labels),
        labels=labels,
        acceptance=from_json(Acceptance, described["acceptance"]),
        line=from_json(ConfidenceLine, described.get("line", {})),
    )


def _check_pairs(name: str, column: str | None, described: Mapping[str, Any]) -> None:
    """Refuse a version that was trained for another second text than the section names now, or for none."""
    trained = next(iter(described.get("columns", ())), None)
    if trained != column:
        now, then = (f"pair_column {each!r}" if each else "no pair_column" for each in (column, trained))
        raise ArtefactRefused(
            f"{name!r} is configured with {now}; its version was trained with {then}.",
            hint=f"Train it again: coterie train {name}",
        )


def _encoder_of(card: SpecialistCard, files: Mapping[str, bytes], shared: Engine) -> Engine | None:
    """What encodes its texts: nothing, the network's encoder or its own."""
    if card.rung == "encoder":
        return load_own_encoder(card.name, files)
    return shared if card.rung == "embedding" else None


def _score(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine
) -> ScoreSpecialist:
    bins, importance = from_json(tuple[ColumnBins, ...], described["bins"]), described["importance"]
    if importance.keys() != {column.name for column in bins}:
        raise ValueError("its importances are not those of its columns")
    return ScoreSpecialist(
        card=card,
        head=LinearEngine.load(files),
        bins=bins,
        importance={name: float(part) for name, part in importance.items()},
        left_out={name: str(reason) for name, reason in described["left_out"].items()},
        positive=described["positive"],
        acceptance=from_json(Acceptance, described["acceptance"]),
        text=load_text_model(described, files, encoder if card.rung == "embedding" else None),
    )
