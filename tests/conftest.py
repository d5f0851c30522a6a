"""What tests of several modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tool import Tool


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    return Tool(tmp_path, monkeypatch)
