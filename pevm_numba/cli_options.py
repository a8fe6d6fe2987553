"""What commands of several groups have: options for the block and the log, and hints for words that are no commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .errors import UsageError

__all__ = ["Compile", "EngineName", "Fork", "Group", "Input", "Number", "Prestate", "Verbose", "hinting"]

Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")]
Number = Annotated[int | None, typer.Option(help="Block number, if the input holds several.")]
Input = Annotated[
    Path, typer.Option(help="Block file, folder (of tables with state: the EVM's blocks), seed JSON, or a node's block.")
]
EngineName = Annotated[
    str, typer.Option("--engine", help="What runs programs of micro-ops: interpreter, jit, or wasm (extra wasm).")
]
Compile = Annotated[
    str, typer.Option("--compile", help="With jit and wasm, shapes to compile: paying, all, or kept (compiled before).")
]
Group = Annotated[
    bool, typer.Option("--group/--no-group", help="Transactions of one shape side by side where their order is free.")
]
Prestate = Annotated[Path | None, typer.Option(help="With a node's block: what its prestateTracer says, NAME.json.")]
Fork = Annotated[str | None, typer.Option(help="With a node's block: rules; default mainnet's at its height.")]


def hinting(hint: Callable[[str], str | None]) -> type[TyperGroup]:
    """A group of commands that says, of a word that names none, what was probably meant.

    Parameters
    ----------
    hint : callable
        Of a word that is no command to the rest of a complaint about it, or None for the complaint that is made anyway.
    """

    class Hinting(TyperGroup):
        """Commands; a UsageError with the hint, if there is one for the first word."""

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """The command that the first word names."""
            said = None if args[0] in self.commands else hint(args[0])
            if said is not None:
                raise UsageError(f"{args[0]}: {said}")
            return super().resolve_command(ctx, args)

    return Hinting
