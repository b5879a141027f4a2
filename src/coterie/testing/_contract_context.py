"""What every router, retriever and policy must do."""

from __future__ import annotations

from itertools import product

from coterie.protocols import Policy, Retriever, Router
from coterie.types import Context, Flow, Label, Passage, Request, Route, Verdict

from ._clauses import check_step, require


async def check_router(router: Router, request: Request | None = None, context: Context | None = None) -> None:
    """Check the clauses of `protocols.Router` with one request, asked twice.

    Args:
        router: any.
        request: what to route; whether anybody fits does not matter.
        context: what is known; nothing by default.
    """
    request = request or Request(text="my card was stolen, and does clause 7 let me end the loan?")
    context = context or Context()
    require("it has `route`", isinstance(router, Router))
    route = await router.route(request, context)
    _check_route(route)
    again = await router.route(request, context)
    require("the same request has the same route", again.specialists == route.specialists)


def _check_route(route: Route) -> None:
    require(f"it gives a Route, not {type(route).__name__}", isinstance(route, Route))
    require("a route says why, also when it asks nobody", route.reason.strip())
    for part in route.parts:
        require("a part names whom it asks; a route for nobody has no parts", part.specialists)
        require("a part has no empty wave", all(part.waves))
        require("nobody is asked twice about one part", len(set(part.specialists)) == len(part.specialists))
        require(f"a part's score is from 0 to 1: {part.score!r}", 0.0 <= part.score <= 1.0)
        require("a part has text", part.text.strip())
    for name, score in route.scores.items():
        require(f"the score of {name!r} is from 0 to 1: {score!r}", 0.0 <= score <= 1.0)
    for step in route.steps:
        check_step(step)


async def check_retriever(retriever: Retriever, query: str, *, k: int = 5) -> None:
    """Check the clauses of `protocols.Retriever` with one query at every clearance."""
    require("it has `search`", isinstance(retriever, Retriever))
    for clearance in Label:
        passages = list(await retriever.search(query, k=k, clearance=clearance))
        require(f"at most {k} passages are asked for, {len(passages)} come", len(passages) <= k)
        scores = [passage.score for passage in passages]
        require(f"the best comes first: {scores}", scores == sorted(scores, reverse=True))
        for passage in passages:
            _check_passage(passage, clearance)


def _check_passage(passage: Passage, clearance: Label) -> None:
    require(
        f"nothing above the clearance {clearance.value!r} is found, not even {passage.label.value!r}",
        passage.label <= clearance,
    )
    require("a passage names its document", passage.document)
    offsets = f"{passage.start}:{passage.end}"
    require(f"offsets {offsets} span the passage's text", passage.end - passage.start == len(passage.text))
    require(f"offsets {offsets} are not negative", passage.start >= 0)


async def check_policy(policy: Policy) -> None:
    """Check the clauses of `protocols.Policy` for every label and clearance."""
    require("it has `judge`", isinstance(policy, Policy))
    for label, clearance in product(Label, Label):
        flow = Flow(destination="somewhere", label=label, clearance=clearance)
        verdict = policy.judge(flow)
        require(f"it gives a Verdict, not {type(verdict).__name__}", isinstance(verdict, Verdict))
        require("a verdict is allowed or not, a bool", isinstance(verdict.allowed, bool))
        require("a verdict names its rule", verdict.rule)
        require("a verdict says why", verdict.reason.strip())
        require("the same flow gives the same verdict", policy.judge(flow) == verdict)
