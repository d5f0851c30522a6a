"""smartremote status: what it says about files, records and folders, without the network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.errors import LocalError
from smartremote_cli.store.part import Record, encode
from tests.support.leftovers import leave_partial, version_one
from tests.support.server import pattern
from tests.support.tool import Tool

SIZE = 10 * BLOCK + 100
URL = "http://example.com/file.bin?signature=geheim"


def partial(
    tool: Tool, name: str = "file.bin", blocks: tuple[int, ...] = (0, 1, 2, 7), size: int | None = SIZE
) -> Path:
    path = tool.folder / name
    leave_partial(path, URL, pattern(SIZE), blocks, version_one(size))
    return path


def test_a_partial_file_is_counted_and_its_gaps_are_listed(tool: Tool) -> None:
    partial(tool)
    ran = tool("status", "--json", "file.bin")
    assert ran.code == 3
    assert ran.objects == [
        {
            "path": "file.bin",
            "state": "partial",
            "size": SIZE,
            "block_size": BLOCK,
            "blocks_total": 11,
            "blocks_present": 4,
            "bytes_present": 4 * BLOCK,
            "bytes_missing": SIZE - 4 * BLOCK,
            "missing": [[3 * BLOCK, 7 * BLOCK - 1], [8 * BLOCK, SIZE - 1]],
            "url": ran.objects[0]["url"],
            "etag": '"one"',
            "last_modified": "Wed, 01 Jan 2025 00:00:00 GMT",
        }
    ]
    assert "geheim" not in ran.text
    assert ran.objects[0]["url"].startswith("http://example.com/file.bin")


def test_a_file_without_record_is_complete(tool: Tool) -> None:
    tool.write("file.bin", pattern(SIZE))
    ran = tool("status", "--json", "file.bin")
    assert ran.code == 0
    facts = ran.objects[0]
    assert (facts["state"], facts["size"], facts["bytes_missing"], facts["missing"]) == (
        "complete",
        SIZE,
        0,
        [],
    )
    assert (facts["blocks_total"], facts["blocks_present"]) == (11, 11)
    assert (facts["url"], facts["etag"], facts["last_modified"]) == (None, None, None)


def test_an_empty_file_is_complete(tool: Tool) -> None:
    tool.write("file.bin", b"")
    ran = tool("status", "--json", "file.bin")
    assert ran.code == 0
    assert (ran.objects[0]["blocks_total"], ran.objects[0]["bytes_missing"]) == (0, 0)


def test_the_record_names_its_file(tool: Tool) -> None:
    partial(tool)
    assert tool("status", "--json", "file.bin.part").objects[0]["path"] == "file.bin"


def test_an_absent_file_is_exit_6(tool: Tool) -> None:
    ran = tool("status", "file.bin")
    assert (ran.code, ran.out) == (6, b"")
    assert ran.complaint.startswith("file.bin: ")


def test_a_record_whose_data_is_gone_says_that_all_is_missing(tool: Tool) -> None:
    os.unlink(partial(tool))
    ran = tool("status", "--json", "file.bin")
    assert ran.code == 3
    assert ran.objects[0]["bytes_present"] == 0


@pytest.mark.parametrize("size", [0, BLOCK + 5, 2 * BLOCK])
def test_blocks_that_the_file_is_too_short_for_are_missing(tool: Tool, size: int) -> None:
    os.truncate(partial(tool), size)
    assert tool("status", "--json", "file.bin").objects[0]["blocks_present"] == size // BLOCK


def test_a_record_without_size_has_nulls(tool: Tool) -> None:
    partial(tool, size=None)
    facts = tool("status", "--json", "file.bin").objects[0]
    assert (facts["size"], facts["missing"], facts["bytes_missing"], facts["blocks_total"]) == (None,) * 4


def test_an_empty_record_is_one_of_a_file_just_created(tool: Tool) -> None:
    partial(tool)
    tool.write("file.bin.part", b"")
    ran = tool("status", "--json", "file.bin")
    assert ran.code == 3
    assert ran.objects[0]["bytes_present"] == 0
    assert ran.objects[0]["url"] is None


def test_a_marked_file_without_record_is_partial_with_nulls(tool: Tool) -> None:
    path = tool.write("file.bin", pattern(SIZE))
    try:
        os.setxattr(path, "user.smartremote.partial", b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    ran = tool("status", "--json", "file.bin")
    assert ran.code == 3
    assert ran.objects[0]["state"] == "partial"
    assert ran.objects[0]["missing"] is None
    assert "missing" in tool("status", "file.bin").text


@pytest.mark.parametrize("damage", [b"nonsense", b"\x80\x80\x08", b"\x02" + b"\0" * 20, b"\xff" * 100])
def test_a_record_that_cannot_be_read_is_exit_8(tool: Tool, damage: bytes) -> None:
    partial(tool)
    tool.write("file.bin.part", damage)
    ran = tool("status", "file.bin")
    assert (ran.code, ran.out) == (8, b"")
    assert ran.complaint.startswith("file.bin.part: ")


def test_a_folder_means_every_record_in_it(tool: Tool) -> None:
    for name in ("b", "a", "c d"):
        partial(tool, name)
    tool.write("complete", b"x")
    (tool.folder / "folder.part").mkdir()
    for where in ((), (".",), (str(tool.folder),)):
        ran = tool("status", "--json", *where)
        assert ran.code == 3
        assert [os.path.basename(facts["path"]) for facts in ran.objects] == ["a", "b", "c d"]


def test_a_folder_with_nothing_to_say_says_nothing(tool: Tool) -> None:
    tool.write("complete", b"x")
    ran = tool("status")
    assert (ran.code, ran.out, ran.err) == (0, b"", "")


def test_of_several_the_highest_code_counts_and_all_are_told(tool: Tool) -> None:
    tool.write("whole", b"x")
    partial(tool, "part")
    ran = tool("status", "--json", "whole", "absent", "part")
    assert ran.code == 6
    assert [facts["path"] for facts in ran.objects] == ["whole", "part"]
    assert ran.complaint.startswith("absent: ")
    tool.write("spoilt.part", b"nonsense")
    assert tool("status", "-q", "absent", "spoilt").code == 8
    assert tool("status", "-q", "whole", "part").code == 3
    assert tool("status", "-q", "whole").code == 0


def test_quiet_leaves_the_exit_code_alone(tool: Tool) -> None:
    partial(tool)
    ran = tool("status", "-q")
    assert (ran.code, ran.out, ran.err) == (3, b"", "")


def test_people_are_told_in_a_line_or_two(tool: Tool) -> None:
    partial(tool)
    tool.write("whole", pattern(1000))
    assert tool("status", "whole").text == "whole: complete, 1000 B\n"
    lines = tool("status", "file.bin").text.splitlines()
    assert lines[0].startswith("file.bin: partial, 39 % of ")
    assert "geheim" not in lines[1]
    assert f"missing {3 * BLOCK}-{7 * BLOCK - 1}" in tool("status", "-v", "file.bin").text


def test_a_name_with_control_characters_does_not_reach_the_terminal(tool: Tool) -> None:
    partial(tool, "\x1b[31mred\n")
    ran = tool("status")
    assert ran.code == 3
    assert "\x1b" not in ran.text
    assert ran.text.splitlines()[0].startswith("^[[31mred^J: partial")


def test_a_name_that_is_no_text_is_told_all_the_same(tool: Tool) -> None:
    name = os.fsdecode(b"caf\xe9")
    try:
        partial(tool, name)
    except LocalError:
        pytest.skip("this file system takes UTF-8 alone")
    assert tool("status").code == 3
    assert tool("status", "--json").objects[0]["path"] == name


@pytest.mark.parametrize("kind", ["fifo", "device", "dangling link"])
def test_what_is_no_file_is_a_local_error(tool: Tool, kind: str) -> None:
    path = tool.folder / "it"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to("nowhere")
    ran = tool("status", "it")
    assert ran.code == 6
    assert ran.complaint.startswith("it: ")


def test_all_blocks_there_but_the_record_too_is_still_partial(tool: Tool) -> None:
    partial(tool, blocks=tuple(range(11)))
    ran = tool("status", "--json", "file.bin")
    assert ran.code == 3
    assert (ran.objects[0]["state"], ran.objects[0]["bytes_missing"]) == ("partial", 0)


def test_bits_past_the_end_are_no_record_of_ours(tool: Tool) -> None:
    partial(tool)
    tool.write("file.bin.part", encode(Record(BitMap([0, 10, 11]), version_one(SIZE), URL)))
    assert "past the end" in tool("status", "file.bin").complaint


def test_it_works_where_there_is_no_network_library_at_all(tool: Tool) -> None:
    partial(tool)
    script = (
        "import sys; sys.modules['httpx'] = sys.modules['httpcore'] = None\n"
        "from smartremote_cli.cli import run; sys.exit(run(['status', '-q']))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 3
