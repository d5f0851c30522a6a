"""A page of HTML where a file of another kind was asked for."""

from __future__ import annotations

import pytest

from smartremote_cli.protocol.labels import page_instead_of
from tests.support.headers import fields


@pytest.mark.parametrize(
    ("url", "media_type", "name"),
    [
        ("http://h/a.zip", "text/html", "a.zip"),
        ("http://h/a.ZIP?x=y", "Text/HTML; charset=utf-8", "a.ZIP"),
        ("http://h/a.tar.gz/download", "application/xhtml+xml", "a.tar.gz"),
        ("http://h/my%20file.iso", "text/html", "my file.iso"),
        ("http://h/a%1b.iso", "text/html", "a%1b.iso"),
        ("http://h/a.zip", "application/zip", None),
        ("http://h/a.zip", "", None),
        ("http://h/index.html", "text/html", None),
        ("http://h/zip", "text/html", None),
        ("http://h/", "text/html", None),
        ("http://h.zip/", "text/html", None),
    ],
)
def test_a_page_in_place_of_a_file_is_told(url: str, media_type: str, name: str | None) -> None:
    assert page_instead_of(fields(f"Content-Type: {media_type}"), url) == name
