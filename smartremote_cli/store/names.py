"""The name that a URL or a header suggests, in a spelling that this machine's locale can write."""

from __future__ import annotations

import sys

from ..core import file_names


def file_name(url: str, disposition: str | None) -> str:
    """Return `core.file_names.file_name`, spelled such that no system call refuses it for its characters."""
    return file_names.spelled(file_names.file_name(url, disposition), sys.getfilesystemencoding())
