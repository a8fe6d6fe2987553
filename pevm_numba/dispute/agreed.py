"""The agreement about a block as a party makes it: with all that is below its roots, to prove any part of it."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import keccak_bytes as _hashing
from .._kernels import merkle as _k
from .._kernels.jit import inputs
from ..block import Block
from ..errors import BlockError
from ..evm.hashing import keccak, keccak_many
from ..machine.gas import GasSchedule, gas_schedule
from .agreement import Agreement
from .hashing import EMPTY, Tag, tagged
from .machine_state import MAX_PAYLOAD, TxHeader
from .op_table import op_table
from .proofs import Proof, index_path
from .state_tree import StateTree, key_paths
from .tree import Tree

__all__ = ["AgreedBlock"]

#: Bytes of a leaf before its value: what it is, and its path.
_HEAD: Final = len(tagged(Tag.LEAF, bytes(32)))


def _forest(indptr: NDArray[np.int64], paths: NDArray[np.uint8], digests: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Root of each tree over leaves indptr[t]:indptr[t + 1] with ascending paths; all (n, 32) uint8."""
    roots = np.empty((len(indptr) - 1, 4), np.uint64)
    lanes = (np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 4) for rows in (paths, digests))
    _k.forest_roots(*inputs(indptr, *lanes), roots)
    return roots.view(np.uint8)


def _list_roots(indptr: NDArray[np.int64], ends: NDArray[np.int64], data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Root of the tree of each list of items indptr[t]:indptr[t + 1], in which positions are the paths.

    Item i is ``data[ends[i]:ends[i + 1]]`` after `_HEAD` zero bytes, which become the head of its leaf.
    """
    n = len(ends) - 1
    paths = np.zeros((n, 32), np.uint8)
    index = np.arange(n) - np.repeat(indptr[:-1], np.diff(indptr))
    paths[:, 24:] = index.astype(">u8").view(np.uint8).reshape(-1, 8)
    data[ends[:-1, None] + np.arange(8, _HEAD)] = paths
    digests = np.empty((n, 4), np.uint64)
    _hashing.hash_many(*inputs(data, ends), np.empty(25, np.uint64), digests)
    return _forest(indptr, paths, digests.view(np.uint8))


class AgreedBlock:
    """A block in a serial order at given prices.

    Parameters
    ----------
    block : Block
    order : (n_tx,) integers, optional
        The serial order that counts; default block order.
    gas : str or GasSchedule, optional
        Prices; default those of the block's fork.

    Raises
    ------
    BlockError
        If an argument is none of these, or a payload has more than 2**17 bytes: no referee would hash it.

    Examples
    --------
    >>> made = AgreedBlock(Block.from_programs([[("BURN", 5)], []]), order=[1, 0])
    >>> made.header(0).n_ops, made.header(1).n_ops, made.prove(1).root() == made.agreement.transactions
    (0, 1, True)
    """

    def __init__(self, block: Block, order: ArrayLike | None = None, gas: str | GasSchedule | None = None) -> None:
        door.instance("block", block, Block)
        sizes = np.diff(block.payload_indptr)
        if sizes.max(initial=0) > MAX_PAYLOAD:
            at = int(sizes.argmax())
            raise BlockError(f"block: payload {at} has {sizes[at]} bytes: must have at most {MAX_PAYLOAD} for a dispute")
        self.block = block
        self.prices = gas_schedule(block.fork if gas is None else gas)
        every = np.arange(block.n_tx, dtype=np.int32)
        self.order = every if order is None else door.permutation("order", order, block.n_tx)
        self.paths = key_paths(block)
        self._op_ends, self._op_data = op_table(block, _HEAD)
        self._headers = self._make_headers()

    def _make_headers(self) -> list[TxHeader]:
        """By block position."""
        block = self.block
        programs = _list_roots(block.op_indptr, self._op_ends, self._op_data)
        warm, is_key = self._warm_roots(), block.list_entry >= 0
        totals = np.concatenate([[0], np.cumsum(is_key)])
        keys = totals[block.list_indptr[1:]] - totals[block.list_indptr[:-1]]
        addresses = np.diff(block.list_indptr) - keys
        counts = zip(block.gas_limit.tolist(), addresses.tolist(), keys.tolist(), np.diff(block.op_indptr).tolist())
        return [TxHeader(*one, warm[t].tobytes(), programs[t].tobytes()) for t, one in enumerate(counts)]

    def _warm_roots(self) -> NDArray[np.uint8]:
        """Root of the tree of each transaction's listed keys."""
        block, n_tx = self.block, self.block.n_tx
        rank = np.empty(block.n_keys, np.int64)
        rank[np.lexsort(self.paths.view(">u8").T[::-1])] = np.arange(block.n_keys)
        at = np.flatnonzero(block.list_entry >= 0)
        who, key = np.searchsorted(block.list_indptr, at, side="right") - 1, block.list_entry[at]
        in_order = np.lexsort((rank[key], who))
        who, key = who[in_order], key[in_order]
        new = np.ones(len(key), bool)
        new[1:] = (who[1:] != who[:-1]) | (key[1:] != key[:-1])
        who, key = who[new], key[new]
        head, raw = tagged(Tag.LEAF, b""), self.paths[key].tobytes()
        leaves = keccak_many([head + raw[32 * i : 32 * i + 32] + b"\x01" for i in range(len(key))])
        indptr = np.searchsorted(who, np.arange(n_tx + 1)).astype(np.int64)
        return _forest(indptr, self.paths[key], np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, 32))

    @cached_property
    def agreement(self) -> Agreement:
        """What a referee knows."""
        n_tx = self.block.n_tx
        rows = np.frombuffer(b"".join(bytes(_HEAD) + self._headers[t].encode() for t in self.order.tolist()), np.uint8)
        ends = np.arange(n_tx + 1, dtype=np.int64) * (len(rows) // max(1, n_tx))
        root = _list_roots(np.array([0, n_tx], np.int64), ends, rows.copy())[0].tobytes() if n_tx else EMPTY
        return Agreement(n_tx, self.prices, self.before.root, root)

    @cached_property
    def before(self) -> StateTree:
        """State before the block; not to be changed."""
        return StateTree(self.paths, self.block.pre_values)

    @cached_property
    def _transactions(self) -> Tree:
        return Tree({index_path(p): self._headers[t].encode() for p, t in enumerate(self.order.tolist())}, keccak)

    def header(self, position: int) -> TxHeader:
        """The transaction at a position of the serial order."""
        return self._headers[self.order[position]]

    def prove(self, position: int) -> Proof:
        """That it is there."""
        return self._transactions.prove(index_path(position))

    def header_of(self, tx: int) -> TxHeader:
        """The transaction at a block position."""
        return self._headers[tx]

    def ops_of(self, tx: int) -> list[bytes]:
        """Its ops."""
        first, last = int(self.block.op_indptr[tx]), int(self.block.op_indptr[tx + 1])
        ends = self._op_ends[first : last + 1].tolist()
        return [self._op_data[start + _HEAD : stop].tobytes() for start, stop in itertools.pairwise(ends)]

    def warm_of(self, tx: int) -> Tree:
        """Tree of the keys that its access list names."""
        entries = self.block.list_entry[self.block.list_indptr[tx] : self.block.list_indptr[tx + 1]]
        return Tree({self.paths[k].tobytes(): b"\x01" for k in entries.tolist() if k >= 0}, keccak)
