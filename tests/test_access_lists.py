"""Access lists from files and on the command line, of blocks of micro-ops; what a block's list tells of dependencies."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import in_process
from test_evm_folders import N_TX, example, tables, write

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.access.eip2930 import encode_lists
from pevm_numba.access.eip2930_tried import accessed_lists
from pevm_numba.access.eip7928 import AccountChanges, Eip7928List
from pevm_numba.access.eip7928_rules import Rule, RuleError
from pevm_numba.access.eip7928_sets import READS, sets_of_list
from pevm_numba.access.view import select
from pevm_numba.errors import AccessListError, BlockError, FileFormatError
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.rlp import encode
from pevm_numba.evm.transaction import Transaction
from pevm_numba.io.access_lists import access_list_json, block_list_json, block_list_of, read_block_list
from pevm_numba.machine.ops import Field, Mode

pytestmark = pytest.mark.usefixtures("always_parallel")

ONE = AccountChanges(b"\x01" * 20, ((5, ((1, 7), (2, 8))),), (6,), ((1, 9),), ((1, 1),), ((1, b"\xfe"),))


def test_files_of_each_kind_hold_the_same_list(tmp_path: Path) -> None:
    listed = Eip7928List.from_accounts([ONE])
    (tmp_path / "a.json").write_text(json.dumps({"jsonrpc": "2.0", "id": 1, "result": block_list_json(listed)}))
    (tmp_path / "a.rlp").write_bytes(listed.encode())
    (tmp_path / "a.txt").write_text("0x" + listed.encode().hex() + "\n")
    with gzip.open(tmp_path / "a.json.gz", "wt") as out:
        out.write(json.dumps(block_list_json(listed)))
    copies = {"block.7.json": "a.json", "list.JSON": "a.json", "a.b.Json.GZ": "a.json.gz", "a.json.rlp": "a.rlp"}
    for name, of in copies.items():
        (tmp_path / name).write_bytes((tmp_path / of).read_bytes())
    for path in tmp_path.iterdir():
        assert read_block_list(path) == listed, path
        assert read_block_list(str(path)) == listed
    (tmp_path / "b.txt").write_text("0xc")
    with pytest.raises(FileFormatError, match="must be hexadecimal text"):
        read_block_list(tmp_path / "b.txt")
    (tmp_path / "b.rlp").write_bytes(listed.encode() + b"x")
    with pytest.raises(RuleError, match="no bytes may follow the list") as caught:
        read_block_list(tmp_path / "b.rlp")
    assert caught.value.rule is Rule.TRAILING_BYTES
    assert str(caught.value).startswith(f"{tmp_path / 'b.rlp'}: block access list, byte ")
    (tmp_path / "b.7.json").write_text(json.dumps(block_list_json(listed) * 2))
    for read in (read_block_list, block_list_of):
        with pytest.raises(RuleError, match="an account must be listed once") as caught:
            read(tmp_path / "b.7.json")
        assert str(caught.value).startswith(f"{tmp_path / 'b.7.json'}: block access list, account 1, ")
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    with pytest.raises(RuleError, match=r"^block access list, account 1, 0x0101"):
        block_list_of(block_list_json(listed) * 2)


def test_names_that_some_clients_use_are_understood() -> None:
    theirs = [{
        "address": "0x" + "01" * 20, "storageReads": ["0x6"],
        "storageChanges": [{"slot": "0x5", "changes": [
            {"blockAccessIndex": "0x1", "newValue": "0x7"}, {"blockAccessIndex": "0x2", "newValue": "0x8"},
        ]}],
        "balanceChanges": [{"blockAccessIndex": "0x1", "postBalance": "0x9"}],
        "nonceChanges": [{"blockAccessIndex": "0x1", "newNonce": "0x1"}],
        "codeChanges": [{"blockAccessIndex": "0x1", "newCode": "0xfe"}],
    }]  # fmt: skip
    assert block_list_of(theirs) == Eip7928List.from_accounts([ONE])


WRONG = [
    ({"address": "0x01"}, r"\[0\].address = '0x01': has 1 bytes: must be 20"),
    ({}, "member 'address' is missing"),
    ({"storageReads": ["5x"]}, r"storageReads\[0\] = '5x'"),
    ({"nonceChanges": [{"index": "0x1", "value": hex(2**64)}]}, r"nonceChanges\[0\].value"),
    ({"nonceChanges": [{"index": hex(2**32), "value": "0x1"}]}, r"nonceChanges\[0\].index"),
    ({"codeChanges": [{"index": "0x1"}]}, "member 'code' or 'newCode' is missing"),
    ({"storageChanges": [{"key": "0x1"}]}, "member 'changes' is missing"),
    ({"storageChanges": {}}, "must be an array"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "told"), WRONG)
def test_what_is_wrong_in_json_is_named(fields: dict[str, Any], told: str) -> None:
    given = [({"address": "0x" + "01" * 20} if "address" not in fields and fields else {}) | fields]
    with pytest.raises(FileFormatError, match=told):
        block_list_of(given)
    with pytest.raises(FileFormatError, match="must be an array"):
        block_list_of({"result": {}})


# -------------------------------------------------------------------- micro-ops


A, B, FEE = (1, 0, 5), (2, 0, 6), (9, 1, 0)


PROGRAMS: list[Any] = [
    [("SLOAD", A), ("ADD", 2), ("SSTORE", B, "TOP"), ("CREDIT", FEE, 5)],
    [("SLOAD", B), ("SSTORE", A, "TOP"), ("CREDIT", FEE, 6)],
    [("SSTORE", A, 7), ("TOUCH", (3, 2, 0))], [("SLOAD", (4, 0, 1)), ("SSTORE", B, 3)],
]  # fmt: skip


def micro_ops() -> pn.Block:
    return pn.Block.from_programs(PROGRAMS, {A: 7, FEE: 1, (3, 2, 0): 4})


@pytest.mark.parametrize("seed", range(6))
def test_blocks_of_micro_ops_run_from_what_comes_over_the_wire(seed: int) -> None:
    block = micro_ops() if seed == 0 else pn.generate(n_tx=30, key_space=20, conflict_ratio=0.6, seed=seed)
    done = pn.execute(block, "serial", record="changes")
    listed = Eip7928List.decode(done.eip7928_list().encode())
    pn.execute(block, "bal", access_list=listed, workers=2).check_equal(done)
    assert done.changes is not None
    values = {(index, slot): value for one in listed for slot, its in one.storage_changes for index, value in its}
    t, k = int(np.searchsorted(done.changes.indptr, 0, "right")), int(done.changes.keys[0])
    assert values[t, int.from_bytes(block.key_slot[k].tobytes(), "big")] == int(done.changes.values[0, 0])


def test_what_a_block_of_micro_ops_does_not_do_is_refused() -> None:
    block = micro_ops()
    right = list(pn.execute(block, "serial", record="changes").eip7928_list())
    assert [one.address[-1] for one in right] == [1, 2, 3, 4, 9]
    for wrong, told in (
        ([*right, AccountChanges(b"\x77" * 20)], "0x7777.*: listed, but not accessed"),
        ([one for one in right if one.address[-1] != 3], "0x0+3 nonce was accessed"),
        ([*right[:3], right[3]._replace(storage_reads=(1, 2)), right[4]], "slot 0x2: listed, but not accessed"),
        ([*right[:3], right[3]._replace(storage_reads=()), right[4]], "slot 0x1 was accessed and not changed"),
        ([*right[:4], right[4]._replace(balance_changes=((1, 6),))], "transaction 1, .* balance: .* not listed"),
        ([*right[:4], right[4]._replace(balance_changes=((0, 3), *right[4].balance_changes))], "changes at 1 to 4 only"),
    ):  # fmt: skip
        with pytest.raises(AccessListError, match=told):
            pn.execute(block, "bal", access_list=Eip7928List.from_accounts(wrong))
    late = Eip7928List.from_accounts([*right[:4], right[4]._replace(balance_changes=((9, 6),))])
    with pytest.raises(RuleError, match="at index 9 in a block of 4"):
        pn.execute(block, "bal", access_list=late)
    with pytest.raises(BlockError, match="must be a BlockAccessList or an Eip7928List"):
        pn.execute(block, "bal", access_list=b"\xc0")  # type: ignore[call-overload]  # the point of the test
    with pytest.raises(BlockError, match="must be an EvmAccessList or an Eip7928List"):
        pn.execute(example(), "bal", access_list=b"\xc0")  # type: ignore[call-overload]  # the point of the test


def test_code_of_micro_ops_must_be_known_to_be_listed() -> None:
    block = pn.Block.from_programs([[("SSTORE", (1, 3, 0), 77)]])
    done = pn.execute(block, "serial", record="changes")
    with pytest.raises(BlockError, match=r"codes without that of hash 0x0+4d"):
        done.eip7928_list()
    assert done.eip7928_list({(77).to_bytes(32, "big"): b"\xfe"})[0].code_changes == ((1, b"\xfe"),)
    large = pn.Block.from_programs([[("SSTORE", (1, 2, 0), 2**64)]])
    with pytest.raises(BlockError, match="nonce = 0x"):
        pn.execute(large, "serial", record="changes").eip7928_list()


# -------------------------------------------------------------------- dependencies


SENDERS, MAKER, SHELF = [bytes([n]) * 20 for n in range(1, 7)], b"\x0a" * 20, b"\x0b" * 20
MADE = keccak(encode([MAKER, 1]))[12:]


def hidden() -> EvmBlock:
    """One pays an account that another creates, with what he pays himself; two ask what a third stores."""
    makes, stores = "5f5f34f0", "36600d575f545f5260205ff3005b5f355f55"
    state = {one: (10**18, 0, b"", {}) for one in SENDERS}
    state |= {MAKER: (0, 1, bytes.fromhex(makes), {}), SHELF: (0, 1, bytes.fromhex(stores), {0: 3})}
    nine = bytes(31) + b"\x09"
    calls = [(MADE, 3, b""), (MAKER, 7, b""), (SHELF, 0, b""), (SHELF, 0, nine), (SHELF, 0, b""), (SENDERS[0], 0, b"")]
    txs = [
        Transaction(gas_price=9, gas_limit=300_000, to=to, sender=sender, value=value, data=data)
        for sender, (to, value, data) in zip(SENDERS, calls)
    ]  # fmt: skip
    return EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7, fee_recipient=b"\xcc" * 20), txs, state)


BLOCKS = {
    "example": example, "hidden": hidden, "transfers": lambda: pn.generate_evm("transfers", n_tx=25, seed=2, popularity=2.0),
    "amm": lambda: pn.generate_evm("amm", n_tx=25, seed=3, n_pools=2),
    "mixed": lambda: pn.generate_evm("mixed", n_tx=25, seed=4),
}  # fmt: skip


def slow_sets(listed: Eip7928List, n_tx: int, reads: str) -> list[dict[tuple[bytes, Field, int], Mode]]:
    """What transactions access as far as a list tells, from its entries."""
    values: dict[tuple[bytes, Field, int], dict[int, int]] = {}
    for one in listed:
        values |= {(one.address, Field.STORAGE, slot): dict(its) for slot, its in one.storage_changes}
        values[one.address, Field.BALANCE, 0] = dict(one.balance_changes)
        values[one.address, Field.NONCE, 0] = dict(one.nonce_changes)
        values[one.address, Field.CODE, 0] = {index: 0 for index, _ in one.code_changes}
    inside = {key: {t for t in its if 1 <= t <= n_tx} for key, its in values.items()}
    found = []
    for t in range(1, n_tx + 1):
        mine = [key for key, its in inside.items() if t in its]
        payers = [address for address, field, _ in mine if field == Field.NONCE]
        modes: dict[tuple[bytes, Field, int], Mode] = {}
        for key in mine:
            before = max((at for at in inside[key] if at < t), default=None)
            falls = before is not None and values[key][t] < values[key][before]
            adds = key[1] == Field.BALANCE and not falls and payers != [key[0]]
            write = Mode.WRITE if reads == "nobody" else Mode.READ | Mode.WRITE
            modes[key] = Mode.CREDIT if adds else write
        accounts = {address for address, field, _ in mine if field == Field.STORAGE}
        for key, its in inside.items():
            if its and (reads == "everybody" or (reads == "account" and key[1] == Field.STORAGE and key[0] in accounts)):
                modes[key] = modes.get(key, Mode(0)) | Mode.READ
        found.append(modes)
    return found


def conflicts(sets: pn.AccessSets) -> set[tuple[int, int]]:
    rows = list(sets)
    return {
        (i, j) for j in range(len(rows)) for i in range(j)
        if any(
            not ((rows[i][k] == rows[j][k] == Mode.READ) or (rows[i][k] == rows[j][k] == Mode.CREDIT))
            for k in rows[i].keys() & rows[j].keys()
        )
    }  # fmt: skip


def paths(deps: pn.Dependencies) -> set[tuple[int, int]]:
    """Who comes before whom."""
    costs = np.zeros(deps.n_tx, int)
    found = set()
    for i in range(deps.n_tx):
        for j in range(i + 1, deps.n_tx):
            costs[[i, j]] = 1
            if deps.critical_path(costs)[0] == 2:
                found.add((i, j))
            costs[[i, j]] = 0
    return found


@pytest.mark.parametrize("name", BLOCKS)
def test_sets_of_a_list_are_those_that_its_entries_tell(name: str) -> None:
    block = BLOCKS[name]()
    listed = pn.execute(block, "serial").eip7928_list()
    for reads in READS:
        sets = sets_of_list(listed, block.n_tx, reads)
        assert [{sets.table[k]: mode for k, mode in one.items()} for one in sets] == slow_sets(listed, block.n_tx, reads)


@pytest.mark.parametrize("fields", [None, ["storage"]], ids=["all", "storage"])
@pytest.mark.parametrize("name", BLOCKS)
def test_who_depends_on_whom_lies_between_the_bounds_of_a_list(name: str, fields: list[str] | None) -> None:
    block = BLOCKS[name]()
    done = pn.execute(block, "serial")
    made = {reads: sets_of_list(done.eip7928_list(), block.n_tx, reads) for reads in READS} | {"true": done.observed}
    kept = {which: select(sets, block, fields=fields) for which, sets in made.items()}
    pairs = {which: conflicts(sets) for which, sets in kept.items()}
    assert pairs["nobody"] == pairs["writer"] <= pairs["true"] <= pairs["everybody"]
    assert pairs["writer"] <= pairs["account"] <= pairs["everybody"]
    raw = {which: pn.dependencies(sets, edges="raw") for which, sets in kept.items()}
    before = {which: paths(deps) for which, deps in raw.items()}
    assert raw["nobody"].n_edges == 0  # nobody reads
    assert before["true"] <= before["everybody"]
    assert before["writer"] <= before["account"] <= before["everybody"]
    for costs in (done.gas_used, np.arange(block.n_tx) % 5):
        for edges in ("all", "raw"):
            length = {which: pn.dependencies(sets, edges=edges).critical_path(costs)[0] for which, sets in kept.items()}
            assert length["nobody"] <= length["true"] <= length["everybody"]
            assert length["everybody"] <= costs.sum()
            assert (edges, fields) != ("all", None) or length["everybody"] == costs.sum()  # anyone may look at any balance


def test_bounds_of_a_list_are_apart_where_reads_are_hidden() -> None:
    """Who asks leaves no trace in the list; who creates an account, and pays it, need not wait for who paid it before."""
    block = hidden()
    done = pn.execute(block, "serial")
    assert done.success.all()
    kept = {
        which: conflicts(select(sets, block, fields=["storage"])) for which, sets in
        {reads: sets_of_list(done.eip7928_list(), block.n_tx, reads) for reads in READS}.items()
    }  # fmt: skip
    assert kept["account"] == set()
    assert kept["everybody"] == {(0, 3), (1, 3), (2, 3), (3, 4), (3, 5)}
    assert conflicts(select(done.observed, block, fields=["storage"])) == {(2, 3), (3, 4)}
    (made,) = [one for one in done.eip7928_list() if one.address == MADE]
    assert made == AccountChanges(MADE, balance_changes=((1, 3), (2, 10)), nonce_changes=((2, 1),))
    assert (0, 1) not in conflicts(done.observed)
    assert (0, 1) not in conflicts(sets_of_list(done.eip7928_list(), block.n_tx, "nobody"))


def test_only_edges_of_values_tell_reads_of_writers_from_none() -> None:
    slots = ((5, ((1, 7), (2, 8), (3, 9))),)
    listed = Eip7928List.from_accounts([AccountChanges(b"\x01" * 20, slots)])
    nobody, writer = (sets_of_list(listed, 3, reads) for reads in ("nobody", "writer"))
    for edges, lengths in (("all", (3, 3)), ("waw", (3, 3)), ("raw", (1, 3))):
        assert tuple(pn.dependencies(one, edges=edges).critical_path()[0] for one in (nobody, writer)) == lengths


def test_any_executor_runs_from_the_sets_of_a_list() -> None:
    block = example()
    done = pn.execute(block, "serial")
    for sets in (sets_of_list(done.eip7928_list(), block.n_tx, reads) for reads in READS):
        written = [{sets.table[k] for k, mode in one.items() if mode & (Mode.WRITE | Mode.CREDIT)} for one in sets]
        true = [{done.keys[k] for k, mode in one.items() if mode & (Mode.WRITE | Mode.CREDIT)} for one in done.observed]
        assert written == true
        pn.execute(block, "dataflow", access=sets, workers=2).check_equal(done)
    with pytest.raises(BlockError, match="reads"):
        sets_of_list(done.eip7928_list(), block.n_tx, "somebody")
    with pytest.raises(RuleError, match="at index") as caught:
        sets_of_list(done.eip7928_list(), 1)
    assert caught.value.rule is Rule.INDEX_BEYOND


# -------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tables")
    write(made, tables(example()))
    return made


def test_export_validate_diff_and_optimal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, given = in_process(cli.main, monkeypatch, capsys), ("--input", folder)
    for name in ("list.json", "list.rlp"):
        said = command("access", "export", *given, "--output", tmp_path / name)
        assert (said.code, said.err) == (0, "")
        assert read_block_list(tmp_path / name).hash().hex() in said.out
        said = command("access", "validate", *given, "--list", tmp_path / name)
        assert (said.code, said.err) == (0, "")
        assert "yes: just what the block does" in said.out
    right = list(read_block_list(tmp_path / "list.rlp"))
    (tmp_path / "wrong.rlp").write_bytes(Eip7928List.from_accounts(right[:-1]).encode())
    said = command("access", "validate", *given, "--list", tmp_path / "wrong.rlp")
    assert said.code == 3
    assert f"0x{right[-1].address.hex()}: not listed, but the block has it" in said.out
    assert "not the list of block" in said.err
    late = AccountChanges(b"\x01" * 20, balance_changes=((N_TX + 2, 1),))
    (tmp_path / "late.rlp").write_bytes(Eip7928List.from_accounts([late]).encode())
    said = command("access", "validate", *given, "--list", tmp_path / "late.rlp")
    assert said.code == 1
    assert f"{tmp_path / 'late.rlp'}: block access list, balance 0 at index {N_TX + 2}" in said.err
    for oracle in ((), ("--oracle", "static")):
        said = command("access", "export", *given, "--form", "eip2930", *oracle, "--output", tmp_path / "lists.json")
        assert (said.code, said.err) == (0, "")
        lists = json.loads((tmp_path / "lists.json").read_text())
        assert len(lists) == N_TX
        assert all(("gasUsed" in one) is (not oracle) for one in lists)
        if not oracle:
            made = [(one.entries, one.gas_used) for one in accessed_lists(example())]
            assert lists == [access_list_json(*one) for one in made]
            assert [used for _, used in made] != pn.execute(example(), "serial").gas_used.tolist()
            said = command("access", "export", *given, "--form", "eip2930", "--output", tmp_path / "lists.rlp")
            assert (said.code, said.err) == (0, "")
            assert (tmp_path / "lists.rlp").read_bytes() == encode_lists(entries for entries, _ in made)
    said = command("access", "optimal", *given, "--output", tmp_path / "best.json")
    assert (said.code, said.err) == (0, "")
    assert "each list by running it" in said.out
    assert len(json.loads((tmp_path / "best.json").read_text())) == N_TX
    for oracle in ("carried", "static", "observed"):
        said = command("access", "diff", *given, "--oracle", oracle, "--rows", 3)
        assert (said.code, said.err) == (0, "")
        assert "entries that would save gas" in said.out


def test_lists_of_micro_ops_are_of_the_block_s_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = in_process(cli.main, monkeypatch, capsys)
    given = [[(1, [5])], [(7, [])], [], [(2, [6, 7])]]
    made = pn.Block.from_programs(PROGRAMS, access_lists=given, declared_reads=[[A], None, None, None])
    pn.write_blocks(tmp_path / "block.parquet", [made])
    static = [{1: [5], 2: [6], 9: []}, {1: [5], 2: [6], 9: []}, {1: [5], 3: []}, {2: [6], 4: [1]}]
    listed = [{1: [5]}, {}, {}, {2: [6, 7]}]  # an address without a slot is no key
    both = [static[0], static[1], static[2], {2: [6, 7], 4: [1]}]
    for oracle, wanted in (("static", static), ("eip2930", listed), ("union", both), ("declared", [{1: [5]}, {}, {}, {}])):
        words = ("--input", tmp_path / "block.parquet", "--form", "eip2930", "--oracle", oracle)
        said = command("access", "export", *words, "--output", tmp_path / "lists.json")
        assert (said.code, said.err) == (0, "")
        lists = json.loads((tmp_path / "lists.json").read_text())
        assert all(one.keys() == {"accessList"} for one in lists)
        found = [
            {int(own["address"], 16): [int(slot, 16) for slot in own["storageKeys"]] for own in one["accessList"]}
            for one in lists
        ]
        assert found == wanted


def test_commands_refuse_what_cannot_be_meant(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = in_process(cli.main, monkeypatch, capsys)
    block = pn.generate(n_tx=5)
    pn.write_blocks(tmp_path / "block.parquet", [block])
    lists = ("--form", "eip2930", "--output", tmp_path / "x.json")
    for words, told in (
        (("export", "--input", folder, "--output", tmp_path / "x.txt"), "--output"),
        (("export", "--input", folder, "--form", "eip1", "--output", tmp_path / "x.json"), "--form 'eip1' is unknown"),
        (("export", "--input", folder, "--oracle", "static", "--output", tmp_path / "x.json"), "a block's list has what"),
        (("diff", "--input", folder, "--oracle", "luck"), "--oracle 'luck' is unknown"),
        (("diff", "--input", folder, "--oracle", "declared"), "--oracle 'declared' is unknown"),
        (("diff", "--input", tmp_path / "block.parquet"), "must be a block of the EVM"),
        (("export", "--input", folder, *lists, "--oracle", "luck"), "--oracle 'luck' is unknown: one of static, declared"),
        (("export", "--input", folder, *lists, "--oracle", "degraded"), "--oracle 'degraded' is unknown"),
        (("export", "--input", folder, *lists, "--oracle", "declared"), "not of a block of the EVM: one of static, eip2930,"),
        (("export", "--input", tmp_path / "block.parquet", *lists, "--oracle", "observed"), "not of a block of micro-ops"),
        (("export", "--input", tmp_path / "block.parquet", *lists), "of a block of micro-ops with --oracle only"),
        (("optimal", "--input", folder, "--rows", -1), "--rows -1"),
        (("validate", "--input", folder, "--list", tmp_path / "missing.json"), "missing.json: no such file"),
    ):  # fmt: skip
        said = command("access", *words)
        assert (said.code, said.err.count("\n")) == (1 if "missing" in told else 2, 1), said.err
        assert told in said.err
    assert not (tmp_path / "x.json").exists()
    said = command("access", "export", "--input", tmp_path / "block.parquet", "--output", tmp_path / "micro.rlp")
    assert (said.code, said.err) == (0, "")
    assert read_block_list(tmp_path / "micro.rlp") == pn.execute(block, "serial", record="changes").eip7928_list()
