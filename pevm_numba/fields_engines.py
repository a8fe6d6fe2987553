"""Definitions of what `python -m pevm_numba.bench engines` writes."""

from __future__ import annotations

from typing import Final

__all__ = ["ENGINE_TABLES"]

_SPREAD: Final = {
    "speedup": ("", "the interpreter's time / this, median over the rounds"),
    "speedup_low": ("", "lower quartile of the same"),
    "speedup_high": ("", "upper quartile of the same"),
}

#: As `fields.TABLES`.
ENGINE_TABLES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    "engines": (
        "engines",
        {
            "case": ("", "blocks that are made, or the number of a real one"),
            "way": ("", "what ran the programs; grouped: transactions of one shape side by side within levels"),
            "n_tx": ("transactions", "in the block"),
            "n_ops": ("ops", "micro-ops in the block"),
            "n_shapes": ("shapes", "distinct among its programs"),
            "rounds": ("", "measured, all ways in each"),
            "ns_per_op": ("ns", "serial run, hashing included, median / n_ops"),
            "ns_per_op_low": ("ns", "least / n_ops"),
            "ns_per_tx": ("ns", "median / n_tx"),
            **_SPREAD,
            "verified": ("", "receipts, observed sets and state equal to the interpreter's"),
        },
    ),
    "engines compile": (
        "engines",
        {
            "case": ("", "as above"),
            "engine": ("", "jit or wasm"),
            "compiled": ("shapes", "compiled for this, at most 24"),
            "tokens": ("", "of a shape, median: reads, stores, where words come from, what is added"),
            "compile_ms": ("ms", "from tokens to an object file or module, median of three of each, median of the shapes"),
            "compile_ms_high": ("ms", "most"),
            "load_ms": ("ms", "making an object file callable, mean; null for wasm, which instantiates for each workspace"),
            "code_bytes": ("bytes", "of the object file, or the serialised module, median"),
            "saved_ns_per_tx": ("ns", "interpreter's time a transaction - the engine's, ungrouped"),
            "break_even_tx": ("transactions", "of one shape, after which compiling it is paid for; null if never"),
            "verified": ("", "as above"),
        },
    ),
    "engines shapes": (
        "engines",
        {
            "case": ("", "what each transaction of the stream does"),
            "tokens": ("", "of the one shape"),
            "interpreter_ns_per_tx": ("ns", "serial run, median"),
            "jit_ns_per_tx": ("ns", "the same"),
            "saved_ns_per_tx": ("ns", "median difference over the rounds"),
            "compile_ms": ("ms", "from tokens to an object file, median of three"),
            "break_even_tx": ("transactions", "of the shape, after which compiling it is paid for; null if never"),
            "rule_tx": ("transactions", "of the shape, after which the rule expects so"),
            "chosen": ("", "whether the rule ever compiles it"),
            "verified": ("", "as above"),
        },
    ),
    "engines executors": (
        "engines",
        {
            "case": ("", "as above"),
            "executor": ("", "that ran the block"),
            "workers": ("workers", "most workers"),
            "interpreter_ns_per_tx": ("ns", "median"),
            "jit_ns_per_tx": ("ns", "median"),
            **_SPREAD,
            "verified": ("", "as above"),
        },
    ),
    "engines ceiling": (
        "engines",
        {
            "case": ("", "block of the C reference"),
            "way": ("", "as above"),
            "rounds": ("", "turns of ours and the reference, medians of 51 runs in each"),
            "ns_per_tx": ("ns", "ours, hashing included, median"),
            "c_ns_per_tx": ("ns", "the reference's kernel shape, median"),
            "ratio": ("", "ours / the reference's, median over the turns"),
            "ratio_low": ("", "least"),
            "ratio_high": ("", "most"),
            "verified": ("", "state, gas and refunds equal to the reference's, and all ways equal"),
        },
    ),
}
