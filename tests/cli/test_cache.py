"""The cache as users of the commands and of the library meet it: whose bytes, rotten blocks, other processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smartremote_cli import DownloadManager
from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.cache import Cache
from smartremote_cli.transport.options import Options
from tests.cli.afterwards import DATA, MIB, OTHER, SIZE
from tests.support import faults
from tests.support.server import Fault, Patterned, Resource, Server, pattern
from tests.support.server.exchanges import Exchange
from tests.support.tool import Tool, ended

ALICE, BOB = Resource(DATA, etag='"same"'), Resource(OTHER, etag='"same"')


def choosing(bobs: Callable[[Exchange], bool]) -> Fault:
    """Serve bob's bytes to whom *bobs* chooses, under the same validator."""

    def ask(exchange: Exchange) -> None:
        exchange.resource = BOB if bobs(exchange) else ALICE

    return Fault("two users", faults.always, ask=ask)


def basic(name: str) -> Callable[[Exchange], bool]:
    import base64

    token = base64.b64encode(f"{name}:pw".encode()).decode()
    return lambda exchange: token in (exchange.seen.header("Authorization") or "")


def of_user(server: Server, name: str) -> list[str]:
    return [server.url(), "--user", f"{name}:pw"]


def of_url(server: Server, name: str) -> list[str]:
    return [server.url().replace("http://", f"http://{name}:pw@")]


def of_header(server: Server, name: str) -> list[str]:
    return [server.url(), "-H", f"X-User: {name}"]


def of_netrc(server: Server, name: str) -> list[str]:
    (Path(os.environ["HOME"]) / ".netrc").write_text(f"machine 127.0.0.1 login {name} password pw\n")
    return [server.url()]


def of_agent(server: Server, name: str) -> list[str]:
    return [server.url(), "--user-agent", name]


@pytest.mark.parametrize(
    ("words", "bobs"),
    [
        (of_user, basic("bob")),
        (of_url, basic("bob")),
        (of_netrc, basic("bob")),
        (of_header, lambda exchange: exchange.seen.header("X-User") == "bob"),
        (of_agent, lambda exchange: exchange.seen.header("User-Agent") == "bob"),
    ],
    ids=["user", "url", "netrc", "header", "agent"],
)
def test_two_users_never_get_each_others_bytes(
    tool: Tool, words: Callable[[Server, str], list[str]], bobs: Callable[[Exchange], bool]
) -> None:
    with Server(ALICE) as server:
        server.faults.append(choosing(bobs))
        for _ in range(2):
            for name, data in (("alice", DATA), ("bob", OTHER)):
                ran = tool("cat", *words(server, name), "--length", str(2 * BLOCK))
                assert (ran.code, ran.out, ran.err) == (0, data[: 2 * BLOCK], "")
        bodies = server.body_bytes
        ran = tool("cat", *words(server, "alice"), "--length", str(2 * BLOCK), "--offline")
        assert (ran.code, ran.out) == (0, DATA[: 2 * BLOCK])
        assert bodies < 6 * BLOCK  # each came once
    for path in tool.cache.iterdir():
        assert b"pw" not in path.read_bytes() or path.suffix == ""


def test_get_takes_over_only_what_the_same_user_has_cached(tool: Tool) -> None:
    with Server(ALICE) as server:
        server.faults.append(choosing(basic("bob")))
        assert tool("cat", *of_user(server, "alice")).out == DATA
        assert tool("get", *of_user(server, "bob"), "-o", "bob").code == 0
        assert tool.read("bob") == OTHER


def test_two_users_of_one_manager_and_two_managers_get_their_own(tmp_path: Path) -> None:
    with Server(ALICE) as server:
        server.faults.append(choosing(basic("bob")))
        urls = [server.url().replace("http://", f"http://{name}:pw@") for name in ("alice", "bob")]
        with (
            DownloadManager(tmp_dir=tmp_path / "cache", idle_download=False) as manager,
            manager.open(urls[0]) as one,
            manager.open(urls[1]) as two,
        ):
            assert (one.read(BLOCK), two.read(BLOCK)) == (DATA[:BLOCK], OTHER[:BLOCK])
        for name, data in (("alice", DATA), ("bob", OTHER)):
            options = Options(user=(name, "pw"))
            with (
                DownloadManager(tmp_dir=tmp_path / "cache", idle_download=False, options=options) as manager,
                manager.open(server.url()) as file,
            ):
                assert file.read(BLOCK) == data[:BLOCK]


