"""Definitions of what `python -m pevm_numba.bench survey` writes."""

from __future__ import annotations

from typing import Final

__all__ = ["SURVEY_TABLES"]

#: As `fields.TABLES`.
SURVEY_TABLES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    "survey": (
        "survey",
        {
            "source": ("", "blocks that were made, or the path of others"),
            "way": (
                "",
                "threads: of this process, reading and counting; counting alone: in one thread, of what has been read; Dask: "
                "worker processes; Dask, a worker killed: one is, once a partition is done",
            ),
            "workers": ("", "threads, or worker processes of one thread"),
            "metrics": ("", "groups of columns"),
            "blocks": ("blocks", "surveyed"),
            "rounds": ("", "measured"),
            "seconds": ("s", "from call to rows, median"),
            "seconds_low": ("s", "least"),
            "seconds_high": ("s", "most"),
            "cpu_s": ("s", "CPU time of all threads, or of the worker processes, median; null where a worker was killed"),
            "blocks_per_s": ("blocks/s", "blocks / seconds"),
            "blocks_per_cpu_s": ("blocks/s", "blocks / cpu_s: of one core"),
            "memory_bytes": (
                "bytes",
                "most by which this process grew in one more run; of Dask what its worker processes have at the end, all "
                "of it; null if not to be had",
            ),
            "verified": ("", "all rows are those of one thread"),
        },
    ),
}
