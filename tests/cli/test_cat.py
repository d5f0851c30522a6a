"""smartremote cat, against the contract: the bytes asked for, few requests, and never an older version's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.cache import Cache
from tests.support import faults
from tests.support.nginx import nginx_or_skip
from tests.support.server import Patterned, Resource, Server, pattern
from tests.support.tool import Tool, ended

MIB = 1 << 20
GIB = 1 << 30
SIZE = 5 * MIB + 4_321
DATA = pattern(SIZE)
OTHER = pattern(SIZE, seed=1)


def peek(tool: Tool, server: Server, *options: str) -> bytes:
    ran = tool("cat", server.url(), "--offset", "4096", "--length", "512", *options)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


# --- cost ---


def test_a_peek_into_a_gibibyte_is_one_request_of_one_block(tool: Tool) -> None:
    with Server(Patterned(GIB)) as server:
        assert peek(tool, server) == pattern(8192)[4096:4608]
        assert [(seen.method, seen.range) for seen in server.requests] == [("GET", "bytes=0-65535")]
        assert server.body_bytes <= BLOCK


def test_a_second_peek_brings_no_body_and_an_offline_one_asks_nobody(tool: Tool) -> None:
    with Server(Patterned(GIB)) as server:
        first = peek(tool, server)
        server.reset_log()
        assert peek(tool, server) == first
        assert len(server.requests) == 1
        assert server.body_bytes == 0
        server.reset_log()
        assert peek(tool, server, "--offline") == first
        assert server.requests == []


def test_a_peek_at_nginx_costs_the_same(tool: Tool) -> None:
    with nginx_or_skip() as nginx:
        path = nginx.folder / "file.bin"
        with path.open("wb") as file:
            file.truncate(GIB)
            file.seek(700 * MIB)
            file.write(pattern(BLOCK))
        os.utime(path, (time.time() - 3600,) * 2)
        words = ("cat", nginx.url(), "--offset", str(700 * MIB + 100), "--length", "512")
        assert tool(*words).out == pattern(612)[100:]
        assert [line.body_bytes_sent for line in nginx.requests(at_least=1)] == [BLOCK]
        nginx.reset_log()
        assert tool(*words).out == pattern(612)[100:]
        assert [line.body_bytes_sent for line in nginx.requests(at_least=1)] == [0]


@pytest.mark.parametrize(
    ("offset", "length", "blocks"),
    [(0, 1, 1), (BLOCK - 1, 1, 1), (BLOCK - 1, 2, 2), (BLOCK, BLOCK, 1), (3 * BLOCK + 5, 2 * BLOCK, 3)],
)
def test_only_the_blocks_that_hold_the_range_are_fetched(
    tool: Tool, offset: int, length: int, blocks: int
) -> None:
    with Server(Patterned(GIB)) as server:
        ran = tool("cat", server.url(), "--offset", str(offset), "--length", str(length))
        assert ran.out == bytes(Patterned(GIB).read(offset, length))
        assert len(server.requests) == 1
        assert server.body_bytes == blocks * BLOCK


def test_a_block_between_held_ones_is_fetched_with_its_seams(tool: Tool) -> None:
    with Server(Patterned(GIB)) as server:
        for block in (4, 6):
            assert tool("cat", server.url(), "--offset", str(block * BLOCK), "--length", "1").code == 0
        server.reset_log()
        ran = tool("cat", server.url(), "--offset", str(5 * BLOCK), "--length", "10")
        assert ran.out == bytes(Patterned(GIB).read(5 * BLOCK, 10))
        assert len(server.requests) == 1
        assert server.body_bytes <= BLOCK + 2048


def test_a_partly_held_range_costs_only_what_is_missing(tool: Tool) -> None:
    with Server(Patterned(GIB)) as server:
        assert tool("cat", server.url(), "--offset", "1M", "--length", "1M").code == 0
        server.reset_log()
        ran = tool("cat", server.url(), "--length", "3M")
        assert ran.out == pattern(3 * MIB)
        assert server.body_bytes <= 2 * MIB + 4096 * len(server.requests)


def test_no_cache_keeps_and_uses_nothing(tool: Tool) -> None:
    with Server(Patterned(GIB)) as server:
        for _ in range(2):
            server.reset_log()
            assert peek(tool, server, "--no-cache") == pattern(8192)[4096:4608]
            assert server.body_bytes == BLOCK
    assert not tool.cache.exists()


# --- bytes ---


def bounds(offset: int, length: int | None, size: int) -> tuple[int, int]:
    start = offset if offset >= 0 else max(0, size + offset)
    return start, size if length is None else min(size, start + length)


@pytest.mark.parametrize("extra", [(), ("--no-cache",)], ids=["cached", "uncached"])
@pytest.mark.parametrize(
    ("offset", "length"),
    [
        ("0", None),
        ("0", "0"),
        ("1", "0"),
        ("4096", "512"),
        ("0x1000", "0x200"),
        ("64K", "1M"),
        ("5M", None),
        ("-1", None),
        ("-100K", "1K"),
        ("-2M", None),
        ("-1G", "10"),
        ("-1G", None),
        (str(SIZE - 1), "100"),
        (str(SIZE), None),
        (str(SIZE), "10"),
        ("1M", "1G"),
    ],
)
def test_exactly_the_bytes_that_were_asked_for(
    tool: Tool, offset: str, length: str | None, extra: tuple[str, ...]
) -> None:
    from smartremote_cli.core.sizes import parse_size

    first, stop = bounds(
        parse_size(offset, signed=True), None if length is None else parse_size(length), SIZE
    )
    words = ["--offset", offset, *([] if length is None else ["--length", length]), *extra]
    with Server(Patterned(SIZE)) as server:
        for _ in range(2):
            ran = tool("cat", server.url(), *words)
            assert (ran.code, ran.err) == (0, "")
            assert ran.out == DATA[first:stop]


@pytest.mark.parametrize("extra", [(), ("--no-cache",)], ids=["cached", "uncached"])
@pytest.mark.parametrize("offset", [SIZE + 1, SIZE + BLOCK, 1 << 40, 1 << 47])
def test_an_offset_past_the_end_is_exit_4(tool: Tool, offset: int, extra: tuple[str, ...]) -> None:
    with Server(Patterned(SIZE)) as server:
        for _ in range(2):
            ran = tool("cat", server.url(), "--offset", str(offset), *extra)
            assert (ran.code, ran.out) == (4, b"")
            assert str(SIZE) in ran.complaint
        assert server.body_bytes < 4 * BLOCK


def test_an_offset_past_the_end_of_what_is_cached_is_exit_4(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert peek(tool, server)
        assert tool("cat", server.url(), "--offset", str(SIZE + 1)).code == 4
        assert tool("cat", server.url(), "--offset", str(SIZE)).out == b""
        assert tool("cat", server.url(), "--offset", str(SIZE + 1), "--offline").code in (4, 6)


@pytest.mark.parametrize("offset", ["0", "-5", "1"])
@pytest.mark.parametrize("ranges", [True, False])
def test_an_empty_resource_has_no_bytes(tool: Tool, offset: str, ranges: bool) -> None:
    with Server(Resource(b"", ranges=ranges)) as server:
        for _ in range(2):
            ran = tool("cat", server.url(), "--offset", offset)
            assert (ran.code, ran.out) == ((4 if offset == "1" else 0), b""), ran.err


def test_the_end_costs_one_suffix_request(tool: Tool) -> None:
    with Server(Patterned(GIB)) as server:
        ran = tool("cat", server.url(), "--offset", "-1000")
        assert ran.out == bytes(Patterned(GIB).read(GIB - 1000, 1000))
        assert server.ranges == ["bytes=-1000"]


@pytest.mark.parametrize("kind", ["501", "whole", "416", "head"])
def test_a_server_that_mistreats_suffixes_still_gives_the_end(tool: Tool, kind: str) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.wrong_suffix(kind)]  # type: ignore[arg-type]
        ran = tool("cat", server.url(), "--offset", "-1000")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == DATA[-1000:]
        assert len(server.requests) <= 3


@pytest.mark.parametrize("extra", [(), ("--no-cache",)], ids=["cached", "uncached"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.ignore_range,
        lambda: faults.unsatisfiable(None),
        faults.unknown_total,
        lambda: faults.part_as_200(content_range=False),
        lambda: faults.reset(after=300_000, when=faults.first(3)),
        lambda: faults.status(503, when=faults.first(2)),
        lambda: faults.fin(after=300_000, when=faults.first(3)),
        lambda: faults.earlier(1000),
        lambda: faults.longer(1000),
        lambda: faults.shorter(1000, when=faults.first(5)),
    ],
    ids="ignores-ranges 416 total-* part-as-200 resets 503 closes earlier longer shorter".split(),
)
def test_trouble_does_not_break_the_pipe(tool: Tool, fault: object, extra: tuple[str, ...]) -> None:
    assert callable(fault)
    with Server(Patterned(SIZE)) as server:
        server.faults += [fault()]
        ran = tool("cat", server.url(), "--offset", "1000", "-q", *extra)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == DATA[1000:]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("offset", [0, 1000, 5 * BLOCK, SIZE - 100, SIZE, SIZE + 1, -100])
def test_a_part_that_is_sent_as_if_it_were_all_is_not_taken_for_it(
    tool: Tool, offset: int, chunked: bool
) -> None:
    for length in (None, 10):
        with Server(Patterned(SIZE)) as server:
            server.faults += [faults.part_as_200(content_range=False)]
            server.faults += [faults.chunked()] if chunked else []
            more = () if length is None else ("--length", str(length))
            ran = tool("cat", server.url(), f"--offset={offset}", "--no-cache", *more)
        if offset > SIZE:
            assert (ran.code, ran.out) == (4, b"")
        else:
            assert (ran.code, ran.err) == (0, "")
            assert ran.out == DATA[offset:][:length]


@pytest.mark.parametrize("refusal", ["500", "reset"])
def test_a_suffix_that_fails_again_and_again_is_asked_for_otherwise(tool: Tool, refusal: str) -> None:
    when = faults.suffix
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.status(500, when=when) if refusal == "500" else faults.reset(when=when)]
        ran = tool("cat", server.url(), "--offset=-1000", "--retries", "1")
    assert (ran.code, ran.out) == (0, DATA[-1000:])


def test_a_body_without_length_is_passed_on(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.ignore_range(), faults.chunked()]
        assert tool("cat", server.url()).out == DATA
        assert tool("cat", server.url(), "--offset", "-10").out == DATA[-10:]
        for extra in [], ["--no-cache"]:
            assert tool("cat", server.url(), "--offset", str(SIZE), *extra).code == 0
            assert tool("cat", server.url(), "--offset", str(SIZE + 1), *extra).code == 4


def test_a_long_range_is_fetched_by_several_connections_in_order(tool: Tool) -> None:
    size = 90 * MIB
    with Server(Patterned(size)) as server:
        ran = tool("cat", server.url())
        assert ran.out == pattern(size)
        assert server.connections > 1
        assert server.body_bytes < size + 16 * MIB


def test_without_cache_a_long_range_does_not_pile_up_in_memory(tool: Tool) -> None:
    size = 400 * MIB
    with Server(Patterned(size)) as server:
        assert tool.peak_memory("cat", server.url(), "--no-cache") < 200 * MIB


def test_a_reader_that_pauses_is_not_run_ahead_of_without_bound(tool: Tool) -> None:
    with Server(Patterned(GIB)) as server:
        process = tool.start("cat", server.url())
        assert process.stdout is not None
        process.stdout.read(1)
        before = -1
        while server.body_bytes != before:
            before = server.body_bytes
            time.sleep(0.3)
        assert server.body_bytes < 100 * MIB
        process.stdout.close()
        process.stdout = None
        ended(process)


# --- versions ---

LATER = "Thu, 02 Jan 2025 00:00:00 GMT"
CHANGES = {
    "etag": Resource(Patterned(SIZE, seed=1), etag='"two"'),
    "date": Resource(Patterned(SIZE, seed=1), last_modified=LATER),
    "size": Resource(Patterned(SIZE + 1, seed=1), '"two"', LATER),
    "shorter": Resource(Patterned(BLOCK, seed=1), '"two"', LATER),
    "validators gone": Resource(Patterned(SIZE, seed=1), None, None),
    "weak ones": Resource(Patterned(SIZE, seed=1), 'W/"two"', None),
}
BEFORE = {
    "both": ('"one"', "Wed, 01 Jan 2025 00:00:00 GMT"),
    "etag": ('"one"', None),
    "date": (None, "Wed, 01 Jan 2025 00:00:00 GMT"),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_new_bytes_come_and_never_the_old(tool: Tool, before: str, change: str) -> None:
    if (before, change) in (("date", "etag"), ("etag", "date"), ("both", "date")):
        pytest.skip("what the server goes by is the same")
    with Server(Resource(Patterned(SIZE), *BEFORE[before])) as server:
        assert peek(tool, server) == DATA[4096:4608]
        server.resources["/file.bin"] = CHANGES[change]
        assert peek(tool, server) == OTHER[4096:4608]
        whole = bytes(CHANGES[change].data.read(0, SIZE + 1))
        assert tool("cat", server.url()).out == whole
        assert tool("cat", server.url(), "--offline").out == whole


@pytest.mark.parametrize("validators", [(None, None), ('W/"one"', None), ('W/"one"', "now")])
def test_without_strong_validators_nothing_old_is_used(
    tool: Tool, validators: tuple[str | None, str | None]
) -> None:
    etag, modified = validators
    if modified == "now":
        modified = faults.http_date()
    with Server(Resource(Patterned(SIZE), etag, modified)) as server:
        assert peek(tool, server) == DATA[4096:4608]
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1), etag, modified)
        assert peek(tool, server) == OTHER[4096:4608]


def test_a_change_between_two_answers_is_never_mixed(tool: Tool) -> None:
    def change(server: Server) -> None:
        server.resources["/file.bin"] = CHANGES["etag"]

    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.call(change, when=faults.nth(2))]
        ran = tool("cat", server.url())
    assert ran.code in (0, 5)
    assert ran.out == OTHER or DATA.startswith(ran.out)
    assert ran.code == 5 or ran.out in (DATA, OTHER)


# --- the cache ---


def test_offline_and_not_cached_is_a_clear_error(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        ran = tool("cat", server.url(), "--length", "10", "--offline")
        assert (ran.code, ran.out) == (6, b"")
        assert "not cached" in ran.complaint or "cache" in ran.complaint
        assert peek(tool, server)
        server.reset_log()
        for words in (["--offset", "1M", "--length", "1"], ["--offset", "-1"], []):
            ran = tool("cat", server.url(), "--offline", *words)
            assert ran.code == 6
            assert "cache" in ran.complaint
        assert server.requests == []


def test_the_cache_is_its_owners_alone(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert peek(tool, server)
    assert tool.cache.stat().st_mode & 0o777 == 0o700


def test_another_cache_folder_is_another_cache(tool: Tool, tmp_path: Path) -> None:
    with Server(Patterned(SIZE)) as server:
        assert peek(tool, server, "--cache-dir", str(tmp_path / "other" / "deep"))
        assert not tool.cache.exists()
        assert tool("cat", server.url(), "--length", "1", "--offline").code == 6


def test_a_cache_folder_that_is_a_file_is_wrong_usage(tool: Tool) -> None:
    tool.write("file", b"")
    with Server(Patterned(SIZE)) as server:
        ran = tool("cat", server.url(), "--length", "1", "--cache-dir", "file")
    assert ran.code == 2
    assert ran.complaint


def test_a_cache_that_cannot_be_made_costs_a_warning(tool: Tool) -> None:
    tool.write("file", b"")
    with Server(Patterned(SIZE)) as server:
        ran = tool("cat", server.url(), "--length", "1", "--cache-dir", "file/in")
        assert (ran.code, ran.out) == (0, DATA[:1])
        assert ran.err.startswith("smartremote: the cache is not used: ") and ran.err.count("\n") == 1
        quiet = tool("cat", server.url(), "--length", "1", "--cache-dir", "file/in", "-q")
    assert (quiet.code, quiet.err) == (0, "")


def test_the_query_belongs_to_the_key(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url("/file.bin?a=1"), "--length", "1").code == 0
        assert tool("cat", server.url("/file.bin?a=2"), "--length", "1", "--offline").code == 6


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_the_least_recently_used_go_first_when_the_cache_is_full(tool: Tool) -> None:
    tool.env(SMARTREMOTE_CACHE_SIZE="5M")
    with Server() as server:
        for name in "abc":
            server.resources[f"/{name}"] = Resource(Patterned(2 * MIB, seed=ord(name)))
        for name in "aba":  # so that b is the oldest
            assert tool("cat", server.url(f"/{name}")).code == 0
            time.sleep(0.02)
        assert tool("cat", server.url("/c")).code == 0
        assert on_disk(tool.cache) <= 5 * MIB + 64 * 1024
        codes = [tool("cat", server.url(f"/{name}"), "--offline").code for name in "abc"]
    assert codes == [0, 6, 0]


@pytest.mark.parametrize("kind", ["fifo", "huge", "folder"])
@pytest.mark.parametrize("suffix", ["", ".part", ".whole"])
def test_what_stands_where_the_cache_has_its_files_does_no_harm(tool: Tool, suffix: str, kind: str) -> None:
    with Server(Patterned(SIZE)) as server:
        place = Path(Cache(str(tool.cache)).path_of(server.url()) + suffix)
        place.parent.mkdir(parents=True)
        match kind:
            case "fifo":
                os.mkfifo(place)
            case "folder":
                place.mkdir()
            case "huge":
                with place.open("wb") as file:
                    file.truncate(64 * GIB)
        ran = tool("cat", server.url(), "--offset", "1000", "--length", "10")
    assert (ran.code, ran.out) == (0, DATA[1000:1010])
    if kind != "huge":  # it may be one of ours
        assert "left alone" in ran.err and place.exists()


@pytest.mark.parametrize("whole", [False, True])
def test_bytes_that_were_edited_in_the_cache_are_fetched_again(tool: Tool, whole: bool) -> None:
    length = SIZE if whole else 2 * MIB
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url(), "--length", str(length)).out == DATA[:length]
        (cached,) = [path for path in tool.cache.iterdir() if "." not in path.name]
        with cached.open("r+b") as file:
            file.seek(MIB + 7)
            file.write(b"edit")
        server.reset_log()
        assert tool("cat", server.url(), "--length", str(length)).out == DATA[:length]
        assert server.body_bytes <= BLOCK + 2 * 1024
        assert tool("cat", server.url(), "--length", str(length), "--offline").out == DATA[:length]


@pytest.mark.parametrize(("first", "offset", "code"), [(0, 0, {0}), (3 * MIB, 2 * MIB, {0, 5})])
def test_cached_bytes_that_no_longer_fit_what_comes_are_not_printed(
    tool: Tool, first: int, offset: int, code: set[int]
) -> None:
    """The server lies: another version, of the same size, under the same strong validator.

    Once some of the new version was printed, nothing else may follow.
    """
    new = pattern(SIZE, seed=2)
    with Server(Resource(Patterned(SIZE), etag='"same"')) as server:
        assert tool("cat", server.url(), "--offset", str(first), "--length", str(MIB)).code == 0
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=2), etag='"same"')
        ran = tool("cat", server.url(), "--offset", str(offset), "--length", str(3 * MIB))
    assert ran.code in code
    assert new[offset : offset + 3 * MIB].startswith(ran.out)
    assert ran.code or len(ran.out) == 3 * MIB


def test_damage_in_the_cache_is_not_believed(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        for damage in (b"", b"nonsense", b"\x80\x80\x08" + b"\xff" * 30):
            assert peek(tool, server) == DATA[4096:4608]
            for record in tool.cache.glob("*.part"):
                record.write_bytes(damage)
            assert peek(tool, server) == DATA[4096:4608]
            for record in tool.cache.glob("*.part"):
                os.truncate(record.with_suffix(""), 0)
            assert peek(tool, server) == DATA[4096:4608]
            for record in tool.cache.glob("*.part"):
                os.unlink(record)


def test_many_at_once_all_print_the_right_bytes_and_the_cache_has_the_union(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        starts = [number * 4 * BLOCK + 1000 for number in range(12)]
        several = [
            tool.start("cat", server.url(), "--offset", str(start), "--length", str(3 * BLOCK))
            for start in starts
        ]
        for start, process in zip(starts, several, strict=True):
            ran = ended(process, 60)
            assert (ran.code, ran.err) == (0, "")
            assert ran.out == DATA[start : start + 3 * BLOCK]
        server.reset_log()
        for start in starts:
            ran = tool("cat", server.url(), "--offset", str(start), "--length", str(3 * BLOCK), "--offline")
            assert (ran.code, ran.out) == (0, DATA[start : start + 3 * BLOCK])
        assert server.requests == []


def test_a_redirect_is_followed_and_the_key_is_the_url_that_was_given(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.redirect("/file.bin?signature=1", when=faults.path("/latest"))]
        assert tool("cat", server.url("/latest"), "--length", "100").out == DATA[:100]
        assert tool("cat", server.url("/latest"), "--length", "100", "--offline").out == DATA[:100]


# --- digests ---


@pytest.mark.parametrize("extra", [(), ("--no-cache",)], ids=["cached", "uncached"])
def test_a_wrong_digest_is_exit_7_after_the_last_byte_each_time(tool: Tool, extra: tuple[str, ...]) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.digest(right=False))
        for _ in range(2):
            server.reset_log()
            ran = tool("cat", server.url(), *extra)
            assert (ran.code, ran.out) == (7, DATA)
            assert "sha256" in ran.complaint
            assert server.body_bytes >= SIZE
        server.faults.clear()
        ran = tool("cat", server.url(), *extra)
        assert (ran.code, ran.err, ran.out) == (0, "", DATA)


@pytest.mark.parametrize("words", [["--offset", "1"], ["--length", str(SIZE - 1)], ["--offset", "-10"]])
def test_a_part_is_not_compared_with_the_digest_of_the_whole(tool: Tool, words: list[str]) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.digest(right=False))
        assert tool("cat", server.url(), *words).code == 0


def test_a_length_past_the_end_is_the_whole(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.digest(right=False))
        assert tool("cat", server.url(), "--length", "1G").code == 7
