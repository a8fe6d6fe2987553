"""What was asked, answered and decided, as JSON: whoever has it can judge anew, without the block and without the parties."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from ..errors import DisputeError
from . import wire
from .agreement import Agreement

__all__ = ["MOST_FAILURE", "SCHEMA", "SIDES", "Move", "Round", "Transcript", "Verdict"]

SCHEMA: Final = "pevm_numba.dispute/1"
#: Characters of what is kept about an answer that failed.
MOST_FAILURE: Final = 80
#: The two parties.
SIDES: Final = ("proposer", "challenger")


@dataclass(frozen=True)
class Move:
    """What a party did when it was asked.

    Parameters
    ----------
    took : float
        Seconds.
    answer : object of JSON
        None if it gave none, or none that is JSON.
    failure : str or None
        Why there is none: the name of the exception that the party raised, or what its answer was not.
    """

    took: float
    answer: Any
    failure: str | None = None


@dataclass(frozen=True)
class Round:
    """A question to both parties.

    Parameters
    ----------
    question : dict
    moves : (Move, Move)
        In the order of `SIDES`.
    finding : str
        What the referee made of it.
    """

    question: dict[str, Any]
    moves: tuple[Move, Move]
    finding: str


@dataclass(frozen=True)
class Verdict:
    """How a game ended.

    Parameters
    ----------
    winner : str or None
        One of `SIDES`; None if they agree, or both are wrong.
    reason : str
    position : int or None
        Of the transaction about which they differ, if the game came that far.
    step : int or None
        The step in it: an op, or a key that is brought into the state.
    """

    winner: str | None
    reason: str
    position: int | None = None
    step: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return {"winner": self.winner, "reason": self.reason, "position": self.position, "step": self.step}


@dataclass(frozen=True)
class Transcript:
    """A game.

    Parameters
    ----------
    agreement : Agreement
    limit : float
        Seconds for a move.
    rounds : tuple of Round
        The first is the question for the last claims, which make the dispute.
    verdict : Verdict
    """

    agreement: Agreement
    limit: float
    rounds: tuple[Round, ...]
    verdict: Verdict

    @property
    def n_rounds(self) -> int:
        """Questions after the one for the last claims."""
        return max(0, len(self.rounds) - 1)

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        rounds = [
            {"question": one.question, "finding": one.finding}
            | {side: vars(move) for side, move in zip(SIDES, one.moves)}
            for one in self.rounds
        ]
        head = {"schema": SCHEMA, "agreement": self.agreement.to_json(), "limit": self.limit}
        return head | {"rounds": rounds, "verdict": self.verdict.to_json()}

    def dumps(self) -> str:
        """As the text of a file."""
        return json.dumps(self.to_json(), indent=1) + "\n"

    @classmethod
    def from_json(cls, value: Any) -> Transcript:
        """The inverse of `to_json`. Answers and findings are taken as they are: `replay` judges them.

        Raises
        ------
        DisputeError
            If it has another form.
        """
        names = ("schema", "agreement", "limit", "rounds", "verdict")
        schema, agreement, limit, rounds, verdict = wire.parts("transcript", value, names)
        if schema != SCHEMA:
            raise DisputeError(f"transcript: schema = {schema!r:.80}: must be {SCHEMA!r}")
        found = []
        for one in wire.check_list("rounds", rounds, 1000):
            question, finding, *moves = wire.parts("round", one, ("question", "finding", *SIDES))
            if not isinstance(question, dict) or not isinstance(finding, str):
                raise DisputeError("round: question must be an object, finding must be text")
            if not {type(part) for part in question.values()} <= {int, str}:  # 1.0 and true are equal to 1
                raise DisputeError(f"question {wire.shown(question)}: must have integers and text alone")
            first, second = (_move(move) for move in moves)
            found.append(Round(question, (first, second), finding))
        winner, reason, position, step = wire.parts("verdict", verdict, ("winner", "reason", "position", "step"))
        if winner not in (None, *SIDES) or not isinstance(reason, str):
            raise DisputeError(f"verdict: winner = {wire.shown(winner)}: must be null, {' or '.join(SIDES)}, and reason text")
        places = (("position", position), ("step", step))
        at, step = (None if value is None else wire.integer(name, value, 0, 2**33) for name, value in places)
        if not _seconds("limit", limit):
            raise DisputeError("limit = 0: must be above 0")
        return cls(Agreement.from_json(agreement), float(limit), tuple(found), Verdict(winner, reason, at, step))

    @classmethod
    def loads(cls, text: str | bytes) -> Transcript:
        """The inverse of `dumps`.

        Raises
        ------
        DisputeError
            If it is no JSON, or has another form.
        """
        if not isinstance(text, str | bytes):
            raise DisputeError(f"transcript {wire.shown(text)}: must be text")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DisputeError(f"transcript is no JSON: {error}") from None
        return cls.from_json(value)


def _move(value: Any) -> Move:
    took, answer, failure = wire.parts("move", value, ("took", "answer", "failure"))
    if failure is not None and (answer is not None or not _is_failure(failure)):
        rule = f"must be null beside an answer, or text of up to {MOST_FAILURE} characters that ASCII prints"
        raise DisputeError(f"failure = {wire.shown(failure)}: {rule}")
    try:
        return Move(_seconds("took", took), wire.plain(answer), failure)
    except (TypeError, ValueError, RecursionError) as error:
        raise DisputeError(f"answer: must be JSON: {error}") from None


def _is_failure(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_FAILURE and value.isascii() and value.isprintable()


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        raise DisputeError(f"{name} = {value!r:.80}: must be seconds, at least 0")
    return float(value)
