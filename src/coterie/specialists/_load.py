"""A stored version becomes a specialist."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError

from coterie.config import SpecialistSection
from coterie.engines import ColumnBins, LinearEngine
from coterie.errors import ArtefactRefused
from coterie.protocols import Engine, Specialist, StreamingEngine
from coterie.registry import Version
from coterie.types import SpecialistCard

from ._acceptance import Acceptance
from ._classify import ClassifySpecialist
from ._extract import load_extract
from ._generate import load_generate
from ._own_encoder import load_own_encoder
from ._scope import Scope
from ._score import ScoreSpecialist
from ._text_model import load_text_model


def load_specialist(
    name: str,
    section: SpecialistSection,
    version: Version,
    *,
    encoder: Engine,
    models: Mapping[str, StreamingEngine],
) -> Specialist:
    """The specialist of a version, with what the network's file says of it now.

    Args:
        name: Its name in the network.
        section: Its section: description, `reads` and `writes` may have changed since training.
        version: Verified files.
        encoder: The network's encoder.
        models: Generative engines by `[models]` key.

    Raises:
        ArtefactRefused: the files do not describe such a specialist.
    """
    try:
        described = json.loads(version.files["model.json"])
        if described["task"] != section.task:
            raise ArtefactRefused(
                f"{name!r} is configured for task {section.task!r}; its version {version.version} does "
                f"{described['task']!r}.",
                hint=f"Train it again: coterie train {name}",
            )
        card = _card(name, section, version, described)
        match section.task:
            case "classify":
                return _classify(card, described, version.files, encoder)
            case "score":
                return _score(card, described, version.files, encoder)
            case "extract":
                return load_extract(card, described, version.files, encoder if card.rung == "embedding" else None)
            case "generate":
                return load_generate(card, section, described, models)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        raise ArtefactRefused(
            f"Version {version.version} of {name!r} cannot be read: {type(error).__name__} {error}.",
            hint=f"Train it again: coterie train {name}",
        ) from error


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
        acceptance=Acceptance(**described["acceptance"]),
        encoder=_encoder_of(card, files, encoder),
        multi_label=described["multi_label"],
        scope=Scope.from_files(files, len(labels)),
    )


def _encoder_of(card: SpecialistCard, files: Mapping[str, bytes], shared: Engine) -> Engine | None:
    """What encodes its texts: nothing, the network's encoder or its own."""
    if card.rung == "encoder":
        return load_own_encoder(card.name, files)
    return shared if card.rung == "embedding" else None


def _score(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine
) -> ScoreSpecialist:
    bins, importance = tuple(ColumnBins.restore(each) for each in described["bins"]), described["importance"]
    if importance.keys() != {column.name for column in bins}:
        raise ValueError("its importances are not those of its columns")
    return ScoreSpecialist(
        card=card,
        head=LinearEngine.load(files),
        bins=bins,
        importance={name: float(part) for name, part in importance.items()},
        left_out={name: str(reason) for name, reason in described["left_out"].items()},
        positive=described["positive"],
        acceptance=Acceptance(**described["acceptance"]),
        text=load_text_model(described, files, encoder if card.rung == "embedding" else None),
    )
