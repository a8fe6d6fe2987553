"""A survey on Dask: one task a partition. Dask starts the tasks of a lost worker again elsewhere; what is written stays."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import PevmError
from .partitions import Partition
from .parts import Parts, do_partition

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["connected", "local_cluster", "on_cluster"]


def connected(client: Any) -> Any:
    """A `distributed.Client`: itself, or one of a scheduler's address.

    Raises
    ------
    PevmError
        If Dask is not installed, it is neither, it is closed, or nobody answers at the address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise PevmError('a cluster needs Dask: pip install "pevm-numba[distributed]"') from None
    if isinstance(client, Client):
        if client.status in ("closing", "closed"):
            raise PevmError(f"client = {client!r}: is closed: must be connected to a scheduler")
        return client
    if not isinstance(client, str):
        raise PevmError(f"client = {client!r}: must be a distributed.Client or the address of a scheduler")
    try:
        return Client(client, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise PevmError(f"client = {client!r}: no scheduler there: {error}") from None


def on_cluster(
    client: Any, partitions: Sequence[Partition], metrics: Sequence[str], parts: Parts | None, retries: int
) -> Generator[Callable[[], tuple[str, pa.Table | None]], None, None]:
    """Partitions as they are done, in any order: what waits for each, as `do_partition` gives it.

    Notes
    -----
    Each task is a pure function of its partition and writes one file, whole, so a task that is run again, or twice, leaves
    the same.
    """
    link = connected(client)
    from distributed import as_completed

    token = secrets.token_hex(4)  # tasks of an earlier survey on the same cluster are not these
    try:
        task = partial(do_partition, metrics=tuple(metrics), parts=parts, retries=retries)
        futures = link.map(task, partitions, key=[f"survey-{token}-{part.name}" for part in partitions])
        for future in as_completed(futures, loop=link.loop):
            yield partial(_result, future)
            future.release()
    finally:
        if link is not client:
            link.close()


def _result(future: Any) -> tuple[str, pa.Table | None]:
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except (KilledWorker, CancelledError) as error:
        raise PevmError(f"{future.key}: {error}") from error


@contextmanager
def local_cluster(processes: int) -> Iterator[Any]:
    """A client of so many worker processes of one thread each on this machine, ended afterwards.

    Raises
    ------
    PevmError
        If Dask is not installed.
    """
    try:
        import dask

        dask.config.set({"logging.distributed": "error"})  # read when distributed is imported, and by its workers
        from distributed import Client, LocalCluster
    except ImportError:
        raise PevmError('a cluster needs Dask: pip install "pevm-numba[distributed]"') from None
    # or it asks for port 8787 on all addresses, and warns if another has it
    scheduler = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    options = {"n_workers": processes, "threads_per_worker": 1, "scheduler_kwargs": scheduler, "silence_logs": 40}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        yield client
