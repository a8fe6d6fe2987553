"""Traces of single transactions: step by step those of revm's own EIP-3155 tracer, and gas that adds up."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from evm_peers import Case, PeerLimit, _revm, intrinsic_gas, missing, pyrevm_limit
from evm_programs import random_case
from test_evm_programs import environment, transaction

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import BlockError
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.trace import trace
from pevm_numba.io.evm_tables import evm_numbers, read_evm_blocks

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
needs_peers = pytest.mark.skipif(bool(missing()), reason=f"needs {' and '.join(missing())}")


class _Printed:
    """What pyrevm's tracer prints."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def write(self, text: str) -> int:
        self.text.append(text)
        return len(text)

    def flush(self) -> None:
        """Part of a file; nothing is buffered."""

    def steps(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in "".join(self.text).splitlines() if line.startswith('{"pc"')]
        return [{name: int(str(one[name]), 0) for name in ("pc", "op", "gas", "depth", "memSize")} for one in lines]


def block_of(case: Case) -> EvmBlock:
    state = {a: (one.balance, one.nonce, one.code, dict(one.storage)) for a, one in case.pre.items()}
    return EvmBlock(environment(case), [transaction(case)], state)


@needs_peers
def test_steps_are_those_of_revm() -> None:
    compared = 0
    for seed in range(9_000, 9_012 if DISABLED else 9_020):
        case = random_case(seed, "CANCUN")
        ours = [json.loads(line) for line in trace(block_of(case), 0).lines()][:-1]
        if len(ours) > 2_000:  # the tracer takes a millisecond a step
            continue
        printed = _Printed()
        try:
            _revm(case, printed)  # type: ignore[arg-type]  # all that it needs of a file
        except PeerLimit:
            continue
        theirs = printed.steps()
        mine = [{name: int(str(one[name]), 0) for name in ("pc", "op", "gas", "depth", "memSize")} for one in ours]
        if mine != theirs:
            assert pyrevm_limit(case), seed
            continue
        compared += len(mine)
    assert compared > (500 if DISABLED else 1_000)


@needs_peers
@pytest.mark.parametrize("fork", ["FRONTIER", "BERLIN", "CANCUN"])
def test_the_outermost_call_pays_for_all(fork: str) -> None:
    for seed in range(300, 310 if DISABLED else 360):
        case = random_case(seed, fork)
        found = trace(block_of(case), 0)
        outer = [step for step in found.steps if step.depth == 1]
        if not outer:
            continue
        assert outer[0].gas == case.tx["gas_limit"] - intrinsic_gas(case)
        for step, after in itertools.pairwise(outer):
            inside = step.op in (0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA)
            assert step.gas - after.gas == step.cost or inside, hex(step.op)


@pytest.mark.corpus
@pytest.mark.skipif(not (CORPUS / "state").is_dir() or DISABLED, reason="no corpus, or plain Python")
def test_a_real_transaction_costs_what_the_chain_says() -> None:
    block = next(read_evm_blocks(CORPUS, [evm_numbers(CORPUS)[-3]]))
    found = trace(block, 7)
    *steps, summary = [json.loads(line) for line in found.lines()]
    assert int(summary["gasUsed"], 16) == found.outcome.gas_used
    assert [one["pc"] for one in steps[:2]] == [0, 2]
    assert {"pc", "op", "gas", "gasCost", "memSize", "stack", "depth", "returnData", "refund"} <= steps[0].keys()


def test_a_transaction_that_is_not_there_is_named() -> None:
    case = random_case(1, "CANCUN")
    with pytest.raises(BlockError, match="index = 1"):
        trace(block_of(case), 1)
