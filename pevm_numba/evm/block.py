"""A block of real transactions: what it takes to execute it, and what should come out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import html
from ..block import Block
from ..door import freeze, instance, integer, items, shown
from ..errors import BlockError
from .header import BlockEnv
from .lazy import Source
from .rlp import sized
from .transaction import Transaction
from .world import AccountState, World

__all__ = ["AnyBlock", "EvmBlock", "need_block"]

_U64: Final = 2**64 - 1
_U256: Final = 2**256 - 1


@dataclass(frozen=True, repr=False)
class EvmBlock:
    """Transactions, the block around them and the state before it.

    Parameters
    ----------
    env : BlockEnv
        Also what the header promises: gas used, receipts root, bloom.
    transactions : sequence of Transaction
        In block order, with senders.
    state : mapping of bytes to (balance, nonce, code, storage)
        All accounts that exist before the block, by their 20 bytes; what is not named is absent, and zero. Balances in wei,
        storage from slot to value, both below 2**256.
    after : mapping, optional
        Accounts after the last transaction, to compare with: all of those that are in `state` or made, if they still exist.
        Storage of those in it is complete as far as it is in `state` or changed.
    source : Source, optional
        Where what `state` does not name is fetched from when a transaction first needs it; without one it is absent. Of
        accounts in `state` that is slots that are not there. It is no part of what makes blocks equal.

    Raises
    ------
    BlockError
        Naming the transaction or account, the value and the rule.

    Examples
    --------
    >>> from .forks import Fork
    >>> tx = Transaction(gas_price=9, gas_limit=21_000, to=b"\\x02" * 20, value=5, sender=b"\\x01" * 20)
    >>> EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.BERLIN), [tx], {b"\\x01" * 20: (10**18, 0, b"", {})})
    <EvmBlock 7: berlin, 1 txs, 1 accounts>
    """

    env: BlockEnv
    transactions: tuple[Transaction, ...]
    state: Mapping[bytes, AccountState]
    after: Mapping[bytes, AccountState] | None = None
    source: Source | None = field(default=None, compare=False)

    def __init__(
        self, env: BlockEnv, transactions: Iterable[Transaction], state: World, after: World | None = None,
        source: Source | None = None,
    ) -> None:  # fmt: skip
        instance("env", env, BlockEnv)
        listed = tuple(items("transactions", transactions, "transactions"))
        for i, tx in enumerate(listed):
            instance(f"transactions[{i}]", tx, Transaction)
            if tx.sender is None:
                raise BlockError(f"transactions[{i}], sender = None: must be given, or recovered")
        if source is not None and not isinstance(source, Source):
            raise BlockError(f"source = {shown(source, 80)}: must have accounts, slots and storage, as a Source")
        left = None if after is None else _checked("after", after)
        freeze(self, env=env, transactions=listed, state=_checked("state", state), after=left, source=source)

    @property
    def number(self) -> int:
        """Height."""
        return self.env.number

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.transactions)

    @property
    def fork(self) -> str:
        """Name of the rules."""
        return self.env.fork.name.lower()

    @property
    def chain_gas_used(self) -> None:
        """Unknown of each transaction: headers tell sums and roots only."""
        return None

    @cached_property
    def sender(self) -> NDArray[np.uint8]:
        """(n_tx, 20) uint8: who sent each transaction."""
        sent = b"".join(tx.sender or b"" for tx in self.transactions)
        return np.frombuffer(sent, np.uint8).reshape(self.n_tx, 20)

    @cached_property
    def nonce(self) -> NDArray[np.uint64]:
        """(n_tx,) uint64: nonces of the transactions."""
        nonces = np.array([tx.nonce for tx in self.transactions], np.uint64)
        nonces.flags.writeable = False
        return nonces

    def digest(self) -> str:
        """SHA-256 of environment, transactions and state before the block in hexadecimal: equal for equal blocks.

        What the header promises is of the environment; `after` and `source` do not count. The file of an execution names its
        block by it.
        """
        env = {name: getattr(self.env, name) for name in self.env.__dataclass_fields__}
        env |= {"fork": self.fork, "block_hashes": sorted(self.env.block_hashes.items())}
        sha = hashlib.sha256(repr((sorted(env.items()), self.transactions)).encode())
        for address, account in sorted(self.state.items()):
            sha.update(repr((address, account[:3], sorted(account.storage.items()))).encode())
        return sha.hexdigest()

    __hash__ = None  # type: ignore[assignment]  # states compare by content

    def _repr_html_(self) -> str:
        slots = sum(len(account.storage) for account in self.state.values())
        facts: list[tuple[str, Any]] = [
            ("fork", self.fork), ("transactions", self.n_tx), ("accounts before", len(self.state)), ("slots before", slots),
            ("gas limits", sum(tx.gas_limit for tx in self.transactions)),
        ]  # fmt: skip
        if self.env.gas_used is not None:
            facts.append(("gas used, by the header", self.env.gas_used))
        rows = (
            (t, tx.type, _hex(tx.sender), "creation" if tx.to is None else _hex(tx.to), tx.gas_limit, tx.value, len(tx.data))
            for t, tx in enumerate(self.transactions)
        )
        heads = ("transaction", "type", "sender", "to", "gas limit", "value (wei)", "bytes of data")
        return html.table(f"EVM block {self.number}", facts, heads, rows, self.n_tx, "transactions")

    def __repr__(self) -> str:
        return f"<EvmBlock {self.number}: {self.fork}, {self.n_tx:,} txs, {len(self.state):,} accounts>"


#: A block of either kind. They share `number`, `n_tx`, `fork`, `sender`, `nonce` and `digest`.
AnyBlock: TypeAlias = Block | EvmBlock


def need_block(name: str, value: Any) -> None:
    """A BlockError that names `value` unless it is a block of either kind."""
    if not isinstance(value, AnyBlock):
        raise BlockError(f"{name} = {shown(value)}: must be a Block or an EvmBlock")


def _hex(given: bytes | None) -> str:
    return f"0x{(given or b'').hex()}"


def _checked(name: str, state: World) -> dict[bytes, AccountState]:
    """The accounts, each of the right shape."""
    instance(name, state, Mapping)
    return {sized(f"{name}, address", address, 20): _account(name, address, one) for address, one in state.items()}


def _account(name: str, address: bytes, given: tuple[int, int, bytes, Mapping[int, int]]) -> AccountState:
    place = f"{name}[0x{address.hex()}]"
    if not isinstance(given, tuple) or len(given) != 4:
        raise BlockError(f"{place} = {shown(given, 80)}: must be (balance, nonce, code, storage)")
    balance, nonce, code, storage = given
    instance(f"{place}, storage", storage, Mapping)
    if not isinstance(code, bytes):
        raise BlockError(f"{place}, code = {shown(code, 80)}: must be bytes")
    for slot, value in storage.items():
        if not (type(slot) is type(value) is int and 0 <= slot <= _U256 and 0 <= value <= _U256):
            raise BlockError(f"{place}, storage {shown(slot, 80)} = {shown(value, 80)}: must be integers in [0, 2**256)")
    return AccountState(
        integer(f"{place}, balance", balance, 0, _U256), integer(f"{place}, nonce", nonce, 0, _U64), bytes(code), storage
    )
