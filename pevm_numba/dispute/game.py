"""The referee asks both parties, halves what they differ about, and judges one step. It knows the agreement, nothing else.

At every moment there is a place at which both said the same, and a later one at which they did not. The honest party says
what is so, hence so did the other where they agreed; at the first place after that, one step shows who is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, Protocol, TypeVar

from ..errors import DisputeError
from . import wire
from .agreement import Agreement, Claim
from .machine_state import TxHeader, done
from .proofs import Proof
from .steps import begin, n_steps
from .transcript import MOST_FAILURE, SIDES, Move, Round, Transcript, Verdict
from .verify import StepProof, check_header, verify_step

__all__ = ["STEPS_A_LIMIT", "Player", "most_rounds", "play", "replay"]

_T = TypeVar("_T")
_Ask = Callable[[dict[str, Any]], Move]
#: Steps of a transaction for which its parties have another limit.
STEPS_A_LIMIT: Final = 10_000
#: What a state is that has not been asked for.
_NONE: Final = b""


class Player(Protocol):
    """What `play` needs of a party."""

    def answer(self, question: dict[str, Any]) -> Any:
        """An object of JSON; an exception says that there is none."""


def most_rounds(n_tx: int, n_ops: int) -> int:
    """Rounds that a game takes at most, if the transaction in dispute has these many ops.

    Examples
    --------
    >>> most_rounds(5000, 13), most_rounds(1, 1)
    (19, 2)
    """
    return max(0, n_tx - 1).bit_length() + max(0, n_ops - 1).bit_length() + 2


class _Decided(Exception):
    """Ends the game."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


def _live(player: Player, clock: Callable[[], float]) -> _Ask:
    """Ask a party, and take the time."""

    def ask(question: dict[str, Any]) -> Move:
        start, given, failure = clock(), None, None
        try:
            given = wire.plain(player.answer(dict(question)))
        except Exception as error:  # what a party does is not trusted: no error of its program may end the game
            failure = str(error) if type(error) is wire.NotPlain else type(error).__name__
        took = max(0.0, float(clock() - start))
        return Move(took, given, None if failure is None else ascii(failure)[1:-1][:MOST_FAILURE])

    return ask


