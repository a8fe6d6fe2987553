"""Running from a block access list: right lists are accepted, and of wrong ones the first wrong entry is named."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import blocks
from test_execute import check

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.block_list import BlockAccessList
from pevm_numba.block import Block
from pevm_numba.errors import AccessListError, BlockError
from pevm_numba.execute.run import execute
from pevm_numba.generate import generate
from pevm_numba.schedule.policies import schedule

A, B, C = (1, 0, 0), (2, 0, 0), (3, 0, 0)
FEE = (9, 1, 0)
PAIRS = dict[tuple[int, int], int]


def right_list(block: Block, **options: Any) -> BlockAccessList:
    return execute(block, "serial", record="changes", **options).block_access_list()


def pairs_of(listed: BlockAccessList) -> PAIRS:
    """{(transaction, key): value after it}."""
    return {(t, k): v for t in range(listed.n_tx) for k, v in listed[t].items()}


def list_from(pairs: PAIRS, n_tx: int, n_keys: int, reads: list[int]) -> BlockAccessList:
    order = sorted(pairs)
    counts = np.bincount([t for t, _ in order], minlength=n_tx)
    words = [[pairs[at] >> 64 * i & (2**64 - 1) for i in range(4)] for at in order]
    values = np.array(words, np.uint64).reshape(-1, 4)
    return BlockAccessList(n_keys, np.concatenate([[0], np.cumsum(counts)]), [k for _, k in order], values, reads)


# -------------------------------------------------------------------- the list itself


@given(blocks())
def test_the_list_of_a_block_is_what_its_changes_and_observed_sets_say(block: Block) -> None:
    result = execute(block, "serial", record="changes")
    listed = result.block_access_list()
    changed = {k for t in range(block.n_tx) for k in listed[t]}
    seen = {k for t in range(block.n_tx) for k in result.observed[t]}
    assert set(listed.reads.tolist()) == seen - changed
    assert listed.n_changes == len(result.changes.keys)
    assert pickle.loads(pickle.dumps(listed)) == listed
    assert list_from(pairs_of(listed), block.n_tx, block.n_keys, listed.reads.tolist()) == listed


@given(blocks(), st.sampled_from([1, 2, 3, 8]))
def test_a_right_list_is_accepted_in_any_promised_order(block: Block, workers: int) -> None:
    check(block, "bal", workers=workers, access_list=right_list(block))
    plan = schedule(block, "mis")
    listed = right_list(block, schedule=plan)
    check(block, "bal", plan.serial_order.tolist(), workers=workers, schedule=plan, access_list=listed)


# -------------------------------------------------------------------- wrong lists


def spoil(data: st.DataObject, pairs: PAIRS, reads: set[int], block: Block) -> None:
    """Change, drop or add one entry or one read."""
    kind = data.draw(st.sampled_from(["value", "drop", "add", "read less", "read more"]))
    if kind in ("value", "drop") and pairs:
        at = data.draw(st.sampled_from(sorted(pairs)))
        if kind == "drop":
            del pairs[at]
        else:
            pairs[at] = data.draw(st.integers(0, 2**256 - 1).filter(lambda v: v != pairs[at]))
    elif kind == "add" and block.n_tx and block.n_keys:
        at = data.draw(st.tuples(st.integers(0, block.n_tx - 1), st.integers(0, block.n_keys - 1)))
        pairs.setdefault(at, data.draw(st.integers(0, 2**256 - 1)))
    elif kind == "read less" and reads:
        reads.discard(data.draw(st.sampled_from(sorted(reads))))
    elif kind == "read more" and block.n_keys:
        reads.add(data.draw(st.integers(0, block.n_keys - 1)))


@given(blocks(max_tx=10, max_keys=6), st.data(), st.sampled_from([1, 2, 3, 8]), st.booleans())
def test_a_wrong_list_is_rejected_by_its_first_wrong_entry(
    block: Block, data: st.DataObject, workers: int, own_order: bool
) -> None:
    plan = schedule(block, "mis") if own_order else None
    right = right_list(block, schedule=plan)
    truth, reads = pairs_of(right), set(right.reads.tolist())
    wrong, wrong_reads = dict(truth), set(reads)
    for _ in range(data.draw(st.integers(1, 4))):
        spoil(data, wrong, wrong_reads, block)
    assume((wrong, wrong_reads) != (truth, reads))
    listed = list_from(wrong, block.n_tx, block.n_keys, sorted(wrong_reads))
    with pytest.raises(AccessListError) as caught:
        execute(block, "bal", workers=workers, access_list=listed, schedule=plan)
    assert str(caught.value) == f"block {block.number}: access list rejected: " + expected_text(
        block, truth, reads, wrong, wrong_reads, plan
    )


def expected_text(block: Block, truth: PAIRS, reads: set[int], wrong: PAIRS, wrong_reads: set[int], plan: Any) -> str:
    """What is first wrong: everything before it is right, so what the transaction does is what it truly does."""
    place = list(range(block.n_tx)) if plan is None else np.argsort(plan.serial_order).tolist()
    bad = [(place[t], k, t) for t, k in truth.keys() | wrong.keys() if truth.get((t, k)) != wrong.get((t, k))]
    if bad:
        _, k, t = min(bad)
        head = f"transaction {t}, {block.key_name(k)}: "
        if (t, k) not in truth:
            return head + f"listed with {wrong[t, k]}, but the transaction does not change it"
        if (t, k) not in wrong:
            return head + f"the transaction leaves {truth[t, k]}, which is not listed"
        return head + f"listed with {wrong[t, k]}, but the transaction leaves {truth[t, k]}"
    k = min(reads ^ wrong_reads)
    if k in reads:
        return f"{block.key_name(k)} was accessed and not changed, but is not listed as read"
    return f"{block.key_name(k)} is listed as read, but was changed or not accessed"


@pytest.mark.skipif(DISABLED, reason="needs real threads")
@pytest.mark.parametrize("workers", [2, 3, 8])
def test_of_many_wrong_entries_the_first_is_named_every_time(workers: int) -> None:
    block = generate(n_tx=2000, key_space=50, conflict_ratio=0.8, seed=1)
    right = right_list(block)
    rng = np.random.default_rng(5)
    for _ in range(20):
        rows = np.sort(rng.choice(np.flatnonzero(np.repeat(np.arange(2000), np.diff(right.indptr)) > 900), 7, replace=False))
        values = right.values.copy()
        values[rows, 0] ^= np.uint64(1)
        t = int(np.searchsorted(right.indptr, rows[0], side="right") - 1)
        with pytest.raises(AccessListError, match=f"rejected: transaction {t}, {block.key_name(int(right.keys[rows[0]]))}: "):
            execute(block, "bal", workers=workers, access_list=right.replace(values=values))
    execute(block, "bal", workers=workers, access_list=right).check_equal(execute(block, "serial"))


def test_the_three_kinds_of_wrong_entries_and_both_of_reads_are_told_apart() -> None:
    block = Block.from_programs([[("SSTORE", A, 7)], [("SLOAD", A), ("SLOAD", B)], [("TOUCH", C), ("SSTORE", A, 7)]], {B: 1})
    right = right_list(block)
    assert (pairs_of(right), right.reads.tolist()) == ({(0, 0): 7}, [1, 2])
    cases = [
        ({(0, 0): 8}, [1, 2], "transaction 0, 0x0{39}1 slot 0x0: listed with 8, but the transaction leaves 7"),
        ({}, [1, 2], "transaction 0, 0x0{39}1 slot 0x0: the transaction leaves 7, which is not listed"),
        ({(0, 0): 7, (1, 1): 1}, [1, 2], "transaction 1, 0x0{39}2 slot 0x0: listed with 1, but the transaction does not ch"),
        ({(0, 0): 7, (1, 2): 1}, [1, 2], "transaction 1, 0x0{39}3 slot 0x0: listed with 1, but the transaction does not ch"),
        ({(0, 0): 7}, [2], "0x0{39}2 slot 0x0 was accessed and not changed, but is not listed as read"),
        ({(0, 0): 7}, [0, 1, 2], "0x0{39}1 slot 0x0 is listed as read, but was changed or not accessed"),
    ]
    for pairs, reads, text in cases:
        with pytest.raises(AccessListError, match=f"block 0: access list rejected: {text}"):
            execute(block, "bal", workers=2, access_list=list_from(pairs, 3, 3, reads))


def test_what_a_failed_transaction_touched_before_it_failed_is_read_and_its_credit_is_not() -> None:
    program = [("SLOAD", A), ("CREDIT", FEE, 5), ("BURN", 10**6), ("SLOAD", B)]
    block = Block.from_programs([program], gas_limits=[30_000])
    right = right_list(block)
    assert [block.key(int(k))[0][-1] for k in right.reads] == [1]
    check(block, "bal", workers=2, access_list=right)


# -------------------------------------------------------------------- at the door


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, [0, 1], [2], [[0, 0, 0, 0]], []), r"keys\[0\] = 2: must be in \[0, 1\]"),
        ((2, [0, 2], [1, 1], [[0] * 4] * 2, []), r"keys\[1\] = 1 after 1: must be distinct and ascending"),
        ((2, [0, 2], [1, 0], [[0] * 4] * 2, []), r"keys\[1\] = 0 after 1: must be distinct and ascending"),
        ((2, [0, 1], [1], [[0] * 3], []), r"values has shape \(1, 3\): must be \(1, 4\)"),
        ((2, [0, 2], [1], [[0] * 4], []), r"indptr\[1\] = 2: must be 1, the number of entries"),
        ((2, [0], [], [], [1, 0]), r"reads\[1\] = 0 after 1: must be distinct and ascending"),
        ((2, [0], [], [], [5]), r"reads\[0\] = 5: must be in \[0, 1\]"),
    ],
)
def test_a_malformed_list_is_refused_by_place_value_and_rule(arguments: Any, message: str) -> None:
    with pytest.raises(BlockError, match=message):
        BlockAccessList(*arguments)


def test_a_list_of_another_size_and_one_without_changes_are_refused() -> None:
    block = Block.from_programs([[("SSTORE", A, 7)]])
    with pytest.raises(BlockError, match="access_list of 2 transactions and 1 keys: the block has 1 and 1"):
        execute(block, "bal", access_list=BlockAccessList(1, [0, 0, 0], [], [], []))
    with pytest.raises(BlockError, match="changes = None: must be recorded"):
        execute(block, "serial").block_access_list()
    with pytest.raises(BlockError, match="array = 'pairs': must be one of indptr, keys, values, reads"):
        right_list(block).replace(pairs=[])
    assert right_list(block) != right_list(Block.from_programs([[("SSTORE", A, 8)]]))
    assert (right_list(block) == 5) is False


def test_adjacent_entries_of_two_transactions_need_not_ascend() -> None:
    listed = BlockAccessList(2, [0, 1, 2], [1, 0], [[1, 0, 0, 0], [2, 0, 0, 0]], [])
    assert (listed[0], listed[1]) == ({1: 1}, {0: 2})
