"""How good a specialist is: figures with their intervals, from arrays or by asking it about rows.

The metrics are pure functions of arrays; `evaluate` knows a specialist by its protocol only.
"""

from ._answers import AnswerFigures, LookUp, holds_answer, judge_answers, look_up_with, with_quotes
from ._bootstrap import (
    Interval,
    auc_interval,
    bootstrap_interval,
    bootstrap_mean,
    exact_interval,
    score_interval,
    unseen,
)
from ._evaluate import consult_rows, evaluate
from ._evaluation import Confusion, Evaluation
from ._fairness import FOUR_FIFTHS, Fairness, GroupFigures, Share, fairness, group_names, share
from ._fields import FieldCase, FieldFigures, FieldReport, field_cases, is_right, judge_fields
from ._judge import ALIKE, Case, judge, judge_rows
from ._metrics import (
    RiskCoverage,
    accepted_accuracy,
    accuracy,
    auroc,
    brier,
    coverage,
    ece,
    exact_match,
    macro_f1,
    multilabel_f1,
    risk_coverage,
)
from ._overlap import best_f1, rouge_l, token_f1
from ._proxies import TELLING, Proxies, Proxy, find_proxies
from ._regression import interval_drop, paired_drop, worse
from ._slices import Slice, pack, slice_labels, unpack

__all__ = [
    "ALIKE",
    "FOUR_FIFTHS",
    "TELLING",
    "AnswerFigures",
    "Case",
    "Confusion",
    "Evaluation",
    "Fairness",
    "FieldCase",
    "FieldFigures",
    "FieldReport",
    "GroupFigures",
    "Interval",
    "LookUp",
    "Proxies",
    "Proxy",
    "RiskCoverage",
    "Share",
    "Slice",
    "accepted_accuracy",
    "accuracy",
    "auc_interval",
    "auroc",
    "best_f1",
    "bootstrap_interval",
    "bootstrap_mean",
    "brier",
    "consult_rows",
    "coverage",
    "ece",
    "evaluate",
    "exact_interval",
    "exact_match",
    "fairness",
    "field_cases",
    "find_proxies",
    "group_names",
    "holds_answer",
    "interval_drop",
    "is_right",
    "judge",
    "judge_answers",
    "judge_fields",
    "judge_rows",
    "look_up_with",
    "macro_f1",
    "multilabel_f1",
    "pack",
    "paired_drop",
    "risk_coverage",
    "rouge_l",
    "score_interval",
    "share",
    "slice_labels",
    "token_f1",
    "unpack",
    "unseen",
    "with_quotes",
    "worse",
]
