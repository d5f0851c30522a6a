"""Response: an answer whose head is whole, over a connection of our own or a caller's client alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from ..core.urls import redact
from ..errors import AttemptFailed, SmartRemoteError
from .body import Answer
from .exchange import Exchange
from .failures import FOREIGN, translate
from .visitor import Login

# A connection is worth waiting this long for the end of a chunked body, or for a refusal's short body: about what a new
# one costs over a long link, with its handshakes (two round trips of 100 ms).
_SAVING_SECONDS = 0.2
_KEPT_BYTES = 4 * 1024  # of that, for words about the refusal: nginx's whole page is 240 bytes
_SKIP_BYTES = 64 * 1024  # read at once of a body that is dropped


class Response:
    """An answer; *length* is its body's in bytes, None where only the end tells.

    One thread reads the body; `abort` may come from any.
    """

    def __init__(
        self,
        url: str,
        answer: Answer,
        timeout: float,
        exchange: Exchange,
        release: Callable[[], None],
    ) -> None:
        self.url = url
        self.status, self.headers, self.length, self._body = answer
        self.login: Login | None = None  # how the request logged in
        self.skipped = b""  # how a body that was dropped began
        self._left = self.length
        self.received = 0  # bytes of the body
        self._timeout = timeout
        self._exchange = exchange  # the body is attached to it
        self._release = release  # called once, when the body is closed

    def read_into(self, view: memoryview) -> int:
        """Fill *view* with the next body bytes, as many as are here; return how many, 0 at the announced end.

        Raises `AttemptFailed` when the connection breaks, stalls, or ends before the announced length.
        """
        left = self._left
        if left == 0:
            return 0
        try:
            count = self._body.read_into(view if left is None else view[:left], self._timeout)
        except SmartRemoteError:
            raise
        except FOREIGN as error:
            raise translate(error, self.url) from error
        if left is not None:
            if not count:
                raise AttemptFailed(
                    redact(self.url), f"the connection ended {left} bytes before the body did"
                )
            self._left = left - count
        self.received += count
        return count

    @property
    def unconfirmed(self) -> int:
        """How many of the bytes read last nothing proves yet: they are of a chunk whose end has not come."""
        return self._body.unconfirmed

    def finish(self) -> bool:
        """Read what ends a body whose bytes are all here, so that the connection can be used again.

        Return whether the body ended there: chunks may go on, end elsewhere, or be none.
        """
        if self.length is not None:
            return True
        try:
            return self._body.finish(self._timeout, _SAVING_SECONDS)
        except (SmartRemoteError, *FOREIGN):
            return False

    def skip(self, limit: int) -> None:
        """Read and drop the rest of a body of at most *limit* bytes, so that the connection can be used again.

        A longer one, or one of unknown length, is left.
        """
        if not self._left or self._left > limit:
            return
        view = memoryview(bytearray(min(self._left, _SKIP_BYTES)))
        self._timeout = min(self._timeout, _SAVING_SECONDS)
        deadline = time.monotonic() + self._timeout
        with contextlib.suppress(SmartRemoteError):
            while time.monotonic() < deadline and (count := self.read_into(view)):
                self.skipped = self.skipped or bytes(view[: min(count, _KEPT_BYTES)])

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else close it."""
        if not self._exchange.detach():
            return  # closed before
        try:
            self._body.close(drained=self._left == 0)
        finally:
            self._release()

    def abort(self) -> None:
        """Make a read that waits in another thread fail. After `close`, do nothing."""
        self._exchange.abort()
