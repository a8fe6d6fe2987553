"""Files of patterns: JSON, as `access.pattern_json` has it."""

from __future__ import annotations

import json
import os

from .. import door
from ..access.pattern_json import patterns_from_json, patterns_to_json
from ..access.patterns import Patterns
from ..errors import BlockError, FileFormatError
from .json_reader import opened
from .paths import nameable, replacing

__all__ = ["read_patterns", "write_patterns"]


def read_patterns(path: str | os.PathLike[str]) -> Patterns:
    """Patterns from a .json file.

    Parameters
    ----------
    path : path
        As `write_patterns` writes it; gzipped if it ends in .gz.

    Raises
    ------
    FileFormatError
        Naming the file, the place in it, the value and the rule.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "patterns.json").write_text('{"version": 1}')
    ...     read_patterns(Path(folder, "patterns.json"))
    Traceback (most recent call last):
    ...
    pevm_numba.errors.FileFormatError: ...patterns.json: patterns, version = 1: must be 2
    """
    reader, value = opened("patterns", path)
    try:
        return patterns_from_json(value)
    except BlockError as error:
        raise FileFormatError(f"{reader.name}: {error}") from None


def write_patterns(path: str | os.PathLike[str], patterns: Patterns) -> None:
    """Write patterns to a .json file, which is replaced at once, or left as it was.

    Raises
    ------
    BlockError
        If `patterns` are none.
    FileFormatError
        If there can be no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ..access.pattern_library import built_in_patterns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_patterns(Path(folder, "patterns.json"), built_in_patterns())
    ...     read_patterns(Path(folder, "patterns.json")) == built_in_patterns()
    True
    """
    door.instance("patterns", patterns, Patterns)
    with replacing(nameable(path)) as (temporary,):
        temporary.write_text(json.dumps(patterns_to_json(patterns)) + "\n")
