"""Plain-Python programs and their arrays: comfortable and slow, for notebooks, tests and examples of a few thousand ops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from . import door, html
from .errors import BlockError
from .machine.ops import MAX_COUNT, TOP, Op

if TYPE_CHECKING:
    from .block import Block

__all__ = ["columns", "html_of", "key_tuple", "limbs", "op_counts", "programs_of", "state_of"]

_PER_TX: Final = ("senders", "nonces", "gas_limits", "access_lists", "declared_reads", "declared_writes")


def _bytes(name: str, value: Any, size: int) -> bytes:
    if isinstance(value, bytes | bytearray):
        if len(value) != size:
            raise BlockError(f"{name} = {bytes(value).hex()!r}: must be {size} bytes")
        return bytes(value)
    return door.integer(name, value, 0, 2 ** (8 * size) - 1).to_bytes(size, "big")


def key_tuple(name: str, key: Any) -> tuple[bytes, int, bytes]:
    """A key as (address bytes, field, slot bytes), from that form or one with ints, or (address, slot) for storage."""
    if not isinstance(key, tuple | list) or len(key) not in (2, 3):
        raise BlockError(f"{name} = {door.shown(key)}: a key is (address, field, slot), or (address, slot) for storage")
    address, kind, slot = (key[0], 0, key[1]) if len(key) == 2 else key
    return (
        _bytes(f"{name} address", address, 20),
        door.integer(f"{name} field", kind, 0, 3),
        _bytes(f"{name} slot", slot, 32),
    )


def limbs(values: Iterable[int]) -> NDArray[np.uint64]:
    """Ints in [0, 2**256) as (n, 4) uint64 limbs, least significant first."""
    raw = b"".join(value.to_bytes(32, "little") for value in values)
    return np.frombuffer(raw, np.uint64).reshape(-1, 4).copy()


def integers(values: NDArray[np.uint64]) -> list[int]:
    """The inverse of `limbs`."""
    raw = np.ascontiguousarray(values).tobytes()
    return [int.from_bytes(raw[i : i + 32], "little") for i in range(0, len(raw), 32)]


def op_counts(indptr: NDArray[np.int64], code: NDArray[np.uint8], arg: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n_tx,) int64: micro-ops of each program, a NOOP n counted as the n opcodes that it stands for."""
    steps = np.where(code == Op.NOOP, arg, 1).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(steps)])
    return total[indptr[1:]] - total[indptr[:-1]]


class _Builder:
    """Collects ops; keys go to one table, interned later."""

    def __init__(self) -> None:
        self.code: list[int] = []
        self.key: list[int] = []
        self.arg: list[int] = []
        self.words: list[int] = []
        self.payloads: list[bytes] = []
        self.keys: dict[tuple[bytes, int, bytes], int] = {}

    def row(self, name: str, key: Any) -> int:
        return self.keys.setdefault(key_tuple(name, key), len(self.keys))

    def add(self, place: str, op: Sequence[Any]) -> None:
        if not isinstance(op, tuple | list) or not op:
            raise BlockError(f"{place} = {door.shown(op)}: an op is a tuple such as ('SLOAD', key)")
        try:
            code = Op[op[0].upper()] if isinstance(op[0], str) else Op(op[0])
        except (KeyError, ValueError):
            raise BlockError(f"{place}: op {door.shown(op[0])} is unknown: one of {', '.join(Op.__members__)}") from None
        rest = list(op[1:])
        wanted = int(code.takes_key) + int(code.takes_word or code.takes_count or code is Op.KECCAK)
        if len(rest) != wanted:
            raise BlockError(f"{place}: {code.name} has {len(rest)} operands: must be {wanted}")
        self.code.append(int(code))
        self.key.append(self.row(f"{place} key", rest.pop(0)) if code.takes_key else -1)
        self.arg.append(self._argument(place, code, rest))

    def _argument(self, place: str, code: Op, rest: list[Any]) -> int:
        if not rest:
            return -1
        value = rest[0]
        if code is Op.SSTORE and (value is None or (isinstance(value, str) and value.upper() == "TOP")):
            return TOP
        if code is Op.KECCAK:
            if not isinstance(value, bytes | bytearray):
                raise BlockError(f"{place}: KECCAK of {door.shown(value)}: must be bytes")
            self.payloads.append(bytes(value))
            return len(self.payloads) - 1
        if code.takes_count:
            return door.integer(f"{place} count", value, 0, MAX_COUNT)
        self.words.append(door.integer(f"{place} value", value, 0, 2**256 - 1))
        return len(self.words) - 1


