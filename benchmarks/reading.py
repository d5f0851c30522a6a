"""Cases that are about little bytes and little time: start-up, cat, zip-ls, small files, round trips."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import archives
from .case import Case, Goal, Results, case, megabytes, wall
from .ground import GIB, MIB, Ground, smartremote
from .measure import Job, run
from .peers import Order, Peer, installed
from .relay import Link

LONG = Link(round_trip=0.1)


def python(code: str) -> Job:
    return Job(f"python -c '{code}'", [sys.executable, "-c", code])


@case("start-up", quick=True)
def start_up(ground: Ground) -> Case:
    source = ground.file(MIB)
    url = ground.url(source)
    click, libraries = python("import click"), python("import click, httpx, pyroaring")
    shell = {"_SMARTREMOTE_COMPLETE": "bash_complete"}
    command = {**shell, "COMP_WORDS": "smartremote st", "COMP_CWORD": "1"}
    option = {**shell, "COMP_WORDS": "smartremote get --o", "COMP_CWORD": "2"}
    cat = [*smartremote(), "cat", "--quiet", url, "--length", "10"]
    jobs = [
        Job("smartremote --help", [*smartremote(), "--help"]),
        Job("smartremote get --help", [*smartremote(), "get", "--help"]),
        Job("completing a command", smartremote(), environment=command),
        Job("completing an option", smartremote(), environment=option),
        Job("smartremote cat of 10 bytes", cat, ground.clear),
        Job("smartremote cat --no-cache of 10 bytes", [*cat, "--no-cache"], ground.clear),
        python("pass"),
        click,
        libraries,
    ]
    return Case(
        "Start-up",
        "What is over in a moment, beside Python loading the libraries alone.",
        jobs,
        goals=[
            Goal("--help: wall of importing click", wall("smartremote --help", click.label), 1.6),
            *[
                Goal(f"{what}: wall of importing click", wall(what, click.label), 1.6)
                for what in ("completing a command", "completing an option")
            ],
            Goal(
                "cat of 10 bytes: wall of importing click, httpx and pyroaring",
                wall("smartremote cat of 10 bytes", libraries.label),
                1.3,
            ),
        ],
        times=3,
    )


@case("cat")
def cat(ground: Ground) -> Case:
    source = ground.file(ground.size(GIB))
    long = min(64 * MIB, source.stat().st_size)
    url = ground.url(source)
    words = [*smartremote(), "cat", "--quiet", url, "--length"]
    piece = {"512 bytes": "512", f"{long // MIB} MiB": str(long)}
    jobs = []
    for what, length in piece.items():
        cold = Job(f"cat of {what}, cold", [*words, length], ground.clear)

        def warm(cold: Job = cold) -> None:
            ground.clear()
            run(cold, ground.environment)

        jobs += [
            cold,
            Job(f"cat of {what}, warm", [*words, length], warm),
            Job(f"cat of {what}, warm, --offline", [*words, length, "--offline"], warm),
            Job(f"cat --no-cache of {what}", [*words, length, "--no-cache"], ground.clear),
            Job(f"curl of {what}", ["curl", "-q", "-s", "-r", f"0-{int(length) - 1}", url], ground.clear),
        ]
    large = f"{long // MIB} MiB"
    return Case(
        "cat, cold and warm",
        "To /dev/null. Cold is an empty cache, warm one that holds the bytes.",
        jobs,
        goals=[
            Goal(f"{large} cold: wall of curl", wall(f"cat of {large}, cold", f"curl of {large}")),
            Goal(f"{large} warm: wall of cold", wall(f"cat of {large}, warm", f"cat of {large}, cold")),
        ],
        times=2,
    )


@case("zip-ls")
def zip_ls(ground: Ground) -> Case:
    members, most = 100_000 // ground.scale, 1_000_000 // ground.scale
    many = archives.make(ground.served / "many.zip", members)
    million = archives.make(ground.served / "million.zip", most)
    words = [*smartremote(), "zip-ls", "--quiet"]
    ours, local, huge = f"zip-ls of {members:,}", f"unzip -l of {members:,}, local", f"zip-ls of {most:,}"
    jobs = [
        Job(ours, [*words, ground.url(many)], ground.clear),
        Job(f"{ours}, warm", [*words, ground.url(many)], lambda: ground.refresh()),
        Job(huge, [*words, ground.url(million)], ground.clear),
    ]
    if shutil.which("unzip"):
        jobs.append(Job(local, ["unzip", "-l", str(many)]))
        jobs.append(Job(f"unzip -l of {most:,}, local", ["unzip", "-l", str(million)]))
    return Case(
        "Listing a zip",
        "Over the loopback, into a file; `unzip -l` lists the local copy, with no network at all.",
        [Job(job.label, job.command, job.prepare, prints=ground.home / "listing") for job in jobs],
        goals=[
            Goal(f"{members:,} members: wall of unzip -l", wall(ours, local), 4.0),
            Goal(f"{members:,} members: wall of unzip -l", wall(ours, local), 2.5, stretch=True),
            Goal(f"{most:,} members: peak memory", megabytes(huge), 60, "MiB"),
        ],
    )


@case("small", quick=True)
def small(ground: Ground) -> Case:
    count = max(100 // ground.scale, 10)
    sources = [ground.file(16 * 1024, f"small-{number}.bin") for number in range(count)]
    urls = [ground.url(source) for source in sources]
    made = {ground.out / source.name: source for source in sources}
    listed = ground.home / "urls"
    listed.write_text("".join(f"{url}\n" for url in urls))

    def each(label: str, word: Callable[[str, Path], list[str]]) -> Job:
        """A process for each file, one after another."""
        lines = [" ".join(word(url, into)) for url, into in zip(urls, made, strict=True)]
        script = ground.home / f"each-{len(label)}-{label[:4]}.sh"
        script.write_text("set -e\n" + "\n".join(lines) + "\n")
        return Job(label, ["sh", str(script)], ground.clear, made)

    out = str(ground.out)
    library = (
        "import sys, smartremote_cli as s\n"
        "with s.DownloadManager(idle_download=False) as m:\n"
        "    for line in open(sys.argv[1]):\n"
        "        url = line.strip()\n"
        "        with m.open_to(url, sys.argv[2] + '/' + url.rpartition('/')[2]) as f: f.read()\n"
    )
    ours = "smartremote, a process each"
    jobs = [
        each(ours, lambda url, into: [*smartremote(), "get", "--quiet", url, "-o", str(into)]),
        Job("smartremote's library", [sys.executable, "-c", library, str(listed), out], ground.clear, made),
    ]
    for peer in installed("curl", "aria2c", "wget"):
        jobs.append(each(f"{peer.program}, a process each", told(peer)))
    if installed("aria2c"):
        words = "aria2c --no-conf --quiet --max-concurrent-downloads=8 --dir".split()
        jobs.append(Job("aria2c --input-file", [*words, out, f"--input-file={listed}"], ground.clear, made))
    if installed("wget"):
        words = ["wget", "--no-config", "-q", "-P", out, "-i", str(listed)]
        jobs.append(Job("wget --input-file", words, ground.clear, made))
    if installed("curl"):
        words = ["curl", "-q", "-s", "--parallel", "--output-dir", out, "--remote-name-all", *urls]
        jobs.append(Job("curl --parallel", words, ground.clear, made))
    return Case(
        f"{count} files of 16 KiB",
        "`smartremote get` takes one URL: many small files cost a start of Python each, or go through the library.",
        jobs,
        ours,
    )


@case("round-trips")
def round_trips(ground: Ground) -> Case:
    source = ground.file(64 * 1024)
    archive = archives.make(ground.served / "some.zip", 200)
    far, near = ground.url(source, LONG), ground.url(source)
    into = ground.out / "file"
    commands: dict[str, Callable[[str, Path], list[str]]] = {
        "get of 64 KiB": lambda url, into: [*smartremote(), "get", "-q", url, "-o", str(into)],
        "cat of 10 bytes": lambda url, _: [*smartremote(), "cat", "-q", url, "--length", "10"],
        "zip-ls of 200": lambda url, _: [*smartremote(), "zip-ls", "-q", url],
        **{f"{peer.program} of 64 KiB": told(peer) for peer in installed("curl", "aria2c", "wget")},
    }
    jobs = []
    goals = []
    far_zip, near_zip = ground.url(archive, LONG), ground.url(archive)
    for what, words in commands.items():
        urls = (far_zip, near_zip) if what.startswith("zip-ls") else (far, near)
        jobs += [
            Job(what, words(urls[0], into), ground.clear),
            Job(f"{what}, near", words(urls[1], into), ground.clear),
        ]
        most = 3.2 if what.startswith(("cat", "zip")) else None
        goals.append(Goal(f"{what}: round trips", _trips(what), most, "round trips"))
    return Case(
        "Round trips of 100 ms",
        "What a long link adds to the same command near by, in round trips: connecting is one, a request another.",
        jobs,
        goals=goals,
        times=3,
    )


def told(peer: Peer) -> Callable[[str, Path], list[str]]:
    """Return how *peer* is told to download a URL into a file."""
    return lambda url, into: peer.command(Order(url, into))


def _trips(what: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        far, near = results.median("wall", what), results.median("wall", f"{what}, near")
        return None if far is None or near is None else (far - near) / LONG.round_trip

    return value
