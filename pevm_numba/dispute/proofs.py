"""A proof shows one leaf and its way to the root: the leaf asked for, or the one that is met where that would have to be.

Trees here branch only at bits where their paths differ. Whoever looks for a path follows its bits from branch to branch,
and ends at one leaf: if that has another path, the path is not in the tree. So a root and a path have one valid proof.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import DisputeError
from . import wire
from .hashing import EMPTY, Hash, keccak, leaf_hash, node_hash

__all__ = ["EMPTY_PROOF", "Proof", "bit_of", "first_difference", "index_path"]


def bit_of(path: bytes, bit: int) -> int:
    """A bit of a path, counted from the most significant of its first byte."""
    return path[bit >> 3] >> (7 - (bit & 7)) & 1


def first_difference(a: bytes, b: bytes) -> int:
    """First bit at which two different paths differ.

    Examples
    --------
    >>> first_difference(bytes(32), bytes(31) + b"\\x05")
    253
    """
    return 256 - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()


def index_path(index: int) -> bytes:
    """Path of a position, for trees over lists."""
    return index.to_bytes(32, "big")


@dataclass(frozen=True)
class Proof:
    """That a path has a value in the tree with a root, or that it is not there.

    Parameters
    ----------
    path : bytes or None
        Path, 32 bytes, of the leaf that is shown; None: the tree is empty.
    value : bytes
        Its value; empty for an empty tree.
    siblings : tuple of (bit, digest)
        The branches above it, from the root on: at which bit, in [0, 256), rising, and the digest on the other side.

    Examples
    --------
    >>> proof = Proof(bytes(32), b"one", ())
    >>> root = proof.root()
    >>> proof.check(root, bytes(32)), proof.check(root, b"\\x01" * 32)
    (b'one', None)
    >>> two = Proof(b"\\x01" * 32, b"two", ((7, root),))
    >>> two.root() == proof.changed(b"\\x01" * 32, b"two")
    True
    """

    path: bytes | None
    value: bytes
    siblings: tuple[tuple[int, bytes], ...]

    def root(self, hash: Hash = keccak) -> bytes:
        """Root of the tree that this is a proof for."""
        return EMPTY if self.path is None else self._up(leaf_hash(self.path, self.value, hash), self.path, hash=hash)

    def _up(self, digest: bytes, path: bytes, low: int = 0, high: int = 256, *, hash: Hash) -> bytes:
        """From a digest on the way of a path through the branches at bits low to high - 1, to what is above them."""
        for bit, other in reversed(self.siblings):
            if low <= bit < high:
                digest = node_hash(bit, other, digest, hash) if bit_of(path, bit) else node_hash(bit, digest, other, hash)
        return digest

    def check(self, root: bytes, path: bytes, hash: Hash = keccak) -> bytes | None:
        """The value of a path in the tree with that root; None if it is not there.

        Raises
        ------
        DisputeError
            If this is no proof of either.
        """
        self._check_form()
        shown = self.root(hash)
        if shown != root:
            raise DisputeError(f"proof leads to root 0x{shown.hex()}: must be 0x{root.hex()}")
        if self.path is None or self.path == path:
            return None if self.path is None else self.value
        for bit, _ in self.siblings:
            if bit_of(path, bit) != bit_of(self.path, bit):
                raise DisputeError(f"proof leaves the way of 0x{path.hex()} at bit {bit}: it shows nothing about it")
        return None

    def _check_form(self) -> None:
        """What `root` takes for granted."""
        if self.path is None and (self.value or self.siblings):
            raise DisputeError("proof of an empty tree has a value or siblings")
        if self.path is not None and len(self.path) != 32:
            raise DisputeError(f"proof has a path of {len(self.path)} bytes: must be 32")
        below = -1
        for bit, other in self.siblings:
            if not below < bit < 256 or len(other) != 32:
                raise DisputeError(f"proof has a sibling at bit {bit} after {below}, of {len(other)} bytes: bits must rise")
            below = bit

    def changed(self, path: bytes, value: bytes | None, hash: Hash = keccak) -> bytes:
        """Root after a path has been given a value, or removed (None), by a proof that `check` accepted for it."""
        if self.path is None:
            return EMPTY if value is None else leaf_hash(path, value, hash)
        if self.path == path:
            if value is not None:
                return replace(self, value=value).root(hash)
            if not self.siblings:
                return EMPTY
            bit, other = self.siblings[-1]
            return self._up(other, path, high=bit, hash=hash)
        if value is None:
            return self.root(hash)
        at = first_difference(self.path, path)
        met, new = self._up(leaf_hash(self.path, self.value, hash), self.path, at, hash=hash), leaf_hash(path, value, hash)
        parted = node_hash(at, met, new, hash) if bit_of(path, at) else node_hash(at, new, met, hash)
        return self._up(parted, path, high=at, hash=hash)

    @property
    def is_first(self) -> bool:
        """Whether the leaf shown is the one with the least path."""
        return self.path is not None and not any(bit_of(self.path, bit) for bit, _ in self.siblings)

    @property
    def n_bytes(self) -> int:
        """Size as bytes: path and value, and a byte and a digest for each sibling."""
        return (0 if self.path is None else 32) + len(self.value) + 33 * len(self.siblings)

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return {
            "path": None if self.path is None else wire.hexed(self.path),
            "value": wire.hexed(self.value),
            "siblings": [[bit, wire.hexed(other)] for bit, other in self.siblings],
        }

    @classmethod
    def from_json(cls, value: Any) -> Proof:
        """The inverse of `to_json`.

        Raises
        ------
        DisputeError
            If it has another form.
        """
        path, data, siblings = wire.parts("proof", value, ("path", "value", "siblings"))
        found = []
        for pair in wire.check_list("proof siblings", siblings, 256):
            if not isinstance(pair, list) or len(pair) != 2:
                raise DisputeError("proof siblings: each must be [bit, digest]")
            found.append((wire.integer("proof bit", pair[0], 0, 255), wire.octets("proof sibling", pair[1], 32)))
        made = cls(
            None if path is None else wire.octets("proof path", path, 32), wire.octets("proof value", data), tuple(found)
        )
        made._check_form()
        return made


#: That a tree has no leaf at all.
EMPTY_PROOF: Final = Proof(None, b"", ())
