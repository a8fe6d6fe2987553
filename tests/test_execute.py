"""Every executor, whatever schedule or estimate it is given, equals serial execution in the promised order."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import blocks
from test_machine import receipts_of, spec_run

import pevm_numba as pn
from pevm_numba import programs
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.oracles import degrade
from pevm_numba.block import Block
from pevm_numba.errors import BlockError, ExecutionError
from pevm_numba.execute import dataflow, waves
from pevm_numba.execute.machine import EXECUTORS
from pevm_numba.execute.micro_ops import JOBS
from pevm_numba.execute.run import execute
from pevm_numba.generate import generate
from pevm_numba.machine.ops import Mode
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.policies import schedule

A, B = (1, 0, 0), (2, 0, 0)
FEE = (9, 1, 0)


def force_threads(patch: pytest.MonkeyPatch) -> None:
    """Run even the smallest blocks on several threads."""
    patch.setattr(waves, "LEAST_WORK", 0)
    patch.setattr(dataflow, "LEAST_WORK", 0)
    patch.setattr(dataflow, "LEAST_GAIN", 0)


@pytest.fixture(params=[True, False], ids=["all on threads", "small work on one thread"])
def least_work(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run small blocks both ways: on all threads, and as the executor would choose."""
    if request.param:
        force_threads(monkeypatch)


def check(block: Block, executor: str, order: list[int] | None = None, **options: Any) -> Any:
    """Execute and compare with the specification in `order`."""
    result = execute(block, executor, **options)
    receipts, state = spec_run(block, order)
    assert receipts_of(result) == receipts
    assert result.state() == state
    return result


@given(blocks(), st.sampled_from(EXECUTORS), st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.data())
def test_every_executor_equals_the_specification_at_any_miss_rate(
    block: Block, executor: str, miss_rate: float, data: st.DataObject
) -> None:
    workers = data.draw(st.sampled_from([1, 2, 3, 8]))
    access = degrade(pn.access_sets(block), miss_rate, data.draw(st.sampled_from([0.0, 0.3])), data.draw(st.integers(0, 9)))
    record = data.draw(st.sampled_from([None, "times"]))
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            force_threads(patch)
        check(block, executor, access=access, workers=workers, record=record)
        policy = data.draw(st.sampled_from(["levels", "list", "mis", "mis-parallel", "first-fit"]))
        plan = schedule(access, policy, block=block, workers=data.draw(st.sampled_from([None, 2])))
        check(block, executor, plan.serial_order.tolist(), schedule=plan, workers=workers, access=access, record=record)


@given(blocks(), st.randoms(use_true_random=False), st.sampled_from(list(JOBS)))
def test_any_schedule_at_all_gives_its_own_serial_order(block: Block, random: Any, executor: str) -> None:
    order = list(range(block.n_tx))
    random.shuffle(order)
    waves_of: list[list[int]] = []
    for t in order:
        if waves_of and random.random() < 0.5:
            waves_of[random.randrange(len(waves_of))].append(t)
        else:
            waves_of.append([t])
    plan = Schedule.from_waves("anything", waves_of, order)
    with pytest.MonkeyPatch.context() as patch:
        force_threads(patch)
        check(block, executor, order, schedule=plan, workers=3)


def three() -> Block:
    """T0 writes A; T1 writes A and B; T2 writes B: a MIS puts T0 and T2 first, and T2's write is lost."""
    return Block.from_programs(
        [[("SSTORE", A, 10)], [("SSTORE", A, 11), ("SSTORE", B, 21)], [("SSTORE", B, 22)]]
    )


@pytest.mark.parametrize("executor", EXECUTORS)
def test_three_transactions_keep_block_order(executor: str, least_work: None) -> None:
    result = check(three(), executor, workers=2)
    assert sorted(result.state().values()) == [11, 22]


@pytest.mark.parametrize("executor", list(JOBS))
def test_a_mis_schedule_promises_another_order_and_keeps_that_promise(executor: str, least_work: None) -> None:
    plan = schedule(three(), "mis")
    assert plan.waves() == [[0, 2], [1]]
    result = check(three(), executor, [0, 2, 1], schedule=plan, workers=2)
    assert sorted(result.state().values()) == [11, 21]


def test_mis_waves_forced_into_block_order_are_put_off_and_counted(least_work: None) -> None:
    plan = Schedule.from_waves("mis, in block order", [[0, 2], [1]], [0, 1, 2])
    result = check(three(), "waves", schedule=plan, workers=2)
    assert sorted(result.state().values()) == [11, 22]
    assert (result.counters["runtime_conflicts"], result.counters["requeued"], result.counters["waves"]) == (1, 1, 3)


