"""How well patterns predict the storage of real calls, each block by those before it, and what that is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from ..access.calls import Calls
from ..access.pattern_learning import explained_slots
from ..access.pattern_library import built_in_patterns
from ..access.patterns import Patterns
from ..access.prediction import Prediction, predict, time_series
from ..access.quality import accuracy, storage_quality
from ..access.scoring import score
from ..access.sets import AccessSets
from ..console import progress
from ..errors import ExecutionError
from ..evm.block import EvmBlock
from ..evm.hashing import keccak
from ..evm.workloads import MIXES, generate_evm
from ..execute.run import execute
from ..io.evm_tables import chosen_numbers, read_evm_blocks
from ..machine.ops import Field, Mode
from ..schedule.policies import schedule
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .rounds import interleaved
from .tables import figure, print_paragraph, print_table

__all__ = ["THRESHOLDS", "block_rows", "mix_rows", "quality_rows", "run", "speed_row"]

#: Chances from which on a key counts as predicted.
THRESHOLDS: Final = (0.5, 0.55)

#: Direct calls of tokens: transfer, transferFrom, approve, mint of two kinds.
_TOKENS: Final = {0xA9059CBB, 0x23B872DD, 0x095EA7B3, 0x40C10F19, 0x1249C58B}
#: Swaps through routers: Uniswap V2 with all its variants, V3, and those that take lists of calls or commands.
_SWAPS: Final = {
    0x7FF36AB5, 0xFB3BDB41, 0xB6F9DE95, 0x38ED1739, 0x18CBAFE5, 0x8803DBEE, 0x4A25D94A, 0x791AC947, 0x5C11D795, 0x414BF389,
    0xC04B8D59, 0xAC9650D8, 0x5AE401DC, 0x3593564C, 0x24856BC3, 0x5F575529,
}  # fmt: skip

#: Blocks that take less serially are too short to measure what executors gain.
_LEAST_NS: Final = 1e6


class Case(NamedTuple):
    """One call, by its kind, and what was known of the contracts that it touched."""

    kind: str
    found: Prediction
    causes: Counter[str]


def _kind(found: Prediction) -> str:
    if found.selector in _TOKENS:
        return "tokens"
    return "swaps" if found.selector in _SWAPS else "others"


def _causes(patterns: Patterns, block: EvmBlock, found: Prediction) -> Counter[str]:
    """Why keys were missed, at the lowest threshold."""
    causes: Counter[str] = Counter()
    missed = [key for key in found.touched if found.predicted.get(key, (0.0, False))[0] < THRESHOLDS[0]]
    ways = explained_slots(block, found.tx, [slot for _, slot in missed]) if missed else {}
    for address, slot in missed:
        if (address, slot) in found.predicted:
            causes["derived, but unlikely"] += 1
        elif address not in patterns.contracts:
            causes["a contract that nobody touched before"] += 1
        elif slot in ways:
            causes["derivable, but not seen in this function"] += 1
        elif slot >= 2**64:
            causes["a hash of what is not in the call"] += 1
        else:
            causes["a variable that this function did not touch before"] += 1
    return causes


def _checked(
    pairs: Iterable[tuple[EvmBlock, AccessSets]], patterns: Patterns, learns: bool = True
) -> Iterator[tuple[EvmBlock, list[Prediction]]]:
    """Predictions of `time_series`, each held against what was observed.

    Raises
    ------
    ExecutionError
        If a call is missing, or is said to touch other storage than was observed.
    """
    for block, access in pairs:
        assert access.table is not None
        calls = [t for t, tx in enumerate(block.transactions) if tx.to is not None and len(tx.data) >= 4]
        for _, found in time_series([(block, access)], patterns, learns=learns):
            if [one.tx for one in found] != calls:
                raise ExecutionError(f"block {block.number}: predictions of {len(found)} calls, not of its {len(calls)}")
            for one in found:
                modes = {access.table[k]: mode for k, mode in access[one.tx].items()}
                true = {(key[0], key[2]): bool(mode & Mode.WRITE) for key, mode in modes.items() if key[1] == Field.STORAGE}
                if one.touched != true:
                    raise ExecutionError(f"block {block.number}, transaction {one.tx}: other storage than was observed")
            yield block, found


def _cases(
    pairs: Iterable[tuple[EvmBlock, AccessSets]], patterns: Patterns, learns: bool
) -> Iterator[tuple[EvmBlock, list[Case]]]:
    for block, found in _checked(pairs, patterns, learns):
        yield block, [Case(_kind(one), one, _causes(patterns, block, one) if one.seen else Counter()) for one in found]


def _quality(part: Sequence[Prediction], threshold: float) -> dict[str, Any]:
    found = storage_quality([one.predicted for one in part], [one.touched for one in part], threshold)
    return {**found._asdict(), "precision": found.precision, "recall": found.recall}


def quality_rows(name: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Precision and recall, by kind of call, of all calls and of those whose contract and selector were seen before.

    Parameters
    ----------
    name : str
        Which patterns.
    cases : sequence of Case
    """
    rows = []
    kinds = ("all", "tokens", "swaps", "others")
    for kind, seen, threshold in ((k, s, t) for s in (False, True) for k in kinds for t in THRESHOLDS):
        part = [
            one.found for one in cases
            if kind in ("all", one.kind) and (one.found.seen or not seen) and (one.found.touched or one.found.predicted)
        ]  # fmt: skip
        rows.append({
            "table": "prediction", "patterns": name, "kind": kind, "seen": seen, "threshold": threshold, "calls": len(part),
            **_quality(part, threshold), "verified": True,
        })  # fmt: skip
    return rows


