"""The benchmarks work: the relay keeps its pace, ratios are what they say, and the quickest case runs to its page."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import archives, peers
from benchmarks.__main__ import main
from benchmarks.case import Case, Goal, Results, wall
from benchmarks.measure import Job, Outcome, RunFailed, Sample, run
from benchmarks.plot import draw
from benchmarks.relay import Link, Relay
from benchmarks.report import Measured, document, is_met
from tests.support import nginx


@contextlib.contextmanager
def sending(data: bytes) -> Iterator[int]:
    """A server that sends *data* to whoever has sent a byte, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(1)
                        connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])


def fetched(port: int) -> tuple[bytes, float]:
    """Return what comes from *port*, and how many seconds it took."""
    began = time.monotonic()
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.send(b"?")
        while more := client.recv(1 << 16):
            received += more
    return received, time.monotonic() - began


def test_a_relay_passes_on_every_byte_and_is_never_faster_than_its_link() -> None:
    data = bytes(range(256)) * 1024
    with sending(data) as port, Relay(port, Link(rate=1_000_000, round_trip=0.05)) as relay:
        received, seconds = fetched(relay.port)
        assert received == data
        assert seconds >= 0.1 + len(data) / 1_000_000  # connecting, asking, and then the pace


def test_one_connection_in_so_many_is_slow_and_a_reset_counts_anew() -> None:
    link = Link(rate=8e6, slow_every=2, slow_times=8)
    assert [link.rate_of(number) for number in range(4)] == [8e6, 1e6, 8e6, 1e6]
    with sending(b"x" * 100_000) as port, Relay(port, link) as relay:
        fetched(relay.port)
        relay.reset()
        fetched(relay.port)
        assert fetched(relay.port)[1] >= 0.1


def test_a_run_is_believed_only_when_its_work_is_done(tmp_path: Path) -> None:
    made, original = tmp_path / "made", tmp_path / "original"
    original.write_text("right")
    job = Job(
        "wrong", [sys.executable, "-c", f"open({str(made)!r}, 'w').write('wrong')"], makes={made: original}
    )
    with pytest.raises(RunFailed, match="not what was served"):
        run(job, {})
    with pytest.raises(RunFailed, match="exit 3: because"):
        run(
            Job(
                "failing",
                [sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)"],
            ),
            {},
        )
    with pytest.raises(RunFailed, match="not done after"):
        run(Job("endless", [sys.executable, "-c", "import time; time.sleep(60)"]), {}, limit=0.5)


def test_what_a_run_took_is_its_own_not_the_harness_s() -> None:
    ballast = bytearray(256 * 2**20)  # vfork would have it counted as the child's
    ballast[::4096] = b"x" * (len(ballast) // 4096)
    sample = run(Job("small", [sys.executable, "-S", "-c", "pass"]), {})
    assert 0 < sample.peak < 64 * 2**20
    assert sample.processor > 0
    del ballast


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours = Outcome("ours", [Sample(1, 1, 1), Sample(4, 1, 1), Sample(9, 1, 1)])
    theirs = Outcome("theirs", [Sample(1, 1, 1), Sample(2, 1, 1), Sample(3, 1, 1)])
    results = Results({"ours": ours, "theirs": theirs, "failed": Outcome("failed", failure="exit 1")})
    assert results.ratio("wall", "ours", "theirs") == 2
    assert results.ratio("wall", "ours", "failed") is None
    assert is_met(Goal("", wall("ours", "theirs"), 2.0), results) is True
    assert is_met(Goal("", wall("ours", "theirs"), 1.9), results) is False
    assert is_met(Goal("", wall("ours", "nobody"), 1.9), results) is None
    case = Case("A <title>", "About.", [], ours="ours", goals=[Goal("wall", wall("ours", "theirs"), 2.0)])
    measured = [Measured("some", case, results)]
    page = document(measured, {"other": "no disk"}, 3, "plot.svg", quick=False)
    assert "| A <title> | wall | 2.00 | 2 | met |" in page
    assert "| failed | exit 1 |" in page
    assert "Not measured: other: no disk." in page
    assert "A &lt;title&gt;" in draw(measured)


@pytest.mark.parametrize("members", [3, 70_000])
def test_the_archives_are_zips(tmp_path: Path, members: int) -> None:
    with zipfile.ZipFile(archives.make(tmp_path / "many.zip", members)) as archive:
        assert len(archive.namelist()) == members
        assert archive.read(archive.namelist()[-1]) == b"data"


def test_the_quickest_case_runs_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if nginx.find() is None:
        pytest.skip("NOT TESTED: the benchmarks need nginx, and there is none")
    if not peers.installed():
        pytest.skip("NOT TESTED: no peer to compare with is installed (apt install aria2 curl axel wget)")
    page = tmp_path / "performance.md"
    code = main(["--quick", "--rounds", "1", "--disk", str(tmp_path), "--output", str(page), "plain"])
    text = page.read_text()
    assert code == 0, text
    assert "over plain HTTP" in text and "| smartremote |" in text
    assert page.with_suffix(".svg").read_text().startswith("<svg")
    ratios = re.findall(r"\| \d+ \| \d+\.\d\d \| \d+\.\d\d \|$", text, re.MULTILINE)
    assert ratios, "not one peer did its work"
    assert "over plain HTTP" in capsys.readouterr().out
