"""Long calls that a signal can end: they run on a thread of their own, for Python's handlers run on the main thread alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["interruptible"]

T = TypeVar("T")

#: Seconds between looks.
_LOOK = 0.05


def interruptible(function: Callable[[], T], stop: Callable[[], None]) -> T:
    """Call a function on a helper thread and wait for it; whatever wakes this one before the end has it stopped.

    The wait is for an event, since joining a thread forgets it when it is interrupted (Python 3.11).

    Parameters
    ----------
    function : callable
        What it raises is raised here.
    stop : callable
        Called when something was raised here meanwhile, Ctrl-C's KeyboardInterrupt for one: to make the function return.

    Examples
    --------
    >>> interruptible(lambda: threading.current_thread() is threading.main_thread(), lambda: None)
    False
    """
    results, ended, given_up = list[T | BaseException](), threading.Event(), threading.Event()

    def call() -> None:
        try:
            if not given_up.is_set():  # as it is where starting this thread was interrupted
                results.append(function())
        except BaseException as problem:  # raised by whoever waits
            results.append(problem)
        finally:
            ended.set()

    helper = threading.Thread(target=call, name="pevm_numba run", daemon=True)
    interrupted: BaseException | None = None
    while interrupted is None or (helper.ident is not None and not ended.is_set()):
        try:
            if helper.ident is None:
                helper.start()
            if ended.wait(_LOOK):
                break
        except BaseException as problem:  # kept until nobody works any more: all that they use lives with the caller
            interrupted = problem
            given_up.set()
            stop()
    found = results[0] if interrupted is None else interrupted
    if isinstance(found, BaseException):
        raise found
    return found
