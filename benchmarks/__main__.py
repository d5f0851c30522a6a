"""scripts/bench [CASE...]: measure smartremote beside others, print tables, and write docs/performance.md.

Exits 1 when smartremote failed at a case. Missed goals are told, not punished: machines differ.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from . import growth, reading, transfers
from .case import REGISTER, Results, Unavailable
from .ground import ground, smartremote
from .measure import Job, measure, run
from .peers import installed
from .plot import draw
from .report import Measured, document, goals, section

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MODULES = transfers, reading, growth  # importing them fills the register; the page follows this order
NAMES = [
    name for module in MODULES for name, entry in REGISTER.items() if entry.make.__module__ == module.__name__
]
QUICK_SCALE = 16  # a quick look takes this much smaller files


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    wish = parser.parse_args(arguments)
    for name in wish.case:
        if name not in REGISTER:
            parser.error(f"there is no case {name!r}, but there are {', '.join(NAMES)}")
    if wish.list:
        print("\n".join(NAMES))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = wish.case or [name for name in NAMES if REGISTER[name].quick or not wish.quick]
    rounds = wish.rounds or (1 if wish.quick else 5)
    measured, missing = [], {}
    _warm_up()
    for name in names:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        try:
            one = look(name, rounds, wish.disk, QUICK_SCALE if wish.quick else 1)
        except Unavailable as why:
            missing[name] = str(why)
            print(f"bench: {name} NOT MEASURED: {why}", file=sys.stderr)
            continue
        print("\n".join([*section(one), ""]), flush=True)
        measured.append(one)
    print("\n".join(goals(measured)))
    page = wish.output or (None if wish.case or wish.quick else PAGE)
    if page is not None:
        picture = page.with_suffix(".svg")
        page.parent.mkdir(exist_ok=True)
        picture.write_text(draw(measured), encoding="utf-8")
        text = document(measured, missing, rounds, picture.name, quick=wish.quick)
        page.write_text(text, encoding="utf-8")
    return 1 if any(one.broken for one in measured) else 0


def look(name: str, rounds: int, disk: Path, scale: int = 1) -> Measured:
    """Measure one case. Raises `Unavailable`."""
    with ground(disk, scale) as place:
        case = REGISTER[name].make(place)
        outcomes = measure(case.jobs, rounds * case.times, place.environment)
        results = Results({outcome.label: outcome for outcome in outcomes})
        return Measured(name, case, results, case.remarks())


def _warm_up() -> None:
    """Have every program read once, so that the first round finds them in memory as the others do."""
    for words in [smartremote(), *[[peer.program] for peer in installed()]]:
        run(Job("warm-up", [*words, "--version"], codes=frozenset(range(256))), {})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__.splitlines()[0].partition(": ")[2]
    )
    parser.add_argument("case", nargs="*", metavar="CASE", help=", ".join(NAMES))
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--quick", action="store_true", help="a few cases, small: under a minute")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="how often every command runs (5; with --quick 1)"
    )
    parser.add_argument(
        *("--disk", "-d"),
        type=Path,
        default=Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir()),
        help="a folder on a real disk, for cases about syncs (%(default)s)",
    )
    parser.add_argument(
        *("--output", "-o"),
        type=Path,
        metavar="FILE.md",
        help="write the page here, and the plot beside it (docs/performance.md when all cases are measured)",
    )
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
