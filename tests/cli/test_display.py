"""What the display says (values in, text out), and how it behaves on real pipes and pseudo-terminals."""

from __future__ import annotations

import fcntl
import io
import itertools
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli.cli.progress.bar import BarRenderer
from smartremote_cli.cli.progress.display import Progress, ShownProgress, make_progress
from smartremote_cli.cli.progress.lines import Pace, fitting, resampled
from smartremote_cli.cli.progress.renderers import JsonRenderer, PlainRenderer
from smartremote_cli.cli.progress.terminal import StderrWriter
from smartremote_cli.core.sizes import duration_text, size_text, speed_text
from smartremote_cli.errors import IncompleteError
from smartremote_cli.events import Notice, Retrying, Snapshot, Started

MIB = 1 << 20
ROOT = Path(__file__).parents[2]
NOTHING = Snapshot(0, None, 0)


# -- sizes and times --


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (10_239, "10.0 KiB"),
        (41 * MIB, "41.0 MiB"),
        (456 * MIB, "456 MiB"),
        (1000 * MIB, "1000 MiB"),
        (1024 * MIB - 1, "1.00 GiB"),
        (2**48, "256 TiB"),
        (2**80, "1048576 EiB"),
    ],
)
def test_sizes_have_three_digits_and_units_in_powers_of_1024(count: int, text: str) -> None:
    assert size_text(count) == text
    assert speed_text(count) == text + "/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.04, "0 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (3720, "1 h 2 min"),
        (86_399, "1 d 0 h"),
        (183_600, "2 d 3 h"),
        (1e12, "11574074 d 2 h"),
    ],
)
def test_times_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


# -- the block map --


@given(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=300), st.integers(1, 300))
def test_a_cell_of_the_map_is_full_only_when_whole_and_empty_only_when_nothing_is_held(
    cells: list[float], width: int
) -> None:
    merged = resampled(cells, width)
    assert len(merged) == width
    for place, cell in enumerate(merged):
        part = cells[
            place * len(cells) // width : max(
                place * len(cells) // width + 1, -(-(place + 1) * len(cells) // width)
            )
        ]
        assert (cell == 1) == all(value == 1 for value in part)
        assert (cell == 0) == all(value == 0 for value in part)


def test_the_least_important_fields_give_way_first() -> None:
    fields = [(0, "45%"), (2, "1 MiB/s"), (1, "3 s left")]
    assert fitting(fields, 80) == ["45%", "1 MiB/s", "3 s left"]
    assert fitting(fields, 20) == ["45%", "3 s left"]
    assert fitting(fields, 1) == ["45%"]


# -- speed and time left --


def test_time_left_is_judged_half_by_the_last_30_seconds_and_half_by_the_run() -> None:
    pace = Pace(0.0, 0)
    for second in range(1, 71):  # 40 s of 1000 B/s, then 30 s of 100 B/s
        pace.add(second, min(second, 40) * 1000 + max(0, second - 40) * 100)
    average = 43_000 / 70
    assert pace.speed == pytest.approx(100)
    assert pace.seconds_left(1_000_000) == pytest.approx(1_000_000 / ((100 + average) / 2))


def test_time_left_is_unknown_in_the_first_second_and_after_30_silent_ones() -> None:
    pace = Pace(0.0, 0)
    assert pace.speed is None
    pace.add(0.5, 1000)
    assert pace.seconds_left(1000) is None
    pace.add(1.0, 2000)
    assert pace.seconds_left(1000) == pytest.approx(0.5)
    for second in range(2, 40):
        pace.add(second, 2000)
    assert pace.speed == 0
    assert pace.seconds_left(1000) is None
    assert pace.seconds_left(0) == 0


def test_bytes_held_before_count_for_no_speed_and_a_fresh_start_forgets_the_past() -> None:
    pace = Pace(0.0, 500_000)
    pace.add(2.0, 500_200)
    assert pace.speed == 100
    pace.add(4.0, 0)
    assert pace.speed is None
    pace.add(5.0, 70)
    assert pace.speed == 70


def test_the_pace_remembers_no_more_than_its_window_needs() -> None:
    pace = Pace(0.0, 0)
    for tick in range(100_000):
        pace.add(tick * 0.01, tick)
    assert len(pace._marks) < 65


