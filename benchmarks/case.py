"""A case: jobs that do the same work, what is expected of their comparison, and the register of all cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .ground import Ground
from .measure import Job, Outcome, Quantity, ratio


@dataclass(frozen=True)
class Results:
    """The outcomes of a case, by label. Whatever asks about a job that failed or was not run gets None."""

    outcomes: Mapping[str, Outcome]

    def ratio(self, of: Quantity, mine: str, other: str) -> float | None:
        """Return how many times *other*'s time or memory *mine* took: the median over the rounds."""
        if mine not in self.outcomes or other not in self.outcomes:
            return None
        return ratio(of, self.outcomes[mine], self.outcomes[other])

    def median(self, of: Quantity, label: str) -> float | None:
        outcome = self.outcomes.get(label)
        return None if outcome is None or outcome.failure else outcome.median(of)


@dataclass(frozen=True)
class Goal:
    """What is wanted: *value* of the results, in *unit*, at most *most*. Without *most* it is only told."""

    text: str
    value: Callable[[Results], float | None]
    most: float | None = None
    unit: str = ""
    stretch: bool = False


@dataclass(frozen=True)
class Case:
    """Jobs that are measured in turn. *ours* is the label that the table compares all others with, where there is one.

    *times* multiplies the rounds, for what is over in a moment. *remarks* are asked for after the last run.
    """

    title: str
    about: str
    jobs: Sequence[Job]
    ours: str | None = None
    goals: Sequence[Goal] = ()
    times: int = 1
    remarks: Callable[[], Sequence[str]] = field(default=lambda: ())


@dataclass(frozen=True)
class Entry:
    """A case in the register: how it is made, whether a quick look takes it, and where it is written down."""

    name: str
    make: Callable[[Ground], Case]
    quick: bool


REGISTER: dict[str, Entry] = {}


def case(name: str, *, quick: bool = False) -> Callable[[Callable[[Ground], Case]], Callable[[Ground], Case]]:
    """Register what makes a case under *name*. Makers raise `Unavailable` where it cannot be measured."""

    def register(make: Callable[[Ground], Case]) -> Callable[[Ground], Case]:
        REGISTER[name] = Entry(name, make, quick)
        return make

    return register


class Unavailable(Exception):
    """Why a case cannot be measured here."""


def wall(mine: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio("wall", mine, other)


def processor(mine: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio("processor", mine, other)


def megabytes(label: str) -> Callable[[Results], float | None]:
    """The peak memory of *label*, in MiB."""

    def value(results: Results) -> float | None:
        peak = results.median("peak", label)
        return None if peak is None else peak / 2**20

    return value
