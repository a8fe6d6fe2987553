"""The tree over a block's state: its shape is that of all the block's keys, its root that of those with a value alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import keccak_bytes as _hashing
from .._kernels import merkle as _k
from .._kernels.jit import inputs
from ..block import Block
from ..errors import BlockError
from ..programs import integers, limbs
from .hashing import EMPTY, Tag
from .proofs import EMPTY_PROOF, Proof, bit_of

__all__ = ["StateTree", "hash_rows", "key_paths"]


_ONE_KEY: Final = np.array([0, 1], np.int64)  # offsets of a batch of one


def hash_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keccak-256 of each row: (n, 32) uint8 of (n, width) uint8."""
    n, width = rows.shape
    digests = np.empty((n, 4), np.uint64)
    ends = np.arange(n + 1, dtype=np.int64) * width
    _hashing.hash_many(*inputs(rows.reshape(-1), ends), np.empty(25, np.uint64), digests)
    return digests.view(np.uint8)


def key_paths(block: Block) -> NDArray[np.uint8]:
    """(n_keys, 32) uint8: where each key of a block is in the tree."""
    rows = np.zeros((block.n_keys, 61), np.uint8)
    rows[:, 0] = Tag.KEY
    rows[:, 8:28], rows[:, 28], rows[:, 29:] = block.key_address, block.key_field, block.key_slot
    return hash_rows(rows)