# -- plain lines --


def plain(verbose: bool = False) -> PlainRenderer:
    return PlainRenderer("disk.iso", "downloaded", verbose, 0.0)


def test_log_lines_come_at_growing_gaps_and_never_further_apart_than_5_minutes() -> None:
    renderer = plain()
    renderer.event(Started("disk.iso", 10**9, 0), NOTHING, 0.0)
    said = [
        second for second in range(1, 3 * 3600) if renderer.tick(Snapshot(second, 10**9, 8), float(second))
    ]
    gaps = [later - sooner for sooner, later in itertools.pairwise(said)]
    assert said[0] == 5
    assert sum(second <= 60 for second in said) in range(5, 9)
    assert sum(second <= 3600 for second in said) in range(25, 35)
    assert max(gaps) <= 301


def test_a_log_line_says_how_much_how_fast_and_how_long_still() -> None:
    renderer = plain()
    renderer.event(Started("disk.iso", 100 * MIB, 0), NOTHING, 0.0)
    assert renderer.tick(Snapshot(10 * MIB, 100 * MIB, 8), 5.0) == (
        "smartremote: disk.iso: 10%, 10.0 MiB of 100 MiB, 2.00 MiB/s, 45 s left\n"
    )


def test_a_log_line_of_unknown_size_leaves_out_what_is_unknown() -> None:
    renderer = plain()
    renderer.event(Started("disk.iso", None, 0), NOTHING, 0.0)
    assert renderer.tick(Snapshot(10 * MIB, None, 1), 5.0) == "smartremote: disk.iso: 10.0 MiB, 2.00 MiB/s\n"


def test_a_log_line_before_any_answer_says_so() -> None:
    assert plain().tick(NOTHING, 5.0) == "smartremote: disk.iso: waiting for the server\n"


def test_the_last_line_counts_what_this_run_brought() -> None:
    renderer = plain()
    renderer.event(Started("disk.iso", 41 * MIB, 0), NOTHING, 0.0)
    assert renderer.done(Snapshot(41 * MIB, 41 * MIB, 0), 2.0) == (
        "smartremote: disk.iso: downloaded 41.0 MiB in 2 s (20.5 MiB/s)\n"
    )
    renderer.event(Started("disk.iso", 41 * MIB, 31 * MIB), NOTHING, 0.0)
    assert renderer.done(Snapshot(41 * MIB, 41 * MIB, 0), 2.0) == (
        "smartremote: disk.iso: downloaded 10.0 MiB in 2 s (5.00 MiB/s), 41.0 MiB in all\n"
    )


@pytest.mark.parametrize("size", [0, 41 * MIB])
def test_the_last_line_of_a_run_that_had_nothing_to_do_says_complete(size: int) -> None:
    line = plain().done(Snapshot(size, size, 0), 0.1)
    assert line == f"smartremote: disk.iso: complete, {size_text(size)}\n"


def test_a_failed_run_says_where_it_stopped_but_not_when_nothing_came() -> None:
    error = IncompleteError("disk.iso", "no answer")
    stopped = plain().failed(error, Snapshot(10 * MIB, 41 * MIB, 0), 2.0)
    assert stopped == "smartremote: disk.iso: stopped at 10.0 MiB of 41.0 MiB\n"
    assert plain().failed(error, NOTHING, 2.0) == ""


def test_connections_that_fail_together_are_one_line_unless_verbose() -> None:
    for verbose, lines in ((False, 1), (True, 8)):
        renderer = plain(verbose)
        said = [renderer.event(Retrying("reset by peer", 4.0, 1), NOTHING, 1.0) for _ in range(8)]
        assert said[0] == "smartremote: disk.iso: reset by peer; next attempt in 4 s\n"
        assert len(list(filter(None, said))) == lines
        assert renderer.event(Retrying("reset by peer", 0.0, 1), NOTHING, 11.0).endswith("; trying again\n")


def test_notices_are_one_line_each_with_control_characters_escaped_and_details_only_when_verbose() -> None:
    assert plain().event(Notice("a\x1b[2Jb\nc"), NOTHING, 1.0) == "smartremote: a^[[2Jb^Jc\n"
    detail = Notice("weak ETag", detail=True)
    assert plain().event(detail, NOTHING, 1.0) == ""
    assert plain(verbose=True).event(detail, NOTHING, 1.0) == "smartremote: weak ETag\n"


