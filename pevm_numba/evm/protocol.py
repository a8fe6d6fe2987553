"""What a block does beside its transactions: contracts that the protocol calls before and after them, and withdrawals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import BlockError
from .encoding import SYSTEM
from .forks import Fork
from .header import BlockEnv
from .transaction import Transaction

__all__ = ["CONTRACTS", "calls_after", "calls_before", "paid_out"]

#: Contracts that are called before and after the transactions (EIP-4788, 2935, 7002, 7251).
_BEACON_ROOTS: Final = bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02")
_HISTORY: Final = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
_AFTER: Final = (
    bytes.fromhex("00000961ef480eb55e80d19ad83579a64c007002"), bytes.fromhex("0000bbddc7ce488642fb579f8b00f3a590007251"),
)  # fmt: skip
CONTRACTS: Final = (_BEACON_ROOTS, _HISTORY, *_AFTER)

_SYSTEM_GAS: Final = 30_000_000
_GWEI: Final = 10**9


def _call(to: bytes, data: bytes) -> Transaction:
    return Transaction(gas_price=0, gas_limit=_SYSTEM_GAS, to=to, data=data, sender=SYSTEM)


def calls_before(env: BlockEnv, has_code: Callable[[bytes], bool]) -> list[Transaction]:
    """Calls before the transactions: the beacon root and the parent's hash are kept (EIP-4788, 2935).

    Raises
    ------
    BlockError
        If the parent's hash is to be kept and not known.

    Examples
    --------
    >>> given = {"base_fee": 7, "excess_blob_gas": 0, "parent_beacon_block_root": b"\\x05" * 32}
    >>> env = BlockEnv(number=7, timestamp=1, fork=Fork.CANCUN, **given)
    >>> [(call.to.hex()[:8], call.data[:2]) for call in calls_before(env, lambda address: True)]
    [('000f3df6', b'\\x05\\x05')]
    """
    calls = []
    if env.parent_beacon_block_root is not None:
        calls.append((_BEACON_ROOTS, env.parent_beacon_block_root))
    if env.fork >= Fork.PRAGUE and env.number > 0 and has_code(_HISTORY):
        parent = env.block_hashes.get(env.number - 1)
        if parent is None:
            raise BlockError(f"block {env.number}: env.block_hashes without its parent's, which is to be kept (EIP-2935)")
        calls.append((_HISTORY, parent))
    return [_call(*one) for one in calls if has_code(one[0])]


def calls_after(env: BlockEnv, has_code: Callable[[bytes], bool]) -> list[Transaction]:
    """Calls after the transactions, which must succeed: requests of the execution layer are collected (EIP-7002, 7251).

    Examples
    --------
    >>> env = BlockEnv(number=7, timestamp=1, fork=Fork.PRAGUE, base_fee=7, excess_blob_gas=0)
    >>> len(calls_after(env, lambda address: True))
    2
    """
    return [_call(address, b"") for address in _AFTER if has_code(address)] if env.fork >= Fork.PRAGUE else []


def paid_out(env: BlockEnv, i: int, balance: int) -> int:
    """What a withdrawal makes of a balance in wei (EIP-4895).

    Raises
    ------
    BlockError
        If no balance can hold that.
    """
    after = balance + env.withdrawals[i].amount * _GWEI
    if after >= 2**256:
        raise BlockError(f"block {env.number}: withdrawal {i}: makes a balance of {after}: above 2²⁵⁶ - 1")
    return after
