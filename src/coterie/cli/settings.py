"""Options that are made from the fields of the specialists' sections in `coterie.toml`.

A field's name, type, bounds, default and docstring are those of its option, so `coterie add`, `train` and `rightsize`
have the same options, and a field that is added to a section is an option of each of them. The options of a command
are made when the command is parsed or its help is shown: `coterie --help` does not import the configuration.
"""

from __future__ import annotations

import inspect
import re
import types
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from dataclasses import field as made
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

import typer
from typer.core import TyperCommand

from coterie.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

    from coterie.config.specialists import SpecialistSection

_GIVEN = "coterie.settings"
"""Key of the context's `meta` under which the fields stand that were given."""
_OTHER_NAMES = {"rungs": "--rung", "fields": "--field"}
_METAVARS = {
    "bar": "METRIC=VALUE",
    "base": "NAME",
    "chain": "RUNG,...",
    "data": "FILE",
    "data_label": "LABEL",
    "exclude": "COLUMN",
    "fields": "NAME=TYPE",
    "knowledge": "INDEX",
    "licence": "SPDX",
    "model": "KEY",
    "pairs": "FILE",
    "protected": "COLUMN",
    "reads": "FACT",
    "rungs": "RUNG,...",
    "target_risk": "SHARE",
    "test": "FILE",
    "writes": "FACT",
}
"""What an option takes, where the type of its field does not say it."""
_SIGNS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of one or several sections, and the option that is made from it."""

    name: str
    field: FieldInfo
    tasks: tuple[str, ...]
    """Those whose section has the field; empty where all have it."""
    apart: Mapping[str, object] = made(default_factory=dict)
    """The default of each task whose section has another one than `field`."""

    @property
    def option(self) -> str:
        """`--text-column`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def kind(self) -> Any:  # noqa: ANN401 - any type
        """The field's type without None and without its bounds."""
        return _bare(self.field.annotation)

    @property
    def repeats(self) -> bool:
        """Several values are typed with the option given several times, or as a table `NAME=VALUE`."""
        return get_origin(self.kind) in {tuple, dict} and not self.in_file

    @property
    def in_file(self) -> bool:
        """Its values are tables, too long for a command line: the option names a JSON file with a list of them."""
        return get_origin(self.kind) is tuple and hasattr(_bare(get_args(self.kind)[0]), "model_fields")

    def parameter(self) -> inspect.Parameter:
        """The option, as the parameter of a typer command."""
        names = [self.option, *([_OTHER_NAMES[self.name]] if self.name in _OTHER_NAMES else [])]
        typed: object = list[str] | None if self.repeats else _typed(self.kind) | None
        option = typer.Option(*names, metavar=None if self.kind is bool else self._metavar(), help=self._help())
        if self.kind is bool:
            typed = bool
        annotation: object = Annotated[typed, option]
        default = False if self.kind is bool else None
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    def _metavar(self) -> str:
        if self.name in _METAVARS:
            return _METAVARS[self.name]
        if self.in_file:
            return "FILE"
        if self.name.endswith("_column"):
            return "COLUMN"
        return {int: "N", float: "NUMBER"}.get(_typed(self.kind), "TEXT")

    def _help(self) -> str:
        """Its tasks, the first sentence about the field, what may be chosen, its bounds and its default."""
        about = " ".join((self.field.description or "").split())
        sentence = about if get_origin(self.kind) is dict else re.split(r"(?<=\.)\s+(?=[A-Z`])", about)[0]
        tasks = f"{', '.join(self.tasks)}: " if self.tasks else ""
        tasks += "A JSON file with a list. " if self.in_file else ""
        bounds = ", ".join(
            f"{word} {getattr(each, sign):,}"
            for each in self.field.metadata
            for sign, word in _SIGNS.items()
            if getattr(each, sign, None) is not None
        )
        chosen = f"Any of {', '.join(self._choices())}." if self._choices() else ""
        default = self.field.default
        usual = (
            f"Default: `{default}`{''.join(f', {task}: `{each}`' for task, each in self.apart.items())}."
            if isinstance(default, str | int | float) and default not in {"", False}
            else ""
        )
        return " ".join(filter(None, [tasks + sentence, chosen, f"It is {bounds}." if bounds else "", usual]))

    def _choices(self) -> tuple[str, ...]:
        item = _bare(get_args(self.kind)[0]) if self.repeats else None
        return get_args(item) if get_origin(item) is Literal else ()

    def parse(self, typed: Any) -> Any:  # noqa: ANN401 - of the field's type
        """What was typed in the form that the section takes. Raises `InputError`."""
        if self.in_file:
            return _listed(self.option, Path(str(typed)))
        if get_origin(self.kind) is dict:
            return dict(self._pair(each) for each in typed)
        if self._choices():
            return [name.strip() for names in typed for name in names.split(",") if name.strip()]
        return typed

    def _pair(self, text: str) -> tuple[str, str | float]:
        name, equals, value = (part.strip() for part in text.partition("="))
        numeric = _typed(_bare(get_args(self.kind)[1])) is float
        try:
            if name and equals and value:
                return name, float(value) if numeric else value
        except ValueError:
            pass
        example = "accuracy=0.9" if numeric else "start=date or parties='text*'"
        option = _OTHER_NAMES.get(self.name, self.option)
        raise InputError(f"{option} is {text!r}.", hint=f"Write {self._metavar()}, such as {example}.")


