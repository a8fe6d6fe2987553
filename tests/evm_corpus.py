"""Blocks of the corpus, each read and run serially once for all tests."""

from __future__ import annotations

import functools
from pathlib import Path

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.evm.block import EvmBlock
from pevm_numba.execute.evm_result import EvmExecution
from pevm_numba.io.evm_tables import evm_numbers, read_evm_blocks

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def numbers() -> list[int]:
    """All blocks of the corpus; in plain Python the short ones."""
    found = evm_numbers(CORPUS) if (CORPUS / "state").is_dir() else []
    return found[:8] if DISABLED else found


@functools.cache
def blocks() -> dict[int, EvmBlock]:
    return {block.number: block for block in read_evm_blocks(CORPUS, numbers())}


@functools.cache
def serial(number: int) -> EvmExecution:
    return pn.execute(blocks()[number], "serial")
