"""What a signal leaves behind, in processes of their own: progress, an exit code, and nothing that holds it up."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import faults
from tests.support.server import Patterned, Server, pattern
from tests.support.threads import wait_until
from tests.support.tool import Tool, ended

MIB = 1 << 20
SIZE = 41_000_000
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# Seconds. The contract says one, which a loaded machine may exceed. Each wait that a signal must end here lasts longer
# than this by itself, so that the bound still tells whether the process has waited for it.
SOON = 10.0


@contextmanager
def stalled(after: int = 600_000, size: int = SIZE) -> Iterator[Server]:
    """A server that sends the beginning of every answer, and then nothing more."""
    with Server(Patterned(size)) as server:
        server.faults += [faults.stall(after=after)]
        yield server


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[int, str]:
    """Send the signal and return exit code and stderr of a process that does not wait for what is under way."""
    sent = time.monotonic()
    process.send_signal(number)
    ran = ended(process)
    assert time.monotonic() - sent < SOON
    assert "Traceback" not in ran.err
    return ran.code, ran.err


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_in_the_middle_keeps_the_progress(tool: Tool, number: signal.Signals) -> None:
    with stalled() as server:
        process = tool.start(
            "get", server.url(), "--no-sync"
        )  # a busy disk may take longer than a signal waits
        wait_until(lambda: sum(seen.body_bytes_sent >= 600_000 for seen in server.requests) >= 2)
        wait_until(lambda: tool.status()["bytes_present"] > 0)
        code, _ = stop(process, number)
        assert code == 128 + number
        server.wait_until_idle()
        server.reset_log()
        server.faults.clear()
        facts = tool.status()
        assert facts["state"] == "partial"
        assert 0 < facts["bytes_present"] < SIZE
        ran = tool("complete", "file.bin", "-x", "1")
        assert ran.code == 0, ran.err
        assert server.body_bytes <= facts["bytes_missing"] + 2 * 1024 * len(server.requests)
    assert tool.read() == pattern(SIZE)
    assert tool.files == ["file.bin"]


def test_bytes_that_came_before_a_signal_are_not_fetched_again(tool: Tool) -> None:
    class UpToHalf(threading.Event):
        """A gate that stays shut once half of the file is sent."""

        def is_set(self) -> bool:
            return server.body_bytes <= SIZE // 2

    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.hold(UpToHalf(), after=at) for at in range(0, SIZE, MIB // 4)]
        process = tool.start(
            "get", server.url(), "--no-sync"
        )  # a busy disk may take longer than a signal waits
        wait_until(lambda: server.body_bytes > SIZE // 2)
        assert stop(process, signal.SIGINT)[0] == 130
        server.wait_until_idle()
        first = server.body_bytes
        server.reset_log()
        server.faults.clear()
        facts = tool.status()
        assert facts["bytes_present"] > SIZE // 10
        assert facts["bytes_present"] <= first
        assert tool("complete", "file.bin", "-x", "1").code == 0
        assert server.body_bytes <= facts["bytes_missing"] + 1_200_000
    assert tool.read() == pattern(SIZE)


@pytest.mark.parametrize("where", ["before", "headers"])
def test_a_signal_before_any_answer_leaves_nothing(tool: Tool, where: str) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.stall(where=where)]  # type: ignore[arg-type]
        process = tool.start("get", server.url())
        wait_until(lambda: bool(server.requests))
        code, err = stop(process, signal.SIGINT)
    assert (code, err) == (130, "")
    assert tool.files == []


def test_a_signal_during_a_wait_for_the_server_is_heard(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.retry_after(60)]
        process = tool.start("get", server.url(), "-q")
        wait_until(lambda: bool(server.requests))
        assert stop(process, signal.SIGTERM) == (143, "")


@pytest.mark.parametrize(
    "module", ["smartremote_cli.errors", "pyroaring", "smartremote_cli.library.download"]
)
def test_a_signal_while_it_is_being_loaded_shows_no_traceback(tool: Tool, module: str) -> None:
    with stalled() as server:
        words = [sys.executable, "-X", "importtime", "-m", "smartremote_cli", "get", server.url()]
        process = subprocess.Popen(words, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            if line.split()[-1].decode() == module:
                break
        code, err = stop(process, signal.SIGINT)
    assert code in (130, -signal.SIGINT)
    assert all(line.startswith("import time:") for line in err.splitlines())


def test_a_signal_that_comes_where_nothing_is_passed_on_is_not_lost() -> None:
    """Python prints what a destructor raises, or a callback of its import system, and goes on."""
    script = """if True:
        import signal, time
        from smartremote_cli.cli.signals import Interrupted, catch_signals

        class Thing:
            def __del__(self):
                signal.raise_signal(signal.SIGTERM)

        try:
            with catch_signals():
                Thing()
                time.sleep(30)
        except Interrupted as stop:
            raise SystemExit(0 if stop.number == signal.SIGTERM else 1)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_signal_ends_it_at_once(tool: Tool) -> None:
    with stalled() as server:
        process = tool.start("get", server.url(), "-q")
        wait_until(lambda: server.body_bytes >= 600_000)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        code, err = stop(process, signal.SIGINT)
    assert code in (130, 143)
    assert err == ""


