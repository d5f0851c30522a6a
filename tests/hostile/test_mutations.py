"""Answers with one wrong byte in their head or their framing: exit 0 means the right bytes all the same.

The bytes of the body itself are left alone: without a digest nothing tells a wrong one there. One mutation more is
undetectable in principle, `is_undetectable` names it. Everything else has to be noticed, or to make no difference.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from smartremote_cli.errors import SmartRemoteError
from smartremote_cli.library.reading import Reader
from smartremote_cli.transfer.state import Policy
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.hostile.runs import download, left_behind
from tests.support import faults
from tests.support.server import Body, Exchange, Fault, Patterned, Reply, Resource, Server

SIZE = 150_001
RANDOM = bytes(Patterned(SIZE).read(0, SIZE))
LINES = b"".join(b"%x\r\n" % number for number in range(40_000))[:SIZE]  # looks like the framing of chunks

FRAMINGS: dict[str, Callable[[], list[Fault]]] = {
    "206 with a length": lambda: [],
    "200 with a length": lambda: [faults.ignore_range()],
    "206 in chunks": lambda: [faults.chunked(10_000)],
    "206 in small chunks": lambda: [faults.chunked(700)],
    "206 in one chunk": lambda: [faults.chunked(1 << 20)],
    "200 in chunks": lambda: [faults.ignore_range(), faults.chunked(10_000)],
    "206 until close": lambda: [faults.until_close()],
}

TIMEOUT = (
    0.4  # seconds. What waits for bytes that never come ends soon; each run has retries for a slow machine
)
RUNS = 40  # of each framing and content; thousands were run while this was written


@dataclass
class Mutation:
    """One wrong byte in what is sent. *at* is drawn from the bytes that are not the body's."""

    seed: int
    close: bool = True
    before: bytes = b""
    after: bytes = b""

    def fault(self, when: faults.When) -> Fault:
        def answer(exchange: Exchange, reply: Reply) -> None:
            sent = bytearray(b"".join(reply.head_pieces()))
            places = list(range(len(sent)))
            for piece, is_body in reply.body_pieces():
                if not is_body:  # four times as likely as a byte of the head
                    places += list(range(len(sent), len(sent) + len(piece))) * 4
                sent += piece
            self.before = bytes(sent)
            self.after = bytes(self._mutate(sent, places))
            reply.head, reply.body, reply.chunk, reply.close = self.after, Body.of(b""), 0, self.close

        return Fault("mutated", when, answer=answer)

    def _mutate(self, sent: bytearray, places: list[int]) -> bytearray:
        dice = random.Random(self.seed)
        at = dice.choice(places)
        match dice.randrange(6):
            case 0:
                sent[at] ^= 1 << dice.randrange(8)
            case 1:
                sent[at] = dice.randrange(256)
            case 2:
                sent[at] = dice.choice(b"0123456789abcdef \t\r\n;:,-")
            case 3:
                del sent[at]
            case 4:
                sent.insert(at, dice.choice(b"0123456789abcdef \t\r\n;:,-"))
            case 5:
                sent[at : at + 1] = sent[at : at + 1] * 2
        return sent

    def told(self) -> str:
        """Return the bytes around what differs, for a message."""
        pairs = zip(self.before, self.after, strict=False)
        at = next((index for index, (old, new) in enumerate(pairs) if old != new), len(self.before))
        return f"seed {self.seed}, at {at}: {self.before[at - 30 : at + 12]!r} -> {self.after[at - 30 : at + 12]!r}"


def is_undetectable(mutation: Mutation, got: bytes, right: bytes) -> bool:
    """Whether nothing in the answer contradicts what was made of it.

    A 200 whose Content-Length is too short: the bytes after it may be anything, and every client stops there.
    """
    head = mutation.after.partition(b"\r\n\r\n")[0]
    return b" 200 " in head[:20] and b"%d" % len(got) in head and right.startswith(got)


def cases() -> list[tuple[str, bytes, int]]:
    return [
        (framing, content, seed)
        for framing in FRAMINGS
        for content in (RANDOM, LINES)
        for seed in range(RUNS)
    ]


@pytest.mark.parametrize("content", [RANDOM, LINES], ids=["random", "lines"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_get_never_takes_a_mutated_answer_for_right(framing: str, content: bytes, tmp_path: Path) -> None:
    for seed in range(RUNS):
        mutation = Mutation(seed, close=seed % 4 > 0)
        file = tmp_path / f"{seed}.bin"
        with Server(Resource(content)) as server:
            server.faults += [*FRAMINGS[framing](), mutation.fault(faults.first(1 + seed % 2))]
            run = download(server.url(), file, timeout=TIMEOUT, retries=3)
        assert run.code != 1, (mutation.told(), run.said)
        if run.code == 0:
            got = file.read_bytes()
            assert got == content or is_undetectable(mutation, got, content), mutation.told()


@pytest.mark.parametrize("content", [RANDOM, LINES], ids=["random", "lines"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_cat_never_prints_a_mutated_answer_as_right(framing: str, content: bytes) -> None:
    for seed in range(RUNS):
        mutation = Mutation(1000 + seed, close=seed % 4 > 0)
        with Server(Resource(content)) as server:
            server.faults += [*FRAMINGS[framing](), mutation.fault(faults.first(1 + seed % 2))]
            code, got = cat(server.url())
        assert code != 1, mutation.told()
        if code == 0:
            assert got == content or is_undetectable(mutation, got, content), mutation.told()
    assert not left_behind()


def cat(url: str) -> tuple[int, bytes]:
    """Return the exit code and what is printed of the resource."""
    policy = Policy(4, 3, pause=lambda failures, chance: 0.01)
    printed = bytearray()
    with Transport(Options(netrc=False, timeout=TIMEOUT)) as transport:
        reader = Reader(Remote(url, transport), None, policy=policy)
        try:
            for piece in reader.stream(0, reader.open(0, None)):
                printed += piece
        except SmartRemoteError as error:
            return error.exit_code, bytes(printed)
        finally:
            reader.close()
    return 0, bytes(printed)
