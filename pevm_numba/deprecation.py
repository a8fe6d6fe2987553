"""How a public name goes: it works and warns for a while, and the warning says since when, until when, and what to use."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .errors import BlockError

__all__ = ["deprecated", "renamed_option"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def deprecated(name: str, *, since: str, removed_in: str, use: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A decorator for a function or method that is to go.

    Parameters
    ----------
    name : str
        As users know it, such as ``"pevm_numba.schedule"``.
    since : str
        Version that first warns.
    removed_in : str
        Version that will not have it any more.
    use : str
        What to use instead.

    Returns
    -------
    callable
        The same function, which gives a DeprecationWarning at its caller's line each time it is called.

    Examples
    --------
    >>> @deprecated("pevm_numba.old", since="0.3", removed_in="0.5", use="pevm_numba.new")
    ... def old() -> int:
    ...     return 5
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     print(old(), said[0].message)
    5 pevm_numba.old is deprecated since 0.3 and will be removed in 0.5: use pevm_numba.new
    """
    text = _text(name, since, removed_in, use)

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def warned(*args: _P.args, **options: _P.kwargs) -> _R:
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return function(*args, **options)

        return warned

    return decorate


def renamed_option(
    name: str, old: str, new: str, *, since: str, removed_in: str
) -> Callable[[Callable[..., _R]], Callable[..., _R]]:
    """A decorator for a function whose keyword `old` is now called `new`; the old one is taken, with a warning.

    Parameters
    ----------
    name : str
        Of the function, as users know it.
    old, new : str
        Keywords.
    since, removed_in : str
        Versions, as in `deprecated`.

    Raises
    ------
    BlockError
        From the function, if both are given.

    Examples
    --------
    >>> @renamed_option("pevm_numba.run", "threads", "workers", since="0.3", removed_in="0.5")
    ... def run(*, workers: int) -> int:
    ...     return workers
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     print(run(threads=2), said[0].message)
    2 pevm_numba.run(threads=) is deprecated since 0.3 and will be removed in 0.5: use workers=
    """
    text = _text(f"{name}({old}=)", since, removed_in, f"{new}=")

    def decorate(function: Callable[..., _R]) -> Callable[..., _R]:
        @functools.wraps(function)
        def warned(*args: Any, **options: Any) -> _R:
            if old in options:
                if new in options:
                    raise BlockError(f"{old} and {new}: must be one of them; {text}")
                warnings.warn(text, DeprecationWarning, stacklevel=2)
                options[new] = options.pop(old)
            return function(*args, **options)

        return warned

    return decorate


def _text(name: str, since: str, removed_in: str, use: str) -> str:
    return f"{name} is deprecated since {since} and will be removed in {removed_in}: use {use}"
