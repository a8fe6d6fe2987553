"""Forks are ordered: a rule holds *from* the fork that brought it, so code compares with ``>=`` and never lists forks.

A fork of mainnet begins at a block number, from Shanghai on at a timestamp. Muir Glacier, Arrow Glacier, Gray Glacier and the
DAO fork change nothing that the machine does and are not here; Constantinople was replaced by Petersburg before it began.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ..errors import BlockError

__all__ = ["ACTIVATIONS", "BLOB_SCHEDULE", "Fork", "blob_parameters", "fork_at", "fork_named"]


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




#: First timestamp on mainnet, then target and most blobs in a block, and the update fraction of their base fee.
BLOB_SCHEDULE: Final = (
    (1_710_338_135, 3, 6, 3_338_477),
    (1_746_612_311, 6, 9, 5_007_716),
    (1_765_290_071, 10, 15, 8_346_193),
    (1_767_747_671, 14, 21, 11_684_671),
)


def blob_parameters(fork: Fork, timestamp: int | None = None) -> tuple[int, int, int]:
    """(target, most, update fraction) of blobs in a block of `fork`; with a timestamp, as mainnet has it from Osaka on.

    References
    ----------
    EIP-4844, EIP-7691 (Prague), EIP-7892 (blob parameter only forks).

    Examples
    --------
    >>> blob_parameters(Fork.CANCUN), blob_parameters(Fork.PRAGUE)
    ((3, 6, 3338477), (6, 9, 5007716))
    """
    rows = {Fork.CANCUN: 0, Fork.PRAGUE: 1, Fork.OSAKA: 1}
    row = BLOB_SCHEDULE[rows.get(fork, 0)]
    if fork >= Fork.OSAKA and timestamp is not None:
        row = max([row, *(entry for entry in BLOB_SCHEDULE if entry[0] <= timestamp)], key=lambda entry: entry[0])
    return row[1], row[2], row[3]
