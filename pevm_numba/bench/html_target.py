"""Where a page goes and which command its head shows: what the command line knows, without what measuring imports."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Page", "command_line"]


@dataclass(frozen=True)
class Page:
    """A page to write, and the command that its head shows.

    Parameters
    ----------
    path : Path
        Ends in .html.
    command : str
        As typed.
    """

    path: Path
    command: str


def command_line(words: Sequence[str]) -> str:
    """The words of a command as a shell takes them.

    Examples
    --------
    >>> command_line(["--input", "my blocks.parquet"])
    "python -m pevm_numba.bench --input 'my blocks.parquet'"
    """
    return shlex.join(["python", "-m", "pevm_numba.bench", *words])
