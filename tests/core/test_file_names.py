"""Names as servers send them, against what Chrome, Firefox and curl -J save; and names that a folder refuses."""

from __future__ import annotations

import base64
import warnings
from encodings.aliases import aliases
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.core.file_names import BESIDE, file_name, safer_name, shortened, spelled

URL = "https://h/dir/from-url.bin"


def header(text: str, charset: str = "utf-8") -> str:
    """Return *text* as it arrives in a header of these bytes: one character a byte."""
    return text.encode(charset).decode("latin-1")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        # percent signs in a plain filename
        ('attachment; filename="MetLife%20MET%20US.xlsx"', "MetLife MET US.xlsx"),
        ("attachment; filename=%e3%83%86%e3%82%b9%e3%83%88.bin", "テスト.bin"),
        ('attachment; filename="100% sure.txt"', "100% sure.txt"),
        ('attachment; filename="50%-60%zz.txt"', "50%-60%zz.txt"),
        ('attachment; filename="caf%E9.txt"', "caf%E9.txt"),  # not UTF-8: they may mean themselves
        ('attachment; filename="..%2F..%2Fetc%2Fpasswd"', "passwd"),
        ('attachment; filename="a%00b%1b.txt"', "a_b_.txt"),
        (header('attachment; filename="ü%20ü.txt"'), "ü ü.txt"),
        # encoded words
        ('attachment; filename="=?UTF-8?B?5Lit5paHLnppcA==?="', "中文.zip"),
        ("attachment; filename==?utf-8?b?5Lit5paHLnppcA?=", "中文.zip"),  # its padding is missing
        ('attachment; filename="=?ISO-8859-1?Q?caf=E9_au_lait.zip?="', "café au lait.zip"),
        ('attachment; filename="=?UTF-8*en?Q?a=C3=A9?="', "aé"),
        ('attachment; filename="=?UTF-8?Q?a=C3?= =?UTF-8?Q?=A9.zip?="', "aé.zip"),  # cut within a character
        ('attachment; filename="=?UTF-8?Q?a?= =?ISO-8859-1?Q?=E9?=.zip"', "aé.zip"),
        ('attachment; filename="=?GB2312?B?1tDOxA==?=.zip"', "中文.zip"),
        ('attachment; filename="=?no-such?Q?a?=.zip"', "=_no-such_Q_a_=.zip".replace("_", "?")),
        ('attachment; filename="=?UTF-8?Q?..=2F..=2Fx?="', "x"),
        # RFC 8187 and its neighbours
        ("attachment; filename*=UTF-8''a b.txt", "a b.txt"),
        ("attachment; filename*=\"UTF-8''quoted%20ext.bin\"", "quoted ext.bin"),
        (header("attachment; filename*=UTF-8''中文.zip"), "中文.zip"),  # raw bytes, though it says encoded
        ("attachment; filename*=UTF8''a%20b; filename=c", "a b"),
        ("attachment; filename*=gbk''%D6%D0.zip", "中.zip"),
        ("attachment; filename*=UTF-8''; filename=b.txt", "b.txt"),
        ("attachment; filename*=unicode_escape''%5Cq.txt; filename=b.txt", "b.txt"),
        ("attachment; filename*=zlib''x.txt; filename=b.txt", "b.txt"),
        # continuations
        ("attachment; filename*0*=UTF-8''%E4%B8%AD; filename*1*=%E6%96%87; filename*2=\".zip\"", "中文.zip"),
        ('attachment; filename*1="b.txt"; filename*0="a-"', "a-b.txt"),
        ('attachment; filename*0="a"; filename*2="c"; filename=whole.txt', "a"),
        ("attachment; filename*0*=UTF-8''a; filename*=UTF-8''b", "b"),
        # backslashes
        ('attachment; filename="C:\\Users\\x\\rep.doc"', "rep.doc"),
        ('attachment; filename="C:\\new\\table\\"', "from-url.bin"),
        ('attachment; filename="\\\\server\\share\\x.doc"', "x.doc"),
        ('attachment; filename="foo\\"bar.bin"', 'foo"bar.bin'),
        ("attachment; filename=C:\\dir\\x.doc", "x.doc"),
        # raw bytes
        (header('attachment; filename="café ☃.zip"'), "café ☃.zip"),
        (header('attachment; filename="café.zip"', "latin-1"), "café.zip"),
        (header('attachment; filename="10 € “net”.zip"', "cp1252"), "10 € “net”.zip"),
        ("attachment; filename='single.bin'", "'single.bin'"),
    ],
)
def test_a_name_is_what_browsers_save(disposition: str, name: str) -> None:
    assert file_name(URL, disposition) == name


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=40)
)
def test_every_way_to_encode_a_name_gives_the_same(text: str) -> None:
    plain = file_name(URL, f"attachment; filename*=UTF-8''{quote(text, safe='')}")
    word = base64.b64encode(text.encode()).decode()
    assert file_name(URL, f'attachment; filename="=?UTF-8?B?{word}?="') == plain
    assert file_name(URL, f'attachment; filename="{quote(text, safe="")}"') == plain


