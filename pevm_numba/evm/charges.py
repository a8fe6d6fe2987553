"""What a transaction must pay and may be before any code runs; nonce and money of its sender are looked at by the machine.

The effective price of gas is what is paid; the fee cap is only what must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from ..blobs.market import BLOB_GAS
from ..blobs.rules import blob_violation
from ..errors import BlockError
from .forks import BlobParameters, Fork, blob_parameters
from .header import BlockEnv
from .precompiles.curves import SECP256K1
from .prices import prices
from .transaction import Transaction

__all__ = ["Charges", "Priced", "beyond_limits", "charges", "floor_gas", "intrinsic_gas", "priced", "prices_of", "refusal"]

#: First fork with transactions of each type (EIP-2930, 1559, 4844, 7702).
_TYPE_SINCE: Final = (Fork.FRONTIER, Fork.BERLIN, Fork.LONDON, Fork.CANCUN, Fork.PRAGUE)
_U64: Final = 2**64 - 1


class Charges(NamedTuple):
    """Prices in wei: of a unit of gas, the fee recipient's part of it, of all blobs; and what the sender must have."""

    fee: int
    tip: int
    blob_fee: int
    most: int


class Priced(NamedTuple):
    """What `intrinsic_gas`, `floor_gas` and `charges` say of a transaction."""

    intrinsic: int
    floor: int
    paid: Charges


def _tokens(data: bytes) -> int:
    """EIP-7623: a zero byte counts once, others four times."""
    return 4 * len(data) - 3 * data.count(0)


