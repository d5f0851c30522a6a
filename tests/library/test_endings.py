"""How the threads of a file end: with what they hold given back, whatever they were in the middle of."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from smartremote_cli import DownloadManager, Options, errors
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.plan.claims import Claim
from smartremote_cli.plan.ledger import Ledger
from smartremote_cli.protocol.answers import Asked
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.transfer.attempts import Attempts
from smartremote_cli.transfer.transfer import Transfer
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.response import Response
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Patterned, Resource, Server, pattern
from tests.support.threads import in_threads, wait_until

MIB = 1 << 20
SIZE = 5 * MIB + 12_345
DATA = pattern(SIZE)


def threads_of(kind: str) -> int:
    return sum(thread.name == f"smartremote-{kind}" for thread in threading.enumerate())


def test_an_answer_that_another_thread_made_useless_gives_its_connection_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two find out at once that there are no ranges; the first one's answer becomes the stream, and stays it."""
    real, kept = Attempts.turn_to_stream, list[bool]()

    def turn_to_stream(self: Attempts, response: Response | None = None) -> bool:
        keeps = real(self, response)
        if response is not None:
            late = Remote(server.url(), transport).ask(Asked())
            kept.append(real(self, late))
            late.close()  # as is done with an answer that is not kept
        return keeps

    monkeypatch.setattr(Attempts, "turn_to_stream", turn_to_stream)
    with (
        Server(DATA) as server,
        Transport(Options(netrc=False)) as transport,
        manager(tmp_path) as m,
        m.open(server.url()) as f,
    ):
        server.faults += [faults.ignore_range(when=faults.after(1))]
        f.complete()
        assert f.read() == DATA
    assert kept and not any(kept)


def test_a_file_whose_server_fails_again_and_again_keeps_no_thread_of_the_last_time(tmp_path: Path) -> None:
    with Server(Patterned(8 * MIB)) as server:
        with manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
            for number in range(3):
                server.faults.clear()
                f.read_at(number * MIB, 10)
                server.faults.append(faults.status(404))
                with pytest.raises(errors.SmartRemoteError):
                    f.read_at(number * MIB + MIB // 2, 10)
            assert threads_of("checkpoint") <= 1
        wait_until(lambda: not threads_of("checkpoint"), "the end of the last thread")


def test_a_file_that_is_closed_while_it_is_begun_is_free_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun = LocalCopy.create, threading.Event()

    def create(*arguments: Any, **options: Any) -> LocalCopy:
        begun.set()
        time.sleep(0.8)  # longer than closing waits for anybody
        return real(*arguments, **options)

    monkeypatch.setattr(LocalCopy, "create", create)
    with Server(DATA) as server, manager(tmp_path) as m:
        f = m.open_to(server.url(), tmp_path / "file.bin")

        def close() -> None:
            begun.wait()
            f.close()

        read, _ = in_threads(lambda: f.read_at(0, 10), close)
        assert isinstance(read, errors.ClosedError)
        wait_until(lambda: not threads_of("fetch") + threads_of("checkpoint"), "the end of its threads")
        monkeypatch.setattr(LocalCopy, "create", real)
        with m.open_to(server.url(), tmp_path / "file.bin") as again:
            assert again.read_at(0, 10) == DATA[:10]


def test_a_file_read_to_its_end_is_complete_however_slowly_its_threads_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Ledger.release

    def release(self: Ledger, claim: Claim, *, keep: bool = True, now: float | None = None) -> None:
        time.sleep(0.05)
        real(self, claim, keep=keep, now=now)

    monkeypatch.setattr(Ledger, "release", release)
    path = tmp_path / "file.bin"
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
        assert f.read() == DATA
    assert os.listdir(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_closing_ends_a_wait_for_a_silent_server_also_in_the_middle_of_its_handshake(
    tmp_path: Path, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        m = DownloadManager(tmp_dir=tmp_path, options=Options(timeout=60.0))
        f = m.open(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/file.bin")

        def close() -> socket.socket:
            connection, _ = silent.accept()
            connection.recv(1)
            m.close()
            return connection

        read, connection = in_threads(lambda: f.read_at(0, 10), close)
        f.close()
        assert isinstance(read, errors.ClosedError) and isinstance(connection, socket.socket)
        with connection:
            wait_until(lambda: not threads_of("fetch"), "the end of the thread that waits for the server")


def test_bytes_that_are_let_go_of_before_they_are_read_are_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy in memory is bounded by the thread that fills it, at any moment; its size is not known yet."""
    real, dropped = Transfer.try_expose, list[ByteRange]()

    def try_expose(self: Transfer, wanted: ByteRange) -> bool:
        may = real(self, wanted)
        if may and wanted.start == MIB and not dropped:
            dropped.append(ByteRange(MIB + 2 * 65536, MIB + 4 * 65536))
            self.drop(dropped[0])
        return may

    monkeypatch.setattr(Transfer, "try_expose", try_expose)
    with Server(Resource(Patterned(8 * MIB))) as server, manager(tmp_path) as m:
        server.faults += [faults.chunked(), faults.ignore_range(), faults.pace(2 * MIB)]
        with m.reader_at(server.url()) as f:
            data = f.read_at(MIB, 300_000)
    assert dropped
    assert data == pattern(8 * MIB)[MIB : MIB + 300_000]
