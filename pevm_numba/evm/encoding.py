"""Transactions and environment as the kernels take them: records of numbers, words and addresses, made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .arena import Arena
from .charges import Priced, priced
from .header import BlockEnv
from .opcodes import ENVIRONMENT
from .precompiles import precompiles
from .transaction import Transaction, authority_of
from .world import as_words, word

__all__ = ["SYSTEM", "encode_transactions", "set_environment"]

#: Who calls the contracts of the protocol (EIP-4788).
SYSTEM: Final = bytes.fromhex("fffffffffffffffffffffffffffffffffffffffe")


def set_environment(arena: Arena, env: BlockEnv) -> None:
    """What opcodes see of the block."""
    words = {
        "coinbase": int.from_bytes(env.fee_recipient, "big"), "timestamp": env.timestamp, "number": env.number,
        "prev_randao": env.prev_randao, "gas_limit": env.gas_limit, "chain_id": env.chain_id,
        "base_fee": env.base_fee or 0, "blob_base_fee": env.blob_gas_price or 0,
    }  # fmt: skip
    environment = arena.buffer("environment").reshape(-1, 32)
    for name, value in words.items():
        environment[ENVIRONMENT.index(name)] = word(value)
    arena.buffer("context")[layout.CONTEXT.words["coinbase"] :][:32] = word(words["coinbase"])
    seen = {number: digest for number, digest in env.block_hashes.items() if env.number - 256 <= number < env.number}
    if seen:
        digests = np.frombuffer(b"".join(seen.values()), np.uint8).reshape(-1, 32)
        arena.buffer("block_hashes").reshape(-1, 32)[[env.number - 1 - number for number in seen]] = digests[:, ::-1]
    known = sorted(precompiles(env.fork))
    arena["n_precompiles"] = sum(address < 0x100 for address in known)
    arena["high_precompile"] = next((address for address in known if address >= 0x100), 0)


def _numbers(txs: Sequence[Transaction], known: Sequence[Priced], system: bool) -> dict[str, list[int]]:
    """Numbers of records, each of all transactions."""
    return {
        "creates": [tx.to is None for tx in txs], "system": [system] * len(txs), "nonce": [tx.nonce for tx in txs],
        "gas_limit": [tx.gas_limit for tx in txs], "floor": [one.floor for one in known],
        "intrinsic": [0] * len(txs) if system else [one.intrinsic for one in known],
        "data_size": [len(tx.data) for tx in txs], "n_blobs": [len(tx.blob_versioned_hashes) for tx in txs],
    }  # fmt: skip


def _words(txs: Sequence[Transaction], known: Sequence[Priced]) -> dict[str, list[int]]:
    """Words of records, each of all transactions."""
    paid = [one.paid for one in known]
    return {
        "sender": [int.from_bytes(tx.sender or b"", "big") for tx in txs],
        "to": [int.from_bytes(tx.to or b"", "big") for tx in txs], "value": [tx.value for tx in txs],
        "fee": [one.fee for one in paid], "tip": [max(one.tip, 0) for one in paid],
        "most_upfront": [one.most for one in paid], "blob_fee": [one.blob_fee for one in paid],
    }  # fmt: skip


def _listed(txs: Sequence[Transaction]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Entries of all access lists, and where each transaction's begin."""
    rows, starts = list[bytes](), [0]
    for tx in txs:
        for address, slots in tx.access_list:
            place = address[::-1].ljust(32, b"\0")
            rows.append(place + bytes(64))
            rows += [place + slot.to_bytes(32, "little") + b"\1" + bytes(31) for slot in slots]
        starts.append(len(rows))
    assert layout.LIST_ENTRY.size == 96
    return np.frombuffer(b"".join(rows), np.uint8), np.array(starts, np.int64) * layout.LIST_ENTRY.size


def _authorizations(txs: Sequence[Transaction], env: BlockEnv) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Those that a machine has to look at (EIP-7702), and where each transaction's begin."""
    rows, starts = list[bytes](), [0]
    for tx in txs:
        for one in tx.authorization_list:
            authority = authority_of(one) if one.chain_id in (0, env.chain_id) else None
            if authority is not None:
                nonce = one.nonce.to_bytes(8, "little")
                rows.append(authority[::-1].ljust(32, b"\0") + one.address[::-1].ljust(32, b"\0") + nonce + bytes(24))
        starts.append(len(rows))
    assert layout.AUTHORIZATION.size == 96
    return np.frombuffer(b"".join(rows), np.uint8), np.array(starts, np.int64) * layout.AUTHORIZATION.size


def encode_transactions(
    arena: Arena, txs: Sequence[Transaction], env: BlockEnv, name: str = "transactions", *, system: bool = False,
    known: Sequence[Priced] | None = None,
) -> int:  # fmt: skip
    """Address of the transactions' records, which the arena keeps under that name until it gets others.

    `system`: they are calls by the protocol, which pay nothing. `known`: their prices, if they are.
    """
    known = [priced(tx, env) for tx in txs] if known is None else known
    records = arena.allocate(name, layout.TX.size * len(txs)).reshape(-1, layout.TX.size)
    sizes = np.array([len(tx.data) + 64 for tx in txs], np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    data = arena.allocate(f"{name} data", int(starts[-1]))
    data[:] = np.frombuffer(b"".join(part for tx in txs for part in (tx.data, bytes(64))), np.uint8)
    entries, entries_at = _listed(txs)
    listed = arena.allocate(f"{name} lists", len(entries))
    listed[:] = entries
    blobs = b"".join(digest[::-1] for tx in txs for digest in tx.blob_versioned_hashes)
    hashes = arena.allocate(f"{name} blobs", len(blobs))
    hashes[:] = np.frombuffer(blobs, np.uint8)
    given, given_at = _authorizations(txs, env)
    authorizations = arena.allocate(f"{name} authorizations", len(given))
    authorizations[:] = given
    blobs_at = 32 * np.cumsum([0, *(len(tx.blob_versioned_hashes) for tx in txs)])
    places = {
        "data": data.ctypes.data + starts[:-1], "blob_hashes": hashes.ctypes.data + blobs_at[:-1],
        "list": listed.ctypes.data + entries_at[:-1], "list_end": listed.ctypes.data + entries_at[1:],
        "authorizations": authorizations.ctypes.data + given_at[:-1],
        "authorizations_end": authorizations.ctypes.data + given_at[1:],
    }  # fmt: skip
    fields = records.view(np.uint64)
    for field, values in (_numbers(txs, known, system) | places).items():
        fields[:, layout.TX.numbers[field] // 8] = np.array(values, np.uint64)
    for field, values in _words(txs, known).items():
        at = layout.TX.words[field]
        records[:, at : at + 32] = as_words(values)
    return int(records.ctypes.data)
