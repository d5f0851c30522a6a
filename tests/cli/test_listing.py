"""What zip-ls prints, compared with the real unzip where it is installed."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.archives.listing import list_archive
from smartremote_cli.archives.zip_member import Member
from smartremote_cli.cli.listing import Patterns, _local_minute, json_lines, names, raw_names, table, write
from smartremote_cli.core.text import printable
from smartremote_cli.errors import DamagedError

needs_unzip = pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")


def entry(name: str, *, size: int = 0, dos_time: int = 33 << 16, flags: int = 0x800, crc: int = 0) -> Member:
    raw = name.encode("utf-8", "surrogateescape")
    return Member(raw, flags, 8, dos_time, crc, size // 2, size, 42, b"")


def zip_of(*infos: zipfile.ZipInfo, comment: bytes = b"", content: bytes = b"12345") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for info in infos:
            archive.writestr(info, b"" if info.is_dir() else content)
    return out.getvalue()


def member(name: str, *when: int, extra: bytes = b"") -> zipfile.ZipInfo:
    year, month, day, hour, minute, second = when or (2024, 1, 2, 3, 4, 6)
    info = zipfile.ZipInfo(name, (year, month, day, hour, minute, second))
    info.extra = extra
    return info


def listed(archive: bytes, title: str = "a.zip", patterns: tuple[str, ...] = ()) -> bytes:
    opened = list_archive(io.BytesIO(archive))
    out = io.BytesIO()
    write(table(Patterns(patterns).select(opened), title, opened.comment), out)
    return out.getvalue()


def unzips(archive: bytes, folder: Path, *patterns: str, zone: str = "UTC") -> bytes:
    """Return what `unzip -l` prints to stdout; its warnings go elsewhere."""
    (folder / "a.zip").write_bytes(archive)
    environment = {"LC_ALL": "C.UTF-8", "TZ": zone}
    command = ["unzip", "-l", "a.zip", *patterns]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).stdout


@pytest.fixture(autouse=True)
def own_time_zone() -> Iterator[None]:
    yield
    time.tzset()  # monkeypatch has put TZ back by now
    _local_minute.cache_clear()


def stamp(seconds: int) -> bytes:
    return struct.pack("<HHBI", 0x5455, 5, 1, seconds)


def test_the_table_reads_as_unzip_prints_it() -> None:
    archive = zip_of(member("folder/"), member("folder/a file.txt"), member("☃", 1980, 1, 1, 0, 0, 0))
    assert listed(archive, "https://example.org/a.zip").decode() == (
        "Archive:  https://example.org/a.zip\n"
        "  Length      Date    Time    Name\n"
        "---------  ---------- -----   ----\n"
        "        0  2024-01-02 03:04   folder/\n"
        "        5  2024-01-02 03:04   folder/a file.txt\n"
        "        5  1980-01-01 00:00   ☃\n"
        "---------                     -------\n"
        "       10                     3 files\n"
    )


@needs_unzip
@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(zip_of(member("one")), id="one member"),
        pytest.param(zip_of(*[member(f"d/{number}.txt") for number in range(2500)]), id="many"),
        pytest.param(zip_of(member("naïve ☃"), member("日本/語"), member("nbsp\u00a0\u3000")), id="utf-8"),
        pytest.param(zip_of(member("esc\x1b[31m"), member("tab\t"), member("new\nline")), id="controls"),
        pytest.param(zip_of(member("bad", 2107, 15, 31, 31, 63, 62)), id="impossible date"),
        pytest.param(zip_of(member("zero", 1980, 0, 0, 0, 0, 0)), id="no date"),
        pytest.param(zip_of(member("%s%d"), member("back\\slash"), member("^[")), id="odd"),
        pytest.param(zip_of(member("a"), comment=b"hello\nsecond line"), id="comment"),
        pytest.param(zip_of(member("a"), comment=b"ends\tits line\r\n"), id="comment with line end"),
        pytest.param(zip_of(member("a"), comment=b"two\n\n"), id="comment with empty line"),
        pytest.param(zip_of(member("a"), comment="naïve".encode()), id="comment in utf-8"),
        pytest.param(zip_of(member("ut", extra=stamp(1_700_000_059))), id="time stamp"),
        pytest.param(zip_of(member("late", extra=stamp(2_300_000_000))), id="time stamp past 2038"),
        pytest.param(zip_of(member("late", 2042, 1, 1, 0, 0, 0, extra=stamp(2_300_000_000))), id="both past"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "EST5EDT,M3.2.0,M11.1.0", "XXX-5:45"])
def test_the_table_is_byte_for_byte_that_of_unzip(
    archive: bytes, zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    _local_minute.cache_clear()
    assert listed(archive) == unzips(archive, tmp_path, zone=zone)


@needs_unzip
def test_sizes_wider_than_their_column_are_printed_as_by_unzip(tmp_path: Path) -> None:
    sizes = [0, 999_999_999, 4_294_967_294, 5 * 10**12]
    headers = []
    for size in sizes:
        extra = struct.pack("<HHQ", 1, 8, size) if size >= 0xFFFF_FFFF else b""
        known = min(size, 0xFFFF_FFFF)
        headers.append(
            struct.pack("<4sHHHHHHIIIHH", b"PK\1\2", 45, 45, 0, 0, 0, 33, 0, 0, known, 1, len(extra))
            + bytes(14)
            + b"x"
            + extra
        )
    directory = b"".join(headers)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 4, 4, len(directory), 30, 0)
    archive = b"PK\3\4" + bytes(26) + directory + end
    assert listed(archive) == unzips(archive, tmp_path)


# -- characters that act


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 日本 😀", "naïve 日本 😀"),
        ("\x1b[2J", "^[[2J"),
        ("\0\x01\t\n\r\x1f\x7f", "^@^A^I^J^M^_^?"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u200e\u200f\u061c\u2066\u2069", "\\u200e\\u200f\\u061c\\u2066\\u2069"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("nbsp\u00a0, ideographic\u3000, joined\u200d", "nbsp\u00a0, ideographic\u3000, joined\u200d"),
    ],
)
def test_what_acts_on_a_terminal_is_shown_instead(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_printable_text_is_one_line_that_any_terminal_only_shows(text: str) -> None:
    shown = printable(text)
    assert len((shown + "x").splitlines()) == 1
    assert printable(shown) == shown
    shown.encode()


def test_an_archive_cannot_act_through_its_name_nor_its_comment() -> None:
    out = listed(zip_of(member("a"), comment=b"\x1b]0;owned\x07\nline"), "http://x/\x1b[31m")
    assert out.startswith(b"Archive:  http://x/^[[31m\n^[]0;owned^G\nline\n  Length")


# -- the other formats


def written(lines: Iterator[str], **how: str) -> bytes:
    out = io.BytesIO()
    write(lines, out, **how)
    return out.getvalue()


NAMES = ["a", "new\nline", "\x1b[31m", "caf\udcff", "☃"]


def test_names_are_one_a_line_and_nothing_else() -> None:
    assert written(names(map(entry, NAMES))) == "a\nnew^Jline\n^[[31m\ncaf\\xff\n☃\n".encode()


def test_raw_names_are_as_they_are_between_nuls() -> None:
    out = written(raw_names(map(entry, NAMES)), errors="surrogateescape")
    assert out == b"a\0new\nline\0\x1b[31m\0caf\xff\0\xe2\x98\x83\0"


def test_names_that_a_terminal_cannot_encode_are_written_all_the_same() -> None:
    assert written(names([entry("☃ é")]), encoding="latin-1") == b"\\u2603 \xe9\n"


def test_json_has_one_object_a_line_with_every_key() -> None:
    known = entry(
        'quo"te\n', size=10, dos_time=44 << 25 | 2 << 21 | 29 << 16 | 3 << 11, crc=0xABC, flags=0x801
    )
    unknown = entry("d/\udcff/", dos_time=0)
    first, second = map(json.loads, written(json_lines([known, unknown])).splitlines())
    assert first == {
        "name": 'quo"te\n',
        "size": 10,
        "compressed_size": 5,
        "method": "deflate",
        "modified": "2024-02-29T03:00:00",
        "crc32": "00000abc",
        "offset": 42,
        "is_dir": False,
        "encrypted": True,
    }
    assert second["modified"] is None
    assert (second["name"], second["is_dir"], second["encrypted"]) == ("d/\udcff/", True, False)


@given(st.text(st.characters()))
def test_every_name_survives_json(name: str) -> None:
    raw = name.encode("utf-8", "surrogatepass")
    (line,) = json_lines([Member(raw, 0x800, 0, 0, 0, 0, 0, 0, b"")])
    assert line.isascii()
    assert json.loads(line)["name"].encode("utf-8", "surrogateescape") == raw.split(b"\0")[0]


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_lines_are_written_whole_in_order_and_in_few_pieces(count: int) -> None:
    pieces: list[bytes] = []

    class Out(io.BytesIO):
        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            pieces.append(data)
            return len(data)

    write((f"{number}\n" for number in range(count)), Out())
    assert b"".join(pieces).split() == [b"%d" % number for number in range(count)]
    assert len(pieces) == -(-count // 1000)


def test_what_was_listed_before_the_damage_is_printed() -> None:
    def lines() -> Iterator[str]:
        yield "first\n"
        yield "second\n"
        raise DamagedError("a.zip", "broken")

    out = io.BytesIO()
    with pytest.raises(DamagedError):
        write(lines(), out)
    assert out.getvalue() == b"first\nsecond\n"


# -- patterns

ZOO = ["a*b", "aXb", "a/b/c.txt", "^x", "!x", "ax", "a]x", "a[x", "a\\x", "A/B", "d/"]


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("a*b", ["a*b", "aXb"]),
        (r"a\*b", ["a*b"]),
        ("a[*]b", ["a*b"]),
        ("[^a]x", ["^x", "!x"]),
        ("[!a]x", ["^x", "!x"]),
        ("[a-c]x", ["ax"]),
        ("?x", ["^x", "!x", "ax"]),
        ("a[[]x", ["a[x"]),
        (r"a\\x", ["a\\x"]),
        ("a*t", ["a/b/c.txt"]),
        ("a?b?c*", ["a/b/c.txt"]),
        ("A*", ["A/B"]),
        ("d", []),
        ("d*", ["d/"]),
        ("*", ZOO),
        ("", []),
    ],
)
def test_a_pattern_fits_what_it_fits_for_unzip(pattern: str, fitting: list[str], tmp_path: Path) -> None:
    patterns = Patterns([pattern])
    assert [name for name in ZOO if patterns.matches(name)] == fitting
    assert patterns.unmatched == ([] if fitting else [pattern])
    if shutil.which("unzip") and fitting:
        archive = zip_of(*map(member, ZOO))
        assert listed(archive, patterns=(pattern,)) == unzips(archive, tmp_path, pattern)


def test_a_name_is_listed_once_when_any_pattern_fits_and_each_pattern_is_accounted_for() -> None:
    patterns = Patterns(["a*", "nothing", "ab", "ab", "*.none"])
    chosen = [each.name for each in patterns.select(map(entry, ["ab", "ac", "b"]))]
    assert chosen == ["ab", "ac"]
    assert patterns.unmatched == ["nothing", "*.none"]


def test_without_patterns_everything_is_listed() -> None:
    patterns = Patterns([])
    assert [each.name for each in patterns.select([entry("a"), entry("b")])] == ["a", "b"]
    assert patterns.matches("anything")
    assert patterns.unmatched == []


@given(st.text("ab*?[]!^-\\/\n", max_size=12), st.text("ab[]!^-\\/\n", max_size=12))
def test_no_pattern_is_an_error(pattern: str, name: str) -> None:
    Patterns([pattern]).matches(name)


def test_many_stars_take_no_exponential_time() -> None:
    assert not Patterns(["*a" * 30 + "b"]).matches("a" * 3000)
