"""`schedule` and `simulate` on the command line: what is printed and written is what the functions say."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_cli import Command, in_process, one_line

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.block import Block
from pevm_numba.errors import FileFormatError
from pevm_numba.execute.costs import transaction_costs
from pevm_numba.io.files import write_blocks
from pevm_numba.io.schedule_file import read_schedule
from pevm_numba.schedule.bounds import bounds
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.policies import POLICIES
from pevm_numba.schedule.simulate import MODELS, Overheads, simulate
from pevm_numba.schedule.timeline import Timeline


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """`python -m pevm_numba WORDS` in this process."""
    log = logging.getLogger("pevm_numba")
    level = log.level
    yield in_process(cli.main, monkeypatch, capsys)
    log.setLevel(level)


BLOCK = {"n_tx": 60, "key_space": 40, "conflict_ratio": 0.6, "seed": 1, "number": 7}


@pytest.fixture(scope="module")
def block() -> pn.Block:
    return pn.generate(**BLOCK)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, block: pn.Block) -> Path:
    out = tmp_path_factory.mktemp("blocks") / "small.parquet"
    write_blocks(out, block)
    return out


def pairs(text: str) -> dict[str, str]:
    """Lines of names and texts, as far as the empty line."""
    head = text.split("\n\n")[0]
    return {line.split("  ", 1)[0]: line.split("  ", 1)[1].strip() for line in head.splitlines()}


# -------------------------------------------------------------------- schedule


@pytest.mark.parametrize("policy", list(POLICIES))
def test_schedule_prints_what_the_functions_say(command: Command, path: Path, block: pn.Block, policy: str) -> None:
    said = command("schedule", "--input", path, "--policy", policy, "--workers", 4, "--cost", "ops")
    assert (said.code, said.err) == (0, "")
    cost, access = transaction_costs(block, "ops"), pn.access_sets(block)
    plan, limit = pn.schedule(block, policy, workers=4, cost=cost), bounds(access, cost, 4)
    line = plan.timeline
    assert line is not None
    found = pairs(said.out)
    assert found["block"] == "7: 60 transactions"
    assert found["policy"].startswith(policy)
    assert ("block order kept" in found["policy"]) == POLICIES[policy]
    assert ("not a way to validate" in found["policy"]) != POLICIES[policy]
    assert found["waves"].startswith(f"{plan.n_waves}; ")
    assert found["makespan"] == f"{line.makespan:,.0f} ops on 4 workers"
    share = limit.share(line.makespan, order_free=not POLICIES[policy])
    assert f"{share:.1%} of it reached" in found["bound"]
    assert found["speed-up"].startswith(f"{cost.sum() / line.makespan:.2f} over")
    assert found["idle"].startswith(f"{line.idle_share:.1%}")
    assert found["checked"].startswith("yes")
    assert all(len(row) <= 100 for row in said.out.splitlines())


def test_the_first_rows_are_the_first_to_start(command: Command, path: Path, block: pn.Block) -> None:
    out = command("schedule", "--input", path, "--policy", "list", "--workers", 3, "--cost", "unit", "--rows", 5).out
    rows = out.split("\n\n")[1].splitlines()
    assert rows[0].split() == ["transaction", "wave", "position", "worker", "start", "end", "cost"]
    assert rows[-1].split() == ["...", "55", "more"]
    plan = pn.schedule(block, "list", workers=3)
    assert plan.timeline is not None
    starts = []
    for row in rows[1:-1]:
        tx, wave, position, worker, start, end, cost = (int(word) for word in row.split())
        assert (wave, position, worker) == (plan.wave_of[tx], tx, plan.timeline.worker[tx])
        assert (start, end, cost) == (plan.timeline.start[tx], plan.timeline.end[tx], 1)
        starts.append(start)
    assert starts == sorted(plan.timeline.start)[:5]
    assert "\n\n" not in command("schedule", "--input", path, "--rows", 0).out
    one_line(command("schedule", "--input", path, "--rows", -1), 2, "--rows -1")


def test_json_holds_the_summary_and_every_transaction(command: Command, path: Path, block: pn.Block, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    said = command("schedule", "--input", path, "--policy", "mis", "--workers", 4, "--cost", "gas", "--output", out)
    assert (said.code, said.out) == (0, f"{out}:  mis, 60 transactions in {_waves(out)} waves, checked\n")
    found = json.loads(out.read_text())
    line = Timeline(found["n_workers"], found["worker"], found["start"], found["end"], found["makespan"])
    position = np.argsort(found["serial_order"])
    waves = [np.flatnonzero(np.equal(found["wave"], w)).tolist() for w in range(found["waves"])]
    made = Schedule.from_waves("mis", [sorted(w, key=lambda t: position[t]) for w in waves], found["serial_order"], line)
    assert made == pn.schedule(block, "mis", workers=4, cost=transaction_costs(block, "gas"))
    assert found["cost"] == transaction_costs(block, "gas").tolist()
    assert (found["block_number"], found["n_tx"], found["cost_unit"]) == (7, 60, "gas")
    assert (found["block_order"], found["checked"], found["schema"]) == (False, True, "pevm_numba.schedule/1")
    assert found["speedup"] == pytest.approx(found["total_cost"] / found["makespan"])


def _waves(path: Path) -> int:
    return json.loads(path.read_text())["waves"]


def test_parquet_is_a_schedule_file(command: Command, path: Path, block: pn.Block, tmp_path: Path) -> None:
    out = tmp_path / "plan.parquet"
    assert (
        command("schedule", "--input", path, "--policy", "list", "--workers", 4, "--cost", "gas", "--output", out).code == 0
    )
    cost = transaction_costs(block, "gas")
    assert read_schedule(out) == pn.schedule(block, "list", workers=4, cost=cost)
    table = pq.read_table(out)
    assert set(table["block_number"].to_pylist()) == {7}
    assert table["cost"].to_pylist() == cost.tolist()


def test_priority_seed_and_oracle_reach_the_policy(command: Command, path: Path, block: pn.Block, tmp_path: Path) -> None:
    out = tmp_path / "plan.parquet"
    flags = ["--policy", "first-fit", "--priority", "random", "--seed", 5, "--workers", 2, "--cost", "unit"]
    assert command("schedule", "--input", path, *flags, "--output", out).code == 0
    assert read_schedule(out) == pn.schedule(block, "first-fit", priority="random", seed=5, workers=2)
    flags = ["--oracle", "degraded", "--miss-rate", 0.5, "--seed", 3, "--workers", 2, "--cost", "unit"]
    assert command("schedule", "--input", path, *flags, "--output", out).code == 0
    guess = pn.access_sets(block, "degraded", miss_rate=0.5, seed=3)
    assert read_schedule(out) == pn.schedule(guess, workers=2, block=block)
    assert "degraded access sets (missed 0.5, seed 3)" in command("schedule", "--input", path, *flags).out


def test_fewer_dependencies_are_said_to_be_for_analysis(command: Command, path: Path, block: pn.Block) -> None:
    said = command("schedule", "--input", path, "--fields", "storage, balance", "--granularity", "account")
    assert "fields storage, balance, accounts, credits commutative: for analysis only" in said.out
    view = pn.select(pn.access_sets(block), block, fields=["storage", "balance"], granularity="account")
    assert pairs(said.out)["waves"].startswith(f"{pn.schedule(view).n_waves};")
    assert "analysis" not in command("schedule", "--input", path).out


@pytest.mark.parametrize("name", ["schedule", "simulate"])
def test_a_block_without_transactions_can_be_looked_at(command: Command, tmp_path: Path, name: str) -> None:
    write_blocks(tmp_path / "e.parquet", Block.from_programs([], number=3))
    said = command(name, "--input", tmp_path / "e.parquet")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("block")
    out = tmp_path / "plan.parquet"
    assert command("schedule", "--input", tmp_path / "e.parquet", "--workers", 2, "--output", out).code == 0
    assert read_schedule(out).timeline == Timeline(2, [], [], [], 0)


@pytest.mark.parametrize(
    ("flags", "code", "part"),
    [
        (["--policy", "best"], 1, "policy = 'best': must be one of levels, list"),
        (["--policy", "mis", "--priority", "block"], 1, "this policy has no priorities"),
        (["--workers", 0], 1, "workers = 0"),
        (["--cost", "euro"], 2, "--cost 'euro' is unknown: one of unit, accesses, ops, gas, ns"),
        (["--oracle", "dream"], 1, "'dream'"),
        (["--fields", "storage,,code"], 2, "--fields 'storage,,code'"),
        (["--fields", "colour"], 1, "field 'colour' is unknown"),
        (["--output", "plan.csv"], 2, "--output plan.csv: must be NAME.json or NAME.parquet"),
    ],
)
def test_schedule_refuses_a_bad_value_in_one_line(
    command: Command, path: Path, flags: list[object], code: int, part: str
) -> None:
    one_line(command("schedule", "--input", path, *flags), code, part)


@pytest.mark.parametrize(("name", "option"), [("schedule", "--output"), ("simulate", "--json")])
def test_the_input_is_never_overwritten_nor_a_missing_folder_made(
    command: Command, path: Path, tmp_path: Path, name: str, option: str
) -> None:
    before = path.read_bytes()
    one_line(command(name, "--input", path, option, path), 2, f"{option} {path}: is the input")
    assert path.read_bytes() == before
    one_line(command(name, "--input", path, option, tmp_path / "none" / "x.json"), 1, str(tmp_path / "none"))


def test_a_schedule_file_is_not_taken_for_a_block_file(command: Command, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.parquet"
    assert command("schedule", "--input", path, "--output", out).code == 0
    with pytest.raises(FileFormatError):
        pn.read_block(out)


# -------------------------------------------------------------------- simulate


def test_simulate_prints_and_writes_what_the_simulator_says(
    command: Command, path: Path, block: pn.Block, tmp_path: Path
) -> None:
    out = tmp_path / "runs.json"
    flags = ["--barrier", 5, "--dispatch", 1, "--validation", 2, "--cold-read", 3, "--prefetch", 4]
    said = command("simulate", "--input", path, "--workers", "1, 4", "--cost", "ops", *flags, "--json", out)
    assert (said.code, said.err) == (0, "")
    found = json.loads(out.read_text())
    over, cost = Overheads(5, 1, 2, 3, 4), transaction_costs(block, "ops")
    runs = [simulate(pn.access_sets(block), model, workers=w, cost=cost, overheads=over) for model in MODELS for w in (1, 4)]
    assert [(row["model"], row["workers"]) for row in found] == [(run.model, run.workers) for run in runs]
    for row, run in zip(found, runs):
        assert row == row | run.row()
        assert (row["block_number"], row["cost_unit"], row["barrier"], row["prefetch"]) == (7, "ops", 5, 4)
    lines = said.out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    table = [line.split() for line in lines if line.split()[:1] and line.split()[-1].replace(".", "").isdigit()]
    shown = [row[-9:] for row in table if len(row) in (9, 10)]
    for cells, run in zip(shown, runs):
        assert int(cells[0]) == run.workers
        assert float(cells[1].replace(",", "")) == pytest.approx(run.makespan, rel=1e-3)
        assert float(cells[2]) == pytest.approx(run.speedup, abs=0.006)
        assert (int(cells[4]), int(cells[5].replace(",", ""))) == (run.reexecutions, run.validations)
        assert float(cells[7]) == pytest.approx(100 * run.idle_share, abs=0.06)
    assert len(shown) == len(runs)


def test_simulate_takes_some_models_and_ends_with_the_bound(command: Command, path: Path, block: pn.Block) -> None:
    said = command("simulate", "--input", path, "--models", "waves,list", "--workers", 8, "--cost", "unit")
    names = [line.split()[0] for line in said.out.splitlines() if line.startswith((" waves", " list", " bound", " serial"))]
    assert names == ["waves", "list", "bound"]
    (row,) = [line.split() for line in said.out.splitlines() if line.startswith(" bound ")]
    limit = bounds(pn.access_sets(block), None, 8)
    assert float(row[2]) == pytest.approx(limit.makespan, rel=1e-3)
    assert float(row[3]) == pytest.approx(limit.max_speedup, abs=0.006)


@pytest.mark.parametrize(
    ("flags", "code", "part"),
    [
        (["--models", "list,magic"], 2, "--models 'magic' is unknown: all, or some of serial, waves"),
        (["--models", ""], 2, "--models ''"),
        (["--workers", "4,0"], 2, "--workers '4,0': must be integers from 1 on"),
        (["--workers", "many"], 2, "--workers 'many'"),
        (["--barrier", "-1"], 1, "barrier = -1.0"),
        (["--prefetch", "-1"], 1, "prefetch = -1"),
        (["--models", "waves", "--priority", "block"], 1, "priority = 'block'"),
        (["--cost", "euro"], 2, "--cost 'euro'"),
    ],
)
def test_simulate_refuses_a_bad_value_in_one_line(
    command: Command, path: Path, flags: list[object], code: int, part: str
) -> None:
    one_line(command("simulate", "--input", path, *flags), code, part)
