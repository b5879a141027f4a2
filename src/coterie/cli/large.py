"""What `coterie rightsize` is told of a large model, and the row of one that stands beside the rungs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.cli.bridge import run
from coterie.errors import InputError
from coterie.runtime.files import write_bytes

if TYPE_CHECKING:
    from coterie.cli.progress import TerminalProgress
    from coterie.config.file import Config, OpenAIModel
    from coterie.rightsizing.bench import Rows
    from coterie.rightsizing.large import RecordedAnswer
    from coterie.rightsizing.result import LargeRow
    from coterie.types import Label


@dataclass(frozen=True, kw_only=True)
class Large:
    """What was said about the large model."""

    recorded: Path | None
    name: str | None
    prices: tuple[str | None, str | None]
    """Of a million prompt tokens and a million generated ones."""
    model: str | None
    rows: int
    label: str | None
    save: Path | None

    def __post_init__(self) -> None:
        if self.recorded is not None and self.model is not None:
            raise InputError("Given both --recorded and --model.", hint="One large model at a time.")


def large_row(large: Large, config: Config | None, rows: Rows, progress: TerminalProgress) -> LargeRow | None:
    """The large model's row, from its answers on file or asked now; None without one."""
    from coterie.rightsizing.large import Prices, judge_answers, read_answers

    if large.recorded is not None:
        answers = read_answers(large.recorded, text_column=rows.section.text_column or "text")
        tokens_in, tokens_out = large.prices
        prices = Prices(
            tokens_in=parse_money("--price-in", tokens_in), tokens_out=parse_money("--price-out", tokens_out)
        )
        name = large.name or large.recorded.stem
        return judge_answers(name, f"recorded in {large.recorded.name}", answers, rows.held, prices)
    if large.model is None or config is None:
        return None
    return _ask_live(large.model, large, config, rows, progress)


def _ask_live(name: str, large: Large, config: Config, rows: Rows, progress: TerminalProgress) -> LargeRow:
    """Ask a remote model of the network through the gate, and keep its answers if that was asked for."""
    from coterie.config.file import OpenAIModel
    from coterie.rightsizing.large import Prices, judge_answers, write_answers

    model = config.models.get(name)
    if not isinstance(model, OpenAIModel):
        known = sorted(key for key, each in config.models.items() if isinstance(each, OpenAIModel))
        raise InputError(
            f"Asked for model {name!r}; the network's remote models are {known}.",
            hint='Add [models.NAME] with engine = "openai" to coterie.toml.',
        )
    label = _label(large.label, config)
    answers = run(_answers(name, model, rows, label=label, most=large.rows, progress=progress))
    if large.save is not None:
        write_bytes(large.save, write_answers(answers))
    now = model.prices_at()
    prices = Prices(tokens_in=now.tokens_in, tokens_out=now.tokens_out)
    return judge_answers(name, f"{model.name}, asked now", answers, rows.held, prices)


async def _answers(
    name: str, model: OpenAIModel, rows: Rows, *, label: Label, most: int, progress: TerminalProgress
) -> list[RecordedAnswer]:
    from coterie.governance.egress import ClearancePolicy, Gate
    from coterie.rightsizing.large import ask_model

    engine = Gate(ClearancePolicy()).open(name, model)
    try:
        return await ask_model(
            engine, rows.held, rows.train, most=most, label=label, seed=rows.section.seed, progress=progress
        )
    finally:
        await engine.close()


def _label(given: str | None, config: Config) -> Label:
    from coterie.types import Label

    if given is None:
        return config.network.default_label
    if given not in set(Label):
        raise InputError(f"--label is {given!r}.", hint=f"Labels are {', '.join(Label)}.")
    return Label(given)


def parse_money(option: str, given: str | None) -> Decimal | None:
    """An amount from 0; None when nothing was typed."""
    if given is None:
        return None
    try:
        amount = Decimal(given)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise InputError(f"{option} is {given!r}.", hint="Write an amount from 0, such as 0.05.")
    return amount