def block_rows(block: EvmBlock, access: AccessSets, sets: AccessSets, rounds: int) -> dict[str, Any]:
    """What a block gains by predicted access sets, beside those that are exact and none, on two workers.

    Parameters
    ----------
    block : EvmBlock
    access, sets : AccessSets
        What is observed, and what is predicted.
    rounds : int
        Times are medians of so many.

    Raises
    ------
    ExecutionError
        If a run gives another state than serial execution.
    """
    serial = execute(block, "serial")
    jobs = {
        "serial": lambda: execute(block, "serial"),
        "exact": lambda: execute(block, "dataflow", access=access, workers=2),
        "predicted": lambda: execute(block, "optimistic", access=sets, workers=2),
        "none": lambda: execute(block, "optimistic", workers=2),
    }  # fmt: skip
    aborts, runs = dict[str, int](), {name: list[int]() for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            done = job()
            if turn:
                runs[name].append(done.timings["execute_ns"])
            else:
                done.check_equal(serial)
                aborts[name] = int(done.counters["aborts"])
    times = {name: float(np.median(part)) for name, part in runs.items()}
    quality = accuracy(sets, access)
    row = {
        "table": "prediction in a block", "block_number": block.number, "n_tx": block.n_tx,
        "precision": quality.precision, "recall": quality.recall,
        "waves": schedule(access, "levels").n_waves, "waves_predicted": schedule(sets, "levels").n_waves,
        "aborts_predicted": aborts["predicted"], "aborts_none": aborts["none"], "verified": True,
    }  # fmt: skip
    if times["serial"] >= _LEAST_NS:
        row |= {f"speedup_{name}": times["serial"] / times[name] for name in ("exact", "predicted", "none")}
    return row


def speed_row(n_tx: int = 100_000, rounds: int = 5) -> dict[str, Any]:
    """How many transfers of ERC-20 tokens are predicted a second: keys derived, and how sure each is; every key is compared.

    Raises
    ------
    ExecutionError
        If a key is not that of a balance of the sender or of whom he pays.
    """
    token, patterns = keccak(b"a token")[:20], built_in_patterns()
    patterns.layouts[token] = {"balances": {5: 9}}
    template = patterns.templates[None, 0xA9059CBB]
    patterns.templates[token, 0xA9059CBB] = dict(template)
    people = np.frombuffer(b"".join(keccak(n.to_bytes(8, "big"))[:20] for n in range(4096)), np.uint8).reshape(-1, 20)
    turn = np.arange(n_tx)
    sender, to = people[turn % 4096], people[(turn * 7 + 1) % 4096]
    data = np.zeros((n_tx, 68), np.uint8)
    data[:, :4], data[:, 16:36], data[:, 67] = np.frombuffer(bytes.fromhex("a9059cbb"), np.uint8), to, 1
    calls = Calls(
        sender.copy(), np.tile(np.frombuffer(token, np.uint8), (n_tx, 1)), np.zeros(n_tx, bool), data.reshape(-1),
        np.arange(0, 68 * n_tx + 1, 68),
    )  # fmt: skip
    found = score(patterns, calls, 1)
    entries = np.frombuffer(
        b"".join(keccak(bytes(12) + bytes(person) + (5).to_bytes(32, "big")) for person in people), np.uint8
    ).reshape(-1, 32)  # fmt: skip
    mine, his = entries[turn % 4096], entries[(turn * 7 + 1) % 4096]
    right = np.array_equal(found.tx, np.repeat(turn, 2)) and (found.address == np.frombuffer(token, np.uint8)).all()
    pairs = found.slot.reshape(-1, 2, 32) if right else np.zeros((n_tx, 2, 32), np.uint8)
    one, other = (np.stack(pair, axis=1) for pair in ((mine, his), (his, mine)))
    wrong = np.flatnonzero(~((pairs == one).all(axis=(1, 2)) | (pairs == other).all(axis=(1, 2))))
    if len(wrong):
        raise ExecutionError(f"transfer {wrong[0]}: predicted keys are not the balances of the two")
    times = interleaved({"score": lambda: score(patterns, calls, 1)}, rounds)
    return {
        "table": "prediction speed", "n_tx": n_tx, "keys": len(found.tx), "ns": times["score"].median,
        "tx_per_s": n_tx / times["score"].median * 1e9, "verified": True,
    }  # fmt: skip


def mix_rows(n_blocks: int = 6, n_tx: int = 500) -> Iterator[dict[str, Any]]:
    """Precision and recall in the last of some generated blocks, learned from those before it, from nothing and built in.

    Parameters
    ----------
    n_blocks, n_tx : int
    """
    for mix in MIXES:
        if mix == "transfers":  # which touch no storage
            continue
        blocks = [generate_evm(mix, n_tx=n_tx, seed=seed, number=seed + 1) for seed in range(n_blocks)]
        pairs = [(block, execute(block, "serial").observed) for block in blocks]
        for name, patterns in (("learned", Patterns()), ("union", built_in_patterns())):
            *_, (_, last) = _checked(pairs, patterns)
            yield {
                "table": "prediction of a mix", "mix": mix, "patterns": name, "learned_blocks": n_blocks - 1, "n_tx": n_tx,
                **_quality(last, THRESHOLDS[0]), "verified": True,
            }  # fmt: skip


# -------------------------------------------------------------------- showing


def run(
    path: Path, numbers: Sequence[int] = (), rounds: int = 5, json: Path | None = None, page: Page | None = None
) -> list[dict[str, Any]]:
    """Measure and print all tables.

    Raises
    ------
    PevmError
        If the folder has no such blocks, or something does not come out as it must.
    """
    check_outputs(json, page, [path])
    wanted = chosen_numbers(path, numbers)
    blocks = progress(read_evm_blocks(path, wanted), "executing", len(wanted))
    pairs = [(block, execute(block, "serial").observed) for block in blocks if block.n_tx]
    rows: list[dict[str, Any]] = []
    causes: Counter[str] = Counter()
    exact = {block.number: sets for block, sets in pairs}
    sources = (("built in", built_in_patterns(), False), ("learned", Patterns(), True), ("union", built_in_patterns(), True))
    for name, patterns, learns in sources:
        cases = list[Case]()
        for block, found in _cases(progress(pairs, f"predicting, {name}", len(pairs)), patterns, learns):
            cases += found
            if name == "union" and any(one.found.seen for one in found):
                rows.append(block_rows(block, exact[block.number], predict(block, patterns), rounds))
        rows += quality_rows(name, cases)
        if name == "learned":
            for one in cases:
                causes += one.causes
    rows += [
        {"table": "missed keys", "cause": cause, "keys": n, "share": n / causes.total(), "verified": True}
        for cause, n in causes.most_common()
    ]  # fmt: skip
    rows += mix_rows()
    rows.append(speed_row())
    _show(rows)
    write_outputs(json, page, rows)
    return rows


def _show(rows: Sequence[dict[str, Any]]) -> None:
    def of(table: str) -> list[dict[str, Any]]:
        return [row for row in rows if row["table"] == table]

    body = [
        [
            row["patterns"], "seen before" if row["seen"] else "any", row["kind"], f"{row['threshold']}",
            f"{row['calls']:,}", f"{row['touched']:,}", f"{row['precision']:.3f}", f"{row['recall']:.3f}",
            f"{row['whole'] / max(1, row['calls']):.0%}",
        ] for row in of("prediction") if row["calls"]
    ]  # fmt: skip
    print_table(
        "Storage of calls, each block predicted by those before it: keys that are touched, and those that are predicted "
        "with at least such a chance.",
        ("patterns", "calls", "of", "chance", "number", "keys", "precision", "recall", "whole calls"), body,
    )  # fmt: skip
    missed = of("missed keys")
    if missed:
        print_paragraph("Keys missed by what was learned, of calls seen before: " + "; ".join(
            f"{row['cause']} {row['keys']:,} ({row['share']:.0%})" for row in missed
        ) + ".")  # fmt: skip
    _show_blocks(of("prediction in a block"))
    mixes = of("prediction of a mix")
    told = "; ".join(f"{row['mix']}, {row['patterns']} {row['precision']:.3f} {row['recall']:.3f}" for row in mixes)
    print_paragraph(
        f"Generated blocks of {mixes[0]['n_tx']} transactions, after {mixes[0]['learned_blocks']} others, precision and "
        f"recall: {told}."
    )  # fmt: skip
    speed = of("prediction speed")[0]
    print_paragraph(
        f"{figure(speed['tx_per_s'] / 1e3)} thousand transfers of a token a second, on one core: {speed['keys']:,} keys "
        "derived, with the chance of each."
    )  # fmt: skip


def _show_blocks(blocks: Sequence[dict[str, Any]]) -> None:
    timed = [row for row in blocks if "speedup_exact" in row]
    if blocks:
        ratio = [row["waves_predicted"] / row["waves"] for row in blocks]
        again = [sum(row[f"aborts_{name}"] for row in blocks) for name in ("predicted", "none")]
        sentences = [
            f"Over {len(blocks)} blocks with calls seen before: waves by predicted sets beside exact ones, median "
            f"{np.median(ratio):.2f} (from {min(ratio):.2f} to {max(ratio):.2f}); optimistic execution repeats {again[0]:,} "
            f"transactions with them, {again[1]:,} without."
        ]  # fmt: skip
        if timed:
            exact, predicted, none = (
                float(np.median([row[f"speedup_{name}"] for row in timed])) for name in ("exact", "predicted", "none")
            )
            sentences.append(
                f"In the {len(timed)} that take a millisecond or more, on 2 workers, median speed-up over serial execution: "
                f"{exact:.2f} by dataflow with exact sets, {predicted:.2f} optimistic with predicted sets, {none:.2f} with "
                "senders only."
            )  # fmt: skip
        print_paragraph(*sentences)
