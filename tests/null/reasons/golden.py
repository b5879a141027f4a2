"""Every reason in words, with sample values: the lines of `tests/null/golden/reasons.txt`.

python tests/null/reasons/golden.py   # writes the file anew after a change of `coterie.types.reason`
"""

from collections.abc import Iterator
from pathlib import Path
from string import Formatter

from coterie.types import Reason
from coterie.types.reason import TEMPLATES, optional_in

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "reasons.txt"


def lines() -> Iterator[str]:
    """A line for each code, and one more without the values that may be missing."""
    for code, template in sorted(TEMPLATES.items()):
        values = samples(template)
        yield f"{code}: {Reason(code, **values)}"
        optional = optional_in(code)
        if optional:
            rest = {name: value for name, value in values.items() if name not in optional}
            yield f"{code} (without {', '.join(sorted(optional))}): {Reason(code, **rest)}"


def samples(template: str) -> dict[str, str | int | float]:
    """A value for each name in a template: a number where it is shown as one, else the name in capitals."""
    values: dict[str, str | int | float] = {}
    for _, name, spec, _ in Formatter().parse(template.replace("[", "").replace("]", "")):
        if name is None:
            continue
        if "{decimals}" in (spec or ""):
            values |= {name: 0.75, "decimals": 2}
        elif spec:
            values[name] = 1234 if spec == "," else 0.25
        else:
            values[name] = name.upper()
    return values


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(lines()) + "\n", encoding="utf-8")
