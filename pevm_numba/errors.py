"""Every complaint of the package is a `PevmError`; what a *transaction* does wrong is a status in its receipt, never one."""

from __future__ import annotations

__all__ = [
    "AccessListError", "BlockError", "DisputeError", "ExecutionError", "FileFormatError", "PevmError", "ScheduleError",
    "StoreError", "TooLargeError", "UsageError",
]  # fmt: skip


class PevmError(Exception):
    """Base class of all errors raised by pevm_numba."""


class BlockError(PevmError, ValueError):
    """A block, access set or parameter breaks a rule; the message names array, place, value and rule."""


class AccessListError(PevmError, ValueError):
    """A block access list does not say what its block does; the message names transaction, key, and the two values."""


class DisputeError(PevmError, ValueError):
    """A proof, a move or a transcript of a dispute breaks a rule; the message names the part, its value and the rule."""


class FileFormatError(BlockError):
    """A file breaks a rule of its format; the message names file, column, row, value and rule."""


class ScheduleError(PevmError, ValueError):
    """A schedule is not valid for a block; the message names the first violated pair and its key."""


class StoreError(PevmError, RuntimeError):
    """A store is damaged, foreign, locked, closed, full or not to be written; the message names it and what is wrong."""


class TooLargeError(PevmError, ValueError):
    """A structure would exceed a stated limit; the message names the cause and the alternative."""


class ExecutionError(PevmError, RuntimeError):
    """An executor could not do its work, or a result differs from serial execution."""


class UsageError(PevmError, ValueError):
    """A command line that cannot be meant: the message names the option, its value and the rule."""
