"""Blobs on the command line: what it prints and writes is what the functions give, and mistakes are one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_cli import Command, in_process

import pevm_numba as pn
from pevm_numba import cli


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(cli.main, monkeypatch, capsys)


def test_prices_are_shown_under_every_schedule(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "fee.json"
    said = command("blobs", "fee", "--excess", "216399457", "--base-fee", "1", "--json", out)
    assert (said.code, said.err) == (0, "")
    rows = {row["parameters"]: row for row in json.loads(out.read_text())}
    assert list(rows) == ["cancun", "prague", "osaka", "bpo1", "bpo2"]
    assert rows["bpo2"]["price"] == 110_435_740
    assert "110,435,740" in said.out
    for name, row in rows.items():
        assert row["blob"] == 131_072 * row["price"] == 131_072 * pn.blob_base_fee(216_399_457, name)
        assert row["full_excess"] == pn.next_excess_blob_gas(216_399_457, row["most"], 1, name)
    assert [round(100 * rows["cancun"][name], 2) for name in ("full_change", "empty_change")] == [12.5, -11.11]
    assert "+8.17 %" in said.out
    assert "-14.53 %" in said.out


def test_the_highest_excess_has_a_price_of_no_more_than_256_bits(command: Command, tmp_path: Path) -> None:
    out, most = tmp_path / "fee.json", 177 * 3_338_477
    said = command("blobs", "fee", "--excess", most, "--parameters", "cancun", "--json", out)
    assert (said.code, said.err) == (0, "")
    (row,) = json.loads(out.read_text())
    assert row["price"] == pn.blob_base_fee(most, "cancun")
    assert 2**255 < row["price"] < 2**256
    assert f"{row['price']:,}" in said.out


def test_the_reserve_is_told_where_it_holds(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "fee.json"
    said = command("blobs", "fee", "--price", 10**6, "--base-fee", 10**9, "--parameters", "bpo2,prague", "--json", out)
    first, second = json.loads(out.read_text())
    assert (first["parameters"], first["reserve"], first["empty_change"]) == ("bpo2", True, 0.0)
    assert (second["parameters"], second["reserve"]) == ("prague", None)
    assert second["empty_change"] < -0.14
    assert "holds" in said.out


def test_a_market_is_simulated_shown_drawn_and_written(command: Command, tmp_path: Path) -> None:
    out, chart = tmp_path / "market.json", tmp_path / "market.png"
    options = ("--pattern", "step", "--n-blocks", 80, "--mean", 12, "--height", 3, "--price", 1000, "--fee-cap", 1e6)
    said = command("blobs", "simulate", *options, "--seed", 5, "--parameters", "bpo1,bpo2", "--json", out, "--chart", chart)
    assert (said.code, said.err) == (0, "")
    assert chart.stat().st_size > 5_000
    found = json.loads(out.read_text())
    demand, users = pn.blob_demand("step", 80, 12, height=3), pn.BlobUsers(fee_cap=1e6)
    for row in found:
        excess = pn.excess_at_fee(1000, row["parameters"])
        made = pn.simulate_blobs(demand, users=users, parameters=row["parameters"], excess=excess, seed=5)
        assert row["blocks"] == made.rows()
        assert {name: row[name] for name in made.summary()} == made.summary()
        assert f"{made.price[-1]:,}" in said.out


@pytest.mark.parametrize("from_file", [False, True])
def test_blocks_are_built_each_way_beside_the_bound(from_file: bool, command: Command, tmp_path: Path) -> None:
    pool, out = tmp_path / "pool.parquet", tmp_path / "built.json"
    given = ("--n-tx", 300, "--blob-ratio", 0.3)
    if from_file:
        assert command("generate", "--output", pool, "--n-tx", 300, "--blob-ratio", 0.3).code == 0
        given = ("--input", pool)
    limits = ("--price", 10**8, "--gas-limit", 5 * 10**6, "--parameters", "prague")
    said = command("blobs", "build", *given, *limits, "--json", out)
    assert (said.code, said.err) == (0, "")
    greedy, lp = json.loads(out.read_text())
    assert (greedy["method"], lp["method"], lp["bound_from"]) == ("greedy", "lp", "lp")
    assert greedy["reward"] <= lp["reward"] <= lp["bound"]
    assert 0 < lp["blobs"] <= 9
    assert lp["verify_ns"] == 1_400_000 * lp["blobs"]
    assert max(greedy["gas"], lp["gas"]) <= 5 * 10**6
    block = pn.read_block(pool) if from_file else pn.generate(n_tx=300, blob_ratio=0.3, n_senders=200)
    caps = np.array([cap or 0 for cap in block.meta["max_fee_per_blob_gas"].to_pylist()])
    assert lp["refused"] == ((pn.blob_counts(block) > 0) & (caps < lp["price"])).sum() > 0
    assert f"{lp['refused']} transactions refused" in said.out


@pytest.mark.corpus
def test_a_real_block_is_a_pool_too(command: Command, shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "built.json"
    given = ("--input", shared / "corpus", "--number", 19923400, "--parameters", "cancun")
    said = command("blobs", "build", *given, "--gas-limit", 15_000_000, "--json", out)
    assert (said.code, said.err) == (0, "")
    assert "1 with 6 blobs in all" in said.out
    for row in json.loads(out.read_text()):
        assert row["gas"] <= 15_000_000
        assert row["bound_share"] > 0.99


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("fee", "--parameters", "shanghai"), "--parameters 'shanghai' is unknown: one of cancun,", 2),
        (("fee", "--parameters", "bpo1,bpo1"), "--parameters bpo1,bpo1: a name comes twice", 2),
        (("fee", "--excess", 1, "--price", 1), "--excess with --price", 2), (("fee", "--excess", -1), "--excess -1", 2),
        (("fee", "--price", 0), "--price 0: must be in [1,", 2), (("fee", "--base-fee", -1), "--base-fee -1", 2),
        (("fee", "--excess", 177 * 3_338_477 + 1), "--excess 590910430: must be in [0, 590910429]", 2),
        (("fee", "--excess", 10**11, "--json", "fee.json"), "--excess 100000000000: must be in [0, 590910429]", 2),
        (("fee", "--excess", 10**12, "--parameters", "bpo2,bpo1"), "must be in [0, 1477276161]", 2),
        (("build", "--excess", 10**11, "--parameters", "cancun"), "must be in [0, 590910429]", 2),
        (("fee", "--json", "out.txt"), "out.txt", 2),
        (("simulate", "--pattern", "often"), "--pattern 'often' is unknown", 2),
        (("simulate", "--n-blocks", 0), "--n-blocks 0", 2),
        (("simulate", "--price", 0), "--price 0", 2), (("simulate", "--patience", 0), "patience = 0", 1),
        (("simulate", "--mean", -1), "mean = -1", 1), (("simulate", "--chart", "a.txt"), "a.txt", 2),
        (("build", "--parameters", "all"), "--parameters 'all' is unknown", 2),
        (("build", "--number", 3), "only with --input", 2),
        (("build", "--input", "nowhere"), "nowhere: no such file", 1), (("build", "--workers", 0), "--workers 0", 2),
        (("build", "--gas-limit", -1), "--gas-limit -1", 2), (("build", "--blob-ratio", 2), "blob_ratio = 2", 1),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(words: tuple[object, ...], said: str, code: int, command: Command) -> None:
    found = command("blobs", *words)
    assert found.code == code
    assert said in found.err
    assert found.err.count("\n") == 1
    assert found.out == ""


def test_seed_json_is_refused_for_blobs(command: Command, tmp_path: Path) -> None:
    found = command("generate", "--output", tmp_path / "block.json", "--n-tx", 3, "--blob-ratio", 1)
    assert found.code == 2
    assert "seed JSON has no blob count: take NAME.parquet" in found.err
    assert not list(tmp_path.iterdir())