@pytest.mark.parametrize("charset", sorted(set(aliases.values()) | {
    "hex", "zlib", "rot13", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7", "bz2",
    "uu", "mbcs", "no-such", "a" * 500, "utf-16", "utf-32", "..", "x.y",
}))  # fmt: skip
def test_no_charset_is_more_than_a_name(charset: str) -> None:
    for form in (f"filename*={charset}''%5Cx%5C", f'filename="=?{charset}?Q?=5Cq=5C?="'):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert file_name(URL, f"attachment; {form}")


# -- what a folder refuses


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=200)


@given(
    names | st.builds("{}{}".format, names, st.sampled_from([".zip", ".tar.gz", *BESIDE])),
    st.integers(16, 255),
)
def test_a_shortened_name_fits_and_keeps_its_ending(name: str, room: int) -> None:
    short = shortened(name, room)
    assert 0 < len(short.encode()) <= room
    assert not short.lower().endswith(BESIDE)
    assert shortened(short, room) == short
    if len(name.encode()) > room and name.endswith(".zip"):
        assert short.endswith(".zip")


@pytest.mark.parametrize(
    ("name", "room", "short"),
    [
        ("a.zip", 143, "a.zip"),
        ("長い名前" * 15 + ".zip", 143, "長い名前" * 11 + "長い" + ".zip"),
        ("a" * 300, 143, "a" * 143),
        ("x" * 136 + ".part", 141, "x" * 136 + ".par_"),
        (". " * 100 + ".zip", 20, "_.zip"),
        (spelled("中" * 60 + ".zip", "ascii"), 143, spelled("中" * 46 + ".zip", "ascii")),
    ],
)
def test_names_are_cut_between_characters(name: str, room: int, short: str) -> None:
    assert shortened(name, room) == short


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("plain.zip", []),
        ('a:b?c*d"e<f>g|h.zip', ["a_b_c_d_e_f_g_h.zip"]),
        ("12:30 café.zip", ["12_30 café.zip", "12_30 caf_.zip"]),
        ("dots. .", ["dots"]),
        ("café.zip", ["caf_.zip"]),
        ("\udcc3\udca9.zip", ["__.zip"]),
    ],
)
def test_a_refused_name_has_safer_spellings_until_there_is_none(name: str, spellings: list[str]) -> None:
    tried = []
    while (safer := safer_name(name)) != name:
        tried.append(safer)
        name = safer
    assert tried == spellings


@given(st.text(min_size=1))
def test_spelling_a_name_more_safely_comes_to_an_end(name: str) -> None:
    for _ in range(3):
        name = safer_name(name)
    assert safer_name(name) == name
    assert name.isascii()
    assert not set(name) & set(':?*"<>|/\\\0')


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("utf-8", "café 中.bin".encode()),
        ("ascii", "café 中.bin".encode()),
        ("iso-8859-1", b"caf\xe9 _.bin"),
    ],
)
def test_a_name_can_be_written_whatever_the_locale(encoding: str, data: bytes) -> None:
    assert spelled("café 中.bin", encoding).encode(encoding, "surrogateescape") == data
