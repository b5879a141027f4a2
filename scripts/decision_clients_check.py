"""Ask a served network through LiteLLM's and LangChain's decision classes.

    coterie -C FOLDER serve &
    scripts/clients_env && .venv/clients/bin/python scripts/decision_clients_check.py http://127.0.0.1:8321

They do not fit into one environment with ours. It ends with an error if an answer does not come back in the client's
own types.
"""

from __future__ import annotations

import sys

import litellm
from langchain_openai.decisions import Choice, OpenAIDecisions, Predicate, Score

TEXT = "Where is my card?"


def check(url: str) -> None:
    """Ask the same questions through each. Raises `AssertionError` for an answer that is none."""
    client = OpenAIDecisions(model="gpt-6-luna", base_url=f"{url}/v1", api_key="unused")
    questions = {
        "topic": Choice(instructions="What is it about?", choices={"a card": None, "the weather": "rain or sun"}),
        "card": Predicate(instructions="It is about a card."),
        "anger": Score(instructions="How angry?", levels=["calm", "angry"]),
    }
    answer = client.invoke({"input": {"note": TEXT, "age": 43}, "questions": questions})
    expect(set(answer.answers) == set(questions), answer)
    expect(abs(sum(answer.choices["topic"].probabilities.values()) - 1) < 1e-6, answer)
    typed_questions = [
        {"type": "choice", "name": "topic", "instructions": "About?", "choices": [{"value": "a"}, {"value": "b"}]}
    ]
    one = litellm.decisions(
        model="openai/gpt-6-luna", input=TEXT, questions=typed_questions, api_base=f"{url}/v1", api_key="unused"
    )
    expect(one.answers[0].choice in {"a", "b"}, one)
    noul = {"card": {"type": "noul", "instructions": "It is about a card."}}
    other = litellm.systemone(
        model="typesafe/jev-latest", state={"note": TEXT}, questions=noul, api_base=url, api_key="unused"
    )
    expect(0 <= other.answers["card"].noul <= 1, other)


def expect(right: object, detail: object) -> None:
    """Raise `AssertionError` with what was told, unless it is right."""
    if not right:
        raise AssertionError(detail)


if __name__ == "__main__":
    check(sys.argv[1])
    print("LangChain, LiteLLM decisions and LiteLLM systemone: answered")
