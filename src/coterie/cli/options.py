"""Options of several commands, including those made from the fields of `coterie.toml`, and how they are parsed.

A field's name, type, bounds, default and docstring become those of its option. `coterie add`, `train` and `rightsize`
therefore have the same options, and a new field of a section is an option of each of them. The options of a command
are made when the command is parsed or its help is shown: `coterie --help` does not import the configuration.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as made
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

import typer
from typer.core import TyperCommand

from coterie.errors import InputError
from coterie.types.usage import read_money

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

    from coterie.config.specialists import SpecialistSection
    from coterie.types import Label


Clearance = Annotated[
    str | None,
    typer.Option("--as", metavar="LABEL", help="The most sensitive label that you may see; default: the network's."),
]
Columns = Annotated[str | None, typer.Option(metavar="JSON", help="Structured input: one JSON object of plain values.")]
ContentLabel = Annotated[
    str | None, typer.Option(metavar="LABEL", help="Sensitivity: public, internal, confidential or restricted.")
]
OutputFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="Where to write it; left out, standard output.")
]
Tenant = Annotated[str, typer.Option(metavar="NAME", help="Tenant that it belongs to.")]
TraceId = Annotated[str, typer.Argument(metavar="ID", help="The trace id that came with the answer.")]


def group(name: str, about: str) -> typer.Typer:
    """Make a command group; without a subcommand it shows its help."""
    return typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None)


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_label(option: str, label: str | None) -> Label | None:
    """Parse a typed label; None if none was given. Raises `InputError`."""
    from coterie.types import Label

    try:
        return None if label is None else Label(label)
    except ValueError:
        raise InputError(f"{option} is {label!r}.", hint=f"Labels are: {', '.join(Label)}.") from None


def parse_money(option: str, amount: str | None) -> Decimal | None:
    """Parse an amount of 0 or more; None if none was given. Raises `InputError`."""
    if amount is None:
        return None
    try:
        return read_money(amount)
    except ValueError as error:
        hint = "Write an amount from 0, such as 0.05."
        raise InputError(f"{option} is {amount[:100]!r}: {error}.", hint=hint) from None


def parse_since(since: str | None, *, now: float, option: str = "--since") -> float:
    """Parse a time into seconds since the epoch: an age (`24h`), a date or a date with time; None is the beginning.

    Raises `InputError`.
    """
    if since is None:
        return 0.0
    if age := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", since.strip()):
        return now - float(age[1]) * _SECONDS[age[2]]
    try:
        moment = datetime.fromisoformat(since.strip())
    except ValueError:
        raise InputError(
            f"{option} is {since!r}, neither an age nor a date.", hint='Such as "24h", "7d", "2026-11-01T09:30".'
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def check_choice(what: str, chosen: str, valid: Iterable[str]) -> str:
    """Check that the choice is one of the known names, and return it. Raises `InputError`."""
    valid = list(valid)
    if chosen not in valid:
        raise InputError(f"Asked for the {what} {chosen!r}.", hint=f"There is {', '.join(valid) or 'none'}.")
    return chosen


def check_index_name(name: str) -> None:
    """Check that a name can be a key of the file and the name of a folder. Raises `InputError`."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise InputError(f"{name!r} is no name of an index.", hint="Small letters, digits, - and _, a letter first.")


def read_text(file: str) -> str:
    """Return the text of a file, or of standard input for `-`. Raises `InputError`."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        name = "Standard input" if file == "-" else repr(file)
        raise InputError(
            f"{name} is not UTF-8 text: byte {error.start} cannot be read.", hint="Convert it to UTF-8 first."
        ) from None
    except OSError as error:
        raise InputError(
            f"Cannot read {file!r}: {error.strerror or error}.", hint="Give a file, or - for standard input."
        ) from None


def check_utf8(text: str) -> str:
    """Check that a text from the terminal is valid UTF-8, and return it. Raises `InputError`."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError("The text is not valid UTF-8.", hint="Check the terminal's encoding.") from error
    return text


