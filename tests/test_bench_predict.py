"""Predictions of real calls, in the bench and on the command line: what they say is so, and each figure is defined."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from evm_corpus import CORPUS
from test_cli import in_process

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.prediction import Prediction
from pevm_numba.bench import __main__ as bench
from pevm_numba.bench import prediction
from pevm_numba.bench.prediction import Case, mix_rows, quality_rows, speed_row
from pevm_numba.errors import ExecutionError
from pevm_numba.fields import TABLES

A, B, C = ((b"\x01" * 20, slot) for slot in (1, 2, 3))


def case(kind: str, seen: bool, predicted: dict[tuple[bytes, int], float], touched: tuple[tuple[bytes, int], ...]) -> Case:
    found = {key: (chance, False) for key, chance in predicted.items()}
    return Case(kind, Prediction(1, 0, b"\x01" * 20, 5, seen, found, dict.fromkeys(touched, True)), Counter())


def test_quality_counts_keys_of_the_calls_that_are_asked_for() -> None:
    cases = [
        case("tokens", True, {A: 0.9, B: 0.52}, (A,)), case("swaps", False, {A: 0.1}, (A, B)), case("others", True, {}, ()),
        case("tokens", True, {C: 0.6}, (A, C)),
    ]  # fmt: skip
    rows = {(row["kind"], row["seen"], row["threshold"]): row for row in quality_rows("learned", cases)}

    def of(*key: object) -> list[float]:
        return [rows[key][field] for field in ("calls", "keys", "touched", "hits", "whole")]

    assert of("all", False, 0.5) == [3, 3, 5, 2, 1]
    assert of("all", False, 0.55) == [3, 2, 5, 2, 1]
    assert of("tokens", True, 0.5) == [2, 3, 3, 2, 1]
    assert of("swaps", True, 0.5) == [0, 0, 0, 0, 0]
    assert rows["tokens", True, 0.5]["precision"] == rows["tokens", True, 0.5]["recall"] == 2 / 3


def test_what_was_not_observed_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    block = pn.generate_evm("erc20", n_tx=4, seed=1)
    pairs = [(block, pn.execute(block, "serial").observed)]
    ((_, right),) = prediction._checked(pairs, pn.built_in_patterns())
    assert [one.tx for one in right] == [0, 1, 2, 3]
    assert all(one.touched for one in right)
    key = next(iter(right[1].touched))
    for wrong, told in (
        ([right[0], right[1]._replace(touched=right[1].touched | {A: True}), *right[2:]], "transaction 1: other storage"),
        ([right[0], right[1]._replace(touched={key: False}), *right[2:]], "transaction 1: other storage"),
        (right[1:], "3 calls"),
    ):  # fmt: skip
        monkeypatch.setattr(prediction, "time_series", lambda *_, wrong=wrong, **__: iter([(block, wrong)]))
        with pytest.raises(ExecutionError, match=told):
            list(prediction._cases(pairs, pn.built_in_patterns(), True))


def test_speed_is_of_keys_that_are_right() -> None:
    row = speed_row(500, 1)
    assert row["keys"] == 1000
    assert row["tx_per_s"] > 0


@pytest.mark.skipif(DISABLED, reason="six blocks of each mix take hours of plain Python")
def test_generated_blocks_are_predicted_by_those_before() -> None:
    rows = list(mix_rows(5, 150))
    assert {row["mix"] for row in rows} == {"erc20", "erc721", "amm", "mixed"}
    for row in rows:
        assert min(row["precision"], row["recall"]) > 0.9, row


@pytest.mark.corpus
def test_all_that_is_written_is_defined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prediction, "mix_rows", partial(mix_rows, 2, 20))
    monkeypatch.setattr(prediction, "speed_row", partial(speed_row, 200, 1))
    said = in_process(bench.main, monkeypatch, capsys)(
        "predict", CORPUS, "--blocks", "4330482,4369999,4370000", "--rounds", 1, "--json", tmp_path / "a.json"
    )
    assert (said.code, said.err) == (0, "")
    rows = json.loads((tmp_path / "a.json").read_text())
    timed = {"speedup_exact", "speedup_predicted", "speedup_none"}
    for row in rows:
        defined = set(TABLES[row["table"]][1]) | {"table"}
        assert set(row) in (defined, defined - timed)
        assert row["verified"]
    assert {row["table"] for row in rows} == {
        "prediction", "prediction in a block", "missed keys", "prediction of a mix", "prediction speed",
    }  # fmt: skip
    assert sum(row["share"] for row in rows if row["table"] == "missed keys") == pytest.approx(1)
    for text in ("whole calls", "waves by predicted sets", "transfers of a token a second", "Keys missed by what"):
        assert text in " ".join(said.out.split())


@pytest.mark.corpus
def test_a_block_is_predicted_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = in_process(cli.main, monkeypatch, capsys)
    asked = ("access", "predict", "--input", CORPUS, "--number", 4370000)
    lists, saved = tmp_path / "lists.json", tmp_path / "patterns.json"
    said = command(*asked, "--learn", 2, "--save", saved, "--output", lists)
    assert (said.code, said.err) == (0, "")
    assert "learned from 2 blocks" in said.out
    listed = json.loads(lists.read_text())
    (block,) = pn.read_evm_blocks(CORPUS, [4370000])
    assert len(listed) == block.n_tx
    patterns = pn.read_patterns(saved)
    sets = pn.predict(block, patterns, 0.5)
    slots = sum(len(one["storageKeys"]) for entry in listed for one in entry["accessList"])
    assert sets.table is not None
    storage = sets.table.field == pn.Field.STORAGE
    assert slots == int(storage[sets.keys].sum())
    again = command(*asked, "--learn", 0, "--patterns", saved, "--rows", 0)
    assert again.out.splitlines()[2:6] == said.out.splitlines()[2:6]  # nothing was lost in the file
    saved.write_text("[]")
    refused = command(*asked, "--patterns", saved)
    assert refused.code
    assert f"{saved}: patterns, version = []" in refused.err
    absent = command("access", "predict", "--input", CORPUS, "--number", 5)
    assert "has no block 5" in absent.err
    twice = command(*asked, "--learn", 0, "--output", lists, "--save", lists)
    assert "is that of --output, too" in twice.err


@pytest.mark.soak
@pytest.mark.corpus
def test_what_was_aimed_at_holds_at_one_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in prediction.run(CORPUS, rounds=1) if row["table"] == "prediction"]
    found = {row["kind"]: row for row in rows if (row["patterns"], row["seen"], row["threshold"]) == ("learned", True, 0.5)}
    assert found["tokens"]["precision"] >= 0.95
    assert found["tokens"]["recall"] >= 0.95
    assert found["all"]["precision"] >= 0.9
    assert found["all"]["recall"] >= 0.6
