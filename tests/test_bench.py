"""The benchmark: its figures follow from each other, and nothing is shown for a result that was not proved."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from strategies import blocks
from test_cli import ROOT, Command, in_process, one_line, shell

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.oracles import access_sets
from pevm_numba.bench import __main__ as main
from pevm_numba.bench import session
from pevm_numba.bench.report import table
from pevm_numba.bench.scenarios import DEFAULT_PRESETS, add_noops
from pevm_numba.block import Block
from pevm_numba.errors import BlockError
from pevm_numba.execute.auto import PICKS
from pevm_numba.execute.micro_ops import JOBS
from pevm_numba.execute.run import execute
from pevm_numba.fields import FIELDS
from pevm_numba.generate import PRESETS, generate
from pevm_numba.io.files import block_numbers, read_block, write_blocks
from pevm_numba.machine.ops import Op
from pevm_numba.metrics import Rounds, percentiles_ms, time_fields
from pevm_numba.schedule.bounds import critical_path_cost
from pevm_numba.schedule.conflicts import conflict_counts

pytestmark = pytest.mark.skipif(DISABLED, reason="times of kernels, and no kernel is compiled")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m pevm_numba.bench WORDS` in this process."""
    return in_process(main.main, monkeypatch, capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Block files: `hot` (many conflicts, number 3), `free` (none, number 4) and `empty` (number 5)."""
    path = tmp_path_factory.mktemp("blocks")
    write_blocks(path / "hot.parquet", generate(n_tx=200, key_space=20, conflict_ratio=0.8, seed=1, number=3))
    write_blocks(path / "free.parquet", generate(n_tx=100, pattern="independent", number=4))
    write_blocks(path / "empty.parquet", Block.from_programs([], number=5))
    return path


def rows_of(bench: Command, path: Path, *words: object) -> list[dict[str, Any]]:
    """The JSON of a run that went well."""
    said = bench(*words, "--json", path, "--repeat", 3)
    assert (said.code, said.err) == (0, ""), said
    rows = json.loads(path.read_text())
    assert isinstance(rows, list)
    return rows


def consistent(row: dict[str, Any]) -> None:
    """Laws between the fields of one measurement."""
    assert set(row) == set(FIELDS)
    assert row["verified"] is True
    assert row["speedup"] == row["serial_time_ms"] / row["parallel_time_ms"]
    assert row["speedup_execute"] == row["serial_time_ms"] / row["execute_time_ms"]
    assert row["execute_time_ms"] <= row["parallel_time_ms"]
    assert row["speedup_execute_low"] <= row["speedup_execute_high"]
    assert row["bound_share"] == (row["speedup_execute"] / row["bound"] if row["n_tx"] else None)
    if row["n_tx"]:
        assert 1 <= row["bound"] <= row["workers"]
        assert 1 <= row["bound_gas"] <= row["workers"]
        assert row["parallel_waves"] <= row["waves"]
    else:
        nothing = ("bound", "bound_gas", "bound_share", "iops", "tx_latency_p50_ms", "preexec_recall")
        assert all(row[name] is None for name in nothing)
        return
    n_tx, n_waves = row["n_tx"], row["waves"]
    pairs = n_tx * (n_tx - 1) / 2
    assert row["conflict_rate"] == (row["conflict_pairs"] / pairs if pairs else 0)
    assert row["avg_wave_size"] == (n_tx / n_waves if n_waves else None)
    assert row["work_per_tx_us"] == (row["serial_time_ms"] * 1e3 / n_tx if n_tx else None)
    assert row["tx_latency_p50_ms"] <= row["tx_latency_p95_ms"] <= row["tx_latency_p99_ms"]
    assert 0 <= row["rounds_quiet"] <= row["rounds"] == 3
    for name in ("preexec_precision", "preexec_recall"):
        assert row[name] is None if row["oracle"] is None else 0 <= row[name] <= 1
    assert row["critical_path"] <= max(n_tx, 0)
    numbers = [value for value in row.values() if isinstance(value, float)]
    assert all(math.isfinite(value) and value >= 0 for value in numbers)
    assert json.loads(json.dumps(row)) == row


# -------------------------------------------------------------------- what it writes


def test_every_field_is_defined_and_follows_from_the_others(bench, folder, tmp_path):
    rows = rows_of(bench, tmp_path / "x.json", "--input", folder, "--executor", "all", "--workers", 2)
    assert [(r["scenario"], r["executor"]) for r in rows] == [
        (f"block {number}", executor) for number in (3, 4, 5) for executor in JOBS
    ]
    for row in rows:
        consistent(row)
        assert row["requeued"] == row["runtime_conflicts"] == row["failed"] == 0
        assert row["executions"] == row["n_tx"] + row["reexecuted"]
        assert row["aborts"] == row["reexecuted"] == (row["reexecuted"] if row["executor"] == "optimistic" else 0)
        estimated = row["executor"] in ("waves", "dataflow") and row["n_tx"] > 0
        assert row["oracle"] == ("static" if row["executor"] in ("waves", "dataflow") else None)
        assert row["preexec_recall"] == row["preexec_precision"] == (1 if estimated else None)
        assert row["chain_gas_exact"] is None
        assert (row["waves"] > 0) == (row["executor"] == "waves" and row["n_tx"] > 0)


def test_the_figures_of_a_block_are_those_of_the_library(bench, folder, tmp_path):
    (row,) = rows_of(bench, tmp_path / "x.json", "--input", folder / "hot.parquet", "--executor", "waves")
    block = read_block(folder / "hot.parquet")
    access = access_sets(block)
    result = execute(block, "serial")
    assert row["total_gas"] == result.gas_used.sum()
    assert row["conflict_pairs"] == conflict_counts(access).pairs
    assert row["critical_path"] == critical_path_cost(access) == row["waves"]
    assert (row["n_tx"], row["n_ops"], row["n_keys"]) == (block.n_tx, block.n_ops, block.n_keys)
    accesses = row["iops"] * row["execute_time_ms"] / 1e3
    assert accesses == pytest.approx(result.observed.n_accesses)


def test_several_presets_and_inputs_make_one_list(bench, folder, tmp_path):
    words = ["--preset", "small", "--preset", "full-conflicts"]
    words += ["--input", folder / "free.parquet", "--input", folder / "hot.parquet", "--executor", "waves"]
    rows = rows_of(bench, tmp_path / "x.json", *words)
    assert [row["scenario"] for row in rows] == ["small", "full-conflicts", "block 4", "block 3"]
    assert [row["waves"] for row in rows][1:3] == [1000, 1]


def test_the_table_has_a_row_a_summary_and_the_comparison_of_graphs(bench):
    said = bench("--preset", "medium", "--repeat", 3, "--executor", "all", "--workers", 2)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("parallel and serial execution, 2 workers, milliseconds")
    assert "All 5 results verified (5,000 transactions)" in said.out
    assert all(f"\n{name}: serial " in said.out for name in JOBS if name != "serial")
    assert "serial: serial" not in said.out
    assert "Slower than serial (red): " in said.out
    assert "by key index" in said.out
    assert "testing all pairs" in said.out
    assert "Kernels ready in" in said.out


def test_without_arguments_the_three_presets_are_measured(bench, monkeypatch):
    measured = []

    def stub(scenario, options, warm):
        measured.append(scenario.name)
        raise BlockError("enough")

    monkeypatch.setattr(session, "measure", stub)
    one_line(bench(), 1, "enough")
    assert measured == ["small"]
    scenarios, total = session.Request().scenarios()
    assert (total, DEFAULT_PRESETS) == (3, ("small", "medium", "large"))
    assert [s.name for s in scenarios] == list(DEFAULT_PRESETS)


def test_the_seed_changes_the_presets(bench, tmp_path):
    gas = [rows_of(bench, tmp_path / "x.json", "--preset", "small", "--seed", s)[0]["n_keys"] for s in (42, 43, 42)]
    assert gas[0] == gas[2] == generate("small").n_keys
    assert gas[1] == generate("small", seed=43).n_keys


# -------------------------------------------------------------------- options


@pytest.mark.parametrize("policy", ["mis", "mis-parallel"])
def test_an_order_free_policy_is_measured_against_serial_in_its_own_order(bench, folder, tmp_path, policy):
    (row,) = rows_of(bench, tmp_path / "x.json", "--input", folder / "hot.parquet", "--policy", policy)
    consistent(row)
    assert row["policy"] == policy
    assert row["graph_ms"] > 0
    assert row["requeued"] == 0


def test_missed_accesses_are_counted_and_cost_no_correctness(bench, folder, tmp_path):
    words = ["--input", folder / "hot.parquet", "--executor", "waves", "--oracle", "degraded", "--miss-rate"]
    (half,) = rows_of(bench, tmp_path / "x.json", *words, 0.5)
    consistent(half)
    assert half["requeued"] > 0
    assert half["runtime_conflicts"] >= half["requeued"]
    assert half["preexec_recall"] == pytest.approx(0.5, abs=0.1)
    assert half["preexec_precision"] == 1
    (none,) = rows_of(bench, tmp_path / "x.json", *words, 1.0)
    assert none["preexec_recall"] == 0
    assert none["requeued"] >= half["requeued"]


@pytest.mark.parametrize("microseconds", [5, 50])
def test_work_makes_a_transaction_cost_about_that_much_more(bench, folder, tmp_path, microseconds):
    words = ["--input", folder / "free.parquet", "--executor", "serial"]
    (plain,) = rows_of(bench, tmp_path / "x.json", *words)
    (worked,) = rows_of(bench, tmp_path / "x.json", *words, "--work", microseconds)
    added = worked["work_per_tx_us"] - plain["work_per_tx_us"]
    assert microseconds / 10 < added < 10 * microseconds  # the machine may be busy while the step is measured
    assert worked["n_ops"] == plain["n_ops"] + plain["n_tx"]
    assert worked["work_us"] == microseconds


def test_the_warm_up_covers_every_executor_that_will_be_measured():
    for executor, warmed in (("all", list(JOBS)), ("auto", list(PICKS)), ("waves", ["waves"]), ("serial", ["serial"])):
        options = session.Request(executor=executor, work_us=3, workers=1).options()
        found = session._warming(options)
        assert [one.executor for one in found] == warmed
        assert all((one.work_us, one.workers) == (3, 1) for one in found)


def test_auto_reports_the_executor_that_it_picked(bench, folder, tmp_path):
    (row,) = rows_of(bench, tmp_path / "x.json", "--input", folder / "free.parquet", "--executor", "auto")
    assert row["executor"] in PICKS
    assert row["reason"].startswith("auto: 100 transactions, guessed work ")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--preset", "tiny"], ["--preset 'tiny' is unknown", "small, medium, large"]),
        (["--preset", "small", "--executor", "gpu"], ["--executor 'gpu' is unknown", "all, auto, serial, waves"]),
        (["--preset", "small", "--policy", "best"], ["--policy 'best' is unknown", "levels, list, mis, mis-"]),
        (["--preset", "small", "--oracle", "delphi"], ["--oracle 'delphi' is unknown", "static"]),
        (["--preset", "small", "--miss-rate", "0.5"], ["--miss-rate 0.5 without --oracle degraded", "degraded"]),
        (["--preset", "small", "--oracle", "degraded", "--miss-rate", "2"], ["--miss-rate 2", "[0, 1]"]),
        (["--preset", "small", "--repeat", "-3"], ["--repeat -3", "[1, "]),
        (["--preset", "small", "--repeat", "0"], ["--repeat 0", "[1, "]),
        (["--preset", "small", "--workers", "0"], ["--workers 0", "[1, "]),
        (["--preset", "small", "--work", "-1"], ["--work -1", "[0, 1e+06]"]),
        (["--preset", "small", "--work", "nan"], ["--work nan"]),
        (["--preset", "small", "--seed", "-1"], ["--seed -1"]),
        (["--preset", "small", "--workers", "9999"], ["--workers 9999", "NUMBA_NUM_THREADS"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_a_bad_argument_is_one_line_and_no_figure(bench, tmp_path, words, parts):
    one_line(bench(*words, "--json", tmp_path / "x.json"), 2, *parts)
    one_line(bench("--input", "nowhere.parquet", "--json", tmp_path / "x.json"), 1, "nowhere.parquet")
    assert list(tmp_path.iterdir()) == []


def test_the_json_is_refused_where_it_would_destroy_something(bench, folder, tmp_path):
    block = tmp_path / "b.json"
    pn.write_blocks(block, pn.Block.from_programs([[("SLOAD", (1, 0)), ("SSTORE", (2, 0), 5)]] * 3))
    before = block.read_bytes()
    one_line(bench("--input", block, "--json", block), 2, "--json", str(block))
    assert block.read_bytes() == before
    one_line(bench("--input", block, "--json", folder / "free.parquet"), 2, "must be NAME.json")
    (tmp_path / "folder.json").mkdir()
    one_line(bench("--input", block, "--json", tmp_path / "folder.json"), 1, "folder.json", "not a regular file")
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    assert bench("--input", block, "--repeat", 1, "--json", link).code == 0
    assert link.is_symlink()
    assert len(json.loads(target.read_text())) == 1


@pytest.mark.parametrize("width", [80, 100, 120, 130, 140, 160, 200, 220, 240])
def test_the_table_fits_the_terminal_and_loses_no_figure(width):
    row = {
        "scenario": "op_trace 14029313", "executor": "waves", "workers": 2, "work_us": 0, "n_tx": 1_414, "waves": 1_408,
        "conflict_rate": 0.992, "conflict_rate_exact": True, "critical_path": 1_408, "serial_time_ms": 26.151,
        "parallel_time_ms": 14.825, "execute_time_ms": 14.057, "speedup": 0.91, "speedup_execute": 1.86, "bound": 2.0,
        "bound_share": 0.93, "waits": 900, "reexecuted": 12, "requeued": 1_000, "verified": True,
    }  # fmt: skip
    out = io.StringIO()
    other = row | {"executor": "optimistic"}
    Console(file=out, width=width, highlight=False).print(table([row, other] if width > 80 else [row], width))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert ("optimistic" in text) == (width > 80)
    for figure in ("op_trace 14029313", "1,414", "1,408", "26.151", "14.825", "0.91", "1.86", "2.00"):
        assert figure in text


def test_misuse_is_exit_code_two_and_help_is_quick(bench):
    assert bench("--repeat", "often").code == 2
    assert bench("small").code == 2
    said = bench("--help")
    assert said.code == 0
    assert all(f"--{name}" in said.out for name in ("preset", "input", "executor", "workers", "work", "repeat", "json"))


def test_a_file_without_its_option_is_told_where_it_goes(bench, folder):
    for word in (folder, "mine.parquet"):
        one_line(bench(word), 2, f"{word}: no command", f"python -m pevm_numba.bench --input {word}")
    said = bench("executor")
    assert said.code == 2
    assert "No such command" in said.err


def test_the_json_must_have_somewhere_to_go(bench, folder, tmp_path):
    path = tmp_path / "none" / "x.json"
    one_line(bench("--input", folder / "free.parquet", "--repeat", 1, "--json", path), 1, str(path.parent))


# -------------------------------------------------------------------- proof before figures


@pytest.mark.parametrize(
    ("executor", "name"),
    [("dataflow", name) for name in ("values", "status", "gas_used", "digest", "output", "refund")]
    + [(executor, "values") for executor in ("waves", "optimistic", "bal")],
)
def test_a_wrong_result_ends_the_run_without_a_table_or_json(bench, folder, tmp_path, monkeypatch, executor, name):
    real = JOBS[executor].run

    def broken(job):
        done = real(job)
        if job.block.number == 3:  # the second block of the run: by then there would be a row to show
            array = job.space.values if name == "values" else getattr(job.space.receipts, name)
            array[-1] = array[-1] + array.dtype.type(1)
        return done

    monkeypatch.setattr(JOBS[executor], "run", broken)
    words = ["--input", folder / "free.parquet", "--input", folder / "hot.parquet", "--json", tmp_path / "x.json"]
    one_line(bench(*words, "--executor", executor), 3, f"block 3: {executor} differs from serial")
    assert list(tmp_path.iterdir()) == []


def test_an_old_json_survives_a_run_that_fails(bench, folder, tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text("old")
    monkeypatch.setattr(session, "measure", lambda *_: (_ for _ in ()).throw(BlockError("no")))
    one_line(bench("--input", folder / "free.parquet", "--json", path), 1, "no")
    assert path.read_text() == "old"


def test_the_first_run_says_that_it_compiles(tmp_path):
    env = os.environ | {"PEVM_NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "pevm_numba", "generate", "--n-tx", "2", "--output", str(tmp_path / "x.parquet")]
    first, second = (subprocess.run(line, env=env, capture_output=True, text=True, check=True).stderr for _ in range(2))
    assert first.startswith("Compiling kernels: up to a minute, this once; they are kept in ")
    assert first.count("\n") == 1
    assert second == ""


def test_a_process_of_its_own_is_quiet_when_piped(folder):
    said = shell("--input", folder / "free.parquet", "--repeat", 3, module="pevm_numba.bench")
    assert (said.code, said.err) == (0, "")
    assert "\x1b" not in said.out


# -------------------------------------------------------------------- real blocks


@pytest.mark.corpus
def test_a_real_block_uses_the_gas_of_the_chain(bench, shared, tmp_path):
    path = max((shared / "corpus" / "op_trace").glob("*.parquet"))
    (number,) = block_numbers(path)
    (row,) = rows_of(bench, tmp_path / "x.json", "--input", path)
    consistent(row)
    assert row["block_number"] == number
    assert row["scenario"].endswith(str(number))
    assert row["chain_gas_exact"] == row["n_tx"] > 0
    (worked,) = rows_of(bench, tmp_path / "x.json", "--input", path, "--work", 5)
    assert worked["chain_gas_exact"] is None


# -------------------------------------------------------------------- stand-in work


@given(blocks(failures=False), st.integers(1, 300))
def test_added_noops_change_gas_and_nothing_else(block, count):
    more = add_noops(block, count)
    assert more.to_programs() == [[*program, (Op.NOOP, count)] for program in block.to_programs()]
    assert more.state() == block.state()
    one, other = execute(block, "serial"), execute(more, "serial")
    for name in ("status", "refund", "output", "digest", "values"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.observed == other.observed
    extra = other.gas_used - one.gas_used
    assert (extra[one.refund <= 0] == count).all()  # else the cap of the refund grows with the gas
    assert ((extra >= 0) & (extra <= count)).all()


@given(blocks(), st.integers(1, 50))
def test_added_noops_keep_all_else_of_the_block(block, count):
    more = add_noops(block, count)
    assert (more.number, more.fork, more.header, more.meta) == (block.number, block.fork, block.header, block.meta)
    assert np.array_equal(more.sender, block.sender)
    assert np.array_equal(more.nonce, block.nonce)
    assert np.array_equal(more.gas_limit, block.gas_limit + count)
    assert access_sets(more) == access_sets(block)


@pytest.mark.parametrize("count", [0, -1, 2**31, 1.5])
def test_added_noops_must_be_a_count(count):
    with pytest.raises(BlockError, match="count = "):
        add_noops(Block.from_programs([[]]), count)


# -------------------------------------------------------------------- arithmetic of the figures


@st.composite
def some_rounds(draw: st.DrawFn) -> Rounds:
    """Raw times of one to six rounds."""
    n = draw(st.integers(1, 6))
    column = st.lists(st.integers(1, 10**9), min_size=n, max_size=n)
    return Rounds(*(draw(column) for _ in range(8)))


@given(some_rounds(), st.booleans())
def test_time_fields_are_medians_of_the_rounds_kept(rounds, has_graph):
    found = time_fields(rounds, has_graph=has_graph)
    pairs = list(zip(rounds.serial_before, rounds.serial_after))
    calm = [e <= 2 * min(rounds.execute) for e in rounds.execute]
    quiet = [c and abs(a - b) <= 0.15 * min(a, b) for (a, b), c in zip(pairs, calm)]
    keep = [i for i, q in enumerate(quiet) if q or sum(quiet) < 3]
    assert (found["rounds"], found["rounds_quiet"]) == (len(pairs), sum(quiet))
    assert found["serial_time_ms"] == pytest.approx(np.median([sum(pairs[i]) / 2 for i in keep]) / 1e6)
    assert found["execute_time_ms"] == pytest.approx(np.median([rounds.execute[i] for i in keep]) / 1e6)
    parts = (rounds.estimate, rounds.graph, rounds.schedule, rounds.execute)
    assert found["parallel_time_ms"] == pytest.approx(np.median([sum(p[i] for p in parts) for i in keep]) / 1e6)
    assert found["speedup"] == found["serial_time_ms"] / found["parallel_time_ms"]
    assert (found["graph_ms"] is None) == (not has_graph)
    assert found["speedup_execute_low"] <= found["speedup_execute_high"]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_percentiles_lie_between_the_extremes(nanoseconds):
    found = percentiles_ms(np.array(nanoseconds, np.int64), "tx_latency")
    p50, p95, p99 = (found[f"tx_latency_p{q}_ms"] for q in (50, 95, 99))
    low, high = min(nanoseconds), max(nanoseconds)
    assert low / 1e6 <= p50 * (1 + 1e-9)
    assert p50 <= p95 <= p99 <= high / 1e6 * (1 + 1e-9)


def test_every_preset_of_the_generator_can_be_named():
    request = session.Request(presets=tuple(PRESETS))
    assert [options.executor for options in request.options()] == ["dataflow"]