def _swapped(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Limbs as lanes of 32 big-endian bytes, and back."""
    return np.ascontiguousarray(values[:, ::-1].byteswap())


def _check_distinct(indptr: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
    """Refuse a key that is in a batch twice."""
    batch = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    by_key = np.lexsort((keys, batch))
    batch, keys = batch[by_key], keys[by_key]
    twice = np.flatnonzero((keys[1:] == keys[:-1]) & (batch[1:] == batch[:-1]))
    if len(twice):
        raise BlockError(f"keys: batch {batch[twice[0]]} has key {keys[twice[0]]} twice: must have each once")


class StateTree:
    """Keys with values, whose root depends on nothing but the values that are not zero.

    Parameters
    ----------
    paths : (n_keys, 32) uint8
        As `key_paths` gives them; all different.
    values : (n_keys, 4) uint64
        As limbs.

    Raises
    ------
    BlockError
        If two paths are equal.

    Notes
    -----
    O(n log n) comparisons and n hashes of leaves and as many of nodes to make, several at once in vector registers;
    O(log n) hashes for each key that is changed.

    Examples
    --------
    >>> paths = np.arange(64, dtype=np.uint8).reshape(2, 32)
    >>> tree = StateTree(paths, np.array([[5, 0, 0, 0], [0, 0, 0, 0]], np.uint64))
    >>> tree.root == tree.prove(paths[0].tobytes()).root(), tree.get(paths[0].tobytes())
    (True, 5)
    """

    def __init__(self, paths: NDArray[np.uint8], values: NDArray[np.uint64]) -> None:
        words = np.ascontiguousarray(paths).view(">u8")
        self._order = np.lexsort(words.T[::-1])
        ordered = np.ascontiguousarray(paths[self._order])
        twice = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
        if len(twice):
            raise BlockError(f"path 0x{ordered[twice[0]].tobytes().hex()} is there twice: paths must differ")
        n = len(paths)
        self._leaf = np.empty(n, np.int32)
        self._leaf[self._order] = np.arange(n)
        self._path = ordered.view(np.uint64).reshape(n, 4)
        self._left, self._right = (np.empty(max(n - 1, 0), np.int32) for _ in range(2))
        self._parent, self._bit = np.empty(max(2 * n - 1, 0), np.int32), np.empty(max(n - 1, 0), np.int64)
        shape = (self._left, self._right, self._parent, self._bit, np.empty(max(n, 1), np.int32))
        self._top = int(_k.shape(*inputs(self._path), *shape)) if n else 0
        self._value = np.zeros((n, 4), np.uint64)
        self._live = np.zeros(max(2 * n - 1, 0), np.int8)
        self._digest = np.zeros((max(2 * n - 1, 0), 4), np.uint64)
        self._make_scratch()
        known = np.flatnonzero(values.any(axis=1))
        self.put(known, values[known])

    def __len__(self) -> int:
        return len(self._leaf)

    def copy(self) -> StateTree:
        """A tree that changes on its own."""
        made = object.__new__(StateTree)
        made.__dict__.update(self.__dict__)
        made._value, made._live, made._digest = self._value.copy(), self._live.copy(), self._digest.copy()
        made._make_scratch()
        return made

    def _make_scratch(self) -> None:
        """Room for the kernel, kept: to make it for each of many small batches would cost n_keys a batch."""
        n = max(len(self), 1)
        self._scratch = np.empty(n, np.int32), np.empty(n, np.int32), np.full(n, -1, np.int64)
        self._n_batches = 0

    @property
    def root(self) -> bytes:
        """Digest of all keys with their values, 32 bytes."""
        return self._digest[self._top].tobytes() if len(self) and self._live[self._top] else EMPTY

    def put(self, keys: NDArray[np.integer], values: NDArray[np.uint64]) -> bytes:
        """Give keys, each once, new values (n, 4); returns the root."""
        return self.put_batches(np.array([0, len(keys)], np.int64), keys, values)[0].tobytes()

    def put_batches(
        self, indptr: NDArray[np.int64], keys: NDArray[np.integer], values: NDArray[np.uint64]
    ) -> NDArray[np.uint8]:
        """Give keys new values, batch after batch; a key is at most once in a batch.

        Parameters
        ----------
        indptr : (n + 1,) int64
            CSR offsets of the batches.
        keys : (m,) integers
            In [0, n_keys).
        values : (m, 4) uint64

        Returns
        -------
        (n, 32) uint8
            The root after each.

        Raises
        ------
        BlockError
            If an array has another form, or a key is in a batch twice: the kernel has room for each once.
        """
        chosen = door.array("keys", keys, np.int64, (None,), low=0, high=len(self) - 1)
        words = door.array("values", values, np.uint64, (len(chosen), 4))
        ends = door.csr("indptr", indptr, None, len(chosen))
        _check_distinct(ends, chosen)
        return self._apply(ends, chosen, words)

    def _apply(
        self, indptr: NDArray[np.int64], keys: NDArray[np.int64], values: NDArray[np.uint64]
    ) -> NDArray[np.uint8]:
        """`put_batches`, of what has been checked."""
        roots = np.zeros((len(indptr) - 1, 4), np.uint64)
        if len(self) and len(roots):
            given = inputs(indptr, self._leaf[keys], _swapped(values), self._path)
            shape = inputs(self._left, self._right, self._parent, self._bit)
            now = self._value, self._live, self._digest
            _k.apply_changes(*given, *shape, self._top, *now, *self._scratch, self._n_batches, roots)
            self._n_batches += len(roots)
        return roots.view(np.uint8)

    def _down(self, path: bytes, every: bool) -> tuple[int, list[tuple[int, bytes]]]:
        """The leaf where the way of a path ends, and the branches on it; `every`: also by keys without a value."""
        n, now, siblings = len(self), self._top, list[tuple[int, bytes]]()
        while now >= n:
            left, right, bit = int(self._left[now - n]), int(self._right[now - n]), int(self._bit[now - n])
            if every or (self._live[left] and self._live[right]):
                now, other = (right, left) if bit_of(path, bit) else (left, right)
                siblings.append((bit, self._digest[other].tobytes()))
            else:
                now = left if self._live[left] else right
        return now, siblings

    def find(self, path: bytes) -> int:
        """The number of the key with that path, whether it has a value or not; -1 if there is none."""
        if not len(self):
            return -1
        leaf, _ = self._down(path, every=True)
        return int(self._order[leaf]) if self._path[leaf].tobytes() == path else -1

    def get(self, path: bytes) -> int:
        """Value of a path; 0 if it is not there."""
        key = self.find(path)
        return 0 if key < 0 else int.from_bytes(self._value[self._leaf[key]].tobytes(), "big")

    def set(self, path: bytes, value: int) -> None:
        """Give the key with that path a value.

        Raises
        ------
        BlockError
            If there is no such key.
        """
        key = self.find(path)
        if key < 0:
            raise BlockError(f"path 0x{path.hex()}: must be of a key of the block")
        self._apply(_ONE_KEY, np.array([key]), limbs([value]))

    def prove(self, path: bytes) -> Proof:
        """That the path has its value, or none."""
        if not len(self) or not self._live[self._top]:
            return EMPTY_PROOF
        leaf, siblings = self._down(path, every=False)
        return Proof(self._path[leaf].tobytes(), self._value[leaf].tobytes(), tuple(siblings))

    def values(self) -> list[int]:
        """The value of each key, 0 where there is none."""
        return integers(_swapped(self._value[self._leaf]))
