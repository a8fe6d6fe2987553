"""Joining and cutting blocks. A cut keeps the whole pre-state: the transactions before it are left out, not run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import door
from .errors import BlockError
from .machine.ops import Op

if TYPE_CHECKING:
    from .block import Block

__all__ = ["columns_of", "concat_columns", "joinable", "slice_columns"]


def columns_of(block: Block) -> dict[str, Any]:
    """The arrays of a block in the form that `Block.from_arrays` takes, with every key of the block in the pre-state."""
    same = (
        "sender", "nonce", "gas_limit", "op_indptr", "op_code", "op_key", "op_arg", "words", "payload_indptr",
        "payload_data", "key_address", "key_field", "key_slot", "list_indptr", "list_entry", "list_address",
    )  # fmt: skip
    columns = {name: getattr(block, name) for name in same}
    columns["declared_reads"] = (block.read_indptr, block.read_key, block.declares_reads)
    columns["declared_writes"] = (block.write_indptr, block.write_key, block.declares_writes)
    columns["state_key"], columns["state_value"] = np.arange(block.n_keys), block.pre_values
    return columns


def slice_columns(block: Block, start: int, stop: int) -> dict[str, Any]:
    """Columns of the transactions start:stop, on the whole pre-state."""
    out = columns_of(block)
    for name in ("sender", "nonce", "gas_limit"):
        out[name] = out[name][start:stop]
    parts = {"op_indptr": ("op_code", "op_key", "op_arg"), "list_indptr": ("list_entry",)}
    for name, members in parts.items():
        offsets = out[name][start : stop + 1]
        out[name] = offsets - offsets[0]
        for member in members:
            out[member] = out[member][offsets[0] : offsets[-1]]
    for name in ("declared_reads", "declared_writes"):
        indptr, key, declares = out[name]
        offsets = indptr[start : stop + 1]
        out[name] = (offsets - offsets[0], key[offsets[0] : offsets[-1]], declares[start:stop])
    return out


def joinable(blocks: Iterable[Block], fork: str | None) -> list[Block]:
    """The blocks as a list, or a BlockError if there is none, one is no Block, or no fork is named where they differ."""
    from .block import Block

    listed: list[Block] = door.items("blocks", blocks, "Block")
    for i, block in enumerate(listed):
        door.instance(f"blocks[{i}]", block, Block)
    if not listed:
        raise BlockError("concat of 0 blocks: needs at least one")
    forks = sorted({block.fork for block in listed})
    if fork is None and len(forks) > 1:
        raise BlockError(f"blocks of several forks ({', '.join(forks)}): say which prices hold with fork=")
    return listed


def concat_columns(blocks: Sequence[Block]) -> dict[str, Any]:
    """Columns of several blocks one after the other; a key's pre-value is that of the first block that has it."""
    every = [columns_of(block) for block in blocks]
    keys = _starts(len(c["key_field"]) for c in every)
    words, payloads = _starts(len(c["words"]) for c in every), _starts(len(c["payload_indptr"]) - 1 for c in every)
    named = _starts(len(c["list_address"]) for c in every)
    for i, c in enumerate(every):
        code, arg = c["op_code"], c["op_arg"].astype(np.int64)
        shift = np.where(code == Op.KECCAK, payloads[i], np.where(np.isin(code, (Op.NOOP, Op.BURN)), 0, words[i]))
        c["op_arg"] = np.where(np.isin(code, (Op.NOOP, Op.BURN)), arg, np.where(arg < 0, arg, arg + shift))
        c["op_key"] = np.where(c["op_key"] < 0, -1, c["op_key"] + keys[i])
        entry = c["list_entry"].astype(np.int64)
        c["list_entry"] = np.where(entry < 0, entry - named[i], entry + keys[i])
        for name in ("declared_reads", "declared_writes"):
            indptr, key, declares = c[name]
            c[name] = (indptr, key + keys[i], declares)
    out: dict[str, Any] = {}
    for name in every[0]:
        if name.endswith("indptr"):
            out[name] = _join_offsets([c[name] for c in every])
        elif name.startswith("declared"):
            parts = list(zip(*(c[name] for c in every)))
            out[name] = (_join_offsets(parts[0]), np.concatenate(parts[1]), np.concatenate(parts[2]))
        elif name != "state_key":
            out[name] = np.concatenate([c[name] for c in every])
    _, first = door.intern_rows(out["key_address"], out["key_field"], out["key_slot"])
    out["state_key"], out["state_value"] = first, out["state_value"][first]
    return out


def _starts(sizes: Any) -> list[int]:
    return [0, *np.cumsum(list(sizes)).tolist()]


def _join_offsets(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    starts = _starts(int(part[-1]) for part in parts)
    return np.concatenate([[0], *(part[1:] + start for part, start in zip(parts, starts))])