# -- JSON lines --


def test_every_json_object_has_every_field_and_unknown_is_null() -> None:
    renderer = JsonRenderer("disk.iso", "downloaded", False, 0.0)
    known = Snapshot(3000, 4000, 2)
    lines = [
        renderer.tick(NOTHING, 0.2),
        renderer.event(Started("disk.iso", None, 1000), NOTHING, 1.0),
        renderer.event(Notice("weak ETag"), known, 1.0),
        renderer.event(Retrying("reset", 0.25, 1), known, 2.0),
        renderer.tick(known, 3.0),
        renderer.failed(IncompleteError("disk.iso", "no answer"), known, 3.0),
        renderer.failed(KeyboardInterrupt(), known, 3.0),
        renderer.done(Snapshot(4000, 4000, 0), 3.0),
    ]
    fields = ["event", "bytes_present", "size", "speed", "eta", "connections"]
    objects = [json.loads(line) for line in filter(None, lines)]
    assert all(list(value)[:6] == fields for value in objects)
    assert [list(value.values()) for value in objects] == [
        ["start", 1000, None, None, None, 0, "disk.iso"],
        ["retry", 3000, 4000, 2000, 0.5, 2, "reset", 0.2],
        ["progress", 3000, 4000, 1000, 1.0, 2],
        ["error", 3000, 4000, 1000, 1.0, 2, 3, "disk.iso: no answer"],
        ["error", 3000, 4000, 1000, 1.0, 2, 130, "KeyboardInterrupt"],
        ["done", 4000, 4000, 1000, 0.0, 0, "none"],
    ]


# -- the bar --


class Screen:
    """As much of a terminal as the bar uses. A move above the first row is an error."""

    def __init__(self) -> None:
        self.rows = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for control, count, letter, plain_text in re.findall(
            r"(\r|\n)|\x1b\[([0-9;?]*)([A-Za-z])|([^\r\n\x1b]+)", text
        ):
            here = self.rows[self.row]
            if control == "\r":
                self.column = 0
            elif control == "\n":
                self.row += 1
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif plain_text:
                self.rows[self.row] = (
                    here[: self.column].ljust(self.column)
                    + plain_text
                    + here[self.column + len(plain_text) :]
                )
                self.column += len(plain_text)
            elif letter == "K":
                self.rows[self.row] = here[: self.column]
            elif letter == "J":
                self.rows[self.row :] = [here[: self.column]]
            elif letter == "A":
                self.row -= int(count)
                assert self.row >= 0
            else:
                assert letter == "m" or count == "?7", letter

    @property
    def text(self) -> str:
        return "\n".join(self.rows).rstrip("\n")


