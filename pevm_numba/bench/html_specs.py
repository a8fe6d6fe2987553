"""What a page shows of each table of `fields`: its row names, ratios over serial execution, chart, and what was compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..fields import FIELDS, TABLES

__all__ = ["MAIN", "Chart", "Spec", "definitions_of", "meaning_of", "spec_of"]

#: Name, within a page, of the rows of the main benchmark, which carry no `table`.
MAIN: Final = ""


#: Words by which a definition refers to that of a field before it, and to the main benchmark's field of its name.
_REFERS: Final = re.compile(r"^the same\b|\bof the same$|\blikewise\b|^its (lower|upper)\b")
_MAIN_HAS: Final = "see above"


@dataclass(frozen=True)
class Chart:
    """Dots on one line for each label, one kind of dot for each series.

    Parameters
    ----------
    title : str
    labels : tuple of str
        Fields whose values name a line.
    series : str
        Field that names the kind of dot, or that holds an object of objects by that name, in which the others are.
    value : str
        Field along the axis.
    axis : str
        What the axis says.
    bound : str
        Field with the most that the value can be; empty: none is drawn.
    share : str
        Field with value / bound, where there is none of the bound itself.
    log : bool
        Logarithmic axis.
    one : str
        What a value of 1 means, drawn as a line; empty: no line.
    most : int, optional
        With more lines than this it is not drawn, because another chart has their sums.
    """

    title: str
    labels: tuple[str, ...]
    series: str
    value: str
    axis: str
    bound: str = ""
    share: str = ""
    log: bool = False
    one: str = "serial"
    most: int | None = None


@dataclass(frozen=True)
class Spec:
    """How a table is shown.

    Parameters
    ----------
    keys : tuple of str
        Fields that name a row: the first columns of every part of the table.
    gains : tuple of str
        Fields that are serial time / other time, or end so after a dot: below 1 is slower than serial.
    costs : tuple of str
        Fields that are other time / serial time: above 1 is slower.
    parts : tuple of (title, tuple of str)
        Columns that belong together; those in none follow, some at a time.
    chart : Chart, optional
    compared : str
        What was compared; empty: as the field `verified` is defined.
    """

    keys: tuple[str, ...]
    gains: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    parts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    chart: Chart | None = None
    compared: str = ""


def _over(
    title: str,
    labels: tuple[str, ...],
    series: str,
    value: str,
    bound: str = "",
    share: str = "",
    most: int | None = None,
) -> Chart:
    """A chart of serial time over other times."""
    return Chart(title, labels, series, value, "speed-up over serial execution", bound, share, most=most)


_SIMULATED: Final = "Nothing was executed: makespans are simulated, with gas for time, and lie within their bounds."
_SPEEDS: Final = ("speedup", "low", "high")

_MAIN: Final = Spec(
    ("scenario", "executor"),
    ("speedup", "speedup_execute", "speedup_execute_low", "speedup_execute_high"),
    parts=(
        (
            "Times",
            (
                "n_tx", "serial_time_ms", "parallel_time_ms", "speedup", "execute_time_ms", "speedup_execute", "bound",
                "bound_share", "verified",
            ),
        ),
        (
            "Spread and cost",
            ("speedup_execute_low", "speedup_execute_high", "rounds", "rounds_quiet", "cpu_ms", "work_per_tx_us", "iops",
             "bound_gas"),
        ),
        (
            "Block",
            ("block_number", "n_ops", "n_keys", "fork", "conflict_pairs", "conflict_rate", "conflict_rate_exact",
             "critical_path", "total_gas", "failed", "chain_gas_exact"),
        ),
        (
            "What the executor did",
            ("workers", "launched", "engine", "compiled", "waves", "parallel_waves", "avg_wave_size", "runtime_conflicts",
             "requeued", "executions", "reexecuted", "validations", "aborts", "waits", "fallback", "reason"),
        ),
        ("Estimate", ("policy", "oracle", "miss_rate", "preexec_precision", "preexec_recall", "work_us")),
        (
            "Latency of a transaction",
            ("tx_latency_p50_ms", "tx_latency_p95_ms", "tx_latency_p99_ms", "tx_parallel_latency_p50_ms",
             "tx_parallel_latency_p95_ms", "tx_parallel_latency_p99_ms"),
        ),
        (
            "Preparation",
            ("intern_ms", "encode_ms", "estimate_ms", "graph_ms", "schedule_ms", "verify_ms", "compile_ms",
             "kernels_compiled"),
        ),
    ),
    chart=_over("Speed-up by execution alone, beside the bound", ("scenario",), "executor", "speedup_execute", bound="bound"),
)  # fmt: skip

_SPECS: Final[dict[str, Spec]] = {
    "ours": Spec(
        ("case", "job", "n_tx"), compared="Each result was checked before it was timed; schedules by check_schedule.",
        chart=Chart("Cost of each job", ("job",), "case", "ns_per_access", "ns an access", log=True, one=""),
    ),
    "peers": Spec(
        ("case", "job", "library", "way"), compared="The result of every side was checked before its time counted.",
        chart=Chart(
            "Time of each library over ours", ("case", "job"), "library", "ratio_total", "times our time", log=True,
            one="ours",
        ),
    ),
    "bal": Spec(("block_number",), compared="Nothing was executed: chains of writers are counted in published lists."),
    "definitions": Spec(("block_number", "definition"), compared="Schedules passed check_schedule; no time was measured."),
    "definitions summary": Spec(("definition",), compared="Over the rows of definitions, whose schedules were checked."),
    "workers": Spec(("block_number", "workers"), compared=_SIMULATED),
    "workers summary": Spec(
        ("workers", "way"), ("total", "mean", "median", "least", "most"), compared=_SIMULATED,
        chart=_over("Simulated speed-up of all blocks by waves and lists", ("workers",), "way", "total"),
    ),
    "models": Spec(
        ("block_number", "model", "workers"), ("speedup",), compared=_SIMULATED,
        chart=_over(
            "Simulated speed-up of each block by each model", ("block_number", "workers"), "model", "speedup", most=24
        ),
    ),
    "models summary": Spec(
        ("model", "workers"), ("total",), compared=_SIMULATED,
        chart=_over("Simulated speed-up of all blocks by each model", ("workers",), "model", "total"),
    ),
    "executors": Spec(
        ("case", "work_us", "executor", "workers"), (*_SPEEDS, "speedup_given", "speedup_computed"),
        chart=_over(
            "Speed-up by execution alone, beside the bound", ("case", "work_us", "workers"), "executor", "speedup",
            bound="bound",
        ),
    ),
    "misses": Spec(
        ("preset", "executor", "miss_rate"), costs=("to_serial",),
        chart=Chart(
            "Time with a share of accesses missed", ("preset", "miss_rate"), "executor", "to_serial", "times serial time",
            log=True,
        ),
    ),
    "break-even": Spec(("case", "executor")),
    "engines": Spec(
        ("case", "way"), ("speedup", "speedup_low", "speedup_high"),
        chart=Chart(
            "Speed beside the interpreter's", ("case",), "way", "speedup", "interpreter's time over this", one="interpreter"
        ),
    ),
    "engines compile": Spec(("case", "engine")),
    "engines shapes": Spec(("case",)),
    "engines executors": Spec(("case", "executor"), ("speedup", "speedup_low", "speedup_high")),
    "engines ceiling": Spec(("case", "way"), costs=("ratio", "ratio_low", "ratio_high")),
    "survey": Spec(
        ("source", "way", "workers"),
        chart=Chart(
            "Blocks a second, reading and counting", ("source", "workers"), "way", "blocks_per_s", "blocks a second",
            log=True, one="",
        ),
    ),
    "commitment": Spec(("source",)),
    "game": Spec(("source", "kind")),
    "scaling": Spec(
        ("case", "work_us", "executor", "workers"), ("predicted", "measured", "low", "high"),
        chart=_over("Predicted speed-up", ("case", "work_us", "workers"), "executor", "predicted", bound="bound"),
    ),
    "evm": Spec(
        ("block", "fork"), _SPEEDS,
        chart=_over("Speed-up beside the bound", ("block",), "executors", "speedup", share="share"),
    ),
    "ratios": Spec(
        ("case", "block_number", "measure", "heuristic"),
        compared="No time was measured: values are those of schedules, bounds those of an exact solver.",
        chart=Chart(
            "Heuristic over the best possible", ("measure", "heuristic"), "case", "ratio", "ratio, 1 is the best", one="best"
        ),
    ),
    "built": Spec(("block_number", "limits", "method"), compared="No time was measured: rewards and gas of chosen blocks."),
    "block list": Spec(("block_number", "fork")),
    "transaction list": Spec(("block_number", "tx")),
    "dependencies": Spec(("block_number", "sets", "fields", "edges")),
    "prediction": Spec(
        ("patterns", "kind", "seen", "threshold"),
        chart=Chart(
            "Recall of predicted storage", ("kind", "seen", "threshold"), "patterns", "recall", "recall", one="all"
        ),
    ),
    "prediction in a block": Spec(("block_number",), ("speedup_exact", "speedup_predicted", "speedup_none")),
    "missed keys": Spec(("cause",)),
    "prediction of a mix": Spec(("mix", "patterns", "learned_blocks")),
    "prediction speed": Spec(("n_tx",)),
    "store": Spec(("backend", "keys")),
    "store workload": Spec(
        ("backend", "keys", "distribution", "operation"),
        chart=Chart(
            "Keys a second", ("operation", "distribution", "keys"), "backend", "keys_per_s", "keys/s", log=True, one=""
        ),
    ),
    "store against": Spec(
        ("backend", "against", "operation"),
        chart=Chart(
            "Time over that of the other", ("backend", "against"), "operation", "ratio", "times its time", one="equal"
        ),
    ),
    "chain": Spec(
        ("chain", "backend", "delay_us", "kind"),
        chart=Chart("Time of a chain", ("chain", "backend", "delay_us"), "kind", "ms", "ms", log=True, one=""),
    ),
}  # fmt: skip


def spec_of(table: str) -> Spec:
    """How a table is shown; one that is not named here begins with its first field.

    Examples
    --------
    >>> spec_of("misses").costs, spec_of("").keys
    (('to_serial',), ('scenario', 'executor'))
    """
    if table == MAIN:
        return _MAIN
    return _SPECS.get(table) or Spec((next(iter(definitions_of(table))),))


def definitions_of(table: str) -> dict[str, tuple[str, str]]:
    """Field -> (unit, definition) of a table's rows.

    Examples
    --------
    >>> definitions_of("")["speedup"]
    ('', 'serial_time_ms / parallel_time_ms')
    """
    return FIELDS if table == MAIN else TABLES[table][1]


def meaning_of(table: str, name: str) -> str:
    """The definition of a field by itself: with that of the field which it refers to.

    Examples
    --------
    >>> meaning_of("", "bound_share"), meaning_of("", "tx_latency_p99_ms")[:67]
    ('speedup_execute / bound', '99th percentile of the same (tx_latency_p50_ms: start to end of a t')
    """
    fields = definitions_of(table)
    text = fields[name][1]
    if _MAIN_HAS in text:
        return f"{text} ({FIELDS[name][1]})"
    if not _REFERS.search(text):
        return text
    names = list(fields)
    for earlier in reversed(names[: names.index(name)]):
        first = fields[earlier][1]
        if not _REFERS.search(first):
            return f"{text} ({earlier}: {first})"
    return text
