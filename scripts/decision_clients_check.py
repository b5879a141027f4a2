"""Ask a served network through LiteLLM's and LangChain's decision classes, in an environment of their own.

    coterie -C FOLDER serve &
    python scripts/decision_clients_check.py http://127.0.0.1:8321

Their dependencies do not fit beside those of the tests, so the script makes a virtual environment, installs both, and
asks the same questions through each. It ends with 1 if an answer does not come back in the client's own types.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PACKAGES = ("litellm>=1.110", "langchain-openai>=1.7")
CHECK = """
import sys
import litellm
from langchain_openai.decisions import Choice, OpenAIDecisions, Predicate, Score

url = sys.argv[1]
client = OpenAIDecisions(model="gpt-6-luna", base_url=f"{url}/v1", api_key="unused")
questions = {
    "topic": Choice(instructions="What is it about?", choices={"a card": None, "the weather": "rain or sun"}),
    "card": Predicate(instructions="It is about a card."),
    "anger": Score(instructions="How angry?", levels=["calm", "angry"]),
}
told = client.invoke({"input": {"note": "Where is my card?", "age": 43}, "questions": questions})
assert set(told.answers) == set(questions), told
assert abs(sum(told.choices["topic"].probabilities.values()) - 1) < 1e-6, told
choices = [{"value": "a card"}, {"value": "the weather"}]
asked = [{"type": "choice", "name": "topic", "instructions": "What is it about?", "choices": choices}]
one = litellm.decisions(
    model="openai/gpt-6-luna", input="Where is my card?", questions=asked, api_base=f"{url}/v1", api_key="unused"
)
assert one.answers[0].choice in {"a card", "the weather"}, one
noul = {"card": {"type": "noul", "instructions": "It is about a card."}}
other = litellm.systemone(
    model="typesafe/jev-latest", state={"note": "Where is my card?"}, questions=noul, api_base=url, api_key="unused"
)
assert 0 <= other.answers["card"].noul <= 1, other
print("LangChain, LiteLLM decisions and LiteLLM systemone: answered")
"""


def main(url: str) -> int:
    """Make the environment, and ask."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)  # noqa: S603 - our own words
        return subprocess.run([python, "-c", CHECK, url], check=False).returncode  # noqa: S603 - as above


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
