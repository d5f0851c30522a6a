"""Header fields written as they travel."""

from __future__ import annotations

from smartremote_cli.protocol.headers import Headers


def fields(*lines: str) -> Headers:
    """Return the header fields that *lines* hold, each ``Name: value``."""
    pairs = (line.partition(":") for line in lines)
    return Headers([(name, value) for name, _, value in pairs])
