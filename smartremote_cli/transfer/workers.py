"""Workers: the threads of one transfer. Start another when it helps, let others abort what they wait for, end them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from ..errors import LocalError
from ..threads import start
from ..transport.response import Response
from .state import State

# How often a thread that waits looks up: the main thread must handle signals that were delivered to other threads,
# and a tenth of a second is not felt after Ctrl-C.
POLL_INTERVAL_SECONDS = 0.1


class Workers:
    """Threads that run *serve* until it finds nothing more to do. `State.workers` names them, for all who count."""

    def __init__(self, state: State, serve: Callable[[], None]) -> None:
        self._state = state
        self._serve = serve

    def start_one(self) -> None:
        """Start another worker if it may help; that one starts the next. The caller holds the guard."""
        state = self._state
        if state.is_leaving or len(state.workers) >= self._useful():
            return
        thread = threading.Thread(target=self._run, name="smartremote-fetch", daemon=True)
        state.workers[thread] = None
        if start(thread):
            return
        del state.workers[thread]
        if state.workers:  # go on with those that there are
            state.patience.most = state.patience.limit = len(state.workers)
        else:
            state.end(LocalError(state.name, "the system allows no more threads"))

    def _useful(self) -> int:
        """Return how many workers have something to do."""
        state = self._state
        if state.ledger is None:
            return 1
        if state.is_streaming:
            return min(1, state.todo)
        state.patience.measure_load(time.monotonic(), time.process_time(), len(state.workers))
        return min(state.patience.connections, state.ledger.parts)

    def _run(self) -> None:
        state = self._state
        try:
            self._serve()
        finally:
            with state.cond:
                state.workers.pop(threading.current_thread(), None)
                if not state.workers:
                    state.finish_draining()
                self.start_one()
                state.cond.notify_all()

    @contextlib.contextmanager
    def using(self, response: Response) -> Iterator[None]:
        """Let `abort_others` and `stop` reach this thread's answer."""
        state, me = self._state, threading.current_thread()
        with state.cond:
            if state.is_leaving:
                response.abort()
            state.workers[me] = response
        try:
            yield
        finally:
            with state.cond:
                state.workers[me] = None

    def abort_others(self) -> None:
        """End the requests of all workers but this one."""
        state, me = self._state, threading.current_thread()
        with state.cond:
            others = [(thread, response) for thread, response in state.workers.items() if thread is not me]
            state.cond.notify_all()
        for thread, response in others:
            state.source.remote.abort(thread, response)

    def stop(self, seconds: float) -> None:
        """End the requests of all workers, and wait up to *seconds* for them to leave."""
        state, deadline = self._state, time.monotonic() + seconds
        with state.cond:
            workers = list(state.workers.items())
            carried, state.carried_response = state.carried_response, None
        if carried is not None:
            carried.close()
        for thread, response in workers:
            state.source.remote.abort(thread, response)
        for thread, _ in workers:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def outlast(self) -> None:
        """Wait for the last worker to leave."""
        state = self._state
        with state.cond:
            while state.workers:
                state.cond.wait(POLL_INTERVAL_SECONDS)
