"""`[specialists.NAME]` with `task = "tools"`: the function that a text asks for, with its arguments."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT
from coterie.config.specialists import EncoderSection

NO_FUNCTION = "no_function"
"""The label of a text that no function fits."""


class FunctionSection(BaseModel):
    """`[[specialists.NAME.functions]]`: one function that may be called."""

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    """The name by which the function is called, and by which rows refer to it."""
    description: str = ""
    """What the function does."""
    parameters: dict[str, Any] = {}
    """JSON schema of the arguments: an object of texts, numbers, booleans and enums; `{}` for none."""


class ToolsSection(EncoderSection):
    """A specialist that chooses a function for a text and fills in its arguments."""

    measures: ClassVar[tuple[str, ...]] = ("accuracy",)

    task: Literal["tools"]
    """The task: `tools`."""
    functions: Annotated[tuple[FunctionSection, ...], Field(max_length=200)] = ()
    """The functions that may be called."""

    @model_validator(mode="after")
    def _has_functions(self) -> ToolsSection:
        names = [function.name for function in self.functions]
        if not names:
            raise ValueError("task 'tools' needs [[specialists.NAME.functions]], each with `name` and `parameters`")
        if NO_FUNCTION in names or len(set(names)) < len(names):
            wrong = NO_FUNCTION if NO_FUNCTION in names else next(name for name in names if names.count(name) > 1)
            raise ValueError(f"functions has {wrong!r}, which is taken: names differ, and {NO_FUNCTION!r} is none's")
        return self