def pretty(document: object) -> bytes:
    """Serialise a JSON document for a file: indented, in UTF-8, with a final line feed."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


# --- Options that are made from the fields of the specialists' sections in `coterie.toml`.

_GIVEN = "coterie.settings"
"""Key of the context's `meta` that holds the given fields."""
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
"""Metavar of an option, where the type of its field does not tell it."""
_SIGNS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of one or several sections, and the option that is made from it."""

    name: str
    field: FieldInfo
    tasks: tuple[str, ...]
    """The tasks whose section has the field; empty where all have it."""
    apart: Mapping[str, object] = made(default_factory=dict)
    """The default of each task that differs from the default of `field`."""

    @property
    def option(self) -> str:
        """The name of the option, such as `--text-column`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def kind(self) -> Any:  # noqa: ANN401 - any type
        """The field's type without None and without its bounds."""
        return _bare(self.field.annotation)

    @property
    def repeats(self) -> bool:
        """Whether the option may be given several times, for several values or for a table `NAME=VALUE`."""
        return get_origin(self.kind) in {tuple, dict} and not self.in_file

    @property
    def in_file(self) -> bool:
        """Whether the values are tables, too long for a command line: the option names a JSON file with a list."""
        return get_origin(self.kind) is tuple and hasattr(_bare(get_args(self.kind)[0]), "model_fields")

    def parameter(self) -> inspect.Parameter:
        """Return the option as the parameter of a typer command."""
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
        """Return the help text: tasks, the first sentence about the field, choices, bounds and default."""
        about = " ".join((self.field.description or "").split())
        sentence = about if get_origin(self.kind) is dict else re.split(r"(?<=\.)\s+(?=[A-Z`])", about)[0]
        tasks = f"{', '.join(self.tasks)}: " if self.tasks else ""
        tasks += "A JSON file with a list. " if self.in_file else ""
        bounds = ", ".join(
            f"{word} {getattr(bound, sign):,}"
            for bound in self.field.metadata
            for sign, word in _SIGNS.items()
            if getattr(bound, sign, None) is not None
        )
        chosen = f"Any of {', '.join(self._choices())}." if self._choices() else ""
        default = self.field.default
        usual = (
            f"Default: `{default}`{''.join(f', {task}: `{own}`' for task, own in self.apart.items())}."
            if isinstance(default, str | int | float) and default not in {"", False}
            else ""
        )
        return " ".join(filter(None, [tasks + sentence, chosen, f"It is {bounds}." if bounds else "", usual]))

    def _choices(self) -> tuple[str, ...]:
        item = _bare(get_args(self.kind)[0]) if self.repeats else None
        return get_args(item) if get_origin(item) is Literal else ()

    def parse(self, typed: Any) -> Any:  # noqa: ANN401 - of the field's type
        """Convert typed values to the form that the section takes. Raises `InputError`."""
        if self.in_file:
            return _listed(self.option, Path(str(typed)))
        if get_origin(self.kind) is dict:
            return dict(self._pair(pair) for pair in typed)
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
    """Return the objects of a JSON file; functions may be wrapped as in OpenAI's `tools`. Raises `InputError`."""
    from coterie.runtime.codec import parse_json

    try:
        listed = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{option} is {str(path)!r}: {error.strerror}.", hint="Name a JSON file.") from None
    except ValueError as error:
        raise InputError(f"{option} is {str(path)!r}, which is no JSON: {error}.") from None
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise InputError(f"{option} is {str(path)!r}, which is no list of objects.", hint='Write [{"name": ...}, ...].')
    return [item["function"] if isinstance(item.get("function"), dict) else item for item in listed]


def _bare(kind: Any) -> Any:  # noqa: ANN401 - any type
    """Return a type without None and annotations."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in {Union, types.UnionType}:
        return _bare(next(argument for argument in get_args(kind) if argument is not type(None)))
    return kind


def _typed(kind: object) -> type:
    """Return the type that typer parses: anything but a number is parsed as text, and the section checks it."""
    return kind if isinstance(kind, type) and kind in {int, float} else str


# --- The sections --------------------------------------------------------------------------------


def sections() -> Mapping[str, type[BaseModel]]:
    """Return the class of each installed task's section."""
    from coterie.config.specialists import TASKS

    return {task: TASKS.section_class(task) for task in TASKS.plugins.names}


