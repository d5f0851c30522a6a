"""netrc as curl reads it: a word or a file that is not understood costs nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartremote_cli.transport.netrc import NetrcEntry, find


@pytest.mark.parametrize(
    ("text", "host", "user", "expected"),
    [
        ("machine h login a password b", "h", None, ("a", "b", False)),
        ("machine h\n\tlogin a\n\tpassword b\n", "H.", None, ("a", "b", False)),
        ("machine x login a password b", "h", None, None),
        ("machine x login a password b default login c password d", "h", None, ("c", "d", True)),
        ("machine h login a password b\ndefault login c password d", "h", None, ("a", "b", False)),
        ("machine h nonsense login a password b", "h", None, ("a", "b", False)),
        ("machine h login a password b protocol https\nmachine i login c", "i", None, ("c", "", False)),
        ("machine h account x login a password b", "h", None, ("a", "b", False)),
        ('machine h login "a b" password "c\\"d\\te"', "h", None, ("a b", 'c"d\te', False)),
        ("# machine h login x password y\nmachine h login a password #b", "h", None, ("a", "#b", False)),
        ("macdef init\nmachine h login x\n\nmachine h login a password b", "h", None, ("a", "b", False)),
        ("machine h login a password b machine h login c password d", "h", "c", ("c", "d", False)),
        ("machine h login a password b", "h", "c", None),
        ("machine h password b", "h", "c", ("c", "b", False)),
        ("machine h login", "h", None, None),
        ("machine", "h", None, None),
        ("\x00\xff machine h login a password b", "h", None, ("a", "b", False)),
        ("", "h", None, None),
    ],
)
def test_what_a_file_says_of_a_host(
    tmp_path: Path, text: str, host: str, user: str | None, expected: tuple[str, str, bool] | None
) -> None:
    (tmp_path / ".netrc").write_bytes(text.encode("latin-1"))
    assert find(host, user) == (expected and NetrcEntry(*expected))


def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").mkdir()
    assert find("h") is None
    monkeypatch.setenv("NETRC", str(tmp_path / "absent"))
    assert find("h") is None


def test_without_a_home_no_file_of_the_current_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)  # who has no entry in passwd
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / ".netrc").write_text("machine h login a password b")
    assert find("h") is None
