"""Serial execution beside a C reference on one core: `python -m pevm_numba.bench.ceiling FOLDER`.

FOLDER holds `ceiling.c`, which charges op gas only (no intrinsic 21,000), and blocks in its binary form. The two programs
run in turn, pinned to the same core; state, gas and refunds are compared before any time is shown.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated, Any

import numpy as np
import typer

from .. import console as con
from .. import door
from ..access.oracles import access_sets
from ..block import Block
from ..errors import ExecutionError, FileFormatError
from ..execute.workspace import Workspace
from ..generate import generate
from ..machine.ops import Op
from ..schedule.policies import schedule

__all__ = ["check_reference", "compare", "compile_reference", "read_ceiling_block"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

_INTRINSIC = 21_000
_OP = np.dtype([("kind", "u1"), ("key", "<u4"), ("word", "u1", 32)])


def read_ceiling_block(path: Path) -> Block:
    """A block in the reference's binary form: counts, ops per transaction, 37-byte ops, 52-byte keys.

    Raises
    ------
    FileFormatError
        If the file's size does not fit its counts.
    """
    raw = path.read_bytes()
    n_tx, n_keys, n_ops = (int(n) for n in np.frombuffer(raw[:12].ljust(12, b"\0"), "<u4"))
    wanted = 12 + 4 * n_tx + _OP.itemsize * n_ops + 52 * n_keys
    if len(raw) != wanted:
        raise FileFormatError(f"{path}: {len(raw)} bytes: must be {wanted} for {n_tx} txs, {n_ops} ops, {n_keys} keys")
    lengths = np.frombuffer(raw, "<u4", n_tx, 12).astype(np.int64)
    ops = np.frombuffer(raw, _OP, n_ops, 12 + 4 * n_tx)
    keys = np.frombuffer(raw, np.uint8, 52 * n_keys, wanted - 52 * n_keys).reshape(-1, 52)
    code = ops["kind"]  # 0..5 are numbered as ours
    has_word, hashed = np.isin(code, (Op.SSTORE, Op.ADD, Op.SUB)), code == Op.KECCAK
    arg = np.full(n_ops, -1, np.int64)
    arg[has_word], arg[hashed] = np.arange(has_word.sum()), np.arange(hashed.sum())
    arg[code == Op.NOOP] = 1
    return Block.from_arrays(
        sender=np.zeros((n_tx, 20), np.uint8), op_indptr=np.concatenate([[0], np.cumsum(lengths)]), op_code=code,
        op_key=np.where(code <= Op.SSTORE, ops["key"].astype(np.int64), -1), op_arg=arg,
        words=np.ascontiguousarray(ops["word"][has_word][:, ::-1]).view("<u8").reshape(-1, 4),
        payload_indptr=np.arange(hashed.sum() + 1) * 32, payload_data=ops["word"][hashed].ravel(),
        key_address=keys[:, :20], key_field=np.zeros(n_keys, np.uint8), key_slot=keys[:, 20:],
    )  # fmt: skip


def compile_reference(source: Path, folder: Path) -> Path:
    """Build the reference in a folder.

    Raises
    ------
    FileFormatError
        If there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise FileFormatError(f"{source}: no C compiler (gcc or cc) to build it with")
    program = folder / "ceiling"
    subprocess.run([compiler, "-O3", "-march=native", "-o", program, source, "-lpthread"], check=True)
    return program


