"""The page about accounting."""

import re
from pathlib import Path

import pytest

from coterie.config.file import parse_config

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "account-for-energy-and-money.md").read_text(
    encoding="utf-8"
)


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_settings_are_accepted(block):
    """What it shows of coterie.toml is accepted as it stands."""
    assert parse_config(block).accounting.currency
