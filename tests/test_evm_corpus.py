"""Real mainnet blocks on the machine: every receipt, the receipts root and bloom of the header, and the state afterwards."""

from __future__ import annotations

import functools
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pevm_numba.evm.forks import Fork, fork_at
from pevm_numba.evm.hashing import EMPTY_HASH
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.machine import Machine
from pevm_numba.evm.receipts import Receipt, logs_bloom, receipts_root
from pevm_numba.evm.transaction import Transaction

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
pytestmark = pytest.mark.corpus


def rows(kind: str, number: int | None = None, folder: str = "state") -> list[dict[str, Any]]:
    """Rows of a table; of one block's file, if a number is given."""
    name = kind if number is None else f"{kind}__{number:08d}_to_{number:08d}"
    return pq.read_table(CORPUS / folder / f"ethereum__{name}.parquet").to_pylist()


@functools.cache
def codes() -> dict[bytes, bytes]:
    return {row["code_hash"]: row["code"] for row in rows("codes")}


@functools.cache
def headers() -> dict[int, dict[str, Any]]:
    return {row["block_number"]: row for row in rows("headers")}


@functools.cache
def hashes() -> dict[int, dict[int, bytes]]:
    found: dict[int, dict[int, bytes]] = defaultdict(dict)
    for row in rows("block_hashes"):
        found[row["block_number"]][row["number"]] = row["hash"]
    return found


def numbers() -> list[int]:
    """All blocks of the corpus."""
    return sorted(headers()) if (CORPUS / "state").is_dir() else []


def environment(number: int) -> BlockEnv:
    head = headers()[number]
    fork = fork_at(number, head["timestamp"])
    known = {n: digest for n, digest in hashes()[number].items() if n < number}
    return BlockEnv(
        number=number, timestamp=head["timestamp"], fork=fork, fee_recipient=head["miner"], gas_limit=head["gas_limit"],
        prev_randao=int.from_bytes(head["mix_hash"], "big") if fork >= Fork.PARIS else int(head["difficulty"]),
        base_fee=head["base_fee_per_gas"] if fork >= Fork.LONDON else None,
        excess_blob_gas=head["excess_blob_gas"] if fork >= Fork.CANCUN else None,
        block_hashes=known | {number - 1: head["parent_hash"]},
    )  # fmt: skip


def state(kind: str, number: int) -> dict[bytes, tuple[int, int, bytes, dict[int, int]]]:
    """Accounts that exist, from pre_state or post_state."""
    found: dict[bytes, tuple[int, int, bytes, dict[int, int]]] = {}
    slots: dict[bytes, dict[int, int]] = defaultdict(dict)
    for row in rows(kind, number):
        if row["slot"] is not None:
            value = int.from_bytes(row["value"] or b"", "big")
            if value:
                slots[row["address"]][int.from_bytes(row["slot"], "big")] = value
        elif row["exists"]:
            digest = row["code_hash"] or EMPTY_HASH
            code = b"" if digest == EMPTY_HASH else codes().get(digest, b"\xfe" + digest)
            found[row["address"]] = int.from_bytes(row["balance"], "big"), row["nonce"], code, slots[row["address"]]
    return found


def listed(number: int) -> dict[int, list[tuple[bytes, list[int]]]]:
    """Access lists by transaction."""
    found: dict[int, list[tuple[bytes, list[int]]]] = defaultdict(list)
    for row in rows("access_lists"):
        if row["block_number"] == number:
            entries = found[row["transaction_index"]]
            if row["slot"] is None:
                entries.append((row["address"], []))
            else:
                entries[-1][1].append(int.from_bytes(row["slot"], "big"))
    return found


def transactions(number: int) -> list[tuple[Transaction, dict[str, Any]]]:
    """The block's transactions in our form, with the rows that they come from."""
    lists, blobs = listed(number), defaultdict(list)
    for row in rows("blob_hashes"):
        if row["block_number"] == number:
            blobs[row["transaction_index"]].append((row["versioned_hash"], row["max_fee_per_blob_gas"]))
    made = []
    for row in rows("transactions", number, "cryo"):
        i, kind = row["transaction_index"], row["transaction_type"]
        fields: dict[str, Any] = {
            "type": kind, "nonce": row["nonce"], "gas_limit": row["gas_limit"], "to": row["to_address"],
            "value": int.from_bytes(row["value_binary"], "big"), "data": row["input"] or b"", "sender": row["from_address"],
        }  # fmt: skip
        if kind:
            fields |= {"chain_id": 1, "access_list": tuple((address, tuple(slots)) for address, slots in lists[i])}
        if kind < 2:
            fields["gas_price"] = row["gas_price"]
        else:
            fields["max_fee_per_gas"] = row["max_fee_per_gas"]
            fields["max_priority_fee_per_gas"] = row["max_priority_fee_per_gas"]
        if kind == 3:
            fields["blob_versioned_hashes"] = tuple(digest for digest, _ in blobs[i])
            fields["max_fee_per_blob_gas"] = int(blobs[i][0][1])
        made.append((Transaction(**fields), row))
    return made


#: The contract of EIP-4788, called by the system before the first transaction.
BEACON_ROOTS = bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02")


def with_beacon_root(number: int, accounts: dict[bytes, Any]) -> None:
    """What that call writes."""
    root = headers()[number]["parent_beacon_block_root"]
    if root and BEACON_ROOTS in accounts:
        time = headers()[number]["timestamp"]
        accounts[BEACON_ROOTS][3].update({time % 8191: time, time % 8191 + 8191: int.from_bytes(root, "big")})


@pytest.mark.parametrize("number", numbers())
def test_a_real_block_has_its_receipts_and_its_state(number: int) -> None:
    head, before = headers()[number], state("pre_state", number)
    with_beacon_root(number, before)
    machine = Machine(environment(number), before)
    receipts, total = [], 0
    for i, (tx, row) in enumerate(transactions(number)):
        outcome = machine.run(tx)
        assert (outcome.gas_used, outcome.success) == (row["gas_used"], row["success"]), f"transaction {i}"
        total += outcome.gas_used
        receipts.append(Receipt(tx.type, int(outcome.success), total, outcome.logs))
    assert total == head["gas_used"]
    assert logs_bloom([log for receipt in receipts for log in receipt.logs]) == head["logs_bloom"]
    if fork_at(number, head["timestamp"]) >= Fork.BYZANTIUM:
        assert receipts_root(receipts) == head["receipts_root"]
    after, expected = machine.state(), state("post_state", number)
    for address, account in expected.items():
        assert after[address][:2] == account[:2], address.hex()
        assert after[address].storage == account[3], address.hex()
    assert set(after) == set(expected)
