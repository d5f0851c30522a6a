"""Zips that are wrong in the ways of real writers: everything is listed, with a warning, and offsets are true."""

from __future__ import annotations

import io
import shutil
import subprocess
from array import array
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smartremote_cli.archives.listing import list_archive
from smartremote_cli.archives.zip_offsets import MAX_LOOKS, unrolled
from tests.archives.odd_zips import CASES, MEMBERS, NAMES, Odd

LAP = 1 << 32


@pytest.mark.parametrize("case", CASES)
def test_all_members_are_listed_with_their_true_offsets_and_one_warning_at_most(case: str) -> None:
    odd, warning = CASES[case]
    data, warnings = odd.build(), list[str]()
    entries = list(list_archive(io.BytesIO(data), warn=warnings.append))
    assert [(entry.name, entry.size) for entry in entries] == [(n.decode(), len(d)) for n, d in MEMBERS]
    for entry in entries:
        missing = entry.offset is None
        assert missing == (odd.cut > 0 and entry is entries[0])
        assert missing or data.startswith(b"PK\3\4", entry.offset)
    assert len(warnings) == bool(warning), warnings
    assert warning in "".join(warnings)


@pytest.mark.parametrize("peer", [("unzip", "-l"), ("7z", "l")], ids=["unzip", "7z"])
def test_what_a_peer_lists_is_listed_here(peer: tuple[str, str], tmp_path: Path) -> None:
    """The table above is not only our opinion: of most of its archives the peers print all names."""
    if shutil.which(peer[0]) is None:
        pytest.skip(f"{peer[0]} is not installed")
    agree = 0
    for odd, _ in CASES.values():
        (tmp_path / "a.zip").write_bytes(odd.build())
        done = subprocess.run([*peer, "a.zip"], cwd=tmp_path, capture_output=True, text=True, check=False)
        agree += all(name in done.stdout for name in NAMES)
    assert agree >= len(CASES) * 2 // 3


# -- offsets modulo 4 GiB


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[int], int]:
    """Draw the offsets of members, some of them longer than 4 GiB, and of the directory behind them."""
    lengths = draw(
        st.lists(
            st.integers(31, 2000) | st.integers(LAP // 3, LAP - 1) | st.integers(LAP, 3 * LAP), max_size=40
        )
    )
    offsets, at = [], 0
    for length in lengths:
        offsets.append(at)
        at += length
    return offsets, at


@given(layouts())
def test_offsets_modulo_4_gib_are_found_again_or_said_to_be_unknown(layout: tuple[list[int], int]) -> None:
    offsets, end = layout
    assume(len({offset % LAP for offset in offsets}) == len(offsets))  # else one hides behind another
    looked: list[int] = []

    def is_header(offset: int) -> bool:
        looked.append(offset)
        return offset in offsets

    found = unrolled(array("Q", [offset % LAP for offset in offsets]), end % LAP, end // LAP, is_header)
    assert found is None or found.tolist() == offsets
    assert len(looked) <= MAX_LOOKS + 2
    hidden = sum(b - a >= LAP for a, b in zip(offsets, [*offsets[1:], end], strict=False))
    assert found is not None or hidden > 2, "a few long members are always found"


@pytest.mark.parametrize("count", [1, 2, 1000, 100_000])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_one_member_longer_than_4_gib_is_found_among_many_with_few_looks(count: int, where: float) -> None:
    long = min(count - 1, int(count * where))
    offsets = [index * 50 + (2 * LAP if index > long else 0) for index in range(count)]
    looked: list[int] = []

    def is_header(offset: int) -> bool:
        looked.append(offset)
        return offset in held

    held = set(offsets)
    end = count * 50 + 2 * LAP
    found = unrolled(array("Q", [offset % LAP for offset in offsets]), end % LAP, 2, is_header)
    assert found is not None
    assert found.tolist() == offsets
    assert len(looked) <= 3 * count.bit_length() + 2


def test_a_directory_that_is_not_in_the_order_of_the_file_has_no_offsets_rather_than_wrong_ones() -> None:
    offsets = [5 * LAP + 9, 3, LAP + 7]
    assert unrolled(array("Q", [o % LAP for o in offsets]), 2, 6, offsets.__contains__) is None


def test_members_on_another_disk_have_no_offset_in_this_file() -> None:
    last_disk = Odd(disks=(1, 1), cut=200, offset=-200).build()
    assert [entry.offset for entry in list_archive(io.BytesIO(last_disk))] == [None] * 3


def test_an_archive_that_is_right_costs_no_look_at_its_members() -> None:
    class Watched(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            seeks.append((offset, whence))
            return super().seek(offset, whence)

    seeks: list[tuple[int, int]] = []
    data = Odd(between=bytes(300_000)).build()
    assert [entry.name for entry in list_archive(Watched(data))] == NAMES
    assert all(whence == 2 or offset > 300_000 - 131_072 for offset, whence in seeks)
