"""`bench engines` compares every way before it tells its speed, and the switch is there on both command lines."""

from __future__ import annotations

import json
import shutil

import pytest
from test_cli import in_process

from pevm_numba import cli
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench import __main__ as main
from pevm_numba.bench import engine_costs
from pevm_numba.bench import engines as bench
from pevm_numba.bench.engine_runs import FAMILIES, mixed_block, stream
from pevm_numba.engines.attached import JIT_COSTS
from pevm_numba.engines.paying import MOST_BREAK_EVEN
from pevm_numba.errors import ExecutionError
from pevm_numba.execute.result import Execution
from pevm_numba.execute.shapes import shapes
from pevm_numba.fields import TABLES
from pevm_numba.machine.shapes import PAYLOAD, Token

pytestmark = pytest.mark.skipif(DISABLED, reason="there is no compiled code in plain Python")


@pytest.fixture
def command(monkeypatch, capsys):
    """`python -m pevm_numba.bench WORDS` in this process."""
    return in_process(main.main, monkeypatch, capsys)


@pytest.fixture
def short(monkeypatch):
    """Few shapes."""
    monkeypatch.setattr(engine_costs, "_COMPILED", 2)
    monkeypatch.setattr(bench, "generate", lambda *_, n_tx, **__: mixed_block(n_tx, 3))


def test_every_way_is_measured_and_has_the_fields_that_are_defined(command, short, tmp_path):
    words = ("engines", "--n", "30", "--rounds", "3", "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    said = command(*words)
    assert said.code == 0, said.err
    rows = json.loads((tmp_path / "a.json").read_text())
    names = ("engines", "engines compile", "engines shapes", "engines executors")
    tables = {name: [row for row in rows if row["table"] == name] for name in names}
    assert sum(map(len, tables.values())) == len(rows)
    for name, some in tables.items():
        for row in some:
            assert row.keys() - {"table"} == TABLES[name][1].keys()
            assert row["verified"] is True
    assert [row["way"] for row in tables["engines"][:6]] == list(bench._WAYS)
    assert {row["engine"] for row in tables["engines compile"]} == {"jit", "wasm"}
    assert [row["executor"] for row in tables["engines executors"]] == ["serial", "waves", "dataflow", "optimistic", "bal"]
    for row in tables["engines compile"]:
        saved = row["saved_ns_per_tx"]
        assert row["break_even_tx"] == (pytest.approx(1e6 * row["compile_ms"] / saved) if saved > 0 else None)
    assert [row["case"] for row in tables["engines shapes"]] == list(FAMILIES)
    for row in tables["engines shapes"]:
        assert row["chosen"] == (row["rule_tx"] <= MOST_BREAK_EVEN)
        assert row["rule_tx"] == JIT_COSTS.break_even(*shapes(stream(row["case"], 30)).names)
    assert {row["chosen"] for row in tables["engines shapes"]} == {True, False}
    assert "break-even" in said.out
    assert "Speed beside the interpreter" in (tmp_path / "a.html").read_text()


def test_real_blocks_and_the_reference_are_measured_beside_them(command, short, shared, tmp_path, monkeypatch):
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    few = sorted((shared / "corpus" / "op_trace").glob("*00046147*"))
    folder = tmp_path / "ceiling"
    folder.mkdir()
    for name in ("ceiling.c", "medium_42.bin"):
        (folder / name).symlink_to(shared / "ceiling" / name)
    words = ("engines", few[0], "--ceiling", folder, "--n", "12", "--rounds", "3", "--no-wasm", "--json", tmp_path / "a.json")
    assert command(*words).code == 0
    rows = json.loads((tmp_path / "a.json").read_text())
    assert "block 46147" in {row.get("case") for row in rows}
    mine = [row for row in rows if row["table"] == "engines ceiling"]
    assert [row["way"] for row in mine] == [way for way in bench._WAYS if "wasm" not in way]
    for row in mine:
        assert row.keys() - {"table"} == TABLES["engines ceiling"][1].keys()
        assert row["ratio"] > 0


def test_outcomes_that_differ_end_the_run(command, short, monkeypatch):
    def unequal(self, other):
        raise ExecutionError("they differ")

    monkeypatch.setattr(Execution, "check_equal", unequal)
    said = command("engines", "--n", "30", "--rounds", "3")
    assert said.code == 3
    assert "they differ" in said.err
    assert "ns/op" not in said.out


@pytest.mark.parametrize(("words", "text"), [
    (("--n", "5"), "--n 5: must be in [12, 1000000]"),
    (("--rounds", "0"), "--rounds 0: must be in [1, 100000]"),
    (("--ceiling", "nowhere"), "--ceiling nowhere: must be a folder with ceiling.c and its blocks"),
])  # fmt: skip
def test_bad_arguments(command, words, text):
    said = command("engines", *words)
    assert said.code == 2
    assert text in " ".join(said.err.split())


def test_streams_are_of_one_shape_and_of_all_kinds_of_tokens() -> None:
    names = [shapes(stream(family, 20)).names for family in FAMILIES]
    assert [len(each) for each in names] == [1] * len(FAMILIES)
    kinds = {Token(byte % PAYLOAD) for (name,) in names for byte in name[::4]}
    assert kinds == set(Token) - {Token.SHARED}  # which is what credits are where several workers share them


def test_a_shape_that_is_chosen_and_pays_late_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "case": "slow", "tokens": 9, "interpreter_ns_per_tx": 3.0, "jit_ns_per_tx": 2.0, "saved_ns_per_tx": 1.0,
        "compile_ms": 4.0, "break_even_tx": 4e6, "rule_tx": 4e5, "chosen": True,
    }  # fmt: skip
    others = [{**row, "case": "not chosen", "chosen": False}, {**row, "case": "fine", "break_even_tx": 3e5}]
    engine_costs.show_shapes([row, *others, {**row, "case": "loses", "break_even_tx": None}])
    assert "Chosen, though measured to take more: slow, loses." in " ".join(capsys.readouterr().out.split())


def test_mixed_blocks_have_the_shapes_that_they_say():
    assert len(shapes(mixed_block(500, 1)).tokens) == 1
    assert 12 <= len(shapes(mixed_block(500, 12)).tokens) <= 20  # some store to one key twice


def test_the_main_benchmark_has_the_switch(command, tmp_path):
    words = ("--preset", "small", "--executor", "serial", "--repeat", "1", "--engine", "jit", "--compile", "all")
    assert command(*words, "--json", tmp_path / "a.json").code == 0
    (row,) = json.loads((tmp_path / "a.json").read_text())
    assert (row["engine"], row["compiled"], row["verified"]) == ("jit", 100, True)
    said = command("--preset", "small", "--engine", "llvm")
    assert said.code == 2
    assert "--engine 'llvm' is unknown: one of interpreter, jit, wasm" in " ".join(said.err.split())


def test_execute_has_the_switch(monkeypatch, capsys, tmp_path):
    call = in_process(cli.main, monkeypatch, capsys)
    assert call("generate", "--preset", "small", "--output", tmp_path / "a.parquet").code == 0
    words = ("execute", "--input", tmp_path / "a.parquet", "--executor", "serial")
    said = call(*words, "--engine", "wasm", "--compile", "all", "--group")
    assert said.code == 0
    assert "100 of transactions, with compiled code" in " ".join(said.out.split())
    said = call("execute", "--input", tmp_path / "a.parquet", "--compile", "all")
    assert said.code == 2
    assert "--compile all with --engine interpreter: it compiles nothing" in " ".join(said.err.split())
