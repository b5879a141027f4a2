"""Loads a `tools` specialist from a stored version, or from one that is being trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coterie.protocols import Engine, Specialist
from coterie.runtime.codec import parse_json
from coterie.tasks.classify.loading import load_classify
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import Parts, Stored
from coterie.tasks.extract.model import load_extract
from coterie.tasks.tools.arguments import arguments_of
from coterie.tasks.tools.model import ToolsSpecialist, stored_functions
from coterie.types import SpecialistCard

CHOOSER, READER = "function-", "reader-"


def choice_prefix(number: int) -> str:
    """Return the prefix of file names for the choice argument at this place."""
    return f"choice{number}-"


def silence_prefix(number: int) -> str:
    """Return the prefix of file names for the classifier of whether that argument is mentioned."""
    return f"silence{number}-"


def prefixed(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a part's files under the names that they have in a version."""
    return {prefix + name: content for name, content in files.items()}


def assemble(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], *, encoder: Engine
) -> ToolsSpecialist:
    """Return the specialist of a version's files. Raises `LookupError`, `TypeError` or `ValueError` if invalid."""
    functions = stored_functions(described)
    arguments = arguments_of(functions.values())
    section = ClassifySection.model_construct(task="classify")
    parts = Parts(encoder=encoder, models={})

    def classifier(prefix: str) -> Specialist | None:
        own = _own(prefix, files)
        if not own:
            return None
        about = parse_json(own["model.json"])
        return load_classify(replace(card, rung=about["rung"]), section, Stored(described=about, files=own), parts)

    chooser, read = classifier(CHOOSER), _own(READER, files)
    if chooser is None:
        raise LookupError("it has nothing that chooses a function")
    reader = None
    if read:
        about = parse_json(read["model.json"])
        reader = load_extract(replace(card, rung=about["rung"]), about, read, encoder=encoder, model=_no_model)
    several = [
        (name, argument.name) for name, own in arguments.items() for argument in own if argument.kind == "choice"
    ]
    choices = {key: filler for index, key in enumerate(several) if (filler := classifier(choice_prefix(index)))}
    silences = {key: filler for index, key in enumerate(several) if (filler := classifier(silence_prefix(index)))}
    return ToolsSpecialist(
        card=card,
        functions=functions,
        arguments=arguments,
        chooser=chooser,
        reader=reader,
        choices=choices,
        silences=silences,
        literal=frozenset((str(name), str(argument)) for name, argument in described.get("literal", ())),
        whole=frozenset(str(name) for name in described.get("whole", ())),
    )


def _own(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix(prefix): files[name] for name in files if name.startswith(prefix)}


def _no_model() -> Engine:
    raise ValueError("its reader asks no model")
