"""smartremote get, against the contract: whole files, resumed, compared, refused, and never a wrong byte."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.part import decode
from tests.support import faults
from tests.support.leftovers import interrupt
from tests.support.nginx import nginx_or_skip
from tests.support.server import Fault, Patched, Patterned, Resource, Server, pattern
from tests.support.tool import Tool, ended

MIB = 1 << 20
SIZE = 6 * MIB + 12_345
DATA = pattern(SIZE)
OTHER = pattern(SIZE, seed=1)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def asked_below(edge: int, value: str | None) -> int:
    """Return how many bytes before *edge* a Range header asks for."""
    assert value is not None
    first, last = value.removeprefix("bytes=").split("-")
    return max(0, min(int(last) + 1, edge) - int(first))


# --- whole files ---


def test_41_mb_from_nginx_over_8_connections(tool: Tool) -> None:
    data = pattern(41_000_000)
    with nginx_or_skip() as nginx:
        (nginx.folder / "file.bin").write_bytes(data)
        ran = tool.spawn("get", nginx.url(), "-x", "8")
        asked = nginx.requests(at_least=1)
    assert ran.code == 0, ran.err
    assert tool.read() == data
    assert tool.files == ["file.bin"]
    assert len({line.connection for line in asked}) > 1
    assert all(line.method == "GET" for line in asked)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 4 * MIB, 4 * MIB + 1, SIZE])
def test_any_size_comes_whole(tool: Tool, size: int) -> None:
    with Server(Patterned(size)) as server:
        ran = tool("get", server.url())
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(size)
    assert tool.files == ["file.bin"]


def test_a_file_that_fits_one_request_is_one_request(tool: Tool) -> None:
    with Server(Patterned(3 * MIB)) as server:
        assert tool("get", server.url(), "-x", "1").code == 0
    assert [(seen.method, seen.header("If-Range"), seen.header("If-Match")) for seen in server.requests] == [
        ("GET", None, None)
    ]


def test_one_connection_is_one_connection(tool: Tool) -> None:
    with Server(Patterned(20 * MIB)) as server:
        assert tool("get", server.url(), "-x", "1").code == 0
        assert server.connections == 1
    assert tool.read() == pattern(20 * MIB)


@pytest.mark.parametrize("refusal", [403, 404, 410])
def test_one_connection_takes_all_from_a_link_that_works_once(tool: Tool, refusal: int) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.status(refusal, when=faults.after(1)))
        assert tool("get", server.url(), "-x", "1", "-o", "file.bin").code == 0
        assert server.ranges == ["bytes=0-"]
    assert tool.read() == DATA


def test_no_byte_is_asked_for_twice_save_seams(tool: Tool) -> None:
    with Server(Patterned(41_000_000)) as server:
        assert tool("get", server.url(), "-x", "1").code == 0
        assert server.body_bytes <= 41_000_000 + 2 * 1024 * len(server.requests)
    assert tool.read() == pattern(41_000_000)


@pytest.mark.parametrize(
    "fault",
    [
        faults.ignore_range,
        lambda: faults.unsatisfiable(None),
        lambda: faults.unsatisfiable("right"),
        faults.part_as_200,
        lambda: faults.part_as_200(content_range=False),
        faults.unknown_total,
        faults.multipart,
        lambda: faults.chunked(50_000),
        lambda: faults.status(501, when=faults.ranged),
    ],
    ids="ignores-ranges 416 416-with-size part-as-200 bare-part-as-200 total-* multipart chunked 501".split(),
)
def test_a_server_that_is_odd_about_ranges_still_gives_the_file(
    tool: Tool, fault: Callable[[], Fault]
) -> None:
    with Server(Resource(DATA)) as server:
        server.faults += [fault()]
        ran = tool("get", server.url(), "--retries", "2")
    if ran.code == 0:
        assert tool.read() == DATA
    else:
        assert (ran.code, tool.files) == (3, []), ran.err


def test_a_coded_body_is_stored_as_sent_with_a_warning(tool: Tool) -> None:
    with Server(Resource(DATA)) as server:
        server.faults += [faults.gzip_coded()]
        ran = tool("get", server.url())
    assert ran.code == 0
    assert gzip.decompress(tool.read()) == DATA
    assert "gzip" in ran.err


def test_a_body_without_length_needs_a_checksum(tool: Tool) -> None:
    with Server(Resource(DATA)) as server:
        server.faults += [faults.ignore_range(), faults.until_close()]
        ran = tool("get", server.url())
        assert ran.code == 4
        assert "--checksum" in ran.err
        assert "file.bin.part" in tool.files or tool.files == []
        ran = tool("get", server.url(), "--checksum", sha256(DATA))
    assert ran.code == 0, ran.err
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_dropped_connections_cost_no_byte_twice(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.reset(after=1_000_000, when=faults.first(5))]
        ran = tool("get", server.url(), "-x", "1")
        assert ran.code == 0, ran.err
        assert server.body_bytes < SIZE + 6 * 70_000
    assert tool.read() == DATA


@pytest.mark.parametrize("limit", [503, "reset"])
def test_a_host_that_allows_two_connections_gets_two(tool: Tool, limit: int | str) -> None:
    with Server(Patterned(30 * MIB)) as server:
        server.faults += [faults.limit(2, limit), faults.pace(20 * MIB)]  # type: ignore[arg-type]
        ran = tool("get", server.url())
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(30 * MIB)


@pytest.mark.parametrize("held", [(3,), (2, 4, 5)])
def test_requests_that_are_never_answered_do_not_hold_up_the_end(tool: Tool, held: tuple[int, ...]) -> None:
    gate = threading.Event()
    with Server(Patterned(30 * MIB)) as server:
        server.faults += [faults.hold(gate, where="before", when=faults.nth(*held)), faults.pace(20 * MIB)]
        try:
            ran = tool("get", server.url(), "-x", "4", "--timeout", "600")
        finally:
            gate.set()
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(30 * MIB)


# --- versions that mix ---


def test_mirrors_with_their_own_validators_do_not_fail_a_fresh_download(tool: Tool) -> None:
    with Server(Resource(Patterned(20 * MIB))) as server:
        server.faults += [faults.validators(etag=['"a"', '"b"'], honoured=False)]
        ran = tool("get", server.url())
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(20 * MIB)


def test_mirrors_with_other_bytes_under_the_same_headers_are_never_mixed(tool: Tool) -> None:
    one, two = Resource(Patterned(20 * MIB)), Resource(Patterned(20 * MIB, seed=1))
    with Server(one) as server:
        server.faults += [faults.mirrors(one, two, two)]
        ran = tool("get", server.url(), "-x", "2")
    assert ran.code in (0, 5), ran.err
    if ran.code == 0:
        assert tool.read() in (pattern(20 * MIB), pattern(20 * MIB, seed=1))


def test_displaced_bytes_under_perfect_headers_are_found_by_the_seams(tool: Tool) -> None:
    with Server(Patterned(20 * MIB)) as server:
        server.faults += [faults.displaced(1, when=faults.beyond(8 * MIB))]
        ran = tool("get", server.url(), "-x", "2")
    assert ran.code in (0, 3, 4, 5)
    assert ran.code != 0 or tool.read() == pattern(20 * MIB)


def test_a_resource_that_changes_under_way_is_taken_anew_or_refused(tool: Tool) -> None:
    def change(server: Server) -> None:
        server.resources["/file.bin"] = Resource(Patterned(20 * MIB, seed=1), etag='"two"')

    with Server(Patterned(20 * MIB)) as server:
        server.faults += [faults.call(change, when=faults.nth(3))]
        ran = tool("get", server.url(), "-x", "2")
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(20 * MIB, seed=1)


def test_a_resource_of_another_size_under_way_is_another_one(tool: Tool) -> None:
    def change(server: Server) -> None:
        server.resources["/file.bin"] = Resource(Patterned(20 * MIB + 1), etag='"two"')

    with Server(Patterned(20 * MIB)) as server:
        server.faults += [faults.call(change, when=faults.nth(3))]
        assert tool("get", server.url(), "-x", "2").code == 5
    assert tool.files == ["file.bin", "file.bin.part"]


# --- names ---


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (None, "file.bin"),
        ("attachment; filename=other.iso", "other.iso"),
        ('attachment; filename="my file.iso"', "my file.iso"),
        ("attachment; filename*=UTF-8''na%C3%AFve.iso; filename=naive.iso", "naïve.iso"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="/etc/cron.d/evil"', "evil"),
        ('attachment; filename="..\\\\..\\\\evil.exe"', "evil.exe"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ('attachment; filename=".."', "file.bin"),
        ('attachment; filename=""', "file.bin"),
        ('attachment; filename="a.part"', "a.part_"),
        ('attachment; filename="' + "x" * 300 + '.iso"', "x" * 236 + ".iso"),
        ("inline", "file.bin"),
    ],
)
def test_the_name_is_the_servers_made_harmless(tool: Tool, disposition: str | None, name: str) -> None:
    with Server(Resource(b"x" * 100, content_disposition=disposition)) as server:
        ran = tool("get", server.url())
    assert ran.code == 0, ran.err
    assert tool.files == [name]


@pytest.mark.parametrize(
    ("path", "name"),
    [("/", "download"), ("/a%20b.iso?x=/y", "a b.iso"), ("/..%2f..%2fevil", "evil"), ("/d/", "download")],
)
def test_the_name_of_the_url_is_made_harmless_too(tool: Tool, path: str, name: str) -> None:
    with Server() as server:
        server.resources[path.partition("?")[0]] = Resource(b"x")
        assert tool("get", server.url(path)).code == 0
    assert tool.files == [name]


def test_the_name_is_the_original_urls_after_a_redirect(tool: Tool) -> None:
    with Server(Resource(b"x")) as server:
        server.faults += [faults.redirect("/file.bin?signature=1", when=faults.path("/latest.iso"))]
        assert tool("get", server.url("/latest.iso")).code == 0
    assert tool.files == ["latest.iso"]


def test_a_name_by_the_server_is_resumed_as_well(tool: Tool) -> None:
    with Server(Resource(Patterned(SIZE), content_disposition="attachment; filename=named.iso")) as server:
        server.faults += [faults.fin(2 * MIB, when=faults.first(1)), faults.status(404, when=faults.after(1))]
        assert tool("get", server.url(), "-x", "1").code == 4
        assert tool.files == ["named.iso", "named.iso.part"]
        server.faults.clear()
        server.reset_log()
        ran = tool("get", server.url(), "-x", "1")
        assert ran.code == 0, ran.err
        assert (
            server.body_bytes <= SIZE - 2 * MIB + 4 * MIB + BLOCK
        )  # the first answer is what tells the name
    assert tool.files == ["named.iso"]
    assert tool.read("named.iso") == DATA


# --- outputs ---


def made(kind: str, path: Path) -> None:
    """Put something at *path* that no download may replace."""
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
        case "dangling link":
            path.symlink_to("nowhere")
        case "link to a folder":
            path.symlink_to("/tmp")
        case "link to a device":
            path.symlink_to("/dev/null")


@pytest.mark.parametrize("extra", [(), ("--overwrite",)], ids=["plain", "overwrite"])
@pytest.mark.parametrize(
    "kind", ["folder", "fifo", "socket", "dangling link", "link to a folder", "link to a device"]
)
def test_an_output_that_is_no_file_is_refused(tool: Tool, kind: str, extra: tuple[str, ...]) -> None:
    made(kind, tool.folder / "out")
    before = os.lstat("out")
    with Server(b"x") as server:
        ran = tool("get", server.url(), "-o", "out", *extra)
    assert ran.code == 6
    assert ran.complaint.startswith("out: ")
    assert server.requests == []
    assert tool.files == ["out"]
    assert os.lstat("out").st_mode == before.st_mode


@pytest.mark.parametrize("output", ["none/out", "none/", "x" * 252, "/dev/null", "/proc/out", "", "."])
def test_an_output_that_cannot_be_is_refused(tool: Tool, output: str) -> None:
    with Server(b"x") as server:
        ran = tool("get", server.url(), "-o", output)
    assert ran.code == (2 if not output else 6), ran.err
    assert ran.complaint
    assert tool.files == []


def test_a_folder_of_the_urls_name_is_refused(tool: Tool) -> None:
    (tool.folder / "file.bin").mkdir()
    with Server(b"x") as server:
        ran = tool("get", server.url())
    assert ran.code == 6
    assert "is a folder" in ran.complaint
    assert tool.files == ["file.bin"]


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling link", "link to a device"])
def test_a_record_that_is_no_file_is_refused(tool: Tool, kind: str) -> None:
    made(kind, tool.folder / "file.bin.part")
    with Server(b"x") as server:
        ran = tool("get", server.url(), "-o", "file.bin")
    assert ran.code == 6
    assert ran.complaint.startswith("file.bin.part: ")
    assert tool.files == ["file.bin.part"]


def test_a_record_that_is_a_link_to_another_record_is_refused(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        os.rename("file.bin.part", "elsewhere")
        os.symlink("elsewhere", "file.bin.part")
        assert tool("get", server.url(), "-o", "file.bin").code == 6
        assert tool("complete", "file.bin").code == 6
        assert server.requests == []


def test_a_link_to_a_file_is_followed(tool: Tool) -> None:
    tool.write("real.bin", b"old")
    os.symlink("real.bin", "link.bin")
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url(), "-o", "link.bin").code == 5
        assert tool.read("real.bin") == b"old"
        assert tool("get", server.url(), "-o", "link.bin", "--overwrite").code == 0
    assert tool.read("link.bin") == DATA
    assert tool.files == ["link.bin", "real.bin"]


@pytest.mark.parametrize("size", [0, 3, SIZE - 1, SIZE, SIZE + 1])
def test_an_unrelated_file_is_never_touched(tool: Tool, size: int) -> None:
    path = tool.write("file.bin", pattern(size, seed=7))
    before = path.stat()
    with Server(Patterned(SIZE)) as server:
        ran = tool("get", server.url())
    assert ran.code == 5
    assert "file.bin" in ran.complaint
    assert tool.read() == pattern(size, seed=7)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert tool.files == ["file.bin"]
    assert len(server.requests) <= 20  # the places are asked for together


@pytest.mark.parametrize("at", [0, SIZE - 1])
def test_a_file_that_differs_in_its_first_or_last_block_is_unrelated(tool: Tool, at: int) -> None:
    with Server(Patterned(SIZE)) as server:
        tool.write(
            "file.bin",
            bytes(Patched(Patterned(SIZE), {at: b"\0"}).read(0, MIB)) + DATA[MIB:-1] + b"\0"
            if at
            else b"\0" + DATA[1:],
        )
        assert tool("get", server.url()).code == 5


def test_a_hole_in_a_file_without_record_is_compared(tool: Tool) -> None:
    path = tool.write("file.bin", DATA)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.truncate()
        file.seek(SIZE - MIB)
        file.write(DATA[-MIB:])
    if path.stat().st_blocks * 512 >= SIZE:
        pytest.skip("no holes on this file system")
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url()).code == 5


def test_overwrite_replaces_whatever_file_is_there(tool: Tool) -> None:
    tool.write("file.bin", b"old")
    tool.write("file.bin.part", b"\x80\x80\x08 damaged")
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url()).code == 8
        ran = tool("get", server.url(), "--overwrite")
    assert ran.code == 0, ran.err
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_overwrite_begins_a_partial_file_anew(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        assert tool("get", server.url(), "--overwrite").code == 0
        assert server.body_bytes >= SIZE
    assert tool.read() == DATA


# --- files that are there already ---


def test_a_complete_file_is_seen_to_be_complete_with_two_requests(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url()).code == 0
        before = os.stat("file.bin").st_mtime_ns
        server.reset_log()
        ran = tool("get", server.url())
        assert ran.code == 0, ran.err
        assert len(server.requests) <= 2
        assert server.body_bytes <= 2 * BLOCK
    assert os.stat("file.bin").st_mtime_ns == before
    assert tool.files == ["file.bin"]


def test_an_empty_file_is_complete_when_the_resource_is_empty(tool: Tool) -> None:
    with Server(b"") as server:
        assert tool("get", server.url()).code == 0
        assert tool("get", server.url()).code == 0
    assert tool.read() == b""
    assert tool.files == ["file.bin"]


def test_with_a_checksum_the_whole_of_a_complete_file_is_compared(tool: Tool) -> None:
    tool.write("file.bin", DATA[:MIB] + b"\0" + DATA[MIB + 1 :])
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url(), "--checksum", sha256(DATA)).code == 5
        tool.write("file.bin", DATA)
        assert tool("get", server.url(), "--checksum", sha256(DATA)).code == 0
        assert server.body_bytes < MIB
    assert tool.files == ["file.bin"]


def test_what_the_cache_holds_is_taken_over(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url(), "--offset", "1M", "--length", "3M").out == DATA[MIB : 4 * MIB]
        server.reset_log()
        ran = tool("get", server.url(), "-x", "1")
        assert ran.code == 0, ran.err
        assert server.body_bytes <= SIZE - 3 * MIB + 2 * BLOCK
    assert tool.read() == DATA


def test_what_the_cache_holds_of_an_older_version_is_not(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url()).out == DATA
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1), etag='"two"')
        assert tool("get", server.url()).code == 0
    assert tool.read() == OTHER


# --- checksums ---


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "SHA-256", "sha384", "sha512", "blake2b"])
def test_a_right_checksum_is_accepted(tool: Tool, algorithm: str) -> None:
    digest = hashlib.new(algorithm.lower().replace("-", ""), DATA).hexdigest().upper()
    with Server(Patterned(SIZE)) as server:
        ran = tool("get", server.url(), "--checksum", f"{algorithm}:{digest}", "-x", "1")
        assert ran.code == 0, ran.err
        assert server.body_bytes < SIZE + MIB


def test_a_wrong_checksum_fetches_once_more_and_is_exit_7(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        ran = tool("get", server.url(), "--checksum", f"sha256:{'0' * 64}", "-x", "1")
        assert ran.code == 7
        assert "sha256" in ran.err.splitlines()[-1]
        assert server.body_bytes < 2 * SIZE + MIB
    assert tool.files == ["file.bin", "file.bin.part"]
    assert tool.status()["state"] == "partial"


def test_a_checksum_mends_what_a_bad_answer_brought(tool: Tool) -> None:
    with Server(Patterned(3 * MIB)) as server:
        server.faults += [faults.displaced(1, when=faults.first(1))]
        server.resource.content = Patched(Patterned(3 * MIB), {})

        def spoil(it: Server) -> None:
            it.resource.content = Patched(Patterned(3 * MIB), {MIB: b"spoilt"})

        def mend(it: Server) -> None:
            it.resource.content = Patterned(3 * MIB)

        server.faults[:] = [faults.call(spoil, when=faults.nth(1)), faults.call(mend, when=faults.nth(2))]
        ran = tool("get", server.url(), "--checksum", sha256(pattern(3 * MIB)))
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(3 * MIB)


# --- resuming ---


def test_an_interrupted_download_leaves_a_record_as_the_contract_has_it(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        url = server.url()
    raw = tool.read("file.bin.part")
    assert raw[:3] == b"\x80\x80\x08"
    record = decode(raw, "the record")
    assert record.url == url
    assert record.identity is not None
    assert (record.identity.size, record.identity.etag) == (SIZE, '"one"')
    assert 2 * MIB // BLOCK - 1 <= len(record.bits) <= 2 * MIB // BLOCK + 1
    assert os.stat("file.bin.part").st_mode & 0o777 == 0o600
    assert os.stat("file.bin").st_size == SIZE
    facts = tool.status()
    assert facts["state"] == "partial"
    assert facts["url"] == url
    assert all(
        tool.read()[b * BLOCK : (b + 1) * BLOCK] == DATA[b * BLOCK : (b + 1) * BLOCK] for b in record.bits
    )


@pytest.mark.parametrize("again", ["get", "complete"])
def test_a_second_run_fetches_what_is_missing_and_nothing_else(tool: Tool, again: str) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        missing = tool.status()["bytes_missing"]
        ran = tool(again, server.url() if again == "get" else "file.bin", "-x", "1")
        assert ran.code == 0, ran.err
        assert missing <= server.body_bytes <= missing + 4096
        assert {seen.header("If-Match") for seen in server.requests[1:]} <= {'"one"'}
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_another_url_of_the_same_resource_resumes_too(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        server.resources["/mirror.bin"] = server.resource
        ran = tool("get", server.url("/mirror.bin?signature=2"), "-o", "file.bin", "-x", "1")
        assert ran.code == 0, ran.err
        assert server.body_bytes < SIZE - MIB
    assert tool.read() == DATA


CHANGES = {
    "etag": Resource(Patterned(SIZE, seed=1), etag='"two"'),
    "date": Resource(Patterned(SIZE, seed=1), last_modified="Thu, 02 Jan 2025 00:00:00 GMT"),
    "both": Resource(Patterned(SIZE, seed=1), '"two"', "Thu, 02 Jan 2025 00:00:00 GMT"),
    "size": Resource(Patterned(SIZE + 1, seed=1)),
    "bytes alone": Resource(Patterned(SIZE, seed=1)),
    "bytes, validators gone": Resource(Patterned(SIZE, seed=1), None, None),
    "bytes, weak tag": Resource(Patterned(SIZE, seed=1), 'W/"one"', None),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("again", ["get", "complete"])
def test_a_changed_resource_is_exit_5_and_nothing_is_touched(tool: Tool, change: str, again: str) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        before = tool.read(), tool.status()
        server.resources["/file.bin"] = CHANGES[change]
        ran = tool(again, server.url() if again == "get" else "file.bin", "-q")
        assert ran.code == 5
        assert ran.complaint
        assert "--on-change restart" in ran.err
    after = tool.status()
    present = before[1]["missing"][0][0]
    assert tool.read()[:present] == before[0][:present]
    assert after["bytes_present"] >= before[1]["bytes_present"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("again", ["get", "complete"])
def test_a_changed_resource_is_fetched_anew_when_told_so(tool: Tool, change: str, again: str) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        server.resources["/file.bin"] = CHANGES[change]
        ran = tool(again, server.url() if again == "get" else "file.bin", "--on-change", "restart")
        assert ran.code == 0, ran.err
    size = SIZE + 1 if change == "size" else SIZE
    assert tool.read() == pattern(size, seed=1)
    assert tool.files == ["file.bin"]


SAME = {
    "no validators": (None, None),
    "a weak tag": ('W/"one"', None),
    "a date": (None, "Wed, 01 Jan 2025 00:00:00 GMT"),
    "a weak tag and a date": ('W/"one"', "Wed, 01 Jan 2025 00:00:00 GMT"),
}


@pytest.mark.parametrize("validators", SAME)
@pytest.mark.parametrize("before", ["the same", "strong ones"])
def test_weak_validators_or_none_do_not_stop_a_resume(tool: Tool, validators: str, before: str) -> None:
    weak = Resource(Patterned(SIZE), *SAME[validators])
    strong = Resource(Patterned(SIZE))
    with Server(weak if before == "the same" else strong) as server:
        interrupt(tool, server)
        held = tool.status()["missing"][0][0]
        server.resources["/file.bin"] = weak
        ran = tool("get", server.url())
        assert ran.code == 0, ran.err
        assert sum(asked_below(held, seen.range) for seen in server.requests) <= 8 * BLOCK + 4096
    assert tool.read() == DATA


def test_without_validators_changed_bytes_are_found(tool: Tool) -> None:
    with Server(Resource(Patterned(SIZE), None, None)) as server:
        interrupt(tool, server)
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1), None, None)
        assert tool("get", server.url()).code == 5


def test_a_partial_file_whose_record_is_lost_is_not_complete(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        os.unlink("file.bin.part")
        before = tool.read()
        ran = tool("get", server.url())
    assert ran.code == 5
    assert tool.read() == before
    assert tool.files == ["file.bin", "file.bin.part.sums"]


@pytest.mark.parametrize("damage", ["missing", "short", "long", "empty", "all holes"])
def test_a_data_file_that_was_meddled_with_loses_what_no_longer_fits(tool: Tool, damage: str) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        match damage:
            case "missing":
                os.unlink("file.bin")
            case "all holes":
                os.truncate("file.bin", 0)
                os.truncate("file.bin", SIZE)
            case _:
                os.truncate("file.bin", {"short": MIB + 7, "long": SIZE + MIB, "empty": 0}[damage])
        ran = tool("get", server.url())
    assert ran.code == 0, ran.err
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


@pytest.mark.parametrize("times_kept", [False, True], ids=["", "times kept"])
def test_a_data_file_edited_in_place_loses_just_the_blocks_that_were_edited(
    tool: Tool, times_kept: bool
) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        held, before = tool.status()["bytes_present"], os.stat("file.bin")
        with open("file.bin", "r+b") as file:
            for at in (3 * BLOCK + 5, 17 * BLOCK - 2):  # the second one across an edge
                file.seek(at)
                file.write(b"edit")
        if times_kept:
            os.utime("file.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
        ran = tool("get", server.url(), "-x", "1")
        assert ran.code == 0, ran.err
        assert "3 blocks are to be fetched again" in ran.err
        asked = len(server.requests)
        assert server.body_bytes <= SIZE - held + 3 * BLOCK + 2048 * asked
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_a_data_file_that_was_only_touched_is_read_and_not_fetched_again(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        held = tool.status()["bytes_present"]
        os.utime("file.bin")
        ran = tool("get", server.url(), "-x", "1")
        assert ran.code == 0 and "changed since" not in ran.err
        assert server.body_bytes <= SIZE - held + 2048 * len(server.requests)
    assert tool.read() == DATA


def test_a_file_replaced_by_nonsense_of_the_same_size_is_fetched_anew(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        tool.write("file.bin", b"\xee" * SIZE)
        assert tool("get", server.url()).code == 0
    assert tool.read() == DATA


def test_without_sums_some_of_what_is_held_is_compared(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        os.unlink("file.bin.part.sums")
        tool.write("file.bin", b"\xee" * SIZE)
        assert tool("get", server.url()).code == 5
        assert tool("get", server.url(), "--on-change", "restart").code == 0
    assert tool.read() == DATA


def test_sums_of_another_file_cost_a_second_download_at_most(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        interrupt(tool, server)
        tool.write("file.bin.part.sums", os.urandom(4 * 41))
        os.utime("file.bin")
        assert tool("get", server.url()).code == 0
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_leftovers_of_a_crash_are_cleaned_up(tool: Tool) -> None:
    tool.write("file.bin.part.tmp", b"half a record")
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url()).code == 0
    assert tool.files == ["file.bin"]


@pytest.mark.parametrize("most", [0, 1, 2, 3, 5])
def test_where_there_are_few_threads_those_there_are_do_the_work(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    real, begun = threading.Thread.start, list[str]()

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("smartremote"):
            begun.append(thread.name)
            if len(begun) > most:
                raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch, Server(Patterned(SIZE)) as server:
        patch.setattr(threading.Thread, "start", start)
        ran = tool("get", server.url(), "--checksum", sha256(DATA))
    if ran.code == 6:
        assert most < 5 and "no more threads" in ran.complaint
        with Server(Patterned(SIZE)) as server:
            assert tool("get", server.url()).code == 0
    assert ran.code in ((6,) if not most else (0, 6))
    assert tool.read() == DATA and tool.files == ["file.bin"]


# --- two at once ---


def test_a_second_get_of_the_same_file_leaves_at_once(tool: Tool) -> None:
    gate = threading.Event()
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.hold(gate, after=MIB)]
        with tool.start("get", server.url()) as first:
            while not (tool.folder / "file.bin").exists() or not server.requests:
                pass
            while not os.path.getsize("file.bin"):
                pass
            second = tool("get", server.url())
            third = tool("complete", "file.bin")
            gate.set()
            ran = ended(first)
    assert (second.code, third.code, ran.code) == (9, 9, 0), (second.err, third.err, ran.err)
    assert second.complaint.startswith("file.bin: ")
    assert tool.read() == DATA


def test_many_gets_at_the_same_instant_leave_one_right_file(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        several = [tool.start("get", server.url()) for _ in range(4)]
        codes = [ended(process).code for process in several]
    assert set(codes) <= {0, 9}, codes
    assert 0 in codes
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


# --- local trouble ---


def test_a_disk_that_is_too_small_is_foreseen(tool: Tool) -> None:
    with Server(Patterned(15 << 40)) as server:
        ran = tool("get", server.url())
    assert ran.code == 6
    assert "free" in ran.complaint
    assert tool.files == []


def test_a_file_that_may_not_grow_so_large_is_a_local_error(tool: Tool) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

    with Server(Patterned(SIZE)) as server:
        ran = tool.spawn("get", server.url(), preexec_fn=small_files)
    assert ran.code == 6
    assert "file.bin" in ran.complaint


def test_dots_after_a_link_lead_where_the_system_has_them_lead(tool: Tool) -> None:
    (tool.folder / "here").mkdir()
    (tool.folder / "there" / "below").mkdir(parents=True)
    (tool.folder / "here" / "link").symlink_to(tool.folder / "there" / "below")
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url(), "-o", "here/link/../x").code == 0
        ran = tool("get", server.url(), "-o", "nowhere/../y")
    assert (tool.folder / "there" / "x").read_bytes() == pattern(SIZE)
    assert sorted(os.listdir(tool.folder / "there")) == ["below", "x"]
    assert os.listdir(tool.folder / "here") == ["link"]
    assert ran.code == 6
    assert "No such file" in ran.complaint


@pytest.mark.parametrize("name", ["x.part", "x.part.tmp", "x.part.sums"])
def test_a_name_that_belongs_to_another_file_is_refused(tool: Tool, name: str) -> None:
    with Server(b"x") as server:
        ran = tool("get", server.url(), "-o", name)
        assert server.requests == []
    assert ran.code == 2
    assert ".part" in ran.complaint


def test_without_a_home_there_is_no_cache(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object, **__: object) -> str:
        raise RuntimeError("Could not determine home directory.")  # as pathlib has it

    monkeypatch.delenv("SMARTREMOTE_CACHE_DIR")
    monkeypatch.setattr("platformdirs.user_cache_dir", homeless)
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url()).code == 0
        ran = tool("cat", server.url())
        assert (ran.code, ran.out) == (0, pattern(SIZE))
        assert "no home" in ran.err and ran.err.count("\n") == 1
        assert tool("cat", server.url(), "--no-cache").out == pattern(SIZE)
    assert tool.read() == pattern(SIZE)


def test_a_file_that_may_not_be_read_is_local_trouble(tool: Tool) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tool.write("file.bin", b"secret").chmod(0)
    with Server(Patterned(SIZE)) as server:
        assert tool("get", server.url()).code == 6
        assert tool("get", server.url(), "-o", "file.bin").code == 6


def test_a_folder_that_takes_no_files_is_a_local_error(tool: Tool) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tool.folder.chmod(0o500)
    with Server(Patterned(SIZE)) as server:
        ran = tool("get", server.url())
    tool.folder.chmod(0o700)
    assert ran.code == 6
    assert tool.files == []


# --- digests that the server sends ---


def test_a_wrong_digest_is_exit_7_and_the_record_stays(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.digest(right=False))
        for _ in range(2):
            ran = tool("get", server.url())
            assert ran.code == 7
            assert tool.files == ["file.bin", "file.bin.part"]
        server.faults.clear()
        assert tool("get", server.url()).code == 0
    assert tool.read() == DATA


def test_a_complete_file_with_another_digest_is_exit_5_and_stays(tool: Tool) -> None:
    """Its size, its ends and nearly all of it are those of the resource; one of the random places may show the rest."""
    mine = DATA[: 2 * MIB] + b"mine" + DATA[2 * MIB + 4 :]
    tool.write("file.bin", mine)
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.digest())
        ran = tool("get", server.url())
    assert (ran.code, tool.read(), tool.files) == (5, mine, ["file.bin"])
    assert "sha256" in ran.complaint or "differs" in ran.complaint


# --- what is said when patience ends ---


@pytest.mark.parametrize("command", ["get", "cat"])
def test_nothing_is_called_kept_where_nothing_has_arrived(tool: Tool, command: str) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.status(503))
        ran = tool(command, server.url(), "--retries", "0")
    assert ran.code == 3 and tool.files == []
    assert ran.err.splitlines()[-1] == "  run the same command again"


def test_what_has_arrived_is_called_kept(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.status(503, when=faults.after(1)))
        ran = tool("get", server.url(), "--retries", "0")
    assert ran.code == 3 and tool.files == ["file.bin", "file.bin.part"]
    assert ran.err.splitlines()[-1] == "  what has arrived is kept; run the same command again to continue"


def test_a_server_without_ranges_is_not_said_to_go_on_where_it_broke(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.ignore_range(), faults.fin(after=MIB)]
        ran = tool("get", server.url(), "--retries", "0")
    assert ran.code == 3
    assert ran.err.splitlines()[-1] == "  run the same command again"


def test_who_is_to_wait_for_long_is_told_to_wait(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults.append(faults.retry_after(86_400))
        ran = tool("get", server.url())
    assert ran.code == 3
    assert ran.err.splitlines()[-1] == "  run the same command again then"