def check_reference(space: Workspace, program: Path, data: Path, folder: Path) -> None:
    """State, gas and refunds of the reference's `eth` kernel against ours."""
    subprocess.run(
        [program, data, "1"], check=True, capture_output=True, env={**os.environ, "DUMPSTATE": str(folder / "dump")}
    )
    raw = (folder / "dump.eth").read_bytes()
    block = space.block
    n_rows = (len(raw) - 16 * block.n_tx) // 84
    rows = np.frombuffer(raw, np.uint8, 84 * n_rows).reshape(-1, 84)
    theirs = {row[:52].tobytes(): row[52:].tobytes() for row in rows if row[52:].any()}
    ours = {
        block.key_address[k].tobytes() + block.key_slot[k].tobytes(): space.values[k].tobytes()[::-1]
        for k in np.flatnonzero(space.values.any(axis=1))
    }
    gas = np.frombuffer(raw, "<i8", block.n_tx, 84 * n_rows)
    refund = np.frombuffer(raw, "<i8", block.n_tx, 84 * n_rows + 8 * block.n_tx)
    used, refunded = space.receipts.gas_used, space.receipts.refund
    spent = used - _INTRINSIC + np.minimum(refunded, (gas + _INTRINSIC) // 5)
    if ours != theirs or not np.array_equal(spent, gas) or not np.array_equal(refunded, refund):
        raise ExecutionError(f"{data.name}: state, gas or refunds differ from the reference's")


def _microseconds(space: Workspace, repeat: int) -> float:
    kernel, arguments = space.serial_call()
    times = []
    for _ in range(repeat):
        space.reset()
        start = perf_counter_ns()
        kernel(*arguments)
        times.append(perf_counter_ns() - start)
    return float(np.median(times)) / 1e3


def compare(folder: Path, name: str, rounds: int, repeat: int) -> dict[str, Any]:
    """Run ours and the reference in turn; medians of `repeat` runs in each round, in microseconds.

    Returns
    -------
    dict
        `ours`, `eth`, `ethb`: (rounds,) lists in microseconds; `n_tx`, `n_ops`; `intern_ns`, `levels_ns`: nanoseconds an
        access of the interning kernel on this block and of levels on 10,000 generated transactions, (rounds,) lists.
    """
    data = folder / f"{name}.bin"
    space = Workspace(read_ceiling_block(data))
    kernel, arguments = space.serial_call()
    kernel(*arguments)
    many = access_sets(generate(n_tx=10_000, key_space=20_000, conflict_ratio=0.5))
    block = space.block
    keys = block.op_key[block.op_key >= 0]
    rows = block.key_address[keys], block.key_field[keys], block.key_slot[keys]
    out: dict[str, Any] = {"n_tx": block.n_tx, "n_ops": block.n_ops}
    figures: dict[str, list[float]] = {key: [] for key in ("ours", "eth", "ethb", "intern_ns", "levels_ns")}
    with tempfile.TemporaryDirectory() as scratch:
        program = compile_reference(folder / "ceiling.c", Path(scratch))
        check_reference(space, program, data, Path(scratch))
        for _ in range(rounds):
            figures["ours"].append(_microseconds(space, repeat))
            text = subprocess.run([program, data, str(repeat)], check=True, capture_output=True, text=True).stdout
            for key in ("eth", "ethb"):
                found = re.search(rf"^{key} +median +([0-9.]+) us", text, re.MULTILINE)
                if found is None:
                    raise ExecutionError(f"{folder / 'ceiling.c'}: printed no median for {key}")
                figures[key].append(float(found[1]))
            figures["intern_ns"].append(_best(lambda: door.intern_rows(*rows)) / len(keys))
            figures["levels_ns"].append(_best(lambda: schedule(many)) / many.n_accesses)
    return out | figures


def _best(function: Any) -> float:
    times = []
    for _ in range(15):
        start = perf_counter_ns()
        function()
        times.append(perf_counter_ns() - start)
    return float(np.median(times))


@app.command()
def ceiling(
    folder: Annotated[Path, typer.Argument(help="Folder with ceiling.c and its blocks.")],
    name: Annotated[str, typer.Option(help="Block: NAME.bin in the folder.")] = "large_42",
    rounds: Annotated[int, typer.Option(help="Turns of ours and the reference.")] = 9,
    repeat: Annotated[int, typer.Option(help="Runs in each turn; their median counts.")] = 101,
) -> None:
    """Compare serial execution with the C reference on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures = compare(folder, name, rounds, repeat)
    n_tx = figures["n_tx"]
    print(f"{name}: {n_tx:,} txs, {figures['n_ops']:,} ops; state, gas and refunds equal; one core, {rounds} turns")
    names = {"ours": "pevm_numba serial", "eth": "C, one keccak at a time", "ethb": "C, four keccaks at a time"}
    for key, text in names.items():
        values = np.array(figures[key])
        ratio = np.array(figures["ours"]) / values
        print(
            f"{text:<26} {np.median(values):8.1f} us  {1e3 * np.median(values) / n_tx:6.1f} ns/tx   "
            f"ours / this: {np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        )
    for key, text in (("intern_ns", "interning"), ("levels_ns", "levels, 10,000 transactions")):
        values = np.array(figures[key])
        print(f"{text:<28} {np.median(values):6.1f} ns/access ({values.min():.1f} to {values.max():.1f})")


if __name__ == "__main__":
    con.run_app(app)
