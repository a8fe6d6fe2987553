"""What the machine knows of the block it runs: the word of DIFFICULTY is the randomness of the beacon chain from Paris on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..blobs.market import FRACTIONS_IN_A_WORD, blob_base_fee
from ..door import become, freeze, instance, integer, items, shown
from ..errors import BlockError
from .forks import Fork, blob_parameters, fork_named
from .rlp import sized

__all__ = ["BlockEnv", "Withdrawal"]

_U64: Final = 2**64 - 1
_U256: Final = 2**256 - 1


class Withdrawal(NamedTuple):
    """Ether paid out by the beacon chain; the amount is in Gwei, unlike all others."""

    number: int
    validator: int
    address: bytes
    amount: int


@dataclass(frozen=True, kw_only=True)
class BlockEnv:
    """Environment of a block; what it should result in (`gas_used` and after) is None if not known.

    Attributes
    ----------
    number, timestamp, gas_limit : int
    fork : Fork
        Or its name, which becomes a `Fork`.
    fee_recipient : bytes
        20 bytes.
    prev_randao : int
        The word of opcode 0x44: before Paris the difficulty.
    base_fee : int or None
        None before London.
    chain_id : int
    excess_blob_gas : int or None
        None before Cancun.
    blob_gas_price : int or None
        Follows from `excess_blob_gas` if not given; None before Cancun. Blob parameters of mainnet by timestamp (from Osaka
        on) hold on chain 1 only.
    parent_beacon_block_root : bytes or None
        32 bytes; None before Cancun, or to leave out the call of EIP-4788.
    block_hashes : mapping of int to bytes
        Hashes of earlier blocks by number, as far as known.
    withdrawals : tuple of Withdrawal
        Empty before Shanghai.
    gas_used : int or None
    receipts_root, logs_bloom, state_root : bytes or None

    Raises
    ------
    BlockError
        Naming the field, its value and the rule.

    References
    ----------
    EIP-1559, EIP-4399, EIP-4788, EIP-4844, EIP-4895, EIP-7892.

    Examples
    --------
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.CANCUN, base_fee=7, excess_blob_gas=10_000_000)
    >>> env.blob_gas_price
    19
    """

    number: int
    timestamp: int
    fork: Fork
    fee_recipient: bytes = bytes(20)
    gas_limit: int = 30_000_000
    prev_randao: int = 0
    base_fee: int | None = None
    chain_id: int = 1
    excess_blob_gas: int | None = None
    blob_gas_price: int | None = None
    parent_beacon_block_root: bytes | None = None
    block_hashes: Mapping[int, bytes] = field(default_factory=dict)
    withdrawals: tuple[Withdrawal, ...] = ()
    gas_used: int | None = None
    receipts_root: bytes | None = None
    logs_bloom: bytes | None = None
    state_root: bytes | None = None

    def __post_init__(self) -> None:
        for name, high in _HIGHEST.items():
            if name in _NEEDED or getattr(self, name) is not None:
                become(self, **{name: integer(name, getattr(self, name), 0, high)})
        for name, size in _SIZES.items():
            if name in _NEEDED or getattr(self, name) is not None:
                become(self, **{name: sized(name, getattr(self, name), size)})
        freeze(self, fork=fork_named(self.fork), block_hashes=self._hashes(), withdrawals=self._withdrawals())
        self._check_fork()
        if self.fork >= Fork.CANCUN and self.blob_gas_price is None:
            freeze(self, blob_gas_price=self._price())

    def _hashes(self) -> dict[int, bytes]:
        instance("block_hashes", self.block_hashes, Mapping)
        return {
            integer("block_hashes, number", number, 0, self.number - 1): sized(f"block_hashes[{number}]", digest, 32)
            for number, digest in self.block_hashes.items()
        }

    def _withdrawals(self) -> tuple[Withdrawal, ...]:
        out = []
        for i, given in enumerate(items("withdrawals", self.withdrawals, "withdrawals")):
            parts = items(f"withdrawals[{i}]", given, "values")
            if len(parts) != 4:
                raise BlockError(f"withdrawals[{i}] has {len(parts)} parts: must be {', '.join(Withdrawal._fields)}")
            one, place = Withdrawal(*parts), f"withdrawals[{i}]"
            address = sized(f"{place}.address", one.address, 20)
            names = ("number", "validator", "amount")
            whole = {name: integer(f"{place}.{name}", getattr(one, name), 0, _U64) for name in names}
            out.append(Withdrawal(address=address, **whole))
        return tuple(out)

    def _check_fork(self) -> None:
        """Fields are there from the fork that brought them, and not before."""
        for name, first in _SINCE.items():
            value = getattr(self, name)
            if self.fork < first and value not in (None, ()):
                text = f"{shown(value, 80)}: must not be given before {first.name.lower()}"
                raise BlockError(f"{name} = {text}, and fork = {self.fork.name.lower()}")
        if self.fork >= Fork.LONDON and self.base_fee is None:
            raise BlockError(f"base_fee = None: must be given from london on, and fork = {self.fork.name.lower()}")
        if self.fork >= Fork.CANCUN and self.excess_blob_gas is None and self.blob_gas_price is None:
            raise BlockError(f"excess_blob_gas = None: must be given from cancun on, and fork = {self.fork.name.lower()}")

    def _price(self) -> int:
        """Of a unit of blob gas, in wei."""
        parameters = blob_parameters(self.fork, self.timestamp if self.chain_id == 1 else None)
        excess, most = self.excess_blob_gas or 0, FRACTIONS_IN_A_WORD * parameters.fraction
        if excess > most:
            raise BlockError(f"excess_blob_gas = {excess}: must be at most {most}, for a price that fits in a word")
        return blob_base_fee(excess, parameters)


#: Integers, and what they are at most; then sizes of strings of bytes; and those of both that must be given.
_HIGHEST: Final = {
    "number": _U64, "timestamp": _U64, "gas_limit": _U64, "prev_randao": _U256, "chain_id": _U256, "base_fee": _U256,
    "blob_gas_price": _U256, "excess_blob_gas": _U64, "gas_used": _U64,
}  # fmt: skip
_NEEDED: Final = ("number", "timestamp", "gas_limit", "prev_randao", "chain_id", "fee_recipient")
_SIZES: Final = {
    "fee_recipient": 20, "parent_beacon_block_root": 32, "receipts_root": 32, "state_root": 32, "logs_bloom": 256,
}  # fmt: skip
_SINCE: Final = {
    "base_fee": Fork.LONDON,
    "withdrawals": Fork.SHANGHAI,
    "excess_blob_gas": Fork.CANCUN,
    "blob_gas_price": Fork.CANCUN,
    "parent_beacon_block_root": Fork.CANCUN,
}
