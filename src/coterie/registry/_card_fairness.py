"""What a model card says of the groups of protected attributes, and of what gives these away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._markdown import table, words
from ._report import mapping, number, rung_row

_MOST_PROXIES = 5  # columns shown of each attribute
_NOTE = (
    "Approved is a probability below one half. Of training rows, each scored by a model that had not seen it; brackets "
    "hold 95% intervals. A ratio is to the group approved most; below 0.8, the four-fifths rule, is what to look at. "
    "The figures say that groups differ, not why."
)
_HEADER = ("rows", "bad outcome", "approved", "ratio", "refused wrongly", "approved wrongly", "decided alone")


def fairness_sections(report: Mapping[str, object]) -> list[str]:
    """How the groups of protected attributes fare, and what gives these away; nothing where there are none."""
    chosen = rung_row(report, report.get("rung"))
    tables = [_groups(column, mapping(each)) for column, each in mapping(chosen.get("fairness")).items()]
    if not tables:
        return []
    proxies = [_proxies(name, mapping(each)) for name, each in mapping(chosen.get("proxies")).items()]
    return ["## Fairness by group", _NOTE, *tables, *filter(None, proxies)]


def _groups(column: str, about: Mapping[str, object]) -> str:
    listed = about.get("groups")
    rows = [_group(mapping(group)) for group in (listed if isinstance(listed, Sequence) else ())]
    return table([(words(column), *_HEADER), *rows])


def _group(group: Mapping[str, object]) -> list[str]:
    ratio = _share({"value": group.get("ratio"), "interval": group.get("ratio_interval")})
    shares = [_share(group.get(name)) for name in ("refused_wrongly", "approved_wrongly", "alone")]
    return [
        words(group.get("group")),
        words(group.get("n")),
        _share(group.get("base")),
        _share(group.get("approved")),
        f"{ratio}, {words(group.get('verdict'))}",
        *shares,
    ]


def _share(value: object) -> str:
    """A share with its interval, in two digits."""
    about = mapping(value)
    share, interval = number(about.get("value")), about.get("interval")
    if share is None:
        return "-"
    bounds = [number(bound) for bound in interval] if isinstance(interval, Sequence) else []
    known = [f"{bound:.2f}" for bound in bounds if bound is not None]
    return f"{share:.2f} [{', '.join(known)}]" if known else f"{share:.2f}"


def _proxies(attribute: str, about: Mapping[str, object]) -> str:
    """What tells an attribute that is not used, the most telling first."""
    columns = about.get("columns")
    found = [mapping(each) for each in columns][:_MOST_PROXIES] if isinstance(columns, Sequence) else []
    found += [mapping(about[name]) for name in ("together", "score") if mapping(about.get(name))]
    told = [
        f"{words(each.get('column'))} {_share({'value': each.get('auc'), 'interval': each.get('interval')})} "
        f"({words(each.get('group'))})"
        for each in found
    ]
    if not told:
        return ""
    return f"What tells {words(attribute)} although it is not used, by AUC (0.5 is not at all): {'; '.join(told)}."