class Window:
    """The size of a terminal, to be changed by a test; None is the background."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.room: tuple[int, int] | None = (columns, rows)

    def __call__(self) -> tuple[int, int] | None:
        return self.room


def bar(
    window: Window, name: str = "disk.iso", verbose: bool = False, encoding: str = "utf-8"
) -> BarRenderer:
    return BarRenderer(name, "downloaded", verbose, 0.0, window, encoding)


def test_the_bar_shows_name_share_amounts_speed_connections_time_left_and_the_map() -> None:
    renderer, screen = bar(Window()), Screen()
    renderer.event(Started("disk.iso", 100 * MIB, 0), NOTHING, 0.0)
    screen.feed(renderer.tick(Snapshot(10 * MIB, 100 * MIB, 8, (1.0, 0.1, 0.9, 0.0)), 5.0))
    first, second = screen.text.split("\n")
    assert first == "disk.iso   10%   10.0 MiB / 100 MiB  2.00 MiB/s  8 conn  45 s left"
    assert (second[0], second[25], second[45], second[78], len(second)) == ("█", "▒", "▓", "░", 79)
    assert (screen.row, screen.column) == (0, 0)


def test_a_size_without_a_map_gets_a_bar_and_an_unknown_size_neither() -> None:
    renderer, screen = bar(Window(21)), Screen()
    renderer.event(Started("disk.iso", 100, 0), NOTHING, 0.0)
    screen.feed(renderer.tick(Snapshot(50, 100, 8), 5.0))
    assert screen.rows[1] == "█" * 10 + "░" * 10
    screen.feed(renderer.tick(Snapshot(50, None, 8), 5.0))
    assert screen.text.startswith("disk.iso")
    assert len(screen.rows) == 1


def test_before_any_answer_the_bar_says_connecting() -> None:
    assert "disk.iso  connecting" in bar(Window()).tick(NOTHING, 0.2)


@settings(deadline=None)  # the first example imports Rich
@given(
    st.integers(1, 200),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(0, 2**70)),
    st.integers(0, 2**70),
    st.text(max_size=40),
)
def test_no_row_reaches_the_last_column_and_no_picture_the_last_row(
    columns: int, rows: int, size: int | None, present: int, name: str
) -> None:
    from rich.cells import cell_len

    renderer, screen = bar(Window(columns, rows), name), Screen()
    renderer.event(Started(name, size, 0), NOTHING, 0.0)
    renderer.event(
        Retrying("a reason that is longer than a narrow window", 3.0, 1), Snapshot(2**71, size, 8), 0.5
    )
    screen.feed(renderer.tick(Snapshot(present, size, 8, (0.5, 1.0)), 1.0))
    assert all(cell_len(row) <= max(columns - 1, 1) for row in screen.rows)
    assert len(screen.rows) <= max(rows - 1, 1)


def test_twenty_columns_still_hold_a_name_and_the_share() -> None:
    renderer, screen = bar(Window(20), "ubuntu-24.04.1-desktop.iso"), Screen()
    renderer.event(Started("", 100 * MIB, 0), NOTHING, 0.0)
    screen.feed(renderer.tick(Snapshot(10 * MIB, 100 * MIB, 8), 5.0))
    assert screen.rows == ["ubuntu-24.04…   10%", "█▓" + "░" * 17]


def test_a_notice_scrolls_by_above_the_bar_and_nothing_above_is_touched() -> None:
    renderer, screen = bar(Window()), Screen()
    screen.feed("$ smartremote get URL\n")
    renderer.event(Started("disk.iso", 100, 0), NOTHING, 0.0)
    screen.feed(renderer.tick(Snapshot(10, 100, 8), 5.0))
    screen.feed(renderer.event(Notice("no strong validator"), Snapshot(10, 100, 8), 5.1))
    screen.feed(renderer.tick(Snapshot(20, 100, 8), 5.2))
    assert screen.rows[:2] == ["$ smartremote get URL", "smartremote: no strong validator"]
    assert [row[:8] for row in screen.rows[2:]] == ["disk.iso", "████████"]
    screen.feed(renderer.done(Snapshot(100, 100, 0), 6.0))
    assert screen.rows[2:] == ["smartremote: disk.iso: downloaded 100 B in 6 s (17 B/s)", ""]


def test_a_retry_is_shown_under_the_map_until_bytes_arrive() -> None:
    renderer, screen = bar(Window()), Screen()
    renderer.event(Started("disk.iso", 100, 0), NOTHING, 0.0)
    assert renderer.event(Retrying("reset by peer", 4.0, 1), Snapshot(10, 100, 8), 1.0) == ""
    screen.feed(renderer.tick(Snapshot(10, 100, 8), 2.0))
    assert screen.rows[2] == "reset by peer; next attempt in 3 s"
    screen.feed(renderer.tick(Snapshot(11, 100, 8), 2.2))
    screen.feed(renderer.tick(Snapshot(11, 100, 8), 2.4))
    assert len(screen.rows) == 2


def test_in_the_background_nothing_is_drawn_but_lines_are_still_said() -> None:
    window = Window()
    renderer = bar(window)
    renderer.event(Started("disk.iso", 100, 0), NOTHING, 0.0)
    assert renderer.tick(Snapshot(10, 100, 8), 1.0)
    window.room = None
    assert renderer.tick(Snapshot(20, 100, 8), 1.2) == ""
    assert renderer.event(Notice("weak"), Snapshot(20, 100, 8), 1.3) == "smartremote: weak\n"
    assert renderer.done(Snapshot(100, 100, 0), 2.0).startswith("smartremote: disk.iso: downloaded")
    assert renderer.clear() == ""


def test_leaving_without_a_word_takes_the_bar_away() -> None:
    renderer, screen = bar(Window()), Screen()
    screen.feed(renderer.tick(NOTHING, 1.0))
    screen.feed(renderer.clear())
    assert screen.text == ""
    assert renderer.clear() == ""


def test_an_encoding_without_blocks_gets_a_map_of_ascii() -> None:
    renderer, screen = bar(Window(5), encoding="ascii"), Screen()
    screen.feed(renderer.tick(Snapshot(10, 100, 8, (1.0, 0.9, 0.1, 0.0)), 1.0))
    assert screen.rows[1] == "#=-."


# -- the output and the thread --


def test_an_output_that_is_closed_full_or_broken_raises_nothing_and_is_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    closed = io.StringIO()
    closed.close()
    with open("/dev/full", "w") as full, open(writing, "w") as broken:
        for stream in (None, closed, full, broken):
            out = StderrWriter(stream)
            out.write("text\n")
            assert out.gone
            out.write("more\n")
            assert not out.is_terminal


def test_a_stream_in_memory_is_written_to_as_well() -> None:
    stream = io.StringIO()
    StderrWriter(stream).write("text\n")
    assert stream.getvalue() == "text\n"


def test_a_reader_that_stopped_reading_holds_up_neither_the_transfer_nor_the_exit() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    with open(reading, "rb") as unread, open(writing, "w") as stream:
        progress = ShownProgress(plain(), StderrWriter(stream), lambda: NOTHING, lambda: 0.0)
        with progress:
            for _ in range(10_000):
                progress(Notice("said to nobody"))
        assert progress._thread.is_alive()
        os.set_blocking(reading, False)
        while progress._thread.is_alive():  # let it go
            with suppress(BlockingIOError):
                os.read(unread.fileno(), 1 << 20)


def shown(
    capfd: pytest.CaptureFixture[str], mode: str, act: Callable[[Progress], None], quiet: bool = False
) -> str:
    whole = Snapshot(10, 10, 0)
    with make_progress(mode, quiet=quiet, verbose=False, watch=lambda: whole, name="disk.iso") as progress:
        act(progress)
    out, err = capfd.readouterr()
    assert out == ""
    return err


@pytest.mark.parametrize("mode", ["auto", "bar", "plain"])
def test_no_mode_and_no_force_color_animates_a_file(
    mode: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert shown(capfd, mode, lambda progress: progress.done()) == "smartremote: disk.iso: complete, 10 B\n"


def test_quiet_and_none_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def everything(progress: Progress) -> None:
        progress(Notice("careful"))
        progress.done()

    assert shown(capfd, "none", everything) == ""
    assert shown(capfd, "json", everything, quiet=True) == ""
    assert "careful" in shown(capfd, "auto", everything)


def test_an_exception_on_the_way_out_is_told_once_and_a_broken_pipe_is_none(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def failing(error: Exception) -> Callable[[Progress], None]:
        def act(progress: Progress) -> None:
            progress(Started("disk.iso", 10, 0))
            raise error

        return act

    with pytest.raises(IncompleteError):
        shown(capfd, "json", failing(IncompleteError("disk.iso", "no answer")))
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["start", "error"]
    assert lines[1]["exit_code"] == 3
    with pytest.raises(BrokenPipeError):
        shown(capfd, "plain", failing(BrokenPipeError()))
    assert capfd.readouterr().err == ""


def test_a_defect_of_the_watch_costs_no_more_than_the_picture(capfd: pytest.CaptureFixture[str]) -> None:
    def watch() -> Snapshot:
        raise RuntimeError("a defect")

    with make_progress("plain", quiet=False, verbose=False, watch=watch, name="disk.iso") as progress:
        progress(Started("disk.iso", 10, 0))
    assert capfd.readouterr().err == ""


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'fancy' is not one of auto, bar, plain, json, none"):
        make_progress("fancy", quiet=False, verbose=False, watch=lambda: NOTHING, name="")


def test_without_a_bar_rich_is_never_imported() -> None:
    code = (
        "import sys\n"
        "from smartremote_cli.cli.progress.display import make_progress\n"
        "from smartremote_cli.events import Snapshot\n"
        "watch = lambda: Snapshot(0, 0, 0)\n"
        "for mode in ('plain', 'json', 'none'):\n"
        "    with make_progress(mode, quiet=False, verbose=False, watch=watch, name='') as p:\n"
        "        p.done()\n"
        "assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)


# -- real terminals --

CHILD = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)  # the terminal controls this session; this process is in the foreground
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
if "background" in sys.argv:
    if child := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.setpgid(0, 0)
from smartremote_cli.cli.progress.display import make_progress
from smartremote_cli.events import Notice, Snapshot, Started
looks = 0
def watch():
    global looks
    looks += 1
    if looks == 3:
        print("drawn", flush=True)
    return Snapshot(50, 100, 8)
with make_progress("auto", quiet=False, verbose=False, watch=watch, name="disk.iso") as progress:
    progress(Started("disk.iso", 100, 0))
    if sys.stdin.readline() == "notice\\n":
        progress(Notice("careful"))
        sys.stdin.readline()
    if "silent" not in sys.argv:
        progress.done()
"""


