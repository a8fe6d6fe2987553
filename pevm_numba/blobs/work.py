"""What verifying blobs costs: execution never sees a blob, so this work is beside that of a transaction's code."""

from __future__ import annotations

import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..errors import BlockError, PevmError
from ..evm.block import AnyBlock, EvmBlock, need_block
from ..schedule.costs import costs

__all__ = ["VERIFY_NS", "KzgTimes", "blob_costs", "blob_counts", "blob_fee_caps", "measure_kzg", "verify_ns"]

#: Nanoseconds that verifying a blob in a batch of six takes one core: `measure_kzg` with c-kzg-4844 2.1.8 gave 1.36 to
#: 1.46 ms on an Intel Xeon (1.9 ms alone). For machines without that library, and for the same schedules everywhere.
VERIFY_NS: Final = 1_400_000
#: Bytes of a field element, and field elements of a blob.
_ELEMENT, _ELEMENTS = 32, 4096
#: Packages that ship the points of the ceremony, which the library itself does not, and where.
_SETUPS: Final = (
    ("eth_account", "typed_transactions/blob_transactions/kzg_trusted_setup.txt"),
    ("eth", "_utils/kzg_trusted_setup.txt"),
)


def blob_counts(block: AnyBlock) -> NDArray[np.int64]:
    """Blobs of each transaction.

    Parameters
    ----------
    block : Block or EvmBlock
        Of a `Block` the optional column ``blob_count``; 0 where it has none.

    Returns
    -------
    (n_tx,) int64

    Raises
    ------
    BlockError
        If it is no block.

    Examples
    --------
    >>> from pevm_numba import generate
    >>> blob_counts(generate(n_tx=6, blob_ratio=0.5, blobs_per_tx=(2, 3), seed=1)).tolist()
    [3, 2, 3, 3, 0, 0]
    """
    need_block("block", block)
    if isinstance(block, EvmBlock):
        return np.array([len(tx.blob_versioned_hashes) for tx in block.transactions], np.int64)
    return _column(block, "blob_count").astype(np.int64)


def blob_fee_caps(block: AnyBlock) -> NDArray[np.uint64]:
    """Most wei that each transaction pays for a unit of blob gas; 0 for those without blobs.

    Parameters
    ----------
    block : Block or EvmBlock
        Of a `Block` the optional column ``max_fee_per_blob_gas``.

    Returns
    -------
    (n_tx,) uint64
        Caps of 2**64 wei and more, which no `Block` has, as 2**64 - 1.

    Raises
    ------
    BlockError
        If it is no block.
    """
    need_block("block", block)
    if isinstance(block, EvmBlock):
        caps = [min(tx.max_fee_per_blob_gas or 0, 2**64 - 1) for tx in block.transactions]
        return np.array(caps, np.uint64)
    return _column(block, "max_fee_per_blob_gas").astype(np.uint64)


def _column(block: Any, name: str) -> NDArray[Any]:
    if block.meta is None or name not in block.meta.column_names:
        return np.zeros(block.n_tx, np.uint64)
    return block.meta[name].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)


def blob_costs(block: AnyBlock, cost: ArrayLike, *, per_blob: float | None = None) -> NDArray[np.float64]:
    """Costs of a block's transactions with the work of verifying their blobs, to be given as ``cost`` to schedules.

    Parameters
    ----------
    block : Block or EvmBlock
    cost : (n_tx,) integers or floats
        Of executing each, as `transaction_costs` has them.
    per_blob : float, optional
        Of one blob, in the unit of `cost`; default `verify_ns()`, in nanoseconds: measured here once, if that can be. Give
        `VERIFY_NS` for the same costs everywhere.

    Returns
    -------
    (n_tx,) float64

    Raises
    ------
    BlockError
        If an argument is not as described.

    Notes
    -----
    Whoever executes a transaction is taken to verify its blobs, so the work waits for what the transaction waits for: an
    upper bound for clients that verify as blobs arrive.

    Examples
    --------
    >>> from pevm_numba import generate
    >>> block = generate(n_tx=6, blob_ratio=0.5, blobs_per_tx=(2, 3), seed=1)
    >>> blob_costs(block, [100] * 6, per_blob=50).tolist()
    [250.0, 200.0, 250.0, 250.0, 100.0, 100.0]
    """
    counts = blob_counts(block)
    weight = costs(cost, len(counts))
    if per_blob is None:
        per_blob = verify_ns() if counts.any() else 0.0
    return weight + door.real("per_blob", per_blob, 0.0, 1e15) * counts


