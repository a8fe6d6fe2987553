"""cryo datasets: what reads and diffs become, what a bad file says, and that real blocks give op_trace's net state."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pevm_numba as pn
from pevm_numba.errors import FileFormatError, PevmError
from pevm_numba.io.cryo import cryo_numbers, read_cryo
from pevm_numba.io.op_trace import read_op_trace
from pevm_numba.machine import spec
from pevm_numba.machine.ops import Op

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the folder of real blocks is not beside the checkout")

A, B, C, FEE = (bytes([n]) * 20 for n in (0xA1, 0xB2, 0xC3, 0xFE))
NO_SLOT = bytes(32)
Tables = dict[str, pa.Table]


def word(n: int) -> bytes:
    return n.to_bytes(32, "big")


#: Dataset -> columns behind block_number and transaction_index, with their types as cryo writes them.
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "transactions": {
        "transaction_hash": pa.binary(), "nonce": pa.uint64(), "from_address": pa.binary(), "to_address": pa.binary(),
        "value_binary": pa.binary(), "input": pa.binary(), "gas_limit": pa.uint64(), "gas_used": pa.uint64(),
        "success": pa.bool_(),
    },
    "storage_reads": {"contract_address": pa.binary(), "slot": pa.binary(), "value": pa.binary()},
    "balance_reads": {"address": pa.binary(), "balance_binary": pa.binary()},
    "nonce_reads": {"address": pa.binary(), "nonce": pa.uint64()},
    "code_reads": {"contract_address": pa.binary(), "code": pa.binary()},
    "storage_diffs": {
        "address": pa.binary(), "slot": pa.binary(), "from_value": pa.binary(), "to_value": pa.binary()
    },
    "balance_diffs": {"address": pa.binary(), "from_value_binary": pa.binary(), "to_value_binary": pa.binary()},
    "nonce_diffs": {"address": pa.binary(), "from_value": pa.uint64(), "to_value": pa.uint64()},
    "code_diffs": {"address": pa.binary(), "from_value": pa.binary(), "to_value": pa.binary()},
}  # fmt: skip

#: Rows (transaction, values …) of a block of three transactions: A pays B, writes a slot of C, deploys and reads.
ROWS: dict[str, list[tuple]] = {
    "transactions": [
        (0, b"0" * 32, 4, A, B, word(30), b"", 50_000, 21_000, True),
        (1, b"1" * 32, 5, A, C, word(0), b"call", 90_000, 43_000, True),
        (2, b"2" * 32, 0, B, None, word(0), b"make", 99_000, 60_000, False),
    ],
    "storage_reads": [(1, C, word(1), word(7)), (1, C, word(2), word(9)), (2, C, word(1), word(3))],
    "balance_reads": [
        (0, A, word(100)), (0, B, word(5)), (0, FEE, word(0)), (1, A, word(60)), (1, C, word(0)), (1, FEE, word(10)),
        (2, B, word(35)), (2, FEE, word(12)),
    ],
    "nonce_reads": [(0, A, 4), (1, A, 5)],
    "code_reads": [(1, C, b"code of C"), (2, C, b"code of C")],
    "storage_diffs": [(1, C, word(1), word(7), word(3))],
    "balance_diffs": [
        (0, A, word(100), word(60)), (0, B, word(5), word(35)), (0, FEE, word(0), word(10)), (1, A, word(60), word(58)),
        (1, FEE, word(10), word(12)),
    ],
    "nonce_diffs": [(0, A, 4, 5), (1, A, 5, 6), (2, B, 0, 1)],
    "code_diffs": [(2, A, b"", b"new code")],
}  # fmt: skip


def tables(number: int = 7, **rows: list[tuple]) -> Tables:
    """Every dataset of a block; rows of some may be replaced."""
    out = {}
    for dataset, columns in COLUMNS.items():
        given = (ROWS | rows)[dataset]
        index = pa.uint64() if dataset == "transactions" else pa.uint32()
        arrays = {"block_number": pa.array([number] * len(given), pa.uint32())}
        arrays["transaction_index"] = pa.array([r[0] for r in given], index)
        for i, (name, kind) in enumerate(columns.items(), 1):
            arrays[name] = pa.array([r[i] for r in given], kind)
        out[dataset] = pa.table(arrays)
    return out


def write(folder: Path, given: Tables, start: int = 7, end: int = 7) -> Path:
    folder.mkdir(exist_ok=True)
    for dataset, table in given.items():
        pq.write_table(table, folder / f"ethereum__{dataset}__{start:08d}_to_{end:08d}.parquet")
    return folder


def storage(slot: int) -> tuple[bytes, int, bytes]:
    return C, 0, word(slot)


def account(address: bytes, field: int) -> tuple[bytes, int, bytes]:
    return address, field, NO_SLOT


def hashed(code: bytes) -> int:
    return int.from_bytes(spec.keccak256(code), "big")


# -------------------------------------------------------------------- what rows become


def test_reads_are_touched_changes_are_computed_and_income_is_credited(tmp_path: Path) -> None:
    (block,) = read_cryo(write(tmp_path, tables()))
    programs = block.to_programs()
    assert programs[0] == [
        (Op.SLOAD, account(A, 1)), (Op.SUB, 40), (Op.SSTORE, account(A, 1), "TOP"),
        (Op.CREDIT, account(B, 1), 30), (Op.CREDIT, account(FEE, 1), 10),
        (Op.SLOAD, account(A, 2)), (Op.ADD, 1), (Op.SSTORE, account(A, 2), "TOP"),
        (Op.BURN, 21_000 - 6),
    ]  # fmt: skip
    assert programs[1][:3] == [(Op.TOUCH, storage(2)), (Op.TOUCH, account(C, 1)), (Op.TOUCH, account(C, 3))]
    assert (Op.SUB, 4) in programs[1]
    assert programs[2][-3:] == [
        (Op.TOUCH, account(A, 3)), (Op.SSTORE, account(A, 3), hashed(b"new code")), (Op.BURN, 60_000 - 3)
    ]  # fmt: skip
    assert (Op.CREDIT, account(FEE, 1), 0) in programs[2], "a fee recipient that got nothing is not read"
    assert block.fork == "free"
    assert block.header.fee_recipient == FEE
    assert block.nonce.tolist() == [4, 5, 0]
    assert block.gas_limit.tolist() == [50_000, 90_000, 99_000]
    assert block.state() == {
        account(A, 1): 100, account(B, 1): 5, account(A, 2): 4, storage(1): 7, storage(2): 9,
        account(C, 3): hashed(b"code of C"),
    }  # fmt: skip
    got = pn.execute(block, "serial")
    assert got.gas_used.tolist() == block.chain_gas_used.tolist() == [21_000, 43_000, 60_000]
    assert got.state() == {
        account(A, 1): 58, account(B, 1): 35, account(FEE, 1): 12, account(A, 2): 6, account(B, 2): 1, storage(1): 3,
        storage(2): 9, account(C, 3): hashed(b"code of C"), account(A, 3): hashed(b"new code"),
    }  # fmt: skip
    assert block.meta is not None
    assert block.meta["to"].to_pylist() == [B, C, None]
    assert block.meta["chain_success"].to_pylist() == [True, True, False]


def test_hexadecimal_text_and_code_hashes_give_the_same_block(tmp_path: Path) -> None:
    (plain,) = read_cryo(write(tmp_path / "plain", tables()))
    given = tables()
    for dataset, table in given.items():
        for i, field in enumerate(table.schema):
            if pa.types.is_binary(field.type):
                texts = [None if v is None else "0x" + v.hex() for v in table[field.name].to_pylist()]
                table = table.set_column(i, field.name, pa.array(texts, pa.string()))
        given[dataset] = table
    (text,) = read_cryo(write(tmp_path / "text", given))
    assert text == plain
    given = tables()
    hashes = pa.array([spec.keccak256(code) for code in given["code_reads"]["code"].to_pylist()])
    given["code_reads"] = given["code_reads"].drop_columns(["code"]).append_column("code_hash", hashes)
    (by_hash,) = read_cryo(write(tmp_path / "hashes", given))
    assert by_hash == plain


def test_large_fixed_dictionary_and_open_types_give_the_same_block(tmp_path: Path) -> None:
    (plain,) = read_cryo(write(tmp_path / "plain", tables(code_diffs=[])))
    given = tables(code_diffs=[])
    reads = given["balance_reads"]
    reads = reads.set_column(2, "address", reads["address"].cast(pa.large_binary()))
    reads = reads.set_column(3, "balance_binary", reads["balance_binary"].cast(pa.binary(32)))
    given["balance_reads"] = reads.select(reads.column_names[::-1]).append_column("more", pa.array([1.5] * len(reads)))
    given["nonce_reads"] = given["nonce_reads"].set_column(3, "nonce", pa.array([4, 5], pa.int16()))
    slots = given["storage_reads"]["slot"].dictionary_encode()
    given["storage_reads"] = given["storage_reads"].set_column(3, "slot", slots)
    given["code_diffs"] = pa.table({name: pa.nulls(0) for name in given["code_diffs"].column_names})
    (other,) = read_cryo(write(tmp_path / "other", given))
    assert other == plain


def test_a_blocks_dataset_names_fee_recipient_time_and_empty_blocks(tmp_path: Path) -> None:
    write(tmp_path, tables(), 6, 9)
    blocks = {"block_number": [6, 7], "author": [B, C], "timestamp": [3, 4], "gas_limit": [None, 90]}
    write(tmp_path, {"blocks": pa.table(blocks)}, 6, 9)
    assert cryo_numbers(tmp_path) == [6, 7]
    empty, block = read_cryo(tmp_path)
    assert (empty.n_tx, empty.header) == (0, pn.Header(B, None, 3))
    assert block.header == pn.Header(C, 90, 4)


def test_a_file_of_many_blocks_gives_each_block_by_number(tmp_path: Path) -> None:
    one, two = tables(7), tables(12)
    write(tmp_path, {name: pa.concat_tables([one[name], two[name]]) for name in one}, 0, 999)
    assert cryo_numbers(tmp_path) == [7, 12]
    assert [b.number for b in read_cryo(tmp_path, [12, 7])] == [12, 7]
    first, second = read_cryo(tmp_path)
    assert first.state() == second.state()
    assert first.op_code.tolist() == second.op_code.tolist()
    with pytest.raises(FileFormatError, match="block 8 is not there"):
        list(read_cryo(tmp_path, [8]))


def test_values_that_do_not_follow_and_gasless_transactions_are_stored_as_literals(tmp_path: Path) -> None:
    rows = [(1, C, word(1), word(7), word(3)), (2, C, word(1), word(5), word(6))]
    free = [(*t[:8], 0, True) for t in ROWS["transactions"]]
    (block,) = read_cryo(write(tmp_path, tables(storage_diffs=rows, transactions=free)))
    got = pn.execute(block, "serial")
    assert got.gas_used.tolist() == [0, 0, 0]
    assert not got.status.any()
    assert got.state()[storage(1)] == 6
    assert got.state()[account(A, 2)] == 6


def test_an_empty_block_is_known_by_the_name_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, tables(**{name: [] for name in ROWS}))
    (block,) = read_cryo(tmp_path)
    assert (block.number, block.n_tx, block.n_keys, block.header) == (7, 0, 0, pn.Header())


# -------------------------------------------------------------------- bad files

Change = Callable[[Tables], None]


def cell(dataset: str, name: str, at: int, value: Any) -> Change:
    def change(given: Tables) -> None:
        table = given[dataset]
        values = table[name].to_pylist()
        values[at] = value
        given[dataset] = table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))

    return change


def retyped(dataset: str, name: str, values: pa.Array) -> Change:
    def change(given: Tables) -> None:
        table = given[dataset]
        given[dataset] = table.set_column(table.column_names.index(name), name, values)

    return change


def without(dataset: str, name: str) -> Change:
    def change(given: Tables) -> None:
        given[dataset] = given[dataset].drop_columns([name])

    return change


def taken(dataset: str, rows: list[int]) -> Change:
    def change(given: Tables) -> None:
        given[dataset] = given[dataset].take(rows)

    return change


BAD: list[tuple[str, Change, str]] = [
    *[(f"no {dataset}", lambda t, d=dataset: t.pop(d), dataset) for dataset in COLUMNS],
    *[(f"no {dataset} {name}", without(dataset, name), rf"__{dataset}__.*column '{name}' is there 0 times")
      for dataset in ("transactions", "storage_reads", "balance_diffs") for name in COLUMNS[dataset]],
    ("no block_number", without("nonce_reads", "block_number"), "column 'block_number' is there 0 times"),
    ("no transaction_index", without("nonce_reads", "transaction_index"), "'transaction_index' is there 0 times"),
    ("no code", without("code_reads", "code"), "column 'code' is there 0 times"),
    ("null address", cell("balance_reads", "address", 2, None), r"column 'address', row 2 = null: must not be null"),
    ("null balance", cell("balance_diffs", "to_value_binary", 1, None), r"column 'to_value_binary', row 1 = null"),
    ("null nonce", cell("nonce_diffs", "from_value", 0, None), r"column 'from_value', row 0 = null"),
    ("null sender", cell("transactions", "from_address", 1, None), r"column 'from_address', row 1 = null"),
    ("null success", cell("transactions", "success", 1, None), r"column 'success', row 1 = null"),
    ("null code", cell("code_diffs", "to_value", 0, None), r"column 'to_value', row 0 = null"),
    ("short address", cell("storage_diffs", "address", 0, b"ab"), r"'address', row 0 = 0x6162: has 2 bytes: must"),
    ("long slot", cell("storage_reads", "slot", 1, bytes(33)), r"'slot', row 1 = 0x0+: has 33 bytes: must have 32"),
    ("short to", cell("transactions", "to_address", 0, b"ab"), r"'to_address', row 0 = 0x6162: has 2 bytes"),
    ("short hash", cell("transactions", "transaction_hash", 0, b"ab"), r"'transaction_hash', row 0 = 0x6162: has 2"),
    ("text nonce", retyped("nonce_reads", "nonce", pa.array(["4", "5"])), "'nonce' has type string: must be"),
    ("float gas", retyped("transactions", "gas_used", pa.array([1.0, 2.0, 3.0])), "'gas_used' has type double"),
    ("int success", retyped("transactions", "success", pa.array([1, 0, 1])), "'success' has type int64: must be bool"),
    ("int value", retyped("storage_reads", "value", pa.array([1, 0, 1])), "'value' has type int64: must be binary"),
    ("no hex", retyped("nonce_reads", "address", pa.array(["0x12", "zz"])), r"'address', row 1 = 'zz': text must"),
    ("odd hex", retyped("nonce_reads", "address", pa.array(["0x123", "0x"])), r"column 'address', row 0 = '0x123'"),
    ("negative nonce", retyped("nonce_reads", "nonce", pa.array([4, -5])), r"column 'nonce', row 1 = -5: must be in"),
    ("huge gas", cell("transactions", "gas_used", 0, 2**63), r"'gas_used', row 0 = 9223372036854775808: must be in"),
    ("gas over limit", cell("transactions", "gas_used", 0, 50_001), r"'gas_used', row 0 = 50001: .* gas_limit = 50000"),
    ("index too high", cell("balance_reads", "transaction_index", 7, 3), r"_index', row 7 = 3: must be below 3"),
    ("reads unsorted", taken("balance_reads", [3, 1, 2, 0]), r"'transaction_index', row 1 = 0: rows must be sorted"),
    ("blocks unsorted", cell("balance_reads", "block_number", 3, 6), r"column 'block_number', row 3 = 6: rows must be"),
    ("transactions unsorted", taken("transactions", [1, 0, 2]), r"'transaction_index', row 0 = 1: must be 0"),
    ("transaction missing", taken("transactions", [0, 2]), r"'transaction_index', row 1 = 2: must be 1"),
    ("transaction twice", taken("transactions", [0, 0, 1, 2]), r"'transaction_index', row 1 = 0: must be 1"),
    ("read twice", taken("storage_reads", [0, 1, 1, 2]), r"_address', row 2 = 0xc3.*row 1 has it for 1 already"),
    ("diff twice", taken("nonce_diffs", [0, 0, 1]), r"column 'address', row 1 = 0xa1.*row 0 has it for 0 already"),
    ("wrong block", retyped("transactions", "block_number", pa.array([7, 7, 9])), r"_number', row 2 = 9.*range of"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_folder_is_refused_by_column_row_value_and_rule(tmp_path: Path, change: Change, message: str) -> None:
    given = tables()
    change(given)
    with pytest.raises(FileFormatError, match=message):
        list(read_cryo(write(tmp_path, given)))


def test_two_files_with_one_block_and_odd_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no file named"):
        cryo_numbers(tmp_path / "absent")
    write(tmp_path, tables())
    write(tmp_path, {"nonce_reads": tables()["nonce_reads"]}, 0, 999)
    with pytest.raises(FileFormatError, match=r"block 7 is also in the range of"):
        list(read_cryo(tmp_path))
    write(tmp_path, {"transactions": tables()["transactions"]}, 0, 999)
    with pytest.raises(FileFormatError, match=r"block 7 is also in"):
        cryo_numbers(tmp_path)


def damage(raw: bytes, rng: random.Random) -> bytes:
    """A file with some bits flipped, or its end missing."""
    data = bytearray(raw)
    if rng.random() < 0.3:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def test_a_damaged_file_gives_an_error_of_ours_or_a_valid_block(tmp_path: Path) -> None:
    folder, refused = write(tmp_path, tables()), 0
    files = sorted(folder.iterdir())
    for seed in range(120):
        rng = random.Random(seed)
        path = files[seed % len(files)]
        raw = path.read_bytes()
        path.write_bytes(damage(raw, rng))
        try:
            blocks = list(read_cryo(folder))
        except PevmError:
            refused += 1
        else:
            assert all(pn.execute(block, "serial").status.shape == (block.n_tx,) for block in blocks)
        path.write_bytes(raw)
    assert refused > 60


def test_swapped_columns_give_an_error_or_a_valid_block(tmp_path: Path) -> None:
    rng, refused = random.Random(3), 0
    for seed in range(60):
        given = tables()
        dataset = rng.choice(sorted(given))
        names = given[dataset].column_names
        i, j = rng.sample(range(len(names)), 2)
        names[i], names[j] = names[j], names[i]
        given[dataset] = given[dataset].rename_columns(names)
        try:
            list(read_cryo(write(tmp_path / str(seed), given)))
        except PevmError:
            refused += 1
    assert refused > 30


# -------------------------------------------------------------------- real blocks


@pytest.mark.corpus
@needs_corpus
def test_every_real_block_has_the_same_net_state_and_the_chains_gas() -> None:
    n_blocks = n_changes = 0
    for block, trace in zip(read_cryo(CORPUS / "cryo"), read_op_trace(CORPUS / "op_trace"), strict=True):
        assert (block.number, block.n_tx) == (trace.number, trace.n_tx)
        got, want = pn.execute(block, "serial"), pn.execute(trace, "serial")
        assert not got.status.any(), block.number
        if block.n_tx:
            assert got.gas_used.tolist() == block.chain_gas_used.tolist() == trace.chain_gas_used.tolist()
        before, known = block.state(), trace.state()
        assert before.items() <= known.items(), block.number
        mine, theirs = net(before, got.state()), net(known, want.state())
        assert mine == theirs, block.number
        assert np.array_equal(block.sender, trace.sender)
        n_blocks, n_changes = n_blocks + 1, n_changes + len(mine)
    assert n_blocks == 65
    assert n_changes > 20_000


def net(before: dict, after: dict) -> dict:
    """Key -> (before, after) where they differ."""
    pairs = {key: (before.get(key, 0), after.get(key, 0)) for key in before.keys() | after.keys()}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


@pytest.mark.corpus
@needs_corpus
def test_the_fee_recipient_of_real_blocks_is_found_or_left_unknown() -> None:
    unknown = []
    for block, trace in zip(read_cryo(CORPUS / "cryo"), read_op_trace(CORPUS / "op_trace"), strict=True):
        if block.header.fee_recipient is None:
            unknown.append(block.n_tx)
        else:
            assert block.header.fee_recipient == trace.header.fee_recipient
    assert max(unknown) <= 4, "only blocks of a few transactions, in which other addresses are everywhere too"
    assert len(unknown) == 6
