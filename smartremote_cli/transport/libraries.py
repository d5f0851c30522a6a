"""httpx and httpcore as this package uses them: without what they would load and nobody here uses."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for the module of its name, which is loaded when somebody looks into it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


# httpx imports its own command line, 47 ms of click, rich and pygments, unless that import fails. Besides, the two
# import for asyncio, certificates, odd hosts and SOCKS what they look into only when asked for those: 10 to 20 ms.
_instead: dict[str, Any] = {"httpx._main": None} | {
    name: _Later(name) for name in ("anyio", "certifi", "idna", "socksio")
}
_instead = {name: module for name, module in _instead.items() if name not in sys.modules}
sys.modules.update(_instead)
import httpcore  # noqa: E402
import httpx  # noqa: E402

for _name in _instead:
    sys.modules.pop(_name, None)

__all__ = ["httpcore", "httpx"]
