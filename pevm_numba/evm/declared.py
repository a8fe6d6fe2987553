"""What transactions say, before they run, of what they will access."""

from __future__ import annotations

from collections.abc import Sequence

from ..machine.ops import Field, Mode
from .header import BlockEnv
from .transaction import Transaction

__all__ = ["declared_sets"]

_Key = tuple[bytes, Field, int]


def _static(env: BlockEnv, tx: Transaction) -> dict[_Key, Mode]:
    sender = tx.sender or b""
    found = {(env.fee_recipient, Field.BALANCE, 0): Mode.CREDIT}
    if tx.to is not None:
        found[tx.to, Field.CODE, 0] = Mode.READ
        if tx.value:
            found[tx.to, Field.BALANCE, 0] = Mode.CREDIT
    found[sender, Field.NONCE, 0] = Mode.READ | Mode.WRITE
    found[sender, Field.BALANCE, 0] = Mode.READ | Mode.WRITE
    return found


def _listed(tx: Transaction) -> dict[_Key, Mode]:
    found: dict[_Key, Mode] = {}
    for address, slots in tx.access_list:
        found[address, Field.CODE, 0] = Mode.READ
        found.update({(address, Field.STORAGE, slot): Mode.READ | Mode.WRITE for slot in slots})
    return found


def declared_sets(
    env: BlockEnv, txs: Sequence[Transaction], *, static: bool = True, listed: bool = True
) -> list[dict[tuple[bytes, Field, int], Mode]]:
    """Accesses of each transaction, by (address, field, slot).

    Parameters
    ----------
    env : BlockEnv
    txs : sequence of Transaction
        With senders.
    static : bool
        What every transaction does: sender and fee recipient, value, the code that it calls.
    listed : bool
        What its access list says (EIP-2930): slots as READ|WRITE, for a list does not tell them apart.

    Examples
    --------
    >>> from .forks import Fork
    >>> tx = Transaction(type=1, chain_id=1, gas_price=9, to=b"t" * 20, sender=b"s" * 20, access_list=((b"t" * 20, (7,)),))
    >>> sets = declared_sets(BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN), [tx])
    >>> {field.name.lower(): mode.name for (address, field, _), mode in sets[0].items() if address == b"t" * 20}
    {'code': 'READ', 'storage': 'READ|WRITE'}
    """
    return [(_static(env, tx) if static else {}) | (_listed(tx) if listed else {}) for tx in txs]
