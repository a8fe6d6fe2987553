"""Stores of every backend: how fast by size, distribution and operation, how large, and chains of real blocks on them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..console import progress
from ..errors import UsageError
from ..io.evm_tables import chosen_numbers, read_evm_blocks
from ..io.paths import check_target
from ..plot.storage import storage_comparison
from ..plot.style import need_matplotlib, save
from ..storage.opening import BACKENDS
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .storage_cells import OPERATIONS, Stores, load_rows, workload_rows
from .storage_chain import KINDS, backend_rows, delay_rows, in_parts
from .storage_direct import against_rows
from .storage_load import DISTRIBUTIONS
from .tables import check_range, figure, print_paragraph, print_table

__all__ = ["Request", "run"]

#: Blocks of a chain, made of one: enough that what is read ahead of the first counts little.
_PARTS: Final = 6
#: Chains are made of blocks with the most transactions.
_CHAINS: Final = 4
#: Keys of a store that is compared with what it is made of.
_AGAINST: Final = 1_000_000
_MOST: Final = 100_000_000


class Request(NamedTuple):
    """What to measure; fields as the options of the command."""

    path: Path | None = None
    sizes: tuple[int, ...] = (100_000, 1_000_000)
    backends: tuple[str, ...] = BACKENDS
    batch: int = 1000
    rounds: int = 30
    blocks: tuple[int, ...] = ()
    chain_rounds: int = 3
    folder: Path | None = None
    chart: Path | None = None

    @classmethod
    def parse(cls, path: Path | None, sizes: str, backends: str, **more: Any) -> Request:
        """From texts of the command line.

        Raises
        ------
        UsageError
            Naming the option, its value and the rule.

        Examples
        --------
        >>> Request.parse(None, "1e4,200000", "memory, lmdb")[1:3]
        ((10000, 200000), ('memory', 'lmdb'))
        """
        try:
            counts = tuple(dict.fromkeys(int(float(word)) for word in sizes.split(",")))
        except (ValueError, OverflowError):
            raise UsageError(f"--sizes {sizes!r}: must be numbers with commas between them, such as 1e5,1e6") from None
        names = BACKENDS if backends == "all" else tuple(dict.fromkeys(word.strip() for word in backends.split(",")))
        for name in names:
            if name not in BACKENDS:
                raise UsageError(f"--backends: {name!r} is unknown: one of {', '.join(BACKENDS)}")
        made = cls(path, counts, names, **more)
        check_range("--batch", made.batch, 10, 10**6)
        for count in counts:
            check_range("--sizes", count, 2 * made.batch, _MOST)
        check_range("--rounds", made.rounds, 1, 10_000)
        check_range("--chain-rounds", made.chain_rounds, 1, 10_000)
        if made.folder is not None and not made.folder.is_dir():
            raise UsageError(f"--folder {made.folder}: there is no such folder")
        return made


def run(asked: Request, json: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure and print all tables.

    Raises
    ------
    PevmError
        If the folder has no such blocks, a store gives what was not put there, or there is no room.
    """
    check_outputs(json, page, [] if asked.path is None else [asked.path])
    if asked.path is not None:
        chosen_numbers(asked.path, asked.blocks)
    if asked.chart is not None:
        check_target("--chart", asked.chart, [], (".png", ".svg", ".pdf"))
        need_matplotlib()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="pevm-storage-", dir=asked.folder) as name:
        folder = Path(name)
        for n in progress(asked.sizes, "filling and using stores", len(asked.sizes)):
            stores = Stores(folder, asked.backends, n)
            try:
                rows += load_rows(stores)
                rows += workload_rows(stores, asked.batch, asked.rounds)
            finally:
                stores.close()
        size = min(_AGAINST, max(asked.sizes))
        rows += against_rows(folder, asked.backends, size, min(10_000, size // 4), asked.rounds)
        _show_stores(rows)
        rows += _chains(asked, folder)
    write_outputs(json, page, rows)
    if asked.chart is not None:
        save(storage_comparison(rows)[0], asked.chart)
    return rows


def _chains(asked: Request, folder: Path) -> list[dict[str, Any]]:
    if asked.path is None:
        return []
    numbers = chosen_numbers(asked.path, asked.blocks)
    if not asked.blocks:
        sized = sorted(((block.n_tx, block.number) for block in read_evm_blocks(asked.path, numbers)), reverse=True)
        numbers = [number for _, number in sized[:_CHAINS]]
    rows: list[dict[str, Any]] = []
    for block in progress(read_evm_blocks(asked.path, sorted(numbers)), "running chains", len(numbers)):
        chain = in_parts(block, _PARTS)
        rows += delay_rows(chain, asked.chain_rounds)
        rows += backend_rows(chain, folder, asked.backends, asked.chain_rounds)
    _show_chains(rows)
    return rows


# -------------------------------------------------------------------- showing


def _of(rows: Sequence[dict[str, Any]], table: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["table"] == table]


def _show_stores(rows: Sequence[dict[str, Any]]) -> None:
    body = [
        [
            row["backend"], f"{row['keys']:,}", figure(row["load_keys_per_s"] / 1e3), figure(row["bytes_per_key"]),
            figure(row["open_ms"]), figure(row["open_unverified_ms"]),
            figure(None if row["memory_bytes"] is None else row["memory_bytes"] / row["keys"]),
        ] for row in _of(rows, "store")
    ]  # fmt: skip
    print_table(
        "Stores filled in no order, 50,000 keys at a time, each part synced: thousands of keys a second; bytes on the disk; "
        "milliseconds to open (lmdb and sqlite are read as a whole then; and without that); bytes of memory to open and "
        "read all.",
        ("backend", "keys", "load k/s", "bytes a key", "open ms", "unverified", "memory a key"), body,
    )  # fmt: skip
    loads = _of(rows, "store workload")
    for distribution in DISTRIBUTIONS:
        _show_loads([row for row in loads if row["distribution"] == distribution], distribution)
    _show_against(_of(rows, "store against"))


def _show_loads(loads: Sequence[dict[str, Any]], distribution: str) -> None:
    sizes, backends = (list(dict.fromkeys(row[name] for row in loads)) for name in ("keys", "backend"))
    body = []
    for n in sizes:
        for backend in backends:
            mine = {row["operation"]: row for row in loads if (row["keys"], row["backend"]) == (n, backend)}
            cells = [
                text for name in OPERATIONS
                for text in (
                    figure(mine[name]["keys_per_s"] / 1e3), *(figure(mine[name][f"batch_{p}_us"]) for p in ("p50", "p99"))
                )
            ]  # fmt: skip
            body.append([f"{backend}, {n:,}", *cells])
        body.append([])
    names = {"uniform": "any key alike", "zipf": "popular keys more often", "sequential": "runs of 64 neighbours"}
    print_table(
        f"{distribution}: {names[distribution]}. Batches of {loads[0]['batch']:,} keys: thousands of keys a second, and "
        "microseconds of a batch, median and 99th percentile.",
        ("backend, keys", *(f"{name} {what}" for name in OPERATIONS for what in ("k/s", "p50", "p99"))), body[:-1],
        [3] * len(OPERATIONS),
    )  # fmt: skip


def _show_against(rows: Sequence[dict[str, Any]]) -> None:
    body = [
        [
            f"{row['backend']}, {row['operation']}", row["against"] or "-", figure(row["keys_per_s"] / 1e3),
            figure(row["against_keys_per_s"] / 1e3) if row["against"] else "-",
            f"{row['ratio']:.2f}" if row["against"] else "-",
            f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}" if row["against"] else "-",
        ] for row in rows
    ]  # fmt: skip
    if rows:
        print_table(
            f"Beside what they are made of, in turn: {rows[0]['keys']:,} keys, random batches of {rows[0]['batch']:,}; "
            "thousands of keys a second, and times the time. Stores go from arrays to arrays and check all they read; "
            "libraries from rows of bytes to rows of bytes.",
            ("store", "against", "k/s", "its k/s", "times", "quartiles"), body,
        )  # fmt: skip


def _show_chains(rows: Sequence[dict[str, Any]]) -> None:
    def of(delay: int, kind: str, backend: str, chain: str) -> Iterator[dict[str, Any]]:
        named = {"delay_us": delay, "kind": kind, "backend": backend, "chain": chain}
        return (row for row in rows if all(row[name] == value for name, value in named.items()))

    chains = list(dict.fromkeys(row["chain"] for row in rows))
    body = []
    for delay in dict.fromkeys(row["delay_us"] for row in rows):
        for chain in chains:
            mine = {kind: next(of(delay, kind, "memory", chain)) for kind in KINDS}
            slow = mine[KINDS[0]]["ms"]
            body.append([
                f"{delay:,} us, {chain}", f"{mine[KINDS[0]]['n_tx']:,}", f"{mine[KINDS[0]]['met']:,}",
                f"{mine['listed']['prefetched']:,}", *(figure(one["ms"]) for one in mine.values()),
                *(f"{slow / mine[kind]['ms']:.1f}" for kind in KINDS[1:]), figure(mine["listed"]["waited_ms"]),
            ])  # fmt: skip
        body.append([])
    print_table(
        f"Chains of {_PARTS} blocks, each made of the transactions of one mainnet block, on a store in memory whose reads "
        "take so much longer: milliseconds, every account and slot read by itself; what transactions name read ahead in one "
        "batch; and all that an access list names. Times as fast as on demand.",
        ("a read, chain", "txs", "stops", "read ahead", "on demand", "named", "listed", "named x", "listed x", "waited"),
        body[:-1],
    )  # fmt: skip
    body = [
        [backend, *(
            figure(sum(next(of(0, kind, backend, chain))["ms"] for chain in chains)) for kind in ("on demand", "listed")
        )] for backend in dict.fromkeys(row["backend"] for row in rows)
    ]  # fmt: skip
    print_table(
        "The same chains, all together, on each backend, every commit synced: milliseconds.",
        ("backend", "on demand", "listed"), body,
    )  # fmt: skip
    total = sum(row["rounds"] for row in rows)
    print_paragraph(f"After each of these {total:,} runs all accounts were those that the same blocks leave in memory.")
