"""Games: whoever is right wins, whatever the other one does, within the rounds that are promised; and can prove it later."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import blocks
from test_dispute_trace import committed
from test_machine import BALANCE, SLOT

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.block import Block
from pevm_numba.dispute import game as games
from pevm_numba.dispute.commitment import Commitment, commit
from pevm_numba.dispute.faults import KINDS, faulty_party, mutated
from pevm_numba.dispute.game import most_rounds, play, replay
from pevm_numba.dispute.party import Party
from pevm_numba.dispute.transcript import SIDES, Transcript
from pevm_numba.errors import BlockError, DisputeError
from pevm_numba.execute.run import execute

A, B = (1, 0, 0), (2, 0, 0)

pytestmark = pytest.mark.skipif(DISABLED, reason="thousands of moves, each of hundreds of hashes")


def contended(n_tx: int = 20, seed: int = 42) -> Block:
    """A block whose transactions read each other's writes."""
    return pn.generate(n_tx=n_tx, key_space=max(4, n_tx), conflict_ratio=0.6, seed=seed)


@pytest.fixture(scope="module")
def made() -> Commitment:
    return committed(contended())


def decide(made: Commitment, wrong: Any, side: int) -> Transcript:
    """A game of the honest party at a side against another one; it is won, within the rounds promised, and replays."""
    right = made.party()
    parties = (right, wrong) if side == 0 else (wrong, right)
    played = play(made.agreement, *parties)
    assert played.verdict.winner == SIDES[side], played.verdict
    n_ops = 0 if played.verdict.position is None else made.agreed.header(played.verdict.position).n_ops
    assert played.n_rounds <= most_rounds(made.n_tx, n_ops)
    assert most_rounds(made.n_tx, n_ops) == int(np.ceil(np.log2(made.n_tx)) + np.ceil(np.log2(max(1, n_ops)))) + 2
    return played


def faulty(made: Commitment, kind: str, seed: int) -> Party | None:
    """A faulty party; None if the block has no place for what it would do."""
    try:
        return faulty_party(made, kind, seed=seed)
    except BlockError as error:
        if f"kind {kind!r}" in str(error):
            return None
        raise


# -------------------------------------------------------------------- whoever is right wins


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_loses_on_either_side(made: Commitment, kind: str, side: int) -> None:
    for seed in range(8):
        wrong = faulty_party(made, kind, seed=seed)
        assert wrong.commitment.digest != made.digest
        played = decide(made, wrong, side)
        assert replay(Transcript.loads(played.dumps())) == played.verdict


@pytest.mark.parametrize("kind", ["value", "gas", "status", "skipped-write", "extra-write", "stale-read"])
def test_the_game_ends_at_the_very_step_that_was_done_wrong(made: Commitment, kind: str) -> None:
    for seed in range(5):
        wrong = faulty_party(made, kind, seed=seed)
        verdict = decide(made, wrong, 1).verdict
        assert verdict.position is not None
        position = verdict.position
        assert wrong.commitment.claim(position) == made.claim(position)
        right, other = made.trace(position), wrong.trace(position)
        first = next(s for s in range(10**6) if right.digest(s) != other.digest(s))
        assert verdict.step == first - 1
        assert verdict.reason == "its step was proved: the challenger is right"


@given(blocks(max_tx=6, deep=False).filter(lambda block: block.n_tx > 0), st.sampled_from(list(KINDS)), st.integers(0, 99))
@settings(max_examples=60)
def test_faults_in_blocks_with_failing_transactions_lose(block: Block, kind: str, seed: int) -> None:
    made = committed(block)
    wrong = faulty(made, kind, seed)
    if wrong is not None:
        decide(made, wrong, seed % 2)


def test_a_fault_at_a_position_is_made_there(made: Commitment) -> None:
    for position in (0, 7, 19):
        verdict = decide(made, faulty_party(made, "receipt", position=position), 0).verdict
        assert (verdict.position, verdict.step is not None) == (position, True)
        assert decide(made, faulty_party(made, "gas", position=position), 1).verdict.position == position


@pytest.mark.parametrize("n_tx", [1, 2, 3, 5, 8, 9])
def test_rounds_are_few_in_blocks_of_every_size(n_tx: int) -> None:
    made = committed(contended(n_tx))
    for position in range(n_tx):
        decide(made, faulty_party(made, "receipt", seed=position, position=position), position % 2)


def test_a_transaction_without_ops_is_judged_as_it_begins() -> None:
    made = committed(Block.from_programs([[], [("ADD", 1)], []], gas_limits=[10**5, 10**5, 5]))
    for position in (0, 2):
        played = decide(made, faulty_party(made, "receipt", position=position), 1)
        assert played.verdict.reason.startswith("without ops it ends as it begins")
        assert played.rounds[-1].question["ask"] == "open"