class Terminal:
    """A child process whose stderr is a pseudo-terminal of 60 columns."""

    def __init__(self, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(60)
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "300", "PYTHONUTF8": "1"}
        environment.pop("NO_COLOR", None)
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=slave,
            start_new_session=True,
            text=True,
        )
        self.slave = slave
        self.seen = ""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def say(self, line: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def wait_until_drawn(self) -> None:
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "drawn\n"

    def read_until(self, text: str) -> None:
        while text not in self.seen:
            self.seen += os.read(self.master, 65536).decode()

    def finish(self) -> str:
        """Return all that the terminal was sent, once the child has left."""
        assert self.child.wait() == 0
        os.set_blocking(self.master, False)
        with suppress(BlockingIOError):
            while data := os.read(self.master, 65536):
                self.seen += data.decode()
        return self.seen

    def close(self) -> None:
        self.child.kill()
        self.child.communicate()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened = []

    def open_terminal(*words: str) -> Terminal:
        opened.append(Terminal(*words))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def test_on_a_terminal_a_bar_is_drawn_in_place_and_leaves_one_line(terminal: Callable[..., Terminal]) -> None:
    child = terminal()
    child.read_until(" 50%")
    child.say("notice")
    child.read_until("careful")
    child.say("done")
    sent, screen = child.finish(), Screen()
    screen.feed(sent)
    notice, last = screen.text.split("\n")
    assert notice == "smartremote: careful"
    assert last.startswith("smartremote: disk.iso: downloaded 50 B in ")
    assert "\x1b[38;5;32m█" in sent
    assert "\x1b[?25l" not in sent  # the cursor is never hidden
    assert sent.count("\x1b[?7l") == sent.count("\x1b[?7h")


def test_the_width_is_the_terminals_at_every_drawing_and_not_that_of_columns(
    terminal: Callable[..., Terminal],
) -> None:
    child = terminal("silent")
    child.read_until("░\x1b[0m\x1b[J")
    child.resize(20)
    child.seen = ""
    child.read_until("░\x1b[0m\x1b[J")
    child.seen = ""
    child.read_until("░\x1b[0m\x1b[J")
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.seen)
    assert max(len(row) for row in re.split("[\r\n]+", drawn)) == 19
    child.say("done")
    child.finish()


def test_in_the_background_of_a_terminal_nothing_is_drawn(terminal: Callable[..., Terminal]) -> None:
    child = terminal("background")
    child.wait_until_drawn()
    child.say("done")
    assert re.fullmatch(r"smartremote: disk.iso: downloaded 50 B in .*\r\n", child.finish())


def test_a_terminal_stopped_with_ctrl_s_does_not_hold_up_the_exit(terminal: Callable[..., Terminal]) -> None:
    child = terminal()
    child.read_until(" 50%")
    termios.tcflow(child.slave, termios.TCOOFF)
    child.say("done")
    assert child.child.wait() == 0
    termios.tcflow(child.slave, termios.TCOON)


def test_a_terminal_that_is_gone_is_no_error(terminal: Callable[..., Terminal]) -> None:
    child = terminal("nohup")
    child.read_until(" 50%")
    os.close(child.slave)
    os.close(child.master)
    child.master, child.slave = pty.openpty()  # for the fixture to close
    child.say("done")
    assert child.child.wait() == 0
