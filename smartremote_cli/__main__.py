"""The start of the process, as `smartremote` and as `python -m smartremote_cli`."""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Run the command line. Until it catches signals itself, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imports make many objects and no garbage; the collector would look for some during a tenth of the start.
    gc.set_threshold(100_000)  # objects; starting a command makes fewer
    from .cli import main

    main()


if __name__ == "__main__":
    main()
