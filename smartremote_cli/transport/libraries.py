"""httpx and httpcore as this package uses them: without the command line that httpx would load."""

from __future__ import annotations

import sys

# httpx imports its own command line, 47 ms of click, rich and pygments, unless that import fails.
_absent = sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
import httpcore  # noqa: E402
import httpx  # noqa: E402

if _absent is None:
    sys.modules.pop("httpx._main", None)


__all__ = ["httpcore", "httpx"]
