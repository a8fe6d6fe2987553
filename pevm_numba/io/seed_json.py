"""PEVM-OPT-2's own JSON (serde layout): its `gas_hint` is no limit, so blocks read here cannot run out of gas.

Words and keys are arrays of bytes, words big-endian; an op is ``{"SLoad": key}``, ``{"SStore": [key, word]}``,
``{"Add": word}``, ``{"Sub": word}``, ``{"Keccak": bytes}`` or ``"NoOp"``.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..block import Block, Header
from ..errors import FileFormatError, TooLargeError
from ..machine.ops import Field, Op
from .paths import existing, reading, replacing

__all__ = ["GAS_LIMIT", "read_seed_json", "write_seed_json"]

log = logging.getLogger("pevm_numba")

#: Gas limit of every transaction read from this layout: more than a program that fits in a file can use.
GAS_LIMIT: Final = 2**40
#: Bytes of JSON read at most, so that a small gzip file cannot fill the memory.
_MAX_BYTES: Final = 2**31
#: NoOps that one NOOP op may become.
_MAX_NOOPS: Final = 10_000

_WRITTEN: Final = {Op.SLOAD: "SLoad", Op.SSTORE: "SStore", Op.ADD: "Add", Op.SUB: "Sub", Op.KECCAK: "Keccak"}
_READ: Final = {name: op for op, name in _WRITTEN.items()} | {"NoOp": Op.NOOP}
_U64: Final = 2**64 - 1

_Key = tuple[bytes, int, bytes]


# -------------------------------------------------------------------- reading


class _Checker:
    """Checks values of parsed JSON; every complaint names the file and the place, e.g. ``transactions[3].nonce``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wrong(self, place: str, value: Any, rule: str) -> FileFormatError:
        text = repr(value)
        return FileFormatError(f"{self.path}: {place} = {text if len(text) <= 80 else text[:77] + '...'}: {rule}")

    def members(self, place: str, value: Any, names: tuple[str, ...]) -> list[Any]:
        """The members of an object that has exactly these names."""
        if not isinstance(value, dict):
            raise self.wrong(place, value, f"must be an object with {', '.join(names)}")
        for name in names:
            if name not in value:
                raise self.wrong(place, sorted(value), f"member {name!r} is missing")
        if len(value) > len(names):
            extra = sorted(set(value) - set(names))[0]
            raise self.wrong(f"{place}.{extra}", value[extra], f"unknown member: only {', '.join(names)}")
        return [value[name] for name in names]

    def array(self, place: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.wrong(place, value, "must be an array")
        return value

    def octets(self, place: str, value: Any, size: int | None = None) -> bytes:
        """An array of bytes, of a given length if there is one."""
        items = self.array(place, value)
        if size is not None and len(items) != size:
            raise self.wrong(place, value, f"has {len(items)} bytes: must be {size}")
        if all(type(item) is int for item in items) and 0 <= min(items, default=0) <= max(items, default=0) <= 255:
            return bytes(items)
        i, item = next((i, x) for i, x in enumerate(items) if type(x) is not int or not 0 <= x <= 255)
        raise self.wrong(f"{place}[{i}]", item, "must be an integer in [0, 255]")

    def integer(self, place: str, value: Any) -> int:
        if type(value) is not int or not 0 <= value <= _U64:
            raise self.wrong(place, value, f"must be an integer in [0, {_U64}]")
        return value

    def key(self, place: str, value: Any) -> _Key:
        address, slot = self.members(place, value, ("address", "slot"))
        return self.octets(f"{place}.address", address, 20), int(Field.STORAGE), self.octets(f"{place}.slot", slot, 32)

    def keys(self, place: str, value: Any) -> list[_Key]:
        return [self.key(f"{place}[{i}]", item) for i, item in enumerate(self.array(place, value))]

    def word(self, place: str, value: Any) -> int:
        return int.from_bytes(self.octets(place, value, 32), "big")

    def op(self, place: str, value: Any) -> tuple[Any, ...]:
        """One op, in the form that `Block.from_programs` takes."""
        if value == "NoOp":
            return Op.NOOP, 1
        if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in _READ:
            raise self.wrong(place, value, f"must be an object with one of {', '.join(_WRITTEN.values())}, or 'NoOp'")
        name, given = next(iter(value.items()))
        op, place = _READ[name], f"{place}.{name}"
        if op is Op.NOOP:
            if given is not None:
                raise self.wrong(place, given, "must be null")
            return op, 1
        if op is Op.SLOAD:
            return op, self.key(place, given)
        if op is Op.KECCAK:
            return op, self.octets(place, given)
        if op is Op.SSTORE:
            pair = self.array(place, given)
            if len(pair) != 2:
                raise self.wrong(place, given, "must be [key, word]")
            return op, self.key(f"{place}[0]", pair[0]), self.word(f"{place}[1]", pair[1])
        return op, self.word(place, given)


def _load(path: Path) -> Any:
    """Parsed JSON, gzipped or not."""
    with reading(path, "not readable JSON"), open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        source = gzip.GzipFile(fileobj=raw) if packed else raw
        data = source.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise TooLargeError(f"{path}: more than {_MAX_BYTES} bytes of JSON: write Parquet for blocks of this size")
        return json.loads(data, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a name given twice would silently lose the first value."""
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"object has the member {next(n for n in names if names.count(n) > 1)!r} twice")
    return out


def _access_list(keys: list[_Key]) -> list[tuple[bytes, list[bytes]]]:
    """Keys in a row with one address become an address entry with its keys."""
    entries: list[tuple[bytes, list[bytes]]] = []
    for address, _, slot in keys:
        if not entries or entries[-1][0] != address:
            entries.append((address, []))
        entries[-1][1].append(slot)
    return entries


def read_seed_json(path: str | os.PathLike[str]) -> Block:
    """Read a block in PEVM-OPT-2's JSON, gzipped or not.

    Parameters
    ----------
    path : path

    Returns
    -------
    Block
        Fork `london`; gas limit `GAS_LIMIT`, which never binds; ``reads`` and ``writes`` as declared sets; ``gas_hint``
        and ``blob_size`` in `Block.meta`; one NOOP of one step for each NoOp.

    Raises
    ------
    FileFormatError
        Naming the file, the place in it, the value and the rule.
    """
    where = existing(path)
    check = _Checker(where)
    names = ("number", "timestamp", "transactions", "parent_hash")
    number, timestamp, transactions, parent = check.members("block", _load(where), names)
    columns: dict[str, Any] = {name: [] for name in _COLUMNS}
    for t, given in enumerate(check.array("transactions", transactions)):
        for name, value in zip(_COLUMNS, _transaction(check, f"transactions[{t}]", t, given)):
            columns[name].append(value)
    meta = {name: np.array(columns.pop(name), np.uint64) for name in ("gas_hint", "blob_size")}
    columns["nonces"] = np.array(columns["nonces"], np.uint64)  # NumPy makes float64 of a list of mixed sizes
    parent_hash = check.octets("parent_hash", parent, 32)
    block = Block.from_programs(
        gas_limits=[GAS_LIMIT] * len(columns["senders"]),
        number=check.integer("number", number),
        header=Header(timestamp=check.integer("timestamp", timestamp), parent_hash=parent_hash),
        meta=meta,
        **columns,
    )
    log.info("%s: read block %d, %d transactions", where, block.number, block.n_tx)
    return block


_COLUMNS: Final = (
    "programs", "senders", "nonces", "access_lists", "declared_reads", "declared_writes", "gas_hint", "blob_size",
)  # fmt: skip


def _transaction(check: _Checker, place: str, t: int, given: Any) -> tuple[Any, ...]:
    """Values of one transaction, in the order of `_COLUMNS`."""
    names = ("id", "reads", "writes", "gas_hint", "metadata")
    identity, reads, writes, hint, metadata = check.members(place, given, names)
    if check.integer(f"{place}.id", identity) != t:
        raise check.wrong(f"{place}.id", identity, f"must be {t}, its position")
    inner = f"{place}.metadata"
    names = ("program", "access_list", "blob_size", "nonce", "from")
    program, listed, blob_size, nonce, sender = check.members(inner, metadata, names)
    ops = check.array(f"{inner}.program", program)
    return (
        [check.op(f"{inner}.program[{i}]", op) for i, op in enumerate(ops)],
        check.octets(f"{inner}.from", sender, 20),
        check.integer(f"{inner}.nonce", nonce),
        _access_list(check.keys(f"{inner}.access_list", listed)),
        check.keys(f"{place}.reads", reads),
        check.keys(f"{place}.writes", writes),
        check.integer(f"{place}.gas_hint", hint),
        check.integer(f"{inner}.blob_size", blob_size),
    )


# -------------------------------------------------------------------- writing


def write_seed_json(path: str | os.PathLike[str], block: Block) -> None:
    """Write a block in PEVM-OPT-2's JSON; gzipped if the name ends in ``.gz``.

    Parameters
    ----------
    path : path
    block : Block
        Only what the layout can say: SLOAD, SSTORE of a literal, ADD, SUB, KECCAK and NOOP on storage keys, and no
        pre-state. Fork, gas limits and chain facts are left out; a transaction that declares nothing gets the keys that
        its program loads and stores, as that system's generator does.

    Raises
    ------
    FileFormatError
        Naming transaction, op and rule where the layout cannot express the block.
    """
    where = Path(path)
    text = json.dumps(_plain(where, block), separators=(",", ":"))
    with replacing(where) as (temporary,):
        data = text.encode()
        if where.name.endswith(".gz"):
            packed = io.BytesIO()  # without name and time, so that equal blocks give equal files
            with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
                file.write(data)
            data = packed.getvalue()
        temporary.write_bytes(data)
    log.info("%s: wrote block %d, %d transactions", where, block.number, block.n_tx)


def _plain(path: Path, block: Block) -> dict[str, Any]:
    """A block as the JSON structure."""
    if block.pre_values.any():
        k = int(np.flatnonzero(block.pre_values.any(axis=1))[0])
        raise FileFormatError(f"{path}: {block.key_name(k)} has a value before the block: this layout has no pre-state")
    hints, sizes = (_numbers(block, name) for name in ("gas_hint", "blob_size"))
    transactions = []
    for t, program in enumerate(block.to_programs()):
        ops = _ops(f"{path}: transaction {t}", program)
        used = {name: [op[1] for op in program if op[0] is code] for name, code in _USES}
        transactions.append(
            {
                "id": t,
                "reads": _declared(path, block, t, "reads", used["reads"]),
                "writes": _declared(path, block, t, "writes", used["writes"]),
                "gas_hint": hints[t],
                "metadata": {
                    "program": ops,
                    "access_list": _listed_keys(path, block, t),
                    "blob_size": sizes[t],
                    "nonce": int(block.nonce[t]),
                    "from": block.sender[t].tolist(),
                },
            }
        )
    return {
        "number": block.number,
        "timestamp": block.header.timestamp or 0,
        "transactions": transactions,
        "parent_hash": list(block.header.parent_hash or bytes(32)),
    }


_USES: Final = (("reads", Op.SLOAD), ("writes", Op.SSTORE))


def _numbers(block: Block, name: str) -> list[int]:
    if block.meta is None or name not in block.meta.column_names:
        return [0] * block.n_tx
    return [value or 0 for value in block.meta[name].to_pylist()]


def _key(place: str, key: _Key) -> dict[str, list[int]]:
    if key[1] != Field.STORAGE:
        raise FileFormatError(f"{place} names {Field(key[1]).name}: this layout has storage keys only")
    return {"address": list(key[0]), "slot": list(key[2])}


def _ops(place: str, program: list[tuple[Any, ...]]) -> list[Any]:
    return [item for i, op in enumerate(program) for item in _op(f"{place} op {i}", op)]


def _op(place: str, op: tuple[Any, ...]) -> list[Any]:
    """One op as the JSON ops that it becomes: itself, or several NoOps."""
    code = op[0]
    if code is Op.NOOP:
        if op[1] > _MAX_NOOPS:
            raise FileFormatError(f"{place} is NOOP {op[1]}: this layout repeats NoOp, at most {_MAX_NOOPS} times")
        return ["NoOp"] * op[1]
    if code not in _WRITTEN:
        raise FileFormatError(f"{place} is {code.name}: this layout has only {', '.join(_WRITTEN.values())} and NoOp")
    name = _WRITTEN[code]
    if code is Op.SLOAD:
        return [{name: _key(place, op[1])}]
    if code is Op.KECCAK:
        return [{name: list(op[1])}]
    if op[-1] == "TOP":
        raise FileFormatError(f"{place} is SSTORE TOP: this layout stores literals only")
    word = list(op[-1].to_bytes(32, "big"))
    return [{name: [_key(place, op[1]), word] if code is Op.SSTORE else word}]


def _declared(path: Path, block: Block, t: int, name: str, used: list[_Key]) -> list[Any]:
    """Declared keys of a transaction, or those that its program uses, in order of first use."""
    kind = name[:-1]
    place = f"{path}: transaction {t} declared_{name}"
    if getattr(block, f"declares_{name}")[t]:
        indptr, keys = getattr(block, f"{kind}_indptr"), getattr(block, f"{kind}_key")
        return [_key(place, block.key(int(k))) for k in keys[indptr[t] : indptr[t + 1]]]
    return [_key(place, key) for key in dict.fromkeys(used)]


def _listed_keys(path: Path, block: Block, t: int) -> list[Any]:
    """Access list of a transaction as keys; an entry that would be lost or merged when read back is an error."""
    entries = block.list_entry[block.list_indptr[t] : block.list_indptr[t + 1]].tolist()
    out: list[Any] = []
    previous = b""
    for i, entry in enumerate(entries):
        if entry >= 0:
            out.append(_key(f"{path}: transaction {t} access_list[{i}]", block.key(entry)))
            continue
        address = block.list_address[-1 - entry].tobytes()
        bare = i + 1 == len(entries) or entries[i + 1] < 0
        if bare or address == previous:
            what = "an address without keys" if bare else "the same address twice in a row"
            raise FileFormatError(f"{path}: transaction {t} access_list[{i}] is {what}: this layout lists keys only")
        previous = address
    return out
