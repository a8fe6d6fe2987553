"""What a benchmark writes beside its tables: JSON rows and a page; both targets are checked before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..io.paths import check_target, target_of
from .html_target import Page
from .report import write_json
from .tables import check_json

if TYPE_CHECKING:
    from .html_figures import Timed

__all__ = ["check_outputs", "write_outputs"]


def check_outputs(json: Path | None, page: Page | None, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before anything is measured, files for --json and --html that cannot be written or belong to an input.

    Raises
    ------
    UsageError
        If a name does not end as it must, or is an input, lies inside one, or is that of both.
    FileFormatError
        If its folder is missing or it is no regular file.
    PevmError
        If there is a page to write and matplotlib is not installed.
    """
    check_json(json, inputs)
    if page is None:
        return
    check_target("--html", page.path, inputs, (".html",))
    for given in inputs:
        if target_of(page.path).is_relative_to(os.path.realpath(given)):
            raise UsageError(f"--html {page.path}: lies inside the input {given}")
    if json is not None and target_of(json) == target_of(page.path):
        raise UsageError(f"--html {page.path}: is the file of --json, too")
    from ..plot.style import need_matplotlib

    need_matplotlib()


def write_outputs(
    json: Path | None,
    page: Page | None,
    rows: Sequence[dict[str, Any]],
    *,
    notes: Sequence[str] = (),
    timed: Timed | None = None,
) -> None:
    """Write the rows as JSON, and the page; what is None is left out.

    Raises
    ------
    ExecutionError
        If there is a page to write and a row says that it was not verified.
    FileFormatError
        If the system refuses to write.
    """
    if json is not None:
        write_json(json, rows)
    if page is not None:
        from .html_page import write_page

        write_page(page.path, rows, page.command, notes=notes, timed=timed)
