"""DownloadManager: what its files share, what it leaves on disk, what it does while nobody reads."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from smartremote_cli import DownloadManager, Options, RemoteFile, errors
from smartremote_cli.core.blocks import BLOCK
from tests.support import faults
from tests.support.managers import manager
from tests.support.requests import blocks_sent
from tests.support.server import Patterned, Resource, Server, pattern
from tests.support.threads import PATIENCE, in_threads, nothing_left_behind, wait_until

MIB = 1 << 20
SIZE = 5 * MIB + 12_345
DATA = pattern(SIZE)
OTHER = pattern(SIZE, seed=1)


# --- where files are kept ---


def test_an_absent_file_is_begun_and_kept_with_its_record(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with Server(DATA) as server:
        with manager(tmp_path) as m, m.open_to(server.url(), path) as f:
            assert not path.exists()
            assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]
            assert f.name == str(path)
        assert path.stat().st_size == SIZE and (tmp_path / "file.bin.part").exists()
        server.reset_log()
        with manager(tmp_path) as m, m.open_to(server.url(), path) as f:
            assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]
            f.complete()
        assert max(blocks_sent(server).values()) == 1
        assert len(blocks_sent(server)) == SIZE // BLOCK  # one of them was there
    assert path.read_bytes() == DATA and os.listdir(tmp_path) == ["file.bin"]


def test_a_file_that_was_read_to_its_end_is_complete_when_closed(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
        assert f.read() == DATA
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_complete_file_costs_a_look(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(DATA)
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
        assert f.read() == DATA
        f.complete()
        assert server.body_bytes <= BLOCK + 18 * 4096
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_complete_file_that_is_cut_meanwhile_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(DATA)
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
        assert f.read(10) == DATA[:10]
        assert f.stat().st_ino == path.stat().st_ino
        os.truncate(path, MIB)
        with pytest.raises(errors.LocalError):
            f.read()


def test_somebody_elses_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    for theirs in (b"something else", OTHER):
        path.write_bytes(theirs)
        with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
            with pytest.raises(FileExistsError) as caught:
                f.read()
            assert isinstance(caught.value, errors.ForeignFileError) and caught.value.exit_code == 5
        assert path.read_bytes() == theirs and os.listdir(tmp_path) == ["file.bin"]


def test_a_file_that_is_being_worked_on_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with Server(DATA) as server, manager(tmp_path) as m, manager(tmp_path) as n:
        with m.open_to(server.url(), path) as f:
            f.read(1)
            with pytest.raises(BlockingIOError) as caught:
                n.open_to(server.url(), path)
            assert isinstance(caught.value, errors.BusyError)
        with n.open_to(server.url(), path) as f:
            assert f.read(10) == DATA[:10]


def test_a_damaged_record_and_a_folder_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(DATA)
    (tmp_path / "file.bin.part").write_bytes(b"no record")
    (tmp_path / "folder").mkdir()
    with manager(tmp_path) as m:
        with pytest.raises(errors.DamagedError):
            m.open_to("http://127.0.0.1:9/file.bin", tmp_path / "file.bin")
        for path in (tmp_path / "folder", tmp_path / "missing" / "file.bin"):
            with pytest.raises(OSError), m.open_to("http://127.0.0.1:9/file.bin", path) as f:  # noqa: PT011
                f.read(1)
        with m.open("http://127.0.0.1:9/file.bin"):  # what failed has left nothing open
            pass


def test_the_folder_is_made_when_missing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with (
        Server(DATA) as server,
        DownloadManager(tmp_dir=folder, idle_download=False) as m,
        m.open(server.url()) as f,
    ):
        f.read(1)
        assert Path(f.name).parent == folder and os.path.exists(f"{f.name}.part")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# --- what is shared ---


def test_two_handles_of_one_url_share_their_blocks(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f, m.open(server.url()) as g:
        assert f.read(MIB) == g.read(MIB) == DATA[:MIB]
        assert (f.tell(), g.seek(5), f.tell()) == (MIB, 5, MIB)
        assert max(blocks_sent(server).values()) == 1
        f.close()
        assert g.read(10) == DATA[5:15]


def test_a_file_is_closed_with_its_last_handle(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with Server(DATA) as server, manager(tmp_path) as m, manager(tmp_path) as n:
        f, g = m.open_to(server.url(), path), m.open_to(server.url(), path)
        f.read(1)
        f.close()
        with pytest.raises(errors.BusyError):
            n.open_to(server.url(), path)
        g.close()
        n.open_to(server.url(), path).close()


def test_opening_and_closing_in_many_threads(tmp_path: Path) -> None:
    def work(m: DownloadManager) -> None:
        for _ in range(20):
            with m.open_to(server.url(), tmp_path / "file.bin") as f:
                assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]

    with Server(DATA) as server, manager(tmp_path) as m:
        assert in_threads(*[partial(work, m)] * 6) == [None] * 6


def test_managers_share_a_cache(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, manager(tmp_path) as n:
        with m.open(server.url()) as f, n.open(server.url()) as g:
            f.read_at(0, 10)
            g.read_at(MIB, 10)
            f.read_at(2 * MIB, 10)
        server.reset_log()
        with m.open(server.url()) as f:
            for offset in (0, MIB, 2 * MIB):
                assert f.read_at(offset, 10) == DATA[offset : offset + 10]
        assert server.body_bytes <= BLOCK  # the union of what both have fetched


READ_IN_ANOTHER_PROCESS = """
import random, sys
import smartremote_cli as smartremote
from tests.support.server import Patterned
url, folder, size, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng, content = random.Random(seed), Patterned(size)
with smartremote.DownloadManager(tmp_dir=folder, idle_download=False) as manager, manager.open(url) as f:
    for _ in range(30):
        offset, length = rng.randrange(size), rng.randrange(200_000)
        assert f.read_at(offset, length) == content.read(offset, length), (offset, length)
