"""What execution files of both machines share: facts, the hash of the content, times, and the schedule that was followed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..errors import FileFormatError
from ..evm.block import AnyBlock
from ..execute.evm_result import EvmExecution
from ..execute.result import Execution, TxTimes
from ..schedule.plan import Schedule
from .columns import Column
from .parquet_file import open_parquet
from .parquet_tables import SCHEMA_KEY
from .paths import reading, replacing
from .schedule_columns import MAKESPAN, TIMES, WORKERS, timeline, waves

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "GROUPS", "I64", "RUN", "check_block", "check_content", "content", "facts_of", "frozen", "held", "integers", "limbs",
    "open_table", "plan_columns", "read_facts", "read_plan", "read_times", "run_arrays", "time_columns", "write_table",
]  # fmt: skip

I64: Final = 2**63 - 1
_ABOUT, _CONTENT = b"about", b"content_sha256"
#: Columns of times, of a schedule, and of its timeline.
RUN: Final = ("worker", "start_ns", "end_ns", "runs")
_PLAN: Final = ("wave", "serial_position")
_PLANNED: Final = tuple(f"plan_{name}" for name in TIMES)
#: Columns that are there all together or not at all.
GROUPS: Final = (RUN, _PLAN, _PLANNED)
#: Members of `about`, and what each is.
_FACTS: Final[dict[str, type | tuple[type, ...]]] = {
    "block_number": int, "block_digest": str, "executor": str, "reason": str, "counters": dict, "timings": dict,
    "n_workers": (int, type(None)), "policy": (str, type(None)), "plan_workers": (int, type(None)),
    "plan_makespan": (float, type(None)),
}  # fmt: skip


# -------------------------------------------------------------------- writing


def facts_of(execution: Execution | EvmExecution) -> dict[str, Any]:
    """All that is not one value a transaction, or one a key."""
    block, times, plan = execution.block, execution.times, execution.schedule
    line = None if plan is None else plan.timeline
    return {
        "block_number": block.number, "block_digest": block.digest(), "executor": execution.executor,
        "reason": execution.reason, "counters": integers("counters", execution.counters),
        "timings": integers("timings", execution.timings), "n_workers": None if times is None else times.n_workers,
        "policy": None if plan is None else plan.policy, "plan_workers": None if line is None else line.n_workers,
        "plan_makespan": None if line is None else float(line.makespan),
    }  # fmt: skip


def integers(name: str, given: Mapping[str, Any]) -> dict[str, int]:
    """Counts by name, each an integer of 64 bits, or a BlockError."""
    return {door.text(name, key): door.integer(f"{name}[{key!r}]", value, -I64, I64) for key, value in given.items()}


def held(part: str, holder: Any, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays that are attributes of something, if it is there, by what part of an execution they are."""
    for name in names if holder is not None else ():
        yield f"{part}{name}", getattr(holder, name)


def run_arrays(execution: Execution | EvmExecution) -> Iterator[tuple[str, NDArray[Any]]]:
    """Times and schedule, for the hash of the content."""
    plan = execution.schedule
    yield from held("times.", execution.times, ("worker", "start", "end", "runs"))
    yield from held("plan.", plan, ("wave_indptr", "wave_tx", "serial_order"))
    yield from held("line.", None if plan is None else plan.timeline, TIMES)


