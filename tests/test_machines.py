"""Where the machines meet: analysis, schedules, execution, measurement and commands take a block of either without asking."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import in_process
from test_evm_folders import N_TX, example, node_files, tables, write

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.oracles import exact_oracle
from pevm_numba.access.quality import with_common_keys
from pevm_numba.bench import __main__ as bench
from pevm_numba.bench.evm import _side_by_side
from pevm_numba.bench.scenarios import Scenario
from pevm_numba.bench.timing import Options, WarmUp, _Subject, measure, warm_up
from pevm_numba.errors import BlockError, ExecutionError, FileFormatError
from pevm_numba.evm import engine
from pevm_numba.evm.block import AnyBlock, EvmBlock
from pevm_numba.evm.forks import Fork
from pevm_numba.execute import evm_job
from pevm_numba.execute.evm_job import EvmJob
from pevm_numba.execute.machine import EXECUTORS, PARALLEL, Choice
from pevm_numba.execute.machines import MACHINES, machine_of
from pevm_numba.fields import FIELDS
from pevm_numba.io.any_block import any_block_numbers, read_any_block, read_any_blocks
from pevm_numba.keys import KeyTable
from pevm_numba.machine.ops import Mode

pytestmark = pytest.mark.usefixtures("always_parallel")


def of_both() -> list[AnyBlock]:
    return [pn.generate(n_tx=12, key_space=6, conflict_ratio=0.7, seed=3), example()]


either = pytest.mark.parametrize("block", of_both(), ids=["micro-ops", "EVM"])


@either
def test_every_machine_has_every_executor(block: AnyBlock) -> None:
    machine = machine_of(block)
    serial = pn.execute(block, "serial")
    for name in ("serial", *PARALLEL):
        job = machine.job(block, name, workers=2, **machine.hints(block, name))
        job.plan()
        for _ in range(2):
            job.reset()
            counters, timings = job.run()
        done = job.collect(counters, timings)
        done.check_equal(serial)
        assert done.executor == job.name == name
        assert timings.keys() == {"execute_ns", "cpu_ns"}
        assert done.counters["executions"] >= block.n_tx
    assert machine.pick(block, 2).executor in EXECUTORS
    assert {type(one) for one in MACHINES} == {type(machine_of(one)) for one in of_both()}


@either
def test_what_is_exact_is_what_execution_observes(block: AnyBlock) -> None:
    serial = pn.execute(block, "serial")
    access = pn.access_sets(block)
    plain = [{key: mode & ~Mode.READ if mode & Mode.WRITE else mode for key, mode in one.items()} for one in access]
    seen = [{key: mode & ~Mode.READ if mode & Mode.WRITE else mode for key, mode in one.items()} for one in serial.observed]
    assert serial.success.all() or isinstance(block, EvmBlock)
    assert plain == seen
    assert access.exact_for is block
    assert exact_oracle(block) in ("static", "observed")


@either
def test_schedules_and_simulations_take_a_block(block: AnyBlock) -> None:
    access = pn.access_sets(block)
    for policy in ("levels", "list", "mis", "first-fit"):
        plan = pn.schedule(block, policy, workers=2, cost="accesses")
        assert plan == pn.schedule(access, policy, workers=2, cost="accesses", block=block)
        pn.check_schedule(plan, access, block=block)
        # code may access other keys in an order of its own: nobody has seen it run so
        proved = plan.block_order or not isinstance(block, EvmBlock)
        assert plan.proved_for is (block if proved else None)
    runs = [pn.simulate(one, "block-stm", workers=2, cost="accesses") for one in (block, access)]
    assert runs[0].makespan == runs[1].makespan >= runs[0].bound > 0
    best = pn.optimality(block, 2, measures=["makespan"])
    assert best == pn.optimality(access, 2, measures=["makespan"], block=block)
    assert {ratio.measure for ratio in best} == {"makespan"}
    built = pn.build_block(access, [1] * block.n_tx, [1] * block.n_tx, gas_limit=block.n_tx, block=block)
    assert sorted(built.chosen.tolist()) == list(range(block.n_tx))


@either
def test_all_transactions_at_once_are_refused(block: AnyBlock) -> None:
    if DISABLED and isinstance(block, EvmBlock):
        pytest.skip("so few transactions conflict with none")
    access = pn.access_sets(block)
    late = pn.Schedule.from_waves("all at once", [list(range(block.n_tx))])
    with pytest.raises(pn.PevmError, match=r"conflicts with it on key \d+ \(0x"):
        pn.check_schedule(late, access)


@either
def test_levels_of_a_block_run_it(block: AnyBlock) -> None:
    for executor in ("waves", "dataflow"):
        done = pn.execute(block, executor, schedule=pn.schedule(block, "levels"), workers=2)
        done.check_equal(pn.execute(block, "serial"))


@pytest.mark.skipif(DISABLED, reason="so few transactions keep their order")
def test_an_order_of_its_own_is_no_way_to_run_an_evm_block() -> None:
    block = example()
    plan = pn.schedule(block, "mis")
    assert not plan.block_order
    with pytest.raises(BlockError, match="EVM blocks run in block order"):
        pn.execute(block, "waves", schedule=plan)
    with pytest.raises(BlockError, match="EVM blocks run in block order"):
        measure(Scenario("evm", block), Options("waves", "mis", workers=2, repeat=1), WarmUp(0.0, 0))


def naive_selection(access: pn.AccessSets, fields: set[int], recipient: bytes | None) -> list[dict[Any, Mode]]:
    """By (address, field, slot)."""
    table = access.table
    assert table is not None
    rows = [{table[key]: mode for key, mode in one.items()} for one in access]
    return [
        {key: mode for key, mode in row.items() if key[1] in fields and (key[0], key[1]) != (recipient, 1)} for row in rows
    ]


@pytest.mark.parametrize("fee", ["commutative", "ignored"])
@pytest.mark.parametrize("fields", [("storage",), ("balance", "nonce"), ("storage", "balance", "nonce", "code")])
def test_selection_on_an_evm_block(fields: tuple[str, ...], fee: str) -> None:
    block = example()
    everything = pn.access_sets(block)
    kept = pn.access_sets(block, fields=fields, fee_recipient=fee)
    assert kept.table == everything.table is not None
    wanted = {("storage", "balance", "nonce", "code").index(name) for name in fields}
    recipient = block.env.fee_recipient if fee == "ignored" else None
    assert naive_selection(kept, {0, 1, 2, 3}, None) == naive_selection(everything, wanted, recipient)
    with pytest.raises(BlockError, match="with a table of their keys"):
        pn.select(pn.AccessSets.from_dicts([{0: 1}] * block.n_tx, n_keys=1), block)


def test_whole_accounts_of_an_evm_block() -> None:
    block = example()
    everything, accounts = pn.access_sets(block), pn.access_sets(block, granularity="account")
    table = everything.table
    assert table is not None
    assert accounts.n_keys == len({address for address, _, _ in table})
    named = accounts.table
    assert named is not None
    assert named.whole
    assert [named.key_name(k) for k in range(len(named))] == ["0x" + bytes(address).hex() for address in named.address]
    small = pn.select(pn.access_sets(block, "static"), block, granularity="account")
    assert 0 < pn.accuracy(small, accounts).recall < 1
    with pytest.raises(BlockError, match="other keys than the truth"):
        pn.accuracy(small, everything)
    for whole, parts in zip(accounts, everything):
        assert len(whole) == len({table[key][0] for key in parts})


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_common_keys_change_no_access(data: st.DataObject) -> None:
    slots = st.sets(st.integers(0, 6), min_size=1, max_size=5)
    sets, rows = [], []
    for _ in range(2):
        named = data.draw(slots.map(sorted))
        table = KeyTable.from_keys((bytes(20), 0, slot) for slot in named)
        one = [data.draw(st.dictionaries(st.integers(0, len(named) - 1), st.integers(1, 7))) for _ in range(3)]
        plain = pn.AccessSets.from_dicts(one, n_keys=len(named))
        sets.append(pn.AccessSets(plain.n_keys, plain.indptr, plain.keys, plain.modes, table))
        rows.append([{named[key]: mode for key, mode in row.items()} for row in one])
    common = with_common_keys(*sets)
    assert common[0].table == common[1].table
    for made, row in zip(common, rows):
        assert made.table is not None
        assert [{made.table[key][2]: int(mode) for key, mode in one.items()} for one in made] == row
    precise = pn.accuracy(*sets)
    bits = [
        {(t, key, bit) for t, one in enumerate(row) for key, mode in one.items() for bit in (1, 2, 4) if mode & bit}
        for row in rows
    ]
    assert (precise.n_estimated, precise.n_true, precise.n_common) == (len(bits[0]), len(bits[1]), len(bits[0] & bits[1]))


def test_a_table_must_fit_and_travels_with_the_sets() -> None:
    table = KeyTable.from_keys([(bytes(20), 0, 5)])
    with pytest.raises(BlockError, match="n_keys of the table = 1"):
        pn.AccessSets(2, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8), table)
    import pickle

    access = pn.access_sets(example())
    again = pickle.loads(pickle.dumps(access))
    assert again == access
    assert again.table == access.table
    assert access != pn.AccessSets(access.n_keys, access.indptr, access.keys, access.modes)
    assert access.reordered([1, 0]).table is access.table
    with pytest.raises(BlockError, match="key 1 is key 0 again"):
        KeyTable.from_keys([(bytes(20), 0, 5), (bytes(20), 0, 5)])
    with pytest.raises(BlockError, match=r"keys\[0\] = .* must be 20 bytes"):
        KeyTable.from_keys([(bytes(19), 0, 5)])
    mine = np.zeros((1, 20), np.uint8)
    KeyTable(mine, np.zeros(1, np.uint8), np.zeros((1, 32), np.uint8))
    mine[0, 0] = 7  # still mine


def test_a_prefetcher_may_know_other_keys() -> None:
    block = example()
    exact = pn.access_sets(block)
    spans = []
    for listed in (None, exact, pn.access_sets(block, "union"), pn.access_sets(block, "eip2930")):
        over = pn.Overheads(cold_read=9000, prefetch=8, prefetch_access=listed)
        spans.append(pn.simulate(block, "list", workers=2, cost="accesses", overheads=over).makespan)
    assert spans[0] == spans[1] < spans[2] <= spans[3]
    bare = pn.AccessSets.from_dicts([{}] * block.n_tx, n_keys=exact.n_keys)
    with pytest.raises(BlockError, match="prefetch_access has a table of its keys, or none"):
        pn.simulate(block, "list", overheads=pn.Overheads(prefetch=1, prefetch_access=bare))


def test_a_bare_job_owes_no_outcome() -> None:
    job = machine_of(example()).job(example(), "serial")
    job.plan()
    job.collect(*job.run()).check_equal(pn.execute(example(), "serial"))
    job.bare()
    with pytest.raises(ExecutionError, match="keeps no record"):
        job.collect(*job.run())


def test_before_byzantium_a_receipts_root_says_nothing() -> None:
    block = example()
    for fork, known in ((Fork.LONDON, False), (Fork.SPURIOUS, None)):
        fee = 7 if fork >= Fork.LONDON else None
        env = replace(block.env, fork=fork, base_fee=fee, receipts_root=b"\5" * 32)
        done = pn.execute(EvmBlock(env, block.transactions[:-1], block.state), "serial")
        assert done.root_is_chains is known
        assert len(done.differences_from_chain()) == (known is False)
        if known is None:
            assert machine_of(block).facts(done.block, done)["chain_gas_exact"] is None
        else:
            with pytest.raises(ExecutionError, match=r"receipts root 0x.*: the header says 0x0505"):
                machine_of(block).facts(done.block, done)
    assert dict(done.summary())["as the chain"] == "nothing to compare with"


def test_runs_side_by_side_do_not_wait_for_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [EvmJob(example(), "serial") for _ in range(2)]
    for job in twins:
        job.plan()
    assert _side_by_side(twins) > 0

    def broken(plan: object) -> None:
        raise ExecutionError("no room")

    monkeypatch.setattr(twins[0].engine, "reset", broken)
    monkeypatch.setattr(threading, "excepthook", lambda given: None)
    with pytest.raises(ExecutionError, match="a serial run beside another failed"):
        _side_by_side(twins)


def test_a_digest_is_of_the_content() -> None:
    block = example()
    assert block.digest() == example().digest()
    who = next(iter(block.state))
    richer = {**block.state, who: block.state[who]._replace(balance=block.state[who].balance + 1)}
    env = replace(block.env, block_hashes={5: bytes(32), 4: b"\1" * 32})
    other = replace(block.env, block_hashes={4: b"\1" * 32, 5: bytes(32)})
    assert env == other
    assert len({EvmBlock(one, block.transactions, block.state).digest() for one in (env, other)}) == 1
    with pytest.raises(ValueError, match="read-only"):
        block.nonce[0] = 1
    assert len({block.digest(), EvmBlock(block.env, block.transactions, richer).digest(), example(7).digest()}) == 3


@pytest.mark.skipif(DISABLED, reason="measures nothing in plain Python")
@pytest.mark.parametrize("executor", ["serial", "auto", *PARALLEL])
def test_an_evm_block_is_measured_as_any_other(executor: str) -> None:
    block = example()
    row = measure(Scenario("evm", block), Options(executor, workers=2, repeat=2), WarmUp(0.0, 0))
    assert row.keys() == FIELDS.keys()
    assert row["verified"]
    assert row["n_ops"] > N_TX
    assert row["failed"] == int((~pn.execute(block, "serial").success).sum())
    assert row["intern_ms"] is None
    known = executor in ("waves", "dataflow")
    assert (row["oracle"], row["preexec_recall"]) == (("observed", 1.0) if known else (None, None))


@pytest.mark.parametrize("executor", PARALLEL)
def test_what_is_measured_runs_on_what_it_says(executor: str) -> None:
    """Optimistic is not given what a run before has seen; what dataflow is given has costs, as in `execute`."""
    subject = _Subject(example(), Options(executor, workers=2))
    job = subject.job
    assert isinstance(job, EvmJob)
    assert (job.access is None) == (executor in ("optimistic", "bal"))
    assert (job.cost is None) == (executor in ("optimistic", "bal"))
    assert (job.access_list is None) == (executor != "bal")
    assert subject.oracle == (None if executor in ("optimistic", "bal") else "observed")


@pytest.mark.skipif(DISABLED, reason="no threads in plain Python")
def test_the_warm_up_runs_every_executor_on_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []
    enter = engine.entry_point
    monkeypatch.setattr(evm_job, "LEAST_WORK", 300_000)
    monkeypatch.setattr(evm_job, "LEAST_GAIN", 1.1)

    def entry(*given: Any, held: bool = False) -> Any:
        launched.extend([name] * held)
        return enter(*given, held=held)

    monkeypatch.setattr(engine, "entry_point", entry)
    for name in (*PARALLEL, "auto"):
        warm_up([Options(name, workers=2)], evm=True)
    assert set(launched) == {*PARALLEL, "auto"}


@pytest.mark.skipif(DISABLED, reason="measures nothing in plain Python")
def test_a_poor_estimate_of_an_evm_block_is_reported_as_poor() -> None:
    scenario = Scenario("evm", example())
    row = measure(scenario, Options("dataflow", oracle="degraded", miss_rate=0.5, workers=2, repeat=1), WarmUp(0.0, 0))
    assert 0.2 < row["preexec_recall"] < 0.8
    row = measure(scenario, Options("optimistic", oracle="eip2930", workers=2, repeat=1), WarmUp(0.0, 0))
    assert row["preexec_recall"] == 0.0  # its lists name slots that nobody reads
    row = measure(Scenario("micro", of_both()[0]), Options(oracle="observed", workers=2, repeat=1), WarmUp(0.0, 0))
    assert row["preexec_recall"] == 1.0
    with pytest.raises(BlockError, match="which an EVM block has none of"):
        measure(scenario, Options(work_us=1.0, repeat=1), WarmUp(0.0, 0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "blocks", tables(example()))


def test_any_block_is_read(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "micro.parquet"
    pn.write_blocks(path, of_both()[0])
    assert any_block_numbers(folder) == [example().number]
    assert [type(block) for block in read_any_blocks(folder)] == [EvmBlock]
    assert [type(block) for block in read_any_blocks(path)] == [pn.Block]
    assert isinstance(read_any_block(path), pn.Block)
    assert read_any_block(folder).number == example().number
    with pytest.raises(FileFormatError, match="fork = 'london': only of a block as a node gives it"):
        read_any_block(folder, fork="london")
    with pytest.raises(FileFormatError, match="a folder; with a prestate"):
        read_any_block(folder, prestate=path)


def test_every_command_takes_an_evm_block(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, given = in_process(cli.main, monkeypatch, capsys), ("--input", folder)
    said = command("inspect", *given)
    assert (said.code, said.err) == (0, "")
    assert f"{N_TX - 1} legacy, 1 EIP-1559" in said.out
    said = command("execute", *given, "--executor", "optimistic", "--workers", 2)
    assert (said.code, said.err) == (0, "")
    assert "gas used, receipts root, logs bloom, state of known accounts" in said.out
    said = command("schedule", *given, "--policy", "list", "--output", tmp_path / "plan.json")
    assert (said.code, said.err) == (0, "")
    about = json.loads((tmp_path / "plan.json").read_text())
    said_of = about["oracle"], about["block_digest"], about["valid_for_block"]
    assert said_of == ("observed", read_any_block(folder).digest(), True)
    said = command("execute", *given, "--executor", "dataflow", "--schedule", tmp_path / "plan.json", "--workers", 2)
    assert (said.code, said.err) == (0, "")
    said = command("schedule", *given, "--oracle", "eip2930", "--rows", 0)
    if not DISABLED:  # so few transactions conflict with none, and keep their order
        assert "NOT valid for the block" in said.out
        said = command("schedule", *given, "--policy", "mis", "--rows", 0)
        assert "in an order of its own the block's code may access other keys" in " ".join(said.out.split())
        assert "by accesses in block order" in said.out
        said = command("schedule", *given, "--policy", "mis", "--output", tmp_path / "mis.json")
        assert json.loads((tmp_path / "mis.json").read_text())["valid_for_block"] is None
    made = {}
    for name in ("observed", "static", "union", None):
        words = ("--models", "list", "--workers", 2, "--cold-read", 9000, "--prefetch", 8, "--json", tmp_path / "s.json")
        said = command("simulate", *given, *words, *(() if name is None else ("--prefetch-list", name)))
        assert (said.code, said.err) == (0, "")
        assert "observed access sets" in said.out
        (row,) = json.loads((tmp_path / "s.json").read_text())
        made[name] = row["makespan"]
        assert row["prefetch_list"] == (name or "observed")
    assert made[None] == made["observed"] < made["static"]
    said = command("convert", *given, "--output", tmp_path / "other.parquet")
    assert (said.code, said.err.count("\n"), "are no block file" in said.err) == (2, 1, True)


def test_a_block_as_a_node_gives_it_goes_through_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block, prestate = node_files(tmp_path, example())
    command, given = in_process(cli.main, monkeypatch, capsys), ("--input", block, "--prestate", prestate)
    for words in (("inspect",), ("execute",), ("schedule",), ("simulate", "--models", "waves")):
        said = command(words[0], *given, *words[1:])
        assert (said.code, said.err) == (0, "")
        said = command(words[0], "--input", block, *words[1:])
        assert (said.code, said.err.count("\n"), "needs --prestate" in said.err) == (1, 1, True)
    held = prestate.read_bytes()
    for words in (("schedule", "--output"), ("simulate", "--json"), ("benchmark", "--output")):
        said = command(words[0], *given, words[1], prestate)
        assert said.code == 2, words
        assert prestate.read_bytes() == held
    if not DISABLED:
        said = command("benchmark", *given, "--output", tmp_path / "one.json")
        assert (said.code, said.err) == (0, "")
        assert json.loads((tmp_path / "one.json").read_text())["scenario"] == f"evm {example().number}"
    said = command("benchmark", "--preset", "small", "--number", 5, "--output", tmp_path / "one.json")
    assert (said.code, "only with --input" in said.err) == (2, True)


@pytest.mark.skipif(DISABLED, reason="measures nothing in plain Python")
def test_the_benchmark_takes_an_evm_block(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = in_process(cli.main, monkeypatch, capsys)("benchmark", "--input", folder, "--output", tmp_path / "one.json")
    assert (said.code, said.err) == (0, "")
    assert json.loads((tmp_path / "one.json").read_text())["scenario"] == f"evm {example().number}"
    words = ("--input", folder, "--executor", "all", "--repeat", 2, "--json", tmp_path / "all.json")
    said = in_process(bench.main, monkeypatch, capsys)(*words)
    assert (said.code, said.err) == (0, "")
    rows = json.loads((tmp_path / "all.json").read_text())
    assert [row["executor"] for row in rows] == ["serial", *PARALLEL]
    assert all(row["verified"] and row["chain_gas_exact"] == N_TX for row in rows)


def test_whole_accounts_have_no_fields_to_choose_from() -> None:
    block = example()
    whole = pn.access_sets(block, granularity="account")
    for chosen in ({"fields": ["balance"]}, {"fee_recipient": "ignored"}):
        with pytest.raises(BlockError, match="access sets of whole accounts: which fields an access was of"):
            pn.select(whole, block, **chosen)  # type: ignore[arg-type]
    assert pn.select(whole, block) == whole


@either
def test_executions_of_different_blocks_say_so(block: AnyBlock) -> None:
    done = pn.execute(block, "serial")
    other = example(13_000_001) if isinstance(block, EvmBlock) else pn.generate(n_tx=5, key_space=3, conflict_ratio=0.5)
    with pytest.raises(ExecutionError, match="different blocks: "):
        done.check_equal(pn.execute(other, "serial"))


def test_slots_of_keys_may_be_numbers_of_numpy() -> None:
    assert KeyTable.from_keys([(bytes(20), 0, np.int64(5))])[0] == (bytes(20), 0, 5)


@pytest.mark.parametrize("key", [(bytes(20), 300, 1), (bytes(20), -1, 1), (bytes(20), 0, "x"), (bytes(20), 0), (b"", 0, 0)])
def test_what_is_no_key_is_named(key: Any) -> None:
    with pytest.raises(BlockError, match=r"keys\[1\] = .*: must be 20 bytes, a Field and a slot below"):
        KeyTable.from_keys([(bytes(20), 0, 1), key])


def test_any_block_can_be_prefetched_by_what_it_does(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pn.write_blocks(tmp_path / "micro.parquet", of_both()[0])
    for path in (tmp_path / "micro.parquet", folder):
        words = ("simulate", "--input", path, "--prefetch-list", "observed", "--prefetch", 4, "--cold-read", 5)
        said = in_process(cli.main, monkeypatch, capsys)(*words)
        assert said.code == 0, said.err


@pytest.mark.skipif(DISABLED, reason="measures nothing in plain Python")
def test_a_policy_does_not_hide_a_poor_estimate() -> None:
    scenario = Scenario("evm", example())
    subject = _Subject(scenario.block, Options("dataflow", policy="list", oracle="degraded", miss_rate=0.9, workers=2))
    assert subject.job.access == subject.access
    assert subject.access.n_accesses < 0.3 * pn.execute(scenario.block, "serial").observed.n_accesses
    assert subject.job.schedule is not None
    assert "cost" not in subject.hints


@pytest.mark.skipif(DISABLED, reason="so few transactions run serially")
def test_auto_says_what_is_given() -> None:
    block = example()
    plans = [pn.schedule(block, policy, workers=2) for policy in ("levels", "list")]
    for plan, executor in zip(plans, ("waves", "dataflow")):
        given_plan = replace(plan, timeline=None) if executor == "waves" else plan
        assert machine_of(block).pick(block, 2, schedule=given_plan) == Choice(executor, "a schedule is given")
