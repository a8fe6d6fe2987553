"""What both command lines share: logging, one-line errors with an exit code, and a progress bar that is silent when piped.

Exit codes: 0 done, 1 bad input, 2 misuse of the command line, 3 a result that differs from serial execution, 130
interrupted.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ExecutionError, FileFormatError, PevmError, UsageError

if TYPE_CHECKING:
    import typer

    from .evm.block import AnyBlock

__all__ = [
    "Ticks", "announce_compiling", "block_numbers", "log_to_stderr", "progress", "read_input", "run_app", "status", "width",
    "worker_counts",
]  # fmt: skip

_Item = TypeVar("_Item")


def log_to_stderr(verbose: int) -> None:
    """Show the package's log (warnings, with -v what is done, with -vv details), and when kernels are compiled."""
    verbose = min(verbose, 2)
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[verbose]
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    logging.getLogger("pevm_numba").setLevel(level)
    announce_compiling()


def run_app(app: typer.Typer) -> None:
    """Run a command line; a complaint of the package becomes one line on stderr and an exit code."""
    try:
        app()
    except ExecutionError as error:
        _fail(str(error), 3)
    except UsageError as error:
        _fail(str(error), 2)
    except PevmError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror}" if error.strerror else str(error), 1)


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def announce_compiling() -> None:
    """Say once on stderr, if kernels must be compiled, that this takes its time."""
    from ._kernels import jit

    def say() -> None:
        text = f"Compiling kernels: up to a minute, this once; they are kept in {jit.cache_directory()}."
        print(text, file=sys.stderr, flush=True)

    jit.before_first_compile = say


def read_input(
    path: Path, number: int | None, prestate: Path | None = None, fork: str | None = None, *, evm: bool = False
) -> AnyBlock:
    """The block that ``--input``, ``--number``, ``--prestate`` and ``--fork`` name; complaints speak of these.

    With `evm` it has to be one of the EVM.

    Raises
    ------
    PevmError
        As the readers; UsageError if options do not fit the input.
    """
    from .io.any_block import read_any_block
    from .io.evm_tables import is_evm_folder
    from .io.paths import existing
    from .io.schedule_file import is_schedule_file

    if number is not None and not 0 <= number < 2**64:
        raise UsageError(f"--number {number}: must be in [0, {2**64 - 1}]")
    existing(path)
    tables = is_evm_folder(path)
    if tables and (prestate is not None or fork is not None):
        raise UsageError("--prestate, --fork: a folder of tables has both")
    if evm and path.is_dir() and not tables:
        needed = "state/…__headers.parquet and cryo/…__transactions__….parquet"
        raise UsageError(
            f"{path}: has not both tables that blocks are executed from: {needed}; without them blocks run as micro-ops: "
            "python -m pevm_numba execute"
        )
    if prestate is None and not tables and (evm or fork is not None):
        raise UsageError(f"{path}: a block without state: give --prestate, what a node's prestateTracer says of it")
    if is_schedule_file(path):
        raise FileFormatError(f"{path}: is a schedule file, made from a block: --input takes the block")
    with status(f"reading {path.name}"):
        try:
            block = read_any_block(path, None if prestate is not None else number, prestate=prestate, fork=fork)
        except FileFormatError as error:
            text = str(error).replace("say which with number=", "say which with --number")
            text = text.replace("say which with fork=", "say which with --fork")
            if prestate is None and path.is_file() and path.name.endswith((".json", ".json.gz")):
                text += " (a block as a node gives it needs --prestate)"
            raise FileFormatError(text) from error
    if number is not None and number != block.number:
        raise UsageError(f"--number {number}: the block of {path} is {block.number}")
    return block


def check_choice(option: str, value: str, known: Iterable[str]) -> None:
    """Refuse what is none of the names known.

    Raises
    ------
    UsageError
    """
    if value not in known:
        raise UsageError(f"{option} {value!r} is unknown: one of {', '.join(known)}")


def check_range(option: str, value: float, low: float, high: float) -> None:
    """Refuse a value out of [low, high].

    Raises
    ------
    UsageError
    """
    if not low <= value <= high:
        raise UsageError(f"{option} {value}: must be in [{low}, {high}]")


def width() -> int:
    """Characters in a line: COLUMNS, else the terminal's, and 100 where output is piped."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show `text` with a spinner while something long runs; nothing when stderr is not a terminal."""
    console = _stderr()
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


def progress(items: Iterable[_Item], text: str, total: int | None = None) -> Iterator[_Item]:
    """Pass `items` on with a progress bar on stderr; nothing when stderr is not a terminal."""
    console = _stderr()
    if not console.is_terminal:
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=text, total=total, console=console, transient=True)


class Ticks:
    """A progress bar on stderr that is told when something is done; nothing unless that is a terminal or a notebook.

    Parameters
    ----------
    text : str
        What is being done.
    total : int
        How often `tick` will be called.
    shown : bool
        Whether to show it at all.
    """

    def __init__(self, text: str, total: int, shown: bool = True) -> None:
        self._text, self._total, self._wanted = text, total, shown
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Ticks:
        console = _stderr() if self._wanted else None
        if console is not None and (console.is_terminal or console.is_jupyter):
            from rich.progress import Progress

            self._bar = Progress(console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._text, total=self._total)
        return self

    def tick(self, text: str) -> None:
        """One more is done: `text` says which."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=f"{self._text}: {text}")

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def block_numbers(text: str) -> tuple[int, ...]:
    """Numbers of blocks with commas between them, as on the command line.

    Raises
    ------
    UsageError
        If one is no integer in [0, 2**64).

    Examples
    --------
    >>> block_numbers("7, 5"), block_numbers("")
    ((7, 5), ())
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isascii() and word.isdigit() and len(word) <= 20 and int(word) < 2**64 for word in words):
        raise UsageError(f"--blocks {text!r}: must be numbers with commas between them, such as 14029313,19933122")
    return tuple(int(word) for word in words)


def worker_counts(text: str, most: int = 2**31 - 1) -> list[int]:
    """Numbers of workers with commas between them, as on the command line; repeats left out.

    Raises
    ------
    UsageError
        If one is no integer in [1, most].

    Examples
    --------
    >>> worker_counts("1, 4,1")
    [1, 4]
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word[:11]) <= most for word in words):
        raise UsageError(f"--workers {text!r}: must be integers from 1 on with commas between them, such as 1,2,4")
    return list(dict.fromkeys(int(word) for word in words))
