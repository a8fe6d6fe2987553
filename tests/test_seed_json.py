"""PEVM-OPT-2's JSON: real files round-trip to the same structure, and their published conflicts and levels come out."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba.block import Block, Header
from pevm_numba.errors import FileFormatError
from pevm_numba.io import files
from pevm_numba.io.seed_json import GAS_LIMIT, read_seed_json, write_seed_json
from pevm_numba.machine.ops import Mode

SEED = Path(__file__).resolve().parents[2] / "shared" / "seed_blocks"
NAMES = ("chain3.json", "small_42.json.gz", "medium_42.json.gz", "hot_200_100_0.9_1.json.gz")
needs_seed = pytest.mark.skipif(not SEED.is_dir(), reason="the seed system's blocks are not beside the checkout")

A, B = bytes([1]) * 20, bytes([2]) * 20


def parsed(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


# -------------------------------------------------------------------- the seed system's own files


def naive_conflicts(block: Block) -> set[tuple[int, int]]:
    """Conflicting pairs by comparing all pairs of transactions, key by key."""
    indptr, keys = block.footprint
    sets = []
    for t in range(block.n_tx):
        part = slice(indptr[t], indptr[t + 1])
        sets.append(dict(zip(keys[part].tolist(), block.footprint_modes[part].tolist())))
    out = set()
    for i, j in combinations(range(block.n_tx), 2):
        small, large = sorted((sets[i], sets[j]), key=len)
        for key in small:
            modes = small[key] | large.get(key, 0)
            if key in large and modes not in (Mode.READ, Mode.CREDIT):
                out.add((i, j))
    return out


def naive_levels(block: Block, pairs: set[tuple[int, int]]) -> list[int]:
    """Sizes of the levels in block order: one more than the highest level among earlier conflicting transactions."""
    level = [0] * block.n_tx
    for j in range(block.n_tx):
        level[j] = max((level[i] + 1 for i in range(j) if (i, j) in pairs), default=0)
    return [level.count(n) for n in range(max(level) + 1)]


@needs_seed
@pytest.mark.parametrize(
    ("name", "n_pairs", "levels"),
    [
        ("chain3.json", 2, [1, 1, 1]),
        ("small_42.json.gz", 1, [99, 1]),
        ("medium_42.json.gz", 44, [960, 36, 4]),
    ],
)
def test_seed_blocks_have_the_published_conflicts_and_levels(name: str, n_pairs: int, levels: list[int]) -> None:
    block = read_seed_json(SEED / name)
    pairs = naive_conflicts(block)
    assert len(pairs) == n_pairs
    assert naive_levels(block, pairs) == levels


@needs_seed
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".parquet"])
def test_seed_blocks_round_trip(tmp_path: Path, name: str, suffix: str) -> None:
    block = files.read_block(SEED / name)
    path = tmp_path / f"again{suffix}"
    files.write_blocks(path, block)
    assert files.read_block(path) == block
    if suffix != ".parquet":
        assert parsed(path) == parsed(SEED / name)
        assert (path.read_bytes()[:2] == b"\x1f\x8b") == (suffix == ".json.gz")


@needs_seed
def test_hints_are_kept_but_limit_nothing() -> None:
    block = read_seed_json(SEED / "small_42.json.gz")
    assert set(block.gas_limit.tolist()) == {GAS_LIMIT}
    transactions = parsed(SEED / "small_42.json.gz")["transactions"]
    assert block.meta["gas_hint"].to_pylist() == [t["gas_hint"] for t in transactions]
    assert block.meta["blob_size"].to_pylist() == [t["metadata"]["blob_size"] for t in transactions]
    assert block.header == Header(timestamp=1795367908, parent_hash=bytes(32))
    assert block.declares_reads.all()
    assert block.declares_writes.all()


# -------------------------------------------------------------------- made here

_address = st.sampled_from([A, B])
_key = st.tuples(_address, st.just(0), st.integers(0, 3))
_word = st.integers(0, 2**256 - 1)
_op = st.one_of(
    st.tuples(st.just("SLOAD"), _key),
    st.tuples(st.just("SSTORE"), _key, _word),
    st.tuples(st.sampled_from(["ADD", "SUB"]), _word),
    st.tuples(st.just("KECCAK"), st.binary(max_size=40)),
    st.just(("NOOP", 1)),
)
_listed = st.sampled_from([[], [(A, [1, 1, 2])], [(A, [0]), (B, [3]), (A, [0])]])
_transaction = st.tuples(st.lists(_op, max_size=5), _listed, st.lists(_key, max_size=3), st.integers(0, 2**64 - 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(_transaction, max_size=4), st.integers(0, 2**64 - 1))
def test_any_block_that_the_layout_can_say_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], number: int
) -> None:
    block = Block.from_programs(
        [row[0] for row in rows],
        number=number,
        access_lists=[row[1] for row in rows],
        declared_reads=[row[2] for row in rows],
        declared_writes=[row[2][::-1] for row in rows],
        gas_limits=[GAS_LIMIT] * len(rows),
        header=Header(timestamp=5, parent_hash=b"p" * 32),
        meta={name: pa.array([row[3] for row in rows], pa.uint64()) for name in ("gas_hint", "blob_size")},
    )
    path = tmp_path_factory.mktemp("seed") / "b.json"
    write_seed_json(path, block)
    assert read_seed_json(path) == block


def _write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def _document() -> dict[str, Any]:
    key = {"address": [1] * 20, "slot": [0] * 31 + [7]}
    word = [0] * 31 + [9]
    program = [{"SLoad": key}, {"SStore": [key, word]}, {"Add": word}, {"Sub": word}, {"Keccak": [1, 2]}, "NoOp"]
    metadata = {"program": program, "access_list": [key], "blob_size": 3, "nonce": 4, "from": [5] * 20}
    transaction = {"id": 0, "reads": [key], "writes": [], "gas_hint": 11, "metadata": metadata}
    return {"number": 8, "timestamp": 9, "transactions": [transaction], "parent_hash": [6] * 32}


def test_every_part_of_the_layout_is_read(tmp_path: Path) -> None:
    document = _document()
    document["transactions"][0]["metadata"]["program"].append({"NoOp": None})
    block = read_seed_json(_write(tmp_path / "b.json", document))
    key = (bytes([1] * 20), 0, (7).to_bytes(32, "big"))
    assert block.to_programs() == [
        [(0, key), (1, key, 9), (2, 9), (3, 9), (4, b"\x01\x02"), (5, 1), (5, 1)],
    ]
    assert block.list_entry.tolist() == [-1, 0]
    assert block.list_address.tobytes() == bytes([1] * 20)
    assert (block.number, block.header) == (8, Header(timestamp=9, parent_hash=bytes([6] * 32)))
    assert (block.nonce.tolist(), block.sender.tobytes()) == ([4], bytes([5] * 20))
    assert (block.read_key.tolist(), block.write_key.tolist()) == ([0], [])
    assert block.meta.to_pylist() == [{"gas_hint": 11, "blob_size": 3}]


def test_a_noop_of_n_steps_is_written_as_n_noops(tmp_path: Path) -> None:
    write_seed_json(tmp_path / "b.json", Block.from_programs([[("NOOP", 3), ("NOOP", 0)]]))
    assert parsed(tmp_path / "b.json")["transactions"][0]["metadata"]["program"] == ["NoOp"] * 3


def test_a_transaction_that_declares_nothing_gets_the_keys_of_its_program(tmp_path: Path) -> None:
    program = [("SLOAD", (A, 2)), ("SLOAD", (A, 1)), ("SLOAD", (A, 2)), ("SSTORE", (B, 3), 1)]
    write_seed_json(tmp_path / "b.json", Block.from_programs([program]))
    transaction = parsed(tmp_path / "b.json")["transactions"][0]
    assert [key["slot"][-1] for key in transaction["reads"]] == [2, 1]
    assert [key["slot"][-1] for key in transaction["writes"]] == [3]


def test_equal_blocks_give_equal_bytes(tmp_path: Path) -> None:
    block = Block.from_programs([[("SLOAD", (A, 1))]])
    for name in ("a.json.gz", "b.json.gz"):
        write_seed_json(tmp_path / name, block)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


# -------------------------------------------------------------------- bad files

_P = r"transactions\[0\]\.metadata\.program\[%d\]"


def _at(*path: Any) -> Callable[[Any], Callable[[Any], None]]:
    """A change of one value: follow `path`, then set."""

    def change(value: Any) -> Callable[[Any], None]:
        def apply(document: Any) -> None:
            for part in path[:-1]:
                document = document[part]
            document[path[-1]] = value

        return apply

    return change


def _drop(*path: Any) -> Callable[[Any], None]:
    def apply(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        del document[path[-1]]

    return apply


TX = ("transactions", 0)
META = (*TX, "metadata")
PROGRAM = (*META, "program")
FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "no number": (_drop("number"), r"block = .*: member 'number' is missing"),
    "extra": (_at("gas")(1), r"block\.gas = 1: unknown member: only number, timestamp"),
    "negative": (_at("number")(-1), r"number = -1: must be an integer in \[0, 18446744073709551615\]"),
    "float": (_at("timestamp")(1.0), r"timestamp = 1\.0: must be an integer"),
    "bool": (_at(*META, "nonce")(True), r"transactions\[0\]\.metadata\.nonce = True: must be an integer"),
    "too large": (_at(*TX, "gas_hint")(2**64), r"transactions\[0\]\.gas_hint = 18446744073709551616: must be"),
    "parent": (_at("parent_hash")([0] * 31), r"parent_hash = .*: has 31 bytes: must be 32"),
    "parent null": (_at("parent_hash")(None), r"parent_hash = None: must be an array"),
    "transactions": (_at("transactions")({}), r"transactions = \{\}: must be an array"),
    "transaction": (_at(*TX)(3), r"transactions\[0\] = 3: must be an object with id, reads"),
    "id": (_at(*TX, "id")(1), r"transactions\[0\]\.id = 1: must be 0, its position"),
    "reads": (_at(*TX, "reads")(None), r"transactions\[0\]\.reads = None: must be an array"),
    "read key": (_at(*TX, "reads", 0)([1]), r"transactions\[0\]\.reads\[0\] = \[1\]: must be an object with address"),
    "address": (_at(*TX, "reads", 0, "address")([1]), r"transactions\[0\]\.reads\[0\]\.address = .*: must be 20"),
    "slot": (_drop(*TX, "reads", 0, "slot"), r"transactions\[0\]\.reads\[0\] = .*: member 'slot' is missing"),
    "sender byte": (_at(*META, "from", 4)(256), r"transactions\[0\]\.metadata\.from\[4\] = 256: must be an integer in"),
    "sender text": (_at(*META, "from")("x" * 20), r"transactions\[0\]\.metadata\.from = 'x.*: must be an array"),
    "list": (_at(*META, "access_list", 0)("x"), r"transactions\[0\]\.metadata\.access_list\[0\] = 'x': must be"),
    "blob": (_at(*META, "blob_size")(None), r"transactions\[0\]\.metadata\.blob_size = None: must be an integer"),
    "program": (_at(*PROGRAM)("NoOp"), r"transactions\[0\]\.metadata\.program = 'NoOp': must be an array"),
    "op": (_at(*PROGRAM, 2)({"Mul": [1]}), _P % 2 + r" = .*: must be an object with one of SLoad"),
    "op text": (_at(*PROGRAM, 2)("SLoad"), _P % 2 + r" = 'SLoad': must be an object"),
    "two ops": (_at(*PROGRAM, 2)({"Add": [0] * 32, "Sub": [0] * 32}), _P % 2 + r" = .*: must be an object with one"),
    "noop": (_at(*PROGRAM, 5)({"NoOp": 3}), _P % 5 + r"\.NoOp = 3: must be null"),
    "load": (_at(*PROGRAM, 0)({"SLoad": None}), _P % 0 + r"\.SLoad = None: must be an object with address, slot"),
    "store": (_at(*PROGRAM, 1)({"SStore": [1]}), _P % 1 + r"\.SStore = \[1\]: must be \[key, word\]"),
    "store word": (_at(*PROGRAM, 1, "SStore", 1, 31)(-1), _P % 1 + r"\.SStore\[1\]\[31\] = -1: must be an integer in"),
    "add": (_at(*PROGRAM, 2, "Add")([0] * 33), _P % 2 + r"\.Add = .*: has 33 bytes: must be 32"),
    "keccak": (_at(*PROGRAM, 4, "Keccak", 1)(None), _P % 4 + r"\.Keccak\[1\] = None: must be an integer in \[0, 255\]"),
    "keccak byte": (_at(*PROGRAM, 4, "Keccak", 0)(False), _P % 4 + r"\.Keccak\[0\] = False: must be an integer"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_value_is_named_with_its_place_and_rule(tmp_path: Path, name: str) -> None:
    fault, message = FAULTS[name]
    document = copy.deepcopy(json.loads(json.dumps(_document())))
    fault(document)
    with pytest.raises(FileFormatError, match=r"b\.json: " + message):
        read_seed_json(_write(tmp_path / "b.json", document))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("b.json", b"", "not readable JSON"),
        ("b.json", b"{", "not readable JSON"),
        ("b.json", b"[" * 100_000, "not readable JSON"),
        ("b.json", b"{\"number\": " + b"9" * 5000 + b"}", "not readable JSON"),
        ("b.json", b"\xff\xfe\x00", "not readable JSON"),
        ("b.json", b"{\"number\": 1, \"number\": 2}", "the member 'number' twice"),
        ("b.json", b"[]", r"block = \[\]: must be an object"),
        ("b.json", b"NaN", "block = nan: must be an object"),
        ("b.json.gz", gzip.compress(b"{}", mtime=0)[:-6], "not readable JSON"),
        ("b.json.gz", gzip.compress(b"{}", mtime=0)[:12] + b"\x00" * 9, "not readable JSON"),
        ("b.json.gz", b"\x1f\x8b", "not readable JSON"),
    ],
)
def test_a_damaged_file_is_one_error(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (read_seed_json, files.read_block, files.block_numbers):
        with pytest.raises(FileFormatError, match=rf"{name}: .*{message}|{name}: {message}"):
            read(tmp_path / name)


def test_a_small_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pevm_numba.io.seed_json._MAX_BYTES", 1000)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b" " * 100_000, mtime=0))
    with pytest.raises(ValueError, match=r"b\.json\.gz: more than 1000 bytes of JSON"):
        read_seed_json(tmp_path / "b.json.gz")


# -------------------------------------------------------------------- what the layout cannot say


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([("SLOAD", (A, 1)), ("SSTORE", (A, 1), "TOP")], "transaction 1 op 1 is SSTORE TOP"),
        ([("TOUCH", (A, 1))], "transaction 1 op 0 is TOUCH: this layout has only SLoad"),
        ([("CREDIT", (A, 1, 0), 5)], "transaction 1 op 0 is CREDIT"),
        ([("BURN", 5)], "transaction 1 op 0 is BURN"),
        ([("SLOAD", (A, 2, 0))], "transaction 1 op 0 names NONCE: this layout has storage keys only"),
        ([("NOOP", 10_001)], "transaction 1 op 0 is NOOP 10001: this layout repeats NoOp, at most 10000 times"),
    ],
)
def test_an_op_that_the_layout_cannot_say_is_named(tmp_path: Path, program: list[Any], message: str) -> None:
    with pytest.raises(FileFormatError, match=r"b\.json: " + message):
        write_seed_json(tmp_path / "b.json", Block.from_programs([[], program]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": {(A, 1, 0): 5}}, "balance has a value before the block: this layout has no pre-state"),
        ({"declared_reads": [[(A, 3, 0)]]}, "transaction 0 declared_reads names CODE"),
        ({"access_lists": [[(A, [])]]}, r"transaction 0 access_list\[0\] is an address without keys"),
        ({"access_lists": [[(A, [1]), (A, [2])]]}, r"transaction 0 access_list\[2\] is the same address twice"),
    ],
)
def test_a_block_that_the_layout_cannot_say_is_refused(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        write_seed_json(tmp_path / "b.json", Block.from_programs([[]], **options))


def test_a_json_file_holds_exactly_one_block(tmp_path: Path) -> None:
    blocks = [Block.from_programs([], number=n) for n in (1, 2)]
    for wrong in (blocks, []):
        with pytest.raises(FileFormatError, match=r"b\.json: \d blocks: a JSON file holds exactly one Block"):
            files.write_blocks(tmp_path / "b.json", wrong)
    files.write_blocks(tmp_path / "b.json", iter(blocks[:1]))
    assert files.block_numbers(tmp_path / "b.json") == [1]
    with pytest.raises(FileFormatError, match=r"b\.json: block 2 is not there: it has block 1"):
        files.read_block(tmp_path / "b.json", 2)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.json"
    write_seed_json(path, Block.from_programs([], number=1))
    before = path.read_bytes()

    def stop(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", stop)
        with pytest.raises(FileFormatError, match=r"b\.json: cannot be written: disk full"):
            write_seed_json(path, Block.from_programs([], number=2))
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]
    assert path.read_bytes() == before