class _Game:
    """One game under way."""

    def __init__(self, agreement: Agreement, limit: float, asks: tuple[_Ask, _Ask]) -> None:
        self.agreement, self.limit, self.asks = agreement, limit, asks
        self.rounds = list[Round]()
        self.position: int | None = None
        self.step: int | None = None
        self.pace = 1.0  # how many times the limit a move may take

    def decide(self, winner: str | None, reason: str) -> NoReturn:
        raise _Decided(Verdict(winner, reason, self.position, self.step))

    def blame(self, faults: list[str | None]) -> None:
        """End the game if one party, or both, did what may not be."""
        if any(fault is not None for fault in faults):
            winner = SIDES[1] if faults[1] is None else SIDES[0] if faults[0] is None else None
            told = "; ".join(f"{side}: {fault}" for side, fault in zip(SIDES, faults) if fault is not None)
            self.decide(winner, told)

    def ask(self, question: dict[str, Any], read: Callable[[Any], _T]) -> tuple[_T, _T]:
        """Both answers, read; whoever is late, silent or malformed loses."""
        moves = self.asks[0](question), self.asks[1](question)
        found, faults = list[_T](), list[str | None]()
        for move in moves:
            fault = None
            if move.answer is None:
                fault = "gave no answer" if move.failure is None else f"gave no answer: {move.failure}"
            else:
                try:
                    found.append(read(move.answer))
                except DisputeError as error:
                    fault = str(error)
            faults.append(fault)
        limit = self.limit * self.pace  # only now: either opening may have shown how many steps there are
        for at, move in enumerate(moves):
            if move.took > limit:
                faults[at] = f"took {move.took:g} s, of {limit:g}"
        if any(fault is not None for fault in faults):
            self.rounds.append(Round(question, moves, "; ".join(f"{s}: {f}" for s, f in zip(SIDES, faults) if f)))
            self.blame(faults)
        same = "agree" if found[0] == found[1] else "differ"
        self.rounds.append(Round(question, moves, same))
        return found[0], found[1]

    def claims(self, position: int) -> tuple[Claim, Claim]:
        return self.ask(
            {"ask": "claim", "position": position}, lambda answer: Claim.from_json(wire.parts("move", answer, ["claim"])[0])
        )

    def dispute(self) -> NoReturn:
        """Find the first transaction about which the parties differ, then the step in it."""
        if self.agreement.n_tx == 0:
            self.decide(None, "no dispute: there is no transaction")
        claims = self.claims(self.agreement.n_tx)
        if claims[0] == claims[1]:
            self.decide(None, "no dispute: the last claims agree")
        low, high, known = 0, self.agreement.n_tx, self.agreement.first_claim()
        while high - low > 1:
            middle = (low + high) // 2
            found = self.claims(middle)
            if found[0] == found[1]:
                low, known = middle, found[0]
            else:
                high, claims = middle, found
        self.position = low
        link = known.digest()
        self.blame([None if claim.link == link else "claim is not linked to the one before it" for claim in claims])
        self.open(low, known, claims)

    def open(self, position: int, known: Claim, claims: tuple[Claim, Claim]) -> NoReturn:
        """Go into a transaction: how it begins is known to the referee, how it ends each party has claimed."""
        found = self.ask({"ask": "open", "position": position}, lambda answer: self.read_opening(position, answer))
        header, start = found[0][0], begin(known.root, found[0][0], self.agreement.prices)
        before, steps = start.digest(), n_steps(header)
        after = [done(claim.root, claim.receipt).digest() for claim in claims]
        if not steps:
            self.judge(after, before, "without ops it ends as it begins")
        low, high, middle, states = 0, steps, steps // 2, (found[0][1], found[1][1])
        while True:
            if states[0] == states[1]:
                low, before = middle, states[0]
            else:
                high, after = middle, list(states)
            if high - low == 1:
                break
            middle = (low + high) // 2
            states = self.ask({"ask": "state", "position": position, "step": middle}, self.read_state)
        self.step = low
        self.prove(position, low, before, after)

    def read_opening(self, position: int, answer: Any) -> tuple[TxHeader, bytes]:
        proof, state = wire.parts("move", answer, ["transaction", "state"])
        header = check_header(self.agreement, position, Proof.from_json(proof))
        self.pace = 1 + n_steps(header) / STEPS_A_LIMIT
        if header.n_ops:
            return header, wire.octets("state", state, 32)
        if state is not None:
            raise DisputeError("state: must be null, there is no op")
        return header, _NONE

    @staticmethod
    def read_state(answer: Any) -> bytes:
        return wire.octets("state", wire.parts("move", answer, ["state"])[0], 32)

    def prove(self, position: int, step: int, before: bytes, after: list[bytes]) -> NoReturn:
        """Both prove the step; every proof that is valid shows the same."""

        def read(answer: Any) -> bytes:
            proof = StepProof.from_json(wire.parts("move", answer, ["proof"])[0])
            return verify_step(self.agreement, position, before, proof)

        shown = self.ask({"ask": "proof", "position": position, "step": step}, read)
        self.judge(after, shown[0], "its step was proved")

    def judge(self, after: list[bytes], truth: bytes, how: str) -> NoReturn:
        """Whoever claimed what is so has won."""
        right = [side for side, claimed in zip(SIDES, after) if claimed == truth]
        if len(right) == 1:
            self.decide(right[0], f"{how}: the {right[0]} is right")
        self.decide(None, f"{how}: neither party is right")

    def run(self) -> Transcript:
        try:
            self.dispute()
        except _Decided as end:
            return Transcript(self.agreement, self.limit, tuple(self.rounds), end.verdict)


