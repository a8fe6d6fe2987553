"""Real blocks on the EVM: serial speed beside other machines, every executor beside the bound, accesses known and unknown.

Each block is executed by all in one process, interleaved and warm. Nothing is printed of a block before every executor's
receipts, logs, observed accesses and state have been compared with serial execution, and that with the chain's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier, Thread
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import console as con
from .._kernels.jit import most_threads, was_compiled
from ..errors import BlockError, ExecutionError
from ..evm.block import EvmBlock
from ..evm.hashing import keccak
from ..evm.header import BlockEnv
from ..evm.world import AccountState
from ..execute.evm_job import EvmJob
from ..execute.evm_machine import EvmMachine
from ..execute.evm_result import EvmExecution
from ..execute.run import execute
from ..io.evm_tables import evm_numbers, read_evm_blocks
from ..schedule.bounds import bounds
from .evm_peers import PEERS, peer_missing
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .quiet import LEAST_PAIR, MOST_DRIFT, MOST_WAIT, look, waited_ns
from .rounds import Spread
from .scenarios import tiny_evm_block
from .tables import check_range, print_paragraph, print_table

__all__ = ["Request", "chained", "run"]

#: Executors of the table: name, and whether what transactions access is known beforehand.
_KNOWN: Final = ("waves", "dataflow", "bal")
#: Opcodes from which on a block counts as large, and the bound from which on shares of it are summed up.
_LARGE, _BOUND = 100_000, 1.5
_MEGA: Final = 4
#: Milliseconds of serial execution from which on a block counts as long.
_LONG_MS: Final = 1
#: Speed of serial runs side by side, over that of one alone, from which on cores count as whole ones.
_WHOLE: Final = 0.95
#: Seconds after which runs that should begin together are given up.
_LONGEST_WAIT: Final = 60.0
#: Rounds are repeated, up to so many times those asked for, until enough were quiet; with fewer than so many all count.
_PATIENCE, _LEAST_QUIET = 3, 3
#: Share of transactions that a peer must end as we do, for its time to say anything.
_ALIKE: Final = 0.9


@dataclass(frozen=True)
class Request:
    """What to measure: blocks of `path` (all, or those of `numbers`), on so many workers."""

    path: Path
    numbers: tuple[int, ...] = ()
    workers: int | None = None
    rounds: int = 9  # quiet ones
    peers: bool = True
    slow: bool = False
    mega: bool = True


def chained(blocks: Sequence[EvmBlock]) -> EvmBlock:
    """One block of the transactions of several, on the environment of the last: what a larger block would look like.

    The state is the union of the states before them, the first that names an account or slot being right; senders get the
    nonces that they then need; hashes of earlier blocks that the last one does not know are made up. What comes out is not
    what the chain had.
    """
    last = blocks[-1].env
    state: dict[bytes, Any] = {}
    for block in blocks:
        for address, account in block.state.items():
            known = state.get(address, account)
            state[address] = known._replace(storage={**account.storage, **known.storage})
    nonces: dict[bytes, int] = {}
    txs = []
    for tx in (tx for block in blocks for tx in block.transactions):
        sender = tx.sender or b""
        owner = state.get(sender, AccountState(0, 0, b"", {}))
        nonce = nonces.get(sender, owner.nonce)
        nonces[sender] = nonce + 1
        fee = last.base_fee or 0
        prices: dict[str, Any] = {"gas_price": max(tx.gas_price or 0, fee)} if tx.type < 2 else {
            "max_fee_per_gas": max(tx.max_fee_per_gas or 0, fee + (tx.max_priority_fee_per_gas or 0)),
        }  # fmt: skip
        if tx.type == 3:
            prices["max_fee_per_blob_gas"] = max(tx.max_fee_per_blob_gas or 0, last.blob_gas_price or 0)
        txs.append(_replaced(tx, nonce=nonce, **prices))
        state[sender] = owner._replace(balance=max(owner.balance, 10**24))
    fields = {name: getattr(last, name) for name in BlockEnv.__dataclass_fields__}
    hashes = {n: keccak(n.to_bytes(8, "big")) for n in range(max(0, last.number - 256), last.number)}
    fields["block_hashes"] = {**hashes, **last.block_hashes}
    dropped = {"gas_used": None, "receipts_root": None, "logs_bloom": None, "state_root": None}
    env = BlockEnv(**(fields | dropped | {"gas_limit": 2 * sum(block.env.gas_limit for block in blocks)}))
    return EvmBlock(env, txs, state)


def _replaced(tx: Any, **fields: Any) -> Any:
    kept = {name: getattr(tx, name) for name in type(tx).__dataclass_fields__}
    return type(tx)(**(kept | {"v": None, "r": None, "s": None} | fields))


@dataclass
class _Case:
    """One block with its jobs, compared."""

    name: str
    block: EvmBlock
    serial: EvmExecution
    jobs: dict[str, EvmJob]
    twins: list[EvmJob]
    steps: int


def _prepared(name: str, block: EvmBlock, workers: int) -> _Case:
    serial = execute(block, "serial")
    found = serial.differences_from_chain()
    if found:
        raise ExecutionError(f"block {block.number}: {found[0]}")
    cost = serial.times.end - serial.times.start
    known: dict[str, dict[str, Any]] = {
        "waves": {"access": serial.observed}, "dataflow": {"access": serial.observed, "cost": cost},
        "bal": {"access_list": serial.block_access_list()}, "optimistic": {},
    }  # fmt: skip
    machine, jobs = EvmMachine(), {"serial": EvmJob(block, "serial")}
    jobs |= {one: machine.job(block, one, workers=workers, **given) for one, given in known.items()}
    for job in jobs.values():
        job.plan()
        job.collect(*job.run()).check_equal(serial)
    twins = [EvmJob(block, "serial") for _ in range(workers)]
    for job in (jobs["serial"], *twins):
        job.bare()
        job.plan()
        job.run()
    return _Case(name, block, serial, jobs, twins, jobs["serial"].opcodes())


def _side_by_side(twins: Sequence[EvmJob]) -> float:
    """Mean nanoseconds of serial runs that begin together, on a thread each, and share nothing."""
    together, taken = Barrier(len(twins), timeout=_LONGEST_WAIT), []

    def run(job: EvmJob) -> None:
        try:
            taken.append(job.run(together.wait)[1]["execute_ns"])
        except BaseException:
            together.abort()  # nobody need wait for this one
            raise

    threads = [Thread(target=run, args=(job,)) for job in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(taken) < len(twins):
        raise ExecutionError(f"block {twins[0].block.number}: a serial run beside another failed")
    return sum(taken) / len(taken)


@dataclass
class _Round:
    """One turn of all jobs, serial first and last: nanoseconds, CPU nanoseconds, and whether the cores were ours."""

    times: dict[str, float]
    cpu: dict[str, float]
    costs: NDArray[Any]
    aborts: int
    twins: float
    quiet: bool


def _round(case: _Case, workers: int) -> _Round:
    moment, waited, start = look(workers), waited_ns(), perf_counter_ns()
    times, cpu, aborts, serial = dict[str, float](), dict[str, float](), 0, list[float]()
    costs: NDArray[Any] = np.empty(0)
    for name in (*case.jobs, "serial"):
        job = case.jobs[name]
        job.run()  # what ran before has taken the caches
        counters, found = job.run()
        times[name], cpu[name] = found["execute_ns"], found["cpu_ns"]
        if name == "serial":
            serial.append(found["execute_ns"])
            now = job.durations()
            costs = np.minimum(costs, now) if len(costs) else now
        elif name == "optimistic":
            aborts = counters["aborts"]
    _side_by_side(case.twins)
    twins = _side_by_side(case.twins)
    after, elapsed = waited_ns(), perf_counter_ns() - start
    share = 0.0 if waited is None or after is None else (after - waited) / elapsed
    steady = abs(serial[0] - serial[1]) <= MOST_DRIFT * min(serial)
    times["serial"] = sum(serial) / 2
    return _Round(times, cpu, costs, aborts, twins, steady and share <= MOST_WAIT and moment.pair >= LEAST_PAIR)


def _measured(case: _Case, request: Request, workers: int) -> dict[str, Any]:
    """All times of one block: rounds until enough of them were quiet, then the peers."""
    rounds = list[_Round]()
    while sum(one.quiet for one in rounds) < request.rounds and len(rounds) < _PATIENCE * request.rounds:
        rounds.append(_round(case, workers))
    kept = [one for one in rounds if one.quiet]
    row = _row(case, workers, kept if len(kept) >= _LEAST_QUIET else rounds)
    row |= {"rounds": len(rounds), "rounds_quiet": len(kept), "peers": {}}
    for name in PEERS:
        if case.name.startswith("mega") or not request.peers or peer_missing(name) or (name == "py-evm" and not request.slow):
            continue
        runs = [PEERS[name][1](case.block, case.serial.success.tolist()) for _ in range(1 if name == "py-evm" else 3)]
        row["peers"][name] = {"ns": Spread.of([float(ns) for ns, _ in runs]).median, "same_success": runs[0][1]}
    return row


def _row(case: _Case, workers: int, rounds: list[_Round]) -> dict[str, Any]:
    serial, gas = np.array([one.times["serial"] for one in rounds]), int(case.serial.gas_used.sum())
    ms, costs = float(np.median(serial)) / 1e6, np.min([one.costs for one in rounds], axis=0)
    bound = bounds(case.serial.observed, costs.astype(float), workers)
    listed = min(float(workers), bound.total / bound.longest)  # with every value in a list, nobody waits for anybody
    row: dict[str, Any] = {
        "table": "evm", "block": case.name, "fork": case.block.fork, "n_tx": case.block.n_tx, "gas": gas,
        "opcodes": case.steps, "serial_ms": ms, "mgas_per_s": gas / ms / 1e3, "ns_per_opcode": ms * 1e6 / max(1, case.steps),
        "workers": workers, "alone": [name for name, job in case.jobs.items() if job.reason], "bound": bound.max_speedup,
        "bound_listed": listed,
        "aborts": float(np.median([one.aborts for one in rounds])), "verified": True, "executors": {},
        "twins": float(np.median(serial / np.array([one.twins for one in rounds]))),
    }  # fmt: skip
    for name in ("waves", "dataflow", "bal", "optimistic"):
        ratio = serial / np.array([one.times[name] for one in rounds])
        most = listed if name == "bal" else bound.max_speedup
        row["executors"][name] = {
            "speedup": float(np.median(ratio)), "low": float(np.quantile(ratio, 0.25)),
            "high": float(np.quantile(ratio, 0.75)), "share": float(np.median(ratio)) / most,
            "cpu_ratio": float(np.median([one.cpu[name] / one.cpu["serial"] for one in rounds])),
        }  # fmt: skip
    return row


def _show(rows: list[dict[str, Any]], workers: int) -> None:
    peers = [name for name in PEERS if any(name in row["peers"] for row in rows)]
    body = []
    for row in rows:
        cells = [f"{row['block']} {row['fork']}", f"{row['n_tx']:,}", f"{row['gas'] / 1e6:.2f}", f"{row['opcodes']:,}"]
        cells += [f"{row['serial_ms']:.2f}", f"{row['mgas_per_s']:,.0f}", f"{row['ns_per_opcode']:.1f}"]
        for name in peers:
            one = row["peers"].get(name)
            cells += ["-"] * 2 if one is None else [
                f"{one['ns'] / 1e6 / row['serial_ms']:.1f}", f"{one['same_success']:,}"
            ]  # fmt: skip
        body.append(cells)
    heads = ["block", "txs", "Mgas", "opcodes", "serial ms", "Mgas/s", "ns/op"]
    for name in peers:
        heads += [f"{name} / ours", "same"]
    print_table("Serial execution on one core, every block compared with the chain; a peer's time over ours", heads, body)
    body = []
    for row in rows:
        cells = [f"{row['block']} {row['fork']}", f"{row['bound']:.2f}"]
        for name in (*_KNOWN, "optimistic"):
            one = row["executors"][name]
            cells += [f"{one['speedup']:.2f}", f"{100 * one['share']:.0f}", f"{one['cpu_ratio']:.2f}"]
        body.append([*cells, f"{row['aborts']:.0f}"])
    heads = ["block", "bound"] + [head for name in (*_KNOWN, "optimistic") for head in (name, "%", "CPU")] + ["aborts"]
    title = (
        f"Speed-up on {workers} workers, share of the bound in % and CPU time over serial's; waves, dataflow and bal know "
        "what transactions access, optimistic knows senders only"
    )
    print_table(title, heads, body, groups=[1, 3, 3, 3, 3, 1])


def _summary(rows: list[dict[str, Any]]) -> list[str]:
    large = [row for row in rows if row["opcodes"] > _LARGE]
    lines = [f"{len(rows):,} blocks, as the chain has them (but for megas); every executor equal to serial execution."]
    noisy = sum(row["rounds_quiet"] < _LEAST_QUIET for row in rows)
    if noisy:
        lines.append(f"In {noisy} of them hardly a round was quiet, as other processes used the cores: there all count.")
    if large:
        speed = sum(row["gas"] for row in large) / sum(row["serial_ms"] for row in large) / 1e3
        ns = sum(row["serial_ms"] for row in large) * 1e6 / sum(row["opcodes"] for row in large)
        lines.append(f"Over {len(large)} with more than {_LARGE:,} opcodes: {speed:,.0f} Mgas/s, {ns:.1f} ns an opcode.")
    for name in PEERS:
        there = [row for row in rows if name in row["peers"]]
        alike = [row for row in there if row["peers"][name]["same_success"] >= _ALIKE * row["n_tx"]]
        ratios = [row["peers"][name]["ns"] / 1e6 / row["serial_ms"] for row in alike]
        if ratios:
            faster = sum(ratio < 1 for ratio in ratios)
            text = f"{name}: {np.median(ratios):.1f} times our time in the median, {min(ratios):.1f} to {max(ratios):.1f}"
            left = f" ({len(there) - len(alike)} left out, in which it has other outcomes)" if len(alike) < len(there) else ""
            lines.append(f"{text}; faster than we in {faster} of {len(ratios)} blocks{left}.")
    wide = [row for row in rows if row["bound"] >= _BOUND]
    long = [row for row in wide if row["serial_ms"] >= _LONG_MS]
    for name in (*_KNOWN, "optimistic"):
        if wide:
            share = np.median([row["executors"][name]["share"] for row in wide])
            below = sum(row["executors"][name]["speedup"] < 1 for row in rows)
            text = f"{name}: median {100 * share:.0f} % of the bound in {len(wide)} blocks where that is {_BOUND} or more"
            if long:
                share = np.median([row["executors"][name]["share"] for row in long])
                text += f", {100 * share:.0f} % in the {len(long)} that take {_LONG_MS} ms or more"
            alone = sum(name in row["alone"] for row in rows)
            lines.append(f"{text}; slower than serial in {below} of {len(rows)}; stayed serial in {alone}.")
    if long:
        lines += _what_the_cores_leave(long)
    return lines


def _what_the_cores_leave(long: list[dict[str, Any]]) -> list[str]:
    """Shares of the bound beside the speed of runs that share nothing."""
    names, twins = (*_KNOWN, "optimistic"), np.array([row["twins"] for row in long])
    shares = np.array([[row["executors"][name]["share"] for name in names] for row in long])

    def median(of: NDArray[Any]) -> str:
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in zip(names, np.median(of, axis=0)))

    lines = [
        f"Serial runs of one of those {len(long)} side by side, a core each, which share nothing: "
        f"{100 * np.median(twins):.0f} % of the speed of one alone. Shares of what that leaves of the bound: "
        f"{median(shares / twins[:, None])}."
    ]
    whole = twins >= _WHOLE
    if whole.any():
        head = f"Shares of the bound in the {whole.sum()} of them in which it is {100 * _WHOLE:.0f} % of that or more"
        lines.append(f"{head}: {median(shares[whole])}.")
    return lines


def _made_ready(workers: int) -> str:
    """Load or compile all kernels, before anything is read or timed; what that took."""
    start, before = perf_counter_ns(), was_compiled()
    with con.status("compiling or loading kernels"):
        serial = execute(tiny_evm_block(), "serial")
        for executor in (*_KNOWN, "optimistic"):
            execute(tiny_evm_block(), executor, workers=workers).check_equal(serial)
    taken = (perf_counter_ns() - start) / 1e9
    return f"Kernels ready in {taken:.1f} s ({was_compiled() - before} compiled), a block run by every executor included."


def run(request: Request, json: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure, print and maybe write all figures.

    Raises
    ------
    BlockError
        If a block is not there, or a number is out of range.
    ExecutionError
        If a result is not the chain's, or not that of serial execution.
    """
    check_range("--rounds", request.rounds, 1, 10**6)
    check_outputs(json, page, [request.path])
    workers = most_threads() if request.workers is None else request.workers
    check_range("--workers", workers, 1, 1024)
    numbers = request.numbers or tuple(evm_numbers(request.path))
    ready = _made_ready(workers)
    rows, group = [], list[EvmBlock]()
    for block in con.progress(read_evm_blocks(request.path, numbers), "measuring", len(numbers)):
        if not block.n_tx:
            continue
        rows.append(_measured(_prepared(f"{block.number}", block, workers), request, workers))
        group = [*group, block] if group and group[-1].env.fork == block.env.fork else [block]
        if request.mega and len(group) == _MEGA:
            mega = chained(group)
            rows.append(_measured(_prepared(f"mega to {block.number}", mega, workers), request, workers))
            group = []
    if not rows:
        raise BlockError(f"{request.path}: no block with transactions among those asked for")
    _show(rows, workers)
    for line in [*_summary(rows), ready]:
        print_paragraph(line)
    write_outputs(json, page, rows)
    return rows
