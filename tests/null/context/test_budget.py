"""How many tokens a specialist's view may take, where its section does not say."""

import pytest

from coterie.config.file import parse_config

FILE = """
[specialists.triage]
task = "classify"
data = "a.csv"

[specialists.reply]
task = "generate"
data = "a.jsonl"
reads = ["intent"]
model = "small"

[specialists.ask]
task = "answer"
knowledge = ["help"]
model = "small"

[specialists.lawyer]
task = "answer"
knowledge = ["help"]
passages = 100

[specialists.short]
task = "classify"
data = "a.csv"
view_tokens = 300

[models.small]
engine = "llama"
name = "smollm2"
window = 3000

[knowledge.help]
paths = ["help"]
"""


@pytest.mark.parametrize(
    ("name", "tokens"), [("triage", 8192), ("reply", 1500), ("ask", 8192), ("lawyer", 25600), ("short", 300)]
)
def test_budget(name, tokens):
    """As the section says, else half the model's window; more where no model reads it, or only a choice of it.

    All passages that an `answer` specialist asks for fit.
    """
    assert parse_config(FILE).view_tokens(name) == tokens
