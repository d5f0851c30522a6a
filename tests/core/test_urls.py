"""URLs as text: which are refused, what may be shown of them, and the file names they give."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smartremote_cli.core.file_names import MAX_NAME, file_name
from smartremote_cli.core.urls import check_url, credentials_of, origin_of, redact, without_credentials
from smartremote_cli.errors import UsageError

# -- what is a URL --


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("http://h", "http://h"),
        ("HTTPS://Example.org:8443/a?b=c", "https://Example.org:8443/a?b=c"),
        ("http://h/a#part", "http://h/a"),
        ("http://h/a?x=1#part?y", "http://h/a?x=1"),
        ("http://user:pw@h/", "http://user:pw@h/"),
        ("http://[::1]:8000/a", "http://[::1]:8000/a"),
        ("http://h:65535/", "http://h:65535/"),
        ("http://h.example./", "http://h.example./"),
        ("http://bücher.example/é?ü", "http://bücher.example/é?ü"),
        ("http://h/%2F%00?sig=a%2Bb%3D&x=%20", "http://h/%2F%00?sig=a%2Bb%3D&x=%20"),
        ("http://h//a/../b;c", "http://h//a/../b;c"),
    ],
)
def test_a_url_is_kept_as_it_is_but_for_its_fragment(url: str, checked: str) -> None:
    assert check_url(url) == checked
    assert check_url(checked) == checked


@pytest.mark.parametrize(
    "url",
    [
        *[
            "",
            "h",
            "h/file",
            "/file",
            "//h/file",
            "ftp://h/f",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http:h",
        ],
        *[
            "http://",
            "http:///a",
            "http:/h/a",
            "http://?q",
            "http://#f",
            "http://:80/",
            "http://u:p@/",
            "http://@",
        ],
        *["http://h:0/", "http://h:65536/", "http://h:-1/", "http://h:x/", "http://h:8 0/", "http://[::1/a"],
        *[
            "http://::1/",
            "http://[zz]/",
            "http://h/a b",
            " http://h/",
            "http://h/\n",
            "http://h\t/",
            "http://h/\0",
        ],
        *[
            "http://h/\x7f",
            "http://h/\x85",
            "http://h/\u2028",
            "http://h/\xa0",
            "http://h/\udce9",
            "\x1bhttp://h/",
        ],
        *["http://exa\u2100mple/", "http://a..b/", "http://.h/", "http://./", f"http://{'h' * 64}.example/"],
    ],
)
def test_anything_else_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_url(url)
    assert caught.value.exit_code == 2


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("htps:/@[]?#%.19 ", max_size=20).map("http://{}".format))
def test_no_text_raises_anything_but_a_usage_error(text: str) -> None:
    redact(text)
    try:
        url = check_url(text)
    except UsageError:
        return
    assert origin_of(url)[1]
    assert credentials_of(without_credentials(url)) is None
    assert file_name(url, None)
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "pair", "without"),
    [
        ("http://h/a", None, "http://h/a"),
        ("http://user@h/a", ("user", ""), "http://h/a"),
        ("http://u%40x:p%3Aw%2F@h:81/a?b", ("u@x", "p:w/"), "http://h:81/a?b"),
        ("http://u:p@x@h/a@b", ("u", "p@x"), "http://h/a@b"),
        ("http://u:p:w@[::1]:80/", ("u", "p:w"), "http://[::1]:80/"),
        ("http://:pw@h/", ("", "pw"), "http://h/"),
    ],
)
def test_credentials_are_taken_out_of_the_url(url: str, pair: tuple[str, str] | None, without: str) -> None:
    assert credentials_of(url) == pair
    assert without_credentials(url) == without


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h/a", "HTTP://H:80/b?c", True),
        ("https://h/", "https://u:p@h:443/", True),
        ("http://h/", "https://h/", False),
        ("http://h/", "http://h:81/", False),
        ("http://h/", "http://h.example/", False),
        ("http://h/", "http://h@evil/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin_of(one) == origin_of(other)) == same


# -- what may be shown --


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h:81/a/b.iso", "https://h:81/a/b.iso"),
        ("https://h/@scope/pkg", "https://h/@scope/pkg"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("https://user:pw@h/a", "https://h/a"),
        ("https://user@h/a", "https://h/a"),
        ("https://h/a?X-Amz-Signature=abc", "https://h/a?…"),
        ("https://h/a?", "https://h/a"),
        ("https://h/a#b", "https://h/a"),
        ("/other?sig=abc", "/other?…"),  # a relative redirect
        ("example.org/file", "example.org/file"),
        ("ftp://u:p@h/f", "ftp://h/f"),
        ("user:pw@h/a", "…"),
        ("http://user:p/w@h/a", "http://…"),  # not escaped: the URL ends in the middle of the password
        ("http://user:p#w@h/a", "http://…"),
        ("http://user:pw@[::1/a", "…"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert redact(url) == shown


# Secrets are in capitals, all else is not.
secret = st.text("QXZ", min_size=1, max_size=4)
escaped = st.text("QXZ/?#@: %", min_size=1, max_size=8).map(lambda text: "Q" + quote(text, safe=""))
careless = st.builds(
    lambda a, mark, b: a + mark + b, secret, st.sampled_from([*"/?#@:[]\\%&\u2100", ""]), secret
)
schemes = st.sampled_from(["http://", "https://", "HTTP://", "ftp://", "//", "http:/", "http:", ""])
hosts = st.sampled_from(["h", "h:81", "[::1]", "[::1", "h:x", "h\u2100", "", "h:99999"])
queries = st.just("") | st.builds("?k={}&{}".format, secret | careless, secret)


@settings(deadline=None)
@given(schemes, secret, escaped | careless, hosts, st.sampled_from(["", "/", "/a", "/@a/b"]), queries)
@example("http://", "Q", "#Z", "h", "/", "")
@example("http://", "Q", "/Z", "h", "/", "")
def test_no_error_shows_a_password_or_the_value_of_a_query(
    scheme: str, user: str, password: str, host: str, path: str, query: str
) -> None:
    url = f"{scheme}{user}:{password}@{host}{path}{query}"
    shown = [redact(url)]
    try:
        check_url(url)
    except UsageError as error:
        shown += [str(error), repr(error.__cause__)]
    for text in shown:
        assert not set(text) & set("QXZ"), (url, text)


# -- which names may be written --

HERE = "https://h/dir/from-url.bin"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/file.iso", "file.iso"),
        ("https://h/a/file.iso?x=/y.zip#/z", "file.iso"),
        ("https://h/a%20b%C3%A9.iso", "a bé.iso"),
        ("https://h/a%2Fb.iso", "b.iso"),
        ("https://h/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://h/..%5C..%5Cboot.ini", "boot.ini"),
        ("https://h/%2e%2e", "download"),
        ("https://h/.bashrc", "bashrc"),
        ("https://h/a%00b%0A%1b[31m", "a_b__[31m"),
        ("https://h/%ff.iso", "\ufffd.iso"),
        ("https://h/a/", "download"),
        ("https://h", "download"),
        ("https://h?x=file.iso", "download"),
    ],
)
def test_without_a_disposition_the_urls_last_segment_is_the_name(url: str, name: str) -> None:
    assert file_name(url, None) == file_name(url, "") == file_name(url, "inline") == name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.iso"', "a b.iso"),
        ("attachment; filename=a.iso", "a.iso"),
        ("attachment; filename=a b.iso ; x=y", "a b.iso"),
        ("ATTACHMENT;FILENAME = a.iso;", "a.iso"),
        ("filename=a.iso", "a.iso"),
        (r'attachment; filename="a\"b\\c;d.iso"', "c;d.iso"),
        ('attachment; x="; filename=evil"; filename="good.iso"', "good.iso"),
        ("attachment; filename=\"filename*=UTF-8''evil\"", "filename*=UTF-8''evil"),
        ("attachment; notfilename=evil; filename=good", "good"),
        ('attachment; filename="first"; filename="second"', "first"),
        ('attachment; filename="open.iso', "open.iso"),
        ("attachment; filename*=UTF-8''%e2%82%ac%20rates.txt", "€ rates.txt"),
        ("attachment; filename*=utf-8'en'a.txt; filename=b.txt", "a.txt"),
        ("attachment; filename=\"b.txt\"; filename*=iso-8859-1''%A3.txt", "£.txt"),
        ("attachment; filename=b.txt; filename*=UTF-8''%ff.txt", "b.txt"),  # not what it says
        ("attachment; filename=b.txt; filename*=no-such''%61.txt", "b.txt"),
        ("attachment; filename=b.txt; filename*=hex''%61", "b.txt"),
        ("attachment; filename=b.txt; filename*=a.txt", "b.txt"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx.txt", "x.txt"),
        ('attachment; filename="na\xc3\xafve.txt"', "naïve.txt"),  # UTF-8, read as Latin-1
        ('attachment; filename="na\xefve.txt"', "naïve.txt"),
        ("attachment; filename=", "from-url.bin"),
        ('attachment; filename=""', "from-url.bin"),
        ('attachment; filename="/"', "from-url.bin"),
        ('attachment; filename=".."', "from-url.bin"),
        ("attachment", "from-url.bin"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\dir\\\\x.exe"', "x.exe"),
        ('attachment; filename="..\\..\\x"', "x"),
        ('attachment; filename=".ssh"', "ssh"),
        ('attachment; filename=" . .ssh. . "', "ssh"),
        ('attachment; filename="-rf"', "rf"),
        ('attachment; filename="-.-.bashrc"', "bashrc"),
        ('attachment; filename="a\r\nb\x1b\x7f\x9b\u202ec"', "a__b____c"),
        ('attachment; filename="CON"', "_CON"),
        ('attachment; filename="-nul.txt"', "_nul.txt"),
        ('attachment; filename="console.txt"', "console.txt"),
        ('attachment; filename="x.iso.part"', "x.iso.part_"),
        ('attachment; filename="x.PART."', "x.PART_"),
        ('attachment; filename="x.part.tmp"', "x.part.tmp_"),
        ('attachment; filename="x.PART.sums"', "x.PART.sums_"),
        ('attachment; filename=".part"', "part"),
        ('attachment; filename="x.part.zip"', "x.part.zip"),
    ],
)
def test_a_disposition_names_the_file_but_not_its_folder(disposition: str, name: str) -> None:
    assert file_name(HERE, disposition) == name


@pytest.mark.parametrize(
    ("long", "name"),
    [
        ("a" * 300 + ".tar.gz", "a" * 237 + ".gz"),
        ("é" * 200 + ".zip", "é" * 118 + ".zip"),
        ("a" * 300, "a" * 240),
        ("." + "a" * 300, "a" * 240),
        ("a." + "b" * 300, "a." + "b" * 238),
        ("a" * 235 + ".part" + "b" * 20, "a" * 235 + ".part_"),
    ],
)
def test_a_long_name_is_cut_before_its_suffix(long: str, name: str) -> None:
    assert file_name(HERE, f"attachment; filename*=UTF-8''{quote(long)}") == name


@settings(deadline=None)
@given(
    st.text(max_size=400)
    | st.text("./\\-~ ParT.tmpcon\0\x1b\u202eé", max_size=300)
    | st.builds(
        "{}{}".format, st.text("aé.- ", min_size=200, max_size=260), st.sampled_from([".part", ".tmp", ".x"])
    ),
    st.sampled_from(['a; filename="{}"', "a; filename={}", "filename*=UTF-8''{}", "{}"]),
)
def test_no_name_that_a_server_sends_leaves_the_folder_or_hides_in_it(text: str, form: str) -> None:
    for value in (text, quote(text, safe="", errors="replace")):
        for name in (
            file_name(HERE, form.format(value)),
            file_name(f"http://h/{quote(value, errors='replace')}", None),
        ):
            assert name == os.path.basename(name)
            assert name.isprintable() and "\\" not in name
            assert name[0] not in ".- " and name[-1] not in ". "
            assert not name.lower().endswith((".part", ".part.tmp", ".part.sums"))
            assert len(os.fsencode(f"{name}.part.tmp")) <= 255
            assert len(name.encode()) <= MAX_NAME + 1
