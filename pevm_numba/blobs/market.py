"""The price of blob gas: it follows from blob gas in excess, which sums up earlier blocks, so a block does not set its own.

All in Python integers: prices are exact whatever their size.
"""

from __future__ import annotations

from typing import Final

from .. import door
from ..errors import BlockError
from ..evm.forks import BlobParameters, Fork, blob_parameters

__all__ = [
    "BLOB_GAS", "FRACTIONS_IN_A_WORD", "LEAST_PRICE", "RESERVE_GAS", "blob_base_fee", "excess_at_fee", "fake_exponential",
    "next_excess_blob_gas", "parameters_of", "reserve_holds",
]  # fmt: skip

#: Gas of one blob (EIP-4844).
BLOB_GAS: Final = 131_072
#: Least price of a unit of blob gas, in wei (EIP-4844).
LEAST_PRICE: Final = 1
#: Units of gas below whose price that of a blob does not fall (EIP-7918, BLOB_BASE_COST).
RESERVE_GAS: Final = 8_192
#: An excess of so many times the update fraction has a price of 256 bits at most: e**177 < 2**256 < e**178.
FRACTIONS_IN_A_WORD: Final = 177


def fake_exponential(factor: int, numerator: int, denominator: int) -> int:
    """``factor * e ** (numerator / denominator)``, rounded as the protocol has it: down at each step of the series.

    Parameters
    ----------
    factor, numerator, denominator : int
        Of any size; not negative, the denominator at least 1.

    Raises
    ------
    BlockError
        If a value is negative, or the denominator is 0.

    Notes
    -----
    Some 3 * numerator / denominator steps, and a few dozen more, on integers as long as the result.

    References
    ----------
    EIP-4844, helpers.

    Examples
    --------
    >>> fake_exponential(1, 10 * 131_072, 3_338_477), fake_exponential(1, 10_000_000, 3_338_477)
    (1, 19)
    >>> fake_exponential(1, 3_338_477, 3_338_477), fake_exponential(1, 33_384_770, 3_338_477)
    (2, 22026)
    """
    factor, numerator = door.integer("factor", factor, 0), door.integer("numerator", numerator, 0)
    denominator = door.integer("denominator", denominator, 1)
    i, total, term = 1, 0, factor * denominator
    while term > 0:
        total += term
        term = term * numerator // (denominator * i)
        i += 1
    return total // denominator


def parameters_of(given: BlobParameters | Fork | str) -> BlobParameters:
    """Parameters by name or fork, as `blob_parameters` has them, or those given, checked.

    Raises
    ------
    BlockError
        If there is no such name, or a value is of another type or cannot be meant.

    Notes
    -----
    A block has 2**31 - 2 blobs at most, so that a count of one more, which fits into no block, is still one.

    Examples
    --------
    >>> parameters_of("prague").most, parameters_of(parameters_of("prague")._replace(most=12)).most
    (9, 12)
    """
    if not isinstance(given, BlobParameters):
        return blob_parameters(given if isinstance(given, Fork) else door.text("parameters", given))
    door.text("parameters.name", given.name)
    door.integer("parameters.since", given.since, 0)
    door.integer("parameters.most", given.most, 1, 2**31 - 2)
    door.integer("parameters.target", given.target, 0, given.most)
    door.integer("parameters.most_each", given.most_each, 1, given.most)
    door.integer("parameters.fraction", given.fraction, 1)
    door.instance("parameters.reserve", given.reserve, bool)
    return given


def blob_base_fee(excess: int, parameters: BlobParameters | Fork | str = "bpo2") -> int:
    """Price of a unit of blob gas, in wei, in a block with so much blob gas in excess.

    Parameters
    ----------
    excess : int
        ``excess_blob_gas`` of the block's header, of any size.
    parameters : BlobParameters, Fork or str
        Or the name of some: cancun, prague, osaka, bpo1, bpo2.

    Raises
    ------
    BlockError
        If an argument is not as described.

    References
    ----------
    EIP-4844, EIP-7691, EIP-7892.

    Examples
    --------
    >>> blob_base_fee(0), blob_base_fee(216_399_457), blob_base_fee(10_000_000, "cancun")
    (1, 110435740, 19)
    """
    return fake_exponential(LEAST_PRICE, door.integer("excess", excess, 0), parameters_of(parameters).fraction)


