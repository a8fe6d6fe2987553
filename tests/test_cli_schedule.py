"""`schedule` and `simulate` on the command line: what is printed and written is what the functions say."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_cli import Command, in_process, one_line

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.block import Block
from pevm_numba.errors import FileFormatError, ScheduleError, UsageError
from pevm_numba.execute.costs import transaction_costs
from pevm_numba.io.files import write_blocks
from pevm_numba.io.paths import check_target
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
    """Names and texts, as far as the empty line; wrapped texts joined."""
    found: dict[str, str] = {}
    name = ""
    for line in text.split("\n\n")[0].splitlines():
        name = line.split("  ", 1)[0] or name
        found[name] = f"{found.get(name, '')} {line.split('  ', 1)[1].strip()}".strip()
    return found


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
    assert found["makespan"].startswith(f"{line.makespan:,.0f} (ops + 1) on 4 workers")
    share = limit.share(line.makespan, order_free=not POLICIES[policy])
    assert f"{share:.1%} of it reached" in found["bound"]
    assert found["speed-up"].startswith(f"{cost.sum() / line.makespan:.2f} over")
    assert found["idle"].startswith(f"{line.idle_share:.1%}")
    assert found["checked"] == "yes, against all conflicts"
    assert "by this" not in said.out
    assert all(len(row) <= 100 for row in said.out.splitlines())


def test_the_first_rows_are_the_first_to_start(command: Command, path: Path, block: pn.Block) -> None:
    out = command("schedule", "--input", path, "--policy", "list", "--workers", 3, "--cost", "unit", "--rows", 5).out
    rows = out.split("\n\n")[1].splitlines()
    assert rows[0] == "the first 5 of 60 to start; start, end and cost: unit costs"
    assert rows[1].split() == ["transaction", "wave", "position", "worker", "start", "end", "cost"]
    plan = pn.schedule(block, "list", workers=3)
    assert plan.timeline is not None
    starts = []
    for row in rows[3:]:
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
    words = f"mis, 60 transactions in {_waves(out)} waves; checked: yes, against all conflicts"
    assert (said.code, said.out) == (0, f"{out}: {words}\n")
    found = json.loads(out.read_text())
    line = Timeline(found["n_workers"], found["worker"], found["start"], found["end"], found["makespan"])
    position = np.argsort(found["serial_order"])
    waves = [np.flatnonzero(np.equal(found["wave"], w)).tolist() for w in range(found["waves"])]
    made = Schedule.from_waves("mis", [sorted(w, key=lambda t: position[t]) for w in waves], found["serial_order"], line)
    assert made == pn.schedule(block, "mis", workers=4, cost=transaction_costs(block, "gas"))
    assert found["cost"] == transaction_costs(block, "gas").tolist()
    assert (found["block_number"], found["n_tx"], found["cost_unit"]) == (7, 60, "gas")
    assert (found["block_order"], found["schema"]) == (False, "pevm_numba.schedule/1")
    assert (found["checked_against"], found["valid_for_block"]) == ("all conflicts", True)
    assert (found["input"], found["block_digest"]) == (str(path), block.digest())
    assert found["package_version"] == pn.__version__
    assert read_schedule(out) == made
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
    other = tmp_path / "plan.json"
    assert command("schedule", "--input", path, "--policy", "list", "--workers", 4, "--output", other).code == 0
    assert read_schedule(other) == read_schedule(out)
    whole, metadata = json.loads(other.read_text()), table.schema.metadata
    assert (metadata[b"cost_unit"], metadata[b"priority"], metadata[b"oracle"]) == (b"gas", b"longest-path", b"static")
    for name, value in whole.items():
        if not isinstance(value, list) and name not in ("schema", "block_number", "n_tx"):
            assert metadata[name.encode()].decode() == (value if isinstance(value, str) else json.dumps(value)), name


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
    assert pairs(said.out)["dependencies"] == "static access sets; fields storage, balance, whole accounts: for analysis only"
    assert pairs(said.out)["waves"].endswith(", by this selection")
    assert "by this selection" in pairs(said.out)["bound"]
    view = pn.select(pn.access_sets(block), block, fields=["storage", "balance"], granularity="account")
    assert pairs(said.out)["waves"].startswith(f"{pn.schedule(view).n_waves};")
    assert "analysis" not in command("schedule", "--input", path).out


@pytest.mark.parametrize(
    "flags", [["--oracle", "degraded", "--miss-rate", 0.6], ["--fields", "code"], ["--oracle", "eip2930", "--fields", "code"]]
)
def test_a_schedule_of_an_estimate_is_also_checked_against_all_conflicts(
    command: Command, path: Path, block: pn.Block, tmp_path: Path, flags: list[object]
) -> None:
    said = command("schedule", "--input", path, "--workers", 2, *flags)
    assert said.code == 0
    found = pairs(said.out)["checked"]
    assert found.startswith("holds for the access sets used; NOT valid for the block: transaction ")
    out = tmp_path / "plan.json"
    said = command("schedule", "--input", path, "--workers", 2, *flags, "--output", out)
    assert "NOT valid for the block: transaction " in said.out
    whole = json.loads(out.read_text())
    assert (whole["checked_against"], whole["valid_for_block"]) == ("the access sets used", False)
    with pytest.raises(ScheduleError, match=re.escape(whole["first_violation"])):
        pn.check_schedule(read_schedule(out), pn.access_sets(block), block=block)
    coarser = command("schedule", "--input", path, "--workers", 2, "--granularity", "account")
    assert pairs(coarser.out)["checked"] == "yes, against all conflicts"  # more conflicts than there are do no harm


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
    ("flags", "part"),
    [
        (["--policy", "best"], "--policy 'best' is unknown: one of levels, list"),
        (["--policy", "mis", "--priority", "block"], "--priority 'block' with --policy mis: this has no priorities"),
        (["--policy", "list", "--priority", "x"], "--priority 'x' with --policy list: is unknown: one of longest-path"),
        (["--workers", 0], "--workers 0: must be in [1, 2147483647]"),
        (["--cost", "euro"], "--cost 'euro' is unknown: one of unit, accesses, ops, gas, chain-gas, ns"),
        (["--oracle", "dream"], "--oracle 'dream' is unknown: one of static"),
        (["--oracle", "degraded", "--miss-rate", "1.5"], "--miss-rate 1.5: must be in [0, 1]"),
        (["--oracle", "degraded", "--miss-rate", "nan"], "--miss-rate nan: must be in [0, 1]"),
        (["--miss-rate", "0.5"], "--miss-rate 0.5 without --oracle degraded: only"),
        (["--seed", "-1"], "--seed -1: must be in [0, "),
        (["--number", "-1"], "--number -1: must be in [0, "),
        (["--fields", "storage,,code"], "--fields 'storage,,code': '' is unknown"),
        (["--fields", "colour"], "--fields 'colour': 'colour' is unknown: all, or some of storage"),
        (["--granularity", "byte"], "--granularity 'byte' is unknown: one of slot, account"),
        (["--fee-recipient", "me"], "--fee-recipient 'me' is unknown: one of commutative"),
        (["--rows", "-1"], "--rows -1"),
        (["--output", "plan.csv"], "--output plan.csv: must be NAME.json or NAME.parquet"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_schedule_refuses_a_bad_value_in_one_line_before_the_block_is_read(
    command: Command, path: Path, flags: list[object], part: str, there: bool
) -> None:
    one_line(command("schedule", "--input", path if there else path.with_name("missing"), *flags), 2, part)


def test_a_number_that_is_missing_is_asked_for_by_its_option(command: Command, tmp_path: Path) -> None:
    write_blocks(tmp_path / "two.parquet", [pn.generate(n_tx=2, number=1), pn.generate(n_tx=2, number=2)])
    for name in ("schedule", "simulate", "inspect"):
        one_line(command(name, "--input", tmp_path / "two.parquet"), 1, "say which with --number")


def test_chain_gas_is_a_cost_where_the_block_carries_it(command: Command, path: Path) -> None:
    one_line(command("schedule", "--input", path, "--cost", "chain-gas"), 1, "--cost chain-gas: ", "does not know")


# -------------------------------------------------------------------- what is never overwritten


@pytest.mark.parametrize(("name", "option"), [("schedule", "--output"), ("simulate", "--json"), ("benchmark", "--output")])
def test_the_input_and_its_companions_are_never_overwritten(
    command: Command, block: pn.Block, tmp_path: Path, name: str, option: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source, outside = folder / "z.parquet", tmp_path / "link.json"
    write_blocks(source, pn.Block.from_programs([[("SSTORE", (1, 0), 5)]], {(1, 0): 4}, number=7))
    os.link(folder / "z.state.parquet", outside)
    before = {item: item.read_bytes() for item in folder.iterdir()}
    assert len(before) == 3
    for target in (*before, folder / "other.state.parquet", folder / "OTHER.BLOCKS.PARQUET"):
        one_line(command(name, "--input", source, option, target), 2, f"{option} {target}: ")
    one_line(command(name, "--input", source, option, outside), 2, "is read as part of the input")
    for target in (folder / "new.json", folder / "z.parquet"):
        one_line(command(name, "--input", folder, option, target), 2, f"{option} {target}: ")
    one_line(command(name, "--input", source, option, tmp_path / "none" / "x.json"), 1, str(tmp_path / "none"))
    one_line(command(name, "--input", source, option, tmp_path / "x.txt"), 2, f"{option} ", "must be NAME.json")
    assert {item: item.read_bytes() for item in folder.iterdir()} == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["in", "link.json"]


def test_folders_that_are_read_beside_traces_are_not_written_to(tmp_path: Path) -> None:
    for name in ("op_trace", "state", "cryo", "free"):
        (tmp_path / name).mkdir()
    trace = tmp_path / "op_trace" / "ethereum__op_trace__1_to_1.parquet"
    trace.write_bytes(b"PAR1")
    for source in (trace, trace.parent):
        for name in ("op_trace", "state", "cryo"):
            with pytest.raises(UsageError, match=r"--json .*x\.json: is inside .*, which is read as input"):
                check_target("--json", tmp_path / name / "x.json", [source])
        check_target("--json", tmp_path / "free" / "x.json", [source])
        check_target("--json", tmp_path / "x.json", [source])
    with pytest.raises(UsageError, match="is the input"):
        check_target("--json", trace, [trace])


def test_a_schedule_file_is_not_taken_for_a_block_file(command: Command, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.parquet"
    assert command("schedule", "--input", path, "--output", out).code == 0
    with pytest.raises(FileFormatError):
        pn.read_block(out)
    other = tmp_path / "plan.json"
    assert command("schedule", "--input", path, "--output", other).code == 0
    for name in ("schedule", "simulate", "execute", "inspect"):
        for plan in (out, other):
            one_line(command(name, "--input", plan), 1, f"{plan}: is a schedule file")


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
        assert (row["input"], row["block_digest"], row["package_version"]) == (str(path), block.digest(), pn.__version__)
        assert row["bound_share"] == pytest.approx(run.bound / run.makespan)
        assert row["wasted_share"] == pytest.approx(run.wasted / (cost.sum() + run.wasted))
    head = pairs(said.out)
    assert head["costs"].startswith("ops + 1: ")
    assert head["overheads"].startswith("barrier 5, dispatch 1, validation 2, cold read 3, prefetch 4;")
    assert head["priority"] == "longest-path, for list and two-pass"
    shown = figures(said.out)
    assert len(shown) == len(runs)
    for cells, run in zip(shown, runs):
        assert int(cells["workers"]) == run.workers
        assert float(cells["makespan"].replace(",", "")) == pytest.approx(run.makespan, rel=1e-3)
        assert float(cells["bound"].replace(",", "")) == pytest.approx(run.bound, rel=1e-3)
        assert float(cells["bound %"]) == pytest.approx(100 * run.bound / run.makespan, abs=0.06)
        assert float(cells["speed-up"]) == pytest.approx(run.speedup, abs=0.006)
        assert (int(cells["again"]), int(cells["valid."].replace(",", ""))) == (run.reexecutions, run.validations)
        assert float(cells["idle %"]) == pytest.approx(100 * run.idle_share, abs=0.06)


def figures(text: str) -> list[dict[str, str]]:
    """Rows of the table by heading, its parts joined; model names left out."""
    parts: list[list[list[str]]] = []
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("model "):
            names = re.split(r"\s{2,}", line.strip())[1:]
            body = (row.split()[-len(names) :] for row in lines[i + 2 :])
            parts.append([names])
            parts[-1] += [*takewhile_figures(body, len(names))]
    return [
        {name: cell for part in parts for name, cell in zip(part[0], part[r + 1])} for r in range(len(parts[0]) - 1)
    ]  # fmt: skip


def takewhile_figures(rows: Iterator[list[str]], size: int) -> Iterator[list[str]]:
    """The rows of one part; empty lines between models left out."""
    for row in rows:
        if row and (len(row) != size or not re.fullmatch(r"[\d.,]+", row[-1])):
            return
        if row:
            yield row


#: Costs of many digits, so that the widest figures are there.
_WIDE = ["--barrier", 1e12, "--dispatch", 123456789, "--cold-read", 1e11]


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize("flags", [[], _WIDE], ids=["plain", "wide"])
def test_no_figure_is_clipped_whatever_the_width_of_the_console(
    command: Command, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, flags: list[object]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = tmp_path / "runs.json"
    said = command("simulate", "--input", path, "--workers", "1,16", *flags, "--json", out)
    assert said.code == 0
    assert "…" not in said.out
    assert columns < 80 or all(len(line) <= columns for line in said.out.splitlines())
    shown, found = figures(said.out), json.loads(out.read_text())
    assert len(shown) == len(found)
    for cells, row in zip(shown, found):
        assert len(cells) == 10
        assert float(cells["makespan"].replace(",", "")) == pytest.approx(row["makespan"], rel=1e-3)
        assert int(cells["valid."].replace(",", "")) == row["validations"]
    said = command("schedule", "--input", path, "--policy", "mis", "--workers", 2)
    assert "…" not in said.out
    assert columns < 80 or all(len(line) <= columns for line in said.out.splitlines())


def test_one_worker_and_bare_counts_are_said_as_such(command: Command, path: Path) -> None:
    said = command("schedule", "--input", path, "--workers", 1, "--cost", "unit")
    assert pairs(said.out)["makespan"].startswith("60 (unit costs) on 1 worker,")
    assert "(accesses + 1) on 2 workers" in command("schedule", "--input", path, "--workers", 2, "--cost", "accesses").out


def test_simulate_takes_some_models_once_and_all_among_them_is_all(command: Command, path: Path, block: pn.Block) -> None:
    def models(text: str) -> list[str]:
        out = command("simulate", "--input", path, "--models", text, "--workers", 8, "--cost", "unit").out
        names = [line.split()[0] for line in out.splitlines() if line.startswith(tuple(f"{m} " for m in MODELS))]
        return list(dict.fromkeys(names))

    assert models("waves,list") == ["waves", "list"]
    assert models("list, list") == ["list"]
    assert models("list,all") == list(MODELS)
    out = command("simulate", "--input", path, "--models", "list,list", "--workers", 8, "--cost", "unit").out
    assert len(figures(out)) == 1


def test_simulate_knows_no_estimates_since_what_they_miss_would_not_exist(command: Command, path: Path) -> None:
    for flags in (["--oracle", "degraded"], ["--miss-rate", 0.5]):
        said = command("simulate", "--input", path, *flags)
        assert said.code == 2
        assert "No such option" in said.err
    said = command("simulate", "--input", path, "--fields", "storage", "--models", "bal")
    assert pairs(said.out)["dependencies"] == "static access sets; fields storage: for analysis only"
    assert "priority" not in pairs(said.out)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--models", "list,magic"], "--models 'list,magic': 'magic' is unknown: all, or some of serial, waves"),
        (["--models", ""], "--models ''"),
        (["--workers", "4,0"], "--workers '4,0': must be integers from 1 on"),
        (["--workers", ""], "--workers '': must be integers from 1 on"),
        (["--workers", "many"], "--workers 'many'"),
        (["--barrier", "-1"], "--barrier -1.0: must be in [0, 1"),
        (["--cold-read", "nan"], "--cold-read nan"),
        (["--validation", "inf"], "--validation inf"),
        (["--prefetch", "-1"], "--prefetch -1"),
        (["--models", "waves", "--priority", "block"], "--priority 'block' with --models waves: this has no priorities"),
        (["--priority", "x"], "--priority 'x' with --models all: is unknown: one of"),
        (["--cost", "euro"], "--cost 'euro'"),
        (["--json", "x.txt"], "--json x.txt: must be NAME.json"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_simulate_refuses_a_bad_value_in_one_line_before_the_block_is_read(
    command: Command, path: Path, flags: list[object], part: str, there: bool
) -> None:
    one_line(command("simulate", "--input", path if there else path.with_name("missing"), *flags), 2, part)


def test_prefetch_knows_only_the_list_that_is_named(command, tmp_path):
    block = pn.generate("small", n_tx=40, cold_ratio=0.5, seed=3)
    pn.write_blocks(tmp_path / "b.parquet", block)
    words = ["simulate", "--input", tmp_path / "b.parquet", "--models", "list", "--workers", 4, "--cold-read", 500,
             "--prefetch", 8]  # fmt: skip
    found = {}
    for name in ("static", "eip2930"):
        assert command(*words, "--prefetch-list", name, "--json", tmp_path / f"{name}.json").code == 0
        (row,) = json.loads((tmp_path / f"{name}.json").read_text())
        found[name] = row["makespan"]
        assert row["prefetch_list"] == name
    for name, makespan in found.items():
        over = pn.Overheads(cold_read=500, prefetch=8, prefetch_access=pn.access_sets(block, name))
        assert pn.simulate(block, workers=4, cost=pn.transaction_costs(block), overheads=over).makespan == makespan
    assert found["static"] != found["eip2930"]
    said = command(*words, "--prefetch-list", "eip2930", "--granularity", "account")
    assert (said.code, "--prefetch-list" in said.err) == (2, True)
    assert "of the eip2930 list" in command(*words, "--prefetch-list", "eip2930").out
