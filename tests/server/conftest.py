"""What the tests of the test server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.asking import DATA
from tests.support.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(DATA) as running:
        yield running
