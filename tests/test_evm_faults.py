"""What comes from outside and goes wrong: libraries that are not there, signals, lists that lie. No result may come of it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_evm_limits import CODE, EXECUTORS, REQUESTS, WHO, block_of

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import AccessListError, BlockError, ExecutionError
from pevm_numba.evm import worker as workers
from pevm_numba.evm.engine import Engine
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.observation import EvmAccessList
from pevm_numba.evm.plans import flow_plan, serial_plan
from pevm_numba.evm.precompiles import call
from pevm_numba.evm.rlp import encode
from pevm_numba.evm.transaction import Transaction
from pevm_numba.execute.evm_job import EvmJob, ended_before
from pevm_numba.machine.ops import Field

pytestmark = pytest.mark.usefixtures("always_parallel")

#: Takes some time and gas: hashes 20,000 bytes.
BURN = "60205f2050" if DISABLED else "614e205f2050"
#: Calls modexp with nothing: served by Python, whatever libraries there are.
MODEXP = "5f5f5f5f6005620186a0fa50"
ASKS_AN_OLD_HASH = "60804050"


def guarded(branch: str) -> str:
    """Code that runs the branch only if slot 0 is 0; with input it burns some gas and sets it to 1."""
    head = len("3661000057" + "5f5461000057") // 2
    end = head + len(branch) // 2 + 1
    setter = end + 2
    body = f"3661{setter:04x}57" + f"5f5461{end:04x}57" + branch + "00" + "5b00"
    return body + "5b" + BURN * (20 if DISABLED else 300) + "60015f5500"


def guarded_block(branch: str, **given: Any) -> pn.EvmBlock:
    """The first sets slot 0, so the branch is never run in block order."""
    block = block_of(guarded(branch), Fork.SHANGHAI, n_tx=5, gas=200_000, **given)
    first = replace(block.transactions[0], data=b"\x01", gas_limit=8_000_000)
    return pn.EvmBlock(block.env, [first, *block.transactions[1:]], block.state)


def lying(listed: EvmAccessList) -> EvmAccessList:
    """The list that keeps slot 0 at 0."""
    values = listed.values.copy()
    for place, key in listed.entries(0):
        if listed.keys.field[key] == Field.STORAGE:
            values[place] = 0
    return replace(listed, values=values)


def missing(*_: Any) -> tuple[bool, int, bytes]:
    raise ExecutionError("precompile 5 needs a package that is not installed")


# -------------------------------------------------------------------- what the host cannot do


@pytest.mark.parametrize("executor", EXECUTORS)
def test_only_a_block_that_asks_for_it_misses_a_library(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = guarded_block(MODEXP)
    serial = pn.execute(block, "serial")
    assert serial.success.all()
    monkeypatch.setattr(workers, "call", missing)
    nothing = None if executor in ("serial", "bal") else pn.AccessSets.from_dicts([{}] * block.n_tx, n_keys=1)
    for _ in range(1 if DISABLED else 5):
        pn.execute(block, executor, workers=2, access=nothing).check_equal(serial)
    asks = pn.EvmBlock(block.env, block.transactions[1:], block.state)
    with pytest.raises(ExecutionError, match="needs a package"):
        pn.execute(asks, executor, workers=2)
    with pytest.raises(ExecutionError, match="needs a package"):
        Evm(block.env, block.state).run(block.transactions[1])


def test_a_library_that_was_missing_is_missed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of(MODEXP + "00", Fork.SHANGHAI, n_tx=5)
    engine, n = Engine(block.env, block.transactions, block.state, workers=2), block.n_tx
    free = flow_plan(np.zeros(n + 1, np.int64), np.empty(0, np.int64))
    with monkeypatch.context() as patch:
        patch.setattr(workers, "call", missing)
        for plan in (free, serial_plan(n), free):
            with pytest.raises(ExecutionError, match="needs a package"):
                engine.run(plan)
    engine.run(free)
    assert engine.records["success"].all()


@pytest.mark.parametrize("branch", [MODEXP, ASKS_AN_OLD_HASH], ids=["library", "block hash"])
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_list_that_lies_is_to_blame_for_what_follows(branch: str, n_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block = guarded_block(branch)
    honest = pn.execute(block, "serial").block_access_list()
    monkeypatch.setattr(workers, "call", missing)
    pn.execute(block, "bal", workers=n_workers, access_list=honest)
    with pytest.raises(AccessListError, match=r"transaction 0, 0xc0c0.* slot 0x0: .*listed is 0x0000"):
        pn.execute(block, "bal", workers=n_workers, access_list=lying(honest))


def test_a_block_that_asks_for_a_hash_that_nobody_gave_is_refused_by_all() -> None:
    block = block_of(ASKS_AN_OLD_HASH + "00", Fork.SHANGHAI, n_tx=4)
    known = replace(block.env, block_hashes={128: b"\x07" * 32})
    listed = pn.execute(pn.EvmBlock(known, block.transactions, block.state), "serial").block_access_list()
    for executor in EXECUTORS:
        with pytest.raises(BlockError, match="transaction 0 refused: it asks for the hash"):
            pn.execute(block, executor, workers=2, access_list=listed if executor == "bal" else None)


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("burnt", [0, 100])
def test_a_list_without_the_code_that_it_names_is_refused(n_workers: int, burnt: int) -> None:
    init = BURN * burnt + "60006000526001601ff3"
    made = keccak(encode([WHO[0], 0]))[12:]
    block = block_of("5b00", Fork.SHANGHAI)
    txs = [
        Transaction(gas_price=9, gas_limit=10**7, data=bytes.fromhex(init), sender=WHO[0]),
        Transaction(gas_price=9, gas_limit=10**5, to=made, sender=WHO[1]),
    ]
    block = pn.EvmBlock(block.env, txs, block.state)
    serial = pn.execute(block, "serial")
    listed = serial.block_access_list()
    assert listed.codes == (b"\x00",)
    pn.execute(block, "bal", workers=n_workers, access_list=listed).check_equal(serial)
    what = f"transaction 0, 0x{made.hex()} code: listed is 0x{keccak(bytes(1)).hex()}, the hash of code that is neither"
    with pytest.raises(AccessListError, match=what):
        pn.execute(block, "bal", workers=n_workers, access_list=replace(listed, codes=()))


# -------------------------------------------------------------------- signals

SIGNALS = """
import random, signal, sys, time
import pevm_numba as pn
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.trace import trace
from pevm_numba.evm.transaction import Transaction
from pevm_numba.execute.evm_job import EvmJob

