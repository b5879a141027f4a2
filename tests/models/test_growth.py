"""What more examples bring, on what people wrote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coterie.config.specialists import make_section
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.dataset import Dataset, Row
from coterie.learning.fitting import (
    FOLDS,
    PARTS_OF_FEW,
    TextExamples,
    cut_folds,
    deal_folds,
    expected_gain,
    fit_kernel,
    hold_back_in_parts,
    text_examples,
)
from coterie.learning.job import Job, Silent
from coterie.tasks.contract import task_of

INTENTS = (
    *("activate_my_card", "age_limit", "apple_pay_or_google_pay", "atm_support", "automatic_top_up", "card_arrival"),
    *(
        "cancel_transfer",
        "card_about_to_expire",
        "card_acceptance",
        "card_linking",
        "card_not_working",
        "card_swallowed",
    ),
    *(
        "cash_withdrawal_charge",
        "change_pin",
        "compromised_card",
        "country_support",
        "declined_transfer",
        "edit_personal_details",
    ),
    *(
        "exchange_charge",
        "exchange_rate",
        "failed_transfer",
        "fiat_currency_support",
        "get_physical_card",
        "pin_blocked",
    ),
)
EACH, DRAWS = 5, 8


def test_the_gain_is_near_what_other_messages_show(messages):
    """Five messages an intent, eight times: what all of them are expected to add is what others show, within .025."""
    texts = {intent: [row["text"] for row in messages({intent})][:60] for intent in INTENTS}
    encoder, random = OnnxEncoder.bundled(), np.random.default_rng(0)
    vectors = {intent: encoder.encode(messages) for intent, messages in texts.items()}
    gains = []
    for _ in range(DRAWS):
        drawn = {intent: random.permutation(len(messages)) for intent, messages in texts.items()}
        rows = tuple(Row(text=texts[i][at], labels=(i,)) for i, order in drawn.items() for at in order[:EACH])
        known_vectors = np.vstack([vectors[i][order[:EACH]] for i, order in drawn.items()])
        others = [vectors[i][order[EACH:]] for i, order in drawn.items()]
        data = Dataset(name="rows", rows=rows, sha256="")
        gains.append(expected_and_found(data, known_vectors, others, encoder))

    expected, measured = np.mean(gains, axis=0)
    assert measured > 0.01
    assert expected == pytest.approx(measured, abs=0.025)


def expected_and_found(
    data: Dataset, known_vectors: np.ndarray, others: list[np.ndarray], encoder: OnnxEncoder
) -> tuple[float, float]:
    """The gain that is expected, and that on the vectors of other messages, a list for each label in order."""
    section = make_section(task="classify", data="rows")
    folds = deal_folds(data, FOLDS, 0)
    examples: TextExamples = text_examples(data, data.label_names, folds, seed=section.seed)
    job = Job(
        name="it", task=task_of(section), section=section, train=data, held_out=data, encoder=encoder, progress=Silent()
    )
    expected = expected_gain(job, replace(examples, pieces=cut_folds(data, folds, 0)), known_vectors, None)
    fit = fit_kernel(known_vectors, replace(examples, folds=hold_back_in_parts(folds, PARTS_OF_FEW)))
    in_parts = (fit.out_of_fold.argmax(axis=1) == examples.hot.argmax(axis=1)).mean()
    label_of = [data.label_names.index(row.labels[0]) for row in data.rows[::EACH]]
    right = [fit.logits(rows).argmax(axis=1) == label for rows, label in zip(others, label_of, strict=True)]
    return expected, float(np.concatenate(right).mean() - in_parts)