def task_for(task: str, fields: Mapping[str, object]) -> str:
    """Return the current name of a task that may have a former name."""
    from coterie.config.file import renamed_table

    return str(renamed_table({"task": task, **fields})["task"])


def settings(classes: Mapping[str, type[BaseModel]]) -> Mapping[str, Setting]:
    """Return the fields of all sections by name, without `task`, each with its tasks."""
    names = dict.fromkeys(name for class_ in classes.values() for name in class_.model_fields if name != "task")
    by_name = {}
    for name in names:
        having = [task for task, section_class in classes.items() if name in section_class.model_fields]
        tasks = tuple(having) if len(having) < len(classes) else ()
        fields = {task: classes[task].model_fields[name] for task in having}
        usual = Counter(repr(field.default) for field in fields.values()).most_common(1)[0][0]
        taken = next(field for field in fields.values() if repr(field.default) == usual)
        apart = {task: field.default for task, field in fields.items() if repr(field.default) != usual}
        by_name[name] = Setting(name=name, field=taken, tasks=tasks, apart=apart)
    return by_name


class SectionCommand(TyperCommand):
    """A command with options for fields of the specialists' sections; `given` returns the typed values."""

    only: Collection[str] = ()
    """Fields that have an option; empty for all fields."""
    leave_out: Collection[str] = ()

    _made: Mapping[str, Setting] | None = None

    def made(self) -> Mapping[str, Setting]:
        """Return the settings that are options of this command, inserted before its own options; made once."""
        if self._made is None:
            every = settings(sections())
            self._made = {
                name: setting
                for name, setting in every.items()
                if (name in self.only or not self.only) and name not in self.leave_out
            }
            first = next((n for n, parameter in enumerate(self.params) if parameter.param_type_name == "option"), 0)
            self.params[first:first] = _options(self._made.values())
        return self._made

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override] # the context of typer's own click
        """Return the command's parameters, including those made from sections."""
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
    """Return a command class with options for the fields in `only`, or for all but those in `leave_out`."""
    return type("_Command", (SectionCommand,), {"only": only, "leave_out": leave_out})


def _options(made: Collection[Setting]) -> list[Any]:
    """Return the options that typer makes from a function with these parameters."""

    def command(**_: object) -> None:
        """Do nothing; the function only carries parameters."""

    parameters = [setting.parameter() for setting in made]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    holder = typer.Typer(add_completion=False)
    holder.command()(command)
    return list(typer.main.get_command(holder).params)


def given(context: typer.Context) -> dict[str, Any]:
    """Return the typed fields in the form that a section takes; the folder of a `base` becomes an absolute path."""
    fields = dict(context.meta[_GIVEN])
    if "base" in fields and Path(fields["base"]).is_dir():
        fields["base"] = str(Path(fields["base"]).resolve())
    return fields


def check_task(task: str, fields: Mapping[str, object]) -> type[BaseModel]:
    """Return the class of a task's section. Raises `InputError` for an unknown task, or a field of another task."""
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
    """Make a specialist's section. Raises `InputError`, naming the option, for invalid values."""
    from pydantic import ValidationError

    kind = check_task(task, fields)
    try:
        return cast("SpecialistSection", kind.model_validate({"task": task, **fields}))
    except ValidationError as error:
        raise InputError(_explain(error), hint="See --help of the command.") from None


def _explain(error: ValidationError) -> str:
    """Return the first error of a section, in terms of the option that it belongs to."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{message[:1].upper()}{message[1:]}."
    option = "--" + str(first["loc"][0]).replace("_", "-")
    verb = "has" if len(first["loc"]) > 1 else "is"
    what = first["loc"][1] if verb == "has" and isinstance(first["loc"][1], str) else first["input"]
    return f"{option} {verb} {what!r}: {message}."
