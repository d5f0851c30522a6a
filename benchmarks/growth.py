"""Cases that are about what grows with the size of the resource: memory, and the cost of saving the record."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from .case import Case, Goal, Results, Unavailable, case, megabytes
from .ground import GIB, Ground, smartremote
from .measure import Job
from .peers import Order, installed

SIZES = {"1 GiB": GIB, "32 GiB": 32 * GIB, "1 TiB": 1024 * GIB}

# A download of a terabyte is begun where there seems to be room for it, and interrupted.
_PRIVATE = "unshare --user --map-root-user --mount sh -c".split()
_ROOM = 'mount -t tmpfs -o size=4T none "$0" && exec "$@"'
_SECONDS = 2


def _in_room(folder: Path, command: list[str]) -> list[str]:
    return [*_PRIVATE, _ROOM, str(folder), "timeout", "--signal=INT", str(_SECONDS), *command]


@case("memory")
def memory(ground: Ground) -> Case:
    ground.clear()
    room = [*_PRIVATE, _ROOM, str(ground.out), "true"]
    if (
        not all(map(shutil.which, ("unshare", "timeout")))
        or subprocess.run(room, capture_output=True).returncode
    ):
        raise Unavailable("it needs unshare, timeout and the right to mount in a namespace")
    jobs = []
    goals = []
    codes = frozenset({0, 124})
    for name, size in SIZES.items():
        url = ground.url(ground.sparse(size))
        made = ground.out / "file"
        ours = f"smartremote, {name}"
        get = [*smartremote(), "get", "--quiet", url, "-o", str(made)]
        jobs.append(Job(ours, _in_room(ground.out, get), ground.clear, codes=codes))
        goals.append(Goal(f"{name}: peak memory", megabytes(ours), 100, "MiB"))
        for peer in installed("aria2c"):
            words = _in_room(ground.out, peer.command(Order(url, made)))
            jobs.append(Job(f"{peer.program}, {name}", words, ground.clear, codes=codes))
    return Case(
        "Memory against size",
        f"Sparse files, 8 connections, interrupted after {_SECONDS} s: what a download in progress takes.",
        jobs,
        goals=goals,
    )


@case("record")
def record(ground: Ground) -> Case:
    jobs = []
    for shape in "progress", "scattered":
        for name, size in SIZES.items():
            words = [sys.executable, "-m", "benchmarks.record_cost", str(size), shape, str(ground.out)]
            root = {"PYTHONPATH": str(Path(__file__).parents[1])}
            jobs.append(Job(f"{shape}, {name}", words, ground.clear, reports=True, environment=root))

    def milliseconds(results: Results) -> float | None:
        seconds = results.median("processor", "progress, 1 TiB")
        return None if seconds is None else 1000 * seconds

    return Case(
        "Saving the record against size",
        "One checkpoint: flush, encode, replace. `progress` is 8 connections somewhere in their parts, `scattered` "
        "every other block, the largest record that there is. Peak memory is that of the whole Python around it.",
        jobs,
        goals=[Goal("1 TiB in progress: processor time", milliseconds, 50, "ms")],
    )
