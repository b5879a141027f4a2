"""Spans are made only where the file says where they go."""

import pytest

from coterie import assembly
from coterie.config.file import parse_config
from coterie.errors import ConfigError, ExtraMissing


def test_nowhere_by_default():
    """Without an endpoint the store is the store, and nothing of OpenTelemetry is needed."""
    store = object()
    assert assembly._observed(parse_config(""), store) is store


def test_extra(monkeypatch):
    """With one the extra is needed, and what to install is said."""
    monkeypatch.setattr(assembly, "find_spec", lambda _: None)
    config = parse_config('[observe]\notlp_endpoint = "http://localhost:4318/v1/traces"\n')
    with pytest.raises(ExtraMissing, match="opentelemetry-sdk") as caught:
        assembly._observed(config, object())
    assert "coterie[otel]" in caught.value.hint


@pytest.mark.parametrize("endpoint", ["localhost:4318", "file:///x", "http://a b"])
def test_no_endpoint(endpoint):
    """An endpoint is an HTTP address."""
    with pytest.raises(ConfigError, match="otlp_endpoint"):
        parse_config(f'[observe]\notlp_endpoint = "{endpoint}"\n')
