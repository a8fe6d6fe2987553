"""A party answers questions of the referee, each an object of JSON, by another one; it never sees the other party's."""

from __future__ import annotations

from typing import Any

from ..errors import BlockError, DisputeError
from . import wire
from .commitment import Commitment
from .steps import n_steps
from .trace import Trace

__all__ = ["Party"]


class Party:
    """Somebody who defends a commitment, by the rules; faulty ones override what they do wrong.

    Parameters
    ----------
    commitment : Commitment

    Examples
    --------
    >>> import pevm_numba as pn
    >>> block = pn.Block.from_programs([[("SSTORE", (1, 0, 0), 5)]])
    >>> party = Party(pn.commit(pn.execute(block, "serial", record="changes")))
    >>> party.answer({"ask": "claim", "position": 1})["claim"]["receipt"]["gas_used"]
    43100
    """

    def __init__(self, commitment: Commitment) -> None:
        self.commitment = commitment

    def trace(self, position: int) -> Trace:
        """The transaction at a position, step by step.

        Raises
        ------
        BlockError
            If it does not end as the execution did: that was made with other prices than the agreed ones.
        """
        trace, claim = self.commitment.trace(position), self.commitment.claim(position + 1)
        last = trace.machine(len(trace))
        if (last.root, last.outcome) != (claim.root, claim.receipt):
            raise BlockError(f"transaction at position {position} ends as {last.outcome}: executed as {claim.receipt}")
        return trace

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What the party says.

        Parameters
        ----------
        question : dict
            ``ask`` is one of "claim", "open", "state" and "proof"; then ``position`` and, of the last two, ``step``.

        Raises
        ------
        DisputeError
            If it is another question.
        """
        ask, position = question.get("ask"), question.get("position", 0)
        if ask == "claim":
            return {"claim": self.commitment.claim(position).to_json()}
        if ask == "open":
            agreed = self.commitment.agreed
            middle = n_steps(agreed.header(position)) // 2
            state = wire.hexed(self.trace(position).digest(middle)) if middle else None
            return {"transaction": agreed.prove(position).to_json(), "state": state}
        if ask == "state":
            return {"state": wire.hexed(self.trace(position).digest(question["step"]))}
        if ask == "proof":
            return {"proof": self.trace(position).prove(question["step"]).to_json()}
        raise DisputeError(f"question {question!r:.80}: must ask for claim, open, state or proof")