@pytest.mark.parametrize("command", ["cat", "zip-ls"])
def test_reading_commands_stop_as_well_and_keep_what_they_read(tool: Tool, command: str) -> None:
    with stalled() as server:
        process = tool.start(command, server.url())
        wait_until(lambda: server.body_bytes >= 100_000)
        code, err = stop(process, signal.SIGTERM)
    assert (code, err) == (143, "")


def test_a_reader_that_does_not_read_holds_nothing_up(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        process = tool.start("cat", server.url())
        wait_until(lambda: server.body_bytes > 8 * MIB)
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
        assert time.monotonic() - sent < SOON
        ended(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(tool: Tool, number: signal.Signals) -> None:
    gate = threading.Event()

    def ignore() -> None:
        signal.signal(number, signal.SIG_IGN)

    with Server(Patterned(3 * MIB)) as server:
        server.faults += [faults.hold(gate, after=MIB)]
        process = tool.start("get", server.url(), preexec_fn=ignore)
        wait_until(lambda: server.body_bytes >= MIB)
        process.send_signal(number)
        gate.set()
        ran = ended(process)
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(3 * MIB)


def test_a_process_that_hangs_in_the_system_is_ended_in_time() -> None:
    """As in a sync to a slow disk, the signal interrupts nothing of what the main thread waits for."""
    script = (
        "import signal, threading, time\n"
        "from smartremote_cli.cli.signals import catch_signals\n"
        "with catch_signals():\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "    threading.Timer(0.2, lambda: print('here', flush=True)).start()\n"
        "    time.sleep(60)\n"
    )
    words = [sys.executable, "-c", script]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    assert stop(process, signal.SIGTERM) == (143, "")


def is_over_before(enough: int, server: Server, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server has sent *enough* bytes; return whether the process has ended before that."""
    wait_until(lambda: process.poll() is not None or server.body_bytes >= enough)
    return process.poll() is not None


def test_killed_over_and_over_the_file_ends_right_and_little_is_fetched_twice(tool: Tool) -> None:
    size, connections, rate = 9_000_000, 4, 2 * MIB
    whole, dice, kills = pattern(size), random.Random(7), 0
    with Server(Patterned(size), send_buffer=64 * 1024) as server:
        server.faults += [faults.pace(rate)]
        while True:
            # Bytes, not seconds: the first two are too few for the whole file, later ones enough for a checkpoint.
            enough = server.body_bytes + (dice.randint(4 * MIB, 20 * MIB) if kills > 1 else 2 * MIB)
            process = tool.start("get", server.url(), "-x", str(connections), "-q")
            if is_over_before(enough, server, process):
                break
            process.kill()
            ended(process)
            kills += 1
            if "file.bin.part" in tool.files:
                held, edge = tool.read(), 0
                for first, last in [*(tool.status()["missing"] or []), [size, size]]:
                    assert held[edge:first] == whole[edge:first]
                    edge = last + 1
        assert ended(process).code == 0
        server.wait_until_idle()
        # Each kill costs what the last second brought, and what the connections had in flight.
        lost = connections * (rate + MIB)
        assert server.body_bytes <= size + (kills + 1) * lost
    assert kills >= 2
    assert tool.read() == whole
    assert tool.files == ["file.bin"]
