"""The parts of a `Block`, checked together: words and payloads come out in the order of the ops that use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import door
from ._kernels import block as _k
from ._kernels.jit import inputs
from .errors import BlockError
from .machine.ops import MAX_COUNT, TOP, Op

__all__ = ["access_lists", "declared", "footprint", "programs", "transactions"]

_OP_RULES: Final = {
    1: ("op_code", "an op code is in 0..8"),
    2: ("op_key", "SLOAD, SSTORE, TOUCH and CREDIT name a row of the key table"),
    3: ("op_key", "CREDIT names a balance (field 1)"),
    4: ("op_key", "an op without a key has -1"),
    5: ("op_arg", "SLOAD and TOUCH have -1"),
    6: ("op_arg", "SSTORE has a row of words, or -1 for the stack top"),
    7: ("op_arg", "KECCAK has a payload"),
    8: ("op_arg", f"NOOP and BURN have a count in 0..{MAX_COUNT}"),
    9: ("op_arg", "ADD, SUB and CREDIT have a row of words"),
}
_LIST_RULES: Final = {
    1: "a key row must be in the key table",
    2: "an address entry must be a row of list_address",
    3: "only storage keys (field 0) can be listed",
    4: "a key must follow an entry of its own address",
}


def transactions(sender: ArrayLike, nonce: ArrayLike | None, gas_limit: ArrayLike | None) -> dict[str, NDArray[Any]]:
    """Checked per-transaction arrays."""
    senders = door.array("sender", sender, np.uint8, (None, 20))
    n = len(senders)
    if n >= 2**31 - 1:
        raise BlockError(f"{n} transactions: must be fewer than 2**31 - 1")
    return {
        "sender": senders.copy(),
        "nonce": door.array("nonce", np.zeros(n, np.uint64) if nonce is None else nonce, np.uint64, (n,)).copy(),
        "gas_limit": door.array(
            "gas_limit", np.full(n, door.DEFAULT_GAS_LIMIT) if gas_limit is None else gas_limit, np.int64, (n,), low=0
        ).copy(),
    }


def programs(
    rows: door.KeyRows,
    n_tx: int,
    ops: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    words: ArrayLike | None,
    payloads: tuple[ArrayLike | None, ArrayLike | None],
) -> dict[str, NDArray[Any]]:
    """Checked programs, with words and payloads in the order of the ops that use them."""
    code = door.array("op_code", ops[1], np.uint8, (None,))
    n = len(code)
    if n >= 2**31 - 1:
        raise BlockError(f"{n} ops: must be fewer than 2**31 - 1")
    indptr = door.csr("op_indptr", ops[0], n_tx, n)
    key = door.array("op_key", ops[2], np.int32, (n,))
    arg = door.array("op_arg", ops[3], np.int32, (n,))
    literals = door.array("words", np.zeros((0, 4), np.uint64) if words is None else words, np.uint64, (None, 4))
    data = door.array("payload_data", np.zeros(0, np.uint8) if payloads[1] is None else payloads[1], np.uint8, (None,))
    if len(data) >= 2**31:
        raise BlockError(f"payload_data has {len(data)} bytes: must be fewer than 2**31")
    ends = door.csr("payload_indptr", [0] if payloads[0] is None else payloads[0], None, len(data))
    place, rule = _k.check_ops(*inputs(code, key, arg, rows.kind), len(literals), len(ends) - 1)
    if rule:
        name, text = _OP_RULES[rule]
        value = {"op_code": code, "op_key": key, "op_arg": arg}[name][place]
        tx = int(np.searchsorted(indptr, place, side="right")) - 1
        raise BlockError(f"{name}[{place}] = {value} (transaction {tx}, op code {code[place]}): {text}")

    arg = arg.copy()
    literal = np.flatnonzero(((code == Op.SSTORE) & (arg != TOP)) | np.isin(code, (Op.ADD, Op.SUB, Op.CREDIT)))
    literals = literals[arg[literal]]
    arg[literal] = np.arange(len(literal))
    hashed = np.flatnonzero(code == Op.KECCAK)
    ends, data = _payloads(ends, data, arg[hashed])
    arg[hashed] = np.arange(len(hashed))
    return {
        "op_indptr": indptr.copy(),
        "op_code": code.copy(),
        "op_key": rows.use(key),
        "op_arg": arg,
        "words": literals,
        "payload_indptr": ends,
        "payload_data": data,
    }


def _payloads(
    indptr: NDArray[np.int64], data: NDArray[np.uint8], used: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """One payload for each KECCAK, in order; a shared one is repeated, so its size counts each time."""
    if len(used) == len(indptr) - 1 and (used == np.arange(len(used))).all():
        return indptr.copy(), data.copy()
    ends = np.zeros(len(used) + 1, np.int64)
    np.cumsum((indptr[1:] - indptr[:-1])[used], out=ends[1:])
    if ends[-1] >= 2**31:
        raise BlockError(f"payload_data: {len(used)} KECCAKs hash {ends[-1]} bytes together: must be fewer than 2**31")
    out = np.empty(ends[-1], np.uint8)
    _k.gather_bytes(*inputs(indptr, data, used, ends), out)
    return ends, out


def access_lists(
    rows: door.KeyRows, n_tx: int, indptr: ArrayLike | None, entry: ArrayLike | None, address: ArrayLike | None
) -> dict[str, NDArray[Any]]:
    """Checked EIP-2930 lists; addresses in the order of the entries that name them."""
    entries = door.array("list_entry", [] if entry is None else entry, np.int32, (None,))
    given = door.array("list_address", np.zeros((0, 20), np.uint8) if address is None else address, np.uint8, (None, 20))
    offsets = door.csr("list_indptr", np.zeros(n_tx + 1, np.int64) if indptr is None else indptr, n_tx, len(entries))
    tx, row, rule = _k.check_access_list(*inputs(offsets, entries, given, rows.address, rows.kind))
    if rule:
        raise BlockError(f"list_entry[{row}] = {entries[row]} (transaction {tx}): {_LIST_RULES[rule]}")
    entries = entries.copy()
    named = np.flatnonzero(entries < 0)
    addresses = given[-1 - entries[named]]
    entries[named] = -1 - np.arange(len(named))
    return {"list_indptr": offsets.copy(), "list_entry": rows.use(entries), "list_address": addresses}


def declared(
    rows: door.KeyRows, n_tx: int, name: str, given: tuple[ArrayLike, ArrayLike, ArrayLike] | None
) -> dict[str, NDArray[Any]]:
    """Checked declared reads or writes."""
    if given is None:
        given = (np.zeros(n_tx + 1, np.int64), np.zeros(0, np.int32), np.zeros(n_tx, bool))
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise BlockError(f"declared_{name}s = {door.shown(given)}: must be (indptr, rows, declares)")
    keys = door.array(f"declared_{name}s rows", given[1], np.int32, (None,), low=0, high=len(rows) - 1)
    offsets = door.csr(f"declared_{name}s indptr", given[0], n_tx, len(keys))
    declares = door.array(f"declared_{name}s declares", given[2], np.bool_, (n_tx,))
    wrong = np.flatnonzero(~declares & (offsets[1:] > offsets[:-1]))
    if len(wrong):
        raise BlockError(f"declared_{name}s: transaction {wrong[0]} has rows but declares is False")
    return {
        f"{name}_indptr": offsets.copy(),
        f"{name}_key": rows.use(keys),
        f"declares_{name}s": declares.copy(),
    }


def footprint(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Distinct keys and modes per transaction, from the programs."""
    indptr = np.empty(len(arrays["op_indptr"]), np.int64)
    size = int(np.count_nonzero(arrays["op_key"] >= 0))
    keys, modes = np.empty(size, np.int32), np.empty(size, np.uint8)
    program = inputs(arrays["op_indptr"], arrays["op_code"], arrays["op_key"])
    total = _k.static_sets(*program, len(arrays["key_field"]), indptr, keys, modes)
    return {
        "footprint_indptr": indptr,
        "footprint_keys": keys[:total].copy(),
        "footprint_modes": modes[:total].copy(),
    }
