"""Estimates of what transactions touch, made *before* execution: hints, which may cost time but never correctness.

`static` is exact here only because micro-op programs are straight lines: its precision and recall are 1 by construction
(for transactions that succeed), which says nothing about real contracts.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import access as _k
from .._kernels import block as _block_k
from .._kernels.jit import inputs
from ..block import Block
from ..errors import BlockError
from ..evm.block import AnyBlock, EvmBlock, need_block
from ..evm.declared import declared_sets
from ..evm.engine import Engine
from ..evm.observation import Observation, observe
from ..evm.plans import serial_plan
from ..machine.ops import Mode
from .sets import AccessSets, need_access
from .view import merged, select

__all__ = ["ORACLES", "access_sets", "degrade", "exact_oracle", "exact_sets", "observed_sets"]

#: Ways to estimate access sets; see `access_sets`.
ORACLES: Final = ("static", "declared", "eip2930", "union", "degraded", "observed")


def access_sets(
    block: AnyBlock,
    oracle: str | None = None,
    *,
    miss_rate: float = 0.0,
    extra_rate: float = 0.0,
    seed: int = 0,
    fields: Iterable[str | int] | None = None,
    granularity: str = "slot",
    fee_recipient: str = "commutative",
) -> AccessSets:
    """Estimate what each transaction of a block will touch.

    Parameters
    ----------
    block : Block or EvmBlock
    oracle : str, optional
        "static": the keys of the program, worked out anew at each call. "declared": the block's declared reads and
        writes. "eip2930": the keys of the access list, as READ|WRITE. "union": all of these that the block has.
        "degraded": the default spoilt by `degrade`. Of an EVM block "static" is what its transactions say before they run:
        sender, fee recipient, value, the code that is called; "eip2930" the lists; "union" both; "observed" what they
        access when the block is executed serially. Default: what is exact, "static" of a `Block`, "observed" of an
        `EvmBlock`.
    miss_rate, extra_rate, seed
        Of "degraded", as in `degrade`.
    fields, granularity, fee_recipient
        Which dependencies count, as in `select`.

    Returns
    -------
    AccessSets
        Keys are those of the block (accounts with ``granularity="account"``); of an EVM block those of its ``table``.

    Raises
    ------
    BlockError
        If a name or rate is wrong, or nothing is declared where "declared" is asked for.

    Notes
    -----
    Linear in the ops, accesses and keys of the block, but for the sort within a transaction. "observed" runs the block.

    References
    ----------
    EIP-2930 (access lists).

    Examples
    --------
    >>> a, b = (1, 0, 0), (2, 0, 0)
    >>> block = Block.from_programs([[("SLOAD", a), ("SSTORE", b, "TOP")]], access_lists=[[(1, [0])]])
    >>> access_sets(block)[0]
    {0: <Mode.READ: 1>, 1: <Mode.WRITE: 2>}
    >>> access_sets(block, "eip2930")[0]
    {0: <Mode.READ|WRITE: 3>}
    """
    need_block("block", block)
    oracle = exact_oracle(block) if oracle is None else oracle
    door.choice("oracle", oracle, ORACLES)
    spoils = _threshold("miss_rate", miss_rate) or _threshold("extra_rate", extra_rate)
    if oracle != "degraded" and spoils:
        raise BlockError(f"miss_rate = {miss_rate!r}, extra_rate = {extra_rate!r}: only oracle 'degraded' takes them")
    if oracle == "degraded":
        access = degrade(access_sets(block), miss_rate, extra_rate, seed)
    else:
        access = _of_evm(block, oracle) if isinstance(block, EvmBlock) else _of_programs(block, oracle)
    return select(access, block, fields=fields, granularity=granularity, fee_recipient=fee_recipient)


def exact_oracle(block: AnyBlock) -> str:
    """The oracle that tells just what a block's transactions access in block order (of micro-ops: if none of them fails).

    Examples
    --------
    >>> exact_oracle(Block.from_programs([]))
    'static'
    """
    return "observed" if isinstance(block, EvmBlock) else "static"


def exact_sets(block: AnyBlock) -> AccessSets:
    """`access_sets` by the exact oracle; of a Block as they were worked out when it was made."""
    return AccessSets.footprint(block) if isinstance(block, Block) else access_sets(block)


def _of_programs(block: Block, oracle: str) -> AccessSets:
    if oracle == "static":
        access = _static(block)
    elif oracle == "declared":
        access = _declared(block)
    elif oracle == "eip2930":
        access = _listed(block)
    elif oracle == "union":
        access = _union(_union(_static(block), _listed(block)), _declared(block, needed=False))
    else:
        raise BlockError(f"oracle = {oracle!r} of a Block: only running tells what is observed: execute(block).observed")
    return access


def degrade(access: AccessSets, miss_rate: float = 0.0, extra_rate: float = 0.0, seed: int = 0) -> AccessSets:
    """Spoil access sets: leave out accesses and add some that do not happen.

    Parameters
    ----------
    access : AccessSets
    miss_rate : float in [0, 1]
        Chance that an access is left out. For one seed, what a lower rate leaves out a higher one does too.
    extra_rate : float in [0, 1]
        Chance, for each access, that one is added: a READ or a WRITE of a key drawn from all keys. If the transaction
        accesses that key already, nothing is added.
    seed : int in [0, 2**64)
        The result depends on the arguments only: draws are hashes of (seed, transaction, key).

    Raises
    ------
    BlockError
        If a rate or the seed is out of range.

    Examples
    --------
    >>> sets = AccessSets.from_dicts([{0: Mode.WRITE}, {0: Mode.READ, 2: Mode.READ}], n_keys=3)
    >>> degrade(sets) == sets, degrade(sets, miss_rate=1).n_accesses
    (True, 0)
    """
    need_access("access", access)
    miss, extra = _threshold("miss_rate", miss_rate), _threshold("extra_rate", extra_rate)
    start = np.uint64(door.integer("seed", seed, 0, 2**64 - 1))
    indptr = np.empty(access.n_tx + 1, np.int64)
    keys, modes = np.empty(2 * access.n_accesses, np.int32), np.empty(2 * access.n_accesses, np.uint8)
    given = inputs(access.indptr, access.keys, access.modes)
    with np.errstate(over="ignore"):  # in plain Python (NUMBA_DISABLE_JIT) NumPy would warn of the wrap-around
        total = _k.degrade_sets(*given, access.n_keys, start, miss, extra, indptr, keys, modes)
    return AccessSets.trusted(access.n_keys, indptr, keys[:total].copy(), modes[:total].copy(), table=access.table)


def observed_sets(block: AnyBlock, seen: Observation) -> AccessSets:
    """What a run of an EVM block was seen to access."""
    columns = seen.indptr.copy(), seen.key.copy(), seen.modes.copy()
    return AccessSets.trusted(len(seen.keys), *columns, block, seen.keys)


def _of_evm(block: EvmBlock, oracle: str) -> AccessSets:
    if oracle == "observed":
        engine = Engine(block.env, block.transactions, block.state, records=True, source=block.source)
        engine.run(serial_plan(block.n_tx))
        return observed_sets(block, observe(engine))
    if oracle == "declared":
        raise BlockError("oracle = 'declared' of an EVM block: has no declared sets; 'eip2930' takes its access lists")
    sets = declared_sets(block.env, block.transactions, static=oracle != "eip2930", listed=oracle != "static")
    return AccessSets.from_names(sets)


def _threshold(name: str, rate: Any) -> np.uint64:
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.integer | np.floating) or not 0 <= rate <= 1:
        raise BlockError(f"{name} = {door.shown(rate)}: must be a number in [0, 1]")
    return np.uint64(int(Fraction(float(rate)) * 2**63))


def _static(block: Block) -> AccessSets:
    indptr = np.empty(block.n_tx + 1, np.int64)
    keys, modes = np.empty(block.n_ops, np.int32), np.empty(block.n_ops, np.uint8)
    program = inputs(block.op_indptr, block.op_code, block.op_key)
    total = _block_k.static_sets(*program, block.n_keys, indptr, keys, modes)
    return AccessSets.trusted(block.n_keys, indptr, keys[:total].copy(), modes[:total].copy(), block)


def _declared(block: Block, *, needed: bool = True) -> AccessSets:
    if needed and not (block.declares_reads.any() or block.declares_writes.any()):
        raise BlockError(f"oracle = 'declared': no transaction of block {block.number} declares reads or writes")
    reads, writes = _same_mode(block.read_key, Mode.READ), _same_mode(block.write_key, Mode.WRITE)
    read, written = (block.read_indptr, block.read_key, reads), (block.write_indptr, block.write_key, writes)
    return merged(block.n_keys, read, written)


def _listed(block: Block) -> AccessSets:
    is_key = block.list_entry >= 0
    before = np.zeros(len(is_key) + 1, np.int64)
    np.cumsum(is_key, out=before[1:])
    keys = block.list_entry[is_key]
    return merged(block.n_keys, (before[block.list_indptr], keys, _same_mode(keys, Mode.READ | Mode.WRITE)))


def _union(a: AccessSets, b: AccessSets) -> AccessSets:
    return merged(a.n_keys, (a.indptr, a.keys, a.modes), (b.indptr, b.keys, b.modes))


def _same_mode(keys: NDArray[np.int32], mode: Mode) -> NDArray[np.uint8]:
    return np.full(len(keys), mode, np.uint8)
