"""The bench of access lists: its figures are those of the functions that it measures, and each is defined."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import in_process
from test_evm_folders import N_TX, example, tables, write

import pevm_numba as pn
from pevm_numba.access.eip7928 import Eip7928List
from pevm_numba.access.eip7928_sets import sets_of_list
from pevm_numba.bench import __main__ as bench
from pevm_numba.bench import access
from pevm_numba.bench.access import dependency_rows, run
from pevm_numba.errors import ExecutionError, FileFormatError, UsageError
from pevm_numba.fields import TABLES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("made") / "blocks", tables(example()))


def test_all_that_is_written_is_defined_and_right(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = in_process(bench.main, monkeypatch, capsys)("access", folder, "--rounds", 1, "--json", tmp_path / "a.json")
    assert (said.code, said.err) == (0, "")
    rows = json.loads((tmp_path / "a.json").read_text())
    counts = {"block list": 1, "transaction list": N_TX, "dependencies": 20}
    by_table = {name: [row for row in rows if row["table"] == name] for name in counts}
    assert {name: len(part) for name, part in by_table.items()} == counts
    carried = {"missing", "surplus", "lost", "worse_than_none"}
    for row in rows:
        defined = set(TABLES[row["table"]][1]) | {"table"}
        assert set(row) in (defined, defined - carried)
        assert row["verified"]
    (block,) = by_table["block list"]
    listed = pn.execute(example(), "serial").eip7928_list()
    assert (block["hash"], block["bytes"]) == (listed.hash().hex(), len(listed.encode()))
    assert block["unlike_trace"] is None
    for row, best in zip(by_table["transaction list"], pn.optimal_access_lists(example())):
        assert (row["gas_without"], row["gas_best"]) == (best.gas_without, best.gas_used)
    done = pn.execute(example(), "serial")
    for fields, edges in (("all", "all"), ("storage", "all"), ("all", "raw"), ("storage", "raw")):
        part = [row for row in by_table["dependencies"] if (row["fields"], row["edges"]) == (fields, edges)]
        assert [row["sets"] for row in part] == ["observed", "nobody", "writer", "account", "everybody"]
        true, *bounds = (row["path"] for row in part)
        kept = done.observed if fields == "all" else pn.select(done.observed, example(), fields=["storage"])
        assert true == pn.dependencies(kept, edges=edges).critical_path(done.gas_used.astype(float))[0]
        assert bounds == sorted(bounds)
        assert bounds[0] <= true <= bounds[-1]
    for text in ("KiB a Mgas", "of contracts", "median work/path", "carry a list"):
        assert text in said.out


def test_what_cannot_be_meant(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="has none of the blocks 5"):
        run(folder, [5])
    with pytest.raises(UsageError, match="--json"):
        run(folder, json=tmp_path / "a.txt")


def test_dependencies_of_another_list_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    block = example()
    done = pn.execute(block, "serial")
    assert dependency_rows(block, done)
    less = Eip7928List.from_accounts([one._replace(storage_changes=()) for one in done.eip7928_list()])
    monkeypatch.setattr(type(done), "eip7928_list", lambda _: less)
    with pytest.raises(ExecutionError, match="the list changes other slots"):
        dependency_rows(block, done)
    monkeypatch.undo()
    monkeypatch.setattr(access, "sets_of_list", lambda listed, n_tx, reads: sets_of_list(listed, n_tx, "everybody"))
    with pytest.raises(ExecutionError, match="of all keys, all edges, are not within bounds"):
        dependency_rows(block, done)


def test_gas_of_another_run_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    block = example()
    done = pn.execute(block, "serial")
    right = list(pn.optimal_access_lists(block))
    assert len(access.transaction_rows(block, done)) == N_TX
    for wrong in (right[0]._replace(gas_without=right[0].gas_without + 1), right[0]._replace(gas_used=10**6)):
        monkeypatch.setattr(access, "optimal_access_lists", lambda _, wrong=wrong: iter([wrong, *right[1:]]))
        with pytest.raises(ExecutionError, match=r"transaction 0: .* with the best"):
            access.transaction_rows(block, done)


@pytest.mark.filterwarnings("error")
def test_of_no_transactions_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for show in (access._show_lists, access._show_transactions, access._show_dependencies):
        show([])
    assert "nan" not in capsys.readouterr().out
