"""A real HTTP/1.1 server on the loopback, with every byte under the control of a test.

    with Server(Resource(Patterned(40 << 20))) as server:
        server.faults.append(faults.reset(after=100_000, when=faults.nth(2)))
        fetch(server.url())
        assert [seen.range for seen in server.requests] == ["bytes=0-65535", ...]

Without faults it does what RFC 9110 asks: preconditions in their order, single ranges, If-Range, 416 and
keep-alive; where the RFC leaves a choice it does what nginx does. Raw sockets and a thread for each
connection: http.server neither lets a test hang up in the middle of a header nor counts what was sent.

An answer is made in three steps: faults edit what was asked (`Exchange.asked`, `Exchange.resource`) or answer
in its place, `respond` makes the right answer, faults edit that `Reply`. All three run under the lock of the
server; sending happens outside it.
"""

from __future__ import annotations

from .answers import Body, Break, Headers, Pace, Reply, Where, parse_head, requested, respond
from .certificates import Certificates, make_certificates
from .contents import Content, Held, Patched, Patterned, Resource, pattern
from .exchanges import Exchange, Fault, Seen, Server, Turn, basic, send_reply
from .service import PIECE, HangUpError, ServerClosedError, Service, Wire, unanswered_port, unused_port

__all__ = [
    "PIECE",
    "Body",
    "Break",
    "Certificates",
    "Content",
    "Exchange",
    "Fault",
    "HangUpError",
    "Headers",
    "Held",
    "Pace",
    "Patched",
    "Patterned",
    "Reply",
    "Resource",
    "Seen",
    "Server",
    "ServerClosedError",
    "Service",
    "Turn",
    "Where",
    "Wire",
    "basic",
    "make_certificates",
    "parse_head",
    "pattern",
    "requested",
    "respond",
    "send_reply",
    "unanswered_port",
    "unused_port",
]