def test_what_varies_is_fetched_each_time(tool: Tool) -> None:
    with Server(Resource(DATA, headers=[("Vary", "Accept-Language")])) as server:
        assert tool("cat", server.url(), "--length", "10").out == DATA[:10]
        server.resources["/file.bin"] = Resource(OTHER, headers=[("Vary", "Accept-Language")])
        assert tool("cat", server.url(), "--length", "10").out == OTHER[:10]
        assert tool("cat", server.url(), "--length", "10", "--offline").code == 6


@pytest.mark.parametrize("length", [MIB, SIZE], ids=["partial", "whole"])
@pytest.mark.parametrize("checked", [False, True])
def test_a_block_that_rots_while_others_use_it_is_fetched_again(
    tool: Tool, length: int, checked: bool
) -> None:
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url(), "--length", str(length)).code == 0
        with DownloadManager(idle_download=False) as manager, manager.open(server.url()) as file:
            assert file.read(BLOCK) == DATA[:BLOCK]
            path = Path(file.name)
            with path.open("r+b") as rotten:
                rotten.seek(3 * BLOCK + 11)
                rotten.write(b"rot")
            server.reset_log()
            ran = tool("cat", server.url(), "--length", str(length))
            assert (ran.code, ran.out, ran.err) == (0, DATA[:length], "")
            assert server.body_bytes <= BLOCK + 4096
            with path.open("r+b") as rotten:
                rotten.seek(5 * BLOCK + 11)
                rotten.write(b"rot")
            if checked:
                file.complete()
            assert file.read_at(0, length) == DATA[:length]
        assert tool("cat", server.url(), "--length", str(length), "--offline").out == DATA[:length]


def test_a_rotten_block_is_not_printed_offline(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url(), "--length", str(4 * BLOCK)).code == 0
        with open(Cache(str(tool.cache)).path_of(server.url()), "r+b") as rotten:
            rotten.seek(2 * BLOCK + 11)
            rotten.write(b"rot")
        ran = tool("cat", server.url(), "--length", str(4 * BLOCK), "--offline")
    assert ran.code == 6 and DATA.startswith(ran.out) and len(ran.out) <= 2 * BLOCK
    assert "not cached" in ran.complaint


def test_a_stopped_process_does_not_hold_up_the_others(tool: Tool) -> None:
    """It has the folder's lock at that moment."""
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url(), "--length", "10").code == 0
        lock = os.open(tool.cache / ".lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            for url in (server.url(), server.url("/file.bin?new")):
                ran = tool.spawn("cat", url)
                assert (ran.code, ran.out, ran.err) == (0, DATA, "")
        finally:
            os.close(lock)


def test_the_library_reads_through_memory_where_the_cache_is_not_to_be_used(
    tool: Tool, caplog: pytest.LogCaptureFixture
) -> None:
    tool.cache.mkdir()
    tool.cache.chmod(0o777)
    with Server(Patterned(SIZE)) as server, DownloadManager(idle_download=False) as manager:
        for url in (server.url(), server.url("/file.bin?2")):
            with manager.open(url) as file:
                assert file.read() == DATA
                assert file.name.startswith(server.url())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert os.listdir(tool.cache) == []


def on_disk(folder: Path) -> int:
    found = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_blocks * 512
    return found


def test_whenever_processes_are_killed_or_stopped_the_others_go_on_and_the_limit_holds(tool: Tool) -> None:
    limit, dice = 4 * MIB, random.Random(14)
    tool.env(SMARTREMOTE_CACHE_SIZE=str(limit))
    tool.cache.mkdir(mode=0o700)
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], on_disk(tool.cache))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with Server(send_buffer=64 * 1024) as server:
        sizes = [dice.randrange(MIB // 2, 2 * MIB) for _ in range(4)]
        for number, size in enumerate(sizes):
            server.resources[f"/{number}"] = Resource(Patterned(size, seed=number), etag=f'"{number}"')
        server.faults.append(faults.pace(2 * MIB))
        stopped: list[subprocess.Popen[bytes]] = []
        for _ in range(8):
            victim = tool.start("cat", server.url(f"/{dice.randrange(4)}"))
            number = dice.randrange(4)
            other = tool.start("cat", server.url(f"/{number}"))
            try:
                victim.wait(dice.uniform(0.1, 0.8))
            except subprocess.TimeoutExpired:
                victim.send_signal(dice.choice([signal.SIGKILL, signal.SIGSTOP]))
            stopped.append(victim)
            ran = ended(other)
            assert (ran.code, ran.out, ran.err) == (0, pattern(sizes[number], seed=number), "")
        for victim in stopped:
            victim.kill()
            victim.communicate()
        server.faults.clear()
        for number, size in enumerate(sizes):
            ran = tool("cat", server.url(f"/{number}"))
            assert (ran.code, ran.out, ran.err) == (0, pattern(size, seed=number), "")
    over.set()
    watcher.join()
    assert most[0] <= limit
