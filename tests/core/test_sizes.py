"""Numbers of bytes as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli.core.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("4096", 4096),
        ("0010", 10),
        ("64K", 65_536),
        ("64k", 65_536),
        ("1M", 1_048_576),
        ("2G", 2_147_483_648),
        ("1T", 1_099_511_627_776),
        ("1MB", 1_048_576),
        ("1MiB", 1_048_576),
        ("7B", 7),
        ("0x1000", 4096),
        ("0XfF", 255),
        ("0x1b", 27),  # a digit, no unit
        (" 5 ", 5),
        ("+5", 5),
        (str(2**48), 2**48),
    ],
)
def test_sizes_are_powers_of_1024_or_hexadecimal(text: str, value: int) -> None:
    assert parse_size(text) == parse_size(text, signed=True) == value


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            " ",
            "K",
            "-",
            "+",
            "x",
            "0x",
            "0xG",
            "x10",
            "1.5M",
            "1,000",
            "1_000",
            "1e3",
            "1 K",
            "5KK",
            "5iB",
        ],
        *["0x10K", "--5", "+-5", "0x-5", "٣", "²", "5\0", "4096\n4096", "inf", "nan", "1P", "9" * 5000],
    ],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    for signed in (False, True):
        with pytest.raises(ValueError, match="4096, 64K, 1M, 2G, 0x1000"):
            parse_size(text, signed=signed)


def test_only_an_offset_may_count_from_the_end() -> None:
    assert parse_size("-64K", signed=True) == -65_536
    assert parse_size("-0x10", signed=True) == -16
    with pytest.raises(ValueError, match="'-1' is not a number of bytes"):
        parse_size("-1")


@settings(deadline=None)
@given(st.integers(0, 2**60), st.sampled_from("KMGT"))
def test_units_multiply(count: int, unit: str) -> None:
    assert parse_size(f"{count}") == parse_size(hex(count)) == count
    assert parse_size(f"{count % 1000}{unit}") == (count % 1000) * 1024 ** (1 + "KMGT".index(unit))


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("0123456789xKMGibB+-. ", max_size=12))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_size(text) >= 0