def test_programs_of_thousands_of_ops_and_keys_are_judged() -> None:
    program = [("SSTORE", (1 + i % 700, 1, 0), i) for i in range(3000)]
    made = committed(Block.from_programs([program, [("SLOAD", A)], program]))
    decide(made, faulty_party(made, "skipped-write", seed=2, position=2), 0)
    played = decide(made, faulty_party(made, "root", seed=2, position=0), 1)
    assert played.n_rounds >= most_rounds(3, 3000) - 1
    assert played.verdict.step == 5999


# -------------------------------------------------------------------- schedules


def test_who_executes_in_another_order_than_the_schedules_is_caught() -> None:
    block = contended(30)
    plan = pn.schedule(block, "mis")
    made = commit(execute(block, "waves", schedule=plan, record="changes"))
    wrong = commit(execute(block, "serial", record="changes"), agreed=made.agreed)
    assert wrong.agreement == made.agreement
    for side in (0, 1):
        verdict = decide(made, wrong.party(), side).verdict
        first = next(p for p in range(30) if plan.serial_order[p] != p)
        assert verdict.position == first


def test_two_neighbours_that_conflict_cannot_be_swapped() -> None:
    block = Block.from_programs([[("SSTORE", A, 1)], [("SLOAD", A), ("SSTORE", B, "TOP")], [("NOOP", 5)]])
    made = committed(block)
    order = pn.Schedule.from_waves("other", [[1], [0], [2]], [1, 0, 2])
    wrong = commit(execute(block, "serial", schedule=order, record="changes"), agreed=made.agreed)
    assert decide(made, wrong.party(), 0).verdict.position == 0


# -------------------------------------------------------------------- those who do not play by the rules


class Scripted:
    """A party that does something else at one of its moves."""

    def __init__(self, party: Party, at: int, act: Any) -> None:
        self.party, self.left, self.act = party, at, act

    def answer(self, question: dict[str, Any]) -> Any:
        self.left -= 1
        return self.act(self.party, question) if self.left == -1 else self.party.answer(question)


def garbled(party: Party, question: dict[str, Any]) -> Any:
    """An answer with another member."""
    return party.answer(question) | {"more": 1}


def silent(party: Party, question: dict[str, Any]) -> Any:
    raise TimeoutError


def failing(party: Party, question: dict[str, Any]) -> Any:
    raise BlockError("something is wrong here")


def foreign(party: Party, question: dict[str, Any]) -> Any:
    return {"claim": {1, 2}}


def endless(party: Party, question: dict[str, Any]) -> Any:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize("act", [garbled, silent, failing, foreign, endless, lambda p, q: None, lambda p, q: float("nan")])
def test_bad_moves_lose_at_every_moment_of_the_game(made: Commitment, act: Any) -> None:
    wrong = faulty_party(made, "gas", seed=1)
    n_moves = len(decide(made, wrong, 0).rounds)
    for at in range(n_moves):
        played = decide(made, Scripted(faulty_party(made, "gas", seed=1), at, act), at % 2)
        assert len(played.rounds) == at + 1
        assert replay(Transcript.loads(played.dumps())) == played.verdict
        other = play(made.agreement, Scripted(made.party(), at, act), faulty_party(made, "gas", seed=1))
        assert other.verdict.winner == "challenger"  # being right does not help who breaks the rules


def test_who_takes_too_long_has_lost_whatever_the_answer(made: Commitment) -> None:
    ticks = iter([0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 14.0])
    played = play(made.agreement, made.party(), faulty_party(made, "gas"), limit=10, clock=lambda: next(ticks))
    assert played.verdict.winner == "proposer"
    assert played.verdict.reason == "challenger: took 11 s, of 10"
    assert [[move.took for move in one.moves] for one in played.rounds] == [[1, 1], [1, 11]]
    assert replay(played) == played.verdict


def test_a_long_transaction_gives_more_time_to_those_who_show_it() -> None:
    program = [("CREDIT", (1 + i % 50, 1, 0), 1 + i) for i in range(2000)]  # 4,000 steps: 1.4 times the limit
    made = committed(Block.from_programs([program, [("SLOAD", A)]]))

    def taking(seconds: float) -> Transcript:
        clock = [0.0]

        class Slow(Party):
            def answer(self, question: dict[str, Any]) -> dict[str, Any]:
                clock[0] += 9.0 if question["ask"] == "claim" else seconds
                return super().answer(question)

        wrong = faulty_party(made, "value", position=0)
        return play(made.agreement, Slow(made), wrong, limit=10, clock=lambda: clock[0])

    assert taking(13.9).verdict.winner == "proposer"
    late = taking(14.1)
    assert (late.verdict.winner, late.rounds[-1].question["ask"]) == ("challenger", "open")
    assert late.verdict.reason == "proposer: took 14.1 s, of 14"
    assert replay(Transcript.loads(late.dumps())) == late.verdict


