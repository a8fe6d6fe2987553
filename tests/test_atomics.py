"""Atomics with real threads: nothing is lost, nothing is seen too early; and the plain twins mean the same on one thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pevm_numba._kernels.atomics import (
    compare_and_swap,
    exchange,
    fence,
    fence_reads,
    fetch_add,
    load_acquire,
    load_relaxed,
    pause,
    store_release,
)
from pevm_numba._kernels.jit import DISABLED, kernel
from pevm_numba._kernels.system import leave_core, nap, now, thread_cpu, yield_core

real_threads = pytest.mark.skipif(DISABLED, reason="needs real threads")
N = 200_000 if not os.environ.get("PEVM_NUMBA_SOAK") else 5_000_000
DTYPES = [np.int32, np.int64, np.uint64]


def on_threads(*jobs: Callable[[], object]) -> None:
    """Run all jobs at once, each on a thread of its own, and wait for them."""
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@kernel(bare=True)
def add_many(cells, one, n):
    for _ in range(n):
        fetch_add(cells, 0, one)


@kernel(bare=True)
def add_by_swapping(cells, one, n):
    for _ in range(n):
        while True:
            old = load_acquire(cells, 0)
            if compare_and_swap(cells, 0, old, old + one):
                break


@kernel(bare=True)
def add_under_lock(lock, cells, n):
    for _ in range(n):
        while exchange(lock, 0, np.int32(1)) != 0:
            pause()
        cells[0] += 1  # plain: the lock is what makes it right
        store_release(lock, 0, np.int32(0))


@kernel(bare=True)
def claim(cells, owner, mine, n):
    while True:
        i = fetch_add(cells, 0, np.int64(1))
        if i >= n:
            return
        owner[i] += mine


@kernel(bare=True)
def send(flag, data, n):
    for i in range(1, n + 1):
        while load_acquire(flag, 0) != 2 * i - 2:
            pause()
        for j in range(8):
            data[j] = i
        store_release(flag, 0, np.int64(2 * i - 1))


@kernel(bare=True)
def receive(flag, data, n):
    """How many of the messages were not complete when their flag was seen."""
    stale = 0
    for i in range(1, n + 1):
        while load_acquire(flag, 0) != 2 * i - 1:
            pause()
        for j in range(8):
            if data[j] != i:
                stale += 1
        store_release(flag, 0, np.int64(2 * i))
    return stale


@kernel(bare=True)
def announce_and_look(mine, other, turn, seen, n):
    """Dekker's question, n times: raise my flag, then look at the other's; at least one of two must see the other."""
    for i in range(n):
        store_release(mine, 0, np.int64(i + 1))
        fence()
        seen[i] = load_acquire(other, 0) >= i + 1
        fetch_add(turn, 0, np.int64(1))
        while load_acquire(turn, 0) < 2 * (i + 1):
            pause()


@kernel(bare=True)
def write_versions(version, data, n):
    for i in range(1, n + 1):
        store_release(version, 0, np.int64(2 * i - 1))  # odd: being written
        fence()
        for j in range(4):
            data[j] = i
        store_release(version, 0, np.int64(2 * i))


@kernel(bare=True)
def read_versions(version, data, n):
    """Torn values among those that the version says were whole."""
    torn = 0
    while True:
        before = load_acquire(version, 0)
        a, b, c, d = data[0], data[1], data[2], data[3]
        fence_reads()
        if before & 1 == 0 and load_acquire(version, 0) == before:
            if not (a == b == c == d == before // 2):
                torn += 1
            if before == 2 * n:
                return torn


@kernel(bare=True)
def spin_until(flag):
    turns = 0
    while load_relaxed(flag, 0) == 0:
        turns += 1
    return turns


@kernel(bare=True)
def all_at(cells, i, j, value):
    """Every operation on one element of two dimensions."""
    a = fetch_add(cells, (i, j), value)
    b = exchange(cells, (i, j), a)
    swapped = compare_and_swap(cells, (i, j), a, b)
    store_release(cells, (0, j), load_acquire(cells, (i, j)) + load_relaxed(cells, (i, 0)))
    return a, b, swapped


@real_threads
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [add_many, add_by_swapping], ids=["fetch_add", "compare_and_swap"])
def test_no_addition_is_lost(dtype, add) -> None:
    cells = np.zeros(1, dtype)
    add(cells, dtype(1), 1)  # compiled before the threads start
    on_threads(*[lambda: add(cells, dtype(1), N)] * 4)
    assert int(cells[0]) == 4 * N + 1


@real_threads
def test_a_lock_of_exchange_and_release_lets_one_in_at_a_time() -> None:
    lock, cells = np.zeros(1, np.int32), np.zeros(1, np.int64)
    add_under_lock(lock, cells, 1)
    on_threads(*[lambda: add_under_lock(lock, cells, N // 10)] * 3)
    assert cells[0] == 3 * (N // 10) + 1


@real_threads
def test_every_number_is_claimed_once() -> None:
    cells, owner = np.zeros(1, np.int64), np.zeros(N, np.int64)
    claim(np.ones(1, np.int64), owner, 1, 0)
    on_threads(*[(lambda k=k: claim(cells, owner, 10**k, N)) for k in range(3)])
    assert set(np.unique(owner).tolist()) <= {1, 10, 100}


@real_threads
def test_what_was_written_before_a_release_is_seen_after_the_acquire() -> None:
    flag, data, stale = np.zeros(1, np.int64), np.zeros(8, np.int64), []
    send(flag.copy(), data.copy(), 0)
    receive(flag.copy(), data.copy(), 0)
    n = N // 20
    on_threads(lambda: send(flag, data, n), lambda: stale.append(receive(flag, data, n)))
    assert stale == [0]


@real_threads
def test_of_two_that_announce_and_look_at_least_one_sees_the_other() -> None:
    n = N // 20
    flags, turn, seen = np.zeros((2, 32), np.int64), np.zeros(1, np.int64), np.zeros((2, n), bool)
    announce_and_look(flags[0].copy(), flags[1].copy(), turn.copy(), seen[0].copy(), 0)
    on_threads(*[(lambda k=k: announce_and_look(flags[k], flags[1 - k], turn, seen[k], n)) for k in range(2)])
    assert (seen[0] | seen[1]).all()


@real_threads
def test_a_value_read_between_two_equal_versions_is_whole() -> None:
    version, data, torn = np.zeros(1, np.int64), np.zeros(4, np.int64), []
    write_versions(version.copy(), data.copy(), 0)
    read_versions(version.copy(), data.copy(), 0)
    n = N // 4
    on_threads(lambda: write_versions(version, data, n), lambda: torn.append(read_versions(version, data, n)))
    assert torn == [0]


@real_threads
def test_a_relaxed_load_is_done_anew_each_time() -> None:
    flag, turns = np.zeros(1, np.int64), []
    spin_until(np.ones(1, np.int64))

    def raise_flag() -> None:
        time.sleep(0.05)
        flag[0] = 1

    on_threads(lambda: turns.append(spin_until(flag)), raise_flag)
    assert turns[0] > 100


VALUES = st.lists(st.integers(0, 1000), min_size=12, max_size=12)


@given(st.sampled_from(DTYPES), st.integers(0, 2), st.integers(0, 3), VALUES)
def test_every_operation_means_the_same_as_in_plain_python(dtype, i: int, j: int, start: list[int]) -> None:
    cells = np.array(start, dtype).reshape(3, 4)
    plain = np.array(start).reshape(3, 4).tolist()
    a, b, swapped = all_at(cells, i, j, dtype(7))
    old = plain[i][j]
    new = old + 7
    plain[i][j] = new  # added 7, exchanged for the old value, swapped for what the exchange gave back
    plain[0][j] = plain[i][j] + plain[i][0]
    assert (int(a), int(b), bool(swapped)) == (old, new, True)
    assert cells.tolist() == plain


def test_compare_and_swap_leaves_another_value_alone() -> None:
    @kernel(bare=True)
    def swap(cells, expected, new):
        return compare_and_swap(cells, 0, expected, new)

    cells = np.array([5], np.int64)
    assert not swap(cells, np.int64(4), np.int64(9))
    assert cells[0] == 5
    assert swap(cells, np.int64(5), np.int64(9))
    assert cells[0] == 9


@kernel(bare=True)
def times():
    first = now()
    cpu = thread_cpu()
    yield_core()
    nap(np.uint32(2000))
    return first, now(), thread_cpu() - cpu


def test_the_clock_is_pythons_and_a_nap_takes_time_and_no_cpu() -> None:
    times()
    before = time.monotonic_ns()
    first, last, cpu = times()
    after = time.monotonic_ns()
    assert before <= first <= last <= after
    if not DISABLED:
        assert last - first >= 2_000_000
        assert 0 <= cpu < last - first


@kernel
def move():
    return leave_core()


@real_threads
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no sets of cores")
def test_a_thread_that_leaves_its_core_keeps_its_set_of_cores() -> None:
    before = os.sched_getaffinity(0)
    for _ in range(20):
        assert move() == (0 if len(before) > 1 else -1)
        assert os.sched_getaffinity(0) == before
    os.sched_setaffinity(0, {min(before)})
    try:
        assert move() == -1
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)


CACHED = """
import pevm_numba as pn
from pevm_numba._kernels import jit
block = pn.generate(n_tx=400, key_space=30, conflict_ratio=0.7)
pn.execute(block, "dataflow", workers=2)  # what optimistic falls back on where threads are late, in some runs only
pn.execute(block, "optimistic", workers=2).check_equal(pn.execute(block, "serial"))
print(jit.was_compiled())
"""


@real_threads
def test_kernels_with_atomics_are_kept_on_disk_and_right_in_a_second_process() -> None:
    line = [sys.executable, "-c", CACHED]
    runs = [subprocess.run(line, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert int(runs[1]) == 0  # whatever the first, or anybody before, has compiled
