"""Transactions of types 0 to 4 as they are signed and sent; who sent one is no field of it, but follows from the signature.

What is checked here is what the encoding can say. Whether a block may include a transaction (nonce, funds, fees, gas, number
of blobs) depends on the state and the block, and is checked where it is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..door import become, freeze, integer, items, shown
from ..errors import BlockError
from .hashing import keccak, keccak_many
from .precompiles.curves import SECP256K1
from .precompiles.signatures import public_key, recover_address
from .rlp import Decoded, Item, decode, encode, read_integer, read_list, sized

__all__ = [
    "Authorization", "Transaction", "authority_of", "decode_transaction", "encode_transaction", "recover_senders",
    "signing_hash", "transaction_hash",
]  # fmt: skip

_U64: Final = 2**64 - 1
_U256: Final = 2**256 - 1

_FEES: Final = ("max_priority_fee_per_gas", "max_fee_per_gas")
_CALL: Final = ("gas_limit", "to", "value", "data")
#: Fields of each type in the order of its encoding; then v, r and s.
_LAYOUT: Final = (
    ("nonce", "gas_price", *_CALL),
    ("chain_id", "nonce", "gas_price", *_CALL, "access_list"),
    ("chain_id", "nonce", *_FEES, *_CALL, "access_list"),
    ("chain_id", "nonce", *_FEES, *_CALL, "access_list", "max_fee_per_blob_gas", "blob_versioned_hashes"),
    ("chain_id", "nonce", *_FEES, *_CALL, "access_list", "authorization_list"),
)
_SIGNATURE: Final = ("v", "r", "s")
_LISTS: Final = ("access_list", "blob_versioned_hashes", "authorization_list")
#: Fields that not all types have, with what they are where they are not.
_SPECIAL: Final = {"gas_price": None, **dict.fromkeys(_FEES), "max_fee_per_blob_gas": None, **dict.fromkeys(_LISTS, ())}


class Authorization(NamedTuple):
    """Permission to run the code of `address` as an account's own (EIP-7702); chain 0 stands for every chain."""

    chain_id: int
    address: bytes
    nonce: int
    y_parity: int
    r: int
    s: int


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One transaction; fields that its type does not have are None, or empty lists.

    Attributes
    ----------
    type : int
        0 legacy, 1 with access list, 2 with fee cap, 3 with blobs, 4 with authorizations.
    chain_id : int or None
        None for a legacy transaction that is valid on every chain (before EIP-155); follows from `v` if not given.
    to : bytes or None
        20 bytes; None creates a contract.
    access_list : tuple of (address, tuple of slots)
    blob_versioned_hashes : tuple of bytes
    authorization_list : tuple of `Authorization`
    v : int or None
        As encoded: the parity of y (0 or 1) from type 1 on; 27 or 28 plus nothing, or 35 plus twice the chain, in type 0.
        None, with `r` and `s`, if the signature is not known.
    sender : bytes or None
        20 bytes, if known; not part of any encoding.

    Raises
    ------
    BlockError
        Naming the field, its value and the rule.

    References
    ----------
    EIP-155, EIP-2718, EIP-2930, EIP-1559, EIP-4844, EIP-7702.

    Examples
    --------
    >>> Transaction(gas_price=1, v=37, r=1, s=1).chain_id
    1
    """

    type: int = 0
    chain_id: int | None = None
    nonce: int = 0
    gas_limit: int = 0
    to: bytes | None = None
    value: int = 0
    data: bytes = b""
    gas_price: int | None = None
    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    max_fee_per_blob_gas: int | None = None
    blob_versioned_hashes: tuple[bytes, ...] = ()
    authorization_list: tuple[Authorization, ...] = ()
    v: int | None = None
    r: int | None = None
    s: int | None = None
    sender: bytes | None = None

    def __post_init__(self) -> None:
        become(self, type=integer("type", self.type, 0, len(_LAYOUT) - 1))
        fields = _LAYOUT[self.type]
        for name, absent in _SPECIAL.items():
            if name not in fields and getattr(self, name) != absent:
                raise BlockError(f"{name} = {shown(getattr(self, name), 80)}: type {self.type} has no such field")
        for name in fields:
            if name not in ("to", "data", *_LISTS):
                high = _U64 if name in ("nonce", "gas_limit") else _U256
                become(self, **{name: integer(name, getattr(self, name), 0, high)})
        if not isinstance(self.data, bytes):
            raise BlockError(f"data = {shown(self.data, 80)}: must be bytes")
        become(self, data=bytes(self.data))
        if self.to is None and self.type >= 3:
            raise BlockError(f"to = None: type {self.type} cannot create a contract")
        for name in ("to", "sender"):
            if getattr(self, name) is not None:
                become(self, **{name: sized(name, getattr(self, name), 20)})
        if any(getattr(self, name) != () for name in _LISTS):
            freeze(self, **_checked_lists(self))
        self._check_signature()

    def _check_signature(self) -> None:
        given = [name for name in _SIGNATURE if getattr(self, name) is not None]
        if given and len(given) < 3:
            raise BlockError(f"{given[0]} = {getattr(self, given[0])}: v, r and s must be given together")
        for name in given:
            become(self, **{name: integer(name, getattr(self, name), 0, _U256)})
        if self.type:
            if self.v is not None and self.v > 1:
                raise BlockError(f"v = {self.v}: must be 0 or 1 in type {self.type}")
            return
        if self.chain_id is not None:
            become(self, chain_id=integer("chain_id", self.chain_id, 0, _U256))
        if self.v is None:
            return
        if self.v < 35 and self.v not in (27, 28):
            raise BlockError(f"v = {self.v}: must be 27, 28, or 35 and more")
        signed = None if self.v < 35 else (self.v - 35) // 2
        if self.chain_id not in (None, signed):
            signs = "any chain" if signed is None else f"chain {signed}"
            raise BlockError(f"chain_id = {self.chain_id}: v = {self.v} signs for {signs}")
        freeze(self, chain_id=signed)

    @property
    def y_parity(self) -> int | None:
        """Whether y of the signature's point is odd, whatever the type has in `v`."""
        return self.v if self.type or self.v is None else (self.v + 1) % 2


