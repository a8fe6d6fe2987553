"""Addresses of files elsewhere, through fsspec; whatever fails in one of its calls is an OSError, so that it is tried again.

Libraries of cloud storage raise errors of their own (botocore's, aiohttp's, google.auth's), which are no OSError. They are
told apart from errors of this package by where they come from: only calls of a file system go through `Remote.ask`, and
only bytes go in and out, so nothing else can fail there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import Any

from ..errors import PevmError

__all__ = ["Remote", "is_remote"]


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether it is an address such as ``s3://bucket/key`` rather than a path."""
    return isinstance(path, str) and "://" in path


class Remote:
    """The fsspec file system of an address, and the path in it.

    Parameters
    ----------
    address : str

    Raises
    ------
    PevmError
        If fsspec, or what it needs for that kind of address, is not installed, or the address is of no kind it knows.
    OSError
        If the file system refuses, as for credentials that are not there.
    """

    def __init__(self, address: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise PevmError(f'{address}: needs fsspec: pip install "pevm-numba[distributed]"') from None
        try:
            self.system, self.path = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise PevmError(f"{address}: {error}") from None
        except OSError:
            raise
        except Exception as error:  # of whichever library: the module says why
            raise OSError(f"{address}: {_words(error)}") from error

    def ask(self, call: str, *given: Any, **more: Any) -> Any:
        """What a call of the file system, such as ``"exists"``, gives.

        Raises
        ------
        OSError
            If it fails, for whatever reason.
        """
        try:
            return getattr(self.system, call)(*given, **more)
        except OSError:
            raise
        except Exception as error:  # of whichever library: the module says why
            raise OSError(f"{self.path}: {call}: {_words(error)}") from error

    def read(self) -> bytes:
        """The bytes of the file.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        return bytes(self.ask("cat_file", self.path))

    def write(self, data: Any) -> None:
        """Put bytes there as a whole, over what is there; what was written of them is removed if that fails.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        temporary = f"{self.path}.{secrets.token_hex(8)}.writing"
        with contextlib.ExitStack() as undo:
            undo.callback(self._remove, temporary)
            self.ask("pipe_file", temporary, data)
            self.ask("mv", temporary, self.path)
            undo.pop_all()

    def _remove(self, path: str) -> None:
        """Remove a file, if that can be done: why it has to go is the error that is on its way."""
        with contextlib.suppress(OSError):
            if self.ask("exists", path):
                self.ask("rm_file", path)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
