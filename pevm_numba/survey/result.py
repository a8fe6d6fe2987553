"""What a survey found: a row for each block, in memory or in the files of a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileFormatError
from ..tabular import pandas_frame
from .metrics import METRICS, Measure, schema_of
from .parts import Parts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Survey", "read_survey"]


class Survey:
    """A row for each block, in the order of the paths and, within one, of the blocks; made by `survey` or `read_survey`.

    Attributes
    ----------
    metrics : tuple of str
        Groups of columns.
    resumed : int
        Partitions that had been done before.
    """

    def __init__(
        self, metrics: tuple[str, ...], names: Sequence[str], *, resumed: int = 0, parts: Parts | None = None,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> None:  # fmt: skip
        self.metrics, self.resumed = metrics, resumed
        self._names, self._parts, self._tables = list(names), parts, dict(tables or {})

    @cached_property
    def _table(self) -> pa.Table:
        import pyarrow as pa

        if self._parts is not None:
            return self._parts.read(self._names)
        empty = schema_of(self.metrics).empty_table()
        return pa.concat_tables([empty, *(self._tables[name] for name in self._names)]).combine_chunks()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What each column but `block_number` is."""
        return tuple(one for name in self.metrics for one in METRICS[name])

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return len(self._names)

    def __len__(self) -> int:
        return len(self._table)

    def to_arrow(self) -> pa.Table:
        """All rows; unit and meaning of each column are in the metadata of its field."""
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a DataFrame.

        Raises
        ------
        PevmError
            If pandas is not installed.
        """
        return pandas_frame(self._table)

    def summary(self) -> list[dict[str, Any]]:
        """Of each column: blocks that have a value, sum, mean, and percentiles 5, 50, 95 and the largest.

        Examples
        --------
        >>> from pevm_numba.survey.metrics import measure
        >>> from pevm_numba.survey.batch import Batch
        >>> from pevm_numba.block import Block
        >>> one = Block.from_programs([[("SSTORE", (1, 0, 0), 1)], [("SLOAD", (1, 0, 0))]])
        >>> found = Survey(("size",), ["one"], tables={"one": measure(Batch.of_blocks([one]), ("size",))})
        >>> found.summary()[0]["column"], found.summary()[0]["mean"]
        ('n_tx', 2.0)
        """
        out = []
        for one in self.measures:
            if one.type == "bool":
                continue
            values = self._table[one.name].drop_null().to_numpy().astype(np.float64)
            row: dict[str, Any] = {"column": one.name, "unit": one.unit, "blocks": len(values), "sum": float(values.sum())}
            marks = np.percentile(values, (5, 50, 95)).tolist() if len(values) else [None] * 3
            row |= dict(zip(("p5", "median", "p95"), marks))
            row["mean"], row["most"] = (float(values.mean()), float(values.max())) if len(values) else (None, None)
            out.append(row)
        return out

    def __repr__(self) -> str:
        return f"<Survey: {len(self):,} blocks, {', '.join(self.metrics)}>"


def read_survey(path: str | os.PathLike[str]) -> Survey:
    """The result of an earlier `survey(..., output=path)`, as far as it got.

    Parameters
    ----------
    path : path or address

    Raises
    ------
    FileFormatError
        If there is no file of a survey, one is damaged, or they are of different metrics.
    """
    found = Parts(path, ())
    names = found.names()
    if not names:
        raise FileFormatError(f"{found.place}: has no file of a survey")
    metrics = {tuple(found.about(name)["metrics"]) for name in names}
    if len(metrics) > 1:
        raise FileFormatError(f"{found.place}: files of surveys of different metrics: each needs a folder of its own")
    chosen = next(iter(metrics))
    return Survey(chosen, names, parts=Parts(path, chosen), resumed=len(names))
