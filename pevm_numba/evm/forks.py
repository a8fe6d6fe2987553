"""Forks are ordered: a rule holds *from* the fork that brought it, so code compares with ``>=`` and never lists forks.

A fork of mainnet begins at a block number, from Shanghai on at a timestamp. Muir Glacier, Arrow Glacier, Gray Glacier and the
DAO fork change nothing that the machine does and are not here; Constantinople was replaced by Petersburg before it began.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from ..errors import BlockError

__all__ = ["ACTIVATIONS", "BLOB_SCHEDULE", "BlobParameters", "Fork", "blob_parameters", "fork_at", "fork_named"]


class Fork(IntEnum):
    """Rules of execution, oldest first."""

    FRONTIER = 0
    HOMESTEAD = 1
    TANGERINE = 2
    SPURIOUS = 3
    BYZANTIUM = 4
    PETERSBURG = 5
    ISTANBUL = 6
    BERLIN = 7
    LONDON = 8
    PARIS = 9
    SHANGHAI = 10
    CANCUN = 11
    PRAGUE = 12
    OSAKA = 13


#: First block number or timestamp of each fork on mainnet, as (fork, "number" or "timestamp", first).
ACTIVATIONS: Final = (
    (Fork.FRONTIER, "number", 0),
    (Fork.HOMESTEAD, "number", 1_150_000),
    (Fork.TANGERINE, "number", 2_463_000),
    (Fork.SPURIOUS, "number", 2_675_000),
    (Fork.BYZANTIUM, "number", 4_370_000),
    (Fork.PETERSBURG, "number", 7_280_000),
    (Fork.ISTANBUL, "number", 9_069_000),
    (Fork.BERLIN, "number", 12_244_000),
    (Fork.LONDON, "number", 12_965_000),
    (Fork.PARIS, "number", 15_537_394),
    (Fork.SHANGHAI, "timestamp", 1_681_338_455),
    (Fork.CANCUN, "timestamp", 1_710_338_135),
    (Fork.PRAGUE, "timestamp", 1_746_612_311),
    (Fork.OSAKA, "timestamp", 1_764_798_551),
)

#: Other names in use, in small letters.
_ALIASES: Final = {
    "tangerinewhistle": Fork.TANGERINE,
    "eip150": Fork.TANGERINE,
    "spuriousdragon": Fork.SPURIOUS,
    "eip158": Fork.SPURIOUS,
    "constantinoplefix": Fork.PETERSBURG,
    "merge": Fork.PARIS,
}


def fork_at(number: int, timestamp: int) -> Fork:
    """Fork of a mainnet block.

    Parameters
    ----------
    number : int
        Block number.
    timestamp : int
        In Unix seconds.

    References
    ----------
    ethereum/execution-specs, network upgrades of mainnet.

    Examples
    --------
    >>> fork_at(12_965_000, 1_628_166_822), fork_at(19_426_587, 1_710_338_135)
    (<Fork.LONDON: 8>, <Fork.CANCUN: 11>)
    """
    found = Fork.FRONTIER
    for fork, by, first in ACTIVATIONS:
        if (number if by == "number" else timestamp) >= first:
            found = fork
    return found


def fork_named(name: str | Fork) -> Fork:
    """Fork of a name, in any case, with the aliases of the official tests.

    Raises
    ------
    BlockError
        If there is no such fork.

    Examples
    --------
    >>> fork_named("Cancun"), fork_named("TangerineWhistle")
    (<Fork.CANCUN: 11>, <Fork.TANGERINE: 2>)
    """
    if isinstance(name, Fork):
        return name
    plain = str(name).lower().replace("_", "").replace(" ", "")
    if plain in _ALIASES:
        return _ALIASES[plain]
    for fork in Fork:
        if fork.name.lower() == plain:
            return fork
    raise BlockError(f"fork {name!r} is unknown: one of {', '.join(fork.name.lower() for fork in Fork)}")


class BlobParameters(NamedTuple):
    """What a fork, or a fork of blob parameters only, says of blobs in a block; times are mainnet's.

    Attributes
    ----------
    name : str
    since : int
        First timestamp, in Unix seconds.
    target : int
        Blobs in a block at which their base fee stays.
    most : int
        Blobs that a block may have.
    fraction : int
        Blob gas in excess that multiplies the base fee by e.
    most_each : int
        Blobs that a transaction may have.
    reserve : bool
        Whether the base fee stops falling where blobs would cost less than 8,192 units of gas (EIP-7918).

    References
    ----------
    EIP-4844, EIP-7691, EIP-7594, EIP-7892, EIP-7918.
    """

    name: str
    since: int
    target: int
    most: int
    fraction: int
    most_each: int
    reserve: bool


#: By beginning on mainnet. Osaka changes rules and no number; BPO1 and BPO2 change numbers and no rule.
BLOB_SCHEDULE: Final = (
    BlobParameters("cancun", 1_710_338_135, 3, 6, 3_338_477, 6, False),
    BlobParameters("prague", 1_746_612_311, 6, 9, 5_007_716, 9, False),
    BlobParameters("osaka", 1_764_798_551, 6, 9, 5_007_716, 6, True),
    BlobParameters("bpo1", 1_765_290_071, 10, 15, 8_346_193, 6, True),
    BlobParameters("bpo2", 1_767_747_671, 14, 21, 11_684_671, 6, True),
)


def blob_parameters(fork: Fork | str, timestamp: int | None = None) -> BlobParameters:
    """Parameters of blobs in a block of `fork`.

    Parameters
    ----------
    fork : Fork or str
        Or a name in `BLOB_SCHEDULE`. A fork without blobs counts as Cancun.
    timestamp : int, optional
        In Unix seconds. With it a block from Osaka on has the parameters that mainnet has then; without, those that its
        fork began with.

    Raises
    ------
    BlockError
        If there is no such name.

    References
    ----------
    EIP-4844, EIP-7691 (Prague), EIP-7892 (forks of blob parameters only).

    Examples
    --------
    >>> blob_parameters(Fork.CANCUN)[2:5], blob_parameters("bpo2")[2:5]
    ((3, 6, 3338477), (14, 21, 11684671))
    >>> blob_parameters("osaka", 1_765_290_071).name
    'bpo1'
    """
    named = {row.name: row for row in BLOB_SCHEDULE}
    key = fork.name.lower() if isinstance(fork, Fork) else str(fork).lower()
    if key not in named:
        if key.startswith("bpo"):
            raise BlockError(f"fork {fork!r} is unknown: parameters of blobs are those of {', '.join(named)}")
        key = max(fork_named(fork), Fork.CANCUN).name.lower()
    found = named[key]
    if timestamp is not None and found.since >= named["osaka"].since:
        found = max([found, *(row for row in BLOB_SCHEDULE if row.since <= timestamp)], key=lambda row: row.since)
    return found