what, code, gas = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])
who, at = b"\\x01" * 20, b"\\xc0" * 20
env = BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=0)
tx = Transaction(gas_price=0, gas_limit=gas, to=at, sender=who)
block = pn.EvmBlock(env, [tx], {who: (1, 0, b"", {}), at: (0, 1, code, {})})
job = EvmJob(block, "serial")
job.plan()


def once():
    return trace(block, 0) if what == "trace" else job.collect(*job.run())


def interrupt(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, interrupt)
once()
start = time.perf_counter()
once()
taken, raised = time.perf_counter() - start, 0
random.seed(3)
for _ in range(12):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.05, 0.5) * taken)
        once()
    except TimeoutError:
        raised += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
print(f"raised {raised} times of 12")
"""


TWICE = """
import os, signal, subprocess, sys, time
import pevm_numba as pn
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.transaction import Transaction
from pevm_numba.execute.evm_job import EvmJob
from pevm_numba.patience import interruptible

who, at = b"\\x01" * 20, b"\\xc0" * 20
env = BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=0, gas_limit=10**13)
tx = Transaction(gas_price=0, gas_limit=6 * 10**8, to=at, sender=who)
long = pn.EvmBlock(env, [tx], {who: (1, 0, b"", {}), at: (0, 1, bytes.fromhex("5b5f56"), {})})
job = EvmJob(long, "serial")
job.plan()
armed = []


def interrupt(*_):
    if armed:
        raise KeyboardInterrupt


signal.signal(signal.SIGINT, interrupt)
sender = '''
import os, sys, time
for i in range(60):
    time.sleep(0.06)
    for _ in range(3):
        os.kill(int(sys.argv[1]), 2)
        time.sleep(0.00005 * (i % 6))
'''
child = subprocess.Popen([sys.executable, "-c", sender, str(os.getpid())])
left = 0
while child.poll() is None:
    try:
        try:
            armed.append(1)
            job.run()
        finally:
            armed.clear()
    except KeyboardInterrupt:
        armed.clear()
    start = time.perf_counter()
    interruptible(lambda: None, lambda: None)  # comes when the thread that makes all such calls has nothing more to do
    left += time.perf_counter() - start > 0.5