def play(
    agreement: Agreement,
    proposer: Player,
    challenger: Player,
    *,
    limit: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> Transcript:
    """Play a dispute between two parties to its end.

    Parameters
    ----------
    agreement : Agreement
        All that the referee knows.
    proposer, challenger : Player
        Such as `Commitment.party` and `faulty_party` give. The rules are the same for both.
    limit : float
        Seconds for each move; who takes longer has lost. Once the transaction in dispute is known, each move may take
        1 + n_steps / 10,000 times as long, that which shows it included: a party has to run all of its steps. The clock is
        read before and after: a party is not interrupted.
    clock : function
        Seconds, as a float, that never fall.

    Returns
    -------
    Transcript

    Raises
    ------
    DisputeError
        If `limit` is not a number above 0, or another argument is not what it should be.

    Notes
    -----
    At most `most_rounds` rounds, each of one answer by either party. A party that raises any exception gives no answer, and
    has lost: the finding names the exception. What is no Exception, as KeyboardInterrupt, passes. An answer that is no JSON,
    has more than 2**20 characters as JSON, or is nested more than 32 deep is none either.

    Examples
    --------
    >>> import pevm_numba as pn
    >>> block = pn.generate("small")
    >>> made = pn.commit(pn.execute(block, "serial", record="changes"))
    >>> game = play(made.agreement, pn.faulty_party(made, "gas", seed=1), made.party())
    >>> game.verdict.winner, game.n_rounds <= most_rounds(block.n_tx, 16)
    ('challenger', True)
    """
    wire.instance("agreement", agreement, Agreement)
    for side, player in zip(SIDES, (proposer, challenger)):
        if not callable(getattr(player, "answer", None)):
            raise DisputeError(f"{side} = {wire.shown(player)}: must have a method answer")
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 < limit < 2**63:
        raise DisputeError(f"limit = {wire.shown(limit)}: must be seconds, above 0 and below 2**63")
    return _Game(agreement, float(limit), (_live(proposer, clock), _live(challenger, clock))).run()


def replay(transcript: Transcript, agreement: Agreement | None = None) -> Verdict:
    """Judge a game anew, from what the parties said in it.

    Parameters
    ----------
    transcript : Transcript
    agreement : Agreement, optional
        What the caller knows to be agreed. Without it the transcript's own is taken, which nobody has signed: whoever wrote
        it may have put in other prices or another state, as well as another limit, and answers that no party gave.

    Raises
    ------
    DisputeError
        If another question was asked than would be, or what was found or decided is not what follows from the answers; if
        the transcript is about another agreement, or has a form that `Transcript.from_json` refuses.

    Examples
    --------
    >>> import pevm_numba as pn
    >>> made = pn.commit(pn.execute(pn.generate("small"), "serial", record="changes"))
    >>> game = pn.play(made.agreement, made.party(), pn.faulty_party(made, "status"))
    >>> replay(pn.Transcript.loads(game.dumps())).winner
    'proposer'
    """
    wire.instance("transcript", transcript, Transcript)
    if agreement is not None:
        wire.instance("agreement", agreement, Agreement)
        theirs, ours = transcript.agreement.digest().hex(), agreement.digest().hex()
        if theirs != ours:
            raise DisputeError(f"transcript is about the agreement 0x{theirs}: must be about 0x{ours}")
    transcript = Transcript.from_json(transcript.to_json())
    left = iter(transcript.rounds)
    anew = _Game(transcript.agreement, transcript.limit, _recorded(left)).run()
    for number, (said, found) in enumerate(zip(transcript.rounds, anew.rounds)):
        if said != found:
            raise DisputeError(f"round {number}: says {said.finding!r:.200}: its answers give {found.finding!r:.200}")
    if len(transcript.rounds) > len(anew.rounds):
        raise DisputeError(f"round {len(anew.rounds)}: the game was over before it")
    if transcript.verdict != anew.verdict:
        raise DisputeError(f"verdict {transcript.verdict}: the answers give {anew.verdict}")
    return anew.verdict


def _recorded(rounds: Iterator[Round]) -> tuple[_Ask, _Ask]:
    """What the parties answered."""
    held = list[Round]()

    def first(question: dict[str, Any]) -> Move:
        found = next(rounds, None)
        if found is None or found.question != question:
            raise DisputeError(f"transcript has no answer to {question}")
        held[:] = [found]
        return found.moves[0]

    return first, lambda question: held[0].moves[1]
