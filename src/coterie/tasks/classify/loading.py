"""A stored version becomes a classifier of the rung that it was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from coterie.engines.linear import LinearEngine
from coterie.protocols import Engine, Specialist
from coterie.runtime.codec import from_json
from coterie.specialists.acceptance import Acceptance, ConfidenceLine
from coterie.specialists.artefacts import ADAPTER_FILE, load_own_encoder, model_of
from coterie.specialists.prompts import Prompting
from coterie.tasks.classify.chain import load_chain
from coterie.tasks.classify.choices import ChoiceHead
from coterie.tasks.classify.model import ClassifySpecialist, ScopeScore
from coterie.tasks.classify.prompted import load_prompted
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import Parts, Stored
from coterie.types import SpecialistCard


def load_classify(card: SpecialistCard, section: ClassifySection, stored: Stored, parts: Parts) -> Specialist:
    """The specialist of a version. Raises `LookupError`, `TypeError` or `ValueError` if it describes none."""
    described, files = stored.described, stored.files
    match card.rung:
        case "slm":
            return _choose(card, described, files, model_of(card, section, parts.models))
        case "chain":
            return load_chain(card, described, files, partial(_classify, encoder=parts.encoder))
        case "llm":
            return load_prompted(card, section, stored, parts)
    return _classify(card, described, files, parts.encoder)


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
        record=tuple(map(str, described.get("record", ()))),
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
        record=tuple(map(str, described.get("record", ()))),
    )


def _encoder_of(card: SpecialistCard, files: Mapping[str, bytes], shared: Engine) -> Engine | None:
    """What encodes its texts: nothing, the network's encoder or its own."""
    if card.rung == "encoder":
        return load_own_encoder(card.name, files)
    return shared if card.rung == "embedding" else None