def columns(
    programs: Iterable[Sequence[Sequence[Any]]],
    state: Mapping[Any, int] | None,
    per_tx: Sequence[Iterable[Any] | None],
) -> dict[str, Any]:
    """Arguments of `Block.from_arrays` for plain programs; `per_tx` holds the lists that `_PER_TX` names."""
    builder, ends = _Builder(), [0]
    for t, program in enumerate(door.items("programs", programs, "programs")):
        for i, op in enumerate(door.items(f"programs[{t}]", program, "ops such as ('SLOAD', key)")):
            builder.add(f"transaction {t} op {i}", op)
        ends.append(len(builder.code))
    n_tx = len(ends) - 1
    lists = {name: _one_each(name, given, n_tx) for name, given in zip(_PER_TX, per_tx)}
    state = {} if state is None else state
    door.instance("state", state, Mapping, " from key to int")
    out: dict[str, Any] = _access_lists(builder, n_tx, lists["access_lists"])
    out["nonce"], out["gas_limit"] = lists["nonces"], lists["gas_limits"]
    for name in ("declared_reads", "declared_writes"):
        out[name] = _declared(builder, name, lists[name])
    items = [(builder.row("state key", k), door.integer(f"state[{k!r}]", v, 0, 2**256 - 1)) for k, v in state.items()]
    out["state_key"], out["state_value"] = [row for row, _ in items], limbs(value for _, value in items)
    who = range(1, n_tx + 1) if lists["senders"] is None else lists["senders"]
    sender = b"".join(_bytes(f"senders[{t}]", address, 20) for t, address in enumerate(who))
    lengths = [len(data) for data in builder.payloads]
    keys = list(builder.keys)
    return out | {
        "sender": np.frombuffer(sender, np.uint8).reshape(n_tx, 20),
        "op_indptr": ends,
        "op_code": builder.code,
        "op_key": builder.key,
        "op_arg": builder.arg,
        "words": limbs(builder.words),
        "payload_indptr": np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        "payload_data": np.frombuffer(b"".join(builder.payloads), np.uint8),
        "key_address": np.frombuffer(b"".join(k[0] for k in keys), np.uint8).reshape(-1, 20),
        "key_field": np.array([k[1] for k in keys], np.uint8),
        "key_slot": np.frombuffer(b"".join(k[2] for k in keys), np.uint8).reshape(-1, 32),
    }


def _one_each(name: str, given: Iterable[Any] | None, n_tx: int) -> list[Any] | None:
    """The list of that name, with an entry for each transaction."""
    if given is None:
        return None
    entries = door.items(name, given, "one entry for each transaction")
    if len(entries) != n_tx:
        raise BlockError(f"{name} has {len(entries)} entries: must be {n_tx}, one a transaction")
    return entries


def _access_lists(builder: _Builder, n_tx: int, given: Sequence[Any] | None) -> dict[str, Any]:
    ends, entries = [0], list[int]()
    addresses: list[bytes] = []
    for t in range(n_tx):
        entry = () if given is None else given[t]
        for item in door.items(f"access_lists[{t}]", entry, "entries (address, [slot, ...])"):
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise BlockError(f"access_lists[{t}]: {door.shown(item)}: an entry is (address, [slot, ...])")
            address = _bytes(f"access_lists[{t}] address", item[0], 20)
            entries.append(-1 - len(addresses))
            addresses.append(address)
            slots = door.items(f"access_lists[{t}] slots", item[1], "slots, each bytes of length 32 or an int")
            entries.extend(builder.row(f"access_lists[{t}]", (address, 0, slot)) for slot in slots)
        ends.append(len(entries))
    table = np.frombuffer(b"".join(addresses), np.uint8).reshape(-1, 20)
    return {"list_indptr": ends, "list_entry": entries, "list_address": table}


