"""The command `dispute` plays, shows, writes and judges anew; `bench dispute` shows figures of games that were won."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_cli import Command, in_process
from test_dispute_trace import committed

from pevm_numba import cli
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench import __main__ as main
from pevm_numba.bench import dispute as bench
from pevm_numba.block import Block
from pevm_numba.dispute.faults import KINDS
from pevm_numba.dispute.game import play
from pevm_numba.dispute.transcript import Transcript, Verdict
from pevm_numba.errors import ExecutionError
from pevm_numba.fields import TABLES
from pevm_numba.io.files import write_blocks

pytestmark = pytest.mark.skipif(DISABLED, reason="blocks of a thousand transactions as plain Python")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m pevm_numba dispute WORDS` in this process."""
    command = in_process(cli.main, monkeypatch, capsys)
    return lambda *words: command("dispute", *words)


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m pevm_numba.bench dispute WORDS` in this process."""
    command = in_process(main.main, monkeypatch, capsys)
    return lambda *words: command("dispute", *words)


@pytest.mark.parametrize("side", ["proposer", "challenger"])
def test_a_game_is_shown_round_by_round_and_judged_anew_from_its_file(run: Command, tmp_path, side: str) -> None:
    file = tmp_path / "game.json"
    said = run("--preset", "small", "--fault", "value", "--side", side, "--transcript", file)
    assert (said.code, said.err) == (0, "")
    other = {"proposer": "challenger", "challenger": "proposer"}[side]
    assert f"the {side} writes another value (value)" in said.out
    assert f"winner  {other}" in said.out
    played = Transcript.loads(file.read_text())
    assert played.verdict.winner == other
    assert f"step {played.verdict.step}: proof?" in said.out
    assert f"rounds  {played.n_rounds}, at most" in said.out
    anew = run("--replay", file)
    assert (anew.code, anew.err) == (0, "")
    assert "judged anew: the same verdict" in anew.out
    assert anew.out.splitlines()[-2:] == said.out.splitlines()[-2:]


def test_a_schedules_order_a_block_file_and_a_position_can_be_given(run: Command, tmp_path) -> None:
    block = Block.from_programs([[("SSTORE", (1, 0, 0), i)] for i in range(5)], number=7)
    write_blocks(tmp_path / "block.parquet", [block])
    said = run("--input", tmp_path / "block.parquet", "--fault", "gas", "--position", "3")
    assert said.code == 0
    assert "transaction at position 3, step 0" in said.out
    assert run("--preset", "small", "--policy", "mis", "--fault", "order").code == 0
    assert run("--preset", "small", "--seed", "5").code == 0


@pytest.mark.parametrize(
    "answer",
    [
        "\ud800\x1b[31m" * 20, {"\x1b]0;title\x07": "\udfff"}, {"state": "\x1b[2J\ud800"}, ["[red]x[/red]\x9b"],
        {"claim": {"root": "\x1b[1m", "receipt": {"gas_used": 10**4000}}}, {"proof": {"machine": {"pc": 10**4000}}},
    ],
)  # fmt: skip
def test_what_a_party_said_is_no_command_to_a_terminal(run: Command, tmp_path, answer: Any) -> None:
    class Loud:
        def answer(self, question: dict[str, Any]) -> Any:
            return answer

    made = committed(Block.from_programs([[("SSTORE", (1, 0, 0), 1)]]))
    file = tmp_path / "game.json"
    file.write_text(play(made.agreement, Loud(), made.party()).dumps())
    said = run("--replay", file)
    assert (said.code, said.err) == (0, "")
    assert not set(said.out) & {"\x1b", "\x07", "\x9b", "\ud800"}
    assert len(said.out) < 3000
    assert made.agreement.digest().hex() in said.out.replace("\n", "")


def test_an_altered_transcript_is_one_line_and_code_1(run: Command, tmp_path) -> None:
    file = tmp_path / "game.json"
    assert run("--preset", "small", "--fault", "root", "--transcript", file).code == 0
    value = json.loads(file.read_text())
    value["verdict"]["winner"] = "proposer"
    file.write_text(json.dumps(value))
    said = run("--replay", file)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: verdict")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--fault", "kindness"], 2, "--fault 'kindness' is unknown"),
        (["--side", "left"], 2, "--side 'left' is unknown"),
        (["--preset", "tiny"], 2, "--preset 'tiny' is unknown"),
        (["--limit", "0"], 2, "--limit 0.0: must be in"),
        (["--seed", "-1"], 2, "--seed -1: must be in"),
        (["--number", "5"], 2, "--number: only with --input"),
        (["--input", "x", "--preset", "small"], 2, "give either --preset or --input"),
        (["--transcript", "a.txt"], 2, "--transcript a.txt: must be NAME.json"),
        (["--replay", "none.json"], 1, "none.json"),
        (["--replay", "a.json", "--preset", "small"], 2, "--replay with other options"),
        (["--replay", "a.json", "--fault", "random"], 2, "--replay with other options"),
        (["--replay", "a.json", "--side", "proposer"], 2, "--replay with other options"),
        (["--replay", "a.json", "--seed", "42"], 2, "--replay with other options"),
        (["--replay", "a.json", "--limit", "60"], 2, "--replay with other options"),
        (["--preset", "small", "--position", "100"], 1, "position = 100"),
        (["--preset", "small", "--policy", "none"], 1, "none"),
    ],
)
def test_misuse_is_one_line(run: Command, words: list[str], code: int, text: str) -> None:
    said = run(*words)
    assert (said.code, said.out) == (code, "")
    assert text in said.err
    assert said.err.count("\n") == 1


def test_blocks_of_the_evm_are_refused(run: Command, shared) -> None:
    said = run("--input", shared / "corpus", "--number", "14029313")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "must be one of micro-ops" in said.err


def test_the_benchmark_has_the_fields_that_are_defined(measure: Command, tmp_path) -> None:
    words = ("--preset", "small", "--games", "2", "--rounds", "1")
    said = measure(*words, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    assert said.code == 0, said.err
    first, *rows = json.loads((tmp_path / "a.json").read_text())
    assert first.keys() - {"table"} == TABLES["commitment"][1].keys()
    assert first["claims_us_per_key"] == pytest.approx(1e3 * first["claims_ms"] / first["written"])
    assert [row["kind"] for row in rows] == [kind for kind in KINDS if kind in {row["kind"] for row in rows}]
    assert len(rows) >= len(KINDS) - 1
    for row in rows:
        assert row.keys() - {"table"} == TABLES["game"][1].keys()
        assert (row["games"], row["won"], row["verified"]) == (2, 2, True)
        assert 0 <= row["rounds_spare"] < row["rounds_high"]
        assert 0 < row["seconds"] <= row["seconds_high"] < 2
    assert 500 < max(row["proof_bytes"] or 0 for row in rows) < 3000
    assert "skipped-write" in (tmp_path / "a.html").read_text()


def test_a_block_of_five_thousand_transactions_is_judged_in_two_seconds(measure: Command, tmp_path) -> None:
    assert measure("--games", "1", "--rounds", "1", "--json", tmp_path / "a.json").code == 0
    rows = [row for row in json.loads((tmp_path / "a.json").read_text()) if row["table"] == "game"]
    assert [row["kind"] for row in rows] == list(KINDS)
    assert all(row["n_tx"] == 5000 and row["seconds_high"] < 2 for row in rows)


def test_a_game_that_the_wrong_party_wins_ends_the_benchmark(measure: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.play

    def swapped(*given, **options):
        played = real(*given, **options)
        return Transcript(played.agreement, played.limit, played.rounds, Verdict("nobody", "made up"))

    monkeypatch.setattr(bench, "play", swapped)
    said = measure("--preset", "small", "--games", "1", "--rounds", "1")
    assert (said.code, said.out) == (3, "")
    assert "must be won by the proposer" in said.err


def test_a_root_that_is_not_that_of_the_state_ends_the_benchmark(measure: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.Tree, "root", bytes(32))
    with pytest.raises(ExecutionError, match="that of the state is"):
        bench.run(bench.Request(preset="small"))
    assert measure("--preset", "small").code == 3


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--games", "0"], 2, "--games 0: must be in"),
        (["--preset", "tiny"], 2, "--preset 'tiny' is unknown"),
        (["--json", "a.txt"], 2, "--json a.txt"),
    ],
)
def test_misuse_of_the_benchmark_is_one_line(measure: Command, words: list[str], code: int, text: str) -> None:
    said = measure(*words)
    assert (said.code, text in said.err, said.err.count("\n")) == (code, True, 1)