def reserve_holds(excess: int, base_fee: int, parameters: BlobParameters | Fork | str = "bpo2") -> bool:
    """Whether a blob costs less than the gas that EIP-7918 sets it beside, so that the target does not count.

    Parameters
    ----------
    excess : int
        Blob gas in excess in a block.
    base_fee : int
        Of a unit of gas in that block, in wei.
    parameters : BlobParameters, Fork or str

    Raises
    ------
    BlockError
        If an argument is not as described.

    References
    ----------
    EIP-7918.

    Examples
    --------
    >>> reserve_holds(0, 15), reserve_holds(0, 16), reserve_holds(0, 17), reserve_holds(0, 17, "prague")
    (False, False, True, False)
    """
    parameters, base_fee = parameters_of(parameters), door.integer("base_fee", base_fee, 0)
    return parameters.reserve and RESERVE_GAS * base_fee > BLOB_GAS * blob_base_fee(excess, parameters)


def next_excess_blob_gas(
    excess: int, blobs: int, base_fee: int | None = None, parameters: BlobParameters | Fork | str = "bpo2"
) -> int:
    """Blob gas in excess in the block after one.

    Parameters
    ----------
    excess : int
        Blob gas in excess in the block itself, of any size.
    blobs : int
        In the block; at most as many as it may have.
    base_fee : int, optional
        Of a unit of gas in the block, in wei; needed where the parameters have a reserve price, from Osaka on.
    parameters : BlobParameters, Fork or str
        Those of the block *after*: where they change, clients apply the new ones at once.

    Raises
    ------
    BlockError
        If an argument is not as described.

    References
    ----------
    EIP-4844, ``calc_excess_blob_gas``; EIP-7691, EIP-7918.

    Examples
    --------
    >>> next_excess_blob_gas(0, 6, parameters="cancun"), next_excess_blob_gas(0, 3, parameters="cancun")
    (393216, 0)
    >>> next_excess_blob_gas(10**8, 14, base_fee=10**9), next_excess_blob_gas(3 * 10**8, 14, base_fee=10**9)
    (100611669, 300000000)
    """
    parameters = parameters_of(parameters)
    used = BLOB_GAS * door.integer("blobs", blobs, 0, 2**31 - 1)
    total, target = door.integer("excess", excess, 0) + used, BLOB_GAS * parameters.target
    if base_fee is None and parameters.reserve:
        raise BlockError(f"base_fee = None: must be given, since {parameters.name} has a reserve price")
    fee = door.integer("base_fee", base_fee or 0, 0)
    if total < target:
        return 0
    if reserve_holds(excess, fee, parameters):
        return excess + used * (parameters.most - parameters.target) // parameters.most
    return total - target


def excess_at_fee(fee: int, parameters: BlobParameters | Fork | str = "bpo2") -> int:
    """The least blob gas in excess at which a unit of blob gas costs so much.

    Parameters
    ----------
    fee : int
        In wei, at least 1.
    parameters : BlobParameters, Fork or str

    Raises
    ------
    BlockError
        If an argument is not as described.

    Notes
    -----
    Bisection: prices never fall as the excess rises.

    Examples
    --------
    >>> excess_at_fee(1), blob_base_fee(excess_at_fee(10**9)) >= 10**9 > blob_base_fee(excess_at_fee(10**9) - 1)
    (0, True)
    """
    parameters, fee = parameters_of(parameters), door.integer("fee", fee, 1)
    low, high = -1, 0  # the price at `high` is at least the fee, at `low` below it
    while blob_base_fee(high, parameters) < fee:
        low, high = high, max(BLOB_GAS, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        if blob_base_fee(middle, parameters) < fee:
            low = middle
        else:
            high = middle
    return high
