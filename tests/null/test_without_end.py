"""Numbers and nesting without end, wherever they are read: a clear error, and no crash."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from pydantic import ValidationError

from coterie.api.network import request_of
from coterie.config.file import parse_config
from coterie.errors import ConfigError, CoterieError, InputError
from coterie.gateway.wire import Extension
from coterie.governance.audit import AuditLog, read_head
from coterie.governance.keys import KeyRing
from coterie.policy.cost_quality import Aim, load_checks
from coterie.routing.plan import check_columns
from coterie.runtime.codec import DecodeError, from_json, parse_json
from coterie.store.rows import read_trace
from coterie.types.usage import read_money

HUGE = ["1e999999999", "1e-999999999", "9" * 1000, "0." + "0" * 100 + "1", "-1", "nan", "inf", "", "x", "1e16"]
DEEP = ["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900]


@pytest.mark.parametrize("amount", HUGE)
def test_money_at_every_edge(amount):
    """An amount that nobody can reckon with is refused where it comes in, in words and at once."""
    with pytest.raises(ValueError, match="amount of money"):
        read_money(amount)
    with pytest.raises(ValidationError):
        Extension.model_validate_json(json.dumps({"budget": amount}))
    for toml in (f'[policy]\nbudget = "{amount}"', f'[budgets.a]\nmoney = "{amount}"\nper = "day"'):
        with pytest.raises(ConfigError):
            parse_config(toml)
    with pytest.raises(InputError):
        request_of("x", budget=amount)


@pytest.mark.parametrize("budget", [Decimal("1e999999999"), Decimal("NaN"), Decimal(-1)])
def test_a_budget_of_the_policy(budget):
    """The policy refuses it too, whoever made the request."""
    with pytest.raises(InputError):
        Aim(budget=budget)


def test_amounts_that_fit():
    """What was money stays money, to the last digit."""
    for amount in ("0", "0.15", "1e-9", "0.0000000001", "1e15", "123456.789"):
        assert read_money(amount) == Decimal(amount)
    assert Extension.model_validate_json('{"budget": 0.15}').budget == Decimal("0.15")


def test_a_stored_amount():
    """A stored amount that no sum can hold is no amount; the quotient of two is."""
    with pytest.raises(DecodeError):
        from_json(Decimal, "1e999999999")
    third = Decimal(1) / Decimal(3_600_000_000)
    assert from_json(Decimal, str(third)) == third


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), float("nan")])
def test_columns(value):
    """A number that no float holds is refused before any model sees it."""
    with pytest.raises(InputError):
        check_columns({"a": value})


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "[" * 60 + "]" * 60,
        "[" + ".".join(["a"] * 5_000) + "]",
        "a = " + "{a=" * 60 + "1" + "}" * 60,
        "a = " + "9" * 10_000,
        ".".join(["a"] * 20_000) + " = 1",
        "x = {" + ' . "b" '.join(["a"] * 20_000) + " = 1}",
    ],
    ids=["open", "arrays", "tables", "inline", "number", "key", "quoted key"],
)
def test_a_file_without_end(text):
    """A `coterie.toml` that is nested deeply, or holds a number without end, is an error of the file."""
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_config(text)


@pytest.mark.parametrize("deep", DEEP)
def test_stored_files_without_end(tmp_path, deep):
    """What is stored and nested deeply is damaged, whoever reads it; nothing crashes."""
    path = tmp_path / "audit.jsonl"
    path.with_name("audit.jsonl.head").write_text(deep)
    assert read_head(path) is None
    path.write_text(deep + "\n")
    with pytest.raises(CoterieError):
        AuditLog(path).append_all([])
    with pytest.raises(CoterieError):
        read_trace("t1", deep)
    with pytest.raises(CoterieError):
        load_checks(deep.encode())
    (tmp_path / "keys.json").write_text(deep)
    with pytest.raises(CoterieError):
        KeyRing(tmp_path / "keys.json").keys()


@pytest.mark.parametrize("deep", DEEP[:2])
def test_parsed_json(deep):
    """The one parser says so as a `ValueError`, which every caller knows."""
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(deep)
