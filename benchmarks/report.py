"""Results as Markdown: first what was wanted and what came, then a table for each case."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from .case import Case, Goal, Results
from .measure import Outcome
from .peers import installed

MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """A case with what came of it; *failure* says why nothing did. *remarks* are its own."""

    name: str
    case: Case
    results: Results
    remarks: Sequence[str] = field(default=())

    @property
    def unmet(self) -> list[Goal]:
        """The goals that were missed, those apart that only stretch."""
        return [goal for goal in self.case.goals if not goal.stretch and is_met(goal, self.results) is False]

    @property
    def broken(self) -> list[Outcome]:
        """The outcomes of our own jobs that failed."""
        return [o for o in self.results.outcomes.values() if o.failure and o.label.startswith("smartremote")]


def is_met(goal: Goal, results: Results) -> bool | None:
    """Whether *goal* is reached; None when nothing is asked or nothing is known."""
    value = goal.value(results)
    return None if goal.most is None or value is None else value <= goal.most


def document(
    measured: Sequence[Measured], missing: dict[str, str], rounds: int, plot: str, *, quick: bool
) -> str:
    """Return the whole page. *missing* says why cases were not measured; *plot* is the picture's file name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    preliminary = (
        "**Preliminary**: small sizes, in which start-up weighs more than in those that the goals speak of, "
        "and few rounds. "
    )
    state = preliminary if quick else ""
    versions = ", ".join(peer.version for peer in installed())
    return "\n".join(
        [
            "# Performance",
            "",
            "Made by `scripts/bench`. Absolute times depend on the machine; the ratios carry over: every round runs "
            "each command of a case once, in turns, and a ratio is the median over the rounds. Every download is "
            "compared with what was served.",
            "",
            f"{state}{date.today().isoformat()}, {cores} cores, {platform.system()}, "
            f"Python {platform.python_version()}, {rounds} round{'s' if rounds > 1 else ''}. Beside: {versions}.",
            "",
            f"![Wall time of the same work, as a multiple of smartremote's]({plot})",
            "",
            "## Goals",
            "",
            *goals(measured),
            *(line for one in measured for line in ["", *section(one)]),
            *(f"\nNot measured: {name}: {why}." for name, why in missing.items()),
            "",
        ]
    )


def goals(measured: Sequence[Measured]) -> list[str]:
    """Return the table of all goals."""
    lines = ["| case | what | measured | at most | |", "|---|---|---:|---:|---|"]
    for one in measured:
        for goal in one.case.goals:
            value = goal.value(one.results)
            met = {True: "met", False: "missed", None: "" if goal.most is None else "unknown"}[
                is_met(goal, one.results)
            ]
            limit = "" if goal.most is None else f"{goal.most:g}"
            shown = "-" if value is None else f"{value:.2f} {goal.unit}".strip()
            stretch = " (stretch)" if goal.stretch else ""
            lines.append(f"| {one.case.title} | {goal.text} | {shown} | {limit}{stretch} | {met} |")
    return lines


def section(one: Measured) -> list[str]:
    """Return a case's heading, table and remarks."""
    ours = one.results.outcomes.get(one.case.ours or "")
    head, rule = "| command | wall, s | processor, s | peak, MiB |", "|---|---:|---:|---:|"
    if ours is not None:
        head, rule = (
            f"{head} smartremote's time as a fraction of this: wall | processor |",
            f"{rule}---:|---:|",
        )
    rows = []
    for outcome in one.results.outcomes.values():
        if outcome.failure:
            rows.append(f"| {outcome.label} | {_cell(outcome.failure)} | | |{' | |' if ours else ''}")
            continue
        wall, processor = outcome.median("wall"), outcome.median("processor")
        row = f"| {outcome.label} | {_seconds(wall)} | {_seconds(processor)} | {outcome.median('peak') / MIB:.0f} |"
        if ours is not None:
            row += f" {_ratio(one, 'wall', outcome)} | {_ratio(one, 'processor', outcome)} |"
        rows.append(row)
    remarks = [line for remark in one.remarks for line in ("", remark)]
    return [f"## {one.case.title}", "", one.case.about, "", head, rule, *rows, *remarks]


def _ratio(one: Measured, of: str, other: Outcome) -> str:
    assert one.case.ours is not None
    value = one.results.ratio("wall" if of == "wall" else "processor", one.case.ours, other.label)
    return "" if value is None or other.label == one.case.ours else f"{value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}" if value >= 0.01 else f"{value:.5f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:120]
