"""`bench executors` and `bench scaling`: what is shown was compared, follows from what was measured, and targets can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench import breakeven, contest, misses, quiet, scaling, tables
from pevm_numba.bench.cells import measure_cell
from pevm_numba.bench.executors import OVERHEAD_US, Request, run, targets
from pevm_numba.bench.graphs import EXECUTOR_CASES, make_access
from pevm_numba.bench.scenarios import block_of, with_work
from pevm_numba.errors import ExecutionError, PevmError, UsageError
from pevm_numba.execute.auto import PICKS
from pevm_numba.execute.micro_op_job import MicroOpJob
from pevm_numba.execute.serial import SerialJob
from pevm_numba.fields import TABLES

pytestmark = pytest.mark.skipif(DISABLED, reason="times of kernels mean nothing without machine code")

SMALL = Request(n_tx=300, work_us=(0.5, 2.0), cases=("low", "chain"), rounds=2, workers=2, break_even=False)


@pytest.fixture
def few(monkeypatch):
    """Break-even of two points on one case, misses on a small preset."""
    monkeypatch.setattr(breakeven, "SWEEP_CASES", ("low",))
    monkeypatch.setattr(breakeven, "SWEEP_US", (0.1, 5.0))
    monkeypatch.setattr(misses, "_PRESET", "small")


def fields_of(rows: list[dict[str, Any]], table: str, executor: str | None = None) -> set[str]:
    return {
        field for row in rows if row["table"] == table and executor in (None, row["executor"]) for field in row
    } - {"table"}  # fmt: skip


def test_a_small_run_shows_and_writes_what_it_measured(few, tmp_path, capsys):
    request = replace(SMALL, break_even=True, chart=tmp_path / "even.png")
    rows = run(request, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    assert (tmp_path / "even.png").read_bytes().startswith(b"\x89PNG")
    for table in ("executors", "misses", "break-even"):
        assert fields_of(rows, table) == set(TABLES[table][1]), table
    matrix = [row for row in rows if row["table"] == "executors" and row["workers"] == 2]
    assert {(row["case"], row["work_us"]) for row in matrix} == {(c, w) for c in request.cases for w in request.work_us}
    for row in matrix:
        assert row["verified"]
        assert 1 <= row["bound"] <= 2
        assert np.isclose(row["share"], row["speedup"] / row["bound"])
        assert row["low"] <= row["speedup"] <= row["high"]
        assert row["speedup_computed"] <= row["speedup_given"] <= row["speedup"] * 1.0001
        assert row["rounds"] >= row["rounds_quiet"]
        assert (row["executor"] == "auto") == ("regret" in row)
    chains = [row for row in matrix if row["case"] == "chain" and row["executor"] not in ("bal",)]
    assert all(row["bound"] < 1.2 for row in chains)
    assert {row["executor"] for row in matrix} == {"waves", "dataflow", "planned", "optimistic", "bal", "auto"}
    alone = {row["case"] for row in rows if row["table"] == "executors" and row["workers"] == 1}
    assert alone == {"independent", "low", "mid", "zipf 1.1"}
    said = capsys.readouterr().out
    for words in ("0.5 us of work", "one worker at 0.5 us", "wrong estimates", "break-even", "even.png", "auto's regret"):
        assert words in said, words


def test_a_wrong_result_ends_the_run_without_a_figure(monkeypatch, tmp_path, capsys):
    block = block_of(make_access("low", 200))
    made = contest.Contest(block, ("waves", "dataflow"), 2)
    job = made.jobs["dataflow"]
    honest = job.run

    def wrong() -> Any:
        done = honest()
        job.space.values[0, 0] += np.uint64(1)
        return done

    monkeypatch.setattr(job, "run", wrong)
    with pytest.raises(ExecutionError, match="dataflow differs from serial: 0x"):
        made.round()
    collect = MicroOpJob.collect

    def spoiled(job: Any, *rest: Any) -> Any:
        result = collect(job, *rest)
        return result if isinstance(job, SerialJob) else replace(result, gas_used=result.gas_used + 1)

    monkeypatch.setattr(MicroOpJob, "collect", spoiled)
    with pytest.raises(ExecutionError, match="gas"):
        run(SMALL, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    assert "speed" not in capsys.readouterr().out


@pytest.mark.parametrize("case", EXECUTOR_CASES)
def test_auto_is_measured_by_what_it_would_do(case):
    rows = measure_cell(case, block_of(make_access(case, 400)), 2.0, ("waves", "dataflow", "optimistic"), 2, 1)
    auto = rows[-1]
    assert auto["picked"] in PICKS
    assert auto["regret"] > -0.5
    if auto["picked"] != "serial":
        same = next(row for row in rows if row["executor"] == auto["picked"])
        assert auto["execute_ms"] == same["execute_ms"]


# -------------------------------------------------------------------- targets


def cell(case: str, work_us: float, executor: str, speedup: float, **more: Any) -> dict[str, Any]:
    bound = more.pop("bound", 2.0)
    return {
        "table": "executors", "case": case, "work_us": work_us, "executor": executor, "speedup": speedup, "bound": bound,
        "share": speedup / bound, "workers": 2, "cpu_per_s": 1.0,
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "reached"),
    [
        ([cell("low", 5, "waves", 1.9), cell("low", 5, "dataflow", 1.2)], True),  # the best one counts
        ([cell("low", 5, "waves", 1.7), cell("low", 5, "bal", 1.99)], False),  # but not bal
        ([cell("low", 5, "waves", 1.9), cell("zipf 1.1", 50, "waves", 1.5)], False),  # in each cell
        ([cell("hot 75 %", 5, "waves", 1.0, bound=1.4), cell("low", 5, "waves", 1.84)], True),  # a bound below 1.5 is none
        ([cell("low", 0.5, "waves", 1.71)], True),
        ([cell("mid", 0.5, "waves", 1.69)], False),
        ([cell("chain", 0.5, "dataflow", 0.96, bound=1.0, cpu_per_s=1.2)], True),
        ([cell("chain", 0.5, "dataflow", 0.94, bound=1.0, cpu_per_s=1.2)], False),
        ([cell("chain", 5, "dataflow", 1.0, bound=1.0, cpu_per_s=1.4)], False),
        ([cell("low", OVERHEAD_US, "dataflow", 0.81, workers=1)], True),
        ([cell("low", OVERHEAD_US, "dataflow", 0.79, workers=1)], False),
        ([cell("low", OVERHEAD_US, "optimistic", 0.63, workers=1)], True),
        ([cell("low", OVERHEAD_US, "optimistic", 0.62, workers=1)], False),
        ([cell(str(i), 1, "auto", 1.0, regret=r, picked="x") for i, r in enumerate((0.01, 0.09))], True),
        ([cell(str(i), 1, "auto", 1.0, regret=r, picked="x") for i, r in enumerate((0.0, 0.11))], False),
        ([cell(str(i), 1, "auto", 1.0, regret=0.16 * (i == 0), picked="x") for i in range(9)], False),
        ([{"table": "misses", "executor": "waves", "miss_rate": 0.01, "to_perfect": 1.5, "to_serial": 9.0}], True),
        ([{"table": "misses", "executor": "waves", "miss_rate": 0.01, "to_perfect": 1.51, "to_serial": 0.1}], False),
        ([{"table": "misses", "executor": "waves", "miss_rate": 1.0, "to_perfect": 9.0, "to_serial": 2.5}], True),
        ([{"table": "misses", "executor": "waves", "miss_rate": 1.0, "to_perfect": 1.0, "to_serial": 2.6}], False),
    ],
)
def test_targets_are_missed_just_beyond_their_limits(rows, reached):
    (found,) = targets(rows)
    assert found.reached == reached
    assert str(found).startswith("reached: " if reached else "MISSED: ")


# ---------------------------------------------------------------------- doors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": ("low", "lows")}, "--cases 'lows' is unknown: all, or some of independent, low"),
        ({"cases": ("corpus",)}, "--cases corpus: needs the path of real blocks"),
        ({"n_tx": 9}, r"--n 9: must be in \[10, 1000000\]"),
        ({"rounds": 0}, "--rounds 0"),
        ({"workers": 0}, "--workers 0"),
        ({"workers": 10**6}, "--workers 1000000"),
        ({"work_us": (-1.0,)}, "--work -1.0"),
        ({"chart": Path("x.png")}, "--chart x.png with --no-break-even: there is nothing to draw"),
        ({"chart": Path("x.txt"), "break_even": True}, "--chart x.txt"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, message):
    with pytest.raises(PevmError, match=message):
        replace(SMALL, **change).check()


def test_words_of_the_command_line():
    made = Request.parse(None, 50, "5, 0.5,5", "low, mid,low", rounds=1)
    assert (made.work_us, made.cases) == ((0.5, 5.0), ("low", "mid"))
    assert Request.parse(None, 50, "1", "all").cases == tuple(EXECUTOR_CASES)
    assert Request.parse(Path("x"), 50, "1", "all").cases == (*EXECUTOR_CASES, "corpus")
    with pytest.raises(UsageError, match="--work '1;2': '1;2' is no number"):
        Request.parse(None, 50, "1;2", "all")


# ----------------------------------------------------------------- quiet rounds


def test_a_round_is_quiet_if_nothing_disturbed_it():
    calm = contest.Round((100, 110), 0.95, 50.0, 0.01)
    assert calm.quiet
    for change in ({"serial": (100, 120)}, {"serial": (120, 100)}, {"pair": 0.85}, {"waited_share": 0.05}):
        assert not replace(calm, **change).quiet


def test_patience_with_a_noisy_machine_ends(monkeypatch):
    monkeypatch.setattr(contest, "look", lambda workers: quiet.Moment(0.1, None))
    _, done = contest.contest(block_of(make_access("low", 50)), ("waves",), 2, 2)
    assert len(done) == 6
    assert not any(one.quiet for one in done)


def test_probes_of_the_cores():
    assert quiet.look(1) == quiet.Moment(1.0, None)
    moment = quiet.look(2)
    assert 0 < moment.pair <= 1
    assert moment.handoff_ns is None or moment.handoff_ns > 0
    before = quiet.waited_ns()
    after = quiet.waited_ns()
    assert (before is None) == (after is None)
    assert before is None or before <= after


def test_work_is_added_as_asked():
    block = block_of(make_access("independent", 200))
    assert with_work(block, 0.0) is block
    ten, twenty = (int(with_work(block, us).op_arg.max()) for us in (10.0, 20.0))
    assert 1.5 < twenty / ten < 2.6


# -------------------------------------------------------------------- break-even


def test_where_lines_cross():
    assert breakeven.crossing([1, 10, 100], [0.5, 2, 2]) == pytest.approx(10**0.5)
    assert breakeven.crossing([1, 2, 4, 8], [2, 0.9, 1.5, 0.99]) is None  # what counts is from where on it stays
    assert breakeven.crossing([1, 2, 4], [1.1, 0.5, 2]) == pytest.approx(2 * 2**0.5)
    points = [
        {"case": "low", "executor": name, "n_tx": 9, "workers": 2, "serial_ns_per_tx": us * 1e3,
         "speedup_given": us / 2, "speedup_computed": us / 4, "path_bound": 2.0}
        for name in contest.EXECUTORS for us in (4.0, 1.0, 2.0)
    ]  # fmt: skip
    for row in breakeven.crossing_rows(points):
        assert row["given_us"] == pytest.approx(2.0)
        assert row["computed_us"] == pytest.approx(4.0)
        assert row["least_us"] == 1.0


# ----------------------------------------------------------------------- scaling


def test_predictions_keep_to_their_bounds_and_stand_beside_measurements(tmp_path, capsys):
    request = replace(SMALL, work_us=(2.0,), cases=("independent", "chain"), rounds=1)
    rows = scaling.run(request, [1, 4, 10_000], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    assert fields_of(rows, "scaling") == set(TABLES["scaling"][1])
    assert {row["executor"] for row in rows} == set(scaling.MODEL_OF)
    for row in rows:
        assert 0 < row["predicted"] <= row["bound"] * (1 + 1e-9)
        assert row["bound"] <= row["workers"]
        assert (row["measured"] is not None) == (row["workers"] <= scaling._cores())
    wide = [row for row in rows if row["case"] == "independent" and row["executor"] == "dataflow"]
    assert [row["predicted"] for row in wide] == sorted(row["predicted"] for row in wide)
    chain = [row for row in rows if row["case"] == "chain" and row["executor"] in ("dataflow", "optimistic", "waves")]
    assert all(row["predicted"] <= 1 for row in chain)
    said = " ".join(capsys.readouterr().out.split())
    assert "Predicted: simulated with each transaction's measured cost" in said
    assert "1 predicted" in said


def test_predictions_of_nothing_measured(monkeypatch):
    """On one core all but the overheads is predicted; costs are measured all the same."""
    monkeypatch.setattr(scaling, "_cores", lambda: 1)
    rows = scaling.run(replace(SMALL, work_us=(1.0,), cases=("low",), rounds=1), [3])
    assert all(row["measured"] is None and row["serial_ns_per_tx"] > 0 for row in rows)


@pytest.mark.corpus
def test_real_blocks_as_one_case(shared, monkeypatch):
    paths = sorted((shared / "corpus" / "op_trace").glob("*.parquet"))[:2]
    blocks = [pn.read_block(path) for path in paths if "__" in path.name]
    monkeypatch.setattr(contest, "read_blocks", lambda path: blocks)
    ((name, block),) = contest.blocks_of(("corpus",), 10, Path("x"))
    assert (name, block.n_tx) == ("corpus", sum(b.n_tx for b in blocks))
    rows = measure_cell(name, block, 0.5, ("dataflow", "bal"), 2, 1)
    assert all(row["verified"] and row["n_tx"] == block.n_tx for row in rows)


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_clipped_on_a_narrow_terminal(few, capsys, monkeypatch, width):
    monkeypatch.setattr(tables, "_console", lambda: Console(width=width, highlight=False))
    run(replace(SMALL, work_us=(0.5,), cases=("low",), rounds=1))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    for name in contest.EXECUTORS:
        assert name in said


def test_a_barrier_follows_each_wave_that_is_worth_one():
    """Two waves of two on two workers: the first is worth sharing out, the second runs on one thread."""
    least = scaling.LEAST_WORK
    access = pn.AccessSets.from_dicts([{0: 2}, {1: 2}, {0: 2}, {1: 2}], n_keys=2)
    cost = np.array([least, least, 100, 50])
    line = pn.simulate(access, "waves", workers=2, cost=cost).timeline
    assert scaling._with_barriers(line, pn.schedule(access, "levels").wave_of, cost.astype(float), 7.0) == least + 7 + 150