def test_two_late_parties_both_lose(made: Commitment) -> None:
    ticks = iter(range(0, 1000, 20))
    played = play(made.agreement, made.party(), faulty_party(made, "gas"), limit=10, clock=lambda: float(next(ticks)))
    assert played.verdict.winner is None
    assert played.verdict.reason == "proposer: took 20 s, of 10; challenger: took 20 s, of 10"


class Trap(dict):
    """An answer whose own methods fail when it is written as JSON."""

    def items(self) -> Any:
        raise LookupError("caught you")


def nested(depth: int) -> Any:
    """Lists within each other."""
    made: list[Any] = []
    for _ in range(depth - 1):
        made = [made]
    return made


def raising(error: BaseException) -> Any:
    """An act that raises it."""

    def act(party: Party, question: dict[str, Any]) -> Any:
        raise error

    return act


Odd = type("Odd\x1b\x80" + "x" * 500, (Exception,), {})


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (raising(ZeroDivisionError()), "gave no answer: ZeroDivisionError"),
        (raising(RecursionError()), "gave no answer: RecursionError"),
        (raising(MemoryError()), "gave no answer: MemoryError"),
        (raising(DisputeError("my own")), "gave no answer: DisputeError"),
        (raising(Odd()), r"gave no answer: Odd\x1b\x80x"),
        (lambda p, q: Trap(a=1), "gave no answer: LookupError"),
        (lambda p, q: {"claim": float("nan")}, "gave no answer: ValueError"),
        (lambda p, q: {"claim": "x" * 2**20}, "gave no answer: 1048589 characters: must be at most 1048576"),
        (lambda p, q: nested(33), "gave no answer: nested more than 32 deep"),
        (lambda p, q: nested(32), "must be an object with claim"),
    ],
)
def test_whatever_a_party_raises_or_returns_loses_and_is_named(made: Commitment, act: Any, told: str) -> None:
    played = decide(made, Scripted(faulty_party(made, "gas"), 0, act), 0)
    assert told in played.verdict.reason
    assert len(played.verdict.reason) < 200
    assert replay(Transcript.loads(played.dumps())) == played.verdict


def test_what_is_meant_for_the_process_passes(made: Commitment) -> None:
    with pytest.raises(KeyboardInterrupt):
        play(made.agreement, made.party(), Scripted(made.party(), 0, raising(KeyboardInterrupt())))


@pytest.mark.parametrize(
    ("move", "told"),
    [
        ({"answer": nested(33), "failure": None}, "nested more than 32 deep"),
        ({"answer": float("nan"), "failure": None}, "must be JSON"),
        ({"answer": 5, "failure": "KeyError"}, "must be null beside an answer"),
        ({"answer": None, "failure": "x" * 81}, "up to 80 characters"),
        ({"answer": None, "failure": 5}, "failure = 5"),
    ],
)
def test_moves_that_no_game_records_are_refused(made: Commitment, move: dict[str, Any], told: str) -> None:
    value = play(made.agreement, made.party(), faulty_party(made, "gas")).to_json()
    value["rounds"][0]["proposer"] = {"took": 0.0} | move
    with pytest.raises(DisputeError, match=told):
        Transcript.from_json(value)


class Random(Party):
    """Says true things and mixed-up ones, as it comes."""

    def __init__(self, commitment: Commitment, other: Commitment, rng: random.Random) -> None:
        super().__init__(commitment)
        self.other, self.rng = other.party(), rng

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        source = self.rng.choice([super(), self.other])
        if question["position"] == self.commitment.n_tx:
            source = self.other
        return source.answer(question)


def test_whoever_changes_sides_in_the_middle_loses(made: Commitment) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        other = faulty_party(made, rng.choice(["value", "gas", "receipt", "root", "extra-write"]), seed=seed).commitment
        decide(made, Random(made, other, rng), seed % 2)


def test_who_executed_at_other_prices_than_agreed_has_nothing_to_show() -> None:
    block = Block.from_programs([[("SSTORE", A, 1)], [("SLOAD", A)]])
    made = committed(block)
    cheap = commit(execute(block, "serial", gas="free", record="changes"), agreed=made.agreed)
    assert decide(made, cheap.party(), 0).verdict.reason == "challenger: gave no answer: BlockError"


