"""Trees of a party: small ones in plain Python, never changed in place, so that every step of a trace keeps its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .hashing import EMPTY, Hash, keccak, leaf_hash, node_hash
from .proofs import EMPTY_PROOF, Proof, bit_of, first_difference

__all__ = ["Tree"]


class _Leaf(NamedTuple):
    path: bytes
    value: bytes
    digest: bytes


class _Node(NamedTuple):
    bit: int
    left: _Leaf | _Node
    right: _Leaf | _Node
    digest: bytes


class Tree:
    """Paths of 32 bytes with values of any length, whose root depends on nothing but these.

    Parameters
    ----------
    items : mapping of bytes to bytes
    hash : function
        Keccak-256; default the plain one.

    Notes
    -----
    O(n log n) to make; all else O(log n) hashes where paths are hashes.

    Examples
    --------
    >>> tree = Tree({bytes(32): b"a"}).put(b"\\x80" + bytes(31), b"b")
    >>> tree.get(bytes(32)), len(tree.prove(bytes(32)).siblings), tree.first() == bytes(32)
    (b'a', 1, True)
    >>> tree.drop(bytes(32)).root == Tree({b"\\x80" + bytes(31): b"b"}).root
    True
    """

    __slots__ = ("_hash", "_top")

    def __init__(self, items: Mapping[bytes, bytes] | None = None, hash: Hash = keccak) -> None:
        self._hash = hash
        leaves = [_Leaf(path, value, leaf_hash(path, value, hash)) for path, value in sorted((items or {}).items())]
        self._top = self._over(leaves) if leaves else None

    def _over(self, leaves: list[_Leaf]) -> _Leaf | _Node:
        """Tree over leaves with ascending paths."""
        if len(leaves) == 1:
            return leaves[0]
        bit = first_difference(leaves[0].path, leaves[-1].path)
        low, high = 1, len(leaves) - 1  # the first leaf with a 1 at the bit
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if bit_of(leaves[middle].path, bit) else (middle + 1, high)
        return self._node(bit, self._over(leaves[:low]), self._over(leaves[low:]))

    def _node(self, bit: int, left: _Leaf | _Node, right: _Leaf | _Node) -> _Node:
        return _Node(bit, left, right, node_hash(bit, left.digest, right.digest, self._hash))

    def _with_top(self, top: _Leaf | _Node | None) -> Tree:
        made = Tree(hash=self._hash)
        made._top = top
        return made

    @property
    def root(self) -> bytes:
        """Digest of all paths and values, 32 bytes."""
        return EMPTY if self._top is None else self._top.digest

    def prove(self, path: bytes) -> Proof:
        """That the path has its value, or is not there."""
        if self._top is None:
            return EMPTY_PROOF
        now, siblings = self._top, list[tuple[int, bytes]]()
        while isinstance(now, _Node):
            one = bit_of(path, now.bit)
            siblings.append((now.bit, (now.left if one else now.right).digest))
            now = now.right if one else now.left
        return Proof(now.path, now.value, tuple(siblings))

    def get(self, path: bytes) -> bytes | None:
        """Value of a path; None if it is not there."""
        now = self._top
        while isinstance(now, _Node):
            now = now.right if bit_of(path, now.bit) else now.left
        return None if now is None or now.path != path else now.value

    def first(self) -> bytes | None:
        """The least path; None if there is none."""
        now = self._top
        while isinstance(now, _Node):
            now = now.left
        return None if now is None else now.path

    def put(self, path: bytes, value: bytes) -> Tree:
        """The tree in which the path has that value."""
        leaf = _Leaf(path, value, leaf_hash(path, value, self._hash))
        met = self.prove(path).path
        if met is None:
            return self._with_top(leaf)
        return self._with_top(self._put(self._top, leaf, 256 if met == path else first_difference(met, path)))

    def _put(self, now: _Leaf | _Node | None, leaf: _Leaf, at: int) -> _Leaf | _Node:
        """`now` with the leaf, which parts from the others at a bit; 256: it takes the place of one."""
        if isinstance(now, _Node) and now.bit < at:
            if bit_of(leaf.path, now.bit):
                return self._node(now.bit, now.left, self._put(now.right, leaf, at))
            return self._node(now.bit, self._put(now.left, leaf, at), now.right)
        if now is None or at == 256:
            return leaf
        return self._node(at, now, leaf) if bit_of(leaf.path, at) else self._node(at, leaf, now)

    def drop(self, path: bytes) -> Tree:
        """The tree without the path."""
        return self if self.get(path) is None else self._with_top(self._drop(self._top, path))

    def _drop(self, now: _Leaf | _Node | None, path: bytes) -> _Leaf | _Node | None:
        if not isinstance(now, _Node):
            return None
        if bit_of(path, now.bit):
            right = self._drop(now.right, path)
            return now.left if right is None else self._node(now.bit, now.left, right)
        left = self._drop(now.left, path)
        return now.right if left is None else self._node(now.bit, left, now.right)
