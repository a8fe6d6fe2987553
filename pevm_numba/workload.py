"""The arrays of a generated block. Draws are hashes, so nothing depends on machine, thread count or NumPy version.

Nothing rounds but `+ - * /` and square roots, which IEEE 754 fixes to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from . import door
from ._kernels import generate as _k
from ._kernels.jit import inputs
from .errors import BlockError, TooLargeError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SLOTS_PER_CONTRACT", "OpMix", "Recipe", "blobs", "columns", "senders", "share", "zipf_weights"]

#: Shared keys with neighbouring numbers lie in one contract, this many each.
SLOTS_PER_CONTRACT: Final = 16

#: Larger Zipf tables would take more memory than the block.
_MAX_ZIPF_KEYS: Final = 2**24
_MAX_ACCESSES: Final = 256
_ADDRESS_KINDS: Final = {"pool": 0x10, "structural": 0x11, "private": 0x12, "sender": 0x13}


@dataclass(frozen=True)
class OpMix:
    """What a generated transaction does. The defaults are PEVM-OPT-2's workload, but that some writes depend on reads.

    A program is: loads, one ADD or SUB (if there is a load), stores, at most one KECCAK, NOOPs.

    Parameters
    ----------
    loads, stores, noops : (low, high)
        Number of SLOADs, SSTOREs and NOOPs, uniform in [low, high]; at most 256 each.
    noop_count : int
        Steps of each NOOP, 1 gas each.
    keccak_share : float
        Share of transactions that hash 32 bytes.
    sub_share : float
        Share of transactions with SUB in place of ADD.
    top_share : float
        Share of writes that store the stack top (as long as the stack has one) and not a literal.
    zero_share : float
        Share of literal writes that write zero, which may earn a refund; the others write 1..999.
    filled_share : float
        Share of keys whose value before the block is not zero but 1..1000.

    Raises
    ------
    BlockError
        If a value is out of range.
    """

    loads: tuple[int, int] = (1, 5)
    stores: tuple[int, int] = (1, 3)
    noops: tuple[int, int] = (0, 2)
    noop_count: int = 1
    keccak_share: float = 0.2
    sub_share: float = 0.25
    top_share: float = 0.25
    zero_share: float = 0.1
    filled_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("loads", "stores", "noops"):
            object.__setattr__(self, name, door.span(name, getattr(self, name), 0, _MAX_ACCESSES))
        object.__setattr__(self, "noop_count", door.integer("noop_count", self.noop_count, 0, 2**31 - 1))
        for item in fields(self):
            if item.name.endswith("_share"):
                object.__setattr__(self, item.name, share(item.name, getattr(self, item.name)))


@dataclass(frozen=True)
class Recipe:
    """Checked parameters of one block."""

    n_tx: int
    key_space: int
    conflict_ratio: float
    cold_ratio: float
    seed: int
    dependency_ratio: float
    distance: int
    star: bool
    group_size: int
    mix: OpMix

    def thresholds(self) -> NDArray[np.uint64]:
        mix = self.mix
        shares = [0.0] * 8
        shares[_k.P_SHARED], shares[_k.P_COLD] = self.conflict_ratio, self.cold_ratio
        shares[_k.P_KECCAK], shares[_k.P_SUB], shares[_k.P_TOP] = mix.keccak_share, mix.sub_share, mix.top_share
        shares[_k.P_ZERO], shares[_k.P_DEPENDS] = mix.zero_share, self.dependency_ratio
        shares[_k.P_FILLED] = mix.filled_share
        return np.array([int(Fraction(share) * 2**63) for share in shares], np.uint64)

    def sizes(self) -> NDArray[np.int64]:
        mix = self.mix
        return np.array(
            [*mix.loads, *mix.stores, *mix.noops, mix.noop_count, self.key_space, self.distance, self.star,
             self.group_size, SLOTS_PER_CONTRACT], np.int64,
        )  # fmt: skip

    def gas_limit(self) -> int:
        """A limit that never binds: each access listed and cold, each store the dearest."""
        mix = self.mix
        accesses = (mix.loads[1] + 2) * 6_400 + (mix.stores[1] + 2) * 26_400
        return max(door.DEFAULT_GAS_LIMIT, 21_000 + accesses + 3 + 36 + mix.noops[1] * mix.noop_count)


def share(name: str, value: Any) -> float:
    """`value` as a float in [0, 1], or a BlockError that names it."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not 0 <= value <= 1:
        raise BlockError(f"{name} = {door.shown(value)}: must be a number in [0, 1]")
    return float(value)