"""


def test_processes_share_a_cache(tmp_path: Path) -> None:
    with Server(Patterned(SIZE)) as server:
        common = [
            sys.executable,
            "-c",
            READ_IN_ANOTHER_PROCESS,
            server.url(),
            str(tmp_path / "cache"),
            str(SIZE),
        ]
        running = [
            subprocess.Popen([*common, str(seed)], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
            for seed in range(4)
        ]
        for process in running:
            _, err = process.communicate(timeout=2 * PATIENCE)
            assert process.returncode == 0, err.decode()
        server.reset_log()
        with manager(tmp_path) as m, m.open(server.url()) as f:
            assert f.read() == DATA


# --- connections ---


def test_no_more_connections_than_allowed_are_used(tmp_path: Path) -> None:
    with Server() as server, manager(tmp_path, max_concurrent=2) as m:
        server.resources = {f"/{name}": Resource(DATA) for name in range(5)}
        files = [m.open(server.url(f"/{name}")) for name in range(5)]
        assert in_threads(*[file.read for file in files]) == [DATA] * 5
        files[0].invalidate(0, SIZE)
        files[0].complete()
        assert server.peak <= 2
        for file in files:
            file.close()


def test_no_more_streams_than_allowed_are_open(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path, max_readers_per_file=2) as m, m.open(server.url()) as f:
        works = [partial(f.read_at, offset, 500_000) for offset in range(0, SIZE, 500_000)]
        assert b"".join(in_threads(*works)) == DATA  # type: ignore[arg-type]
        assert server.peak <= 2


def test_connections_are_used_again_and_closed_when_idle_for_long(tmp_path: Path) -> None:
    with Server(DATA) as server:
        with manager(tmp_path, idle_timeout=3600.0) as m, m.open(server.url()) as f:
            for offset in range(0, SIZE, 2 * MIB):
                f.read_at(offset, 10)
            assert server.connections == 1 and server.open_connections == 1
            m.prune()
            assert server.open_connections == 1
        wait_until(lambda: not server.open_connections)
        for idle_download in (False, True):
            with (
                manager(tmp_path / "x", idle_timeout=0.5, idle_download=idle_download) as m,
                m.open(server.url()) as f,
            ):
                f.read()
                wait_until(lambda: not server.open_connections, "the end of an idle connection")
                f.invalidate(0, 1)
                assert f.read_at(0, 10) == DATA[:10]


def test_a_client_of_the_callers_is_used_and_stays_open(tmp_path: Path) -> None:
    with Server(DATA) as server, httpx.Client(headers={"X-Key": "secret"}, auth=("me", "pw")) as client:
        client.cookies.set("who", "me")
        with manager(tmp_path, client=client) as m, m.open(server.url()) as f:
            assert f.read() == DATA
        assert client.get(server.url()).status_code == 200
        first = server.requests[0]
        assert first.header("X-Key") == "secret" and first.header("Cookie") == "who=me"
        assert (first.header("Authorization") or "").startswith("Basic ")
        assert first.header("Accept-Encoding") == "identity"


def test_what_a_client_has_set_goes_to_the_first_origin_only(tmp_path: Path) -> None:
    with Server(DATA) as far, Server() as near:
        near.faults.append(faults.redirect(far.url()))
        with (
            httpx.Client(headers={"X-Key": "secret"}, auth=("me", "pw"), follow_redirects=True) as client,
            manager(tmp_path, client=client) as m,
            m.open(near.url()) as f,
        ):
            assert f.read() == DATA
        assert near.requests[0].header("X-Key") == "secret"
        assert all(seen.header("X-Key") is seen.header("Authorization") is None for seen in far.requests)


def test_a_client_without_a_network(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        first, last = (int(number) for number in request.headers["Range"].removeprefix("bytes=").split("-"))
        part = DATA[first : last + 1]
        where = f"bytes {first}-{first + len(part) - 1}/{SIZE}"
        return httpx.Response(206, headers={"Content-Range": where, "ETag": '"one"'}, content=part)

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
        nothing_left_behind(),
        manager(tmp_path, client=client) as m,
        m.open("https://nowhere.example/file.bin") as f,
    ):
        assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]
        assert f.read() == DATA


def test_a_closed_client_is_said(tmp_path: Path) -> None:
    client = httpx.Client()
    client.close()
    with (
        Server(DATA) as server,
        manager(tmp_path, client=client) as m,
        m.open(server.url()) as f,
        pytest.raises(errors.ClosedError),
    ):
        f.read(1)


def test_options_say_how_to_talk_to_the_server(tmp_path: Path) -> None:
    options = Options(headers=(("X-Key", "secret"),), user=("me", "pw"), user_agent="reader/1")
    with Server(DATA) as server, manager(tmp_path, options=options) as m, m.open(server.url()) as f:
        f.read(1)
        seen = server.requests[0]
        assert (seen.header("X-Key"), seen.header("User-Agent")) == ("secret", "reader/1")
        assert seen.header("Authorization") == "Basic bWU6cHc="


def test_a_logger_is_told_what_goes_wrong_and_no_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("tests.library")
    with Server(DATA) as server, manager(tmp_path, logger=logger) as m, caplog.at_level(logging.DEBUG):
        server.faults.append(faults.reset(after=10_000, when=faults.first(1)))
        with m.open(server.url().replace("//", "//me:geheim@") + "?token=geheim") as f:
            assert f.read() == DATA
    told = [record.getMessage() for record in caplog.records if record.name == "tests.library"]
    assert any("again in" in line for line in told)
    assert "geheim" not in caplog.text


# --- while nobody reads ---


def test_idle_filling_completes_the_file_and_the_record_is_gone(tmp_path: Path) -> None:
    data = pattern(30_000_000)
    with (
        Server(data) as server,
        nothing_left_behind(),
        manager(tmp_path, idle_download=True) as m,
        m.open_to(server.url(), tmp_path / "file.bin") as f,
    ):
        f.read_at(20 * MIB, 10)
        wait_until(lambda: not (tmp_path / "file.bin.part").exists(), "the end of the record")
        assert (tmp_path / "file.bin").read_bytes() == data
        assert max(blocks_sent(server).values()) == 1
        server.reset_log()
        assert f.read() == data and not server.requests


def test_a_reader_stops_idle_filling_at_once(tmp_path: Path) -> None:
    """The filling request is held up after 200 KB; the read is answered all the same, over another connection."""
    gate = threading.Event()
    with Server(Patterned(30 * MIB)) as server:
        server.faults.append(
            faults.hold(gate, after=200_000, when=faults.counted(lambda number: number == 2))
        )
        with manager(tmp_path, idle_download=True) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
            f.read_at(0, 10)
            wait_until(lambda: len(server.requests) == 2 and server.active, "idle filling")
            assert f.read_at(25 * MIB, 10) == pattern(25 * MIB + 10)[-10:]
            assert not gate.is_set()
            gate.set()


def test_nothing_is_filled_when_that_is_off_or_nothing_was_read(tmp_path: Path) -> None:
    with Server(DATA) as server:
        with manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
            f.read(1)
            time.sleep(1.0)
        assert len(server.requests) == 1
        with manager(tmp_path, idle_download=True) as m:
            with m.open_to(server.url(), tmp_path / "file.bin"), m.open(server.url()):
                time.sleep(1.0)
            with m.reader_at(server.url()) as f:
                f.read(1)
                time.sleep(1.0)
        assert len(server.requests) == 2


def test_several_files_are_filled(tmp_path: Path) -> None:
    with Server() as server, manager(tmp_path, idle_download=True) as m:
        server.resources = {f"/{name}": Resource(DATA) for name in range(3)}
        server.faults.append(faults.stall(after=1000, when=faults.path("/0") & faults.after(1)))
        files = [m.open_to(server.url(f"/{name}"), tmp_path / f"{name}") for name in range(3)]
        for file in files:
            file.read(1)
        wait_until(lambda: not (tmp_path / "1.part").exists() and not (tmp_path / "2.part").exists())
        for file in files:
            file.close()
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes() == DATA


def test_one_dead_server_is_asked_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rests grow from a hundredth of a second here."""
    monkeypatch.setattr("smartremote_cli.library.open_file.MIN_REST_SECONDS", 0.01)
    with (
        Server(DATA) as server,
        manager(tmp_path, idle_download=True) as m,
        m.open_to(server.url(), tmp_path / "file.bin") as f,
    ):
        f.read(1)
        server.faults.append(faults.status(404))
        wait_until(lambda: len(server.requests) > 1, "idle filling")
        time.sleep(3.0)
        asked = len(server.requests)
        assert 2 <= asked <= 12  # rests of 0.01, 0.02, 0.04 … s: 8 of them in 3 s
        server.faults.clear()
        assert f.read_at(0) == DATA


