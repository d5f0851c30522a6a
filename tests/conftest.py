"""What tests of several modules share."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.support.server import Certificates, make_certificates
from tests.support.tool import Tool

# Under nohup or in the background of a script, signals are ignored, which processes inherit and smartremote respects.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    return Tool(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED over TLS: no openssl found")
    return make_certificates(tmp_path_factory.mktemp("certificates"))