def zipf_weights(n: int, exponent: float) -> NDArray[np.uint64]:
    """Cumulative integer weights, (n,) uint64: of rank k in 1..n, ``max(1, floor(2**39 * k**-exponent))``.

    `pow` differs between C libraries; roots and products do not, and an exponent of 16 binary digits needs no more: the
    j-th digit contributes the j-th repeated square root of k.
    """
    if n > _MAX_ZIPF_KEYS:
        raise BlockError(f"key_space = {n} with pattern 'zipf': must be at most {_MAX_ZIPF_KEYS}")
    if isinstance(exponent, bool) or not isinstance(exponent, int | float) or not 0 <= exponent <= 4:
        raise BlockError(f"exponent = {door.shown(exponent)}: must be a number in [0, 4]")
    digits = int(Fraction(exponent) * 2**16 + Fraction(1, 2))
    rank = np.arange(1, n + 1, dtype=np.float64)
    power = np.ones(n)
    for _ in range(digits >> 16):
        power *= rank
    root = rank
    for digit in range(15, -1, -1):
        root = np.sqrt(root)
        if digits >> digit & 1:
            power *= root
    return np.cumsum(np.maximum(np.floor(2.0**39 / power).astype(np.uint64), np.uint64(1)), dtype=np.uint64)


# -------------------------------------------------------------------- arrays


def columns(recipe: Recipe, zipf: NDArray[np.uint64]) -> dict[str, Any]:
    """Arguments of `Block.from_arrays` but for the senders."""
    n_tx, p, s = recipe.n_tx, recipe.thresholds(), recipe.sizes()
    ends = [np.empty(n_tx + 1, np.int64) for _ in range(4)]
    fixed = inputs(p, s)
    with np.errstate(over="ignore"):  # in plain Python (NUMBA_DISABLE_JIT) NumPy would warn of the wrap-around
        _k.shape_blocks(np.uint64(recipe.seed), n_tx, *fixed, *ends)
    op_indptr, load_indptr, store_indptr, hash_indptr = ends
    n_ops, n_accesses, n_hashes = int(op_indptr[-1]), int(load_indptr[-1] + store_indptr[-1]), int(hash_indptr[-1])
    if n_accesses >= 2**30 or n_ops >= 2**31 - 1:
        text = f"n_tx = {n_tx} with {n_accesses} accesses and {n_ops} ops"
        raise TooLargeError(f"{text}: must be fewer than 2**30 and 2**31 - 1; take fewer transactions or a smaller mix")
    op_code, op_key, op_arg = np.empty(n_ops, np.uint8), np.empty(n_ops, np.int32), np.empty(n_ops, np.int32)
    code, payload = np.empty(n_accesses, np.int64), np.empty((n_hashes, 4), np.uint64)
    list_indptr, listed = np.empty(n_tx + 1, np.int64), np.empty(2 * n_accesses, np.int32)
    warm = np.empty(int(np.diff(load_indptr + store_indptr).max(initial=0)), np.int64)
    with np.errstate(over="ignore"):
        n_listed = _k.fill_blocks(
            np.uint64(recipe.seed), n_tx, *fixed, *inputs(zipf, *ends),
            op_code, op_key, op_arg, code, payload, list_indptr, listed, warm,
        )  # fmt: skip
    row, keys = _key_table(recipe, code, load_indptr + store_indptr)
    words = np.zeros((max(_k.MAX_LITERAL, _k.MAX_ADDEND) + 1, 4), np.uint64)
    words[:, 0] = np.arange(len(words))  # op_arg is the literal itself
    return {
        "op_indptr": op_indptr,
        "op_code": op_code,
        "op_key": _rows(row, op_key),
        "op_arg": op_arg,
        "words": words,
        "payload_indptr": np.arange(0, 32 * n_hashes + 1, 32),
        "payload_data": payload.astype("<u8", copy=False).view(np.uint8).ravel(),
        "gas_limit": np.full(n_tx, recipe.gas_limit(), np.int64),
        **_declared(row, load_indptr, store_indptr),
        **_access_list(row, listed[:n_listed], keys["key_address"]),
        "list_indptr": list_indptr,
        **keys,
    }


def _rows(row: NDArray[np.int32], access: NDArray[np.int32]) -> NDArray[np.int32]:
    """Key row of each access number; -1 stays."""
    return np.where(access < 0, np.int32(-1), row[access]) if len(row) else access


