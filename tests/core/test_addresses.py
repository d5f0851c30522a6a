"""What a URL comes to on the network."""

from __future__ import annotations

import pytest

from smartremote_cli.core.addresses import Endpoint, absolute_of, endpoint_of, target_of
from smartremote_cli.errors import UsageError


@pytest.mark.parametrize(
    ("url", "endpoint", "host_field"),
    [
        ("http://example.com/x", ("http", "example.com", 80), "example.com"),
        ("HTTPS://Example.COM", ("https", "example.com", 443), "example.com"),
        ("http://h:8080", ("http", "h", 8080), "h:8080"),
        ("http://h:80", ("http", "h", 80), "h"),
        ("http://h:443", ("http", "h", 443), "h:443"),
        ("http://h:", ("http", "h", 80), "h"),
        ("https://me:pw@h:444/", ("https", "h", 444), "h:444"),
        ("http://127.0.0.1:1", ("http", "127.0.0.1", 1), "127.0.0.1:1"),
        ("http://[::1]", ("http", "::1", 80), "[::1]"),
        ("http://[::FFFF:127.0.0.1]:81/", ("http", "::ffff:127.0.0.1", 81), "[::ffff:127.0.0.1]:81"),
        ("http://[fe80::1%25eth0]:81/", ("http", "fe80::1%eth0", 81), "[fe80::1]:81"),
        ("http://b\u00fccher.de/", ("http", "xn--bcher-kva.de", 80), "xn--bcher-kva.de"),
        ("http://B\u00dcCHER.de:81/", ("http", "xn--bcher-kva.de", 81), "xn--bcher-kva.de:81"),
        ("http://xn--bcher-kva.de/", ("http", "xn--bcher-kva.de", 80), "xn--bcher-kva.de"),
        ("http://xn--i-7iq.ws/", ("http", "xn--i-7iq.ws", 80), "xn--i-7iq.ws"),  # which IDNA refuses
        ("http://xn--!/", ("http", "xn--!", 80), "xn--!"),
        ("http://i\u2764.ws/", ("http", "xn--i-7iq.ws", 80), "xn--i-7iq.ws"),
        ("http://i\u2764\ufe0f.ws/", ("http", "xn--i-7iq.ws", 80), "xn--i-7iq.ws"),
        ("http://under_score.example/", ("http", "under_score.example", 80), "under_score.example"),
        ("http://h./", ("http", "h.", 80), "h."),
    ],
)
def test_where_a_url_leads_and_what_the_host_field_says(
    url: str, endpoint: tuple[str, str, int], host_field: str
) -> None:
    assert endpoint_of(url) == Endpoint(*endpoint)
    assert endpoint_of(url).host_field == host_field


@pytest.mark.parametrize(
    "url",
    [
        "http://1.2.3.999/",
        "http://1.2.3.04/",
        "http://\uff4cocalhost/",
        "http://a.xn--/",
        "http://a\u2764b\u00df\u200b/",
    ],
)
def test_a_host_that_cannot_be_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match="not a URL"):
        endpoint_of(url)


def test_a_tunnel_is_asked_for_with_the_port() -> None:
    assert endpoint_of("https://h/").authority == "h:443"
    assert endpoint_of("https://[::1]/").authority == "[::1]:443"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h", "/"),
        ("http://h?q", "/?q"),
        ("http://h/a/b;c=d/e?f=g&h=i", "/a/b;c=d/e?f=g&h=i"),
        ("http://h/a%20b%2Fc%zz%", "/a%20b%2Fc%zz%"),
        ("http://h/\u00e4 b", "/%C3%A4%20b"),
        ('http://h/[1]{2}|3^4`5"6<7>', "/[1]%7B2%7D|3^4%605%226%3C7%3E"),
        ('http://h/x?[1]{2}|3^4`5"6<7>\u00e4?/', "/x?[1]{2}|3^4`5%226%3C7%3E%C3%A4?/"),
        ("http://h/a:b@c!$&'()*+,;=-._~", "/a:b@c!$&'()*+,;=-._~"),
        ("http://h/a/./b/../c", "/a/c"),
        ("http://h/../../a", "/a"),
        ("http://h/a/..", "/"),
        ("http://h/a/b/..", "/a/"),
        ("http://h/a/.", "/a/"),
        ("http://h/a//b/../c", "/a//c"),
        ("http://h/...", "/..."),
        ("http://h/a%2F..%2Fb", "/a%2F..%2Fb"),
        ("http://h//a", "//a"),
    ],
)
def test_what_the_request_line_says(url: str, target: str) -> None:
    assert target_of(url) == target


def test_a_proxy_is_asked_for_the_whole_url() -> None:
    url = "http://H:81/a b?c"
    assert absolute_of(url, endpoint_of(url)) == "http://h:81/a%20b?c"
