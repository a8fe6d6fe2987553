"""What a survey tells of each block: groups of columns, worked out for many blocks in one kernel call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import survey as _k
from .._kernels.jit import inputs
from ..errors import BlockError
from ..machine.ops import Field
from ..schedule.conflicts import conflict_counts
from .batch import Batch
from .definitions import DEFINITIONS, Definition, net_access

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["METRICS", "Measure", "columns_of", "measure", "schema_of"]

#: Steps of a nanosecond or so to count the conflicts of one block; beyond, `conflict_counts` takes over.
_PAIR_STEPS: Final = 50_000_000
_FEE_RULES: Final = {"commutative": 0, "plain": 1, "ignored": 2}
#: Those that need nothing executed.
_COUNTED: Final = tuple(one for one in DEFINITIONS if one.source is not net_access)
_ALL: Final = next(i for i, one in enumerate(_COUNTED) if one.slug == "all")


class Measure(NamedTuple):
    """One column: its Arrow type, its unit, and what it is."""

    name: str
    type: str
    unit: str
    meaning: str


def _paths_of(one: Definition) -> tuple[Measure, Measure]:
    text = f"dependencies: {one.name}"
    return (
        Measure(f"{one.slug}_path_txs", "int64", "transactions", f"critical path; {text}"),
        Measure(f"{one.slug}_path_gas", "float64", "gas", f"critical path at the gas used; {text}"),
    )


#: Groups of columns by name. Conflicts and dependencies are of all keys, credits of one balance commuting.
METRICS: Final[dict[str, tuple[Measure, ...]]] = {
    "size": (
        Measure("n_tx", "int64", "transactions", "transactions of the block"),
        Measure("n_accesses", "int64", "accesses", "distinct keys of each transaction, summed"),
        Measure("n_keys", "int64", "keys", "distinct keys that any accesses"),
        Measure("gas", "float64", "gas", "gas used, in all; null where the input does not say"),
    ),
    "conflicts": (
        Measure("pairs", "int64", "pairs", "pairs of transactions that conflict"),
        Measure("ww_pairs", "int64", "pairs", "those that both write a key"),
        Measure("rw_pairs", "int64", "pairs", "those of which the earlier reads what the later writes"),
        Measure("wr_pairs", "int64", "pairs", "those of which the later reads what the earlier writes"),
        Measure("conflict_rate", "float64", "share", "pairs over all pairs; 0 below two transactions"),
        Measure("conflicts_exact", "bool", "", "false where a million drawn pairs stand for all"),
        Measure("conflicting_txs", "int64", "transactions", "transactions that conflict with any other"),
        Measure("contended_keys", "int64", "keys", "keys on which any two transactions conflict"),
        Measure("hottest_key_txs", "int64", "transactions", "most transactions on one such key"),
    ),
    "dependencies": (
        Measure("path_txs", "int64", "transactions", "critical path: the fewest waves in block order"),
        Measure("path_gas", "float64", "gas", "critical path at the gas used; null where that is not known"),
        Measure("work_span_txs", "float64", "ratio", "transactions over the critical path: their parallelism"),
        Measure("work_span_gas", "float64", "ratio", "gas over the critical path in gas: what no schedule can exceed"),
        Measure("widest_level", "int64", "transactions", "most transactions of one level, all that could run at once"),
    ),
    "definitions": tuple(column for one in _COUNTED for column in _paths_of(one)),
}  # fmt: skip


def columns_of(metrics: Iterable[str]) -> tuple[str, ...]:
    """The groups asked for, each once, in the order of `METRICS`.

    Raises
    ------
    BlockError
        If one is unknown, or there is none.
    """
    given = door.items("metrics", [metrics] if isinstance(metrics, str) else metrics, "names of groups of columns")
    for name in given:
        door.choice("metrics", name, tuple(METRICS))
    if not given:
        raise BlockError(f"metrics: empty: at least one of {', '.join(METRICS)}")
    return tuple(name for name in METRICS if name in given)


def schema_of(metrics: Sequence[str]) -> pa.Schema:
    """Arrow schema of a survey: `block_number`, then the groups."""
    import pyarrow as pa

    def field(one: Measure) -> pa.Field:
        about = {"unit": one.unit, "meaning": one.meaning}
        return pa.field(one.name, pa.type_for_alias(one.type), metadata=about)

    number = pa.field("block_number", pa.uint64(), nullable=False)
    return pa.schema([number, *(field(one) for name in metrics for one in METRICS[name])])


def measure(batch: Batch, metrics: Sequence[str]) -> pa.Table:
    """The columns asked for, a row a block.

    Parameters
    ----------
    batch : Batch
    metrics : sequence of str
        As `columns_of` gives them.
    """
    import pyarrow as pa

    schema = schema_of(metrics)
    found: dict[str, Any] = {"block_number": np.array(batch.numbers, np.uint64)}
    if "size" in metrics:
        found |= _size(batch)
    if set(metrics) & {"conflicts", "dependencies", "definitions"}:
        found |= _dependent(batch, metrics)
    arrays = [pa.array(found[field.name], field.type, from_pandas=field.type == pa.float64()) for field in schema]
    return pa.table(arrays, schema=schema)


def _gas(batch: Batch) -> NDArray[np.float64]:
    """(n_blocks,) nan where not known."""
    sums = np.concatenate([[0.0], np.cumsum(batch.gas)])
    return np.where(batch.has_gas, np.diff(sums[batch.tx_start]), np.nan)


def _size(batch: Batch) -> dict[str, Any]:
    return {"n_tx": batch.n_tx, "n_accesses": batch.n_accesses, "n_keys": batch.n_keys, "gas": _gas(batch)}


def _dependent(batch: Batch, metrics: Sequence[str]) -> dict[str, Any]:
    """What follows from conflicts and dependencies."""
    used = list(_COUNTED) if "definitions" in metrics else [_COUNTED[_ALL]]
    at = used.index(_COUNTED[_ALL])
    n, shape = len(batch.numbers), (len(batch.numbers), len(used))
    paths, widths = np.empty((*shape, 2)), np.empty(shape, np.int64)
    counts = np.empty((n, 7), np.int64)
    rules = (
        np.array([_bits(one.fields) for one in used], np.int64),
        np.array([_FEE_RULES[one.fee_recipient] for one in used], np.int64),
        np.array([one.granularity == "account" for one in used], np.bool_),
        np.array([one.edges == "raw" for one in used], np.bool_),
    )
    given = (batch.tx_start, batch.indptr, batch.keys, batch.modes, batch.key_start, batch.fields, batch.accounts, batch.fee)
    counted = at if "conflicts" in metrics else -1
    _k.survey_blocks(*inputs(*given, batch.gas, batch.has_gas, *rules), counted, _PAIR_STEPS, paths, widths, counts)
    found: dict[str, Any] = {}
    if "conflicts" in metrics:
        found |= _conflicts(batch, counts)
    if "dependencies" in metrics:
        found |= _spans(batch, paths[:, at], widths[:, at])
    if "definitions" in metrics:
        for i, one in enumerate(used):
            txs, gas = _paths_of(one)
            found |= {txs.name: paths[:, i, 0].astype(np.int64), gas.name: paths[:, i, 1]}
    return found


def _bits(fields: tuple[str, ...] | None) -> int:
    return 15 if fields is None else sum(1 << int(Field[name.upper()]) for name in fields)


def _conflicts(batch: Batch, counts: NDArray[np.int64]) -> dict[str, Any]:
    exact = np.ones(len(counts), np.bool_)
    for i in np.flatnonzero(counts[:, 0] < 0).tolist():
        made = conflict_counts(batch.access(i))
        counts[i, :4], exact[i] = (made.pairs, made.ww, made.rw, made.wr), made.exact
    n_tx = batch.n_tx.astype(np.float64)
    rate = counts[:, 0] / np.maximum(1.0, n_tx * (n_tx - 1) / 2)
    names = ("pairs", "ww_pairs", "rw_pairs", "wr_pairs", "conflicting_txs", "contended_keys", "hottest_key_txs")
    return dict(zip(names, counts.T.copy())) | {"conflict_rate": rate, "conflicts_exact": exact}


def _spans(batch: Batch, paths: NDArray[np.float64], widths: NDArray[np.int64]) -> dict[str, Any]:
    """Null where the path is empty."""
    work = np.stack([batch.n_tx.astype(np.float64), _gas(batch)], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(paths > 0, work / paths, np.nan)
    return {
        "path_txs": paths[:, 0].astype(np.int64), "path_gas": paths[:, 1], "work_span_txs": ratio[:, 0],
        "work_span_gas": ratio[:, 1], "widest_level": widths,
    }  # fmt: skip
