"""Gas that does not depend on the opcode alone, fork by fork; a price holds from its fork on until a later row changes it.

Names follow the Yellow Paper and the EIPs. What an opcode costs before anything else is in `opcodes`.
"""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Final

from .forks import Fork

__all__ = ["CHANGES", "prices"]

#: (fork, EIP or 0 for the Yellow Paper, price, gas), in the order of forks.
CHANGES: Final = (
    # accounts and storage as they were first
    (Fork.FRONTIER, 0, "balance", 20),
    (Fork.FRONTIER, 0, "extcode", 20),
    (Fork.FRONTIER, 0, "extcode_hash", 400),
    (Fork.FRONTIER, 0, "call", 40),
    (Fork.FRONTIER, 0, "call_value", 9_000),
    (Fork.FRONTIER, 0, "call_stipend", 2_300),
    (Fork.FRONTIER, 0, "new_account", 25_000),
    (Fork.FRONTIER, 0, "selfdestruct", 0),
    (Fork.FRONTIER, 0, "selfdestruct_refund", 24_000),
    (Fork.FRONTIER, 0, "sload", 50),
    (Fork.FRONTIER, 0, "storage_set", 20_000),
    (Fork.FRONTIER, 0, "storage_reset", 5_000),
    (Fork.FRONTIER, 0, "storage_same", 5_000),
    (Fork.FRONTIER, 0, "storage_clear_refund", 15_000),
    (Fork.FRONTIER, 0, "storage_sentry", 0),
    (Fork.FRONTIER, 0, "refund_quotient", 2),
    # warm and cold: 0 before they were told apart
    (Fork.FRONTIER, 0, "cold_account", 0),
    (Fork.FRONTIER, 0, "cold_slot", 0),
    (Fork.FRONTIER, 0, "warm", 0),
    # by the byte, word or topic
    (Fork.FRONTIER, 0, "exp_byte", 10),
    (Fork.FRONTIER, 0, "keccak_word", 6),
    (Fork.FRONTIER, 0, "copy_word", 3),
    (Fork.FRONTIER, 0, "log_byte", 8),
    (Fork.FRONTIER, 0, "memory_word", 3),
    (Fork.FRONTIER, 0, "code_deposit_byte", 200),
    (Fork.FRONTIER, 0, "initcode_word", 0),
    # limits
    (Fork.FRONTIER, 0, "code_size", 2**31),
    (Fork.FRONTIER, 0, "initcode_size", 2**31),
    # transactions
    (Fork.FRONTIER, 0, "tx", 21_000),
    (Fork.FRONTIER, 0, "tx_create", 0),
    (Fork.FRONTIER, 0, "tx_zero_byte", 4),
    (Fork.FRONTIER, 0, "tx_byte", 68),
    (Fork.FRONTIER, 0, "tx_floor_token", 0),
    (Fork.FRONTIER, 0, "list_address", 0),
    (Fork.FRONTIER, 0, "list_slot", 0),
    (Fork.FRONTIER, 0, "authorization", 0),
    (Fork.FRONTIER, 0, "authorization_refund", 0),
    (Fork.FRONTIER, 0, "tx_gas", 2**63 - 1),
    (Fork.HOMESTEAD, 2, "tx_create", 32_000),
    (Fork.TANGERINE, 150, "balance", 400),
    (Fork.TANGERINE, 150, "extcode", 700),
    (Fork.TANGERINE, 150, "call", 700),
    (Fork.TANGERINE, 150, "selfdestruct", 5_000),
    (Fork.TANGERINE, 150, "sload", 200),
    (Fork.SPURIOUS, 160, "exp_byte", 50),
    (Fork.SPURIOUS, 170, "code_size", 24_576),
    (Fork.ISTANBUL, 1884, "balance", 700),
    (Fork.ISTANBUL, 1884, "extcode_hash", 700),
    (Fork.ISTANBUL, 1884, "sload", 800),
    (Fork.ISTANBUL, 2028, "tx_byte", 16),
    (Fork.ISTANBUL, 2200, "storage_same", 800),
    (Fork.ISTANBUL, 2200, "storage_sentry", 2_300),
    (Fork.BERLIN, 2929, "balance", 0),
    (Fork.BERLIN, 2929, "extcode", 0),
    (Fork.BERLIN, 2929, "extcode_hash", 0),
    (Fork.BERLIN, 2929, "call", 0),
    (Fork.BERLIN, 2929, "sload", 0),
    (Fork.BERLIN, 2929, "cold_account", 2_600),
    (Fork.BERLIN, 2929, "cold_slot", 2_100),
    (Fork.BERLIN, 2929, "warm", 100),
    (Fork.BERLIN, 2929, "storage_same", 100),
    (Fork.BERLIN, 2929, "storage_reset", 2_900),
    (Fork.BERLIN, 2930, "list_address", 2_400),
    (Fork.BERLIN, 2930, "list_slot", 1_900),
    (Fork.LONDON, 3529, "selfdestruct_refund", 0),
    (Fork.LONDON, 3529, "storage_clear_refund", 4_800),
    (Fork.LONDON, 3529, "refund_quotient", 5),
    (Fork.SHANGHAI, 3860, "initcode_word", 2),
    (Fork.SHANGHAI, 3860, "initcode_size", 49_152),
    (Fork.PRAGUE, 7623, "tx_floor_token", 10),
    (Fork.PRAGUE, 7702, "authorization", 25_000),
    (Fork.PRAGUE, 7702, "authorization_refund", 12_500),
    (Fork.OSAKA, 7825, "tx_gas", 2**24),
)


@functools.cache
def prices(fork: Fork) -> MappingProxyType[str, int]:
    """All prices and limits of a fork, by name, in gas (sizes in bytes).

    Parameters
    ----------
    fork : Fork

    Returns
    -------
    read-only mapping of str to int
        The same names, in the same order, for every fork.

    References
    ----------
    Yellow Paper, appendix G; EIP-2, 150, 160, 170, 1884, 2028, 2200, 2929, 2930, 3529, 3860, 7623, 7702, 7825.

    Examples
    --------
    >>> [prices(fork)["sload"] for fork in (Fork.FRONTIER, Fork.TANGERINE, Fork.ISTANBUL)]
    [50, 200, 800]
    >>> prices(Fork.BERLIN)["cold_slot"], prices(Fork.LONDON)["refund_quotient"]
    (2100, 5)
    """
    found: dict[str, int] = {}
    for since, _, name, gas in CHANGES:
        if since <= fork:
            found[name] = gas
    return MappingProxyType(found)