print("ended each time" if left == 0 else f"worked on {left} times", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(DISABLED, reason="plain Python is too slow for the times in it")
@pytest.mark.parametrize(
    ("what", "code", "gas"),
    [
        ("precompile", "5b5f5f5f5f6005620186a0fa50" + "614e205f2050" * 4 + "5f56", 25_000_000),  # calls modexp over and over
        ("trace", "5b620f42405f20505f56", 4_000_000),  # hashes a megabyte, over and over
    ],
    ids=["precompile", "trace"],
)
def test_a_signal_between_the_kernels_and_python_is_not_lost(what: str, code: str, gas: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    line = [sys.executable, "-c", SIGNALS, what, code, str(gas)]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "raised 12 times of 12\n", "")


@pytest.mark.skipif(DISABLED, reason="needs real threads")
def test_nobody_works_on_after_two_signals_in_a_row() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", TWICE], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended each time\n", "")


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("alarm", [KeyboardInterrupt, TimeoutError])
def test_what_a_handler_raises_while_a_precompile_runs_ends_the_run(
    executor: str, alarm: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = workers.call, []

    def interrupted(*given: Any) -> tuple[bool, int, bytes]:
        calls.append(given)
        if len(calls) == 1:
            raise alarm
        return real(*given)

    speculates = executor == "optimistic" and not DISABLED
    block = guarded_block(MODEXP) if speculates else block_of(MODEXP + "00", Fork.SHANGHAI, n_tx=5)
    serial = pn.execute(block, "serial")
    job = EvmJob(block, executor, workers=2, access=serial.observed, access_list=serial.block_access_list())
    if speculates:  # what it calls then is thrown away, but not what was raised
        job.access = None
    job.plan()
    with monkeypatch.context() as patch:
        patch.setattr(workers, "call", interrupted)
        with pytest.raises(alarm):
            [job.run() for _ in range(50)]
    job.collect(*job.run()).check_equal(serial)


@pytest.mark.parametrize("alarm", [KeyboardInterrupt, TimeoutError])
def test_an_interrupted_state_is_made_anew(alarm: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    paid = ((0, 0, WHO[3], 1), (1, 0, WHO[4], 2))
    block = block_of("00", Fork.PRAGUE, state={REQUESTS: (0, 1, bytes.fromhex("5f546001015f5500"), {})}, withdrawals=paid)
    expected = pn.execute(block, "serial").state
    assert expected[REQUESTS].storage == {0: 1}
    for name in ("_pay_out", "_call_system", "_has_code"):
        engine = Engine(block.env, block.transactions, block.state)
        engine.run(serial_plan(block.n_tx))
        with monkeypatch.context() as patch:
            real = getattr(engine, name)

            def interrupted(*given: Any, real: Any = real, **more: Any) -> None:
                real(*given, **more)
                raise alarm

            patch.setattr(engine, name, interrupted)
            with pytest.raises(alarm):
                engine.state()
        for _ in range(2):
            assert engine.state() == expected


def test_who_was_missing_a_library_is_forgotten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of(MODEXP + "00", Fork.SHANGHAI, n_tx=5)
    monkeypatch.setattr(workers, "call", missing)
    engine = Engine(block.env, block.transactions, block.state)
    gone = weakref.ref(engine.workers[0])
    gc.disable()
    try:
        with pytest.raises(ExecutionError, match="needs a package"):
            engine.run(serial_plan(block.n_tx))
        del engine
        assert gone() is None
    finally:
        gc.enable()


# -------------------------------------------------------------------- what the rules of blocks forbid


def test_a_refused_state_stays_refused() -> None:
    block = block_of("00", Fork.PRAGUE, state={REQUESTS: (0, 1, b"\xfe", {})})
    engine = Engine(block.env, block.transactions, block.state)
    engine.run(serial_plan(block.n_tx))
    for _ in range(2):
        with pytest.raises(BlockError, match=r"call of 0x00000961ef.* fails"):
            engine.state()


def test_a_withdrawal_that_no_balance_can_hold_is_refused() -> None:
    block = block_of("00", Fork.SHANGHAI, state={WHO[4]: (2**256 - 10**9, 0, b"", {})}, withdrawals=((0, 0, WHO[4], 1),))
    for executor in EXECUTORS:
        with pytest.raises(BlockError, match="block 300: withdrawal 0: makes a balance of 1157"):
            pn.execute(block, executor, workers=2)


def test_the_parents_hash_must_be_there_to_be_kept() -> None:
    history = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
    keeps = bytes.fromhex("5f3560014303611fff900655")  # the hash in the slot of the parent's number
    state = {history: (0, 1, keeps, {})}
    with pytest.raises(BlockError, match=r"block 300: env\.block_hashes without its parent's"):
        pn.execute(block_of("00", Fork.PRAGUE, state=state), "serial")
    done = pn.execute(block_of("00", Fork.PRAGUE, state=state, block_hashes={299: b"\x07" * 32}), "serial")
    assert done.state[history].storage == {299: int.from_bytes(b"\x07" * 32, "big")}
    assert pn.execute(block_of("00", Fork.PRAGUE), "serial").success.all()


def test_slots_of_an_access_list_are_read_when_somebody_reads_them() -> None:
    other = b"\xd0" * 20
    block = block_of("60075450600860085500", Fork.BERLIN, state={other: (0, 1, b"\x00", {7: 5}), CODE: (
        0, 1, bytes.fromhex("60075450600860085500"), {7: 5, 8: 6, 9: 7},
    )})  # fmt: skip
    listed = ((other, (7,)), (CODE, (7, 8, 9)))
    txs = [replace(tx, type=1, chain_id=1, access_list=listed) for tx in block.transactions]
    block = pn.EvmBlock(block.env, txs, block.state)
    for executor in EXECUTORS:
        done = pn.execute(block, executor, workers=2)
        slots = {
            done.keys.key_name(int(key)): int(mode)
            for key, mode in zip(done.seen.key, done.seen.modes) if done.keys.field[key] == Field.STORAGE
        }  # fmt: skip
        assert slots == {f"0x{CODE.hex()} slot 0x7": 1, f"0x{CODE.hex()} slot 0x8": 3}
    # 21,000, the list (2,400 and 1,900 each), six pushes and a POP, SLOAD warm, SSTORE of a warm slot
    assert done.gas_used.tolist() == [21_000 + 2 * 2_400 + 4 * 1_900 + 3 * 3 + 2 + 100 + 2_900]
    assert done.state[other].storage == {7: 5}


def test_an_exponent_may_be_as_long_as_it_is_paid_for() -> None:
    def asked(base: int, exponent: int, modulus: int, rest: bytes) -> bytes:
        return b"".join(size.to_bytes(32, "big") for size in (base, exponent, modulus)) + rest

    for fork, price in ((Fork.BYZANTIUM, 8 * (2**27 - 31) // 20), (Fork.BERLIN, 8 * (2**27 - 31) // 3)):
        assert call(fork, 5, asked(0, 2**27 + 1, 1, b""), 10**9) == (True, price, b"\x00")
    assert call(Fork.BERLIN, 5, asked(1, 2**31, 0, b"\x03"), 10**11)[::2] == (True, b"")
    with pytest.raises(ExecutionError, match="modexp: base of 134217729 bytes: more than 134217728"):
        call(Fork.BERLIN, 5, asked(2**27 + 1, 1, 1, b""), 10**18)


def test_lists_of_a_transaction_are_lists() -> None:
    fees = {"chain_id": 1, "max_fee_per_gas": 9, "max_priority_fee_per_gas": 1, "to": CODE}
    for name, wrong, more in (
        ("access_list", None, {"type": 1, "chain_id": 1, "gas_price": 9}),
        ("blob_versioned_hashes", False, {"type": 3, "max_fee_per_blob_gas": 1, **fees}),
        ("authorization_list", 0, {"type": 4, **fees}),
    ):
        fields: dict[str, Any] = {**more, name: wrong}
        with pytest.raises(BlockError, match=f"{name} = {wrong}: must be a list"):
            Transaction(**fields)


def test_schedules_are_followed_where_nothing_else_is_known() -> None:
    block = block_of(BURN * 20 + "00", n_tx=5)
    waves = pn.Schedule.from_waves("by hand", [[0], [1], [2], [3], [4]])
    line = pn.Timeline(2, [1, 0, 1, 0, 0], [4, 0, 5, 2, 3], [5, 2, 6, 3, 4], 6)
    lanes = pn.Schedule.from_waves("by hand", [[0, 1, 2, 3, 4]], timeline=line)
    for executor, plan, order in (
        ("waves", waves, [0, 1, 2, 3, 4]), ("dataflow", waves, [0, 1, 2, 3, 4]), ("dataflow", lanes, [1, 3, 4, 0, 2]),
    ):  # fmt: skip
        done = pn.execute(block, executor, workers=2, schedule=plan)
        assert done.times is not None
        start, end = done.times.start[order], done.times.end[order]
        assert (start[1:] >= end[:-1]).all()
        done.check_equal(pn.execute(block, "serial"))


@given(st.data())
def test_whoever_a_timeline_has_ended_is_waited_for(data: st.DataObject) -> None:
    n, n_workers = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 4))
    free, worker, start, end = [0.0] * n_workers, [], [], []
    for _ in range(n):
        lane, gap, taken = data.draw(st.tuples(st.integers(0, n_workers - 1), st.integers(0, 2), st.integers(0, 3)))
        worker.append(lane)
        start.append(free[lane] + gap)
        end.append(free[lane] + gap + taken)
        free[lane] = end[-1]
    shuffled = data.draw(st.permutations(range(n)))
    columns = (np.array(column)[shuffled] for column in (worker, start, end)) if n else ([], [], [])
    line = pn.Timeline(n_workers, *columns, max(free, default=0.0))
    indptr, indices = ended_before(line)
    behind: list[set[int]] = [set() for _ in range(n)]
    for t in np.lexsort((line.end, line.start)).tolist():
        for p in indices[indptr[t] : indptr[t + 1]].tolist():
            behind[t] |= {p} | behind[p]
        assert t not in behind[t]
        longer = {u for u in range(n) if line.end[u] <= line.start[t] and line.end[u] < line.end[t]}
        assert longer <= behind[t] <= {u for u in range(n) if line.end[u] <= line.start[t]}
