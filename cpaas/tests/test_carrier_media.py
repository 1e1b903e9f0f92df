"""Where media of inbound texts may be fetched, and which hosts see the carrier's credentials (facts 5.7)."""

from __future__ import annotations

import pytest

from cpaas.carriers.base import Refused
from cpaas.carriers.media import is_medium, media_request

OWN = "https://api.carrier.test/v1"
HOSTS = ("cdn.test", ".files.test")


def headers_for(url: str, own_url: str = OWN) -> dict[str, str]:
    return dict(media_request(url, own_url=own_url, authorization="Basic s3cret", hosts=HOSTS).headers)


@pytest.mark.parametrize("url", ["https://api.carrier.test/v1/m/1", "https://API.carrier.test:443/other?x=1"])
def test_the_carriers_own_interface_gets_the_credentials(url: str) -> None:
    assert headers_for(url)["Authorization"] == "Basic s3cret"


@pytest.mark.parametrize(
    "url", ["https://cdn.test/a", "https://a.files.test/b", "https://api.carrier.test:8443/a", "https://cdn.test:444/a"]
)
def test_other_hosts_of_the_carrier_are_asked_without_them(url: str) -> None:
    assert "Authorization" not in headers_for(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/a",
        "https://files.test/a",
        "https://notfiles.test/a",
        "https://cdn.test.evil.test/a",
        "http://cdn.test/a",
        "http://api.carrier.test/v1/m/1",
        "https://api.carrier.test@evil.test/",
        "https://api.carrier.test:x/",
        "https://",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        headers_for(url)


def test_a_simulator_on_this_machine_may_redirect_to_another_port_of_it() -> None:
    own = "http://127.0.0.1:8103/twilio"
    assert headers_for("http://127.0.0.1:8103/media/1", own)["Authorization"]
    assert "Authorization" not in headers_for("http://127.0.0.1:8100/media/1", own)


def test_a_carrier_without_known_hosts_gets_no_credentials() -> None:
    assert dict(media_request("https://anywhere.test/a.jpg", hosts=None).headers) == {"Accept": "*/*"}


def test_layout_parts_and_broken_links_are_no_media() -> None:
    urls = ["https://m.test/a.smil", "https://m.test/a.SMIL?x=1", "javascript:alert(1)", "http://[", "https://m.test/a"]
    assert [url for url in urls if is_medium(url)] == ["https://m.test/a"]
