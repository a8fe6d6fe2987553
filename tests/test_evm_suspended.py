"""Leaving the machine in the midst of a transaction and coming back: whoever asks, wherever, the outcome is the same."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from evm_peers import FORKS
from evm_programs import random_case
from test_evm_faults import BURN, MODEXP
from test_evm_lazy import Elsewhere
from test_evm_limits import CODE, EXECUTORS, WHO, block_of
from test_evm_programs import environment, transaction

import pevm_numba as pn
from pevm_numba._kernels.evm import layout
from pevm_numba._kernels.evm.blocks import work
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import ExecutionError
from pevm_numba.evm import worker as workers
from pevm_numba.evm.engine import Engine
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.plans import serial_plan
from pevm_numba.evm.worker import Worker
from pevm_numba.execute.evm_job import EvmJob
from pevm_numba.patience import apart

pytestmark = pytest.mark.usefixtures("always_parallel")


def chained(n_tx: int, slots: int, seed: int = 0, ask: str = MODEXP) -> pn.EvmBlock:
    """Each burns gas, asks, and writes what it has read of one slot, and its number, to another."""
    rng = random.Random(seed)
    code = BURN * 3 + "600035" + "54" + "604035" + "01" + ask + "602035" + "55" + "00"
    block = block_of(code, Fork.SHANGHAI)
    txs = []
    for i in range(n_tx):
        words = rng.randrange(slots), rng.randrange(slots), i + 1
        data = b"".join(word.to_bytes(32, "big") for word in words)
        txs.append(replace(block.transactions[0], sender=WHO[i % 5], nonce=i // 5, data=data))
    return pn.EvmBlock(block.env, txs, block.state)


def test_a_suspended_transaction_goes_on_where_it_was() -> None:
    block = chained(2, 1)
    expected = pn.execute(block, "serial")
    engine = Engine(block.env, block.transactions, block.state, records=True)
    engine.reset(serial_plan(2))
    worker, address = engine.workers[0], int(engine._block.ctypes.data)
    for t in range(2):
        work(worker.arena.address, address)
        assert worker.suspended
        assert worker.arena["asks"] == layout.ASKS_PRECOMPILE
        assert worker.arena["host_address"] == 5
        assert worker.arena["depth"] == 1
        assert worker.arena["position"] == t
        assert worker.answer()
    work(worker.arena.address, address)
    assert not worker.suspended
    assert engine.records["gas_used"].tolist() == expected.gas_used.tolist()
    assert engine.state() == expected.state


@pytest.mark.skipif(DISABLED, reason="some programs take minutes in plain Python")
@pytest.mark.parametrize("fork", FORKS)
def test_random_programs_may_stop_before_every_step(fork: str) -> None:
    stops = 0
    for seed in range(100, 120):
        case = random_case(seed, fork)
        state = {a: (one.balance, one.nonce, one.code, one.storage) for a, one in case.pre.items()}
        straight, stepped = Evm(environment(case), state), Evm(environment(case), state)
        seen: list[int] = []
        done = stepped.run(transaction(case), lambda arena, seen=seen: seen.append(arena["depth"]))
        assert done == straight.run(transaction(case))
        assert stepped.state() == straight.state()
        stops += len(seen)
    assert stops > 100


@pytest.mark.parametrize("n_workers", [1, 2, 4])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_everybody_may_ask_at_any_time(executor: str, n_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, real = random.Random(5), workers.call

    def slowly(*given: Any) -> tuple[bool, int, bytes]:
        time.sleep(rng.choice((0, 0, 0.0001, 0.002)))
        return real(*given)

    monkeypatch.setattr(workers, "call", slowly)
    for seed in range(2 if DISABLED else 12):
        block = chained(30, rng.choice((1, 2, 5, 40)), seed)
        serial = pn.execute(block, "serial")
        assert serial.success.all()
        known = {"access_list": serial.block_access_list()} if executor == "bal" else {}
        if executor in ("waves", "dataflow"):
            known = {"access": serial.observed}
        job = EvmJob(block, executor, workers=n_workers, **known)
        job.plan()
        for _ in range(3):
            job.collect(*job.run()).check_equal(serial)


def asks_when_it_runs_again() -> pn.EvmBlock:
    """The second transaction asks only when it runs again, with what it has written still unsettled; later ones read that."""
    writer = "5b" + BURN * 40 + "600160005500"
    second = "5b6000541561{:04x}57" + MODEXP + "5b60005460010160015500"
    start = "5f35600114" + "61{:04x}57" + "5f35600214" + "61{:04x}57"
    reader = BURN * 8 + "600154" + "602035" + "5500"
    at_writer = len(start.format(0, 0)) // 2 + len(reader) // 2
    at_second = at_writer + len(writer) // 2
    end = at_second + len("5b6000541561000057" + MODEXP) // 2
    block = block_of(start.format(at_writer, at_second) + reader + writer + second.format(end), Fork.SHANGHAI)
    kinds = [1, 2, *[0] * 20]
    txs = [
        replace(block.transactions[0], sender=WHO[min(i, 2)], nonce=max(0, i - 2), gas_limit=8_000_000,
                data=kind.to_bytes(32, "big") + (10 + i).to_bytes(32, "big"))
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    return pn.EvmBlock(block.env, txs, block.state)


@pytest.mark.skipif(DISABLED, reason="needs real threads")
def test_nobody_waits_for_a_value_of_whoever_waits_for_him() -> None:
    """Who asks first has all others leave Numba's threads: one who waited for the value would never do so."""
    block = asks_when_it_runs_again()
    serial = pn.execute(block, "serial")
    assert serial.success.all()
    assert serial.state[CODE].storage == {0: 1, 1: 2, **{10 + i: 2 for i in range(2, 22)}}
    nothing = pn.AccessSets.from_dicts([{}] * block.n_tx, n_keys=1)
    job, again = EvmJob(block, "optimistic", workers=4, access=nothing), 0
    job.plan()
    for _ in range(40):
        done = job.collect(*job.run())
        done.check_equal(serial)
        again += done.counters["aborts"]
    assert again > 0