def _declared(builder: _Builder, name: str, given: Sequence[Sequence[Any] | None] | None) -> Any:
    if given is None:
        return None
    ends, rows = [0], list[int]()
    for t, keys in enumerate(given):
        chosen = door.items(f"{name}[{t}]", () if keys is None else keys, "keys (address, field, slot), or None")
        rows.extend(builder.row(f"{name}[{t}]", key) for key in chosen)
        ends.append(len(rows))
    return ends, rows, np.array([keys is not None for keys in given], bool)


def programs_of(block: Block) -> list[list[tuple[Any, ...]]]:
    """The programs of a block in plain Python."""
    words, data = integers(block.words), block.payload_data.tobytes()
    out = []
    for t in range(block.n_tx):
        program: list[tuple[Any, ...]] = []
        for i in range(block.op_indptr[t], block.op_indptr[t + 1]):
            code, arg = Op(int(block.op_code[i])), int(block.op_arg[i])
            op: list[Any] = [code]
            if code.takes_key:
                op.append(block.key(int(block.op_key[i])))
            if code is Op.KECCAK:
                op.append(data[block.payload_indptr[arg] : block.payload_indptr[arg + 1]])
            elif code.takes_count:
                op.append(arg)
            elif code.takes_word:
                op.append("TOP" if arg == TOP else words[arg])
            program.append(tuple(op))
        out.append(program)
    return out


def access_lists_of(block: Block) -> list[list[tuple[bytes, list[bytes]]]]:
    """The access lists of a block in plain Python, as `Block.from_programs` takes them."""
    out: list[list[tuple[bytes, list[bytes]]]] = []
    for t in range(block.n_tx):
        entries: list[tuple[bytes, list[bytes]]] = []
        for e in block.list_entry[block.list_indptr[t] : block.list_indptr[t + 1]]:
            if e < 0:
                entries.append((block.list_address[-1 - e].tobytes(), []))
            else:
                entries[-1][1].append(block.key_slot[e].tobytes())
        out.append(entries)
    return out


def state_of(block: Block, values: NDArray[np.uint64]) -> dict[tuple[bytes, int, bytes], int]:
    """The non-zero keys of `values` (n_keys, 4) as a dict."""
    known = np.flatnonzero(values.any(axis=1))
    return {block.key(int(k)): value for k, value in zip(known, integers(values[known]))}


def html_of(block: Block) -> str:
    """The block at a glance, for notebooks: sizes, ops, the hottest key, and its first transactions."""
    ops = np.bincount(block.op_code, minlength=len(Op))
    facts: list[tuple[str, Any]] = [
        ("transactions", block.n_tx), ("keys", block.n_keys), ("accesses", len(block.footprint_keys)),
        ("ops", ", ".join(f"{ops[op]:,} {op.name}" for op in Op if ops[op]) or "none"), ("fork", block.fork),
    ]  # fmt: skip
    if len(block.footprint_keys):
        uses = np.bincount(block.footprint_keys)
        hot = int(uses.argmax())
        facts.append(("hottest key", f"{block.key_name(hot)}: {uses[hot]:,} transactions"))
    rows = (
        (t, f"0x{block.sender[t].tobytes().hex()}", int(block.nonce[t]), int(block.gas_limit[t]),
         int(block.op_indptr[t + 1] - block.op_indptr[t]))
        for t in range(block.n_tx)
    )  # fmt: skip
    heads = ("transaction", "sender", "nonce", "gas limit", "ops")
    return html.table(f"Block {block.number}", facts, heads, rows, block.n_tx, "transactions")
