"""Folders of blocks with state: read as they were written, damage is named, and every command under `evm` runs on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli import in_process
from test_evm_engine import CODES, PEOPLE, at, block_of

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench.evm import Request, chained, run
from pevm_numba.errors import BlockError, FileFormatError
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import EMPTY_HASH, keccak
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.transaction import Transaction
from pevm_numba.fields import TABLES
from pevm_numba.io.evm_tables import evm_numbers, is_evm_folder, read_evm_blocks

NUMBER = 13_000_000  # of London
Rows = dict[str, list[dict[str, Any]]]
N_TX = 4 if DISABLED else 12


def example(number: int = NUMBER) -> EvmBlock:
    made = [(PEOPLE[i % 4], at(i % 6), i % 2, i, i + 1, 100_000) for i in range(N_TX)]
    given = block_of(made, Fork.LONDON)
    env = BlockEnv(
        number=number, timestamp=1_628_900_000, fork=Fork.LONDON, fee_recipient=b"\xcc" * 20, gas_limit=10**8, base_fee=7,
        prev_randao=5, block_hashes={number - 1: b"\x11" * 32},
    )  # fmt: skip
    txs = list(given.transactions)
    last = txs[-1]
    lists = ((at(0), (0, 7)), (at(1), ()))
    txs[-1] = Transaction(
        type=2, chain_id=1, nonce=last.nonce, gas_limit=last.gas_limit, to=last.to, data=last.data, sender=last.sender,
        max_fee_per_gas=9, max_priority_fee_per_gas=1, access_list=lists,
    )  # fmt: skip
    return EvmBlock(env, txs, given.state)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def state_rows(state: Any) -> list[dict[str, Any]]:
    rows = []
    for address, one in state.items():
        digest = keccak(one.code) if one.code else EMPTY_HASH
        blank = {"address": address, "slot": None, "value": None}
        account = {"exists": True, "balance": word(one.balance), "nonce": one.nonce, "code_hash": digest}
        rows.append(blank | account)
        rows += [
            {"address": address, "slot": word(slot), "value": word(value)} | dict.fromkeys(account)
            for slot, value in one.storage.items()
        ]
    return rows


def tables(block: EvmBlock) -> Rows:
    """Rows of every table, by its place in the folder."""
    done, number, env = pn.execute(block, "serial"), block.number, block.env
    span = f"{number:08d}_to_{number:08d}"
    transactions = [
        {
            "block_number": number, "transaction_index": i, "nonce": tx.nonce, "from_address": tx.sender, "to_address": tx.to,
            "value_binary": word(tx.value), "input": tx.data, "gas_limit": tx.gas_limit, "gas_price": tx.gas_price or 8,
            "transaction_type": tx.type, "max_priority_fee_per_gas": tx.max_priority_fee_per_gas,
            "max_fee_per_gas": tx.max_fee_per_gas, "chain_id": 1,
        }
        for i, tx in enumerate(block.transactions)
    ]  # fmt: skip
    listed = [
        {"block_number": number, "transaction_index": i, "address": address, "slot": slot}
        for i, tx in enumerate(block.transactions)
        for address, slots in tx.access_list
        for slot in (None, *map(word, slots))
    ]
    header = {
        "block_number": number, "timestamp": env.timestamp, "miner": env.fee_recipient, "gas_limit": env.gas_limit,
        "gas_used": int(done.gas_used.sum()), "difficulty": str(env.prev_randao), "mix_hash": word(1), "base_fee_per_gas": 7,
        "parent_hash": env.block_hashes[number - 1], "excess_blob_gas": None, "parent_beacon_block_root": None,
        "receipts_root": done.receipts_root(), "logs_bloom": done.logs_bloom(),
    }  # fmt: skip
    return {
        "state/ethereum__headers": [header],
        "state/ethereum__codes": [{"code_hash": keccak(bytes.fromhex(code)), "code": bytes.fromhex(code)} for code in CODES],
        "state/ethereum__access_lists": listed,
        f"state/ethereum__pre_state__{span}": state_rows(block.state),
        f"state/ethereum__post_state__{span}": state_rows(done.after_transactions),
        f"cryo/ethereum__transactions__{span}": transactions,
    }


@pytest.fixture(scope="module")
def given() -> Rows:
    return tables(example())


def write(folder: Path, rows: Rows) -> Path:
    for place, listed in rows.items():
        path = folder / f"{place}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(listed), path)
    return folder


def test_a_block_is_read_as_it_was_written(tmp_path: Path, given: Rows) -> None:
    folder, block = write(tmp_path, given), example()
    assert is_evm_folder(folder)
    assert not is_evm_folder(folder / "state")
    assert evm_numbers(folder) == [NUMBER]
    (found,) = read_evm_blocks(folder)
    assert found.transactions == block.transactions
    assert found.state == block.state
    assert pn.execute(found, "serial").differences_from_chain() == []


def changed(name: str, row: int, column: str, value: Any) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        place = next(place for place in rows if name in place)
        rows[place] = [dict(one) for one in rows[place]]
        rows[place][row][column] = value

    return change


@pytest.mark.parametrize(
    ("name", "row", "column", "value", "rule"),
    [
        ("transactions", 1, "from_address", b"\1" * 19, "must be 20 bytes"),
        ("transactions", 1, "from_address", None, "must be 20 bytes"),
        ("transactions", 2, "transaction_index", 5, "must be 2"),
        ("transactions", 0, "transaction_type", 9, r"must be an integer in \[0, 3\]"),
        ("transactions", 0, "nonce", None, "must be an integer"),
        ("pre_state", 0, "balance", None, "must be bytes"),
        ("pre_state", 0, "balance", bytes(33), "must be 32 bytes at most"),
        ("pre_state", 0, "code_hash", b"\1", "must be 32 bytes"),
        ("codes", 0, "code", b"\1", "must be the hash of the code"),
        ("headers", 0, "parent_hash", b"\1", "must be 32 bytes"),
        ("headers", 0, "gas_used", None, "must be an integer"),
        ("access_lists", 0, "slot", word(1), "must follow its address"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, given: Rows, name: str, row: int, column: str, value: Any, rule: str
) -> None:
    rows = dict(given)
    changed(name, row, column, value)(rows)
    place = column if "hash of" not in rule else "code_hash"
    with pytest.raises(FileFormatError, match=rf"{name}.*row {row}, {place} = .*{rule}"):
        list(read_evm_blocks(write(tmp_path, rows)))


def test_what_is_there_twice_or_of_another_chain_is_named(tmp_path: Path, given: Rows) -> None:
    headers = given["state/ethereum__headers"]
    twice = write(tmp_path / "a", given | {"state/ethereum__headers": headers * 2})
    with pytest.raises(FileFormatError, match=rf"row 1, block_number = {NUMBER}: is that of row 0, too"):
        list(read_evm_blocks(twice))
    place = next(place for place in given if "pre_state" in place)
    rows = write(tmp_path / "b", given | {place: [*given[place], given[place][0]]})
    with pytest.raises(FileFormatError, match=rf"pre_state.*row {len(given[place])}, address = .*: is there twice"):
        list(read_evm_blocks(rows))
    other = write(tmp_path / "c", {place.replace("ethereum__", "sepolia__"): rows for place, rows in given.items()})
    with pytest.raises(FileFormatError, match="tables of 'sepolia': only the forks of 'ethereum' are known"):
        list(read_evm_blocks(other))


def test_tables_that_are_missing_or_none_are_named_once(tmp_path: Path, given: Rows) -> None:
    folder = write(tmp_path, given)
    (state,) = folder.glob("state/*pre_state*")
    state.write_bytes(b"PAR1")
    with pytest.raises(FileFormatError, match=r"pre_state.*\.parquet: not a readable table: "):
        list(read_evm_blocks(folder))
    state.unlink()
    with pytest.raises(FileFormatError, match=r"pre_state.*\.parquet: no such file or folder$"):
        list(read_evm_blocks(folder))
    changed_nonce = dict(given)
    changed("transactions", 1, "nonce", -1)(changed_nonce)
    with pytest.raises(FileFormatError) as caught:
        list(read_evm_blocks(write(tmp_path, changed_nonce)))
    assert str(caught.value).count("row 1") == 1
    with pytest.raises(BlockError, match="numbers = 5: must be a list of heights"):
        list(read_evm_blocks(folder, 5))  # type: ignore[arg-type]


def test_a_column_or_a_block_that_is_missing_is_named(tmp_path: Path, given: Rows) -> None:
    rows = dict(given)
    place = next(place for place in rows if "transactions" in place)
    rows[place] = [{name: value for name, value in row.items() if name != "gas_price"} for row in rows[place]]
    folder = write(tmp_path, rows)
    with pytest.raises(FileFormatError, match="has no column 'gas_price'"):
        list(read_evm_blocks(folder))
    with pytest.raises(BlockError, match="has no block 5"):
        list(read_evm_blocks(folder, [5]))
    with pytest.raises(FileFormatError, match="has no table"):
        evm_numbers(folder / "cryo")


def test_commands_run(
    tmp_path: Path, given: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, folder = in_process(cli.main, monkeypatch, capsys), write(tmp_path / "blocks", given)
    for executor in ("serial", "dataflow", "optimistic", "auto"):
        said = command("evm", "run", "--input", folder, "--executor", executor, "--workers", 2)
        assert said.code == 0, said.err
        assert "gas used, receipts root, logs bloom, state of known accounts" in said.out
        assert f"{N_TX} transactions" in said.out
    said = command("evm", "trace", "--input", folder, "--index", 0)
    assert said.code == 0
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert lines[0]["pc"] == 0
    assert lines[-1]["pass"] is True
    said = command("evm", "trace", "--input", folder, "--index", 0, "--output", tmp_path / "steps.jsonl")
    assert f"{len(lines) - 1} steps" in said.out
    assert len((tmp_path / "steps.jsonl").read_text().splitlines()) == len(lines)


def node_files(folder: Path, block: EvmBlock) -> tuple[Path, Path]:
    """A block that says what comes out, and its prestate, as a node gives them."""
    done = pn.execute(block, "serial")
    said = {"gas_used": int(done.gas_used.sum()), "receipts_root": done.receipts_root(), "logs_bloom": done.logs_bloom()}
    paths = folder / "block.json", folder / "prestate.json"
    pn.write_node_block(*paths, EvmBlock(replace(block.env, **said), block.transactions, block.state))
    return paths


def test_a_block_as_a_node_gives_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node_files(tmp_path, example())
    command = in_process(cli.main, monkeypatch, capsys)
    given = ("evm", "run", "--input", tmp_path / "block.json")
    said = command(*given, "--prestate", tmp_path / "prestate.json", "--executor", "optimistic", "--workers", 2)
    assert said.code == 0, said.err
    assert "gas used, receipts root, logs bloom" in said.out
    said = command(*given)
    assert (said.code, "give --prestate" in said.err) == (2, True)
    said = command(*given, "--prestate", tmp_path / "prestate.json", "--number", 5)
    assert (said.code, "the block of" in said.err) == (2, True)
    said = command("evm", "run", "--input", tmp_path / "nosuch.json")
    assert (said.code, "nosuch.json: no such file or folder" in said.err) == (1, True)
    header = json.loads((tmp_path / "block.json").read_text())
    for tx in header["transactions"]:
        tx["chainId"] = "0x5"
    (tmp_path / "other.json").write_text(json.dumps(header))
    of_another_chain = ("--input", tmp_path / "other.json", "--prestate", tmp_path / "prestate.json")
    said = command("inspect", *of_another_chain)
    assert said.code == 1
    assert "other.json: a block of chain 5: only chain 1 has rules known by height: say which with --fork" in said.err
    for words in (("inspect",), ("execute",), ("schedule",), ("simulate",), ("benchmark", "--output", tmp_path / "m.json")):
        if not (DISABLED and words[0] == "benchmark"):
            said = command(*words, *of_another_chain, "--fork", "london")
            assert said.code == 0, said.err


def test_a_generated_block_is_written_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, paths = in_process(cli.main, monkeypatch, capsys), (tmp_path / "block.json", tmp_path / "prestate.json.gz")
    given = ("evm", "generate", "--output", paths[0], "--prestate", paths[1], "--mix", "amm", "--n-tx", 12, "--seed", 7)
    said = command(*given, "--popularity", 2.5, "--recipients", "one", "--n-tokens", 3, "--n-pools", 2, "--fork", "berlin")
    assert said.code == 0, said.err
    assert f"{paths[0]}: 12 transactions; {paths[1]}: " in said.out
    assert said.out.endswith("read with --prestate and --fork berlin\n")
    made = pn.generate_evm("amm", n_tx=12, seed=7, popularity=2.5, recipients="one", n_tokens=3, n_pools=2, fork="berlin")
    assert pn.read_node_block(*paths, fork="berlin") == made
    said = command("evm", "run", "--input", paths[0], "--prestate", paths[1], "--fork", "berlin", "--executor", "dataflow")
    assert (said.code, "equal to serial execution" in said.out) == (0, True), said.err
    before = [path.read_bytes() for path in paths]
    for wrong, code, rule in (
        (("--mix", "swaps"), 1, "mix = 'swaps': must be one of transfers, erc20, erc721, amm, mixed"),
        (("--fork", "byzantium"), 1, "fork"),
        (("--output", tmp_path / "block.parquet"), 2, "--output"),
        (("--prestate", paths[0]), 2, "must be another file than the block's"),
    ):
        said = command(*given, *wrong)
        assert (said.code, rule in said.err) == (code, True), said.err
    assert [path.read_bytes() for path in paths] == before


def test_a_folder_without_transactions_says_so(
    tmp_path: Path, given: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, {place: rows for place, rows in given.items() if "transactions" not in place})
    said = in_process(cli.main, monkeypatch, capsys)("evm", "run", "--input", folder)
    assert said.code == 2
    assert "cryo/…__transactions__….parquet" in said.err


def test_no_state_test_is_no_success(
    tmp_path: Path, given: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = in_process(cli.main, monkeypatch, capsys)
    said = command("evm", "state-test", write(tmp_path / "blocks", given))
    assert (said.code, "has no state test of berlin, london, paris" in said.err) == (1, True)
    block, _ = node_files(tmp_path, example())
    said = command("evm", "state-test", block)
    assert (said.code, said.err.count("block.json")) == (1, 1)
    assert "is no state test: must be objects by name, each with 'env', 'pre'" in said.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("run", "--executor", "fast"), 2, "--executor 'fast' is unknown: one of"),
        (("run", "--workers", "0"), 2, "--workers 0: must be in"),
        (("run", "--number", "7"), 1, "has no block 7"),
        (("run", "--fork", "london"), 2, "a folder of tables has both"),
        (("trace", "--index", "99"), 2, "--index 99: the block has"),
        (("bench", "--blocks", "x"), 2, "--blocks 'x': must be numbers"),
    ],
)
def test_misuse_is_one_line(
    tmp_path: Path, given: Rows, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, text: str,
) -> None:  # fmt: skip
    command, folder = in_process(cli.main, monkeypatch, capsys), write(tmp_path, given)
    said = command("evm", words[0], "--input", folder, *words[1:])
    assert said.code == code
    assert text in said.err
    assert said.err.count("\n") == 1


def test_a_wrong_header_ends_a_run(
    tmp_path: Path, given: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = dict(given)
    changed("headers", 0, "gas_used", 5)(rows)
    said = in_process(cli.main, monkeypatch, capsys)("evm", "run", "--input", write(tmp_path, rows))
    assert said.code == 3
    assert "the header says 5" in said.err


@pytest.mark.skipif(DISABLED, reason="measures nothing in plain Python")
@pytest.mark.parametrize("column", ["receipts_root", "logs_bloom"])
def test_a_wrong_header_is_not_benchmarked(
    tmp_path: Path, given: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    rows = dict(given)
    changed("headers", 0, column, b"\x01" * (32 if column == "receipts_root" else 256))(rows)
    command, output = in_process(cli.main, monkeypatch, capsys), tmp_path / "out.json"
    said = command("benchmark", "--input", write(tmp_path / "blocks", rows), "--output", output)
    assert (said.code, f"block {NUMBER}: " in said.err, "header" in said.err) == (3, True, True)
    assert not output.exists()


@pytest.mark.skipif(DISABLED, reason="measures nothing in plain Python")
def test_the_benchmark_compares_all_it_times(
    tmp_path: Path, given: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "blocks", given)
    rows = run(Request(folder, rounds=2, workers=2), tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    (row,) = rows
    assert set(row) == {"table", *TABLES[row["table"]][1]}
    assert row["verified"]
    assert row["n_tx"] == N_TX
    assert 0 < row["twins"] < 3
    assert row["opcodes"] > N_TX
    assert 1 <= row["bound"] <= 2
    assert set(row["executors"]) == {"waves", "dataflow", "bal", "optimistic"}
    assert f"{NUMBER} london" in capsys.readouterr().out


def test_chained_blocks_run() -> None:
    mega = chained([example(), example(NUMBER + 1)])
    assert mega.n_tx == 2 * N_TX
    done = pn.execute(mega, "optimistic", workers=2)
    done.check_equal(pn.execute(mega, "serial"))
