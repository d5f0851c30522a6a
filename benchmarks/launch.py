"""Run one command and print, as JSON, what it took: the process between the harness and what it measures.

    python -I -S launch.py RESULT LIMIT [--interrupt-at FILE BYTES] -- COMMAND...

It is a process of its own because peak memory is inherited: a child that is started by vfork counts its parent's
peak as its own until exec, and keeps the maximum. This one imports next to nothing, so that the floor is a bare
Python's. RESULT is the descriptor for what it prints, for stdout is the command's. After LIMIT seconds the command
is killed, and its exit code is null.
"""

from __future__ import annotations

import os
import signal
import sys
import time

LOOK = 0.005  # seconds between looks at a file that grows, or at the clock


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    result, limit, watch, command = (
        int(arguments[0]),
        float(arguments[1]),
        arguments[2:split],
        arguments[split + 1 :],
    )
    os.set_inheritable(result, False)
    began = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    if watch:
        _, file, enough = watch
        _interrupt_when(child, file, int(enough), began + limit)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, max(0.001, began + limit - time.monotonic()))
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - began
    signal.setitimer(signal.ITIMER_REAL, 0)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    processor = usage.ru_utime + usage.ru_stime
    code = "null" if wall >= limit else str(os.waitstatus_to_exitcode(status))
    os.write(result, f'{{"wall": {wall}, "processor": {processor}, "peak": {peak}, "code": {code}}}'.encode())


def _interrupt_when(child: int, file: str, enough: int, give_up: float) -> None:
    """Send SIGINT to *child* once *enough* bytes of *file* are allocated, unless it ends before."""
    still = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while time.monotonic() < give_up and os.waitid(os.P_PID, child, still) is None:
        try:
            if os.stat(file).st_blocks * 512 >= enough:
                os.kill(child, signal.SIGINT)
                return
        except FileNotFoundError:
            pass
        time.sleep(LOOK)


if __name__ == "__main__":
    main(sys.argv[1:])
