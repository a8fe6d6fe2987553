"""What both parties agree on before anything is claimed: transactions in their order, prices, the state before them.

Nobody needs the block to judge: what a step needs of it comes with the step, and is proved against the roots here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ..errors import BlockError, DisputeError
from ..machine.gas import GasItem, GasSchedule
from . import wire
from .hashing import Hash, Tag, keccak, tagged
from .machine_state import Outcome

__all__ = ["MAX_TX", "Agreement", "Claim"]

#: Transactions of a block, at most.
MAX_TX: Final = 2**31 - 1


@dataclass(frozen=True)
class Agreement:
    """The block, as a referee knows it.

    Parameters
    ----------
    n_tx : int
        Number of transactions.
    prices : GasSchedule
    pre_root : bytes
        Root of the state before the block.
    transactions : bytes
        Root of the tree of transactions: path is the position in the serial order that counts, value the header.
    """

    n_tx: int
    prices: GasSchedule
    pre_root: bytes
    transactions: bytes

    def digest(self, hash: Hash = keccak) -> bytes:
        """All of it in 32 bytes."""
        prices = b"".join(cost.to_bytes(8, "big", signed=True) for cost in self.prices.costs)
        return hash(tagged(Tag.AGREEMENT, self.n_tx.to_bytes(4, "big") + prices + self.pre_root + self.transactions))

    def first_claim(self, hash: Hash = keccak) -> Claim:
        """What holds before the first transaction."""
        return Claim(self.digest(hash), self.pre_root, Outcome())

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        prices = {"name": self.prices.name, "costs": [int(cost) for cost in self.prices.costs]}
        roots = {"pre_root": wire.hexed(self.pre_root), "transactions": wire.hexed(self.transactions)}
        return {"n_tx": self.n_tx, "prices": prices, **roots}

    @classmethod
    def from_json(cls, value: Any) -> Agreement:
        """The inverse of `to_json`.

        Raises
        ------
        DisputeError
            If it has another form.
        """
        n_tx, prices, pre_root, transactions = wire.parts(
            "agreement", value, ("n_tx", "prices", "pre_root", "transactions")
        )
        name, costs = wire.parts("prices", prices, ("name", "costs"))
        if not isinstance(name, str):
            raise DisputeError("prices: name must be text")
        found = [wire.integer("price", cost, -1, 2**31 - 1) for cost in wire.check_list("costs", costs, len(GasItem))]
        try:
            schedule = GasSchedule(name, tuple(found))
        except BlockError as error:
            raise DisputeError(str(error)) from None
        roots = wire.octets("pre_root", pre_root, 32), wire.octets("transactions", transactions, 32)
        return cls(wire.integer("n_tx", n_tx, 0, MAX_TX), schedule, *roots)


@dataclass(frozen=True)
class Claim:
    """What a party says holds after so many transactions; each claim has the digest of the one before it in it.

    So the last claim stands for all of them: whoever is wrong about one transaction has another last claim.

    Parameters
    ----------
    link : bytes
        Digest of the claim before; in the first one, that of the agreement.
    root : bytes
        Root of the state.
    receipt : Outcome
        Of the transaction just before; blank in the first.
    """

    link: bytes
    root: bytes
    receipt: Outcome

    def encode(self) -> bytes:
        """121 bytes."""
        return self.link + self.root + self.receipt.encode()

    def digest(self, hash: Hash = keccak) -> bytes:
        """What the next claim is linked to, 32 bytes."""
        return hash(tagged(Tag.CLAIM, self.encode()))

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return {"link": wire.hexed(self.link), "root": wire.hexed(self.root), "receipt": self.receipt.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> Claim:
        """The inverse of `to_json`.

        Raises
        ------
        DisputeError
            If it has another form.
        """
        link, root, receipt = wire.parts("claim", value, ("link", "root", "receipt"))
        return cls(wire.octets("link", link, 32), wire.octets("root", root, 32), Outcome.from_json(receipt))
