"""Cases that are about moving many bytes: plain and TLS, onto disk, over paced and uneven and long links, resumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .case import Case, Goal, Results, Unavailable, case, processor, wall
from .ground import GIB, MIB, Ground, smartremote
from .measure import Job, RunFailed, run
from .peers import CONNECTIONS, Order, Peer, installed
from .relay import Link

OURS = "smartremote"
ARIA2, AXEL = f"aria2c, {CONNECTIONS} connections", f"axel, {CONNECTIONS} connections"
PACED = Link(rate=20e6)


def get(
    ground: Ground, url: str, source: Path, *options: str, label: str = OURS, into: Path | None = None
) -> Job:
    """Return the job of downloading *url* with smartremote, as it comes, save that it is quiet."""
    made = (into or ground.out) / source.name
    words = [*smartremote(), "get", "--quiet", *options, url, "-o", str(made)]
    return Job(label, words, ground.clear, {made: source})


def others(
    ground: Ground,
    url: str,
    source: Path,
    peers: Sequence[Peer],
    *,
    into: Path | None = None,
    authority: Path | None = None,
) -> list[Job]:
    """Return the jobs of downloading *url* with *peers*."""
    made = (into or ground.out) / source.name
    order = Order(url, made, authority=authority)
    return [Job(peer.label(order), peer.command(order), ground.clear, {made: source}) for peer in peers]


@case("plain", quick=True)
def plain(ground: Ground) -> Case:
    source = ground.file(ground.size(GIB))
    url = ground.url(source)
    return Case(
        f"{source.stat().st_size // MIB} MiB over plain HTTP",
        "From nginx over the loopback into memory-backed files: what the program itself costs.",
        [get(ground, url, source), *others(ground, url, source, installed())],
        OURS,
        [
            Goal("wall of aria2c -x8", wall(OURS, ARIA2), 0.9),
            Goal("processor time of aria2c -x8", processor(OURS, ARIA2), 1.5),
            Goal("processor time of aria2c -x8", processor(OURS, ARIA2), 1.1, stretch=True),
            Goal("wall of curl", wall(OURS, "curl"), 1.0, stretch=True),
        ],
    )


@case("tls", quick=True)
def tls(ground: Ground) -> Case:
    source = ground.file(ground.size(GIB))
    url = ground.url(source, tls=True)
    authority = ground.authority
    return Case(
        f"{source.stat().st_size // MIB} MiB over TLS",
        "The same over HTTPS. axel runs with certificate checks off.",
        [
            get(ground, url, source, "--cacert", str(authority)),
            *others(ground, url, source, installed(), authority=authority),
        ],
        OURS,
        [
            Goal("wall of aria2c -x8", wall(OURS, ARIA2), 1.0),
            Goal("processor time of aria2c -x8", processor(OURS, ARIA2), 1.5),
        ],
    )


@case("disk")
def disk(ground: Ground) -> Case:
    source = ground.file(ground.size(GIB))
    url = ground.url(source)
    jobs = [
        get(ground, url, source, into=ground.disk),
        get(ground, url, source, "--no-sync", label=f"{OURS} --no-sync", into=ground.disk),
        *others(ground, url, source, installed("aria2c", "curl"), into=ground.disk),
    ]
    for job in others(ground, url, source, installed("aria2c", "curl"), into=ground.disk):
        synced = ["sh", "-c", '"$@" && sync -f "$0"', str(ground.disk), *job.command]
        jobs.append(Job(f"{job.label}, then sync", synced, job.prepare, job.makes))
    return Case(
        f"{source.stat().st_size // MIB} MiB onto a disk",
        "Over the loopback, so that the disk is the limit. smartremote syncs as it goes; the others leave that to the "
        "system, so that a power cut may take the file; `then sync` waits until theirs is on the disk as well.",
        jobs,
        OURS,
    )


@case("syncs")
def syncs(ground: Ground) -> Case:
    source = ground.file(ground.size(GIB))
    url = ground.url(source, PACED)
    careless = f"{OURS} --no-sync"
    return Case(
        "Syncs over a link that is slower than the disk",
        "Onto a disk, 8 connections of 20 MB/s each.",
        [
            get(ground, url, source, into=ground.disk),
            get(ground, url, source, "--no-sync", label=careless, into=ground.disk),
            *others(ground, url, source, installed("aria2c"), into=ground.disk),
        ],
        OURS,
        [Goal("wall of --no-sync", wall(OURS, careless), 1.1)],
    )


@case("paced")
def paced(ground: Ground) -> Case:
    source = ground.file(ground.size(GIB))
    tiny = ground.file(1, "tiny.bin")
    start = f"{OURS}, one byte"
    ideal = source.stat().st_size / (CONNECTIONS * PACED.rate)

    def over_ideal(results: Results) -> float | None:
        whole, start_up = results.median("wall", OURS), results.median("wall", start)
        return None if whole is None or start_up is None else (whole - start_up) / ideal

    url = ground.url(source, PACED)
    return Case(
        f"{source.stat().st_size // MIB} MiB at 20 MB/s a connection",
        f"8 x 20 MB/s would bring it in {ideal:.2f} s.",
        [
            get(ground, url, source),
            *others(ground, url, source, [peer for peer in installed() if peer.parallel]),
            get(ground, ground.url(tiny), tiny, label=start),
        ],
        OURS,
        [Goal("8 x 20 MB/s, start-up aside", over_ideal, 1.05)],
    )


@case("slow-one", quick=True)
def slow_one(ground: Ground) -> Case:
    source = ground.file(64 * MIB)
    even, uneven = Link(rate=8 * MIB), Link(rate=8 * MIB, slow_every=8)
    seven = f"{OURS} -x7, none slow"
    url = ground.url(source, uneven)
    return Case(
        "One connection in eight 80 times slower",
        "64 MiB, 8 MiB/s a connection. Those that give every connection a fixed part wait for the slowest; they are "
        "left out.",
        [
            get(ground, url, source),
            *others(ground, url, source, installed("axel", "aria2c")),
            get(ground, ground.url(source, even), source, "-x7", label=seven),
        ],
        OURS,
        [
            Goal("wall of axel", wall(OURS, AXEL), 1.0),
            Goal("wall of the seven fast ones alone", wall(OURS, seven), 2.0),
        ],
    )


@case("latency")
def latency(ground: Ground) -> Case:
    source = ground.file(64 * MIB)
    url = ground.url(source, Link(rate=20e6, round_trip=0.1))
    return Case(
        "64 MiB over a long link",
        "Round trips of 100 ms, 20 MB/s a connection.",
        [get(ground, url, source), *others(ground, url, source, installed())],
        OURS,
        [Goal("wall of aria2c -x8", wall(OURS, ARIA2))],
    )


@case("resume")
def resume(ground: Ground) -> Case:
    source = ground.file(ground.size(GIB))
    size = source.stat().st_size
    slow, fast = ground.url(source, Link(rate=100e6)), ground.url(source)
    made = ground.out / source.name
    again: dict[str, list[int]] = {}

    def job(label: str, first: Sequence[str], rest: Sequence[str]) -> Job:
        arrived = 0

        def interrupted() -> None:
            nonlocal arrived
            ground.clear()
            begun = Job(label, first, interrupt_at=(made, size // 2), codes=frozenset(range(-15, 256)))
            run(begun, ground.environment)
            if not made.exists():
                raise RunFailed("nothing is left of the interrupted run")
            arrived = made.stat().st_blocks * 512
            ground.refresh()

        def tell() -> None:
            again.setdefault(label, []).append(ground.sent() - (size - arrived))

        return Job(label, rest, interrupted, {made: source}, after=tell)

    jobs = [job(OURS, get(ground, slow, source).command, get(ground, fast, source).command)]
    for peer in installed("aria2c", "curl", "wget"):
        first, rest = Order(slow, made), Order(fast, made, resume=True)
        jobs.append(job(peer.label(first), peer.command(first), peer.command(rest)))

    def remarks() -> list[str]:
        return [
            f"{label} was sent {max(counts) / MIB:.1f} MiB more than was missing."
            for label, counts in again.items()
        ]

    return Case(
        f"The rest of {size // MIB} MiB, interrupted in the middle",
        "SIGINT when half of it had arrived; then the same command (of others with their option to continue), over "
        "another port, which is another URL. Only the second run is measured.",
        jobs,
        OURS,
        remarks=remarks,
    )


@case("url")
def url(ground: Ground) -> Case:
    """A URL of the user's: there is no original to compare with, so that only sizes tell."""
    address = os.environ.get("BENCH_URL")
    if address is None:
        raise Unavailable("set BENCH_URL to the address of a large file on a real server")
    made = ground.out / "file"
    order = Order(address, made)
    return Case(
        "A real server",
        "The file that BENCH_URL named.",
        [
            Job(OURS, [*smartremote(), "get", "--quiet", address, "-o", str(made)], ground.clear),
            *[
                Job(peer.label(order), peer.command(order), ground.clear)
                for peer in installed("aria2c", "curl")
            ],
        ],
        OURS,
        [Goal("wall of aria2c -x8", wall(OURS, ARIA2), 1.05)],
    )
