"""Measuring commands against each other: in turn, round after round, compared within the round.

Seconds vary from machine to machine and from minute to minute; what two commands took right after one another
has a ratio that travels. So every round runs every command once, and what is reported is the median of the rounds'
ratios. What ran just before leaves its traces in caches and clocks: so every other round goes the other way round, and
each two rounds begin with another command.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LAUNCH = Path(__file__).with_name("launch.py")
LIMIT = 90.0  # seconds after which a command is given up; what takes longer is of no interest beside the rest

Quantity = Literal["wall", "processor", "peak"]


def nothing() -> None:
    """Prepare nothing."""


class RunFailed(Exception):
    """A command did not do its work: what it said, or how its output differs."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took: seconds of wall time and of processor time, bytes of peak memory."""

    wall: float
    processor: float
    peak: int

    def of(self, quantity: Quantity) -> float:
        values: dict[Quantity, float] = {"wall": self.wall, "processor": self.processor, "peak": self.peak}
        return values[quantity]


@dataclass(frozen=True)
class Job:
    """One command of a comparison.

    *prepare* runs before each run and *after* behind it, unmeasured. *makes* maps a file that must be there
    afterwards to the one that it must equal. *prints* is where stdout goes (else nowhere); with *reports* it is a
    `Sample` as JSON, which counts instead of the process's. *interrupt_at* sends SIGINT when so many bytes of a
    file are allocated. Other exit codes than *codes* are failures.
    """

    label: str
    command: Sequence[str]
    prepare: Callable[[], None] = nothing
    makes: Mapping[Path, Path] = field(default_factory=dict)
    prints: Path | None = None
    reports: bool = False
    interrupt_at: tuple[Path, int] | None = None
    codes: frozenset[int] = frozenset({0})
    after: Callable[[], None] = nothing
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The samples of one job, a round each, or why there are none."""

    label: str
    samples: Sequence[Sample] = ()
    failure: str | None = None

    def median(self, of: Quantity) -> float:
        return statistics.median(sample.of(of) for sample in self.samples)


def ratio(of: Quantity, mine: Outcome, other: Outcome) -> float | None:
    """Return the median over the rounds of how many times *other*'s *of* mine took; None when one has failed."""
    if mine.failure or other.failure:
        return None
    pairs = zip(mine.samples, other.samples, strict=True)
    return statistics.median(a.of(of) / max(b.of(of), 1e-9) for a, b in pairs)


def measure(jobs: Sequence[Job], rounds: int, environment: Mapping[str, str]) -> list[Outcome]:
    """Run every job once a round, in an order that changes. A job that fails is left out from then on."""
    samples: dict[str, list[Sample]] = {job.label: [] for job in jobs}
    failures: dict[str, str] = {}
    for number in range(rounds):
        turn = number // 2 % len(jobs)
        for job in [*jobs[turn:], *jobs[:turn]][:: -1 if number % 2 else 1]:
            if job.label not in failures:
                try:
                    samples[job.label].append(run(job, environment))
                except RunFailed as failure:
                    failures[job.label] = str(failure)
    return [
        Outcome(job.label, failure=failures[job.label])
        if job.label in failures
        else Outcome(job.label, samples[job.label])
        for job in jobs
    ]


def run(job: Job, environment: Mapping[str, str], limit: float = LIMIT) -> Sample:
    """Run *job* once and return what it took. Raises `RunFailed` unless its work is done, and done right."""
    job.prepare()
    watch = [] if job.interrupt_at is None else ["--interrupt-at", *map(str, job.interrupt_at)]
    with tempfile.TemporaryFile() as complaints, contextlib.ExitStack() as stack:
        if job.reports:
            target = stack.enter_context(tempfile.TemporaryFile())
        else:
            target = stack.enter_context(open(job.prints or os.devnull, "w+b"))
        words, variables = [*watch, "--", *job.command], {**environment, **job.environment}
        answer = _launch(words, limit, target.fileno(), complaints.fileno(), variables)
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip().splitlines()
        if answer["code"] is None:
            raise RunFailed(f"not done after {limit:.0f} s")
        if answer["code"] not in job.codes:
            raise RunFailed(f"exit {answer['code']:.0f}{': ' + said[0] if said else ''}")
        if job.reports:
            target.seek(0)
            answer = json.load(target)
    filecmp.clear_cache()  # it goes by times, which some downloaders take from the server
    for made, original in job.makes.items():
        if not made.exists() or not filecmp.cmp(made, original, shallow=False):
            raise RunFailed(f"{made.name} is not what was served")
    job.after()
    return Sample(float(answer["wall"] or 0), float(answer["processor"] or 0), int(answer["peak"] or 0))


def _launch(
    words: Sequence[str], limit: float, stdout: int, stderr: int, environment: Mapping[str, str]
) -> dict[str, float | None]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as result:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCH), str(writing), str(limit), *words],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=dict(environment),
                pass_fds=[writing],
            )
        finally:
            os.close(writing)
        text = result.read()
    process.wait()
    if not text:
        raise RunFailed(f"{words[words.index('--') + 1]} could not be started")
    answer: dict[str, float | None] = json.loads(text)
    return answer
