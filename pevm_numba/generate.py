"""Synthetic blocks. `conflict_ratio` is the chance that a *key* is from the shared pool, not a share of pairs.

The same arguments give the same block on any machine, for any thread count and any NumPy: see `workload`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from . import door
from .block import Block
from .errors import BlockError
from .workload import SLOTS_PER_CONTRACT, OpMix, Recipe, blobs, columns, senders, share, zipf_weights

__all__ = ["PATTERNS", "PRESETS", "SLOTS_PER_CONTRACT", "OpMix", "Preset", "generate"]


@dataclass(frozen=True)
class Preset:
    """The four numbers of a named workload; meaning as in `generate`."""

    n_tx: int
    key_space: int
    conflict_ratio: float
    cold_ratio: float


#: Named workloads; the first four are PEVM-OPT-2's.
PRESETS: Final[dict[str, Preset]] = {
    "small": Preset(100, 1_000, 0.1, 0.3),
    "medium": Preset(1_000, 10_000, 0.2, 0.3),
    "large": Preset(5_000, 50_000, 0.3, 0.4),
    "huge": Preset(1_000_000, 10_000_000, 0.3, 0.4),
    "no-conflicts": Preset(1_000, 10_000, 0.0, 0.3),
    "full-conflicts": Preset(1_000, 1, 1.0, 0.3),
}

#: What decides which transactions share a key; see `generate`.
PATTERNS: Final = ("uniform", "zipf", "chain", "star", "clique", "independent")

def generate(
    preset: str | None = None,
    *,
    n_tx: int | None = None,
    key_space: int | None = None,
    conflict_ratio: float | None = None,
    cold_ratio: float | None = None,
    seed: int = 42,
    pattern: str = "uniform",
    exponent: float = 1.1,
    group_size: int = 10,
    dependency_ratio: float | None = None,
    dependency_distance: int = 1,
    n_senders: int | None = None,
    mix: OpMix | None = None,
    blob_ratio: float = 0.0,
    blobs_per_tx: tuple[int, int] = (1, 6),
    blob_fee_cap: tuple[int, int] = (1, 10**9),
    number: int = 0,
    fork: str = "london",
) -> Block:
    """Make a synthetic block, the same for the same arguments everywhere.

    Parameters
    ----------
    preset : str, optional
        One of `PRESETS`; "medium" if neither it nor n_tx is given. Parameters given beside it override it.
    n_tx : int in [0, 2**26]
        Number of transactions.
    key_space : int in [1, 2**61]
        Keys in the shared pool; default (without preset) 10 a transaction.
    conflict_ratio : float in [0, 1]
        Chance that an access draws its key from the shared pool; otherwise its key is private: no other access has it.
        Default (without preset) 0.2. It is *not* the share of pairs that conflict: see `conflict_rate` for that.
    cold_ratio : float in [0, 1]
        Share of a transaction's keys that its access list leaves out, so that their first access is cold; default 0.3.
    seed : int in [0, 2**64)
    pattern : str
        Which keys are shared. "uniform": pool keys, all equally likely. "zipf": pool keys, the k-th with a chance in
        proportion to ``k ** -exponent``. The others add keys of their own and leave the pool unused unless
        conflict_ratio is given: "chain": each transaction reads what the one `dependency_distance` before wrote;
        "star": the first writes one hub key, all others read it; "clique": in each run of `group_size` transactions
        all read and write one key; "independent": nothing is shared.
    exponent : float in [0, 4]
        Of "zipf"; rounded to a multiple of 2**-16.
    group_size : int in [1, 2**31)
        Of "clique", in transactions.
    dependency_ratio : float in [0, 1]
        Share of transactions (beyond the first `dependency_distance`) that read a key which the transaction
        `dependency_distance` before writes; default 0, with "chain" always 1. Goes with any pattern but "independent".
    dependency_distance : int in [1, 2**31)
        In transactions.
    n_senders : int in [1, 2**31), optional
        Draw senders from so many, with nonces that count up; default: each transaction has its own, with nonce 0.
    mix : OpMix, optional
        Ops of a transaction and values; default PEVM-OPT-2's.
    blob_ratio : float in [0, 1]
        Chance that a transaction carries blobs; then `Block.meta` has ``blob_count`` and ``max_fee_per_blob_gas``, null
        for those without.
    blobs_per_tx : (low, high)
        How many, uniform in [low, high]; at least 1, at most 255.
    blob_fee_cap : (low, high)
        Most wei for a unit of blob gas, uniform in [low, high]; at most 2**63.
    number, fork
        As in `Block`.

    Returns
    -------
    Block
        With access lists and declared reads and writes (the keys loaded and stored, in program order).

    Raises
    ------
    BlockError
        Naming parameter, value and rule.
    TooLargeError
        If transactions and mix make 2**30 accesses or more.

    Notes
    -----
    All keys are storage. Structural keys (of chain, star, clique and dependencies) are read by the last load and
    written, from the stack top, by the first store, so the order of transactions shows in the state. Gas limits never
    bind. O(accesses); the preset "huge" takes 4 to 6 s on one core and 1.6 GiB, most of both in making the `Block`.

    References
    ----------
    Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014 (the hash, splitmix64).

    Examples
    --------
    >>> generate("small")
    <Block 0: 100 txs, 701 ops, 477 keys, london>
    >>> generate(n_tx=3, pattern="chain", seed=7) == generate(n_tx=3, pattern="chain", seed=7)
    True
    >>> generate(n_tx=6, blob_ratio=0.5, blobs_per_tx=(2, 3), seed=1).meta["blob_count"].to_pylist()
    [3, 2, 3, 3, None, None]
    """
    if pattern not in PATTERNS:
        raise BlockError(f"pattern = {door.shown(pattern)}: must be one of {', '.join(PATTERNS)}")
    base = _base(preset, n_tx)
    free = pattern not in ("uniform", "zipf") and conflict_ratio is None
    recipe = Recipe(
        n_tx=door.integer("n_tx", base.n_tx if n_tx is None else n_tx, 0, 2**26),
        key_space=door.integer("key_space", base.key_space if key_space is None else key_space, 1, 2**61),
        conflict_ratio=0.0 if free else share("conflict_ratio", _first(conflict_ratio, base.conflict_ratio)),
        cold_ratio=share("cold_ratio", _first(cold_ratio, base.cold_ratio)),
        seed=door.integer("seed", seed, 0, 2**64 - 1),
        dependency_ratio=_dependency_ratio(pattern, dependency_ratio),
        distance=door.integer("dependency_distance", dependency_distance, 1, 2**31 - 1),
        star=pattern == "star",
        group_size=door.integer("group_size", group_size, 1, 2**31 - 1) if pattern == "clique" else 0,
        mix=_mix(mix),
    )
    if pattern == "independent" and recipe.conflict_ratio:
        raise BlockError(f"conflict_ratio = {conflict_ratio!r} with pattern 'independent': must be 0 (nothing shared)")
    weights = zipf_weights(recipe.key_space, exponent) if pattern == "zipf" else np.zeros(0, np.uint64)
    arrays = columns(recipe, weights)
    arrays["sender"], arrays["nonce"] = senders(recipe, n_senders)
    return Block.from_arrays(**arrays, number=number, fork=fork, meta=blobs(recipe, blob_ratio, blobs_per_tx, blob_fee_cap))


def _first(given: float | None, default: float) -> float:
    return default if given is None else given


def _mix(mix: OpMix | None) -> OpMix:
    if mix is not None and not isinstance(mix, OpMix):
        raise BlockError(f"mix = {door.shown(mix)}: must be an OpMix")
    return mix or OpMix()


def _base(preset: str | None, n_tx: int | None) -> Preset:
    """The preset, or medium's proportions for a number of transactions."""
    if preset is None and n_tx is not None:
        n_tx = door.integer("n_tx", n_tx, 0, 2**26)
        return Preset(n_tx, max(1, 10 * n_tx), PRESETS["medium"].conflict_ratio, PRESETS["medium"].cold_ratio)
    preset = "medium" if preset is None else preset
    if not isinstance(preset, str) or preset not in PRESETS:
        raise BlockError(f"preset = {door.shown(preset)}: must be one of {', '.join(PRESETS)}")
    return PRESETS[preset]


def _dependency_ratio(pattern: str, given: float | None) -> float:
    ratio = share("dependency_ratio", _first(given, 1.0 if pattern == "chain" else 0.0))
    if pattern == "chain" and ratio != 1:
        raise BlockError(f"dependency_ratio = {given!r} with pattern 'chain': must be 1, that is what a chain means")
    if pattern == "independent" and ratio:
        raise BlockError(f"dependency_ratio = {given!r} with pattern 'independent': must be 0 (nothing shared)")
    return ratio
