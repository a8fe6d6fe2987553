"""Building with blobs: gas and blobs are two limits, so the best by gas alone can be far from the best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..access.sets import AccessSets
from ..evm.block import AnyBlock, EvmBlock
from ..evm.forks import BlobParameters, Fork
from ..schedule.building import BuiltBlock, build_block
from .market import blob_base_fee, parameters_of
from .rules import blob_violation
from .work import blob_counts, blob_fee_caps

__all__ = ["BlobBlock", "build_blob_block"]


class BlobBlock(NamedTuple):
    """A block that was built of a pool with blob transactions.

    Attributes
    ----------
    built : BuiltBlock
        Which transactions, in which order, and how near to the best.
    price : int
        Of a unit of blob gas in it, in wei.
    blobs : (n_tx,) int64
        Of each transaction of the pool.
    refused : (n_tx,) bool
        Blob transactions that no block at this price and with these parameters may have.
    """

    built: BuiltBlock
    price: int
    blobs: NDArray[np.int64]
    refused: NDArray[np.bool_]


def build_blob_block(
    block: AnyBlock,
    access: AccessSets,
    reward: ArrayLike,
    gas: ArrayLike,
    *,
    gas_limit: int,
    excess: int = 0,
    parameters: BlobParameters | Fork | str = "bpo2",
    workers: int = 1,
    deadline: float | None = None,
    method: str = "lp",
) -> BlobBlock:
    """Choose transactions of a pool for a block with so much blob gas in excess, under gas limit and blob limit.

    Parameters
    ----------
    block : Block or EvmBlock
        The pool, with blobs and fee caps as `blob_counts` and `blob_fee_caps` find them, senders and nonces.
    access : AccessSets
        Of the pool.
    reward : (n_tx,) integers or floats
        What including each earns the builder; the price of blob gas is burnt.
    gas : (n_tx,) integers
        What each uses.
    gas_limit : int
    excess : int
        Blob gas in excess in the block that is built.
    parameters : BlobParameters, Fork or str
    workers, deadline, method
        As in `build_block`.

    Returns
    -------
    BlobBlock

    Raises
    ------
    BlockError
        If an argument is not as described.
    TooLargeError
        If the method is ``"lp"`` and the pool has over 20,000 transactions.

    Notes
    -----
    Refused are transactions with a fee cap below the price, or with more blobs than a transaction may have; of an `EvmBlock`
    all that `blob_violation` finds, so also those of type 3 without a blob or with a hash of another version. Those of the
    same sender with later nonces cannot go in either.

    References
    ----------
    EIP-4844, EIP-7594.

    Examples
    --------
    >>> from pevm_numba import access_sets, generate
    >>> pool = generate(n_tx=200, blob_ratio=0.3, blob_fee_cap=(1, 100), seed=1)
    >>> made = build_blob_block(pool, access_sets(pool), [1] * 200, [50_000] * 200, gas_limit=10**7, excess=46_000_000)
    >>> made.price, int(made.refused.sum()), made.built.blobs <= 21
    (51, 31, True)
    """
    parameters = parameters_of(parameters)
    door.instance("access", access, AccessSets)
    price, blobs = blob_base_fee(excess, parameters), blob_counts(block)
    refused = _refused(block, blobs, price, parameters)
    asked = np.where(refused, parameters.most + 1, blobs)  # more than there are: fits into no block
    built = build_block(
        access, reward, gas, gas_limit=gas_limit, workers=workers, deadline=deadline, blobs=asked,
        blob_limit=parameters.most, method=method, block=block,
    )  # fmt: skip
    return BlobBlock(built, price, blobs, refused)


def _refused(block: AnyBlock, blobs: NDArray[np.int64], price: int, parameters: BlobParameters) -> NDArray[np.bool_]:
    """Which transactions break a rule of blobs, whatever else is in the block."""
    if isinstance(block, EvmBlock):
        broken = [
            tx.type == 3
            and blob_violation(tx.blob_versioned_hashes, tx.max_fee_per_blob_gas or 0, price, parameters, to=tx.to)
            is not None
            for tx in block.transactions
        ]
        return np.array(broken, bool)
    below = np.ones(len(blobs), bool) if price >= 2**64 else blob_fee_caps(block) < np.uint64(price)
    return (blobs > 0) & (below | (blobs > parameters.most_each))
