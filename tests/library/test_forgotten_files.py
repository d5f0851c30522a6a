"""Files that nobody closed, in reference cycles: the garbage collector meets them anywhere, also under our locks."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from pathlib import Path
from types import FrameType

from smartremote_cli import RemoteFile
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Server, pattern
from tests.support.threads import nothing_left_behind

SIZE = 3_000_000
DATA = pattern(SIZE)

# Collects at every allocation, in several threads, so that some collections come while the engine holds each of its
# locks. The watchdog shows every thread's stack and fails, where one waits for ever.
FORGET = """
import faulthandler, gc, random, sys, threading, warnings
import smartremote_cli as smartremote
from tests.support.server import pattern

URL, FOLDER, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
DATA = pattern(SIZE)
faulthandler.dump_traceback_later(100, exit=True)
warnings.simplefilter("ignore", ResourceWarning)


class Cycle:
    def __init__(self, file):
        self.file, self.me = file, self


def forget(seed):
    rng, turn = random.Random(seed), 0
    while not stop.is_set():
        turn += 1
        own = smartremote.DownloadManager(tmp_dir=f"{FOLDER}/own-{seed}") if turn % 3 == 0 else manager
        file = own.open_to(URL, f"{FOLDER}/{seed}-{turn}.bin") if turn % 2 else own.reader_at(URL)
        file.read_at(rng.randrange(SIZE), 10)  # more is on its way then
        Cycle(file)
        if own is not manager:
            Cycle(own)
        del file, own


def work(seed):
    rng = random.Random(seed)
    with manager.open_to(URL, f"{FOLDER}/{seed}.bin") as kept, manager.reader_at(URL) as bounded:
        for turn in range(12):
            offset, length = rng.randrange(SIZE), rng.randrange(1, 200_000)
            assert kept.read_at(offset, length) == DATA[offset : offset + length]
            assert bounded.read_at(offset, 10) == DATA[offset : offset + 10]
            kept.invalidate(offset, length)
    done.append(seed)


done, stop = [], threading.Event()
manager = smartremote.DownloadManager(tmp_dir=FOLDER + "/cache", idle_download=True)
forgetters = [threading.Thread(target=forget, args=(seed,)) for seed in range(3, 6)]
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
gc.freeze()  # what is here already is not looked through again, so that even full collections are frequent
gc.set_threshold(1, 1, 1)
for thread in (*forgetters, *threads):
    thread.start()
for thread in threads:
    thread.join()
stop.set()
for thread in forgetters:
    thread.join()
gc.collect()
manager.close()
assert sorted(done) == [0, 1, 2], done
print("all closed")
"""


def test_the_collector_takes_no_lock_and_does_no_io(tmp_path: Path) -> None:
    called: set[str] = set()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            called.add(Path(frame.f_code.co_filename).name)

    with Server(DATA) as server, nothing_left_behind(), manager(tmp_path) as m:
        own = manager(tmp_path / "own", idle_download=True)
        cycles: list[list[object]] = [
            [m.open(server.url())],
            [m.open_to(server.url(), tmp_path / "file.bin")],
            [own.open(server.url()), own],
        ]
        for cycle in cycles:
            assert isinstance(cycle[0], RemoteFile) and cycle[0].read(10) == DATA[:10]
            cycle.append(cycle)
        del cycles, cycle, own
        gc.disable()
        sys.setprofile(note)  # of this thread: others do the closing
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
        finally:
            sys.setprofile(None)
            gc.enable()
        assert "remote_file.py" in called
        at_work = {
            "threading.py",
            "background.py",
            "session.py",
            "transfer.py",
            "transport.py",
            "data_file.py",
        }
        assert not called & at_work


def test_the_collector_may_meet_them_under_any_lock(tmp_path: Path) -> None:
    with Server(DATA) as server:
        server.faults.append(faults.pace(3e6))
        arguments = [sys.executable, "-c", FORGET, server.url(), str(tmp_path), str(SIZE)]
        run = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert (run.stdout, run.returncode) == ("all closed\n", 0), run.stderr


def test_a_file_forgotten_just_before_the_end_is_closed(tmp_path: Path) -> None:
    script = """
import sys, smartremote_cli as smartremote
manager = smartremote.DownloadManager(tmp_dir=sys.argv[2], idle_download=False)
file = manager.open_to(sys.argv[1], sys.argv[2] + "/file.bin")
file.read(file.size)
del file
"""
    with Server(DATA) as server:
        arguments = [sys.executable, "-c", script, server.url(), str(tmp_path)]
        run = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("", "", 0)
    assert (tmp_path / "file.bin").read_bytes() == DATA
    assert not (tmp_path / "file.bin.part").exists()
