"""What the other modules make faults with."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.server import Body, Break, Exchange, Fault, Reply

from .conditions import When, ranged


def answering(name: str, when: When, edit: Callable[[Reply], None]) -> Fault:
    return Fault(name, when, answer=lambda exchange, reply: edit(reply))


def breaking(name: str, known: Break, when: When) -> Fault:
    return answering(name, when, lambda reply: reply.breaks.append(known))


def of_parts(name: str, when: When, edit: Callable[[Reply], None]) -> Fault:
    def answer(exchange: Exchange, reply: Reply) -> None:
        if reply.status == 206:
            edit(reply)

    return Fault(name, ranged & when, answer=answer)


def carry(reply: Reply, data: bytes) -> None:
    reply.body = Body.of(data)
    reply.headers.put("Content-Length", str(len(data)))