def content(about: bytes, arrays: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """SHA-256 of all that a file holds, however Parquet lays it out."""
    sha = hashlib.sha256(about)
    for name, given in arrays:
        values = np.ascontiguousarray(given)
        sha.update(f"{name}{values.shape}{values.dtype.str}".encode())
        sha.update(values.tobytes())
    return sha.hexdigest()


def time_columns(times: TxTimes) -> dict[str, NDArray[Any]]:
    """When transactions ran."""
    made = times.columns()
    return {name: made[name].astype(np.int64 if name.endswith("ns") else np.uint32) for name in RUN}


def plan_columns(plan: Schedule) -> dict[str, NDArray[Any]]:
    """The schedule that was followed, with its timeline if it has one."""
    made = plan.columns()
    columns: dict[str, NDArray[Any]] = {name: made[name].astype(np.uint32) for name in _PLAN}
    planned = zip(_PLANNED, TIMES, (np.uint32, np.float64, np.float64))
    return columns | {name: made[source].astype(dtype) for name, source, dtype in planned if source in made}


def write_table(
    target: Path, table: pa.Table, schema: bytes, facts: dict[str, Any], arrays: Iterable[tuple[str, NDArray[Any]]]
) -> None:
    """Write a table with its schema, facts and the hash of the content; whole, or not at all."""
    import pyarrow.parquet as pq

    about = json.dumps(facts).encode()
    metadata = {SCHEMA_KEY: schema, _ABOUT: about, _CONTENT: content(about, arrays).encode()}
    with replacing(target) as (temporary,):
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd", write_page_checksum=True)


# -------------------------------------------------------------------- reading


def open_table(
    where: Path, schema: bytes, required: Iterable[str], groups: Iterable[tuple[str, ...]]
) -> tuple[pa.Table, bytes, str]:
    """Columns that are ours, checked for whole groups of them; `about`, and the hash of the content."""
    with closing(open_parquet(where)) as file:
        named = dict(file.metadata.metadata or {})
        if named.get(SCHEMA_KEY) != schema:
            said = named.get(SCHEMA_KEY, b"none").decode(errors="replace")
            raise FileFormatError(f"{where}: schema {said!r:.80}: must be {schema.decode()}")
        for key in (_ABOUT, _CONTENT):
            if key not in named:
                raise FileFormatError(f"{where}: metadata {key.decode()}: missing")
        names = dict.fromkeys(file.schema_arrow.names)
        wanted = [*required]
        for group in groups:
            wanted += (name for name in group if name not in wanted) if any(name in names for name in group) else ()
        for name in wanted:
            if name not in names:
                raise FileFormatError(f"{where}: column {name}: missing: a required column")
        with reading(where, "damaged"):
            table = file.read(columns=wanted)
            table.validate(full=True)
        if len(table) != file.metadata.num_rows:
            raise FileFormatError(f"{where}: {len(table)} rows: must be {file.metadata.num_rows}, as the file says")
    return table, named[_ABOUT], named[_CONTENT].decode(errors="replace")


def read_facts(where: Path, about: bytes, more: Mapping[str, type] | None = None) -> dict[str, Any]:
    """`about`, each member of its type; `more` are members beside those that all executions have."""
    wanted: dict[str, type | tuple[type, ...]] = {**_FACTS, **(more or {})}
    with reading(where, "metadata about: not readable JSON"):
        facts = json.loads(about)
    if not isinstance(facts, dict) or facts.keys() != wanted.keys():
        raise FileFormatError(f"{where}: metadata about = {door.shown(facts, 80)}: must have {', '.join(wanted)}")
    for name, kind in wanted.items():
        if not isinstance(facts[name], kind) or isinstance(facts[name], bool):
            raise FileFormatError(f"{where}: metadata about, {name} = {door.shown(facts[name], 80)}: is of a wrong type")
    with reading(where, "metadata about"):
        for name in ("counters", "timings"):
            facts[name] = integers(name, facts[name])
        for name in ("n_workers", "plan_workers"):
            if facts[name] is not None:
                door.integer(name, facts[name], 1, 2**31 - 1)
    return facts


def check_block(where: Path, facts: dict[str, Any], block: AnyBlock) -> None:
    """Whether the execution is of that block, by the digest."""
    if facts["block_digest"] != block.digest():
        told = f"block {facts['block_number']} with digest {door.shown(facts['block_digest'], 80)}"
        raise FileFormatError(f"{where}: execution of {told}: must be of {block!r} with digest {block.digest()}")


def check_content(where: Path, said: str, found: str) -> None:
    """Whether the hash of the content is the one that was written."""
    if found != said:
        rule = "the file was altered after it was written: execute the block again"
        raise FileFormatError(f"{where}: metadata {_CONTENT.decode()} = {said!r:.80}: is not that of the content: {rule}")


def limbs(words: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Big-endian words (n, 32) as limbs (n, 4), least significant first."""
    return np.ascontiguousarray(np.ascontiguousarray(words).view(">u8")[:, ::-1].astype(np.uint64))


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """A read-only array that shares nothing with Arrow."""
    made = np.array(values)
    made.flags.writeable = False
    return made


def read_times(given: Mapping[str, Column], n_workers: int | None) -> TxTimes:
    """When transactions ran."""
    n_workers = 0 if n_workers is None else n_workers
    worker = given["worker"].integers(np.int32, 0, 2**31 - 2)
    given["worker"].reject(worker >= n_workers, f"must be below n_workers = {n_workers}")
    start = given["start_ns"].integers(np.int64, 0, I64)
    end = given["end_ns"].integers(np.int64, 0, I64)
    given["end_ns"].reject(end < start, "must not be before start_ns")
    runs = given["runs"].integers(np.int32, 1, 2**31 - 1)
    return TxTimes(frozen(start), frozen(end), frozen(worker), frozen(runs), n_workers)


def read_plan(where: Path, given: Mapping[str, Column], facts: dict[str, Any]) -> Schedule | None:
    """The schedule that was followed, if the file has one."""
    if "wave" not in given:
        return None
    columns = {name: given[name] for name in ("block_number", "tx_index", *_PLAN)}
    columns |= {source: given[name] for name, source in zip(_PLANNED, TIMES) if name in given}
    named = {WORKERS: str(facts["plan_workers"]).encode(), MAKESPAN: repr(facts["plan_makespan"]).encode()}
    line = timeline(where, columns, named if facts["plan_workers"] is not None else {})
    with reading(where, "not a schedule"):
        return Schedule(facts["policy"], *waves(columns), line)
