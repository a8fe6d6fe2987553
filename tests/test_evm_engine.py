"""Blocks in parallel: whatever the hints say, receipts, accesses and state are those of serial execution."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pevm_numba as pn
from pevm_numba._kernels.evm.layout import ADDS, DECLARED_BITS, QUIET, READS
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import AccessListError, BlockError
from pevm_numba.evm import engine
from pevm_numba.evm.arena import Room
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.plans import flow_plan, waves_plan
from pevm_numba.evm.transaction import Transaction
from pevm_numba.evm.world import AccountState
from pevm_numba.execute import evm_job
from pevm_numba.execute.evm_job import EvmJob, predecessors
from pevm_numba.keys import KeyTable
from pevm_numba.machine.ops import Field, Mode
from pevm_numba.schedule.dependencies import dependencies
from pevm_numba.storage.world import StoreSource

pytestmark = pytest.mark.usefixtures("always_parallel")
PEOPLE = [bytes([i]) * 20 for i in range(1, 5)]
MINER = b"\xcc" * 20


def push(value: int) -> str:
    return f"73{value:040x}"


def at(number: int) -> bytes:
    """Address of a contract."""
    return bytes([0xC0, number]) + bytes(18)


#: What contracts do with the words of their call data, a at 0 and b at 32.
COUNTER = "600054600101600055"  # slot 0 += 1
STORE = "6020356000355500"  # slot a := b
COPY = "60003554602035550000"  # slot b := slot a
BALANCE = "6000353160005500"  # slot 0 := balance of a
MINERS = "413160015500"  # slot 1 := balance of the fee recipient
HASH = "60003560a01c5060003580546001016000553f60025500"  # slot 0 += slot a + 1, slot 2 := code hash of a
PAY = "6000600060006000602035600035620186a0f100"  # pays b to a
SUICIDE = "6001600755600035ff"  # slot 7 := 1, gone, all to a
#: Creates, with salt a, a contract that has slot 3 and destroys itself for whoever calls it: the same place, again and again.
_CHILD = "60056003556002600c60003960026000f3" + "33ff"
FACTORY = f"{'72' + _CHILD}600052600035{'6013'}600d6000f500"
THROWS = "6001600055fe"
#: Slot b := 1, but gone, all to a, if b is 0.
FICKLE = "602035" + "80600b57" + "600035ff" + "5b6001905500"
CODES = (COUNTER, STORE, COPY, BALANCE, MINERS, HASH, PAY, SUICIDE, FACTORY, THROWS, FICKLE)


def state() -> dict[bytes, AccountState]:
    world = {person: AccountState(10**20, 0, b"", {}) for person in PEOPLE}
    for number, code in enumerate(CODES):
        world[at(number)] = AccountState(10**6, 1, bytes.fromhex(code), {0: 5, 3: 9} if number % 2 else {})
    return world


PLACES = [*PEOPLE, MINER, *map(at, range(len(CODES)))]
words = st.one_of(st.integers(0, 3), st.sampled_from(PLACES).map(lambda place: int.from_bytes(place, "big")))
calls = st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(PLACES), st.sampled_from([0, 0, 1, 500]), words, words,
    st.sampled_from([30_000, 60_000, 200_000]),
)  # fmt: skip


def block_of(made: list[tuple[bytes, bytes, int, int, int, int]], fork: Fork) -> EvmBlock:
    nonces = dict.fromkeys(PEOPLE, 0)
    txs = []
    for sender, to, value, a, b, gas in made:
        data = a.to_bytes(32, "big") + b.to_bytes(32, "big")
        txs.append(
            Transaction(gas_price=10, gas_limit=gas, to=to, value=value, data=data, sender=sender, nonce=nonces[sender])
        )
        nonces[sender] += 1
    env = BlockEnv(
        number=5, timestamp=9, fork=fork, fee_recipient=MINER, gas_limit=10**8, base_fee=7 if fork >= Fork.LONDON else None,
        excess_blob_gas=0 if fork >= Fork.CANCUN else None,
    )  # fmt: skip
    return EvmBlock(env, txs, state())


FORKS = [Fork.FRONTIER, Fork.SPURIOUS, Fork.BERLIN, Fork.LONDON, Fork.CANCUN, Fork.PRAGUE]
EXECUTORS = ("waves", "dataflow", "optimistic", "bal")
relaxed = settings(
    max_examples=2 if DISABLED else 40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip


@relaxed
@given(st.lists(calls, max_size=4 if DISABLED else 24), st.sampled_from(FORKS), st.integers(1, 3))
def test_every_executor_is_serial(made: list[tuple[bytes, bytes, int, int, int, int]], fork: Fork, workers: int) -> None:
    block = block_of(made, fork)
    serial = pn.execute(block, "serial")
    for executor in EXECUTORS:
        done = pn.execute(block, executor, workers=workers)
        done.check_equal(serial)
        assert done.counters["executions"] == len(made) + done.counters["reexecuted"]
        if executor in ("waves", "dataflow", "bal"):
            assert done.counters["aborts"] == 0, executor


@relaxed
@given(st.lists(calls, max_size=4 if DISABLED else 24), st.sampled_from(FORKS), st.integers(0, 99))
def test_wrong_hints_cost_time_only(made: list[tuple[bytes, bytes, int, int, int, int]], fork: Fork, seed: int) -> None:
    block, missed = block_of(made, fork), (0.3, 1.0)[seed % 2]
    serial = pn.execute(block, "serial")
    wrong = pn.degrade(serial.observed, miss_rate=missed, extra_rate=0.3, seed=seed)
    for executor in ("waves", "dataflow", "optimistic"):
        for workers in (1, 2):
            pn.execute(block, executor, workers=workers, access=wrong).check_equal(serial)


@relaxed
@given(st.lists(calls, max_size=4 if DISABLED else 24), st.sampled_from(FORKS), st.integers(0, 999))
def test_whatever_runs_first_the_outcome_is_serial(
    made: list[tuple[bytes, bytes, int, int, int, int]], fork: Fork, seed: int
) -> None:
    """Nothing is known, and by their guessed costs late ones run before early ones; nothing is left of an earlier run."""
    block = block_of(made, fork)
    serial = pn.execute(block, "serial")
    nothing = pn.AccessSets.from_dicts([{}] * block.n_tx, n_keys=1)
    cost = np.random.default_rng(seed).permutation(block.n_tx) + 1.0
    for workers in (1, 2):
        job = EvmJob(block, "dataflow", workers=workers, access=nothing, cost=cost)
        job.plan()
        job.run()
        job.collect(*job.run()).check_equal(serial)


def with_modes(access: pn.AccessSets, changed: dict[int, int]) -> pn.AccessSets:
    """Access sets of which some entries have other modes, or with mode 0 are left out."""
    modes = access.modes.copy()
    modes[list(changed)] = list(changed.values())
    kept = modes != 0
    indptr = np.concatenate([[0], np.cumsum(kept)])[access.indptr]
    spoilt = pn.AccessSets.from_arrays(access.n_keys, indptr, access.keys[kept], modes[kept])
    return dataclasses.replace(spoilt, table=access.table)


def backwards(block: EvmBlock, access: pn.AccessSets, workers: int, executor: str = "dataflow") -> pn.EvmExecution:
    """The block where, of all whom these sets leave free to go, the last goes first."""
    job = EvmJob(block, executor, workers=workers, access=access, cost=np.arange(1.0, block.n_tx + 1) ** 3)
    job.plan()
    return job.collect(*job.run())


@relaxed
@given(st.lists(calls, min_size=2, max_size=4 if DISABLED else 24), st.sampled_from(FORKS), st.data())
def test_doubt_comes_with_the_first_that_does_what_was_not_known(
    made: list[tuple[bytes, bytes, int, int, int, int]], fork: Fork, data: st.DataObject
) -> None:
    block = block_of(made, fork)
    serial = pn.execute(block, "serial")
    entries = st.integers(0, serial.observed.n_accesses - 1)
    changed = data.draw(st.dictionaries(entries, st.sampled_from([0, Mode.READ, Mode.WRITE, Mode.CREDIT]), max_size=2))
    hints = with_modes(serial.observed, changed)
    for executor, workers in (("dataflow", 1), ("dataflow", 2), ("waves", 2)):
        backwards(block, hints, workers, executor).check_equal(serial)


def test_who_keeps_to_what_was_known_is_not_looked_at_again() -> None:
    """Unless he went through all slots of an account, which is no access that sets could name."""
    made = [(PEOPLE[i % 4], at(0) if i % 8 == 7 else at(1), 0, i, i, 100_000) for i in range(4 if DISABLED else 32)]
    block = block_of(made, Fork.LONDON)
    serial = pn.execute(block, "serial")
    for executor in ("dataflow", "waves"):
        done = backwards(block, serial.observed, 2, executor)
        done.check_equal(serial)
        assert (done.counters["validations"], done.counters["aborts"]) == (0, 0), executor
    own = int(np.flatnonzero(serial.observed.modes[: serial.observed.indptr[1]] == Mode.READ | Mode.WRITE)[0])
    done = backwards(block, with_modes(serial.observed, {own: 0}), 1)
    done.check_equal(serial)
    assert done.counters["validations"] > 0
    goes = block_of([*made, (PEOPLE[0], at(7), 0, 1, 0, 100_000)], Fork.LONDON)
    serial = pn.execute(goes, "serial")
    done = backwards(goes, serial.observed, 1)
    done.check_equal(serial)
    assert (done.counters["validations"], done.counters["aborts"]) == (1, 0)


def test_what_is_known_of_one_is_not_known_of_another() -> None:
    """The last reads what the first reads, too, which is known of the first only; the one between them changes it."""
    made = [(PEOPLE[i], at(2), 0, *way, 100_000) for i, way in enumerate([(3, 4), (0, 3), (3, 5)])]
    block = block_of(made, Fork.LONDON)
    block = EvmBlock(block.env, block.transactions, {**block.state, at(2): block.state[at(2)]._replace(storage={0: 5, 3: 9})})
    serial = pn.execute(block, "serial")
    sets = serial.observed
    assert sets.table is not None
    shared = [e for e in range(sets.indptr[2], sets.indptr[3]) if sets.table[int(sets.keys[e])] == (at(2), Field.STORAGE, 3)]
    hints = with_modes(sets, dict.fromkeys(shared, 0))
    job = EvmJob(block, "dataflow", workers=1, access=hints, cost=np.array([8.0, 1.0, 4.0]))
    job.plan()
    done = job.collect(*job.run())
    done.check_equal(serial)
    assert (len(shared), done.counters["aborts"]) == (1, 1)


PAID_AND_PAYING = [(PEOPLE[0], PEOPLE[1], 500, 0, 0, 30_000), (PEOPLE[1], PEOPLE[2], 1, 0, 0, 30_000)]


@pytest.mark.parametrize(("made", "key", "tx", "mode"), [
    ([(PEOPLE[0], at(2), 0, 0, 3, 100_000), (PEOPLE[1], at(2), 0, 3, 5, 100_000)], (at(2), Field.STORAGE, 3), 0, Mode.READ),
    (PAID_AND_PAYING, (PEOPLE[1], Field.BALANCE, 0), 1, Mode.CREDIT),
])  # fmt: skip
def test_who_does_more_to_a_key_than_was_known_is_in_doubt(made, key, tx, mode) -> None:
    """One who writes is known to read only, one who reads to credit only, so that the second waits for nobody."""
    block = block_of(made, Fork.LONDON)
    block = EvmBlock(block.env, block.transactions, {**block.state, at(2): block.state[at(2)]._replace(storage={0: 5, 3: 9})})
    serial = pn.execute(block, "serial")
    sets = serial.observed
    assert sets.table is not None
    entry = next(e for e in range(sets.indptr[tx], sets.indptr[tx + 1]) if sets.table[int(sets.keys[e])] == key)
    hints = with_modes(sets, {entry: mode})
    assert predecessors(dependencies(hints))[1].tolist() == []
    done = backwards(block, hints, 1)
    done.check_equal(serial)
    assert done.counters["aborts"] == 1


def test_two_names_of_one_key_are_no_knowledge() -> None:
    """Sets that call a balance slot 0 here and slot 1 there, so that nobody waits; the second goes first."""
    block = block_of(PAID_AND_PAYING, Fork.LONDON)
    serial, sets = pn.execute(block, "serial"), pn.execute(block, "serial").observed
    assert sets.table is not None
    balance = next(int(k) for k in range(sets.n_keys) if sets.table[k][:2] == (PEOPLE[1], Field.BALANCE))
    keys = np.where((sets.keys == balance) & (np.arange(sets.n_accesses) >= sets.indptr[1]), sets.n_keys, sets.keys)
    table = KeyTable.from_keys([*sets.table, (PEOPLE[1], Field.BALANCE, 1)])
    order = np.lexsort((keys, np.repeat([0, 1], np.diff(sets.indptr))))
    twice = pn.AccessSets.from_arrays(sets.n_keys + 1, sets.indptr, keys[order], sets.modes[order])
    hints = dataclasses.replace(twice, table=table)
    assert predecessors(dependencies(hints))[1].tolist() == []
    done = backwards(block, hints, 1)
    done.check_equal(serial)
    assert done.counters["aborts"] == 1


@pytest.mark.parametrize(("made", "key", "mode"), [
    ([(PEOPLE[0], at(1), 0, 3, 7, 100_000), (PEOPLE[1], at(1), 0, 5, 8, 100_000)], None, 0),
    ([(PEOPLE[0], at(1), 0, 3, 7, 100_000), (PEOPLE[1], at(4), 0, 0, 0, 100_000)], (MINER, Field.BALANCE, 0), Mode.CREDIT),
    ([(PEOPLE[0], at(2), 0, 0, 3, 100_000), (PEOPLE[1], at(2), 0, 3, 5, 100_000)], (at(2), Field.STORAGE, 3), 0),
], ids=["nobody looks", "at what all earn", "at what one has changed"])  # fmt: skip
def test_a_change_that_nobody_was_to_look_for_is_found_by_who_does(made, key, mode) -> None:
    """It stays with who made it, and whoever looks for it in vain is in doubt, and then finds it."""
    block = block_of(made, Fork.LONDON)
    block = EvmBlock(block.env, block.transactions, {**block.state, at(2): block.state[at(2)]._replace(storage={0: 5, 3: 9})})
    serial = pn.execute(block, "serial")
    sets = serial.observed
    assert sets.table is not None
    entries = [e for e in range(sets.indptr[1], sets.indptr[2]) if key is not None and sets.table[int(sets.keys[e])] == key]
    job = EvmJob(block, "dataflow", access=with_modes(sets, dict.fromkeys(entries, mode)), cost=np.array([2.0, 1.0]))
    job.plan()
    done = job.collect(*job.run())
    done.check_equal(serial)
    assert (len(entries), done.counters["aborts"]) == ((0, 0) if key is None else (1, 1))
    assert job._plan.credited >= 0


#: Slot a := b, but gone, all to who began it, if a is 0.
LEAVER = "600035" + "8060095732ff" + "5b602035905500"


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("executor", ["dataflow", "waves"])
def test_who_goes_through_all_slots_is_looked_at_once(executor: str, workers: int) -> None:
    """Slot 3 is accessed by the first only, who makes it 0; the second destroys the contract, and finds nothing in it."""
    made = [(PEOPLE[0], at(20), 0, 3, 0, 100_000), (PEOPLE[1], at(20), 0, 0, 0, 100_000)]
    made += [(PEOPLE[i % 2 + 2], at(1), 0, i, i, 100_000) for i in range(0 if DISABLED else 20)]
    block = block_of(made, Fork.BERLIN)
    gone = AccountState(10, 1, bytes.fromhex(LEAVER), {3: 9})
    block = EvmBlock(block.env, block.transactions, {**block.state, at(20): gone})
    serial = pn.execute(block, "serial")
    assert at(20) not in serial.state
    job = EvmJob(block, executor, workers=workers, access=serial.observed)
    job.plan()
    for _ in range(2 if DISABLED else 200):  # whoever ended later once looked at it again, when some values were new already
        done = job.run()[0]
        assert (done["validations"], done["aborts"]) == (1, 0)
    job.collect(*job.run()).check_equal(serial)


@pytest.mark.skipif(DISABLED, reason="plain Python has one worker")
@pytest.mark.parametrize("executor", ["dataflow", "waves", "bal", "optimistic"])
def test_a_long_run_leaves_the_threads_of_openmp_alone(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entered from a second thread, it would be slow to begin anything afterwards: blocks of 0.3 ms took 15 % longer."""
    block = block_of([(PEOPLE[i % 4], at(1), 0, i, i, 100_000) for i in range(40)], Fork.LONDON)
    serial = pn.execute(block, "serial")
    monkeypatch.setattr(engine, "_LONG_GAS", (0, 0))
    monkeypatch.setattr(engine.Engine, "_together", None)
    for _ in range(5):
        pn.execute(block, executor, workers=2).check_equal(serial)


