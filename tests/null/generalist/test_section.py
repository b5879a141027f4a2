"""What `[generalist]` says, checked before anything runs."""

import pytest

from coterie.config.file import parse_config
from coterie.errors import ConfigError

MODELS = "".join(
    f'[models.{name}]\nengine = "openai"\nbase_url = "https://llm.example/v1"\nname = "{name}"\n' for name in ("a", "b")
)


def test_defaults():
    """Left alone, nothing that costs more is done: no conversation, no composing, no hedge, no fallback."""
    section = parse_config(f'{MODELS}[generalist]\nmodel = "a"').generalist

    assert (section.history, section.synthesise, section.hedge_after, section.fallback) == (False, False, None, ())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('fallback = ["b", "c"]', "generalist.fallback is 'c', but"),
        ("hedge_after = 0", "generalist.hedge_after"),
        ("deadline = 0", "generalist.deadline"),
        ("rounds = 0", "generalist.rounds"),
        ("money = -1", "generalist.money"),
        ("hedge_afer = 2", "did you mean 'hedge_after'"),
    ],
)
def test_mistakes(line, problem):
    """A model that is not there, a value out of bounds and an unknown key are refused with their place."""
    with pytest.raises(ConfigError, match=problem):
        parse_config(f'{MODELS}[generalist]\nmodel = "a"\n{line}')
