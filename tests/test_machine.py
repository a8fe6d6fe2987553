"""The machine: the specification against the EIPs, the kernels against the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from strategies import blocks, words

from pevm_numba import programs
from pevm_numba.block import Block
from pevm_numba.errors import BlockError
from pevm_numba.execute.result import Execution
from pevm_numba.execute.run import execute
from pevm_numba.machine import spec
from pevm_numba.machine.gas import FORKS, GasItem, GasSchedule, gas_schedule
from pevm_numba.machine.ops import MAX_STACK, Op, Status

SLOT = ((1).to_bytes(20, "big"), 0, bytes(32))
BALANCE = ((1).to_bytes(20, "big"), 1, bytes(32))

# EIP-3529, "With reduced refunds": 17 sequences of SSTOREs on one slot: (original, values stored, gas, refund); gas is what
# the table shows for PUSH1 v PUSH1 0 SSTORE ..., less 6 a store for the pushes; the slot starts cold.
EIP_3529 = [
    (0, (0, 0), 212, 0), (0, (0, 1), 20112, 0), (0, (1, 0), 20112, 19900), (0, (1, 2), 20112, 0),
    (0, (1, 1), 20112, 0), (1, (0, 0), 3012, 4800), (1, (0, 1), 3012, 2800), (1, (0, 2), 3012, 0),
    (1, (2, 0), 3012, 4800), (1, (2, 3), 3012, 0), (1, (2, 1), 3012, 2800), (1, (2, 2), 3012, 0),
    (1, (1, 0), 3012, 4800), (1, (1, 2), 3012, 0), (1, (1, 1), 212, 0),
    (0, (1, 0, 1), 40118, 19900), (1, (0, 1, 0), 5918, 7600),
]  # fmt: skip


@pytest.mark.parametrize(("original", "stored", "gas", "refund"), EIP_3529)
def test_the_17_rows_of_eip_3529_hold(original: int, stored: tuple[int, ...], gas: int, refund: int) -> None:
    program = [("SSTORE", SLOT, value) for value in stored]
    # the table's gas is for a warm slot and counts the pushes
    block = Block.from_programs([program], {SLOT: original}, access_lists=[[(1, [0])]])
    expected = gas - 6 * len(stored) + 21000 + 2400 + 1900
    receipt = spec.run_transaction(block.to_programs()[0], {SLOT: original}, 10**6, [(SLOT[0], [SLOT[2]])])
    assert (receipt.gas_used + min(refund, expected // 5), receipt.refund) == (expected, refund)
    result = execute(block, "serial")
    assert int(result.refund[0]) == refund
    assert int(result.gas_used[0]) == expected - min(refund, expected // 5)


def receipts_of(result: Execution) -> list[tuple[Any, ...]]:
    """Receipts and observed sets in the form that `spec_receipts` gives."""
    outputs = programs.integers(result.output)
    return [
        (
            int(result.status[t]), int(result.gas_used[t]), int(result.refund[t]), outputs[t], int(result.digest[t]),
            {result.block.key(k): mode for k, mode in result.observed[t].items()},
        )
        for t in range(result.block.n_tx)
    ]  # fmt: skip


def spec_run(block: Block, order: list[int] | None = None) -> tuple[list[tuple[Any, ...]], dict[Any, int]]:
    """Receipts and state by the specification."""
    receipts, state = spec.execute(
        block.to_programs(), block.state(), block.gas_limit.tolist(), programs.access_lists_of(block), block.fork, order
    )
    return [(int(r.status), r.gas_used, r.refund, r.output, r.digest, r.observed) for r in receipts], state


@given(blocks())
@settings(max_examples=250)
@example(Block.from_programs([]))
@example(Block.from_programs([[], [("ADD", 1)], [("SLOAD", SLOT)] * (MAX_STACK + 1)]))
def test_serial_kernels_equal_the_specification(block: Block) -> None:
    result = execute(block, "serial")
    receipts, state = spec_run(block)
    assert receipts_of(result) == receipts
    assert result.state() == state


ALL_OPS = [
    ("SLOAD", SLOT), ("ADD", 5), ("SUB", 7), ("SSTORE", SLOT, "TOP"), ("TOUCH", BALANCE), ("KECCAK", b"x" * 70),
    ("SSTORE", BALANCE, "TOP"), ("NOOP", 9), ("CREDIT", BALANCE, 3), ("BURN", 11), ("SSTORE", SLOT, 0), ("SLOAD", SLOT),
]  # fmt: skip


@pytest.mark.parametrize("fork", ["berlin", "london", "free"])
def test_out_of_gas_at_every_op_undoes_everything(fork: str) -> None:
    state = {SLOT: 9, BALANCE: 4}
    whole = spec.run_transaction(ALL_OPS, dict(state), 10**7, (), fork)
    spent = whole.gas_used + min(whole.refund, (whole.gas_used + whole.refund))
    limits = sorted({*range(0, 60), *range(20_990, spent + 2400, 7), spent - 1, spent})
    block = Block.from_programs([ALL_OPS] * len(limits), state, gas_limits=limits, fork=fork)
    singles = [block.slice(t, t + 1) for t in (0, len(limits) // 2)]
    for one in (block, *singles):
        receipts, after = spec_run(one)
        result = execute(one, "serial")
        assert receipts_of(result) == receipts
        assert result.state() == after
    assert {Status.SUCCESS, Status.OUT_OF_GAS} == set(execute(block, "serial").status.tolist())


@pytest.mark.parametrize("left", [2299, 2300, 2301])
def test_the_sentry_fails_a_store_that_could_be_paid_for(left: int) -> None:
    # the slot is warm and the value unchanged, so the store itself would cost 100
    program = [("SSTORE", SLOT, 5)]
    limit = 21000 + 2400 + 1900 + left
    block = Block.from_programs([program], {SLOT: 5}, gas_limits=[limit], access_lists=[[(1, [0])]])
    result = execute(block, "serial")
    assert result.status.tolist() == [Status.SUCCESS if left > 2300 else Status.OUT_OF_GAS]
    assert result.observed[0] == ({0: 2} if left > 2300 else {})
    assert receipts_of(result) == spec_run(block)[0]


def test_a_store_that_runs_out_of_gas_after_the_sentry_was_a_read() -> None:
    block = Block.from_programs([[("SSTORE", SLOT, 5)]], gas_limits=[21000 + 2100 + 2301])
    result = execute(block, "serial")
    assert result.status.tolist() == [Status.OUT_OF_GAS]
    assert result.observed[0] == {0: 1}
    assert receipts_of(result) == spec_run(block)[0]


@pytest.mark.parametrize("pushes", [MAX_STACK - 1, MAX_STACK, MAX_STACK + 1])
def test_the_stack_holds_1024_entries(pushes: int) -> None:
    block = Block.from_programs([[("SLOAD", SLOT)] * pushes])
    status = Status.SUCCESS if pushes <= MAX_STACK else Status.STACK_OVERFLOW
    assert execute(block, "serial").status.tolist() == [status]
    assert receipts_of(execute(block, "serial")) == spec_run(block)[0]


@given(words(), words())
def test_words_wrap_around(a: int, b: int) -> None:
    block = Block.from_programs(
        [[("SLOAD", SLOT), ("ADD", b)], [("SLOAD", SLOT), ("SUB", b)], [("CREDIT", BALANCE, b), ("SLOAD", BALANCE)]],
        {SLOT: a, BALANCE: a},
    )
    outputs = programs.integers(execute(block, "serial").output)
    assert outputs == [(a + b) % 2**256, (a - b) % 2**256, (a + b) % 2**256]


def test_warmth_and_original_values_belong_to_one_transaction() -> None:
    one = [("SSTORE", SLOT, 7), ("SLOAD", SLOT)]
    block = Block.from_programs([one, one])
    first, second = execute(block, "serial").gas_used.tolist()
    assert first == 21000 + 22100 + 100
    assert second == 21000 + 2100 + 100 + 100  # cold again; its original value is 7 now, so nothing changes


def test_noop_steps_are_really_done_and_an_unpaid_noop_does_none() -> None:
    block = Block.from_programs([[("NOOP", 1)], [("NOOP", 2)], [("NOOP", 3)]], gas_limits=[10**6, 10**6, 21002])
    from pevm_numba.execute.workspace import Workspace

    space = Workspace(block)
    kernel, arguments = space.serial_call()
    kernel(*arguments)

    def steps(x: int, n: int) -> int:
        for _ in range(n):
            x = (x ^ (x >> 29)) * 0x9E3779B97F4A7C15 % 2**64
        return x

    assert space.receipts.sink.tolist() == [steps(1, 1), steps(2, 2), 3]


def test_gas_prices_are_data() -> None:
    dear = gas_schedule("london").replace("dear", COLD_LOAD=5000, NOOP_STEP=7)
    block = Block.from_programs([[("SLOAD", SLOT), ("NOOP", 10)]])
    assert execute(block, "serial", gas=dear).gas_used.tolist() == [21000 + 5000 + 70]
    assert execute(block, "serial", gas="free").gas_used.tolist() == [10]
    assert execute(block, "serial").gas_used.tolist() == [21000 + 2100 + 10]


@pytest.mark.parametrize(
    ("make", "words_of_message"),
    [
        (lambda: gas_schedule("paris2"), "paris2"),
        (lambda: GasSchedule("short", (1, 2)), "has 2 prices"),
        (lambda: FORKS["london"].replace("x", STORE_SET=99), "STORE_SET = 99: must be at least WARM_ACCESS = 100"),
        (lambda: FORKS["london"].replace("x", COLD=1), "'COLD'"),
        (lambda: FORKS["london"].replace("x", COLD_LOAD=-1), "COLD_LOAD = -1"),
        (lambda: FORKS["london"].replace("x", REFUND_QUOTIENT=0), "REFUND_QUOTIENT = 0"),
        (lambda: FORKS["london"].replace("x", COLD_LOAD=2**31), "2147483648"),
    ],
)
def test_bad_prices_are_refused_by_name_and_value(make: Any, words_of_message: str) -> None:
    with pytest.raises(BlockError, match=words_of_message):
        make()


def test_huge_prices_do_not_overflow() -> None:
    huge = gas_schedule("london").replace("huge", NOOP_STEP=2**31 - 1)
    program = [("NOOP", 2**31 - 1), ("NOOP", 2**31 - 1), ("SLOAD", SLOT)]
    block = Block.from_programs([program, [("BURN", 2**31 - 1)]], gas_limits=[2**62, 2**63 - 1])
    result = execute(block.slice(1), "serial", gas=huge)
    assert result.gas_used.tolist() == [21000 + 2**31 - 1]
    one = Block.from_programs([[("BURN", 5), *program]], gas_limits=[10**6])
    assert execute(one, "serial", gas=huge).status.tolist() == [Status.OUT_OF_GAS]


def test_a_failed_transaction_leaves_no_trace_in_the_state_of_the_specification() -> None:
    state: dict[Any, int] = {BALANCE: 3}
    spec.run_transaction([("SSTORE", SLOT, 1), ("CREDIT", BALANCE, 1), ("ADD", 1)], state, 10**6)
    assert state == {BALANCE: 3}


def test_every_op_has_a_name_and_traits() -> None:
    assert [op.name for op in Op] == ["SLOAD", "SSTORE", "ADD", "SUB", "KECCAK", "NOOP", "TOUCH", "CREDIT", "BURN"]
    assert [op.takes_key for op in Op] == [True, True, False, False, False, False, True, True, False]
    assert FORKS["berlin"][GasItem.CLEAR_REFUND] == 15000
    assert FORKS["berlin"][GasItem.REFUND_QUOTIENT] == 2
    assert np.array_equal(FORKS["cancun"].array, FORKS["london"].array)
