"""Names beyond ASCII in locales that do not know them: cron, containers and `ssh -n` run with LC_ALL=C or none."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest

from tests.support import faults
from tests.support.server import Server, pattern
from tests.support.tool import Tool

NAME = "café-中.bin"


@pytest.mark.parametrize(
    "helps", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["helped", "bare"]
)
@pytest.mark.parametrize("way", ["header", "url"])
def test_a_name_is_written_in_utf_8_where_the_locale_has_no_charset(
    tool: Tool, helps: dict[str, str], way: str
) -> None:
    tool.env(LC_ALL="POSIX", LANG="", **helps)
    with Server(pattern(100_000)) as server:
        url = server.url()
        if way == "header":
            server.faults += [
                faults.header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(NAME)}")
            ]
        else:
            server.resources[f"/{quote(NAME)}"] = server.resources["/file.bin"]
            url = server.url(f"/{quote(NAME)}")
        first, again = tool.spawn("get", url), tool.spawn("get", url)
        status = tool.spawn("status", "--json", os.fsencode(NAME).decode("utf-8"))
    assert (first.code, again.code, status.code) == (0, 0, 0), first.err
    assert os.listdir(os.fsencode(tool.folder)) == [NAME.encode()]
    assert (tool.folder / NAME).read_bytes() == pattern(100_000)
    assert "Traceback" not in first.err + again.err
