"""The name that a URL or a header suggests, in a spelling that this machine's locale can write."""

from __future__ import annotations

import errno
import sys

from ..core import file_names
from ..errors import LocalError


def file_name(url: str, disposition: str | None) -> str:
    """Return `core.file_names.file_name`, spelled such that no system call refuses it for its characters."""
    return file_names.spelled(file_names.file_name(url, disposition), sys.getfilesystemencoding())


def name_to_save(url: str, disposition: str | None) -> str:
    """Return the name for the data file. Raises LocalError where the locale's charset lacks characters of it.

    A name with other characters in their place would be one that the next run, in another locale, does not find.
    """
    name = file_name(url, disposition)
    if (
        "_" in name
        and name != (wanted := file_names.file_name(url, disposition))
        and not _is_ascii_spelled(name)
    ):
        why = f"the locale's charset, {sys.getfilesystemencoding()}, cannot spell this name"
        raise LocalError(wanted, why, hint="choose a name with -o, or set a locale with UTF-8")
    return name


def more_careful(name: str, error: LocalError) -> str | None:
    """Return the next spelling of *name* to try where *error* says that the folder refuses it; None where none is left.

    exFAT and SMB refuse `: ? * " < > |`; some file systems refuse what is no UTF-8.
    """
    if error.errno not in (errno.EINVAL, errno.EILSEQ):
        return None
    safer = file_names.safer_name(name)
    return None if safer == name else safer


def _is_ascii_spelled(name: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in name)
