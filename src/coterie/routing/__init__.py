"""Who is asked: the learned router, what it knows of the specialists, and the order in which they run."""

from ._columns import check_columns, split_columns
from ._evaluate import NOBODY, Expected, Fix, Mistaken, RouteEvaluation, Tally, judge_routes
from ._expected import read_expected
from ._explain import Candidate, Considered, Explanation, Likeness
from ._orders import ORDERS_FILE, OrderSense, span_means
from ._plan import permitted, pinned_route, plan_waves
from ._profile import PROFILE_FILE, Profile, hint_texts, make_profile
from ._router import LearnedRouter
from ._split import split_parts

__all__ = [
    "NOBODY",
    "ORDERS_FILE",
    "PROFILE_FILE",
    "Candidate",
    "Considered",
    "Expected",
    "Explanation",
    "Fix",
    "LearnedRouter",
    "Likeness",
    "Mistaken",
    "OrderSense",
    "Profile",
    "RouteEvaluation",
    "Tally",
    "check_columns",
    "hint_texts",
    "judge_routes",
    "make_profile",
    "permitted",
    "pinned_route",
    "plan_waves",
    "read_expected",
    "span_means",
    "split_columns",
    "split_parts",
]
