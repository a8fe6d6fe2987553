"""Options that commands of several groups have: which block, and how much is logged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Fork", "Input", "Number", "Prestate", "Verbose"]

Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")]
Number = Annotated[int | None, typer.Option(help="Block number, if the input holds several.")]
Input = Annotated[
    Path, typer.Option(help="Block file, folder (of tables with state: the EVM's blocks), seed JSON, or a node's block.")
]
Prestate = Annotated[Path | None, typer.Option(help="With a node's block: what its prestateTracer says, NAME.json.")]
Fork = Annotated[str | None, typer.Option(help="With a node's block: rules; default mainnet's at its height.")]
