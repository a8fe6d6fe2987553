"""Blocks as a node's JSON-RPC gives them: ``eth_getBlockByNumber`` with full transactions, and the state before it as traced.

Results of ``debug_traceBlockByNumber`` with prestateTracer, one for each transaction, are merged: what is first seen of an
account or slot is its value before the block. The tracer leaves out accounts that were empty before their transaction: one
left out where a transaction called or created it was empty before the block too; one that only a contract's code touched
is not recognised, and its later value is taken. A single merged object, made with more knowledge, avoids that.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ..errors import BlockError, FileFormatError
from ..evm.block import EvmBlock
from ..evm.forks import Fork, fork_at, fork_named
from ..evm.hashing import keccak, keccak_many
from ..evm.header import BlockEnv, Withdrawal
from ..evm.rlp import encode
from ..evm.transaction import Authorization, Transaction, encode_transaction, recover_senders
from ..evm.world import AccountState
from .access_lists import access_list_of
from .json_reader import JsonReader, opened

__all__ = ["QUANTITIES", "read_node_block"]

log = logging.getLogger("pevm_numba")

_U64: Final = 2**64 - 1
_U256: Final = 2**256 - 1

_Source = Mapping[str, Any] | str | os.PathLike[str]


_State = dict[bytes, AccountState]


# -------------------------------------------------------------------- transactions

#: Quantities of a transaction: field, member, types that have it (gasPrice of later types is a result, not a field), most.
QUANTITIES: Final = (
    ("nonce", "nonce", range(5), _U64), ("gas_limit", "gas", range(5), _U64), ("value", "value", range(5), _U256),
    ("gas_price", "gasPrice", range(2), _U256), ("chain_id", "chainId", range(1, 5), _U256),
    ("max_priority_fee_per_gas", "maxPriorityFeePerGas", range(2, 5), _U256),
    ("max_fee_per_gas", "maxFeePerGas", range(2, 5), _U256), ("max_fee_per_blob_gas", "maxFeePerBlobGas", range(3, 4), _U256),
)  # fmt: skip


def _transaction(reader: JsonReader, place: str, value: Any) -> Transaction:
    if isinstance(value, str):
        raise reader.wrong(place, value, "must be an object: ask the node for full transactions, not for hashes")
    given = reader.object(place, value)
    kind = reader.may_integer(place, given, "type", high=4) or 0
    fields: dict[str, Any] = {
        field: reader.need_integer(place, given, name, high=most) for field, name, types, most in QUANTITIES if kind in types
    }
    fields |= _signature(reader, place, given, kind)
    if kind >= 1:
        fields["access_list"] = access_list_of(reader, *reader.member(place, given, "accessList"))
    if kind == 3:
        at, hashes = reader.member(place, given, "blobVersionedHashes")
        listed = enumerate(reader.array(at, hashes))
        fields["blob_versioned_hashes"] = tuple(reader.octets(f"{at}[{i}]", digest, 32) for i, digest in listed)
    if kind == 4:
        fields["authorization_list"] = _authorizations(reader, *reader.member(place, given, "authorizationList"))
    fields["to"] = reader.may_octets(place, given, "to", 20)
    fields["sender"] = reader.may_octets(place, given, "from", 20)
    fields["data"] = reader.need_octets(place, given, "input", "data")
    try:
        return Transaction(type=kind, **fields)
    except BlockError as error:
        raise FileFormatError(f"{reader.name}: {place}.{error}") from None


def _signature(reader: JsonReader, place: str, given: Mapping[str, Any], kind: int) -> dict[str, Any]:
    """v, r and s, none of them if there is no signature (r and s of nothing), and the chain of a legacy transaction."""
    r, s = (reader.may_integer(place, given, name) or 0 for name in ("r", "s"))
    chain = reader.may_integer(place, given, "chainId") if kind == 0 else None
    if r == 0 and s == 0:
        return {"chain_id": chain} if kind == 0 else {}
    v = reader.need_integer(place, given, *(("yParity", "v") if kind else ("v",)))
    signature: dict[str, Any] = {"v": v, "r": r, "s": s}
    return signature if kind else signature | {"chain_id": None if v < 35 else chain}


def _authorizations(reader: JsonReader, place: str, value: Any) -> tuple[Authorization, ...]:
    out = []
    for i, entry in enumerate(reader.array(place, value)):
        at = f"{place}[{i}]"
        given = reader.object(at, entry)
        chain, nonce, r, s = (reader.need_integer(at, given, name) for name in ("chainId", "nonce", "r", "s"))
        address, parity = reader.need_octets(at, given, "address", size=20), reader.need_integer(at, given, "yParity", "v")
        out.append(Authorization(chain, address, nonce, parity, r, s))
    return tuple(out)


def _recovered(reader: JsonReader, txs: list[Transaction], low_s: bool) -> list[Transaction]:
    """Transactions with their senders: from the signatures; where there is none, as given."""
    signed = [i for i, tx in enumerate(txs) if tx.v is not None]
    try:
        senders = dict(zip(signed, recover_senders([txs[i] for i in signed], low_s=low_s)))
    except BlockError:
        for i in signed:
            try:
                recover_senders([txs[i]], low_s=low_s)
            except BlockError as error:
                text = str(error).removeprefix("transaction 0: ")
                raise FileFormatError(f"{reader.name}: transactions[{i}].{text}") from None
        raise
    out = []
    for i, tx in enumerate(txs):
        sender = senders.get(i, tx.sender)
        if sender is None:
            raise FileFormatError(f"{reader.name}: transactions[{i}].from: must be given, for there is no signature")
        if tx.sender is not None and tx.sender != sender:
            raise reader.wrong(f"transactions[{i}].from", f"0x{tx.sender.hex()}", f"signed by 0x{sender.hex()}")
        out.append(tx if tx.sender else replace(tx, sender=sender))
    return out


def _hashes(reader: JsonReader, given: list[Any], txs: list[Transaction]) -> list[bytes | None]:
    """Hash of each transaction; where signatures are known, that of its fields."""
    stated = [reader.may_octets(f"transactions[{i}]", value, "hash", 32) for i, value in enumerate(given)]
    signed = [i for i, tx in enumerate(txs) if tx.v is not None]
    for i, digest in zip(signed, keccak_many([encode_transaction(txs[i]) for i in signed])):
        if stated[i] not in (None, digest):
            raise reader.wrong(f"transactions[{i}].hash", given[i]["hash"], f"the fields have hash 0x{digest.hex()}")
        stated[i] = digest
    return stated


# -------------------------------------------------------------------- state before the block


def _account(reader: JsonReader, place: str, value: Any) -> AccountState:
    given, at = reader.object(place, value), f"{place}.storage"
    storage: dict[int, int] = {}
    for name, word in reader.object(at, {} if given.get("storage") is None else given["storage"]).items():
        slot = reader.integer(f"{at}, slot", name)
        if slot in storage:
            raise reader.wrong(f"{at}, slot", name, "is given twice")
        storage[slot] = reader.integer(f"{at}.{name}", word)
    code = b"" if given.get("code") is None else reader.octets(f"{place}.code", given["code"])
    nonce = reader.may_integer(place, given, "nonce", high=_U64) or 0
    return AccountState(reader.may_integer(place, given, "balance") or 0, nonce, code, storage)


def _accounts(reader: JsonReader, place: str, value: Any) -> _State:
    given = reader.object(place or "state", value)
    if set(given) == {"pre", "post"}:
        raise reader.wrong(place or "state", sorted(given), "diffMode lists only what changes: trace without it")
    out: _State = {}
    for name, account in given.items():
        address = reader.octets(f"{place or 'state'}, account", name, 20)
        if address in out:
            raise reader.wrong(f"{place or 'state'}, account", name, "is given twice")
        out[address] = _account(reader, f"{place}.{name}" if place else name, account)
    return out


def _target(tx: Transaction) -> bytes:
    """The account that a transaction calls or creates."""
    return keccak(encode([tx.sender or b"", tx.nonce]))[12:] if tx.to is None else tx.to


def _merged(reader: JsonReader, entries: list[Any], txs: list[Transaction], hashes: list[bytes | None]) -> _State:
    """State before the block from the results of its transactions; first seen is what counts."""
    if len(entries) != len(txs):
        raise FileFormatError(f"{reader.name}: has {len(entries)} results: must be {len(txs)}, one for each transaction")
    state: _State = {}
    empty: set[bytes] = set()
    for i, (entry, tx, digest) in enumerate(zip(entries, txs, hashes)):
        place, value = f"[{i}]", reader.object(f"[{i}]", entry)
        traced = reader.may_octets(place, value, "txHash", 32)
        if traced is not None and digest is not None and traced != digest:
            raise reader.wrong(f"{place}.txHash", value["txHash"], f"transaction {i} has hash 0x{digest.hex()}")
        if "result" in value or "error" in value:
            place, value = reader.answer(place, value)
        found = _accounts(reader, place, value)
        for address, account in found.items():
            if address not in empty:
                before = state.setdefault(address, account)
                state[address] = before._replace(storage={**account.storage, **before.storage})
        target = _target(tx)
        if target not in found and target not in state:
            empty.add(target)
    return state


def _withdrawals(reader: JsonReader, given: Mapping[str, Any]) -> tuple[Withdrawal, ...]:
    out = []
    for i, value in enumerate(reader.array("withdrawals", [] if given.get("withdrawals") is None else given["withdrawals"])):
        at = f"withdrawals[{i}]"
        one = reader.object(at, value)
        number, validator, amount = (reader.need_integer(at, one, name) for name in ("index", "validatorIndex", "amount"))
        out.append(Withdrawal(number, validator, reader.need_octets(at, one, "address", size=20), amount))
    return tuple(out)


def _environment(reader: JsonReader, given: Mapping[str, Any], chain_id: int, fork: Fork | str | None) -> BlockEnv:
    number, timestamp = (reader.need_integer("", given, name, high=_U64) for name in ("number", "timestamp"))
    if fork is None and chain_id != 1:
        rule = "only chain 1 has rules known by height: say which with fork="
        raise FileFormatError(f"{reader.name}: a block of chain {chain_id}: {rule}")
    rules = fork_at(number, timestamp) if fork is None else fork_named(fork)
    parent = reader.may_octets("", given, "parentHash", 32)
    fields: dict[str, Any] = {
        "fee_recipient": reader.need_octets("", given, "miner", size=20),
        "gas_limit": reader.need_integer("", given, "gasLimit"),
        "prev_randao": reader.need_integer("", given, "mixHash" if rules >= Fork.PARIS else "difficulty"),
        "base_fee": reader.may_integer("", given, "baseFeePerGas"),
        "excess_blob_gas": reader.may_integer("", given, "excessBlobGas"),
        "parent_beacon_block_root": reader.may_octets("", given, "parentBeaconBlockRoot", 32),
        "block_hashes": {number - 1: parent} if parent and number else {},
        "withdrawals": _withdrawals(reader, given),
        "gas_used": reader.may_integer("", given, "gasUsed"),
        "receipts_root": reader.may_octets("", given, "receiptsRoot", 32),
        "logs_bloom": reader.may_octets("", given, "logsBloom", 256),
        "state_root": reader.may_octets("", given, "stateRoot", 32),
    }
    try:
        return BlockEnv(number=number, timestamp=timestamp, fork=rules, chain_id=chain_id, **fields)
    except BlockError as error:
        raise FileFormatError(f"{reader.name}: block: {error}") from None


def read_node_block(
    block: _Source,
    prestate: _Source | list[Any] | None = None,
    *,
    chain_id: int | None = None,
    fork: Fork | str | None = None,
) -> EvmBlock:
    """Read a block as a node gives it, and the state before it.

    Parameters
    ----------
    block : dict or path
        ``eth_getBlockByNumber`` with full transactions, with or without the envelope of JSON-RPC; a path of ``.json`` or
        ``.json.gz``. Members not known are left aside.
    prestate : dict, list or path, optional
        Output of prestateTracer: accounts by address, or a list with the result of each transaction.
    chain_id : int, optional
        Default: that of the first transaction that names one, else 1.
    fork : Fork or str, optional
        Default: as mainnet has it; must be given on other chains.

    Returns
    -------
    EvmBlock
        Each transaction with its sender, recovered from the signature or, where there is none, as ``from`` has it.

    Raises
    ------
    FileFormatError
        Naming the file, the place in it, the value and the rule; also where ``from`` or ``hash`` of a transaction is not
        what its signature and fields give, or the results are not those of the block's transactions.

    References
    ----------
    ethereum/execution-apis (eth_getBlockByNumber); go-ethereum, prestateTracer; EIP-2 (low s).

    Examples
    --------
    >>> header = {"number": "0x1", "timestamp": "0x2", "miner": "0x" + 40 * "0", "gasLimit": "0x5208", "difficulty": "0x3"}
    >>> parsed = read_node_block(header | {"transactions": []}, {"0x" + 40 * "1": {"balance": "0x7"}})
    >>> parsed.env.fork.name, len(parsed.transactions), parsed.state[b"\\x11" * 20].balance
    ('FRONTIER', 0, 7)
    """
    reader, value = opened("block", block)
    given = reader.object("block", value)
    listed = reader.array(*reader.member("", given, "transactions"))
    txs = [_transaction(reader, f"transactions[{i}]", one) for i, one in enumerate(listed)]
    if chain_id is None:
        chain_id = next((tx.chain_id for tx in txs if tx.chain_id is not None), 1)
    env = _environment(reader, given, chain_id, fork)
    txs = _recovered(reader, txs, env.fork >= Fork.HOMESTEAD)
    hashes = _hashes(reader, listed, txs)
    state: _State = {}
    if prestate is not None:
        reader, value = opened("prestate", prestate)
        state = _merged(reader, value, txs, hashes) if isinstance(value, list) else _accounts(reader, "", value)
    log.info("%s: read block %d, %d transactions, %d accounts", reader.name, env.number, len(txs), len(state))
    return EvmBlock(env, txs, state)
