"""Who may reach the gateway."""

import pytest
from starlette.datastructures import Headers

from coterie.errors import SetupError
from coterie.gateway.access import is_loopback, refuse_foreign, refuse_public
from coterie.gateway.errors import WireError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST.", "a.localhost"])
def test_loopback_may_be_listened_on(host):
    """Only this machine reaches these."""
    assert is_loopback(host)
    refuse_public(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "localhost.evil.com", "127.0.0.1.evil"]
)
def test_without_keys_nothing_else_may(host):
    """An address that others reach is refused, with the reason and what to do."""
    with pytest.raises(SetupError, match="there are no keys") as caught:
        refuse_public(host)
    assert "127.0.0.1" in caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost", "localhost:1", "[::1]:8321", ""])
def test_local_programs_come_in(host):
    """Whatever port they name."""
    refuse_foreign(Headers({"host": host}))
    refuse_foreign(Headers({}))


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8321", "192.168.1.5:8321", "[::2]", "[", "127.0.0.1@evil.com", "a" * 9999]
)
def test_a_rebound_name_is_refused(host):
    """A web page whose name was made to resolve to 127.0.0.1 still says its name."""
    with pytest.raises(WireError) as caught:
        refuse_foreign(Headers({"host": host}))
    assert caught.value.code == "forbidden_host"


@pytest.mark.parametrize("origin", ["https://evil.com", "null", "http://evil.com:8321", "file://", "http://[", "junk"])
def test_a_page_of_another_site_is_refused(origin):
    """A browser lets any page post here, and says which one it was."""
    with pytest.raises(WireError) as caught:
        refuse_foreign(Headers({"host": "127.0.0.1:8321", "origin": origin}))
    assert caught.value.code == "forbidden_origin"


def test_a_page_of_this_machine_comes_in():
    """The console, and a developer's page, are served from loopback."""
    refuse_foreign(Headers({"host": "127.0.0.1:8321", "origin": "http://localhost:3000"}))
