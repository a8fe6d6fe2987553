"""The command line: one clear line for every mistake, quiet when piped, and the exit code says what happened."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.block import Block
from pevm_numba.execute.micro_ops import JOBS
from pevm_numba.fields import FIELDS
from pevm_numba.generate import generate
from pevm_numba.inspection import inspect_lines
from pevm_numba.io.files import read_block, read_blocks, write_blocks
from pevm_numba.metrics import fields_page

ROOT = Path(__file__).resolve().parents[1]


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


def without_compiling(text: str) -> str:
    """`text` less the line that a first use prints; whether kernels are compiled depends on what ran before."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("Compiling kernels: "))


def in_process(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Call an entry point as a shell would, without the start of a new interpreter."""

    def command(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["pevm_numba", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return Said(code, said.out, without_compiling(said.err))

    return command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """`python -m pevm_numba WORDS` in this process."""
    log = logging.getLogger("pevm_numba")
    level = log.level
    yield in_process(cli.main, monkeypatch, capsys)
    log.setLevel(level)


def shell(*words: object, module: str = "pevm_numba") -> Said:
    """The command in a process of its own, its output piped."""
    line = [sys.executable, "-m", module, *map(str, words)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    return Said(done.returncode, done.stdout, without_compiling(done.stderr))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A block file of one block, number 7, with conflicts."""
    path = tmp_path_factory.mktemp("blocks") / "small.parquet"
    write_blocks(path, generate(n_tx=40, key_space=30, conflict_ratio=0.6, seed=1, number=7))
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A block file of two blocks, numbers 1 and 2."""
    path = tmp_path_factory.mktemp("blocks") / "two.parquet"
    write_blocks(path, [generate(n_tx=5, number=1), generate(n_tx=6, number=2)])
    return path


def one_line(said: Said, code: int, *parts: str) -> None:
    """The command failed with this code, one line on stderr that holds these parts, and nothing else."""
    assert said.code == code, said
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert all(part in said.err for part in parts), said.err


# -------------------------------------------------------------------- generate


def test_generate_takes_the_seeds_flags_and_makes_the_same_block_each_time(command, tmp_path):
    flags = ["--n-tx", 30, "--key-space", 50, "--conflict-ratio", 0.4, "--cold-ratio", 0.25, "--seed", 9]
    said = [command("generate", *flags, "--output", tmp_path / name) for name in ("a.parquet", "b.parquet")]
    assert [s.code for s in said] == [0, 0]
    one, other = read_block(tmp_path / "a.parquet"), read_block(tmp_path / "b.parquet")
    assert one == other == generate(n_tx=30, key_space=50, conflict_ratio=0.4, cold_ratio=0.25, seed=9)
    assert one.digest() in said[0].out
    assert "30 transactions" in said[0].out


def test_generate_overrides_a_preset_and_knows_the_patterns(command, tmp_path):
    path = tmp_path / "x.parquet"
    assert command("generate", "--preset", "small", "--n-tx", 12, "--number", 5, "--output", path).code == 0
    assert read_block(path) == generate("small", n_tx=12, number=5)
    flags = ["--pattern", "zipf", "--exponent", 2, "--dependency-ratio", 0.5, "--dependency-distance", 3]
    assert command("generate", "--n-tx", 12, *flags, "--output", path).code == 0
    assert read_block(path) == generate(
        n_tx=12, pattern="zipf", exponent=2.0, dependency_ratio=0.5, dependency_distance=3
    )


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--preset", "tiny"], "preset = 'tiny'"),
        (["--n-tx", "-1"], "n_tx = -1: must be in [0, "),
        (["--n-tx", "5", "--conflict-ratio", "1.5"], "conflict_ratio = 1.5"),
        (["--n-tx", "5", "--cold-ratio", "nan"], "cold_ratio = nan"),
        (["--n-tx", "5", "--pattern", "ring"], "pattern = 'ring': must be one of uniform"),
        (["--n-tx", "5", "--seed", "-2"], "seed = -2"),
    ],
)
def test_generate_refuses_a_bad_value_in_one_line_and_writes_nothing(command, tmp_path, flags, part):
    one_line(command("generate", *flags, "--output", tmp_path / "x.parquet"), 1, part)
    assert list(tmp_path.iterdir()) == []


def test_generate_names_a_folder_that_is_not_there(command, tmp_path):
    one_line(command("generate", "--n-tx", 2, "--output", tmp_path / "none" / "x.parquet"), 1, str(tmp_path / "none"))


# -------------------------------------------------------------------- execute, inspect


def told(said: Any) -> dict[str, str]:
    """Names and texts of what `execute` printed, wrapped texts in one line."""
    lines: dict[str, str] = {}
    for line in said.out.splitlines():
        name, _, text = line.partition("  ")
        if name:
            last = name
        lines[last] = f"{lines.get(last, '')} {text.strip()}".strip()
    return lines


@pytest.mark.parametrize(
    ("words", "executor"),
    [(["--mode", "serial"], "serial"), (["--mode", "parallel"], "dataflow"), ([], "serial")]
    + [(["--executor", name], name) for name in JOBS],
)
def test_execute_says_what_was_done_and_verified(command, small, words, executor):
    said = command("execute", "--input", small, *words, "--workers", 2)
    assert (said.code, said.err) == (0, "")
    lines = told(said)
    assert lines["block"].startswith("7: 40 transactions")
    alone = executor in ("serial", "dataflow")  # so small a block is not worth two workers
    assert lines["executor"] == f"{executor}, {'1 worker' if alone else '2 workers'}"
    assert lines["verified"] == "receipts, observed accesses and state equal to serial execution"
    assert ("waves" in lines) == (executor == "waves")
    if not words:
        assert lines["why"].startswith("auto: 40 transactions, guessed work")
    if executor == "dataflow":
        assert lines["why"].startswith("serial: guessed work")


def test_all_ways_of_execute_report_the_same_gas_and_state(command, small):
    kept = []
    for executor in JOBS:
        lines = told(command("execute", "--input", small, "--executor", executor))
        kept.append([lines[name] for name in ("gas used", "state", "failed")])
    assert all(lines == kept[0] for lines in kept)


def test_execute_follows_a_schedule_file_and_its_order(command, small, tmp_path):
    path = tmp_path / "plan.json"
    assert command("schedule", "--input", small, "--policy", "mis", "--output", path).code == 0
    plan, block = pn.read_schedule(path), read_block(small)
    expected = pn.execute(block, "serial", schedule=plan)
    for executor in ("serial", "dataflow", "waves"):
        lines = told(command("execute", "--input", small, "--schedule", path, "--executor", executor))
        assert lines["gas used"] == f"{int(expected.gas_used.sum()):,}"
    other = tmp_path / "other.parquet"
    write_blocks(other, generate(n_tx=3, key_space=5))
    one_line(command("execute", "--input", other, "--schedule", path), 1, "schedule has 40 transactions: the block has 3")


@pytest.mark.parametrize("executor", list(JOBS))
def test_execute_draws_when_each_transaction_ran(command, small, tmp_path, executor):
    path = tmp_path / "x.png"
    said = command("execute", "--input", small, "--executor", executor, "--gantt", path)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{path}: when each of 40 transactions ran")
    assert path.read_bytes().startswith(b"\x89PNG")
    one_line(command("execute", "--input", small, "--gantt", tmp_path / "x.txt"), 2, "--gantt", "NAME.png or NAME.svg")


def test_a_parallel_result_that_differs_from_serial_is_exit_code_three(command, small, tmp_path, monkeypatch):
    real = JOBS["waves"].run

    def broken(job):
        done = real(job)
        job.space.values[0, 0] ^= 1
        return done

    monkeypatch.setattr(JOBS["waves"], "run", broken)
    words = ["execute", "--input", small, "--executor", "waves", "--gantt", tmp_path / "x.png"]
    one_line(command(*words), 3, "block 7: waves differs from serial")
    assert not (tmp_path / "x.png").exists()


def test_execute_takes_mode_or_executor(command, small):
    both = ["--mode", "serial", "--executor", "bal"]
    one_line(command("execute", "--input", small, *both), 2, "--mode serial with --executor bal")
    one_line(command("execute", "--input", small, "--executor", "gpu"), 2, "--executor 'gpu' is unknown: one of auto, serial")


def test_inspect_shows_size_conflicts_hot_keys_and_critical_path(command, small):
    said = command("inspect", "--input", small, "--top", 3)
    assert said.code == 0
    block = read_block(small)
    for name, text in inspect_lines(block, 3):
        assert any(line.startswith(name) and line.endswith(str(text)) for line in said.out.splitlines())
    assert said.out.count("hot key") == 3
    assert "conflict rate" in said.out
    assert block.digest() in said.out
    one_line(command("inspect", "--input", small, "--top", -1), 2, "--top -1")


def test_inspect_of_a_block_without_transactions(command, tmp_path):
    write_blocks(tmp_path / "e.parquet", Block.from_programs([], number=3))
    said = command("inspect", "--input", tmp_path / "e.parquet")
    assert (said.code, said.err) == (0, "")
    assert "0 transactions of 0" in said.out


@pytest.mark.parametrize("name", ["execute", "inspect", "schedule", "simulate"])
def test_a_file_of_several_blocks_needs_a_number(command, two, name):
    one_line(command(name, "--input", two), 1, str(two), "holds blocks 1, 2: say which")
    said = command(name, "--input", two, "--number", 2)
    assert said.code == 0
    assert said.out.startswith("block")
    one_line(command(name, "--input", two, "--number", 9), 1, "9")


@pytest.mark.parametrize("name", ["execute", "inspect", "convert", "benchmark", "schedule", "simulate"])
def test_bad_input_is_one_line_that_names_the_file(command, tmp_path, name):
    more = {"convert": ["--output", tmp_path / "x.parquet"], "benchmark": ["--output", tmp_path / "x.json"]}.get(name, [])
    missing, broken = tmp_path / "missing.parquet", tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and then nothing that fits")
    one_line(command(name, "--input", missing, *more), 1, str(missing))
    one_line(command(name, "--input", broken, *more), 1, str(broken))
    assert {path.name for path in tmp_path.iterdir()} == {"broken.parquet"}


def test_an_unknown_mode_and_a_bad_number_of_workers_are_refused(command, small):
    one_line(command("execute", "--input", small, "--mode", "fast"), 2, "--mode 'fast' is unknown: one of serial, parallel")
    one_line(command("execute", "--input", small, "--workers", 0), 2, "--workers 0: must be in [1, 1024]")


# -------------------------------------------------------------------- convert


def test_convert_goes_to_seed_json_and_back(command, tmp_path):
    programs = [[("SLOAD", (1, 0)), ("ADD", 2), ("SSTORE", (2, 0), 5), ("KECCAK", b"x")], [("SLOAD", (2, 0))]]
    first, middle, last = (tmp_path / name for name in ("a.parquet", "b.json.gz", "c.parquet"))
    write_blocks(first, Block.from_programs(programs, number=4))
    assert command("convert", "--input", first, "--output", middle).out == f"{middle}: blocks: 1\n"
    assert command("convert", "--input", middle, "--output", last).code == 0
    assert read_block(last).digest() == read_block(middle).digest()
    assert [[op[0].name for op in p] for p in read_block(last).to_programs()] == [[op[0] for op in p] for p in programs]
    again = tmp_path / "d.json.gz"
    assert command("convert", "--input", last, "--output", again).code == 0
    assert again.read_bytes() == middle.read_bytes()


def test_convert_keeps_all_blocks_or_takes_one(command, two, tmp_path):
    every, one = tmp_path / "every.parquet", tmp_path / "one.parquet"
    assert command("convert", "--input", two, "--output", every).out == f"{every}: blocks: 2\n"
    assert list(read_blocks(every)) == list(read_blocks(two))
    assert command("convert", "--input", two, "--output", one, "--number", 2).code == 0
    assert list(read_blocks(one)) == [read_block(two, 2)]


def test_convert_says_what_seed_json_cannot_hold(command, small, two, tmp_path):
    one_line(command("convert", "--input", small, "--output", tmp_path / "x.json"), 1, "no pre-state")
    assert command("convert", "--input", two, "--output", tmp_path / "x.json").code == 1
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- benchmark


def test_benchmark_writes_one_object_with_every_field(command, small, tmp_path):
    path = tmp_path / "x.json"
    said = command("benchmark", "--input", small, "--output", path)
    assert (said.code, said.err) == (0, "")
    found = json.loads(path.read_text())
    assert set(found) == set(FIELDS)
    assert (found["scenario"], found["n_tx"], found["verified"]) == ("block 7", 40, True)
    assert "1 result verified (40 transactions)" in said.out


def test_benchmark_takes_a_preset(command, tmp_path):
    path = tmp_path / "x.json"
    assert command("benchmark", "--preset", "small", "--output", path).code == 0
    assert json.loads(path.read_text())["scenario"] == "small"


def test_benchmark_needs_exactly_one_block(command, small, two, tmp_path):
    path = tmp_path / "x.json"
    one_line(command("benchmark", "--output", path), 2, "either --preset or --input")
    one_line(command("benchmark", "--preset", "small", "--input", small, "--output", path), 2, "either --preset or --input")
    one_line(command("benchmark", "--input", two, "--output", path), 1, str(two), "holds blocks 1, 2", "--number")
    one_line(command("benchmark", "--preset", "tiny", "--output", path), 2, "'tiny'", "one of small, medium")
    assert not path.exists()


# -------------------------------------------------------------------- all commands


@pytest.mark.parametrize(
    "words",
    [
        ["generate"], ["execute"], ["inspect"], ["convert", "--input", "x"], ["benchmark"],
        ["schedule"], ["simulate"], ["mine"],
        ["inspect", "--input", "x", "--fast"], ["generate", "--n-tx", "many", "--output", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_misuse_of_the_command_line_is_exit_code_two(command, words):
    said = command(*words)
    assert said.code == 2
    assert said.out == ""
    assert "Usage: " in said.err
    assert "Error" in said.err


def test_who_looks_for_the_benchmarks_is_told_where_they_are(command):
    one_line(command("bench", "--preset", "small"), 2, "bench: no command of these", "python -m pevm_numba.bench")


def test_help_names_every_command_and_imports_neither_numba_nor_pyarrow():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['pevm_numba', *sys.argv[1:], '--help']\n"
        "try:\n    runpy.run_module('pevm_numba', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        "heavy = {'numba', 'pyarrow', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    names = ("generate", "execute", "benchmark", "inspect", "schedule", "simulate", "convert")
    assert all(name in done.stdout for name in names)


def test_piped_output_has_no_progress_and_v_logs(small, tmp_path):
    out = tmp_path / "x.parquet"
    quiet = shell("convert", "--input", small, "--output", out)
    assert quiet == (0, f"{out}: blocks: 1\n", "")
    assert read_block(out) == read_block(small)
    loud = shell("execute", "--input", small, "-v")
    assert loud.code == 0
    assert "INFO " in loud.err
    assert "\x1b" not in loud.err + loud.out


def test_a_failing_process_shows_one_line_and_no_traceback(tmp_path):
    one_line(shell("execute", "--input", tmp_path / "no.parquet"), 1, "no.parquet")


def test_the_page_of_fields_is_up_to_date():
    assert (ROOT / "docs" / "metrics.md").read_text() == fields_page(), "run: python -m pevm_numba.metrics > docs/metrics.md"
    assert shell(module="pevm_numba.metrics").out == fields_page()
