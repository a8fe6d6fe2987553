"""What auto picks: serial where nothing can be gained, what the longest paths allow elsewhere, and it says why."""

from __future__ import annotations

import logging
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench.graphs import make_access
from pevm_numba.bench.scenarios import add_noops, block_of
from pevm_numba.execute import auto, launch
from pevm_numba.execute.auto import PICKS, expected_ns, pick
from pevm_numba.execute.program import reads_behind_credits
from pevm_numba.execute.run import execute
from pevm_numba.execute.sample import PathSampler
from pevm_numba.generate import generate


def program(work: int, hashing: int = 0) -> Any:
    return SimpleNamespace(work=np.array([work], np.int64), hash_work=hashing)


_SHARE = st.floats(0, 1)


@given(st.integers(1, 10**9), st.integers(1, 10**5), st.integers(0, 10**6), st.integers(2, 64), _SHARE, _SHARE)
def test_expected_times_keep_to_the_bounds(work, n_tx, n_accesses, workers, one, other):
    shares = max(one, other), min(one, other)  # versions never make a path longer
    expected = expected_ns(program(work), n_tx, n_accesses, shares, workers)
    assert set(expected) == set(PICKS)
    assert expected["serial"] == work
    for name, share in zip(("dataflow", "optimistic"), shares):
        assert expected[name] > work / workers
        assert expected[name] > share * work
    more = expected_ns(program(work), n_tx, n_accesses, shares, workers + 1)
    assert all(more[name] <= expected[name] for name in PICKS)
    longer = expected_ns(program(work), n_tx, n_accesses, (1.0, 1.0), workers)
    assert all(longer[name] >= expected[name] for name in PICKS)


@pytest.mark.parametrize(
    ("case", "steps", "workers", "expected"),
    [
        ("independent", 3_000, 2, "dataflow"),
        ("mid", 3_000, 2, "dataflow"),
        ("low", 40, 2, "serial"),  # less work than sharing it out takes
        ("chain", 30_000, 2, "serial"),
        ("chain", 30_000, 16, "serial"),
        ("hot 25 %", 3_000, 2, "dataflow"),
        ("zipf 1.5", 10_000, 2, "optimistic"),  # readers of the hot key hold its writers up, but not their versions
        ("independent", 3_000, 1, "serial"),
    ],
)
def test_what_the_longest_paths_allow_is_taken(case, steps, workers, expected):
    block = add_noops(block_of(make_access(case, 1000)), steps)
    choice = pick(block, workers, awake=True)
    assert choice.executor == expected
    assert choice.reason.startswith("1,000 transactions, guessed work ")


@pytest.mark.parametrize("n_tx", [0, 1, 5, 30])
def test_small_blocks_stay_serial_and_nobody_looks_at_their_paths(n_tx):
    choice = pick(generate(n_tx=n_tx, key_space=50), 8)
    assert (choice.executor, choice.shares) == ("serial", None)


def test_an_access_list_decides():
    block = generate(n_tx=10, key_space=5)
    listed = execute(block, "serial", record="changes").block_access_list()
    result = execute(block, "auto", access_list=listed)
    assert (result.executor, result.reason) == ("bal", "auto: an access list is given")


def test_the_order_that_is_promised_counts():
    """Readers first, then crediters: nobody waits then; in block order each crediter sits between readers."""
    a = (1, 1, 0)
    read, write = [("SLOAD", a), ("NOOP", 20_000)], [("NOOP", 20_000), ("CREDIT", a, 1)]
    block = pn.Block.from_programs([read, write] * 100)
    readers_first = np.array([*range(0, 200, 2), *range(1, 200, 2)], np.int32)
    assert pick(block, 4, order=readers_first, awake=True).shares[0] < 0.05
    assert pick(block, 4, awake=True).shares[0] > 0.9
    waves = [readers_first[:100].tolist(), readers_first[100:].tolist()]
    result = execute(block, "auto", schedule=pn.Schedule.from_waves("readers first", waves, readers_first), workers=4)
    assert result.executor == "dataflow"
    result.check_equal(execute(block, "serial", schedule=result.schedule))


@pytest.mark.skipif(DISABLED, reason="minutes without machine code")
def test_it_says_why_and_jobs_need_not_look_again(caplog):
    block = add_noops(block_of(make_access("mid", 1000)), 3_000)
    with caplog.at_level(logging.INFO, "pevm_numba"):
        result = execute(block, "auto", workers=2)
    assert result.executor == "dataflow"
    assert result.reason.startswith("auto: 1,000 transactions, guessed work ")
    assert "2 workers, " in result.reason
    assert "longest path" in result.reason
    assert "expected us serial " in result.reason
    assert "auto picks dataflow" in caplog.text


def test_waking_threads_is_part_of_the_price(monkeypatch):
    block = add_noops(block_of(make_access("independent", 300)), 1_000)  # some 0.4 ms
    assert pick(block, 2, awake=True).executor == "dataflow"
    asleep = pick(block, 2, awake=False)
    assert asleep.executor == "serial"
    assert "threads asleep" in asleep.reason
    for seconds, executor in ((0.0, "dataflow"), (0.1, "serial")):
        monkeypatch.setattr(launch, "_last_run", perf_counter_ns() - int(seconds * 1e9))
        assert pick(block, 2).executor == executor


def test_transactions_too_large_to_sample_are_taken_to_depend_on_each_other():
    keys = [(1, 0, slot) for slot in range(4200)]
    block = pn.Block.from_programs([[("SSTORE", key, t) for key in keys] for t in range(1, 20)])
    assert PathSampler(block).shares(np.arange(19, dtype=np.int32), np.full(19, 5)) == (1.0, 1.0)


def test_optimistic_is_not_taken_where_reads_would_add_up_many_credits():
    fee, work = (9, 1, 0), ("NOOP", 5_000)
    alternating = [[("CREDIT", fee, 1), work], [("SLOAD", fee), work]] * 300
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "reads_behind_credits", lambda *_: 0)
        assert pick(pn.Block.from_programs(alternating), 2, awake=True).executor == "optimistic"
    assert pick(pn.Block.from_programs(alternating), 2, awake=True).executor == "serial"
    one_reader = [[("CREDIT", fee, 1), work]] * 300 + [[("SLOAD", fee), work]]
    order = np.arange(600, dtype=np.int32)
    assert reads_behind_credits(pn.Block.from_programs(one_reader), order[:301]) == 300
    assert reads_behind_credits(pn.Block.from_programs(alternating), order) == 300 * 301 // 2
    readers_first = np.array([*order[1::2], *order[::2]], np.int32)
    assert reads_behind_credits(pn.Block.from_programs(alternating), readers_first) == 0
