"""What tests of several modules share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.server import Certificates, make_certificates
from tests.tool import Tool


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    return Tool(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED over TLS: no openssl found")
    return make_certificates(tmp_path_factory.mktemp("certificates"))