def test_agreement_on_the_last_claim_is_no_dispute(made: Commitment) -> None:
    played = play(made.agreement, made.party(), made.party())
    assert (played.verdict.winner, played.n_rounds) == (None, 0)
    assert played.verdict.reason == "no dispute: the last claims agree"
    empty = committed(Block.from_programs([]))
    assert play(empty.agreement, empty.party(), empty.party()).verdict.reason == "no dispute: there is no transaction"


def test_of_two_wrong_parties_none_wins(made: Commitment) -> None:
    first, second = (faulty_party(made, "receipt", seed=seed, position=4) for seed in (1, 2))
    assert first.commitment.digest != second.commitment.digest
    verdict = play(made.agreement, first, second).verdict
    assert (verdict.winner, verdict.reason) == (None, "its step was proved: neither party is right")
    pair = (faulty_party(made, "link", seed=seed, position=4) for seed in (1, 2))
    assert "proposer: claim is not linked" in play(made.agreement, *pair).verdict.reason


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), True, "5"])
def test_limits_that_are_none_are_refused(made: Commitment, limit: Any) -> None:
    with pytest.raises(DisputeError, match="must be seconds, above 0"):
        play(made.agreement, made.party(), made.party(), limit=limit)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "kindness"}, "kind = 'kindness': must be one of value, gas"),
        ({"kind": "gas", "seed": -1}, "seed = -1"),
        ({"kind": "gas", "position": 20}, "position = 20"),
    ],
)
def test_misuse_of_faulty_parties_is_named(made: Commitment, options: dict[str, Any], text: str) -> None:
    with pytest.raises(BlockError, match=text):
        faulty_party(made, **options)


def test_a_block_that_offers_no_place_for_a_fault_says_so() -> None:
    made = committed(Block.from_programs([[("NOOP", 1)], [("NOOP", 1)]]))
    for kind in ("value", "skipped-write", "stale-read", "order", "forged-proof"):
        with pytest.raises(BlockError, match=f"kind '{kind}'"):
            faulty_party(made, kind)
    with pytest.raises(BlockError, match="without transactions"):
        faulty_party(committed(Block.from_programs([])), "gas")


# -------------------------------------------------------------------- transcripts


