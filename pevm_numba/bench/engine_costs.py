"""What compiling a shape costs and saves, when it has paid, and whether the rule sees that before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import Any, Final

import numpy as np

from ..block import Block
from ..engines import native
from ..engines.attached import JIT_COSTS
from ..engines.engine import Engine
from ..engines.paying import MOST_BREAK_EVEN
from ..engines.shapes import Shapes
from ..execute.program import program_of
from .engine_runs import FAMILIES, job_of, stream, times_of
from .tables import figure, print_paragraph, print_table

__all__ = ["compile_rows", "shape_rows", "show_costs", "show_shapes"]

#: Shapes compiled for the table of costs, at most, and how often each.
_COMPILED: Final = 24
_TIMES: Final = 3

#: Transactions of a stream of one shape, at most: more only take longer.
_STREAM: Final = 2_000


def _compile_times(make: Callable[[bytes], Any], shapes: Sequence[bytes]) -> tuple[list[float], list[Any]]:
    """Nanoseconds of compiling each shape, the median of three; and what is made. The first one of all is not counted."""
    taken, made = [], []
    make(shapes[0])
    for shape in shapes:
        each = []
        for _ in range(_TIMES):
            start = perf_counter_ns()
            found = make(shape)
            each.append(float(perf_counter_ns() - start))
        taken.append(float(np.median(each)))
        made.append(found)
    return taken, made


def _costs(engine: str, shapes: Shapes) -> tuple[list[float], list[int], float | None]:
    """Nanoseconds of compiling each of some shapes, bytes of each, and nanoseconds of loading one."""
    some = shapes.names[:_COMPILED]
    if engine == "jit":
        taken, made = _compile_times(native.compiler, some)
        code = native.NativeCode()
        code.add(some)
        return taken, [len(data) for data in made], code.load_ns / max(1, code.n_loaded)
    from ..engines.wasm import modules

    taken, made = _compile_times(modules().make, some)
    return taken, [len(module.serialize()) for module in made], None


def compile_rows(blocks: Mapping[str, Block], rows: Sequence[Mapping[str, Any]], wasm: bool) -> list[dict[str, Any]]:
    """What compiling costs and after how many transactions of a shape it has paid, by what a transaction then saves.

    Parameters
    ----------
    blocks : mapping of str to Block
    rows : sequence of mapping
        Of table ``engines``: each block's times.
    wasm : bool
        Whether modules are compiled, too.
    """
    found = []
    for name, block in blocks.items():
        shapes = program_of(block).shapes
        if not shapes.tokens:
            continue
        by_way = {row["way"]: row for row in rows if row["case"] == name}
        for engine in ("jit", "wasm") if wasm else ("jit",):
            taken, sizes, load = _costs(engine, shapes)
            saved = by_way["interpreter"]["ns_per_tx"] - by_way[engine]["ns_per_tx"]
            compile_ns = float(np.median(taken))
            found.append({
                "table": "engines compile", "case": name, "engine": engine, "compiled": len(taken),
                "tokens": float(np.median([len(t) for t in shapes.tokens[: len(taken)]])), "compile_ms": compile_ns / 1e6,
                "compile_ms_high": max(taken) / 1e6, "load_ms": None if load is None else load / 1e6,
                "code_bytes": float(np.median(sizes)),
                "saved_ns_per_tx": saved, "break_even_tx": compile_ns / saved if saved > 0 else None, "verified": True,
            })  # fmt: skip
    return found


def shape_rows(n_tx: int, rounds: int, seed: int) -> list[dict[str, Any]]:
    """Streams of one shape, each: least is saved there, since the processor foresees all branches of the interpreter.

    Parameters
    ----------
    n_tx, rounds, seed : int
        Transactions of a stream, but at most 2,000; runs of each; of the streams.
    """
    found = []
    for name in FAMILIES:
        block = stream(name, min(n_tx, _STREAM), seed=seed)
        (shape,) = program_of(block).shapes.names
        times = times_of({"interpreter": job_of(block, Engine()), "jit": job_of(block, Engine("jit", "all"))}, rounds)
        interpreted, compiled = (float(np.median(taken)) / block.n_tx for taken in times.values())
        saved = float(np.median(times["interpreter"] - times["jit"])) / block.n_tx
        (compile_ns,), _ = _compile_times(native.compiler, [shape])
        needed = JIT_COSTS.break_even(shape)
        found.append({
            "table": "engines shapes", "case": name, "tokens": len(shape) // 4, "interpreter_ns_per_tx": interpreted,
            "jit_ns_per_tx": compiled, "saved_ns_per_tx": saved, "compile_ms": compile_ns / 1e6,
            "break_even_tx": compile_ns / saved if saved > 0 else None, "rule_tx": needed,
            "chosen": needed <= MOST_BREAK_EVEN, "verified": True,
        })  # fmt: skip
    return found


# -------------------------------------------------------------------- showing


def _count(number: float | None) -> str:
    return "never" if number is None else f"{number:,.0f}"


def show_costs(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of `compile_rows`."""
    body = [
        [
            f"{row['case']}: {row['engine']}", figure(row["tokens"]), figure(row["compile_ms"]),
            figure(row["compile_ms_high"]), figure(row["load_ms"]), f"{row['code_bytes']:,.0f}",
            figure(row["saved_ns_per_tx"]), _count(row["break_even_tx"]),
        ]
        for row in rows
    ]  # fmt: skip
    title = "What compiling a shape costs, and the transactions of it after which that has been saved"
    print_table(title, ["", "tokens", "ms", "most ms", "load ms", "bytes", "saved ns/tx", "break-even"], body)


def show_shapes(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of `shape_rows`, and what the rule makes of it."""
    body = [
        [
            row["case"], f"{row['tokens']}", figure(row["interpreter_ns_per_tx"]), figure(row["jit_ns_per_tx"]),
            figure(row["saved_ns_per_tx"]), figure(row["compile_ms"]), _count(row["break_even_tx"]), _count(row["rule_tx"]),
            "yes" if row["chosen"] else "no",
        ]
        for row in rows
    ]  # fmt: skip
    title = "Streams of one shape: when compiling it has paid, and when the rule expects so"
    heads = ["", "tokens", "interpreter ns/tx", "jit ns/tx", "saved", "ms", "break-even", "expected", "chosen"]
    print_table(title, heads, body)
    late = [row["case"] for row in rows if row["chosen"] and not 0 < (row["break_even_tx"] or 0) <= MOST_BREAK_EVEN]
    print_paragraph(
        "The rule compiles a shape once as many of its transactions have come as it expects to pay for it, and never one "
        f"that it expects to take more than {MOST_BREAK_EVEN:,}. Chosen, though measured to take more: "
        f"{', '.join(late) or 'none'}."
    )
