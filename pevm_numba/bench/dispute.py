"""What it costs to commit to a block, and how long a dispute about it takes: all games are won, or no figure is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..block import Block
from ..dispute.agreed import AgreedBlock
from ..dispute.commitment import Commitment, commit
from ..dispute.faults import KINDS, faulty_party
from ..dispute.game import most_rounds, play, replay
from ..dispute.transcript import SIDES, Transcript
from ..dispute.tree import Tree
from ..dispute.verify import StepProof
from ..errors import BlockError, ExecutionError, UsageError
from ..evm.hashing import keccak
from ..execute.result import Execution
from ..execute.run import execute
from ..generate import PRESETS, generate
from ..io.files import read_block
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .tables import check_range, figure, print_paragraph, print_table

__all__ = ["Request", "run"]


@dataclass(frozen=True)
class Request:
    """The arguments of ``bench dispute``."""

    path: Path | None = None
    number: int | None = None
    preset: str = "large"
    games: int = 4
    rounds: int = 5
    seed: int = 42

    def block(self) -> tuple[str, Block]:
        """What is measured, and its name.

        Raises
        ------
        PevmError
            Naming the option, its value and the rule; or what is wrong with the input.
        """
        limits = (("--games", self.games, 1, 10**6), ("--rounds", self.rounds, 1, 1000), ("--seed", self.seed, 0, 2**63))
        for option, number, low, high in limits:
            check_range(option, number, low, high)
        if self.path is not None:
            block = read_block(self.path, self.number)
            return f"{self.path}: {block.number}", block
        if self.preset not in PRESETS:
            raise UsageError(f"--preset {self.preset!r} is unknown: one of {', '.join(PRESETS)}")
        return self.preset, generate(self.preset, seed=self.seed)


def _times(rounds: int, work: Callable[[], Any]) -> float:
    """Milliseconds that some work takes, median."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


def _agree(block: Block) -> AgreedBlock:
    made = AgreedBlock(block)
    _ = made.agreement
    return made


def _check_root(made: Commitment, ran: Execution) -> None:
    paths = {ran.block.key(k): made.agreed.paths[k].tobytes() for k in range(ran.block.n_keys)}
    anew = Tree({paths[key]: value.to_bytes(32, "big") for key, value in ran.state().items()}, keccak)
    if made.claim(made.n_tx).root != anew.root:
        raise ExecutionError(f"state root 0x{made.claim(made.n_tx).root.hex()}: that of the state is 0x{anew.root.hex()}")


def _commitment_row(source: str, ran: Execution, rounds: int) -> tuple[dict[str, Any], Commitment]:
    """What agreement and claims cost."""
    block = ran.block
    made = commit(ran)  # loads kernels
    _check_root(made, ran)
    agreed = made.agreed
    agreement = _times(rounds, lambda: _agree(block))
    state = _times(rounds, lambda: type(agreed.before)(agreed.paths, block.pre_values))
    claims = _times(rounds, lambda: commit(ran, agreed=agreed))
    written = len(made.changes[1])
    row = {
        "table": "commitment", "source": source, "n_tx": block.n_tx, "n_ops": block.n_ops, "n_keys": block.n_keys,
        "written": written, "rounds": rounds, "agreement_ms": agreement, "state_ms": state, "claims_ms": claims,
        "agreement_us_per_tx": 1e3 * agreement / max(1, block.n_tx), "claims_us_per_tx": 1e3 * claims / max(1, block.n_tx),
        "claims_us_per_key": 1e3 * claims / written if written else None, "verified": True,
    }  # fmt: skip
    return row, made


def _check_game(kind: str, made: Commitment, played: Transcript, side: int) -> int:
    """Rounds to spare; an error unless the honest party at that side won."""
    verdict = played.verdict
    n_ops = 0 if verdict.position is None else made.agreed.header(verdict.position).n_ops
    spare = most_rounds(made.n_tx, n_ops) - played.n_rounds
    if verdict.winner != SIDES[side] or spare < 0 or replay(played) != verdict:
        told = f"dispute about {kind!r}, {played.n_rounds} rounds: {verdict}"
        raise ExecutionError(f"{told}: must be won by the {SIDES[side]}")
    return spare


def _proof_sizes(played: Transcript) -> list[int]:
    """Bytes of the winner's proof, if there is one."""
    last = played.rounds[-1]
    if last.question["ask"] != "proof" or played.verdict.winner is None:
        return []
    return [StepProof.from_json(last.moves[SIDES.index(played.verdict.winner)].answer["proof"]).n_bytes]


def _game_row(source: str, made: Commitment, ran: Execution, kind: str, games: int, seed: int) -> dict[str, Any] | None:
    """Games about one kind of fault; None if the block has no place for it."""
    seconds, spare, most, sizes = list[float](), list[int](), 0, list[int]()
    for i in range(games):
        try:
            wrong = faulty_party(made, kind, seed=seed + i)
        except BlockError:
            return None
        right, side = commit(ran, agreed=made.agreed).party(), i % 2  # one that has not looked at anything yet
        parties = (right, wrong) if side == 0 else (wrong, right)
        start = time.perf_counter()
        played = play(made.agreement, *parties)
        seconds.append(time.perf_counter() - start)
        spare.append(_check_game(kind, made, played, side))
        most = max(most, played.n_rounds)
        sizes += _proof_sizes(played)
    return {
        "table": "game", "source": source, "n_tx": made.n_tx, "kind": kind, "games": games, "won": games,
        "rounds_high": most, "rounds_spare": min(spare), "seconds": float(np.median(seconds)),
        "seconds_high": max(seconds), "proof_bytes": max(sizes, default=None), "verified": True,
    }  # fmt: skip


def run(request: Request, json: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure, show, and write JSON and page if asked.

    Raises
    ------
    PevmError
        On bad arguments or input, or if a game is not won; no figure is shown or written then.
    """
    check_outputs(json, page, [] if request.path is None else [request.path])
    source, block = request.block()
    ran = execute(block, "serial", record="changes")
    row, made = _commitment_row(source, ran, request.rounds)
    found = (_game_row(source, made, ran, kind, request.games, request.seed) for kind in KINDS)
    rows = [row, *(one for one in found if one is not None)]
    _show(rows)
    write_outputs(json, page, rows)
    return rows


def _show(rows: Sequence[dict[str, Any]]) -> None:
    first, games = rows[0], rows[1:]
    title = f"Commitment to {first['source']}: medians of {first['rounds']} rounds, the last root compared"
    per_key = "-" if first["claims_us_per_key"] is None else figure(first["claims_us_per_key"])
    body = [
        ["agreement", f"{first['n_tx']:,}", "", figure(first["agreement_ms"]), figure(first["agreement_us_per_tx"]), ""],
        [
            "claims", f"{first['n_tx']:,}", f"{first['written']:,}", figure(first["claims_ms"]),
            figure(first["claims_us_per_tx"]), per_key,
        ],
    ]  # fmt: skip
    print_table(title, ["", "transactions", "keys written", "ms", "us/transaction", "us/key written"], body)
    body = [
        [
            row["kind"], f"{row['games']:,}", f"{row['rounds_high']}", figure(row["seconds"]), figure(row["seconds_high"]),
            "-" if row["proof_bytes"] is None else f"{row['proof_bytes']:,}",
        ]
        for row in games
    ]  # fmt: skip
    title = "Disputes, every one won by the honest party and judged anew from its transcript"
    print_table(title, ["one party", "games", "rounds", "s", "s, most", "proof bytes"], body)
    print_paragraph("; ".join(f"{row['kind']}: {KINDS[row['kind']]}" for row in games) + ".")