def _key_table(
    recipe: Recipe, code: NDArray[np.int64], first: NDArray[np.int64]
) -> tuple[NDArray[np.int32], dict[str, NDArray[Any]]]:
    """Key row of each access, and the key table (shared keys, then private ones) with the pre-state."""
    private = np.flatnonzero(code < 0)
    shared, which = np.unique(code[code >= 0], return_inverse=True)
    row = np.empty(len(code), np.int32)
    row[code >= 0] = which
    row[private] = np.arange(len(shared), len(shared) + len(private))
    tx = np.searchsorted(first, private, side="right") - 1
    place = private - first[tx]

    n_pool = int(np.searchsorted(shared, recipe.key_space))
    structural = shared[n_pool:] - recipe.key_space
    n = len(shared) + len(private)
    address, slot = np.zeros((n, 20), np.uint8), np.zeros((n, 32), np.uint8)
    parts = (("pool", shared[:n_pool]), ("structural", structural))
    start = 0
    for kind, numbers in parts:
        stop = start + len(numbers)
        address[start:stop] = _addresses(kind, numbers // SLOTS_PER_CONTRACT)
        slot[start:stop, 31] = numbers % SLOTS_PER_CONTRACT
        start = stop
    address[start:] = _addresses("private", tx)
    slot[start:, 30], slot[start:, 31] = place >> 8, place & 255

    codes = np.concatenate([shared, np.full(len(private), -1)])
    unused = np.zeros(len(shared), np.int64)
    values = np.empty(n, np.uint64)
    owner = inputs(codes, np.concatenate([unused, tx]), np.concatenate([unused, place]))
    with np.errstate(over="ignore"):
        _k.pre_values(np.uint64(recipe.seed), *owner, recipe.thresholds()[_k.P_FILLED], values)
    filled = np.flatnonzero(values).astype(np.int32)
    state_value = np.zeros((len(filled), 4), np.uint64)
    state_value[:, 0] = values[filled]
    return row, {
        "key_address": address,
        "key_field": np.zeros(n, np.uint8),
        "key_slot": slot,
        "state_key": filled,
        "state_value": state_value,
    }


def _addresses(kind: str, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, 20) uint8: a byte that tells the kind, zeros, and the number in 8 bytes, so that people can read them."""
    out = np.zeros((len(numbers), 20), np.uint8)
    out[:, 0] = _ADDRESS_KINDS[kind]
    out[:, 12:] = numbers.astype(">i8").view(np.uint8).reshape(-1, 8)
    return out


def _declared(
    row: NDArray[np.int32], load_indptr: NDArray[np.int64], store_indptr: NDArray[np.int64]
) -> dict[str, tuple[NDArray[Any], NDArray[np.int32], NDArray[np.bool_]]]:
    """Declared reads and writes: what is loaded and what is stored."""
    n_tx = len(load_indptr) - 1
    counts = np.stack([np.diff(load_indptr), np.diff(store_indptr)], axis=1).ravel()
    stores = np.repeat(np.tile([False, True], n_tx), counts)
    every = np.ones(n_tx, bool)
    return {
        "declared_reads": (load_indptr, row[~stores], every),
        "declared_writes": (store_indptr, row[stores], every),
    }


def _access_list(
    row: NDArray[np.int32], listed: NDArray[np.int32], key_address: NDArray[np.uint8]
) -> dict[str, NDArray[Any]]:
    """Access-list entries from access numbers."""
    named = np.flatnonzero(listed < 0)
    entry = np.empty(len(listed), np.int32)
    entry[listed >= 0] = row[listed[listed >= 0]]
    entry[named] = -1 - np.arange(len(named))
    return {"list_entry": entry, "list_address": key_address[row[-1 - listed[named]]]}


def senders(recipe: Recipe, n_senders: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Senders and nonces; a sender's nonces count up from 0 in block order."""
    n_tx = recipe.n_tx
    if n_senders is None:
        return _addresses("sender", np.arange(n_tx)), np.zeros(n_tx, np.uint64)
    n_senders = door.integer("n_senders", n_senders, 1, 2**31 - 1)
    who = np.empty(n_tx, np.int64)
    with np.errstate(over="ignore"):
        _k.sender_draws(np.uint64(recipe.seed), n_senders, who)
    order = np.argsort(who, kind="stable")
    first = np.searchsorted(who[order], who[order], side="left")
    nonce = np.empty(n_tx, np.uint64)
    nonce[order] = np.arange(n_tx) - first
    return _addresses("sender", who), nonce


def blobs(recipe: Recipe, ratio: Any, per_tx: Any, fee_cap: Any) -> dict[str, pa.Array] | None:
    """Optional columns of the transactions that carry blobs, null for those that carry none; None if nobody may."""
    ratio = share("blob_ratio", ratio)
    low, high = door.span("blobs_per_tx", per_tx, 1, 255)
    least, most = door.span("blob_fee_cap", fee_cap, 0, 2**63)
    if not ratio:
        return None
    count, cap = np.empty(recipe.n_tx, np.uint8), np.empty(recipe.n_tx, np.uint64)
    threshold = np.uint64(int(Fraction(ratio) * 2**63))
    with np.errstate(over="ignore"):
        _k.blob_draws(np.uint64(recipe.seed), threshold, low, high, np.uint64(least), np.uint64(most), count, cap)
    import pyarrow as pa

    none = count == 0
    return {"blob_count": pa.array(count, mask=none), "max_fee_per_blob_gas": pa.array(cap, mask=none)}
