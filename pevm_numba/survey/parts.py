"""The output of a survey: a folder with a Parquet file for each partition, each put there when it is whole."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import __version__, door
from ..errors import FileFormatError
from ..io.parquet_file import SURVEY_SCHEMA
from ..io.parquet_tables import SCHEMA_KEY
from ..io.paths import nameable, reading, replacing
from .metrics import columns_of, schema_of
from .partitions import Partition, survey_partition
from .remote import Remote, is_remote

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Parts", "do_partition"]

log = logging.getLogger("pevm_numba")

_ABOUT: Final = b"pevm_numba.survey"


class Parts:
    """Files of a survey in a folder, or below an address.

    Parameters
    ----------
    place : path or address
        A folder that may not be there yet.
    metrics : sequence of str
    """

    def __init__(self, place: str | os.PathLike[str], metrics: Sequence[str]) -> None:
        self.metrics = tuple(metrics)
        self.remote = is_remote(place)
        self.place = str(place) if self.remote else str(nameable(place))

    def create(self) -> None:
        """Make the folder, if it is not there.

        Raises
        ------
        FileFormatError
            If it is a file, or cannot be made.
        """
        if self.remote:
            there = Remote(self.place)
            there.ask("makedirs", there.path, exist_ok=True)
            return
        try:
            Path(self.place).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileFormatError(f"{self.place}: must be a folder for the survey: {error.strerror}") from None

    def _address(self, name: str) -> str:
        return f"{self.place.rstrip('/')}/{name}"

    def _source(self, address: str) -> Any:
        """What Arrow reads a file from."""
        import pyarrow as pa

        return pa.BufferReader(Remote(address).read()) if self.remote else address

    def names(self) -> list[str]:
        """Names of the files that are there, sorted."""
        if self.remote:
            there = Remote(self.place)
            listed = there.ask("ls", there.path, detail=False) if there.ask("exists", there.path) else []
            found = [name.rsplit("/", 1)[-1] for name in listed]
        else:
            folder = Path(self.place)
            found = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        return sorted(name for name in found if name.startswith("part-") and name.endswith(".parquet"))

    def finished(self, partitions: Sequence[Partition]) -> list[Partition]:
        """Those whose file is there, and was made of the same source, unchanged since.

        Raises
        ------
        FileFormatError
            If a file is of other metrics, or of no partition of these: two surveys in one folder would be added up, and so
            would be blocks that a source had once and those that it has now.
        """
        wanted = {part.name: part for part in partitions}
        sources = {part.source for part in partitions}
        done = []
        for name in self.names():
            about = self.about(name)
            if name not in wanted:
                source, rule = about["of"]["source"], "each survey needs a folder of its own"
                if source in sources:
                    rule = f"{source} has other blocks now, so remove the file, or choose another folder"
                raise FileFormatError(f"{self._address(name)}: is of no partition of this survey: {rule}")
            if about["metrics"] != list(self.metrics):
                text = f"is of the metrics {', '.join(about['metrics'])}, not {', '.join(self.metrics)}"
                raise FileFormatError(f"{self._address(name)}: {text}: each survey needs a folder of its own")
            if about["of"] == wanted[name].identity and about["version"] == __version__:
                done.append(wanted[name])
        return done

    def about(self, name: str) -> dict[str, Any]:
        """What a file says of itself: `metrics`, the identity `of` its partition, the `version` that made it.

        Raises
        ------
        FileFormatError
            If it is not a file of a survey.
        """
        import pyarrow.parquet as pq

        address = self._address(name)
        with reading(Path(address), "not a file of a survey"):
            known = pq.read_schema(self._source(address)).metadata or {}
            if known.get(SCHEMA_KEY) != SURVEY_SCHEMA:
                raise FileFormatError(f"{address}: not a file of a survey: must have the schema {SURVEY_SCHEMA.decode()}")
            about = json.loads(known[_ABOUT])
            door.instance("metrics", about["metrics"], list)
            columns_of(about["metrics"])  # a newer version may have written others
            door.instance("of", about["of"], dict)
            door.text("source", about["of"]["source"])
            return {key: about[key] for key in ("metrics", "of", "version")}

    def write(self, partition: Partition, table: pa.Table) -> int:
        """Put the file of a partition there, whole, over an older one; returns its rows.

        Raises
        ------
        OSError
            If the system, or the file system of an address, refuses to write.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = {"metrics": list(self.metrics), "of": partition.identity, "version": __version__}
        kept = dict(table.schema.metadata or {}) | {SCHEMA_KEY: SURVEY_SCHEMA, _ABOUT: json.dumps(about).encode()}
        made, address = table.replace_schema_metadata(kept), self._address(partition.name)
        options = {"compression": "zstd", "write_page_checksum": True}
        if self.remote:
            whole = pa.BufferOutputStream()
            pq.write_table(made, whole, **options)
            Remote(address).write(whole.getvalue().to_pybytes())
        else:
            with replacing(Path(address)) as (beside,):
                pq.write_table(made, beside, **options)
        return len(table)

    def read(self, names: Sequence[str]) -> pa.Table:
        """The rows of some files, in that order.

        Raises
        ------
        FileFormatError
            If a file is damaged, or its columns are not those of the metrics.
        """
        import pyarrow as pa

        schema = schema_of(self.metrics)
        tables = [schema.empty_table()]
        for name in names:
            tables.append(self._read(name, schema))
        return pa.concat_tables(tables).combine_chunks()

    def _read(self, name: str, schema: pa.Schema) -> pa.Table:
        import pyarrow.parquet as pq

        address = self._address(name)
        with reading(Path(address), "damaged"):
            table = pq.ParquetFile(self._source(address), page_checksum_verification=True).read()
            if not table.schema.remove_metadata().equals(schema.remove_metadata()):
                raise FileFormatError(f"{address}: columns {table.column_names}: must be those of {', '.join(self.metrics)}")
            return table.replace_schema_metadata(None).cast(schema)


def do_partition(
    partition: Partition, metrics: Sequence[str], parts: Parts | None, retries: int
) -> tuple[str, pa.Table | None]:
    """One partition: its name, and its rows unless they were written; again after an OSError.

    Raises
    ------
    PevmError
        If its input is bad, or the system failed more often than `retries` allow.
    """
    for left in range(retries, -1, -1):
        try:
            table = survey_partition(partition, metrics)
            if parts is None:
                return partition.name, table
            parts.write(partition, table)
            return partition.name, None
        except OSError as error:
            log.warning("%s: %s; %d tries left", partition.source, error, left)
            if not left:
                raise FileFormatError(f"{partition.source}: {error} ({retries + 1} times)") from error
    raise AssertionError("a loop over at least one try ends above")
