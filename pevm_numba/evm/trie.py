"""Roots of Merkle-Patricia tries, made from all pairs at once: nothing is stored, so a trie cannot be read or changed here.

Keys are sorted as strings of hex digits; a trie is then the stack of branches that are open at the current key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ..door import shown
from ..errors import BlockError
from .hashing import EMPTY_HASH, keccak, keccak_many
from .rlp import encode_bytes, join_list

__all__ = ["EMPTY_ROOT", "Account", "ordered_root", "state_root", "storage_root", "trie_root", "world_root"]

#: Root of the trie without pairs: hash of the RLP of no bytes.
EMPTY_ROOT: Final = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")

_NO_ITEMS: Final = [b"\x80"] * 17
_END: Final = 2**256
_DIGIT: Final = {digit: i for i, digit in enumerate("0123456789abcdef")}


class Account(NamedTuple):
    """What the state trie holds of an account; `storage` is slot -> value, or the root of its trie."""

    nonce: int = 0
    balance: int = 0
    code_hash: bytes = EMPTY_HASH
    storage: Mapping[int, int] | bytes = EMPTY_ROOT


# -------------------------------------------------------------------- nodes, as their RLP


def _path(digits: str, flag: int) -> bytes:
    """Hex-prefix encoding of a path in RLP; flag 2 for a leaf, 0 for an extension."""
    return encode_bytes(bytes.fromhex(f"{flag + 1:x}{digits}" if len(digits) % 2 else f"{flag:x}0{digits}"))


def _reference(node: bytes) -> bytes:
    """What a parent holds of a node: its hash, or the node itself if that is shorter."""
    return node if len(node) < 32 else b"\xa0" + keccak(node)


def _leaf(digits: str, value: bytes) -> bytes:
    return join_list((_path(digits, 2), encode_bytes(value)))


def _extension(digits: str, node: bytes) -> bytes:
    """A node below a path that all its keys share; the node itself if there is none."""
    return join_list((_path(digits, 0), _reference(node))) if digits else node


def _shared(a: str, b: str) -> int:
    """How many digits two keys begin with alike."""
    size = min(len(a), len(b))
    for i in range(size):
        if a[i] != b[i]:
            return i
    return size


def _top(pairs: list[tuple[str, bytes]]) -> bytes:
    """RLP of the top node over sorted pairs, of which there is one at least."""
    if len(pairs) == 1:
        return _leaf(*pairs[0])
    open_branches: list[tuple[int, list[bytes]]] = []  # (digits above it, items), the deepest last
    following = [key for key, _ in pairs[1:]]
    last = len(following)
    for i, (key, value) in enumerate(pairs):
        shared = _shared(key, following[i]) if i < last else -1
        if not open_branches or open_branches[-1][0] < shared:
            open_branches.append((shared, _NO_ITEMS.copy()))
        depth, items = open_branches[-1]
        if len(key) == depth:
            items[16] = encode_bytes(value)
        else:
            items[_DIGIT[key[depth]]] = _reference(_leaf(key[depth + 1 :], value))
        while open_branches[-1][0] > shared:
            depth, items = open_branches.pop()
            node = join_list(items)
            if shared < 0 and not open_branches:
                return _extension(key[:depth], node)
            if not open_branches or open_branches[-1][0] < shared:
                open_branches.append((shared, _NO_ITEMS.copy()))
            above, parent = open_branches[-1]
            parent[_DIGIT[key[above]]] = _reference(_extension(key[above + 1 : depth], node))
    raise AssertionError("the last key closes every branch")


# -------------------------------------------------------------------- roots


def trie_root(pairs: Mapping[bytes, bytes]) -> bytes:
    """Root of the trie that holds these pairs.

    Parameters
    ----------
    pairs : mapping of bytes to bytes
        No value may be empty: a trie drops a key by setting it to nothing.

    Raises
    ------
    BlockError
        Naming the key or value that is no bytes, or the key whose value is empty.

    References
    ----------
    Yellow Paper, appendices C and D.

    Examples
    --------
    >>> trie_root({b"do": b"verb", b"dog": b"puppy", b"doge": b"coin", b"horse": b"stallion"}).hex()
    '5991bb8c6514148a29db676a14ac506cd2cd5775ace63c30a4fe457715e9ac84'
    """
    for key, value in pairs.items():
        if not isinstance(key, bytes):
            raise BlockError(f"trie, key {shown(key, 80)}: must be bytes")
        if not isinstance(value, bytes) or not value:
            raise BlockError(f"trie, key 0x{key.hex()}: value {shown(value, 80)}: must be bytes, and not empty")
    return keccak(_top(sorted((key.hex(), value) for key, value in pairs.items()))) if pairs else EMPTY_ROOT


def ordered_root(items: Sequence[bytes]) -> bytes:
    """Root of the trie of a list: the key of an item is the RLP of its index, as for transactions, receipts, withdrawals.

    Raises
    ------
    BlockError
        Naming the item that is no bytes, or empty.

    References
    ----------
    Yellow Paper, section 4.4 (H_t, H_e); EIP-4895 (withdrawals).

    Examples
    --------
    >>> ordered_root([]) == EMPTY_ROOT
    True
    """
    pairs = {}
    for i, item in enumerate(items):
        if not isinstance(item, bytes) or not item:
            raise BlockError(f"item {i} = {shown(item, 80)}: must be bytes, and not empty")
        pairs[encode_bytes(i.to_bytes((i.bit_length() + 7) // 8, "big"))] = item
    return trie_root(pairs)


def _number(place: str, value: int) -> bytes:
    """RLP of a word."""
    if not isinstance(value, int) or not 0 <= value < _END:
        raise BlockError(f"{place} = {shown(value, 80)}: must be an integer in [0, 2**256)")
    return encode_bytes(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _of_hashed(digests: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Root of a trie whose keys are these digests."""
    return keccak(_top(sorted(zip([digest.hex() for digest in digests], values)))) if digests else EMPTY_ROOT


