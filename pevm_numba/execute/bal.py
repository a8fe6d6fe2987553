"""Running from a block access list: every transaction at once, each checked against what the list says it leaves behind.

A list is accepted iff each transaction's net changes are its entries and the keys accessed but changed by none are those
listed as read. Otherwise it is rejected, naming the first (transaction, key) in the serial order that differs.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import door, programs
from .._kernels import bal as _k
from .._kernels.control import PAD
from .._kernels.jit import read_only
from ..access.block_list import BlockAccessList
from ..access.eip7928 import Eip7928List
from ..access.eip7928_build import changes_of_block, check_accounts
from ..block import Block
from ..errors import AccessListError, BlockError
from .launch import launch
from .micro_op_job import MicroOpJob
from .workspace import Workspace

__all__ = ["BalJob"]

#: Guessed nanoseconds of work that a worker claims at a time, and the most transactions.
_CHUNK_WORK: Final = 16_000
_CHUNK_MOST: Final = 64


class BalJob(MicroOpJob):
    """All transactions at once, from `access_list`."""

    name = "bal"

    def prepare(self) -> None:
        """Buffers for all workers, one row for each entry of the footprint among them."""
        block, n = self.block, len(self.block.footprint_keys)
        self.space = Workspace(
            block, self.gas, workers=self.workers, layout="entries", cells=_k.BAL_CELLS, timed=self.timed,
            engine=self.engine,
        )  # fmt: skip
        self.counters = np.zeros((self.workers, PAD), np.int64)
        self.rows = self.space.zeros((n, 4), np.uint64), np.zeros((n, 4), np.uint64)
        self.touched = np.zeros(block.n_keys, np.uint8)
        self.chunk = self.claim_size(_CHUNK_WORK, _CHUNK_MOST)

    @cached_property
    def _from_wire(self) -> tuple[BlockAccessList, NDArray[np.bool_]] | None:
        """By the block's keys what a list says that has come without them."""
        return changes_of_block(self.access_list, self.block) if isinstance(self.access_list, Eip7928List) else None

    @property
    def either_way(self) -> NDArray[np.bool_] | None:
        """(n_keys,) bool of keys that may be only read or not: a list as clients exchange it does not tell."""
        return None if self._from_wire is None else self._from_wire[1]

    @property
    def listed(self) -> BlockAccessList:
        """The list to run from.

        Raises
        ------
        BlockError
            If it is missing, or for another number of transactions or keys.
        """
        listed = self.access_list if self._from_wire is None else self._from_wire[0]
        door.instance("access_list", listed, BlockAccessList)
        have, want = (listed.n_tx, listed.n_keys), (self.block.n_tx, self.block.n_keys)
        if have != want:
            raise BlockError(
                f"access_list of {have[0]} transactions and {have[1]} keys: the block has {want[0]} and {want[1]}"
            )
        return listed

    def plan(self) -> None:
        """Find for each entry of the footprint the entry of the list that it reads."""
        block, listed = self.block, self.listed
        source, last = np.empty(len(block.footprint_keys), np.int32), np.full(block.n_keys, -1, np.int32)
        order, (indptr, keys, modes) = self.space.in_order(self.order), self.space.footprint
        entries = read_only(listed.indptr), read_only(listed.keys)
        _k.find_sources(order, indptr, keys, *entries, last, source)
        only_read = np.zeros(block.n_keys, np.uint8)
        only_read[listed.reads] = 1
        if self.either_way is not None:
            only_read[self.either_way] = _k.EITHER_WAY
        self.entries = _k.Listed(
            indptr, keys, modes, read_only(source), *entries, read_only(listed.values), read_only(last),
            read_only(only_read), read_only(block.pre_values), *self.rows, self.touched,
        )  # fmt: skip

    def reset(self) -> None:
        """State before the block, nothing touched."""
        self.space.reset()
        self.counters[:] = 0
        self.touched[:] = 0

    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run all transactions and check them.

        Raises
        ------
        AccessListError
            If the list does not say what the transactions do.
        """
        space = self.space
        arguments = (
            self.workers, self.threads, self.chunk, self.entries, read_only(self.block.op_code), space.in_order(self.order),
            space.values, self.counters, *space.context(self.rows[0]),
        )  # fmt: skip
        _, timings = launch(_k.run_bal, arguments, space, threads=self.workers)
        self._reject()
        if self.either_way is not None:
            accessed = self.touched.astype(bool)
            accessed[self.listed.keys] = True
            check_accounts(self.access_list, self.block, accessed)
        timings["cpu_ns"] = int(self.counters[:, 0].sum())
        return self.counted(workers=self.workers, validations=self.block.n_tx), timings

    def _reject(self) -> None:
        """Raise for the first difference, if any worker found one."""
        columns = {name: self.counters[:, i] for i, name in enumerate(_k.COUNTS)}
        found = np.flatnonzero(columns["kind"])
        if not len(found):
            return
        # keys that are only read (position -1) are compared if no transaction differs
        first = min(found.tolist(), key=lambda w: (columns["position"][w], columns["key"][w]))
        position, key, kind = (int(columns[name][first]) for name in ("position", "key", "kind"))
        raise AccessListError(self._difference(position, key, kind))

    def _difference(self, position: int, key: int, kind: int) -> str:
        block = self.block
        head, name = f"block {block.number}: access list rejected", block.key_name(key)
        if kind == _k.MISSING_READ:
            return f"{head}: {name} was accessed and not changed, but is not listed as read"
        if kind == _k.SURPLUS_READ:
            return f"{head}: {name} is listed as read, but was changed or not accessed"
        t = int(self.space.in_order(self.order)[position])
        place = f"{head}: transaction {t}, {name}"
        said = self.listed[t].get(key)
        if kind == _k.SURPLUS:
            return f"{place}: listed with {said}, but the transaction does not change it"
        e = block.footprint_indptr[t] + int(np.searchsorted(_keys_of(block, t), key))
        did = programs.integers(self.rows[0][e : e + 1])[0]
        if kind == _k.MISSING:
            return f"{place}: the transaction leaves {did}, which is not listed"
        return f"{place}: listed with {said}, but the transaction leaves {did}"


def _keys_of(block: Block, t: int) -> np.ndarray:
    return block.footprint_keys[block.footprint_indptr[t] : block.footprint_indptr[t + 1]]
