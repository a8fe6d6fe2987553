"""`bench survey` compares every way before it tells its speed, and kills a worker for real."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from test_cli import in_process

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench import __main__ as main
from pevm_numba.bench import survey as bench
from pevm_numba.errors import ExecutionError
from pevm_numba.fields import TABLES

pytestmark = [
    pytest.mark.skipif(DISABLED, reason="hundreds of blocks as plain Python"),
    pytest.mark.filterwarnings("ignore"),  # Dask's own, of ports and processes
]


@pytest.fixture
def command(monkeypatch, capsys):
    """`python -m pevm_numba.bench WORDS` in this process."""
    return in_process(main.main, monkeypatch, capsys)


def test_every_way_is_measured_and_has_the_fields_that_are_defined(command, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(bench, "_FILE", 20)
    words = ("survey", "--n-blocks", "240", "--n", "60", "--rounds", "1")
    said = command(*words, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    assert said.code == 0, said.err
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [(row["way"], row["workers"]) for row in rows] == [
        ("counting alone", 1), ("threads", 1), ("threads", 2), ("Dask", 2), ("Dask, a worker killed", 2)
    ]  # fmt: skip
    for row in rows:
        assert row.keys() - {"table"} == TABLES["survey"][1].keys()
        assert (row["blocks"], row["verified"]) == (240, True)
        assert row["blocks_per_s"] == pytest.approx(240 / row["seconds"])
        assert (row["cpu_s"] is None) == (row["way"] == "Dask, a worker killed")
    assert "240 blocks of 60: Dask, a worker killed" in said.out
    assert "Blocks a second" in (tmp_path / "a.html").read_text()


def test_real_blocks_are_surveyed_beside_them(command, shared, tmp_path):
    words = ("survey", shared / "corpus" / "op_trace", "--n-blocks", "5", "--n", "9", "--rounds", "1")
    assert command(*words, "--workers", "1", "--no-cluster", "--json", tmp_path / "a.json").code == 0
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [(row["way"], row["blocks"]) for row in rows] == [("counting alone", 5), ("threads", 5), ("threads", 65)]


def test_rows_that_differ_end_the_run():
    with pytest.raises(ExecutionError, match="survey by Dask: its rows are not those of one thread"):
        bench._same("Dask", pa.table({"n": [1]}), pa.table({"n": [2]}))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--n-blocks", "0"], "--n-blocks 0: must be in"),
        (["--metrics", "nothing"], "--metrics 'nothing'"),
        (["--workers", "0"], "--workers 0: must be in"),
        (["--json", "a.txt"], "--json a.txt"),
    ],
)
def test_misuse_is_one_line(command, words, text):
    said = command("survey", *words)
    assert said.code == 2
    assert text in said.err
    assert said.err.count("\n") == 1
