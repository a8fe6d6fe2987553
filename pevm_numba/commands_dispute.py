"""Body of the command `dispute`: a game with its rounds in a table, or a transcript that is judged anew."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from . import console as con
from .dispute.game import most_rounds, play, replay
from .dispute.transcript import SIDES, Move, Transcript
from .dispute.verify import StepProof
from .errors import BlockError, ExecutionError, UsageError
from .screens import print_pairs, print_table

__all__ = ["Request", "judge", "run"]


class Request(NamedTuple):
    """What the command line asked for."""

    input: Path | None
    preset: str | None
    policy: str | None
    fault: str
    side: str
    position: int | None
    seed: int
    limit: float
    transcript: Path | None
    number: int | None


def judge(path: Path, others: Iterable[object]) -> Transcript:
    """Judge a transcript anew, and show its rounds; `others` are the values of all other options, None if not given.

    Raises
    ------
    PevmError
        On a transcript that was altered; UsageError if another option is given.
    """
    if any(value is not None for value in others):
        raise UsageError("--replay with other options: a transcript is all that is needed")
    from .io.paths import existing

    text = existing(path).read_bytes()
    read = Transcript.loads(text)
    verdict = replay(read)
    print_pairs([("transcript", f"{path}: {len(text):,} bytes, judged anew: the same verdict")])
    print_pairs([("agreement", f"0x{read.agreement.digest().hex()}")])
    _show(read, None)
    print_pairs([("winner", verdict.winner or "none"), ("reason", _plain(verdict.reason, 300))])
    return read


def run(request: Request) -> Transcript:
    """Play a game, and show its rounds.

    Raises
    ------
    PevmError
        On bad input; UsageError if options do not fit; ExecutionError if the wrong party won.
    """
    from .dispute.commitment import commit
    from .dispute.faults import KINDS, faulty_party
    from .execute.run import execute
    from .schedule.policies import schedule

    con.check_choice("--fault", request.fault, [*KINDS, "random"])
    con.check_choice("--side", request.side, SIDES)
    con.check_range("--seed", request.seed, 0, 2**64 - 1)
    con.check_range("--limit", request.limit, 1e-6, 1e9)
    if request.transcript is not None:
        from .io.paths import check_target

        check_target("--transcript", request.transcript, [] if request.input is None else [request.input], (".json",))
    block = _block(request)
    plan = None if request.policy is None else schedule(block, request.policy)
    made = commit(execute(block, "serial", schedule=plan, record="changes"))
    kind = request.fault
    if kind == "random":
        kind = random.Random(request.seed).choice(list(KINDS))
    wrong, right = faulty_party(made, kind, seed=request.seed, position=request.position), made.party()
    parties = (wrong, right) if request.side == SIDES[0] else (right, wrong)
    played = play(made.agreement, *parties, limit=request.limit)
    print_pairs([
        ("block", f"{block.number:,}: {block.n_tx:,} transactions, {block.n_ops:,} ops, {block.n_keys:,} keys"),
        ("fault", f"the {request.side} {KINDS[kind]} ({kind})"),
    ])  # fmt: skip
    position = played.verdict.position
    _show(played, None if position is None else made.agreed.header(position).n_ops)
    honest = SIDES[1 - SIDES.index(request.side)]
    print_pairs([("winner", played.verdict.winner or "none"), ("reason", _plain(played.verdict.reason, 300))])
    if played.verdict.winner != honest:
        raise ExecutionError(f"the {honest} was right, and did not win: {played.verdict.reason}")
    if request.transcript is not None:
        from .io.paths import replacing

        with replacing(request.transcript) as (beside,):
            beside.write_text(played.dumps())
    return played


def _block(request: Request) -> Any:
    """The block that is disputed."""
    from .block import Block
    from .generate import PRESETS, generate

    if request.input is None:
        if request.number is not None:
            raise UsageError("--number: only with --input")
        con.check_choice("--preset", request.preset or "medium", PRESETS)
        return generate(request.preset or "medium", seed=request.seed)
    if request.preset is not None:
        raise UsageError("dispute: give either --preset or --input")
    block = con.read_input(request.input, request.number)
    if not isinstance(block, Block):
        raise BlockError(f"{request.input}: is a block of the EVM: must be one of micro-ops")
    return block


def _show(played: Transcript, n_ops: int | None) -> None:
    """The rounds, and what they come to."""
    body = [
        [f"{number}" if number else "", _asked(one.question), *(_said(move) for move in one.moves), _plain(one.finding)]
        for number, one in enumerate(played.rounds)
    ]
    print_table(("round", "question", *SIDES, "finding"), body, 2, 3, left=(1, 2, 3, 4))
    print()
    verdict, sizes = played.verdict, _proof_bytes(played)
    most = "" if n_ops is None else f", at most {most_rounds(played.agreement.n_tx, n_ops)}"
    rows = [("rounds", f"{played.n_rounds}{most}")]
    if verdict.position is not None:
        where = f"transaction at position {verdict.position:,}"
        rows.append(("found", where if verdict.step is None else f"{where}, step {verdict.step:,}"))
    if sizes:
        rows.append(("proof", f"{max(sizes):,} bytes"))
    print_pairs(rows)


def _proof_bytes(played: Transcript) -> list[int]:
    """Size of the winner's proof."""
    if not played.rounds or played.rounds[-1].question["ask"] != "proof" or played.verdict.winner is None:
        return []
    return [StepProof.from_json(played.rounds[-1].moves[SIDES.index(played.verdict.winner)].answer["proof"]).n_bytes]


def _asked(question: dict[str, Any]) -> str:
    """A question for people."""
    match question:
        case {"ask": "claim", "position": position}:
            return f"after {position:,} transactions?"
        case {"ask": "open", "position": position}:
            return f"transaction {position:,}? midway?"
        case {"ask": "state", "step": step}:
            return f"after {step:,} steps?"
        case {"ask": "proof", "step": step}:
            return f"step {step:,}: proof?"
    return _plain(question)


def _said(move: Move) -> str:
    """An answer for people; nothing is taken for granted of its form."""
    match move.answer:
        case {"claim": {"root": str(root), "receipt": {"gas_used": int(gas)}}}:
            return f"{_plain(root, 10)}…, gas {gas:,}"[:40]
        case {"transaction": _, "state": str(state)} | {"state": str(state)}:
            return f"{_plain(state, 10)}…"
        case {"proof": {"machine": {"pc": int(pc)}}}:
            return f"op {pc:,}"[:20]
        case None:
            return "nothing"
    return _plain(move.answer, 20)


def _plain(value: Any, most: int = 40) -> str:
    """Text that nobody has checked, such that no terminal takes a part of it for a command."""
    return ascii(value)[1:-1][:most] if isinstance(value, str) else ascii(value)[:most]
