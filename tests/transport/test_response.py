"""Answers and their bodies, over connections of our own and over a client of the caller's: one interface."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from smartremote_cli.errors import AttemptFailed, ClosedError, RefusedError, SmartRemoteError, UsageError
from smartremote_cli.protocol.answers import EVERYTHING, Asked
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.server import (
    Certificates,
    Fault,
    Server,
    Service,
    Where,
    Wire,
    unanswered_port,
    unused_port,
)
from tests.transport.common import DATA, PART, read


class Silent(Service):
    """Accepts, and says nothing."""

    def serve(self, wire: Wire, connection: int) -> None:
        wire.nap(3600)


Opening = Callable[..., contextlib.AbstractContextManager[Transport]]


@contextlib.contextmanager
def over_our_own(options: Options | None = None) -> Iterator[Transport]:
    with Transport(options) as transport:
        yield transport


@contextlib.contextmanager
def over_a_client(options: Options | None = None) -> Iterator[Transport]:
    cacert = None if options is None else options.cacert
    verify = ssl.create_default_context(cafile=cacert)
    with (
        httpx.Client(verify=verify, trust_env=False) as client,
        Transport(options, client) as transport,
    ):
        yield transport


@pytest.fixture(params=[over_our_own, over_a_client], ids=["our own", "a client"])
def opening(request: pytest.FixtureRequest) -> Opening:
    made: Opening = request.param
    return made


FRAMINGS: dict[str, Callable[[], list[Fault]]] = {
    "a length": lambda: [],
    "chunks": lambda: [faults.chunked(700)],
    "chunks of LF": lambda: [faults.odd_chunks("LF")],
    "chunks with trailers": lambda: [faults.odd_chunks("trailers")],
    "the connection's end": lambda: [faults.until_close()],
}


@pytest.mark.parametrize("size", [1000, 64 * 1024])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("asked", [PART, EVERYTHING], ids=["a part", "all"])
def test_a_body_comes_whole_however_it_ends(
    server: Server, opening: Opening, framing: str, asked: Asked, size: int
) -> None:
    if framing in ("chunks of LF", "chunks with trailers") and opening is over_a_client:
        pytest.skip("httpx takes these as it will")
    server.faults += FRAMINGS[framing]()
    with opening() as transport:
        response = Remote(server.url(), transport).ask(asked)
        expected = DATA if asked.range is None else DATA[1000:5000]
        assert response.status == (200 if asked.range is None else 206)
        assert response.length == (len(expected) if framing == "a length" else None)
        assert read(response, size) == expected


@pytest.mark.parametrize("secure", [False, True])
def test_one_connection_serves_requests_of_known_length(
    certificates: Certificates, opening: Opening, secure: bool
) -> None:
    options = Options(cacert=str(certificates.ca)) if secure else None
    with (
        Server(DATA, tls=certificates.context() if secure else None) as server,
        opening(options) as transport,
    ):
        remote = Remote(server.url(), transport)
        for _ in range(5):
            assert read(remote.ask(PART)) == DATA[1000:5000]
        assert server.connections == 1


def test_a_refusal_is_an_answer_too(server: Server, opening: Opening) -> None:
    server.faults.append(faults.status(404, b"x" * 10_000))
    with opening() as transport:
        for _ in range(3):
            response = Remote(server.url(), transport).ask(PART)
            assert (response.status, response.length) == (404, 10_000)
            response.skip(64 * 1024)
            response.close()
    assert server.connections == 1


def test_an_answer_without_a_body_is_over_at_once(server: Server, opening: Opening) -> None:
    server.faults.append(faults.status(304))
    with opening() as transport:
        for _ in range(2):
            response = Remote(server.url(), transport).ask(PART)
            assert (response.status, response.length, read(response)) == (304, 0, b"")
    assert server.connections == 1


def test_redirects_are_followed_by_hand(server: Server, opening: Opening) -> None:
    server.faults.append(faults.hops(3, "/file.bin"))
    with opening() as transport:
        response = Remote(server.url("/hop/3"), transport).ask(PART)
        assert response.url == server.url()
        assert read(response) == DATA[1000:5000]
    assert [seen.path for seen in server.requests] == ["/hop/3", "/hop/2", "/hop/1", "/file.bin"]


def test_what_is_no_host_is_wrong_usage(opening: Opening) -> None:
    with opening() as transport, pytest.raises(UsageError, match="not a URL"):
        Remote("http://1.2.3.999/", transport).ask(PART)


def test_a_redirect_to_what_is_no_host_is_refused(server: Server) -> None:
    with over_our_own() as transport:  # httpx refuses the answer itself
        server.faults.append(faults.redirect("http://1.2.3.999/"))
        with pytest.raises(RefusedError, match="not a URL"):
            Remote(server.url(), transport).ask(PART)


@pytest.mark.parametrize("framing", ["a length", "chunks"])
@pytest.mark.parametrize("end", [faults.fin, faults.reset])
def test_a_body_cut_short_is_a_failure(
    server: Server, opening: Opening, framing: str, end: Callable[[int], Fault]
) -> None:
    server.faults += [*FRAMINGS[framing](), end(1000)]
    with opening() as transport, pytest.raises(AttemptFailed):
        read(Remote(server.url(), transport).ask(PART))


@pytest.mark.parametrize("where", ["before", "body"])
def test_a_stall_is_said_with_its_seconds(server: Server, opening: Opening, where: Where) -> None:
    server.faults.append(faults.stall(after=1000 if where == "body" else 0, where=where))
    with opening(Options(timeout=0.2)) as transport, pytest.raises(AttemptFailed) as failed:
        read(Remote(server.url(), transport).ask(PART))
    assert failed.value.stalled and failed.value.why == "nothing received for 0.2 s"


def test_a_server_that_is_not_there_or_does_not_answer(opening: Opening) -> None:
    with opening(Options(timeout=0.2)) as transport:
        with pytest.raises(AttemptFailed) as refused:
            Remote(f"http://127.0.0.1:{unused_port()}/", transport).ask(PART)
        with unanswered_port() as port, pytest.raises(AttemptFailed) as stalled:
            Remote(f"http://127.0.0.1:{port}/", transport).ask(PART)
    assert refused.value.refused
    assert stalled.value.stalled and stalled.value.why == "could not connect within 0.2 s"


@pytest.mark.parametrize(
    "head", [b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 2 OK\r\n\r\n"]
)
def test_a_garbled_head_is_said_to_be_inconsistent(server: Server, opening: Opening, head: bytes) -> None:
    server.faults.append(faults.raw(head))
    with opening() as transport, pytest.raises(AttemptFailed, match="answer is inconsistent") as failed:
        Remote(server.url(), transport).ask(PART)
    assert failed.value.garbled


def test_an_end_before_the_head_may_mean_too_many_connections(server: Server, opening: Opening) -> None:
    server.faults.append(faults.fin(where="before"))
    with opening() as transport, pytest.raises(AttemptFailed, match="ended before an answer") as failed:
        Remote(server.url(), transport).ask(PART)
    assert failed.value.crowded


def test_a_certificate_that_is_not_trusted_is_said_with_what_to_do(
    certificates: Certificates, opening: Opening
) -> None:
    with (
        Server(DATA, tls=certificates.context("self-signed")) as server,
        opening(Options(cacert=str(certificates.ca))) as transport,
        pytest.raises(RefusedError, match="certificate not trusted: ") as failed,
    ):
        Remote(server.url(), transport).ask(PART)
    assert failed.value.hint is not None and "--cacert FILE" in failed.value.hint


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_read_that_waits_can_be_aborted(server: Server, opening: Opening, framing: str) -> None:
    server.faults += [*FRAMINGS[framing](), faults.stall(after=1000)]
    with opening() as transport:
        response = Remote(server.url(), transport).ask(PART)
        threading.Timer(0.1, response.abort).start()
        with pytest.raises(AttemptFailed):
            assert read(response) == b""  # what was read before the abort is not returned


def test_to_close_twice_or_to_abort_a_closed_one_harms_no_other(server: Server, opening: Opening) -> None:
    with opening() as transport:
        remote = Remote(server.url(), transport)
        over = remote.ask(PART)
        assert read(over) == DATA[1000:5000]
        other = remote.ask(EVERYTHING)
        over.close()
        over.abort()
        assert read(other) == DATA
    assert server.connections == 1


def test_a_body_left_half_read_costs_its_connection_alone(server: Server, opening: Opening) -> None:
    with opening() as transport:
        for _ in range(3):
            response = Remote(server.url(), transport).ask(EVERYTHING)
            assert response.read_into(memoryview(bytearray(1000))) > 0
            response.close()
        assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]


def test_closing_the_transport_ends_a_body_and_further_requests(server: Server, opening: Opening) -> None:
    server.faults.append(faults.stall(after=1000))
    with opening() as transport:
        remote = Remote(server.url(), transport)
        response = remote.ask(PART)
        threading.Timer(0.1, transport.close).start()
        with pytest.raises(SmartRemoteError):
            read(response)
        with pytest.raises(ClosedError):
            remote.ask(PART)


def test_slots_are_given_back_by_answers_and_by_failures(server: Server) -> None:
    server.faults.append(faults.fin(where="before", when=faults.first(2)))
    with Transport(max_requests=1) as transport:
        remote = Remote(server.url(), transport)
        for _ in range(2):
            with pytest.raises(AttemptFailed):
                remote.ask(PART)
        for _ in range(2):
            assert read(remote.ask(PART)) == DATA[1000:5000]


# --- aborting a request before there is an answer ---


@pytest.mark.parametrize("phase", ["the connection", "TLS", "the head", "a slot"])
def test_a_request_can_be_aborted_in_every_phase(server: Server, phase: str) -> None:
    """An abort does not wait for the timeout of whatever the thread is waiting for."""
    with contextlib.ExitStack() as stack:
        transport = stack.enter_context(Transport(Options(timeout=60.0, insecure=True), max_requests=1))
        url = server.url()
        if phase == "the connection":
            url = f"http://127.0.0.1:{stack.enter_context(unanswered_port())}/"
        elif phase == "TLS":
            silent = stack.enter_context(Silent())
            url = f"https://{silent.netloc}/"
        elif phase == "the head":
            server.faults.append(faults.stall(where="before"))
        else:
            stack.callback(Remote(server.url(), transport).ask(EVERYTHING).close)
        thread, began = threading.get_ident(), time.monotonic()
        stop = threading.Timer(0.3, transport.abort, (thread,))
        stop.start()
        with pytest.raises(AttemptFailed, match="stopped"):
            Remote(url, transport).ask(PART)
        stop.join()
        assert time.monotonic() - began < 30


def test_an_abort_that_comes_before_the_request_is_under_way_is_not_lost(server: Server) -> None:
    """Between the look whether to stop and the request there is nothing to abort: so it looks again."""
    server.faults.append(faults.stall(where="before"))
    looks = iter([False, True])
    with Transport(Options(timeout=60.0)) as transport, pytest.raises(AttemptFailed, match="stopped"):
        Remote(server.url(), transport).ask(PART, stopped=lambda: next(looks, True))
    assert server.requests == []