@pytest.mark.skipif(DISABLED, reason="needs real threads")
def test_nobody_waits_for_a_value_of_whoever_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host raises ends the run, though others wait by then for what that transaction was to make anew."""
    block = asks_when_it_runs_again()
    nothing = pn.AccessSets.from_dicts([{}] * block.n_tx, n_keys=1)
    job, raised, failing = EvmJob(block, "optimistic", workers=2, access=nothing), list[Exception](), list[int]()
    job.plan()
    real = workers.call

    def fail(*given: Any) -> tuple[bool, int, bytes]:
        if job.engine.records["runs"][1] < 2:
            return real(*given)
        time.sleep(0.3)
        failing.append(1)
        raise OSError("no answer")

    def run_until_one_fails() -> None:
        try:
            for _ in range(200):
                job.run()
        except OSError as error:
            raised.append(error)

    monkeypatch.setattr(workers, "call", fail)
    thread = threading.Thread(target=run_until_one_fails, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert (len(failing), [str(error) for error in raised]) == (1, ["no answer"])


@pytest.mark.skipif(DISABLED, reason="needs real threads")
@pytest.mark.parametrize("executor", ["waves", "dataflow", "optimistic", "bal"])
def test_the_others_work_on_while_one_asks(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of("5f35600657" + "00" + "5b" + MODEXP + "00", Fork.SHANGHAI, n_tx=5)  # those that have data ask
    first = replace(block.transactions[0], data=b"\x01" * 32)
    block = pn.EvmBlock(block.env, [first, *block.transactions[1:]], block.state)
    serial = pn.execute(block, "serial")
    known = {"access_list": serial.block_access_list()} if executor == "bal" else {"access": serial.observed}
    job = EvmJob(block, executor, workers=2, **known)
    job.plan()
    real, waited = workers.call, []

    def when_the_others_have_run(*given: Any) -> tuple[bool, int, bytes]:
        for _ in range(3_000):
            if (job.engine.records["runs"][1:] > 0).all() and (job.engine.records["end"][1:] > 0).all():
                waited.append(given)
                break
            time.sleep(0.01)
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "call", when_the_others_have_run)
        job.collect(*job.run()).check_equal(serial)
    assert len(waited) == 1


@pytest.mark.parametrize("executor", EXECUTORS)
def test_no_native_library_is_needed(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recovers = "60805f5f37" + "6020608060805f60015afa50" + "60805160005500"
    block = block_of(recovers, Fork.SHANGHAI, n_tx=5)
    signed = bytes.fromhex(
        "456e9aea5e197a1f1af7a3e85a3212fa4049a3ba34c2289b4c860fc0b0c64ef3"
        "000000000000000000000000000000000000000000000000000000000000001c"
        "9242685bf161793cc25603c231bc2f568eb630ea16aa137d2664ac8038825608"
        "4f8ae3bd7535248d0bd448298cc2e2071e56992d0774dc340c368ae950852ada"
    )
    txs = [replace(tx, data=signed) for tx in block.transactions]
    block = pn.EvmBlock(block.env, txs, block.state)
    natively = pn.execute(block, "serial")
    assert natively.state[CODE].storage == {0: 0x7156526FBD7A3C72969B54F64E42C10FBB768C8A}
    monkeypatch.setattr(Worker, "_set_natives", lambda self: None)
    listed = natively.block_access_list() if executor == "bal" else None
    for _ in range(5):
        pn.execute(block, executor, workers=2, access_list=listed).check_equal(natively)


@pytest.mark.corpus
@pytest.mark.skipif(DISABLED, reason="too slow in plain Python")
@pytest.mark.parametrize("number", [9069000, 12459406, 19932148])
def test_a_real_block_finds_all_of_its_state_elsewhere(number: int) -> None:
    from evm_corpus import blocks

    block = blocks()[number]
    serial = pn.execute(block, "serial")
    for executor, n_workers in (("serial", 1), ("dataflow", 2), ("optimistic", 4), ("waves", 2), ("bal", 2)):
        known = {"access_list": serial.block_access_list()} if executor == "bal" else {}
        if executor in ("waves", "dataflow"):
            known = {"access": serial.observed}
        away = pn.EvmBlock(block.env, block.transactions, {}, source=Elsewhere(block.state, strict=False))
        done = pn.execute(away, executor, workers=n_workers, **known)
        assert done.receipts_root() == serial.receipts_root()
        assert done.keys == serial.keys
        assert done.observed == serial.observed
        assert done.change.keys == serial.change.keys
        assert np.array_equal(done.change.words, serial.change.words)
        assert done.change.codes == serial.change.codes
        assert executor == "bal" or done.fetches.slots > 100


@pytest.mark.skipif(DISABLED, reason="needs real threads")
def test_whoever_fails_apart_stops_the_others() -> None:
    stopped, begun, ended = threading.Event(), list[str](), list[str]()

    def waits() -> None:
        begun.append("waits")
        assert stopped.wait(30)
        ended.append("waits")

    def fails() -> None:
        raise ExecutionError("as expected")

    for functions in ([waits, fails], [fails, waits], [waits, waits, fails]):
        stopped.clear()
        with pytest.raises(ExecutionError, match="as expected"):
            apart(functions, stopped.set)
        assert stopped.is_set()
        assert ended == begun
