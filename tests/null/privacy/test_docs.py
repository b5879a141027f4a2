"""The page about personal data: its example runs, and its table has every kind."""

import re
from pathlib import Path

from coterie.privacy.detection import Kind, label_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "find-personal-data.md").read_text(encoding="utf-8")


def test_the_example_runs():
    """What the page says of its example is so."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(example, {})


def test_every_kind_is_documented():
    """Each kind stands in the table with the label that it asks for."""
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            kinds, _, label = (cell.strip() for cell in line.strip("|").split("|"))
            for kind in re.findall(r"`([A-Z_]+)`", kinds):
                wanted = label_of(kind)
                assert label == ("none alone" if wanted is None else f"`{wanted.value}`"), kind
    assert set(re.findall(r"`([A-Z_]+)`", PAGE)) >= {kind.value for kind in Kind}
