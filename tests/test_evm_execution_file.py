"""Files of EVM executions: what is written comes back equal, and what is damaged, altered or of another block is refused.

This file is also the program that reads damaged files, in a process of its own (see test_fuzz_files.py).
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evm_corpus import blocks, numbers, serial
from evm_peers import FORKS
from evm_programs import random_case
from test_evm_lazy import Elsewhere
from test_evm_programs import environment, transaction
from test_fuzz_files import mutations, peak_memory, survives, table_mutation

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.eip7928_compare import check_reach
from pevm_numba.errors import BlockError, FileFormatError, PevmError
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import EMPTY_HASH, keccak
from pevm_numba.evm.header import BlockEnv, Withdrawal
from pevm_numba.evm.transaction import Authorization, Transaction
from pevm_numba.evm.tx_accesses import tx_accesses
from pevm_numba.evm.workloads import MIXES
from pevm_numba.execute.evm_result import EvmExecution

_MEMORY = 4 * 2**30
SOAK = bool(os.environ.get("PEVM_NUMBA_SOAK"))
SENDER = b"\x01" * 20


@cache
def example() -> EvmExecution:
    """Four transactions that follow a schedule with a timeline."""
    block = pn.generate_evm("erc20", n_tx=4, seed=2)
    return pn.execute(block, "waves", schedule=pn.schedule(pn.access_sets(block), "list", workers=2), workers=2)


def unlike(one: EvmExecution, two: EvmExecution) -> list[str]:
    """What two executions do not have in common, to the bit."""
    found = [name for name in ("executor", "schedule", "counters", "timings", "reason", "fetches", "logs", "observed")
             if getattr(one, name) != getattr(two, name)]  # fmt: skip
    found += [name for name in ("state", "after_transactions") if dict(getattr(one, name)) != dict(getattr(two, name))]
    parts: list[tuple[str, Any, Any, tuple[str, ...]]] = [
        ("", one, two, ("success", "gas_used")),
        ("times", one.times, two.times, ("start", "end", "worker", "runs", "n_workers")),
        ("seen", one.seen, two.seen, ("indptr", "key", "modes", "before")),
        ("accesses", one.accesses, two.accesses, ("n_tx", "change_index", "change_key", "change_value", "addresses")),
        ("change", one.change, two.change, ("words",)),
        ("raw", tx_accesses(one.accesses.raw), tx_accesses(two.accesses.raw), tx_accesses(one.accesses.raw)._fields),
        ("list", one.block_access_list(), two.block_access_list(), ("indptr", "key", "values")),
    ]
    for part, mine, theirs, names in parts:
        for name in names:
            left, right = np.asarray(getattr(mine, name)), np.asarray(getattr(theirs, name))
            if left.dtype != right.dtype or not np.array_equal(left, right):
                found.append(f"{part}.{name}")
    for part in ("seen", "accesses", "change"):
        mine, theirs = getattr(one, part), getattr(two, part)
        found += [f"{part}.{name}" for name in ("keys", "codes") if getattr(mine, name) != getattr(theirs, name)]
    arrays = (two.success, two.gas_used, two.times.start, two.seen.key, two.seen.changes, two.change.words)
    return found + [f"writeable {i}" for i, array in enumerate(arrays) if array.flags.writeable]


def check_round_trip(done: EvmExecution, path: Path, block: EvmBlock | None = None) -> EvmExecution:
    """Write and read, and compare all that an execution says."""
    pn.write_execution(path, done)
    back = pn.read_execution(path, done.block if block is None else block)
    assert unlike(done, back) == []
    assert back.difference(done) is None
    assert not back.diff(done)
    assert (back.receipts_root(), back.logs_bloom()) == (done.receipts_root(), done.logs_bloom())
    assert back.differences_from_chain() == done.differences_from_chain()
    assert back.eip7928_list() == done.eip7928_list()
    return back


# -------------------------------------------------------------------- round trips


@pytest.mark.parametrize("mix", MIXES)
def test_executions_of_every_mix_come_back_equal(mix: str, tmp_path: Path) -> None:
    for n_tx in (0, 1, 25):
        block = pn.generate_evm(mix, n_tx=n_tx, seed=3, popularity=2.0)
        back = check_round_trip(pn.execute(block, "serial"), tmp_path / "done.parquet")
        assert back.state_root() == pn.execute(block, "serial").state_root()


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("executor", ["serial", "waves", "dataflow", "optimistic", "bal"])
def test_executions_by_every_executor_come_back_equal(executor: str, tmp_path: Path) -> None:
    block = pn.generate_evm("mixed", n_tx=30, seed=8, popularity=2.0)
    done = pn.execute(block, "serial")
    known: dict[str, Any] = {"access_list": done.block_access_list()} if executor == "bal" else {}
    if executor in ("waves", "dataflow"):
        known = {"access": done.observed}
    done = pn.execute(block, executor, workers=2, **known)
    again = pn.generate_evm("mixed", n_tx=30, seed=8, popularity=2.0)
    back = check_round_trip(done, tmp_path / "done.parquet", again)
    pn.execute(again, "bal", access_list=back.block_access_list()).check_equal(back)
    pn.execute(again, "bal", access_list=back.eip7928_list()).check_equal(back)


@pytest.mark.skipif(DISABLED, reason="some programs take minutes in plain Python")
@pytest.mark.parametrize("fork", FORKS)
def test_executions_of_random_programs_come_back_equal(fork: str, tmp_path: Path) -> None:
    removed = placed = 0
    for seed in range(60 if SOAK else 12):
        case = random_case(seed, fork)
        state = {a: (one.balance, one.nonce, one.code, one.storage) for a, one in case.pre.items()}
        block = EvmBlock(environment(case), [transaction(case)], state)
        done = pn.execute(block, "serial")
        check_round_trip(done, tmp_path / "done.parquet")
        removed += len(block.state.keys() - done.state.keys())
        placed += len(done.change.codes)
    assert not SOAK or removed + placed


def test_what_the_protocol_does_around_transactions_comes_back(tmp_path: Path) -> None:
    paid = (Withdrawal(1, 2, b"\x07" * 20, 5), Withdrawal(2, 2, SENDER, 6))
    env = BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=7, withdrawals=paid)
    init = bytes.fromhex("60fe60005360016000f3")
    tx = Transaction(gas_price=9, gas_limit=200_000, data=init, sender=SENDER)
    # a slot that is 0 is one that is not there; an account in the state may have one
    block = EvmBlock(env, [tx], {SENDER: (10**18, 0, b"", {}), b"\x09" * 20: (1, 1, b"", {5: 0, 6: 7})})
    back = check_round_trip(pn.execute(block, "serial"), tmp_path / "done.parquet")
    assert back.state != back.after_transactions
    assert back.state[b"\x07" * 20].balance == 5 * 10**9
    assert b"\x07" * 20 not in back.after_transactions
    assert [account.code for account in back.state.values() if account.code] == [b"\xfe"]
    assert back.state[b"\x09" * 20].storage == {6: 7}


def test_an_account_that_is_gone_and_a_slot_that_is_gone_come_back(tmp_path: Path) -> None:
    done = pn.execute(pn.generate_evm("erc20", n_tx=6, seed=4), "serial")
    state = dict(done.state)
    token = next(address for address, account in state.items() if account.storage)
    state[token] = state[token]._replace(storage=dict(list(state[token].storage.items())[1:]))
    gone = next(address for address in done.block.state if not state[address].code)
    del state[gone]
    wrong = replace(done, state=state)  # a file can hold a wrong result, too
    pn.write_execution(tmp_path / "wrong.parquet", wrong)
    back = pn.read_execution(tmp_path / "wrong.parquet", done.block)
    assert unlike(wrong, back) == []
    assert {one.kind for one in back.diff(done)} == {"state"}


def test_a_block_whose_state_is_elsewhere_comes_back(tmp_path: Path) -> None:
    whole = pn.generate_evm("amm", n_tx=6, seed=5)
    block = EvmBlock(whole.env, whole.transactions, {}, source=Elsewhere(whole.state, strict=False))
    done = pn.execute(block, "serial")
    back = check_round_trip(done, tmp_path / "done.parquet")
    assert back.fetches == done.fetches
    assert back.state.keys() > block.state.keys()


def test_schedule_times_and_hostile_texts_come_back(tmp_path: Path) -> None:
    hostile = "because “so”\ud800\0\n\"'{}\\"
    done = replace(example(), reason=hostile, executor="x" * 10_000, counters={hostile: 2**62}, timings={"": -1})
    assert done.schedule is not None
    assert done.schedule.timeline is not None
    back = check_round_trip(done, tmp_path / "done.parquet")
    assert (back.reason, back.counters) == (hostile, {hostile: 2**62})


def test_early_rejection_works_from_a_file(tmp_path: Path) -> None:
    done = example()
    back = check_round_trip(done, tmp_path / "done.parquet")
    check_reach(back.eip7928_list(), back.accesses, back.gas_used, int(done.gas_used.sum()))


def test_a_state_is_stored_as_far_as_it_changes_and_other_programs_read_the_table(tmp_path: Path) -> None:
    path, done = tmp_path / "done.parquet", example()
    pn.write_execution(path, done)
    query = f"select tx_index, gas_used, len(logs) from '{path}' where success is not null order by tx_index"
    assert duckdb.sql(query).fetchall() == [(t, int(done.gas_used[t]), len(done.logs[t])) for t in range(4)]
    rows = pq.read_table(path)["state"].to_pylist()
    assert rows[1:] == [[]] * 5
    changed = {address for address, account in done.state.items() if account != done.block.state.get(address)}
    assert {row["address"] for row in rows[0]} == changed
    assert len(changed) < len(done.block.state)
    assert [file.number for file in pn.read_blocks(_with_blocks(tmp_path))] == [9]
    with pytest.raises(FileFormatError, match=r"done\.parquet"):
        pn.read_block(path)


def _with_blocks(folder: Path) -> Path:
    pn.write_blocks(folder / "blocks.parquet", pn.Block.from_programs([[("ADD", 1)]], {}, number=9))
    return folder


@pytest.mark.corpus
@pytest.mark.parametrize("number", sorted({*numbers()[:1], *numbers()[20:21], *numbers()[-1:]}))
def test_executions_of_some_real_blocks_come_back_equal(number: int, tmp_path: Path) -> None:
    back = check_round_trip(serial(number), tmp_path / "done.parquet")
    assert back.differences_from_chain() == []


@pytest.mark.corpus
@pytest.mark.soak
@pytest.mark.parametrize("number", numbers())
def test_executions_of_all_real_blocks_come_back_equal(number: int, tmp_path: Path) -> None:
    check_round_trip(pn.execute(blocks()[number], "optimistic", workers=2), tmp_path / "done.parquet")


# -------------------------------------------------------------------- arguments and other blocks


def test_a_file_of_another_block_is_refused(tmp_path: Path) -> None:
    block, path = example().block, tmp_path / "done.parquet"
    pn.write_execution(path, example())
    address, account = next(iter(block.state.items()))
    others = [
        EvmBlock(replace(block.env, timestamp=block.env.timestamp + 1), block.transactions, block.state),
        EvmBlock(block.env, (replace(block.transactions[0], value=1), *block.transactions[1:]), block.state),
        EvmBlock(block.env, block.transactions[:3], block.state),
        EvmBlock(block.env, block.transactions, {**block.state, address: account._replace(balance=account.balance + 1)}),
        EvmBlock(block.env, block.transactions, {**block.state, address: account._replace(storage={1: 1})}),
    ]
    for other in others:
        with pytest.raises(FileFormatError, match=f"with digest '{block.digest()}': must be of <EvmBlock"):
            pn.read_execution(path, other)


def test_the_digest_of_a_block_tells_every_field_of_environment_transactions_and_state() -> None:
    tx = Transaction(type=1, chain_id=1, gas_price=9, gas_limit=21_000, to=b"\x02" * 20, sender=SENDER)
    env = BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7)
    state = {SENDER: (10**18, 0, b"", {1: 2, 3: 4})}
    word = b"\x05" * 32
    envs = {
        "number": 8, "timestamp": 2, "fork": Fork.LONDON, "fee_recipient": b"\x03" * 20, "gas_limit": 1, "prev_randao": 1,
        "base_fee": 8, "chain_id": 2, "block_hashes": {6: word}, "withdrawals": (Withdrawal(1, 2, SENDER, 3),), "gas_used": 1,
        "receipts_root": word, "logs_bloom": bytes(256), "state_root": word,
    }  # fmt: skip
    txs = {
        "chain_id": 2, "nonce": 1, "gas_limit": 1, "to": None, "value": 1, "data": b"x", "gas_price": 1,
        "access_list": ((SENDER, (1,)),), "sender": b"\x04" * 20,
    }  # fmt: skip
    accounts = [
        (1, 0, b"", {}), (10**18, 1, b"", {}), (10**18, 0, b"x", {}), (10**18, 0, b"", {1: 2}), (10**18, 0, b"", {2: 2}),
    ]  # fmt: skip
    made = [EvmBlock(env, [tx], state), EvmBlock(env, [], state), EvmBlock(env, [tx, tx], state), EvmBlock(env, [tx], {})]
    made += [EvmBlock(replace(env, **{name: value}), [tx], state) for name, value in envs.items()]
    made += [EvmBlock(env, [replace(tx, **{name: value})], state) for name, value in txs.items()]
    made += [EvmBlock(env, [tx], {SENDER: account}) for account in accounts]
    assert len({block.digest() for block in made}) == len(made)
    same = EvmBlock(env, [tx], {SENDER: (10**18, 0, b"", {3: 4, 1: 2})}, after={})
    assert same.digest() == made[0].digest()
    assert made[0].digest() == EvmBlock(replace(env), [replace(tx)], dict(state)).digest()


class Octets(bytes):
    """As libraries have them: bytes that show themselves in another way."""

    def __repr__(self) -> str:
        return f"Octets({self.hex()})"


class Kind(IntEnum):
    ONE = 1


def test_equal_values_of_other_types_have_the_same_digest() -> None:
    def made(n: Any, b: Any) -> EvmBlock:
        word, who, other = b(b"\x05" * 32), b(SENDER), b(b"\x02" * 20)
        env = BlockEnv(
            number=n(7), timestamp=n(1), fork=Fork.CANCUN, fee_recipient=who, gas_limit=n(8), prev_randao=n(9), base_fee=n(7),
            chain_id=n(1), excess_blob_gas=n(3), blob_gas_price=n(2), parent_beacon_block_root=word,
            block_hashes={n(6): word}, withdrawals=(Withdrawal(n(1), n(2), who, n(3)),), gas_used=n(4), receipts_root=word,
            logs_bloom=b(bytes(256)), state_root=word,
        )  # fmt: skip
        common: dict[str, Any] = {"nonce": n(1), "gas_limit": n(9), "value": n(3), "data": b(b"x"), "sender": who}
        signed: dict[str, Any] = {"v": n(0), "r": n(5), "s": n(6), "chain_id": n(1), "to": other}
        fees = {"max_fee_per_gas": n(8), "max_priority_fee_per_gas": n(1)}
        blobs = {"max_fee_per_blob_gas": n(3), "blob_versioned_hashes": (b(b"\x01" * 32),)}
        lists = {"access_list": ((other, (n(4),)),)}
        permission = Authorization(n(1), other, n(2), n(0), n(5), n(6))
        txs = [
            Transaction(type=n(0), gas_price=n(9), **common),
            Transaction(type=n(1), gas_price=n(9), **common, **signed, **lists),
            Transaction(type=n(3), **common, **signed, **fees, **blobs),
            Transaction(type=n(4), **common, **signed, **fees, authorization_list=(permission,)),
            Transaction(type=n(0), gas_price=n(9), v=n(37), r=n(5), s=n(6), chain_id=n(1), **common),
        ]  # fmt: skip
        return EvmBlock(env, txs, {who: (n(10**18), n(1), b(b"\x01"), {1: 2})})

    plain = made(int, bytes)
    assert plain.digest() == "7167c01ea0f6ebeeb63fdffdfe0934ce57caae2a178ba6d9df0537602e56cc38"  # files name blocks by it
    for kind in (np.int64, np.uint64):
        assert made(kind, Octets).digest() == plain.digest()
    tx = Transaction(type=1, chain_id=1, gas_price=9, gas_limit=21_000, sender=SENDER)
    assert repr(replace(tx, type=Kind.ONE, nonce=Kind.ONE)) == repr(replace(tx, nonce=1))


def test_files_of_one_machine_are_not_read_for_blocks_of_the_other(tmp_path: Path) -> None:
    pn.write_execution(tmp_path / "evm.parquet", example())
    block = pn.Block.from_programs([[("ADD", 1)]])
    pn.write_execution(tmp_path / "ops.parquet", pn.execute(block, "serial"))
    with pytest.raises(FileFormatError, match=r"schema 'pevm_numba.evm_execution/1': must be pevm_numba.execution/1"):
        pn.read_execution(tmp_path / "evm.parquet", block)
    with pytest.raises(FileFormatError, match=r"schema 'pevm_numba.execution/1': must be pevm_numba.evm_execution/1"):
        pn.read_execution(tmp_path / "ops.parquet", example().block)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, done = tmp_path / "done.parquet", example()
    pn.write_execution(path, done)
    with pytest.raises(BlockError, match=r"counters\['waves'\] = 1.5: must be an integer"):
        pn.write_execution(path, replace(done, counters={"waves": 1.5}))
    with pytest.raises(BlockError, match="codes of seen, accesses and change must be those"):
        pn.write_execution(path, replace(done, change=done.change._replace(codes={b"\x05" * 32: b"code"})))

    def fail(table: pa.Table, where: Path, **options: Any) -> None:
        where.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(FileFormatError, match="cannot be written: no space left"):
        pn.write_execution(path, replace(done, reason="new"))
    assert unlike(done, pn.read_execution(path, done.block)) == []
    assert [item.name for item in tmp_path.iterdir()] == ["done.parquet"]


# -------------------------------------------------------------------- files that break a rule


def stored(path: Path, edits: dict[str, Any]) -> pa.Table:
    """The table of a sound file, with values of columns edited in place, and metadata (`about_…`: members of it) replaced."""
    pn.write_execution(path, example())
    table = pq.read_table(path)
    named = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    about = json.loads(named["about"])
    for name, edit in edits.items():
        if name.startswith("about_"):
            about[name.removeprefix("about_")] = edit
            named["about"] = json.dumps(about)
        elif name in named:
            named[name] = edit
        elif edit is None:
            table = table.drop_columns([name])
        else:
            values, at = table[name].to_pylist(), table.column_names.index(name)
            edit(values)
            table = table.set_column(at, name, pa.array(values, table[name].type))
    return table.replace_schema_metadata({name: value for name, value in named.items() if value is not None})


def put(row: int, item: int | None = None, **members: Any) -> Callable[[list[Any]], None]:
    """An edit that sets members of an item of a row, or the value of a row."""

    def edit(values: list[Any]) -> None:
        if item is None:
            values[row] = members["value"]
        else:
            values[row][item] |= members

    return edit


def move(source: int, target: int) -> Callable[[list[Any]], None]:
    """An edit that moves the items of a row to another."""

    def edit(values: list[Any]) -> None:
        values[source], values[target] = [], values[source]

    return edit


def swap(row: int) -> Callable[[list[Any]], None]:
    """An edit that swaps the first two items of a row."""

    def edit(values: list[Any]) -> None:
        values[row][:2] = values[row][1::-1]

    return edit


def field(values: list[Any], wanted: int) -> int:
    """Place of the first key of a field in the first row."""
    return next(i for i, row in enumerate(values[0]) if row["field"] == wanted)


def of_field(wanted: int, **members: Any) -> Callable[[list[Any]], None]:
    """An edit of the first key of a field in the first row."""
    return lambda values: values[0][field(values, wanted)].update(members)


NO = b"\x05" * 32


@pytest.mark.parametrize(
    ("edits", "parts"),
    [
        ({"state": None}, ["column state: missing"]),
        ({"runs": None}, ["column runs: missing"]),
        ({"plan_start": None}, ["column plan_start: missing"]),
        ({"block_number": put(2, value=8)}, ["column block_number, row 2 = 8: must be "]),
        ({"block_access_index": put(2, value=1)}, ["column block_access_index, row 2 = 1", "in order"]),
        ({"tx_index": put(2, value=2)}, ["column tx_index, row 2 = 2", "from row 1 on"]),
        ({"success": put(3, value=None)}, ["column success, row 3 = None: must not be null"]),
        ({"gas_used": put(0, value=5)}, ["column gas_used, row 0 = 5: must be null"]),
        ({"wave": put(5, value=0)}, ["column wave, row 5 = 0: must be null"]),
        ({"gas_used": put(4, value=-1)}, ["column gas_used, row 4 = -1: must be in [0, "]),
        ({"worker": put(1, value=9)}, ["column worker, row 1 = 9: must be below n_workers"]),
        ({"end_ns": put(1, value=-1)}, ["column end_ns, row 1 = -1"]),
        ({"wave": put(1, value=4)}, ["column wave, row 1 = 4: must be in [0, 3]"]),
        ({"logs": move(1, 0)}, ["column logs, row 0", "no transaction is there"]),
        ({"logs": put(1, 0, topics=[NO] * 5)}, ["column logs.topics, row 1, item 0", "at most 4 topics"]),
        ({"accesses": move(1, 5)}, ["column accesses, row 5", "no transaction is there"]),
        ({"accesses": put(2, 0, key=10**6)}, ["column accesses.key, row 2, item 0 = 1000000: must be below"]),
        ({"accesses": put(2, 0, mode=8)}, ["column accesses.mode, row 2, item 0 = 8: must be in [1, 7]"]),
        ({"accesses": swap(2)}, ["column accesses.key, row 2, item 1", "distinct and ascending"]),
        ({"changes": swap(2)}, ["column changes.key, row 2, item 1", "distinct and ascending"]),
        ({"changes": put(2, 0, kind=3)}, ["column changes.kind, row 2, item 0 = 3: must be in [1, 2]"]),
        ({"touched": swap(2)}, ["column touched.address, row 2, item 1", "distinct and ascending"]),
        ({"touched": put(1, 0, slot=NO)}, ["column touched.slot, row 1, item 0", "must come before it"]),
        ({"listed": put(2, 0, key=10**6)}, ["column listed.key, row 2, item 0 = 1000000: must be below"]),
        ({"keys": move(0, 1)}, ["column keys, row 1", "in row 0"]),
        ({"codes": lambda values: values[1].append(b"x")}, ["column codes, row 1", "in row 0"]),
        ({"keys": swap(0)}, ["column keys.address, row 0, item 1", "distinct and ascending"]),
        ({"listed_keys": put(0, 0, field=4)}, ["column listed_keys.field, row 0, item 0 = 4: must be in [0, 3]"]),
        ({"changed": of_field(1, slot=NO)}, ["column changed.slot, row 0", "must be 0 but for storage"]),
        ({"changed": of_field(2, value=NO)}, ["column changed.value, row 0", "a nonce must be below 2**64"]),
        ({"state": of_field(2, value=NO)}, ["column state.value, row 0", "a nonce must be below 2**64"]),
        ({"state": of_field(2, value=None)}, ["column state.value, row 0", "must not be null"]),
        ({"state": of_field(1, value=None)}, ["column state.value, row 0", "so it is not gone"]),
        ({"state": of_field(2, field=3, value=NO)}, ["column state.value, row 0", "is the hash of no code"]),
        ({"pevm_numba.schema": "pevm_numba.evm_execution/2"}, ["schema 'pevm_numba.evm_execution/2': must be "]),
        ({"content_sha256": None}, ["metadata content_sha256: missing"]),
        ({"about": "[" * 100_000}, ["metadata about: not readable JSON"]),
        ({"about": "{}"}, ["metadata about = {}: must have block_number"]),
        ({"about_fetches": 5}, ["metadata about, fetches = 5: is of a wrong type"]),
        ({"about_fetches": {"ns": 1}}, ["metadata about, fetches = {'ns': 1}: must have accounts, slots"]),
        ({"about_fetches": dict.fromkeys(("accounts", "slots", "storages", "ns"), "x")}, ["fetches['accounts'] = 'x'"]),
        ({"about_n_workers": None}, ["n_workers = None: must be an integer"]),
        ({"about_policy": None}, ["policy = None: must be a str"]),
        ({"about_reason": "another"}, ["content_sha256", "is not that of the content"]),
        ({"success": put(1, value=False)}, ["is not that of the content"]),
        ({"gas_used": put(1, value=1)}, ["is not that of the content"]),
        ({"start_ns": put(1, value=0), "end_ns": put(1, value=1)}, ["is not that of the content"]),
        ({"logs": put(1, 0, data=b"")}, ["is not that of the content"]),
        ({"accesses": put(2, 0, mode=7)}, ["is not that of the content"]),
        ({"touched": put(1, 0, saved=-77)}, ["is not that of the content"]),
        ({"listed": put(2, 0, value=NO)}, ["is not that of the content"]),
        ({"keys": put(0, 0, before=NO)}, ["is not that of the content"]),
        ({"listed_addresses": lambda values: values[0].append({"address": b"x" * 20})}, ["is not that of the content"]),
        ({"state": of_field(1, value=NO)}, ["is not that of the content"]),
        ({"after_transactions": lambda values: values[0].append({"address": SENDER, "field": 1, "slot": bytes(32)})},
         ["is not that of the content"]),
        ({"codes": lambda values: values[0].append(b"x")}, ["is not that of the content"]),
    ],
    ids=lambda value: str(value[0])[:50] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_file_that_breaks_a_rule_is_refused_with_its_place(tmp_path: Path, edits: Any, parts: list[str]) -> None:
    done, path = example(), tmp_path / "broken.parquet"
    pq.write_table(stored(tmp_path / "sound.parquet", {}), path)
    assert unlike(done, pn.read_execution(path, done.block)) == []  # rewritten by another program, but the same
    pq.write_table(stored(tmp_path / "sound.parquet", edits), path)
    with pytest.raises(FileFormatError) as said:
        pn.read_execution(path, done.block)
    assert str(said.value).startswith(f"{path}: ")
    for part in parts:
        assert part in str(said.value)


def test_rows_that_were_taken_out_are_missed(tmp_path: Path) -> None:
    pq.write_table(stored(tmp_path / "sound.parquet", {}).slice(0, 5), tmp_path / "short.parquet")
    with pytest.raises(FileFormatError, match="5 rows: must be 6, one for each transaction of the block, one before"):
        pn.read_execution(tmp_path / "short.parquet", example().block)


def test_no_code_has_two_words_in_a_file(tmp_path: Path) -> None:
    assert keccak(b"") == EMPTY_HASH
    env = BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN)
    tx = Transaction(gas_price=9, gas_limit=100_000, to=None, data=b"", sender=SENDER)
    check_round_trip(pn.execute(EvmBlock(env, [tx], {SENDER: (10**18, 0, b"", {})}), "serial"), tmp_path / "done.parquet")


# -------------------------------------------------------------------- damaged files


def _run_seeds(start: int, stop: int, folder: Path) -> int:
    """Read one damaged file per seed; 1 unless each gives a PevmError or the execution that was written."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * _MEMORY, 2 * _MEMORY))
    done, path = example(), folder / "done.parquet"
    pn.write_execution(path, done)
    sound, table = path.read_bytes(), pq.read_table(path)
    counts = {"block": 0, "error": 0}
    for seed in range(start, stop):
        print(f"seed {seed}", flush=True)
        if seed % 4 == 0:
            pq.write_table(table_mutation(table, seed // 4), path)
        else:
            path.write_bytes(sound)
            if seed % 4 != 1:  # without checksums of pages, so that the damage reaches the values
                pq.write_table(table, path, compression=("none", "zstd")[seed % 2])
            data = bytearray(path.read_bytes())
            if seed % 4 == 2:  # one bit anywhere
                rng = random.Random(seed)
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(bytes(data) if seed % 4 == 2 else mutations(bytes(data), seed))
        try:
            assert unlike(done, pn.read_execution(path, done.block)) == [], "a wrong value was read"
            counts["block"] += 1
        except PevmError:
            counts["error"] += 1
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            return 1
    print(json.dumps({**counts, "peak": peak_memory()}))
    return 0


@pytest.mark.parametrize("start", range(0, 2000, 200) if SOAK else [0])
def test_damaged_files_give_an_error_or_the_execution_that_was_written(start: int, tmp_path: Path) -> None:
    counts = survives(Path(__file__), "evm_execution", start, start + 200, tmp_path)
    assert counts["block"] + counts["error"] == 200
    assert counts["error"] >= 100, "the damage is too weak to test anything"


if __name__ == "__main__":
    sys.exit(_run_seeds(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