def _checked_lists(tx: Transaction) -> dict[str, tuple]:
    """The lists of a transaction as tuples."""
    access = []
    for i, entry in enumerate(items("access_list", tx.access_list, "(address, slots)")):
        place = f"access_list[{i}]"
        address, slots = _parts(place, entry, ("address", "slots"))
        listed = enumerate(items(f"{place}.slots", slots, "slots"))
        access.append((sized(place, address, 20), tuple(integer(f"{place}.slots[{j}]", x, 0, _U256) for j, x in listed)))
    hashes = enumerate(items("blob_versioned_hashes", tx.blob_versioned_hashes, "hashes"))
    return {
        "access_list": tuple(access),
        "blob_versioned_hashes": tuple(sized(f"blob_versioned_hashes[{i}]", digest, 32) for i, digest in hashes),
        "authorization_list": tuple(
            _authorization(f"authorization_list[{i}]", entry)
            for i, entry in enumerate(items("authorization_list", tx.authorization_list, "authorizations"))
        ),
    }


def _parts(place: str, entry: Any, names: tuple[str, ...]) -> list[Any]:
    parts = items(place, entry, "values")
    if len(parts) != len(names):
        raise BlockError(f"{place} has {len(parts)} parts: must be {', '.join(names)}")
    return parts


def _authorization(place: str, entry: Any) -> Authorization:
    given = Authorization(*_parts(place, entry, Authorization._fields))
    address = sized(f"{place}.address", given.address, 20)
    highest = {"chain_id": _U256, "nonce": _U64, "y_parity": 255, "r": _U256, "s": _U256}
    whole = {name: integer(f"{place}.{name}", getattr(given, name), 0, high) for name, high in highest.items()}
    return Authorization(address=address, **whole)


# -------------------------------------------------------------------- encoding


def _item(tx: Transaction, name: str) -> Item:
    """A field as RLP has it."""
    value = getattr(tx, name)
    if name == "access_list":
        return [[address, [slot.to_bytes(32, "big") for slot in slots]] for address, slots in value]
    return b"" if value is None else value


def encode_transaction(tx: Transaction) -> bytes:
    """Encoding of a signed transaction: RLP for type 0, else the type's byte and RLP.

    Raises
    ------
    BlockError
        If it has no signature.

    References
    ----------
    EIP-2718.

    Examples
    --------
    >>> encode_transaction(Transaction(gas_price=1, v=27, r=1, s=2)).hex()
    'c98001808080801b0102'
    """
    if tx.v is None:
        raise BlockError("transaction: v = None: must be signed to be encoded")
    payload = encode([_item(tx, name) for name in (*_LAYOUT[tx.type], *_SIGNATURE)])
    return bytes((tx.type,)) + payload if tx.type else payload


def transaction_hash(tx: Transaction) -> bytes:
    """Hash by which a signed transaction is known.

    Raises
    ------
    BlockError
        If it has no signature.

    References
    ----------
    EIP-2718.

    Examples
    --------
    >>> transaction_hash(Transaction(gas_price=1, v=27, r=1, s=2)).hex()[:16]
    '8ea70c5573d71a16'
    """
    return keccak(encode_transaction(tx))


def _signed(tx: Transaction) -> bytes:
    """What the sender signs the hash of."""
    fields = [_item(tx, name) for name in _LAYOUT[tx.type]]
    if tx.type:
        return bytes((tx.type,)) + encode(fields)
    return encode(fields if tx.chain_id is None else [*fields, tx.chain_id, 0, 0])


def signing_hash(tx: Transaction) -> bytes:
    """Hash that the sender signs, of a transaction with or without signature.

    References
    ----------
    EIP-155 (whose example this is), EIP-2718.

    Examples
    --------
    >>> tx = Transaction(nonce=9, gas_price=20 * 10**9, gas_limit=21_000, to=b"5" * 20, value=10**18, chain_id=1)
    >>> signing_hash(tx).hex()
    'daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53'
    """
    return keccak(_signed(tx))


