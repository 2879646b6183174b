"""Readable new names for run directories."""

from __future__ import annotations

from pathlib import Path

RUNS_FOLDER = Path("traces")


def free_name(stem: str, folder: Path = RUNS_FOLDER) -> Path:
    """`folder/stem`, or with the first number that is not taken."""
    clean = "".join(each if each.isalnum() or each in "-_." else "-" for each in stem)
    path, number = folder / clean, 2
    while path.exists():
        path, number = folder / f"{clean}-{number}", number + 1
    return path