def _listed(option: str, path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON file, functions also as OpenAI's `tools` have them. Raises `InputError`."""
    from coterie.runtime.codec import parse_json

    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{option} is {str(path)!r}: {error.strerror}.", hint="Name a JSON file.") from None
    except ValueError as error:
        raise InputError(f"{option} is {str(path)!r}, which is no JSON: {error}.") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InputError(f"{option} is {str(path)!r}, which is no list of objects.", hint='Write [{"name": ...}, ...].')
    return [each["function"] if isinstance(each.get("function"), dict) else each for each in found]


def _bare(kind: Any) -> Any:  # noqa: ANN401 - any type
    """A type without None and annotations."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in {Union, types.UnionType}:
        return _bare(next(each for each in get_args(kind) if each is not type(None)))
    return kind


def _typed(kind: object) -> type:
    """The type that typer reads: anything but a number is read as text, and the section checks it."""
    return kind if isinstance(kind, type) and kind in {int, float} else str


# --- The sections --------------------------------------------------------------------------------


def sections() -> Mapping[str, type[BaseModel]]:
    """The class of each installed task's section."""
    from coterie.config.specialists import TASKS

    return {task: TASKS.section_class(task) for task in TASKS.plugins.names}


def task_for(task: str, fields: Mapping[str, object]) -> str:
    """The task that is meant: one of a former name has the name of today."""
    from coterie.config.file import renamed_table

    return str(renamed_table({"task": task, **fields})["task"])


def settings(classes: Mapping[str, type[BaseModel]]) -> Mapping[str, Setting]:
    """The fields of all sections by name, `task` left out, each with the tasks that it is for."""
    names = dict.fromkeys(name for each in classes.values() for name in each.model_fields if name != "task")
    found = {}
    for name in names:
        having = [task for task, each in classes.items() if name in each.model_fields]
        tasks = tuple(having) if len(having) < len(classes) else ()
        fields = {task: classes[task].model_fields[name] for task in having}
        usual = Counter(repr(each.default) for each in fields.values()).most_common(1)[0][0]
        taken = next(each for each in fields.values() if repr(each.default) == usual)
        apart = {task: each.default for task, each in fields.items() if repr(each.default) != usual}
        found[name] = Setting(name=name, field=taken, tasks=tasks, apart=apart)
    return found


class SectionCommand(TyperCommand):
    """A command with an option for fields of the specialists' sections; `given` has what was typed."""

    only: Collection[str] = ()
    """Fields that have an option; all of them if none is named."""
    leave_out: Collection[str] = ()

    _made: Mapping[str, Setting] | None = None

    def made(self) -> Mapping[str, Setting]:
        """The settings that are options of this command, before its own options; made once."""
        if self._made is None:
            every = settings(sections())
            self._made = {
                name: each
                for name, each in every.items()
                if (name in self.only or not self.only) and name not in self.leave_out
            }
            first = next((n for n, each in enumerate(self.params) if each.param_type_name == "option"), 0)
            self.params[first:first] = _options(self._made.values())
        return self._made

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override] # the context of typer's own click
        """The command's parameters, with those that are made."""
        self.made()
        return super().get_params(ctx)

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command; the settings go into the context and not into its arguments."""
        typed = {name: ctx.params.pop(name) for name in self.made()}
        ctx.meta[_GIVEN] = {
            name: self.made()[name].parse(value)
            for name, value in typed.items()
            if value is not None and value is not False and value not in ([], ())
        }
        return super().invoke(ctx)


def section_command(*, only: Collection[str] = (), leave_out: Collection[str] = ()) -> type[SectionCommand]:
    """The class of a command that has options for these fields, or for all but those left out."""
    return type("_Command", (SectionCommand,), {"only": only, "leave_out": leave_out})


def _options(made: Collection[Setting]) -> list[Any]:
    """The options, as typer makes them from a function that has them as parameters."""

    def command(**_: object) -> None:
        """Have parameters, and do nothing."""

    parameters = [each.parameter() for each in made]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    holder = typer.Typer(add_completion=False)
    holder.command()(command)
    return list(typer.main.get_command(holder).params)


def given(context: typer.Context) -> dict[str, Any]:
    """The fields that were typed, in the form that a section takes; a base's folder is found wherever that is read."""
    fields = dict(context.meta[_GIVEN])
    if "base" in fields and Path(fields["base"]).is_dir():
        fields["base"] = str(Path(fields["base"]).resolve())
    return fields


def check_task(task: str, fields: Mapping[str, object]) -> type[BaseModel]:
    """The class of a task's section. Raises `InputError` for an unknown task, or a field that is not for the task."""
    classes = sections()
    if task not in classes:
        raise InputError(f"--task is {task!r}.", hint=f"Tasks are {', '.join(classes)}.")
    every = settings(classes)
    for name in fields:
        if name in every and name not in classes[task].model_fields:
            there = ", ".join(every[name].tasks)
            raise InputError(f"{every[name].option} is not for task {task!r}.", hint=f"It is for {there}.")
    return classes[task]


def section_from(task: str, fields: Mapping[str, object]) -> SpecialistSection:
    """A specialist's section. Raises `InputError`, naming the option, for what no section can be."""
    from pydantic import ValidationError

    kind = check_task(task, fields)
    try:
        return cast("SpecialistSection", kind.model_validate({"task": task, **fields}))
    except ValidationError as error:
        raise InputError(_explain(error), hint="See --help of the command.") from None


def _explain(error: ValidationError) -> str:
    """The first thing that a section refuses, in terms of the option that it was typed with."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{said[:1].upper()}{said[1:]}."
    option = "--" + str(first["loc"][0]).replace("_", "-")
    verb = "has" if len(first["loc"]) > 1 else "is"
    what = first["loc"][1] if verb == "has" and isinstance(first["loc"][1], str) else first["input"]
    return f"{option} {verb} {what!r}: {said}."