# -------------------------------------------------------------------- decoding


def decode_transaction(raw: bytes) -> Transaction:
    """The signed transaction that these bytes encode; its `sender` is None.

    Raises
    ------
    BlockError
        If the bytes are not the one encoding of a transaction, naming the position or field, the value and the rule.

    References
    ----------
    EIP-2718; EIP-4844 and EIP-7594 for blobs, whose network form (with the blobs beside) is refused.

    Examples
    --------
    >>> tx = Transaction(type=1, chain_id=1, gas_price=7, access_list=((bytes(20), (3,)),), v=1, r=1, s=2)
    >>> decode_transaction(encode_transaction(tx)) == tx
    True
    """
    if not isinstance(raw, bytes) or not raw:
        raise BlockError(f"transaction = {shown(raw, 80)}: must be bytes, and not empty")
    kind = raw[0] if raw[0] < 0x80 else 0
    if raw[0] < 0xC0 and not 1 <= kind < len(_LAYOUT):
        raise BlockError(f"transaction, byte 0 = 0x{raw[0]:02x}: must be 0x01 to 0x04 (a type), or begin a list (type 0)")
    fields = decode(raw[1:] if kind else raw)
    names = (*_LAYOUT[kind], *_SIGNATURE)
    if not isinstance(fields, list) or len(fields) != len(names):
        got = f"a list of {len(fields)}" if isinstance(fields, list) else "a string"
        raise BlockError(f"transaction of type {kind}: is {got}: must be a list of {len(names)} items: {', '.join(names)}")
    return Transaction(type=kind, **{name: _value(name, item) for name, item in zip(names, fields)})


def _value(name: str, item: Decoded) -> Any:
    """A field from its RLP; what the bytes say is checked by `Transaction`."""
    if name == "to":
        return item or None if isinstance(item, bytes) else item
    if name == "data":
        return item
    if name not in _LISTS:
        return read_integer(name, item)
    entries = read_list(name, item)
    if name == "blob_versioned_hashes":
        return tuple(entries)
    out: list[Any] = []
    for i, entry in enumerate(entries):
        place = f"{name}[{i}]"
        if name == "access_list":
            address, slots = _parts(place, read_list(place, entry), ("address", "slots"))
            words = [int.from_bytes(sized(f"{place}.slots", x, 32), "big") for x in read_list(f"{place}.slots", slots)]
            out.append((address, tuple(words)))
        else:
            parts = zip(Authorization._fields, _parts(place, read_list(place, entry), Authorization._fields))
            out.append(tuple(part if x == "address" else read_integer(f"{place}.{x}", part) for x, part in parts))
    return tuple(out)


# -------------------------------------------------------------------- signers


def recover_senders(txs: Sequence[Transaction], *, low_s: bool = True) -> list[bytes]:
    """Addresses of those who signed these transactions.

    Parameters
    ----------
    txs : sequence of Transaction
    low_s : bool
        Refuse s in the upper half, which another s could replace: a rule since Homestead.

    Raises
    ------
    BlockError
        Naming the first transaction that has no signature, or one that nobody can have made.

    References
    ----------
    EIP-2 (low s), EIP-155.

    Examples
    --------
    >>> [sender.hex()[:8] for sender in recover_senders([Transaction(gas_price=1, v=27, r=1, s=2)])]
    ['ced75f70']
    """
    keys: list[bytes] = []
    for i, (tx, digest) in enumerate(zip(txs, keccak_many([_signed(tx) for tx in txs]))):
        if tx.y_parity is None or tx.r is None or tx.s is None:
            raise BlockError(f"transaction {i}: v = None: must be signed, for its sender to be recovered")
        if low_s and tx.s > SECP256K1.order // 2:
            raise BlockError(f"transaction {i}: s = {tx.s:#x}: must be at most {SECP256K1.order // 2:#x} (EIP-2)")
        key = public_key(digest, tx.y_parity, tx.r, tx.s)
        if key is None:
            raise BlockError(f"transaction {i}: r = {tx.r:#x}, s = {tx.s:#x}: no key can have made this signature")
        keys.append(key)
    return [digest[12:] for digest in keccak_many(keys)]


def authority_of(authorization: tuple[int, bytes, int, int, int, int]) -> bytes | None:
    """Account that gave an `Authorization`; None if the signature or the nonce is such that it has to be skipped.

    Whether its chain and nonce are the present ones is left to the machine.

    References
    ----------
    EIP-7702.

    Examples
    --------
    >>> authority_of(Authorization(1, bytes(20), 0, y_parity=2, r=1, s=1)) is None
    True
    """
    given = _authorization("authorization", authorization)
    if given.s > SECP256K1.order // 2 or given.nonce == _U64:
        return None
    return recover_address(keccak(b"\x05" + encode(given[:3])), *given[3:])