def test_costs_that_are_not_the_blocks_are_refused() -> None:
    """Of a list, too: it runs the largest transactions first."""
    block = block_of([(PEOPLE[i], at(1), 0, i, i, 100_000) for i in range(4)], Fork.LONDON)
    serial = pn.execute(block, "serial")
    for executor, known in (("bal", {"access_list": serial.block_access_list()}), ("dataflow", {"access": serial.observed})):
        job = EvmJob(block, executor, workers=2, cost=np.ones(3), **known)
        with pytest.raises(BlockError, match=r"cost has shape \(3,\)"):
            job.plan()
    job = EvmJob(block, "bal", workers=2, cost=np.array([1.0, 9.0, 2.0, 9.0]), access_list=serial.block_access_list())
    job.plan()
    job.collect(*job.run()).check_equal(serial)
    assert job._plan.order.tolist() == [1, 3, 2, 0]


def test_plans_tell_what_nobody_looks_for() -> None:
    """Key 0 is the code of an account that goes, 1 and 2 are its slots, 3 and 4 of another; many add to 5, some to 6."""
    accounts, fields = [at(1)] * 3 + [at(2)] * 2 + PEOPLE[:2], [Field.CODE, *[Field.STORAGE] * 4, *[Field.BALANCE] * 2]
    table = KeyTable.from_keys([(a, f, i if f == Field.STORAGE else 0) for i, (a, f) in enumerate(zip(accounts, fields))])
    rows = [{0: Mode.READ | Mode.WRITE, 3: Mode.READ, 5: Mode.CREDIT}, {1: Mode.WRITE, 5: Mode.CREDIT, 6: Mode.CREDIT},
            {4: Mode.WRITE, 5: Mode.CREDIT, 6: Mode.CREDIT}, {4: Mode.READ, 2: Mode.READ}]  # fmt: skip
    sets = pn.AccessSets.from_dicts(rows, n_keys=7)
    plan = waves_plan(np.arange(4)).knowing(sets.indptr, sets.keys.astype(np.int64), sets.modes, table)
    declared, credited = plan.declared_by(np.arange(7) * 10)
    said = [{(entry >> DECLARED_BITS) // 10: entry % (1 << DECLARED_BITS) for entry in declared[a:b].tolist()}
            for a, b in pairwise(plan.declared_at.tolist())]  # fmt: skip
    assert said == [
        {0: READS | ADDS | QUIET, 3: READS | QUIET, 5: ADDS | QUIET}, {1: READS | ADDS, 5: ADDS | QUIET, 6: ADDS},
        {4: READS | ADDS, 5: ADDS | QUIET, 6: ADDS}, {4: READS, 2: READS},
    ]  # fmt: skip
    assert credited == 50
    nobody = waves_plan(np.arange(1)).knowing(np.zeros(2, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8), table)
    assert nobody.declared_by(np.arange(7))[1] == -1


def test_a_slot_that_came_before_a_contract_went_is_gone() -> None:
    """The transaction that destroys it runs first, and sees no slot to clear."""
    target, word = at(CODES.index(FICKLE)), int.from_bytes(PEOPLE[3], "big")  # an heir that the first does not pay
    block = block_of([(PEOPLE[0], target, 0, 0, 9, 60_000), (PEOPLE[1], target, 0, word, 0, 60_000)], Fork.BERLIN)
    job = EvmJob(
        block, "dataflow", access=pn.AccessSets.from_dicts([{}, {}], n_keys=1), cost=np.array([1.0, 2.0])
    )
    job.plan()
    done = job.collect(*job.run())
    assert done.counters["aborts"] == 1
    assert target not in done.state
    done.check_equal(pn.execute(block, "serial"))


@relaxed
@given(st.lists(calls, max_size=4 if DISABLED else 16), st.sampled_from(FORKS))
def test_one_by_one_is_as_all_together(made: list[tuple[bytes, bytes, int, int, int, int]], fork: Fork) -> None:
    block = block_of(made, fork)
    machine = Evm(block.env, block.state)
    outcomes = [machine.run(tx) for tx in block.transactions]
    serial = pn.execute(block, "serial")
    assert [one.gas_used for one in outcomes] == serial.gas_used.tolist()
    assert [one.success for one in outcomes] == serial.success.tolist()
    assert machine.state() == dict(serial.after_transactions)


@relaxed
@given(st.lists(calls, max_size=4 if DISABLED else 24), st.sampled_from(FORKS))
def test_accesses_tell_all_dependencies(made: list[tuple[bytes, bytes, int, int, int, int]], fork: Fork) -> None:
    """The law: what a transaction finds depends only on those before it that it conflicts with."""
    block = block_of(made, fork)
    access = pn.execute(block, "serial").observed
    sets = [access[t] for t in range(block.n_tx)]
    indptr, preds = predecessors(dependencies(access))
    reach: list[set[int]] = []
    for t in range(block.n_tx):
        direct = set(preds[indptr[t] : indptr[t + 1]].tolist())
        reach.append(direct.union(*(reach[p] for p in direct)))
        alone = (Mode.READ, Mode.CREDIT)
        for p in range(t):
            both = [(sets[p][k], sets[t][k]) for k in sets[p] if k in sets[t]]
            assert all(a == b and a in alone for a, b in both) or p in reach[t]


def example() -> EvmBlock:
    """A block in which much depends on what comes before."""
    made = [
        (PEOPLE[i % 4], at(i % len(CODES)), i % 3, int.from_bytes(PLACES[i % len(PLACES)], "big"), i % 4, 200_000)
        for i in range(6 if DISABLED else 40)
    ]
    return block_of(made, Fork.LONDON)


def test_a_wrong_access_list_is_found() -> None:
    block = example()
    listed = pn.execute(block, "serial").block_access_list()
    values = listed.values.copy()
    values[-1, -1] ^= 1
    wrong = dataclasses.replace(listed, values=values)
    with pytest.raises(AccessListError, match=r"transaction \d+"):
        pn.execute(block, "bal", access_list=wrong, workers=2)
    keep = np.ones(listed.n_changes, bool)
    keep[listed.n_changes // 2] = False
    sizes = np.diff(listed.indptr)
    sizes[np.searchsorted(listed.indptr, listed.n_changes // 2, side="right") - 1] -= 1
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    missing = dataclasses.replace(listed, indptr=indptr, key=listed.key[keep], values=listed.values[keep])
    with pytest.raises(AccessListError, match=r"transaction \d+"):
        pn.execute(block, "bal", access_list=missing, workers=2)
    last = listed.key[listed.indptr[-2] :]
    more = next(key for key in range(len(listed.keys)) if key not in last)
    place = int(listed.indptr[-2] + np.searchsorted(last, more))
    surplus = dataclasses.replace(
        listed, indptr=np.append(listed.indptr[:-1], listed.n_changes + 1), key=np.insert(listed.key, place, more),
        values=np.insert(listed.values, place, 1, axis=0),
    )  # fmt: skip
    with pytest.raises(AccessListError, match=rf"transaction {block.n_tx - 1},"):
        pn.execute(block, "bal", access_list=surplus, workers=2)


def test_an_access_list_with_code_that_nobody_knows_is_found() -> None:
    made = [(PEOPLE[0], at(8), 0, 1, 0, 200_000), *[(PEOPLE[i], at(5), 0, 7, 0, 200_000) for i in (1, 2, 3)]]
    block = block_of(made, Fork.LONDON)
    listed = pn.execute(block, "serial").block_access_list()
    codes = [i for i, key in enumerate(listed.key) if listed.keys[int(key)][1] == Field.CODE]
    assert codes
    child = listed.keys[int(listed.key[codes[0]])][0]
    calls = block_of([made[0], (PEOPLE[1], child, 0, 0, 0, 60_000)], Fork.LONDON)
    listed = pn.execute(calls, "serial").block_access_list()
    values = listed.values.copy()
    at_code = next(i for i, key in enumerate(listed.key) if listed.keys[int(key)][1] == Field.CODE)
    values[at_code] = 0xAB
    for workers in (1, 2):
        with pytest.raises(AccessListError, match=r"transaction \d"):
            pn.execute(calls, "bal", access_list=dataclasses.replace(listed, values=values), workers=workers)


def test_an_access_list_that_cannot_be_is_refused() -> None:
    listed = pn.execute(example(), "serial").block_access_list()
    n = listed.n_changes
    for change, text in (
        ({"key": np.full(n, len(listed.keys), np.int32)}, r"key\[0\] = "),
        ({"key": np.full(n, -1, np.int32)}, r"key\[0\] = -1"),
        ({"key": np.zeros(n, np.int32)}, "distinct and ascending"),
        ({"values": listed.values[:-1]}, "values"),
        ({"indptr": listed.indptr[:-1]}, "indptr"),
        ({"codes": ("00",)}, r"codes\[0\]"),
        ({"keys": 5}, "keys"),
    ):
        with pytest.raises(BlockError, match=text):
            dataclasses.replace(listed, **change)
    with pytest.raises(AccessListError, match="access_list of"):
        pn.execute(block_of([], Fork.LONDON), "bal", access_list=listed)


def test_a_schedule_is_followed_if_it_keeps_block_order() -> None:
    block = example()
    serial = pn.execute(block, "serial")
    waves = pn.Schedule.from_waves("by hand", [[t] for t in range(block.n_tx)])
    pn.execute(block, "waves", schedule=waves, workers=2).check_equal(serial)
    together = pn.Schedule.from_waves("by hand", [list(range(block.n_tx))])
    pn.execute(block, "waves", schedule=together, workers=2).check_equal(serial)
    order = list(range(block.n_tx))[::-1]
    backwards = pn.Schedule.from_waves("by hand", [order], serial_order=order)
    with pytest.raises(BlockError, match="block order"):
        pn.execute(block, "dataflow", schedule=backwards)
    with pytest.raises(BlockError, match="only bal"):
        pn.execute(block, "dataflow", access_list=serial.block_access_list())


def test_a_block_that_may_not_be_is_refused() -> None:
    block = example()
    txs = list(block.transactions)
    txs[3] = dataclasses.replace(txs[3], nonce=7)
    for executor in ("serial", "optimistic"):
        with pytest.raises(BlockError, match=r"block [0-9]+: transaction 3 refused: nonce = 7: the sender's is [0-6]$"):
            pn.execute(EvmBlock(block.env, txs, block.state), executor, workers=2)
    poor = {**block.state, PEOPLE[1]: AccountState(5, 0, b"", {})}
    for executor in ("serial", "optimistic"):
        with pytest.raises(BlockError, match=r"transaction 1 refused: the sender cannot pay [0-9]+ wei: has 5$"):
            pn.execute(EvmBlock(block.env, block.transactions, poor), executor, workers=2)


def test_blocks_follow_each_other() -> None:
    """The state after a block is the state before the next, and its root is that of all accounts."""
    block = example()
    half = block.n_tx // 2
    first = pn.execute(EvmBlock(block.env, block.transactions[:half], block.state), "optimistic", workers=2)
    second = pn.execute(EvmBlock(block.env, block.transactions[half:], first.state), "dataflow", workers=2)
    whole = pn.execute(block, "serial")
    assert dict(second.state) == dict(whole.state)
    assert second.state_root() == whole.state_root() != first.state_root()
    assert [*first.gas_used, *second.gas_used] == whole.gas_used.tolist()


def test_withdrawals_are_paid_when_all_transactions_have_run() -> None:
    block = block_of([(PEOPLE[0], PEOPLE[1], 1, 0, 0, 60_000)], Fork.CANCUN)
    env = dataclasses.replace(block.env, withdrawals=((1, 2, PEOPLE[3], 5), (2, 2, b"\xdd" * 20, 7)))
    for executor in ("serial", "optimistic"):
        done = pn.execute(EvmBlock(env, block.transactions, block.state), executor, workers=2)
        assert done.state[PEOPLE[3]].balance == done.after_transactions[PEOPLE[3]].balance + 5 * 10**9
        assert done.state[b"\xdd" * 20] == (7 * 10**9, 0, b"", {})
        assert b"\xdd" * 20 not in done.after_transactions


def test_costs_are_those_of_serial_execution() -> None:
    block = example()
    assert pn.transaction_costs(block, "gas").tolist() == pn.execute(block, "serial").gas_used.tolist()
    times = pn.transaction_costs(block, "ns", repeat=3)
    assert times.shape == (block.n_tx,)
    assert (times > 0).all()
    assert pn.transaction_costs(block, "unit").tolist() == [1] * block.n_tx
    sizes = [len(one) + 1 for one in pn.execute(block, "serial").observed]
    assert pn.transaction_costs(block, "accesses").tolist() == sizes
    with pytest.raises(BlockError, match="an EVM block has no micro-ops"):
        pn.transaction_costs(block, "ops")
    with pytest.raises(BlockError, match="does not know the chain's gas"):
        pn.transaction_costs(block, "chain-gas")
    with pytest.raises(BlockError, match="oracle = 'declared' of an EVM block"):
        pn.access_sets(block, "declared")
    with pytest.raises(BlockError, match="fork of an EVM block decides"):
        pn.execute(block, "serial", gas="berlin")  # type: ignore[call-overload]


def test_what_is_too_small_or_a_chain_stays_serial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evm_job, "LEAST_WORK", 300_000)
    monkeypatch.setattr(evm_job, "LEAST_GAIN", 1.1)
    few = block_of([(PEOPLE[0], PEOPLE[1], 1, 0, 0, 60_000)] * 3, Fork.LONDON)
    chain = block_of([(PEOPLE[0], at(0), 0, 0, 0, 60_000)] * 20, Fork.LONDON)
    for block, text in ((few, "guessed work"), (chain, "dependencies allow 1.0")):
        done = pn.execute(block, "dataflow", workers=2)
        assert (done.counters["workers"], text in done.reason) == (1, not DISABLED), done.reason
        done.check_equal(pn.execute(block, "serial"))
        assert pn.execute(block, "bal", workers=2).counters["workers"] == (1 if DISABLED else 2)


def test_a_block_has_no_more_gas_and_blobs_than_it_may() -> None:
    block = example()
    used = int(pn.execute(block, "serial").gas_used[:5].sum())
    env = dataclasses.replace(block.env, gas_limit=used + 200_000)
    short = EvmBlock(env, block.transactions[:6], block.state)
    pn.execute(short, "optimistic", workers=2)
    env = dataclasses.replace(block.env, gas_limit=used + 199_999)
    for executor in ("serial", "optimistic"):
        with pytest.raises(BlockError, match="transaction 5 refused: gas_limit = 200000: the block has 199999 left"):
            pn.execute(EvmBlock(env, block.transactions[:6], block.state), executor, workers=2)
    blobs = tuple(b"\x01" + bytes([i]) * 31 for i in range(4))
    cancun = block_of([], Fork.CANCUN)
    txs = [
        Transaction(
            type=3, chain_id=1, nonce=n, gas_limit=21_000, to=PEOPLE[1], sender=PEOPLE[0], max_fee_per_gas=10,
            max_priority_fee_per_gas=1, max_fee_per_blob_gas=10, blob_versioned_hashes=blobs,
        )
        for n in range(2)
    ]  # fmt: skip
    pn.execute(EvmBlock(cancun.env, txs[:1], cancun.state), "serial")
    with pytest.raises(BlockError, match="8 blobs: a block has 6 at most"):
        pn.execute(EvmBlock(cancun.env, txs, cancun.state), "serial")
    wrong = EvmBlock(dataclasses.replace(cancun.env, chain_id=5), txs[:1], cancun.state)
    with pytest.raises(BlockError, match="transaction 0 refused: chain_id = 1: the block's is 5"):
        pn.execute(wrong, "serial")


def test_tables_grow_when_they_are_full() -> None:
    """Blocks that make more keys, notes and logs than there is room for at first are run again in a larger arena."""
    # logs, slot gas := gas, again while gas > 40,000
    loop = "5b" + 3 * "600060006000a1" + "5a8055" + "619c405a11600057" + "00"
    code = bytes.fromhex(loop)
    world = {PEOPLE[0]: AccountState(10**24, 0, b"", {}), at(0): AccountState(0, 1, code, {})}
    env = BlockEnv(number=5, timestamp=9, fork=Fork.BERLIN, fee_recipient=MINER, gas_limit=10**10)
    txs = [
        Transaction(gas_price=10, gas_limit=5_000_000, to=at(0), sender=PEOPLE[0], nonce=n)
        for n in range(2 if DISABLED else 12)
    ]
    block = EvmBlock(env, txs, world)
    job = EvmJob(block, "optimistic", workers=2)
    job.engine._make(Room(keys=64, notes=64, cells=64, logs=64, slots=64, journal=64))
    job.plan()
    done = job.collect(*job.run())
    done.check_equal(pn.execute(block, "serial"))
    assert job.engine.arena.room.notes > 64


@relaxed
@given(st.lists(calls, min_size=2, max_size=4 if DISABLED else 20), st.integers(0, 999))
def test_who_is_ready_goes_first_by_rank(made: list[tuple[bytes, bytes, int, int, int, int]], seed: int) -> None:
    """Of one worker the order is that of a plain list of who is ready, of those from the start and of those who waited."""
    block = block_of(made, Fork.LONDON)
    access = pn.execute(block, "serial").observed
    cost = np.random.default_rng(seed).permutation(block.n_tx) + 1.0
    job = EvmJob(block, "dataflow", workers=1, access=access, cost=cost)
    job.plan()
    job.run()
    plan, left = job._plan, set(range(block.n_tx))
    awaited, order = plan.awaited.copy(), []
    while left:
        t = min((t for t in left if awaited[t] == 0), key=lambda t: plan.ranks[t])
        left.remove(t)
        order.append(t)
        for follower in plan.followers[plan.followers_at[t] : plan.followers_at[t + 1]]:
            awaited[follower] -= 1
    assert np.argsort(job.engine.records["begin"], kind="stable").tolist() == order


#: So little that a run of a few transactions ends in the midst of it and begins anew with more.
SCARCE = Room(notes=8, cells=16)


def test_what_is_known_is_so_in_larger_tables_too() -> None:
    made = [(PEOPLE[i % 4], at(1), 0, i, i, 100_000) for i in range(4 if DISABLED else 32)]
    block = block_of(made, Fork.LONDON)
    serial = pn.execute(block, "serial")
    job = EvmJob(block, "dataflow", workers=2, access=serial.observed, cost=np.arange(1.0, block.n_tx + 1))
    job.engine._make(SCARCE)
    job.plan()
    done = job.collect(*job.run())
    done.check_equal(serial)
    assert job.engine.arena.room.notes > SCARCE.notes
    assert done.counters["validations"] == 0


def test_a_right_list_is_right_in_larger_tables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots that a run fetches before there is no room have other numbers afterwards, and so may those in the list."""
    block = block_of([(PEOPLE[0], at(2), 0, 1, 2, 100_000), (PEOPLE[1], at(1), 0, 1, 9, 100_000)], Fork.BERLIN)
    block = EvmBlock(block.env, block.transactions, {**block.state, at(2): block.state[at(2)]._replace(storage={1: 7, 3: 9})})
    serial = pn.execute(block, "serial")
    whole = serial.block_access_list()
    used, key = np.unique(whole.key, return_inverse=True)
    listed = dataclasses.replace(whole, keys=KeyTable.from_keys([whole.keys[int(k)] for k in used]), key=key.astype(np.int32))
    store = pn.MemoryStore()
    pn.put_world(store, block.state)
    monkeypatch.setattr(engine, "room_for", lambda *_: SCARCE)
    job = EvmJob(EvmBlock(block.env, block.transactions, {}, source=StoreSource(store)), "bal", access_list=listed)
    job.plan()
    done = job.collect(*job.run())
    assert job.engine.arena.room.notes > SCARCE.notes
    assert done.receipts == serial.receipts


def test_sets_that_are_new_or_of_state_that_is_elsewhere_are_not_taken_for_known() -> None:
    made = [(PEOPLE[i % 4], at(1), 0, i, i, 100_000) for i in range(6)]
    block = block_of(made, Fork.LONDON)
    serial = pn.execute(block, "serial")
    sets = serial.observed
    assert sets.table is not None
    copy = dataclasses.replace(sets, table=KeyTable(sets.table.address, sets.table.field, sets.table.slot))
    job = EvmJob(block, "dataflow", access=sets, cost=np.arange(1.0, block.n_tx + 1))
    job.access = copy
    job.plan()
    done = job.collect(*job.run())
    done.check_equal(serial)
    assert done.counters["validations"] > 0
    store = pn.MemoryStore()
    pn.put_world(store, block.state)
    away = EvmBlock(block.env, block.transactions, {}, source=StoreSource(store))
    job = EvmJob(away, "dataflow", access=sets, cost=np.arange(1.0, block.n_tx + 1))
    job.plan()
    done = job.collect(*job.run())
    assert done.counters["validations"] > 0
    assert done.receipts == serial.receipts
    job.access = sets.reordered([0, 1])
    with pytest.raises(BlockError, match="access sets of 2 transactions: the block has 6"):
        job.plan()


@given(st.lists(st.lists(st.integers(0, 20), max_size=4), max_size=20))
@settings(deadline=None)
def test_plans_say_who_waits_for_whom(rows: list[list[int]]) -> None:
    before = [sorted({p for p in row if p < t}) for t, row in enumerate(rows)]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in before])]).astype(np.int64)
    plan = flow_plan(indptr, np.array([p for row in before for p in row], np.int64))
    assert plan.awaited.tolist() == [len(row) for row in before]
    for p in range(len(rows)):
        followers = plan.followers[plan.followers_at[p] : plan.followers_at[p + 1]].tolist()
        assert followers == [t for t, row in enumerate(before) if p in row]


@given(st.lists(st.integers(0, 5), max_size=20))
@settings(deadline=None)
def test_waves_begin_when_the_last_has_ended(waves: list[int]) -> None:
    plan = waves_plan(np.array(waves, np.int64))
    assert sorted(plan.order.tolist()) == list(range(len(waves)))
    assert plan.starts.tolist() == [sum(other < wave for other in waves) for wave in waves]
    assert [waves[t] for t in plan.order] == sorted(waves)
