"""Managers with a folder of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smartremote_cli import DownloadManager


def manager(folder: Path, **options: Any) -> DownloadManager:
    """Return a manager that keeps its files below *folder*, without background filling unless *options* ask for it."""
    return DownloadManager(**{"tmp_dir": folder / "cache", "idle_download": False, **options})