def intrinsic_gas(tx: Transaction, fork: Fork) -> int:
    """Gas that is used before the first opcode.

    References
    ----------
    Yellow Paper, equation 64; EIP-2, 2028, 2930, 3860, 7702.

    Examples
    --------
    >>> intrinsic_gas(Transaction(gas_price=1, to=bytes(20), data=b"\\x00\\x01"), Fork.LONDON)
    21020
    """
    price, zeros = prices(fork), tx.data.count(0)
    gas = price["tx"] + price["tx_zero_byte"] * zeros + price["tx_byte"] * (len(tx.data) - zeros)
    if tx.to is None:
        gas += price["tx_create"] + price["initcode_word"] * (-(-len(tx.data) // 32))
    for _, slots in tx.access_list:
        gas += price["list_address"] + price["list_slot"] * len(slots)
    return gas + price["authorization"] * len(tx.authorization_list)


def floor_gas(tx: Transaction, fork: Fork) -> int:
    """Least gas that is charged in the end; 0 before Prague.

    References
    ----------
    EIP-7623.

    Examples
    --------
    >>> floor_gas(Transaction(gas_price=1, to=bytes(20), data=b"\\x00\\x01"), Fork.PRAGUE)
    21050
    """
    price = prices(fork)
    return price["tx"] + price["tx_floor_token"] * _tokens(tx.data) if price["tx_floor_token"] else 0


def charges(tx: Transaction, env: BlockEnv) -> Charges:
    """What is paid for gas and blobs.

    References
    ----------
    EIP-1559, EIP-4844.

    Examples
    --------
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.LONDON, base_fee=7)
    >>> charges(Transaction(type=2, chain_id=1, gas_limit=10, max_fee_per_gas=9, max_priority_fee_per_gas=1), env)
    Charges(fee=8, tip=1, blob_fee=0, most=90)
    """
    base = env.base_fee or 0
    if tx.gas_price is not None:
        fee = cap = tx.gas_price
    else:
        cap = tx.max_fee_per_gas or 0
        fee = min(cap, base + (tx.max_priority_fee_per_gas or 0))
    blob_gas = BLOB_GAS * len(tx.blob_versioned_hashes)
    most = tx.gas_limit * cap + tx.value + blob_gas * (tx.max_fee_per_blob_gas or 0)
    return Charges(fee, fee - base, blob_gas * (env.blob_gas_price or 0), most)


def priced(tx: Transaction, env: BlockEnv) -> Priced:
    """All that a transaction costs before anything runs.

    Examples
    --------
    >>> priced(Transaction(gas_price=9, gas_limit=10, to=bytes(20)), BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN))
    Priced(intrinsic=21000, floor=0, paid=Charges(fee=9, tip=9, blob_fee=0, most=90))
    """
    return Priced(intrinsic_gas(tx, env.fork), floor_gas(tx, env.fork), charges(tx, env))


def _blob_parameters(env: BlockEnv) -> BlobParameters:
    return blob_parameters(env.fork, env.timestamp if env.chain_id == 1 else None)


def _blobs_refused(tx: Transaction, env: BlockEnv) -> str | None:
    prices_of_blobs = tx.max_fee_per_blob_gas or 0, env.blob_gas_price or 0
    found = blob_violation(tx.blob_versioned_hashes, *prices_of_blobs, _blob_parameters(env), to=tx.to)
    return None if found is None else found.text


def _signature_refused(tx: Transaction, fork: Fork) -> str | None:
    """EIP-155 and EIP-2, of a signature that is given; whose it is, `recover_senders` tells."""
    if tx.type == 0 and tx.v is not None and tx.v >= 35 and fork < Fork.SPURIOUS:
        return f"v = {tx.v}: signatures for one chain are not before {Fork.SPURIOUS.name.lower()}"
    for name, value in (("r", tx.r), ("s", tx.s)):
        if value is not None and not 0 < value < SECP256K1.order:
            return f"{name} = {value}: must be in [1, {SECP256K1.order - 1}]"
    if tx.s is not None and fork >= Fork.HOMESTEAD and tx.s > SECP256K1.order // 2:
        return f"s = {tx.s}: must be at most half the order of the curve"
    return None


def refusal(tx: Transaction, env: BlockEnv, known: Priced | None = None) -> str | None:
    """Why a block may not have this transaction, whatever the state; None if it may. `known`: its prices, if they are.

    References
    ----------
    EIP-2, 155, 1559, 2681, 2930, 3860, 4844, 7623, 7702, 7825.

    Examples
    --------
    >>> refusal(Transaction(gas_price=1, gas_limit=20_999, to=bytes(20)), BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN))
    'gas_limit = 20999: must be at least 21000'
    """
    fork, price = env.fork, prices(env.fork)
    if fork < _TYPE_SINCE[tx.type]:
        return f"type = {tx.type}: not before {_TYPE_SINCE[tx.type].name.lower()}"
    if tx.chain_id not in (None, env.chain_id):
        return f"chain_id = {tx.chain_id}: the block's is {env.chain_id}"
    signed = _signature_refused(tx, fork)
    if signed is not None:
        return signed
    known = priced(tx, env) if known is None else known
    least = max(known.intrinsic, known.floor)
    if tx.gas_limit < least:
        return f"gas_limit = {tx.gas_limit}: must be at least {least}"
    if tx.gas_limit > min(env.gas_limit, price["tx_gas"]):
        return f"gas_limit = {tx.gas_limit}: must be at most {min(env.gas_limit, price['tx_gas'])}"
    if tx.nonce == _U64:
        return f"nonce = {tx.nonce}: must be less"
    if tx.to is None and len(tx.data) > price["initcode_size"]:
        return f"data of {len(tx.data)} bytes: must be at most {price['initcode_size']} to create a contract"
    paid = known.paid
    if paid.tip < 0:
        return f"price of gas {paid.fee}: must be at least the base fee {env.base_fee}"
    if tx.gas_price is None and (tx.max_priority_fee_per_gas or 0) > (tx.max_fee_per_gas or 0):
        return f"max_priority_fee_per_gas = {tx.max_priority_fee_per_gas}: must be at most {tx.max_fee_per_gas}"
    if paid.most >= 2**256:
        return f"all that it may cost, {paid.most}: must fit in a word"
    if tx.type == 4 and not tx.authorization_list:
        return "authorization_list is empty: must not be"
    return _blobs_refused(tx, env) if tx.type == 3 else None


def prices_of(txs: Sequence[Transaction], env: BlockEnv) -> list[Priced]:
    """What a block's transactions cost before anything runs.

    Raises
    ------
    BlockError
        Naming the first that no block of this environment may have, and why.
    """
    made = []
    for i, tx in enumerate(txs):
        made.append(priced(tx, env))
        reason = "sender = None: must be given, or recovered" if tx.sender is None else refusal(tx, env, made[i])
        if reason is not None:
            raise BlockError(f"block {env.number}: transaction {i} refused: {reason}")
    return made


def beyond_limits(txs: Sequence[Transaction], env: BlockEnv, gas_used: Sequence[int]) -> str | None:
    """Why a block may not have transactions that use so much gas; None if it may.

    Each one's gas must fit in what those before it have left, and all blobs in a block.

    References
    ----------
    Yellow Paper, equation 65. EIP-4844: Shard Blob Transactions.

    Examples
    --------
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN, gas_limit=50_000)
    >>> beyond_limits([Transaction(gas_price=9, gas_limit=30_000)] * 2, env, [21_000, 21_000])
    'transaction 1 refused: gas_limit = 30000: the block has 29000 left'
    """
    for t, (tx, before) in enumerate(zip(txs, accumulate(gas_used, initial=0))):
        if tx.gas_limit > env.gas_limit - before:
            return f"transaction {t} refused: gas_limit = {tx.gas_limit}: the block has {env.gas_limit - before} left"
    blobs = sum(len(tx.blob_versioned_hashes) for tx in txs)
    most = _blob_parameters(env).most if blobs else 0
    return f"{blobs} blobs: a block has {most} at most" if blobs > most else None
