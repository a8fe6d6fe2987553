"""Blocks written as a node gives them: ``eth_getBlockByNumber`` with full transactions, and the accounts before it."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from typing import Any

from ..door import instance
from ..errors import BlockError, FileFormatError, UsageError
from ..evm.block import EvmBlock
from ..evm.forks import Fork
from ..evm.header import BlockEnv
from ..evm.transaction import Transaction, transaction_hash
from ..evm.world import AccountState
from .access_lists import access_list_json
from .node_json import QUANTITIES, read_node_block
from .paths import nameable, replacing, target_of

__all__ = ["node_block_json", "write_node_block"]

#: Members of the header: field, member, bytes it has (0: a quantity).
_HEADER = (
    ("number", "number", 0), ("timestamp", "timestamp", 0), ("fee_recipient", "miner", 20), ("gas_limit", "gasLimit", 0),
    ("base_fee", "baseFeePerGas", 0), ("excess_blob_gas", "excessBlobGas", 0),
    ("parent_beacon_block_root", "parentBeaconBlockRoot", 32), ("gas_used", "gasUsed", 0),
    ("receipts_root", "receiptsRoot", 32), ("logs_bloom", "logsBloom", 256), ("state_root", "stateRoot", 32),
)  # fmt: skip


def _octets(data: bytes) -> str:
    return f"0x{data.hex()}"


def _transaction(tx: Transaction, place: int, number: int) -> dict[str, Any]:
    given: dict[str, Any] = {
        "blockNumber": hex(number), "transactionIndex": hex(place), "type": hex(tx.type), "from": _octets(tx.sender or b""),
        "to": None if tx.to is None else _octets(tx.to), "input": _octets(tx.data),
    }  # fmt: skip
    given |= {member: hex(getattr(tx, field)) for field, member, types, _ in QUANTITIES if tx.type in types}
    if tx.chain_id is not None:
        given["chainId"] = hex(tx.chain_id)
    if tx.type >= 1:
        given |= access_list_json(tx.access_list)
    if tx.type == 3:
        given["blobVersionedHashes"] = [_octets(digest) for digest in tx.blob_versioned_hashes]
    if tx.type == 4:
        given["authorizationList"] = [
            {
                "chainId": hex(one.chain_id), "address": _octets(one.address), "nonce": hex(one.nonce),
                "yParity": hex(one.y_parity), "r": hex(one.r), "s": hex(one.s),
            }
            for one in tx.authorization_list
        ]  # fmt: skip
    if tx.v is not None and tx.r is not None and tx.s is not None:
        given |= {"v": hex(tx.v), "r": hex(tx.r), "s": hex(tx.s), "hash": _octets(transaction_hash(tx))}
    return given


def _header(env: BlockEnv) -> dict[str, Any]:
    stated = ((member, getattr(env, field), size) for field, member, size in _HEADER)
    given = {member: _octets(value) if size else hex(value) for member, value, size in stated if value is not None}
    if env.fork >= Fork.PARIS:
        given |= {"mixHash": f"0x{env.prev_randao:064x}", "difficulty": "0x0"}
    else:
        given["difficulty"] = hex(env.prev_randao)
    if env.number - 1 in env.block_hashes:
        given["parentHash"] = _octets(env.block_hashes[env.number - 1])
    return given


def _accounts(state: Mapping[bytes, AccountState]) -> dict[str, Any]:
    return {
        _octets(address): {"balance": hex(one.balance), "nonce": one.nonce}
        | ({"code": _octets(one.code)} if one.code else {})
        | ({"storage": {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in one.storage.items()}} if one.storage else {})
        for address, one in sorted(state.items())
    }


def node_block_json(block: EvmBlock) -> tuple[dict[str, Any], dict[str, Any]]:
    """A block and the state before it as objects of JSON.

    Parameters
    ----------
    block : EvmBlock
        `after` is left out.

    Returns
    -------
    block : dict
        As ``eth_getBlockByNumber`` gives it with full transactions, but for members of the header that execution does not
        need (such as the block's own hash); where signatures are not known ``from`` says who sent a transaction.
    prestate : dict
        Accounts by address, as prestateTracer gives those of a transaction.

    Raises
    ------
    BlockError
        If the block knows what this form cannot say: a source of more state, hashes of blocks before its parent, a price of
        blob gas that does not follow from what was used, or another fork's fields.

    Notes
    -----
    `read_node_block` makes the same block of it, if it is told the fork, and the chain if no transaction names one.

    Examples
    --------
    >>> from ..evm.workloads import generate_evm
    >>> block, state = node_block_json(generate_evm("transfers", n_tx=2))
    >>> block["transactions"][1]["gas"], block["transactions"][1]["from"] in state
    ('0x5208', True)
    """
    instance("block", block, EvmBlock)
    env = block.env
    if block.source is not None:
        raise BlockError(f"block {env.number}, source: what it knows cannot be written: state must hold all of it")
    given = _header(env) | {"transactions": [_transaction(tx, i, env.number) for i, tx in enumerate(block.transactions)]}
    if env.fork >= Fork.SHANGHAI:
        given["withdrawals"] = [
            {
                "index": hex(one.number), "validatorIndex": hex(one.validator), "address": _octets(one.address),
                "amount": hex(one.amount),
            }
            for one in env.withdrawals
        ]  # fmt: skip
    state = _accounts(block.state)
    _check_same(block, given, state)
    return given, state


def _check_same(block: EvmBlock, given: dict[str, Any], state: dict[str, Any]) -> None:
    """A BlockError that names what would be lost."""
    env = block.env
    try:
        found = read_node_block(given, state, chain_id=env.chain_id, fork=env.fork)
    except FileFormatError as error:
        raise BlockError(f"block {env.number}: cannot be read as a node gives it: {error}") from None
    pairs = {name: (getattr(env, name), getattr(found.env, name)) for name in env.__dataclass_fields__}
    pairs |= {f"transactions[{i}]": both for i, both in enumerate(zip(block.transactions, found.transactions))}
    for name, (ours, read) in (pairs | {"state": (block.state, found.state)}).items():
        if ours != read:
            raise BlockError(f"block {env.number}, {name}: a node's JSON cannot say this; it would be read otherwise")


def write_node_block(path: str | os.PathLike[str], prestate: str | os.PathLike[str], block: EvmBlock) -> None:
    """Write a block and the state before it to two files of JSON, as a node would give them.

    Parameters
    ----------
    path, prestate : path
        Of the block, and of the accounts before it; gzipped if they end in ``.gz``. Files are replaced at the end, or left.
    block : EvmBlock
        See `node_block_json`.

    Raises
    ------
    BlockError
        As `node_block_json`.
    FileFormatError
        If there can be no such file.
    UsageError
        If both are the same file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ..evm.workloads import generate_evm
    >>> block = generate_evm("amm", n_tx=20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     names = Path(folder, "block.json"), Path(folder, "prestate.json.gz")
    ...     write_node_block(*names, block)
    ...     read_node_block(*names, fork="cancun") == block
    True
    """
    where = [nameable(path), nameable(prestate)]
    if target_of(where[0]) == target_of(where[1]):
        raise UsageError(f"prestate = {where[1]}: must be another file than the block's")
    values = node_block_json(block)
    with replacing(*where) as temporary:
        for name, made, value in zip(where, temporary, values):
            data = (json.dumps(value, indent=1) + "\n").encode()
            made.write_bytes(gzip.compress(data, mtime=0) if name.suffix.lower() == ".gz" else data)
