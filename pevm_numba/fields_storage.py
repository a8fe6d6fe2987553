"""Definitions of what `python -m pevm_numba.bench storage` writes."""

from __future__ import annotations

from typing import Final

__all__ = ["STORAGE_TABLES"]

_BACKEND: Final = ("", "memory, mmap, rocksdb, lmdb or sqlite")
_KEYS: Final = ("keys", "in the store")

#: As `fields.TABLES`.
STORAGE_TABLES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    "store": (
        "storage",
        {
            "backend": _BACKEND,
            "keys": _KEYS,
            "load_keys_per_s": ("keys/s", "put in no order, 50,000 at a time, each part synced"),
            "bytes_per_key": ("bytes", "that files take on the disk after closing, by key; null in memory"),
            "open_ms": ("ms", "opening it to write, median; of lmdb and sqlite it is read as a whole meanwhile"),
            "open_unverified_ms": ("ms", "the same with verify=False; null where there is no such choice"),
            "memory_bytes": (
                "bytes",
                "most by which the process grew, mapped files included, while it was opened (not verified) and all was read; "
                "in memory while it was filled; null if not to be had",
            ),
            "verified": ("", "all words are those that were put"),
        },
    ),
    "store workload": (
        "storage",
        {
            "backend": _BACKEND,
            "keys": _KEYS,
            "distribution": ("", "of keys: uniform; zipf (rank to the -1.1); sequential (runs of 64 neighbours)"),
            "operation": (
                "",
                "on a batch: read; write, as one synced put; 90/10, so many per cent read and then written; commit, a block "
                "that changes so many keys, its digest included",
            ),
            "batch": ("keys", "distinct, in a batch"),
            "rounds": ("batches", "measured"),
            "keys_per_s": ("keys/s", "batch / batch_p50_us"),
            "batch_p50_us": ("us", "median over the batches"),
            "batch_p99_us": ("us", "99th percentile over the batches: of fewer than 100 nearly the most"),
            "key_p50_ns": ("ns", "batch_p50_us / batch"),
            "key_p99_ns": ("ns", "batch_p99_us / batch"),
            "verified": ("", "all words read are those that were put last"),
        },
    ),
    "store against": (
        "storage",
        {
            "backend": _BACKEND,
            "against": ("", "memory, or the library driven directly by its best batch calls; empty: nothing"),
            "operation": ("", "read, or write as one synced put; of random keys"),
            "keys": _KEYS,
            "batch": ("keys", "distinct, in a batch"),
            "rounds": ("batches", "measured in turn"),
            "keys_per_s": ("keys/s", "of the store, from arrays to arrays, median"),
            "against_keys_per_s": ("keys/s", "of the other; of a library from rows of bytes to rows of bytes"),
            "ratio": ("", "time of the store / time of the other, median over the rounds"),
            "ratio_low": ("", "its lower quartile"),
            "ratio_high": ("", "its upper quartile"),
            "verified": ("", "all words read are those that were put last"),
        },
    ),
    "chain": (
        "storage",
        {
            "chain": ("", "number of the block whose transactions make the chain"),
            "blocks": ("blocks", "in the chain"),
            "n_tx": ("transactions", "in all blocks"),
            "backend": _BACKEND,
            "delay_us": ("us", "that each read takes more: of a call for n keys, n / 32 reads, rounded up"),
            "kind": (
                "",
                "on demand: each account and slot is read by itself, those that transactions name before the block, others "
                "when they are needed; named: what transactions name is read in one batch, while the block before runs; "
                "listed: and what the block's access list names",
            ),
            "rounds": ("", "runs"),
            "ms": ("ms", "all blocks prepared, executed serially, committed: median"),
            "ms_low": ("ms", "least"),
            "ms_high": ("ms", "most"),
            "prefetched": ("keys", "read ahead"),
            "met": ("", "stops for an account or slot that was not at hand"),
            "met_ms": ("ms", "waited in these"),
            "waited_ms": ("ms", "waited for what was being read ahead"),
            "verified": ("", "all accounts are those that the same blocks leave in memory"),
        },
    ),
}