def leaves(value: Any) -> int:
    """How many numbers, texts and nulls a JSON value has."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if inner is None else sum(map(leaves, inner))


def test_a_transcript_that_was_altered_is_refused_or_says_the_same(made: Commitment) -> None:
    played = play(made.agreement, faulty_party(made, "skipped-write", seed=3), made.party())
    value, rng, refused = played.to_json(), random.Random(5), 0
    assert leaves(value) > 200
    for _ in range(300):
        wrong = mutated(value, rng)
        try:
            verdict = replay(Transcript.from_json(wrong))
        except DisputeError:
            refused += 1
            continue
        assert verdict == played.verdict  # what was changed is a time, or an answer that a later one has replaced
    assert 100 < refused < 300


def test_transcripts_that_are_cut_or_lengthened_are_refused(made: Commitment) -> None:
    played = play(made.agreement, made.party(), faulty_party(made, "value", seed=3))
    short = replace(played, rounds=played.rounds[:-1])
    with pytest.raises(DisputeError, match="has no answer to"):
        replay(short)
    with pytest.raises(DisputeError, match="the game was over before it"):
        replay(replace(played, rounds=(*played.rounds, played.rounds[-1])))
    with pytest.raises(DisputeError, match="verdict"):
        replay(replace(played, verdict=replace(played.verdict, winner="challenger")))
    with pytest.raises(DisputeError, match="round 0: says"):
        replay(replace(played, rounds=(replace(played.rounds[0], finding="agree"), *played.rounds[1:])))


def test_a_transcript_about_another_agreement_than_ones_own_is_refused(made: Commitment) -> None:
    played = play(made.agreement, made.party(), faulty_party(made, "receipt", seed=3))
    assert replay(played, made.agreement) == played.verdict
    for other in (replace(made.agreement, pre_root=bytes(32)), replace(made.agreement, prices=pn.gas_schedule("free"))):
        with pytest.raises(DisputeError, match=r"transcript is about the agreement 0x.*: must be about 0x"):
            replay(played, other)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: value["rounds"][0]["question"].update(position=20.0), "must have integers and text alone"),
        (lambda value: value["rounds"][0]["question"].update(position=True), "must have integers and text alone"),
        (lambda value: value["verdict"].update(winner="nobody"), "winner = 'nobody'"),
        (lambda value: value["verdict"].update(winner=[]), r"winner = \[\]"),
        (lambda value: value["verdict"].update(reason=5), "reason text"),
        (lambda value: value["verdict"].update(position=float(value["verdict"]["position"])), "position = "),
        (lambda value: value["verdict"].update(step=True), "step = True"),
        (lambda value: value.update(limit=0), "limit = 0: must be above 0"),
        (lambda value: value["agreement"].update(n_tx=True), "n_tx = True"),
    ],
)
def test_what_is_merely_equal_to_a_transcript_is_refused(made: Commitment, change: Any, told: str) -> None:
    value = play(made.agreement, made.party(), faulty_party(made, "receipt", seed=3)).to_json()
    change(value)
    with pytest.raises(DisputeError, match=told):
        Transcript.from_json(value)


def test_arguments_of_other_types_are_named(made: Commitment) -> None:
    wrong: Any = 5
    for call, told in (
        (lambda: play(wrong, made.party(), made.party()), "agreement = 5"),
        (lambda: play(made.agreement, made.party(), wrong), "challenger = 5: must have a method answer"),
        (lambda: replay(wrong), "transcript = 5"),
        (lambda: replay(play(made.agreement, made.party(), made.party()), wrong), "agreement = 5"),
        (lambda: Transcript.loads(wrong), "transcript 5: must be text"),
        (lambda: pn.verify_step(wrong, 0, bytes(32), wrong), "agreement = 5"),
        (lambda: pn.verify_step(made.agreement, 20, bytes(32), wrong), "position = 20"),
        (lambda: pn.verify_step(made.agreement, 0, wrong, wrong), "before = 5"),
        (lambda: pn.verify_step(made.agreement, 0, bytes(32), wrong), "proof = 5"),
    ):
        with pytest.raises(DisputeError, match=told):
            call()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no JSON"), ("[" * 100_000, "is no JSON"), ("[]", "must be an object"), ("{}", "is missing"),
        ('{"schema": 1, "agreement": 2, "limit": 3, "rounds": [], "verdict": {}}', "must be 'pevm_numba.dispute/1'"),
    ],
)  # fmt: skip
def test_text_that_is_no_transcript_is_refused(text: str, told: str) -> None:
    with pytest.raises(DisputeError, match=told):
        Transcript.loads(text)


# -------------------------------------------------------------------- many games


def random_games(count: int, seed: int) -> Iterator[tuple[Commitment, Party, int]]:
    """Commitments to random blocks, each with several faulty parties, in all kinds."""
    rng, left = random.Random(seed), count
    while left:
        n_tx = rng.choice([1, 2, 3, 7, 16, 30, 60])
        block = pn.generate(
            n_tx=n_tx, key_space=rng.choice([3, 20, 200]), conflict_ratio=rng.random(), cold_ratio=rng.random(),
            seed=rng.randrange(2**32), pattern=rng.choice(["uniform", "zipf", "chain", "star"]),
            fork=rng.choice(["london", "berlin", "free"]),
        )  # fmt: skip
        plan = pn.schedule(block, rng.choice(["levels", "mis", "first-fit"]))
        made = commit(execute(block, "serial", schedule=plan, record="changes"))
        for kind in rng.sample(list(KINDS), 13):
            wrong = faulty(made, kind, rng.randrange(2**32))
            if wrong is not None and left:
                left -= 1
                yield made, wrong, rng.randrange(2)


def test_hundreds_of_random_games_are_won() -> None:
    for made, wrong, side in random_games(400, seed=1):
        decide(made, wrong, side)


@pytest.mark.soak
def test_ten_thousand_random_games_are_won() -> None:
    played = 0
    for made, wrong, side in random_games(10_000, seed=2026):
        decide(made, wrong, side)
        played += 1
    assert played == 10_000


@pytest.mark.corpus
@pytest.mark.parametrize("number", [14029313, 19933122])
def test_faults_in_real_blocks_lose(shared, number: int) -> None:
    made = committed(pn.read_block(shared / "corpus" / "op_trace", number))
    for side, kind in enumerate(KINDS):
        wrong = faulty(made, kind, seed=side)
        assert wrong is not None
        decide(made, wrong, side % 2)


def test_a_state_key_and_a_balance_are_told_apart() -> None:
    made = committed(Block.from_programs([[("SSTORE", SLOT, 5), ("CREDIT", BALANCE, 5)]]))
    assert decide(made, faulty_party(made, "value", seed=1), 0).verdict.position == 0
    assert games.most_rounds(1, 2) == 3