def test_conflicts_are_counted_only_if_the_estimate_missed_them(least_work: None) -> None:
    block = generate(n_tx=300, key_space=40, conflict_ratio=0.8, seed=3)
    exact = pn.access_sets(block)
    assert check(block, "waves", access=exact).counters["runtime_conflicts"] == 0
    counts = [check(block, "waves", access=degrade(exact, rate, 0.0, 1)).counters for rate in (0.01, 0.5, 1.0)]
    assert 0 < counts[0]["requeued"] < counts[1]["requeued"] <= counts[2]["requeued"] < block.n_tx
    assert all(c["reexecuted"] == 0 for c in counts)


def test_a_fee_recipient_paid_by_all_does_not_serialise_the_block(least_work: None) -> None:
    pay = [[("SSTORE", (t + 1, 0, 0), t + 1), ("CREDIT", FEE, 2**255 + t)] for t in range(50)]
    block = Block.from_programs([*pay, [("SLOAD", FEE), ("SSTORE", A, "TOP")], *pay], {FEE: 5})
    result = check(block, "waves", workers=3)
    assert result.counters["waves"] == 3


@pytest.mark.skipif(DISABLED, reason="needs real threads")
@pytest.mark.parametrize("executor", ["waves", "dataflow", "optimistic", "bal"])
def test_reading_one_credited_balance_leaves_the_partial_sums_of_another_alone(
    executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # found on mainnet block 3688112: a reader of one shared balance also settled the fee recipient's, which other workers
    # were crediting at that moment
    force_threads(monkeypatch)
    n = 3000
    own = [(t + 100, 1, 0) for t in range(n)]
    paid = [[("CREDIT", key, 1), ("CREDIT", FEE, 1)] for key in own for _ in range(2)]
    read = [[("SLOAD", key), ("SSTORE", (t + 100, 0, 0), "TOP"), ("CREDIT", FEE, 1)] for t, key in enumerate(own)]
    block = Block.from_programs([*paid, *read])
    reference = execute(block, "serial")
    for _ in range(20):
        execute(block, executor, workers=4).check_equal(reference)


@pytest.mark.skipif(DISABLED, reason="needs real threads")
@pytest.mark.parametrize("executor", ["waves", "dataflow", "optimistic", "bal"])
def test_several_readers_of_one_credited_balance_at_once_see_it_settled_once(executor: str) -> None:
    # found in review: readers settled partial sums themselves, and two readers of one balance can share a wave
    keys = [(i + 1, 1, 0) for i in range(2000)]
    paid = [[("CREDIT", key, 1) for key in keys] for _ in range(2)]
    block = Block.from_programs([*paid, *([("TOUCH", key) for key in keys] for _ in range(32))])
    reference = execute(block, "serial")
    for _ in range(10):
        execute(block, executor, workers=4).check_equal(reference)


def test_many_credits_of_shared_balances_are_encoded_in_linear_time() -> None:
    # found in review: each credit searched the whole footprint; 20,000 of them took a second, and would take 4 x 25 now
    many = [[("CREDIT", (i + 1, 1, 0), 1) for i in range(100_000)] for _ in range(2)]
    check(Block.from_programs(many), "waves", workers=2)


def test_a_copy_of_a_schedule_is_not_taken_as_proved() -> None:
    block = three()
    plan = schedule(block, "levels")
    assert plan.proved_for is block
    spoilt = dataclasses.replace(plan, wave_indptr=np.array([0, 3]), wave_tx=np.array([2, 1, 0], np.int32))
    assert spoilt.proved_for is None
    check(block, "waves", schedule=spoilt, workers=2)
    for value in (plan, pn.access_sets(block), block):
        again = pickle.loads(pickle.dumps(value))
        arrays = [part for part in vars(again).values() if isinstance(part, np.ndarray)]
        assert arrays
        assert not any(part.flags.writeable for part in arrays)
        assert getattr(again, "proved_for", None) is None
    assert pickle.loads(pickle.dumps(block)) == block


@pytest.mark.parametrize("executor", list(JOBS))
def test_a_failed_transaction_takes_back_its_credit(executor: str, least_work: None) -> None:
    pay = [("CREDIT", FEE, 7), ("BURN", 1000)]
    block = Block.from_programs([pay] * 3, {FEE: 1}, gas_limits=[22000, 21999, 22000])
    result = check(block, executor, workers=2)
    assert result.status.tolist() == [0, 1, 0]
    assert list(result.state().values()) == [15]


@given(blocks(), st.sampled_from(list(JOBS)))
def test_recorded_changes_replay_to_the_final_state(block: Block, executor: str) -> None:
    result = execute(block, executor, record="changes")
    now = block.pre_values.copy()
    footprint, observed = pn.access_sets(block), result.observed
    for t in range(block.n_tx):
        part = slice(result.changes.indptr[t], result.changes.indptr[t + 1])
        keys, values = result.changes.keys[part], result.changes.values[part]
        assert (now[keys] != values).any(axis=1).all()  # net changes only
        assert set(keys.tolist()) <= {k for k, m in footprint[t].items() if m & (Mode.WRITE | Mode.CREDIT)}
        if result.status[t]:
            assert len(keys) == 0
        assert set(keys.tolist()) <= set(observed[t])
        now[keys] = values
    assert np.array_equal(now, result.values)


@pytest.mark.skipif(DISABLED, reason="needs real threads")
@pytest.mark.parametrize("executor", ["waves", "dataflow", "optimistic", "bal"])
def test_concurrent_executions_from_python_threads_are_safe(executor: str) -> None:
    block = generate(n_tx=400, key_space=60, conflict_ratio=0.7, seed=5)
    reference = execute(block, "serial")
    problems: list[str | None] = []

    def work() -> None:
        for _ in range(10):
            problems.append(execute(block, executor, workers=2).difference(reference))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [None] * 40


@pytest.mark.skipif(DISABLED, reason="needs Numba's threads")
def test_the_users_thread_count_is_left_alone() -> None:
    before = numba.get_num_threads()
    for executor in EXECUTORS:
        execute(generate("medium"), executor, workers=1)
        assert numba.get_num_threads() == before


def test_executing_changes_no_array_of_the_block() -> None:
    block = generate("small")
    before = block.digest()
    for executor in EXECUTORS:
        result = execute(block, executor, workers=2)
    block._derived.pop("digest")
    assert block.digest() == before
    with pytest.raises(ValueError, match="read-only"):
        result.gas_used[0] = 1


def test_a_difference_names_the_first_place() -> None:
    block = three()
    one, other = execute(block, "serial"), execute(block, "serial", schedule=schedule(block, "mis"))
    with pytest.raises(ExecutionError, match=r"gas_used of transaction 1: 48100 \(serial\), 31000 \(serial\)"):
        one.check_equal(other)
    assert one.difference(execute(block, "waves")) is None
    assert "different blocks" in str(one.difference(execute(generate("small"), "serial")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "magic"}, "executor 'magic' is unknown: one of auto, serial, waves, dataflow, optimistic, bal"),
        ({"workers": 0}, "workers = 0: must be in"),
        ({"workers": 2.5}, "workers = 2.5: must be an integer"),
        ({"record": "all"}, "record = 'all': must be None, or among 'changes', 'times'"),
        ({"record": ["changes", 5]}, "record = "),
        ({"record": 5}, "record = 5: must be None, or among 'changes', 'times'"),
        ({"record": [["times"]]}, "record = "),
        ({"executor": "bal", "access_list": 5}, "access_list = 5: must be a BlockAccessList"),
        ({"executor": "waves", "access_list": 5}, "access_list with executor 'waves': only bal runs from a list"),
        ({"gas": "byzantium"}, "fork 'byzantium' is unknown"),
        ({"schedule": Schedule.from_waves("x", [[0]])}, "schedule has 1 transactions: the block has 3"),
        ({"access": pn.AccessSets.from_dicts([{}], 1)}, "access sets of 1 transactions and 1 keys"),
    ],
)
def test_bad_arguments_are_refused_by_name_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BlockError, match=message):
        execute(three(), **options)


def test_an_empty_block_executes() -> None:
    for executor in EXECUTORS:
        result = execute(Block.from_programs([], {A: 3}), executor, record="changes")
        assert list(result.state().values()) == [3]
        assert result.difference(execute(result.block, "serial")) is None
        assert result.changes.indptr.tolist() == [0]


def test_results_show_themselves() -> None:
    result = execute(three(), "serial")
    assert repr(result) == "<Execution of block 0 by serial: 0 failed, 117,200 gas>"
    assert "117,200" in result._repr_html_()


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["small_42", "medium_42", "hot_200_100_0.9_1", "chain3"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_seed_systems_own_blocks_keep_block_order(name: str, executor: str, shared: Any, least_work: None) -> None:
    path = shared / "seed_blocks" / f"{name}.json.gz"
    block = pn.read_block(path if path.exists() else path.with_suffix(""))
    check(block, executor, workers=2)
    if name == "chain3":
        assert sorted(programs.integers(execute(block, executor).values)) == [11, 22]
