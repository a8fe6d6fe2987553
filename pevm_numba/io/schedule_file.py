"""A schedule file says when each transaction *may* run, never that it fits a block: `check_schedule` proves that."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..errors import BlockError, FileFormatError
from ..schedule.costs import costs
from ..schedule.plan import Schedule
from .columns import column
from .parquet_file import SCHEDULE_SCHEMA, SUFFIX, open_parquet
from .parquet_tables import SCHEMA_KEY
from .paths import COMPANIONS, existing, nameable, reading, replacing
from .schedule_columns import MAKESPAN, TIMES, WORKERS, metadata_text, timeline, waves

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEMA", "is_schedule_file", "read_schedule", "write_schedule"]

log = logging.getLogger("pevm_numba")

#: What the metadata of a schedule file says it is.
SCHEMA: Final = SCHEDULE_SCHEMA.decode()
_POLICY: Final = b"policy"
#: Facts of a schedule itself, which `about` cannot gainsay.
_OWN: Final = ("schema", "block_number", "n_tx", "policy", "n_workers", "makespan")
_REQUIRED: Final = ("block_number", "tx_index", "wave", "serial_position")
_ARRAYS: Final = ("serial_order", "wave", *TIMES, "cost")
_JSON: Final = ".json"
#: What a file without our metadata, say one rewritten by another program, is taken to hold.
_NO_POLICY: Final = "unknown"


def write_schedule(
    path: str | os.PathLike[str],
    schedule: Schedule,
    block_number: int = 0,
    cost: ArrayLike | None = None,
    *,
    about: Mapping[str, str | int | float | bool | None] | None = None,
) -> None:
    """Write a schedule as Parquet, one row per transaction of the block, or as one JSON object.

    Columns: block_number u64, tx_index u32, wave u32, serial_position u32 (the place in ``schedule.serial_order``),
    worker u32, start f64, end f64 (null without a timeline), cost f64. File metadata: ``pevm_numba.schema`` =
    ``pevm_numba.schedule/1``, ``policy``, and with a timeline ``n_workers`` and ``makespan``.

    JSON: ``schema``, ``block_number``, ``n_tx``, ``policy``, with a timeline ``n_workers`` and ``makespan``; then arrays,
    per transaction ``wave``, ``worker``, ``start``, ``end``, ``cost``, and ``serial_order``, the transactions in that order.

    Parameters
    ----------
    path : path
        Ends in ``.parquet`` or ``.json``, not as a companion of a block file does; a file of that name is replaced.
    schedule : Schedule
    block_number : int
    cost : (n_tx,) integers or floats, optional
        In the unit of the timeline; default 1 each.
    about : mapping of str to str, int, float, bool or None, optional
        More facts for people and programs: members of the JSON object, or metadata (texts as they are, others as JSON).
        `read_schedule` ignores them.

    Raises
    ------
    BlockError
        If an argument is not as described.
    FileFormatError
        If the path does not end so, or the system refuses to write.

    Notes
    -----
    Written to a temporary file first, so an interrupted write leaves the old file.

    Examples
    --------
    >>> import tempfile
    >>> plan = Schedule.from_waves("by hand", [[0, 2], [1]], serial_order=[0, 2, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_schedule(folder + "/plan.parquet", plan, block_number=7)
    ...     read_schedule(folder + "/plan.parquet")
    <Schedule by hand: 3 txs in 2 waves, own order>
    """
    target = nameable(path)
    if not target.name.endswith((SUFFIX, _JSON)) or target.name.endswith(COMPANIONS):
        rule = f"a schedule file is named NAME{SUFFIX} or NAME{_JSON} (not {' or '.join(COMPANIONS)})"
        raise FileFormatError(f"{target}: {rule}")
    door.instance("schedule", schedule, Schedule)
    number = door.integer("block_number", block_number, 0, 2**64 - 1)
    weight, facts = costs(cost, schedule.n_tx), _facts(about)
    try:
        policy = schedule.policy.encode()
    except UnicodeEncodeError:
        raise FileFormatError(f"{target}: policy {door.shown(schedule.policy, 80)}: cannot be written as UTF-8") from None
    with replacing(target) as (temporary,):
        if target.name.endswith(_JSON):
            temporary.write_text(_object(schedule, number, weight, facts), encoding="utf-8")
        else:
            import pyarrow.parquet as pq

            table = _table(schedule, policy, number, weight, facts)
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    log.info("%s: wrote a schedule of %d transactions", target, schedule.n_tx)


def _facts(about: Any) -> dict[str, Any]:
    """`about`, checked, less what the schedule says itself."""
    if about is not None and not isinstance(about, Mapping):
        raise BlockError(f"about = {door.shown(about)}: must be a mapping")
    facts: dict[str, Any] = {}
    for name, value in (about or {}).items():
        plain = value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
        if not isinstance(name, str) or not plain or name in _ARRAYS:
            rule = "must be a name with a text, a finite number, true, false or None, and no name of an array"
            raise BlockError(f"about[{door.shown(name, 80)}] = {door.shown(value, 80)}: {rule}")
        if name not in _OWN:
            facts[name] = value
    return facts


def _object(schedule: Schedule, number: int, cost: NDArray[np.float64], facts: Mapping[str, Any]) -> str:
    """The JSON, each member on a line of its own."""
    line = schedule.timeline
    whole: dict[str, Any] = {"schema": SCHEMA, "block_number": number, "n_tx": schedule.n_tx, "policy": schedule.policy}
    if line is not None:
        whole |= {"n_workers": line.n_workers, "makespan": float(line.makespan)}
    whole |= facts
    whole |= {"serial_order": schedule.serial_order.tolist(), "wave": schedule.wave_of.tolist()}
    if line is not None:
        whole |= {name: getattr(line, name).tolist() for name in TIMES}
    whole["cost"] = cost.tolist()
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in whole.items())
    return f"{{\n{lines}\n}}\n"


def _table(
    schedule: Schedule, policy: bytes, block_number: int, cost: NDArray[np.float64], facts: Mapping[str, Any]
) -> pa.Table:
    import pyarrow as pa

    n_tx, line = schedule.n_tx, schedule.timeline
    position = np.empty(n_tx, np.uint32)
    position[schedule.serial_order] = np.arange(n_tx, dtype=np.uint32)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    named = {name.encode(errors="replace"): text.encode(errors="replace") for name, text in texts.items()}
    named |= {SCHEMA_KEY: SCHEMA.encode(), _POLICY: policy}
    if line is not None:
        named |= {WORKERS: str(line.n_workers).encode(), MAKESPAN: repr(float(line.makespan)).encode()}
    whole, real = pa.uint32(), pa.float64()
    required: dict[str, tuple[pa.DataType, NDArray[Any]]] = {
        "block_number": (pa.uint64(), np.full(n_tx, block_number, np.uint64)),
        "tx_index": (whole, np.arange(n_tx, dtype=np.uint32)),
        "wave": (whole, schedule.wave_of.astype(np.uint32)),
        "serial_position": (whole, position),
    }
    fields = [pa.field(name, kind, nullable=False) for name, (kind, _) in required.items()]
    fields += [pa.field("worker", whole), pa.field("start", real), pa.field("end", real)]
    fields.append(pa.field("cost", real, nullable=False))
    columns = [pa.array(values, kind) for kind, values in required.values()]
    if line is None:
        columns += [pa.nulls(n_tx, whole), pa.nulls(n_tx, real), pa.nulls(n_tx, real)]
    else:
        columns += [pa.array(line.worker.astype(np.uint32), whole), pa.array(line.start, real), pa.array(line.end, real)]
    columns.append(pa.array(cost, real))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=named))


def is_schedule_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a schedule of `write_schedule`, Parquet or JSON; False if it cannot be read.

    Examples
    --------
    >>> is_schedule_file("no such file")
    False
    """
    where = Path(path)
    try:
        with open(where, "rb") as file:
            start = file.read(512)
        if start.startswith(b"PAR1"):
            with closing(open_parquet(where)) as table:
                return bool((table.metadata.metadata or {}).get(SCHEMA_KEY) == SCHEDULE_SCHEMA)
        return start.lstrip().startswith(b"{") and f'"schema": "{SCHEMA}"'.encode() in start
    except (OSError, FileFormatError):
        return False


def read_schedule(path: str | os.PathLike[str]) -> Schedule:
    """Read a schedule file, Parquet or JSON; the content decides which.

    Parameters
    ----------
    path : path
        Columns in any order, integers and floats of any width that fit; other columns are ignored. Rows are sorted by
        tx_index, which counts from 0, and are all of one block. Without metadata the policy is ``"unknown"``, and a
        timeline has the workers and the makespan that its rows show. The same holds for JSON, whose lists are the columns.

    Returns
    -------
    Schedule
        Checked in itself: every transaction once, no wave empty, a timeline for all transactions or none. Whether it
        fits a block, and whether each worker runs one transaction at a time, is what `check_schedule` tells.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule.
    """
    where = existing(path)
    with reading(where, "not readable"), open(where, "rb") as file:
        is_json = file.read(64).lstrip().startswith(b"{")
    table, named = _read_json(where) if is_json else _read_parquet(where)
    rows = np.arange(len(table))
    given = {name: column(where, table, name, rows) for name in _REQUIRED}
    given |= {name: column(where, table, name, rows) for name in TIMES if name in table.column_names}
    policy = metadata_text(where, named, _POLICY, _NO_POLICY)
    wave_indptr, wave_tx, order = waves(given)
    line = timeline(where, given, named)
    with reading(where, "not a schedule"):
        return Schedule(policy, wave_indptr, wave_tx, order, line)


def _read_parquet(where: Path) -> tuple[pa.Table, dict[bytes, bytes]]:
    """Columns and metadata."""
    with closing(open_parquet(where)) as file:
        named = dict(file.metadata.metadata or {})
        if named.get(SCHEMA_KEY, SCHEMA.encode()) != SCHEMA.encode():
            said = named[SCHEMA_KEY].decode(errors="replace")
            raise FileFormatError(f"{where}: schema {said!r}: must be {SCHEMA}")
        names = file.schema_arrow.names
        with reading(where, "damaged"):
            table = file.read(columns=[name for name in dict.fromkeys(names) if name in _REQUIRED + TIMES])
            table.validate(full=True)
        if len(table) != file.metadata.num_rows:
            raise FileFormatError(f"{where}: {len(table)} rows: must be {file.metadata.num_rows}, as the file says")
    return table, named


def _read_json(where: Path) -> tuple[pa.Table, dict[bytes, bytes]]:
    """The same from JSON: lists as columns, serial_order turned into places, other members as metadata."""
    import pyarrow as pa

    with reading(where, "not readable JSON"):
        whole = json.loads(where.read_bytes())
    if whole.get("schema", SCHEMA) != SCHEMA:
        raise FileFormatError(f"{where}: schema {door.shown(whole['schema'], 80)}: must be {SCHEMA}")
    lists = {name: whole[name] for name in ("wave", "serial_order", *TIMES) if whole.get(name) is not None}
    columns: dict[str, pa.Array] = {}
    n_tx = len(lists["wave"]) if isinstance(lists.get("wave"), list) else 0
    for name in ("wave", "serial_order"):
        if name not in lists:
            raise FileFormatError(f"{where}: {name}: missing: a required list")
    for name, values in lists.items():
        if not isinstance(values, list) or len(values) != n_tx:
            size = f"{len(values)} values" if isinstance(values, list) else f"{door.shown(values, 80)}"
            raise FileFormatError(
                f"{where}: {name}: {size}: must be a list, one value for each transaction, as many as in wave"
            )
        with reading(where, f"{name}: not a list of numbers"):
            columns[name] = pa.array(values)
    order = column(where, pa.table(columns), "serial_order", np.arange(n_tx)).required()
    with reading(where, "serial_order"):
        places = np.argsort(door.permutation("serial_order", order.integers(np.int64, 0, max(n_tx - 1, 0)), n_tx))
    given = whole.get("block_number", 0)
    kind = pa.uint64() if type(given) is int and 2**63 <= given < 2**64 else None  # Arrow takes ints for signed
    with reading(where, "block_number"):
        number = pa.array([given] * n_tx, kind)
    columns |= {"serial_position": pa.array(places), "tx_index": pa.array(np.arange(n_tx)), "block_number": number}
    named: dict[bytes, bytes] = {}
    for key in (_POLICY, WORKERS, MAKESPAN):
        value = whole.get(key.decode())
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            named[key] = text.encode(errors="replace")
    return pa.table(columns), named
