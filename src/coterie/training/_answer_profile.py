"""What the router learns of an `answer` specialist: its description, its questions, and what its documents are about.

Without questions there is nothing that looks like what will be asked. But a heading stands to the text under it as a
question to its answer: how near headings are to the nearest passages says how near a question in scope is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coterie.protocols import Retriever
from coterie.routing import Profile, hint_texts, make_profile
from coterie.types import Label, Passage

from ._job import Job
from ._measure import finish

MOST_PASSAGES = 400
"""Passages of each shelf that the router knows."""
_DRAWN = 40
"""Passages looked up with one query."""
_SHOWN = 60  # characters of a passage by which the router names it


def answer_profile(job: Job, shelves: Mapping[str, Retriever], label: Label) -> Profile:
    """The profile of a specialist that reads these shelves.

    Args:
        job: Whose; the questions of its training data are examples.
        shelves: By `[knowledge]` key.
        label: What is above it leaves no trace in the profile.
    """
    passages = [each for name in job.section.knowledge for each in finish(_sample(shelves[name], job, label))]
    headings = list(dict.fromkeys(each.heading.split(" > ")[-1] for each in passages if each.heading))
    questions = list(dict.fromkeys(row.text for row in job.train.rows))
    hints = hint_texts(job.section.description, headings, examples=len(questions))
    texts = [*questions, *hints, *(each.text for each in passages)]
    vectors = job.encoder.encode(texts).reshape(len(texts), job.encoder.dimension)
    asked, hinted, read = np.split(vectors, [len(questions), len(questions) + len(hints)])
    names = [*hints, *(_shown(each) for each in passages)]
    return make_profile(
        asked,
        questions,
        [None] * len(questions),
        hints=np.vstack([hinted, read]),
        hint_texts=names,
        seed=job.section.seed,
    )


async def _sample(shelf: Retriever, job: Job, label: Label) -> list[Passage]:
    """Passages from all over a shelf: those found for the description, and then for headings of those found before."""
    found: dict[tuple[str, int], Passage] = {}
    queries, asked = [job.section.description or job.name, *(row.text for row in job.train.rows[:_DRAWN])], set[str]()
    while queries and len(found) < MOST_PASSAGES:
        query = queries.pop(0)
        if query in asked:
            continue
        asked.add(query)
        for passage in await shelf.search(query, k=_DRAWN, clearance=label):
            if (passage.document, passage.start) not in found:
                found[passage.document, passage.start] = passage
                queries += [each for each in (passage.heading, passage.document) if each]
    return list(found.values())[:MOST_PASSAGES]


def _shown(passage: Passage) -> str:
    """By what the router names a passage in its reasons."""
    if passage.heading:
        return f"{passage.document}: {passage.heading}"
    return f"{passage.document}: {' '.join(passage.text.split())[:_SHOWN]}"