def _used(place: str, storage: Mapping[int, int]) -> tuple[list[bytes], list[bytes]]:
    """Slots that hold something, as 32 bytes, and the RLP of what they hold."""
    slots, values = [], []
    for slot, value in storage.items():
        if not isinstance(slot, int) or not 0 <= slot < _END:
            raise BlockError(f"{place}: slot {shown(slot, 80)}: must be an integer in [0, 2**256)")
        if value != 0 or not isinstance(value, int):
            slots.append(slot.to_bytes(32, "big"))
            values.append(_number(f"{place}: storage[{slot}]", value))
    return slots, values


def storage_root(storage: Mapping[int, int]) -> bytes:
    """Root of the storage of one account: keys are hashes of slots, and slots that hold 0 are not there.

    Raises
    ------
    BlockError
        Naming the slot or value that is no 256-bit integer.

    References
    ----------
    Yellow Paper, section 4.1.

    Examples
    --------
    >>> storage_root({5: 0}) == EMPTY_ROOT
    True
    """
    slots, values = _used("account", storage)
    return _of_hashed(keccak_many(slots), values)


def state_root(accounts: Mapping[bytes, tuple[int, int, bytes, Mapping[int, int] | bytes]]) -> bytes:
    """Root of the state that consists of these accounts, whether empty (EIP-161) or not.

    Parameters
    ----------
    accounts : mapping
        Address, 20 bytes, to `Account`, or a tuple in its order. Storage is slot -> value, or its root if that is known.

    Raises
    ------
    BlockError
        Naming the account, the value and the rule.

    References
    ----------
    Yellow Paper, section 4.1.

    Examples
    --------
    >>> state_root({}) == EMPTY_ROOT
    True
    >>> state_root({bytes(20): Account(balance=1)}).hex()[:16]
    '90790e0d482ba05b'
    """
    addresses, slots, used = list(accounts), [], []
    for address, account in accounts.items():
        if not isinstance(address, bytes) or len(address) != 20:
            raise BlockError(f"account {shown(address, 80)}: must be 20 bytes")
        found: tuple[list[bytes], list[bytes]] = ([], [])
        if isinstance(account[3], Mapping):
            found = _used(f"account 0x{address.hex()}", account[3])
        slots += found[0]
        used.append(found[1])
    digests = keccak_many(addresses + slots)
    values, at = [], len(addresses)
    for (address, account), stored in zip(accounts.items(), used):
        nonce, balance, code_hash, root = account
        if isinstance(root, Mapping):
            root = _of_hashed(digests[at : at + len(stored)], stored)
            at += len(stored)
        values.append(_account(f"account 0x{address.hex()}", nonce, balance, code_hash, root))
    return _of_hashed(digests[: len(addresses)], values)


def _account(place: str, nonce: int, balance: int, code_hash: bytes, root: bytes) -> bytes:
    """RLP of an account in the state trie."""
    for name, digest in (("storage root", root), ("code hash", code_hash)):
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise BlockError(f"{place}: {name} = {shown(digest, 80)}: must be 32 bytes")
    heads = (_number(f"{place}: nonce", nonce), _number(f"{place}: balance", balance))
    return join_list((*heads, b"\xa0" + root, b"\xa0" + code_hash))


def world_root(state: Mapping[bytes, tuple[int, int, bytes, Mapping[int, int]]]) -> bytes:
    """Root of a state as blocks have it: address to (balance, nonce, code, storage).

    Examples
    --------
    >>> world_root({bytes(20): (1, 0, b"", {})}) == state_root({bytes(20): Account(balance=1)})
    True
    """
    return state_root({
        address: (nonce, balance, keccak(code), dict(storage)) for address, (balance, nonce, code, storage) in state.items()
    })  # fmt: skip
