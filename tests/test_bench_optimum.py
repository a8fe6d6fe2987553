"""`bench optimum`: every ratio is at least one, comes from the functions it names, and what is shown is what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

import pevm_numba as pn
from pevm_numba.bench import optimum, tables
from pevm_numba.errors import FileFormatError, UsageError
from pevm_numba.fields import TABLES


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(optimum, "_REPEATS", 1)


def test_ratios_are_those_of_optimality_and_at_least_one(small, tmp_path, capsys):
    blocks = [pn.generate(n_tx=12, key_space=15, number=n, seed=n) for n in range(2)]
    more = [pn.generate(n_tx=301, number=7), pn.Block.from_programs([], number=8)]
    pn.write_blocks(tmp_path / "two.parquet", [*blocks, *more])
    rows = optimum.run(tmp_path / "two.parquet", 3, 5.0, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    assert all(row["ratio"] >= 1 for row in rows)
    for block in blocks:
        mine = {(r["measure"], r["heuristic"]): (r["value"], r["best"], r["proved"]) for r in rows
                if r["case"] == "real blocks" and r["block_number"] == block.number}  # fmt: skip
        assert mine == {(r.measure, r.heuristic): (r.value, r.optimum, r.proved) for r in pn.optimality(block, 3)}
    assert {field for row in rows for field in row} - {"table"} == set(TABLES["ratios"][1])
    said = " ".join(capsys.readouterr().out.split())
    assert "real blocks: heuristic / optimum; makespan on 3 workers, cost = 1 a transaction, 12 transactions" in said
    assert "Left out, of 4 real blocks: 1 with more than 300 transactions, 1 without any." in said


@pytest.mark.corpus
def test_a_real_block_is_built_within_its_bound(small, shared, capsys):
    path = next((shared / "corpus" / "op_trace").glob("*__12047794_*"))
    block = pn.read_block(path)
    built = list(optimum._built(block, 4))
    assert len(built) == 6
    for row in built:
        assert 0 <= row["gap"] < 1
        assert row["makespan"] >= row["makespan_bound"]
        assert 0 < row["chosen"] <= block.n_tx
        assert set(row) == {"table", *TABLES["built"][1]}
    free, capped = built[0], built[4]
    assert free["reward"] >= capped["reward"]
    gas = block.chain_gas_used
    assert gas is not None
    assert np.isclose(free["gas_share"], 1, atol=0.1)


@pytest.mark.corpus
@pytest.mark.parametrize("width", [80, 100])
def test_nothing_is_clipped_on_a_narrow_terminal_and_limits_are_explained(small, shared, capsys, monkeypatch, width):
    monkeypatch.setattr(tables, "_console", lambda: Console(width=width, highlight=False))
    path = next((shared / "corpus" / "op_trace").glob("*__12047794_*"))
    optimum.run(path, 4, 1.0)
    out = capsys.readouterr().out
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    said = " ".join(out.split())
    for text in ("makespan on 4 workers, cost = gas", "deadline: the block's makespan is at most", "key cap: on each key"):
        assert text in said


def test_bad_options_are_named(small, tmp_path):
    with pytest.raises(UsageError, match=r"--workers 0: must be in \[1, 2147483647\]"):
        optimum.run(None, 0, 1.0)
    with pytest.raises(UsageError, match=r"--time-limit 0\.001: must be in \[0\.01, 86400\]"):
        optimum.run(None, 1, 0.001)
    with pytest.raises(UsageError, match="is inside"):
        optimum.run(tmp_path, 1, 1.0, tmp_path / "x.json")
    with pytest.raises(FileFormatError, match="no such file"):
        optimum.run(tmp_path / "no", 1, 1.0)