def test_a_manager_that_nobody_closes_ends_when_it_is_forgotten(tmp_path: Path) -> None:
    with Server(DATA) as server, nothing_left_behind():
        m = manager(tmp_path, idle_download=True)
        with m.open(server.url()) as f:
            f.read(1)
        known = weakref.ref(m)
        del m, f
        gc.collect()
        assert known() is None


# --- other processes ---


def in_a_child(work: Callable[[], object]) -> int:
    """Fork, do *work* in the child, and return its exit code: 0 when it went well."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print("in the child:", repr(error), file=sys.stderr)
        finally:
            os._exit(code)
    give_up = time.monotonic() + PATIENCE
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > give_up:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.005)


@pytest.fixture
def opened(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Server, RemoteFile]]:
    with Server(DATA) as server, manager(tmp_path, idle_download=True) as m:
        make: dict[str, Callable[[], RemoteFile]] = {
            "open": lambda: m.open(server.url()),
            "open_to": lambda: m.open_to(server.url(), tmp_path / "file.bin"),
            "reader_at": lambda: m.reader_at(server.url()),
        }
        with make[request.param]() as f:
            yield server, f


@pytest.mark.parametrize("opened", ["open", "open_to", "reader_at"], indirect=True)
def test_a_file_goes_on_in_both_processes_after_a_fork(opened: tuple[Server, RemoteFile]) -> None:
    server, f = opened
    server.faults.append(faults.pace(20 * MIB))
    f.seek(100)
    assert f.read(10) == DATA[100:110]

    def work() -> None:
        assert f.tell() == 110 and f.read(10) == DATA[110:120]
        assert f.read_at(3 * MIB, MIB) == DATA[3 * MIB : 4 * MIB]
        f.close()

    assert in_a_child(work) == 0
    assert f.read(10) == DATA[110:120]
    assert f.read_at(2 * MIB, MIB) == DATA[2 * MIB : 3 * MIB]
    assert in_a_child(work) == 0 or f.tell() == 120
    f.complete()
    assert f.read_at(0, SIZE) == DATA


def test_a_fork_in_the_middle_of_reads_hangs_nobody(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
        f.read(1)
        done = threading.Event()

        def read_on() -> None:
            while not done.is_set():
                f.seek(0)
                assert len(f.read(MIB)) <= MIB
                f.invalidate(0, MIB)

        reader = threading.Thread(target=read_on)
        reader.start()
        try:
            for offset in range(10):
                wanted = DATA[offset * BLOCK : offset * BLOCK + 10]
                assert in_a_child(lambda at=offset, want=wanted: _same(f.read_at(at * BLOCK, 10), want)) == 0  # type: ignore[misc]
        finally:
            done.set()
            reader.join()
        f.complete()
    assert (tmp_path / "file.bin").read_bytes() == DATA


def _same(one: bytes, other: bytes) -> None:
    assert one == other


def _read_in_a_pool(arguments: tuple[str, str, int]) -> bytes:
    url, folder, offset = arguments
    with DownloadManager(tmp_dir=folder, idle_download=False) as m, m.open(url) as f:
        return f.read_at(offset, 1000)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_read(tmp_path: Path, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    offsets = list(range(0, SIZE, MIB))
    with Server(DATA) as server, context.Pool(2) as pool:
        work = pool.map_async(
            _read_in_a_pool, [(server.url(), str(tmp_path / "cache"), at) for at in offsets]
        )
        assert work.get(PATIENCE * 2) == [DATA[at : at + 1000] for at in offsets]
        pool.close()
        pool.join()


# --- the end ---


def test_a_closed_manager_opens_nothing(tmp_path: Path) -> None:
    m = manager(tmp_path)
    m.close()
    m.close()
    for attempt in (m.open, m.reader_at, lambda url: m.open_to(url, tmp_path / "x")):
        with pytest.raises(ValueError, match="closed"):
            attempt("http://127.0.0.1:9/")


def test_closing_the_manager_closes_its_files_and_keeps_what_came(tmp_path: Path) -> None:
    with Server(DATA) as server, nothing_left_behind():
        m = manager(tmp_path, idle_download=True)
        f = m.open_to(server.url(), tmp_path / "file.bin")
        f.read_at(MIB, 10)
        m.close()
        with pytest.raises(errors.ClosedError):
            f.read_at(2 * MIB, 10)
        f.close()
        server.reset_log()
        with manager(tmp_path) as n, n.open_to(server.url(), tmp_path / "file.bin") as f:
            f.complete()
        assert MIB // BLOCK not in blocks_sent(server)
    assert (tmp_path / "file.bin").read_bytes() == DATA


def test_nothing_is_said_or_waited_for_when_a_program_ends_without_closing(tmp_path: Path) -> None:
    code = (
        "import sys, smartremote_cli as s\n"
        "m = s.DownloadManager(tmp_dir=sys.argv[2])\n"
        "f = m.open(sys.argv[1]); f.read(1)\n"
        "g = s.open(sys.argv[1]); g.read(1)\n"
    )
    with Server(Patterned(200 * MIB)) as server:
        server.faults.append(faults.pace(5 * MIB))
        words = [sys.executable, "-W", "ignore::ResourceWarning", "-c", code, server.url(), str(tmp_path)]
        env = {**os.environ, "SMARTREMOTE_CACHE_DIR": str(tmp_path / "cache")}
        ran = subprocess.run(words, capture_output=True, timeout=PATIENCE, env=env)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