@cache
def verify_ns() -> float:
    """Nanoseconds that verifying a blob in a batch of six takes here: measured once in a process, or `VERIFY_NS`.

    Notes
    -----
    It is measured, in some four seconds, where c-kzg-4844 and the points of the ceremony are installed.
    """
    can = find_spec("ckzg") is not None and _installed_setup() is not None
    return measure_kzg().per_blob_ns if can else float(VERIFY_NS)


# -------------------------------------------------------------------- measuring


class KzgTimes(NamedTuple):
    """Measured times of verifying blobs, in nanoseconds of one core, not counting what others took of it.

    Attributes
    ----------
    per_blob_ns : float
        Of one in a batch of `blobs`: the median over the rounds.
    alone_ns : float
        Of one by itself.
    blobs : int
    rounds : int
    """

    per_blob_ns: float
    alone_ns: float
    blobs: int
    rounds: int


def measure_kzg(blobs: int = 6, *, rounds: int = 9, seed: int = 0, trusted_setup: str | Path | None = None) -> KzgTimes:
    """Measure how long verifying blobs against their commitments takes here, on one core.

    Parameters
    ----------
    blobs : int
        In a batch, in [1, 72].
    rounds : int
        In [1, 1000].
    seed : int
        Of what is in the blobs.
    trusted_setup : path, optional
        The points of the ceremony as c-kzg-4844 reads them; default those that an installed eth-account or py-evm has.

    Returns
    -------
    KzgTimes

    Raises
    ------
    PevmError
        If c-kzg-4844 is not installed, or there are no points.
    BlockError
        If an argument is not as described.

    Notes
    -----
    Two to three seconds to load the points, 0.13 s for each blob to make. Proofs must be found right, or nothing is told.

    References
    ----------
    EIP-4844, ``verify_blob_kzg_proof_batch``; c-kzg-4844.
    """
    blobs, rounds = door.integer("blobs", blobs, 1, 72), door.integer("rounds", rounds, 1, 1000)
    random = Random(door.integer("seed", seed, 0, 2**64 - 1))
    try:
        import ckzg
    except ImportError:
        raise PevmError('measuring needs the library c-kzg-4844: pip install "pevm-numba[blobs]"') from None
    setup = ckzg.load_trusted_setup(str(_setup_path(trusted_setup)), 0)
    data, commitments, proofs = [], [], []
    for _ in range(blobs):
        data.append(b"".join(b"\0" + random.randbytes(_ELEMENT - 1) for _ in range(_ELEMENTS)))  # below the order
        commitments.append(ckzg.blob_to_kzg_commitment(data[-1], setup))
        proofs.append(ckzg.compute_blob_kzg_proof(data[-1], commitments[-1], setup))
    joined = b"".join(data), b"".join(commitments), b"".join(proofs)
    many = _median_ns(rounds, lambda: ckzg.verify_blob_kzg_proof_batch(*joined, setup))
    alone = _median_ns(rounds, lambda: ckzg.verify_blob_kzg_proof(data[0], commitments[0], proofs[0], setup))
    return KzgTimes(many / blobs, alone, blobs, rounds)


def _median_ns(rounds: int, verify: Any) -> float:
    taken = []
    for _ in range(rounds + 1):
        start = time.thread_time_ns()
        right = verify()
        taken.append(time.thread_time_ns() - start)
        if right is not True:
            raise PevmError("the library refused proofs that it made itself: nothing to be measured")
    return float(np.median(taken[1:]))


def _setup_path(given: str | Path | None) -> Path:
    """The file of points that was named, or that some package has."""
    if given is not None:
        path = Path(given)
        if not path.is_file():
            raise BlockError(f"trusted_setup = {door.shown(str(given))}: must be a file")
        return path
    found = _installed_setup()
    if found is not None:
        return found
    raise PevmError('measuring needs the points of the ceremony: trusted_setup=FILE, or pip install "pevm-numba[blobs]"')


def _installed_setup() -> Path | None:
    """The file of points that some package has."""
    for package, inside in _SETUPS:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / inside).is_file():
                return Path(folder) / inside
    return None
