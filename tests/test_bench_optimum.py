"""`bench optimum`: every ratio is at least one, comes from the functions it names, and what is shown is what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pevm_numba as pn
from pevm_numba.bench import optimum
from pevm_numba.errors import UsageError


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(optimum, "_REPEATS", 1)


def test_ratios_are_those_of_optimality_and_at_least_one(small, tmp_path, capsys):
    blocks = [pn.generate(n_tx=12, key_space=15, number=n, seed=n) for n in range(2)]
    pn.write_blocks(tmp_path / "two.parquet", blocks)
    rows = optimum.run(tmp_path / "two.parquet", 3, 5.0, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    assert all(row["ratio"] >= 1 for row in rows)
    for block in blocks:
        mine = {(r["measure"], r["heuristic"]): (r["value"], r["optimum"], r["proved"]) for r in rows
                if r["case"] == "real blocks" and r["block_number"] == block.number}  # fmt: skip
        assert mine == {(r.measure, r.heuristic): (r.value, r.optimum, r.proved) for r in pn.optimality(block, 3)}
    assert "Heuristic beside the optimum" in capsys.readouterr().out


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
    free, capped = built[0], built[4]
    assert free["reward"] >= capped["reward"]
    gas = block.chain_gas_used
    assert gas is not None
    assert np.isclose(free["gas_share"], 1, atol=0.1)


def test_bad_options_are_named(small):
    with pytest.raises(UsageError, match="--workers 0: must be in"):
        optimum.run(None, 0, 1.0)
