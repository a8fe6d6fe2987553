"""One worker: an arena, and what its kernels leave for Python to do."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from time import thread_time_ns
from typing import Final

import numpy as np

from .._kernels.evm import layout
from .._kernels.evm.asking import step
from .._kernels.evm.blocks import work
from .._kernels.evm.compiling import compile_kernels
from .._kernels.evm.interpreter import interpret
from .._kernels.evm.linking import address_of_kernel
from .._kernels.evm.native import run_precompile
from .._kernels.evm.regions import REGIONS
from .._kernels.evm.transactions import run_transaction
from ..errors import ExecutionError
from .arena import Arena, Room
from .encoding import set_environment
from .header import BlockEnv
from .precompiles import call
from .precompiles.bn128_plain import TWIST_B
from .precompiles.native import natives

__all__ = ["Worker"]

#: Kernels that kernels call by address, by field of a context, with how many integers.
_CALLED: Final = {
    "interpreter": (interpret, 1), "runner": (run_transaction, 2), "server": (run_precompile, 1), "stepper": (step, 1),
}  # fmt: skip

#: Fields of a context, and names of `natives`: of each library all are there or none is used.
_NATIVES: Final = (
    {
        "secp256k1": "secp256k1_context",
        "parse_signature": "secp256k1_ecdsa_recoverable_signature_parse_compact",
        "recover_key": "secp256k1_ecdsa_recover",
        "write_key": "secp256k1_ec_pubkey_serialize",
    },
    {"sha256": "SHA256"},
    {"ripemd160": "RIPEMD160"},
    {
        "fp_read": "mclBnFp_deserialize", "fp_write": "mclBnFp_serialize", "fp_multiply": "mclBnFp_mul",
        "fp_add": "mclBnFp_add", "fp_equal": "mclBnFp_isEqual", "fr_read": "mclBnFr_setLittleEndianMod",
        "g1_zero": "mclBnG1_isZero", "g1_add": "mclBnG1_add", "g1_multiply": "mclBnG1_mul",
        "g1_normalize": "mclBnG1_normalize", "fp2_multiply": "mclBnFp2_mul",
        "fp2_add": "mclBnFp2_add", "fp2_equal": "mclBnFp2_isEqual", "g2_order": "mclBnG2_isValidOrder",
        "miller_loop": "mclBn_millerLoopVec", "final_power": "mclBn_finalExp", "gt_multiply": "mclBnGT_mul",
        "gt_one": "mclBnGT_isOne",
    },
)  # fmt: skip


class Worker:
    """Who runs transactions: an arena, beside that of another worker or with tables of its own.

    Examples
    --------
    >>> from .forks import Fork
    >>> worker = Worker(BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN))
    >>> beside = Worker(worker.env, beside=worker.arena, number=1)
    >>> beside.arena["keys"] == worker.arena["keys"], beside.arena["accounts"] == worker.arena["accounts"]
    (True, False)
    """

    def __init__(self, env: BlockEnv, room: Room | None = None, beside: Arena | None = None, number: int = 0) -> None:
        self.env = env
        self.arena = Arena(env.fork, room, beside)
        #: Why precompiles could not be run, by transaction.
        self.problems: dict[int, Exception] = {}
        #: Called before each step, where `Arena.step` says so.
        self.look: Callable[[], object] | None = None
        self._fetch: Callable[[Arena], object] | None = None
        set_environment(self.arena, env)
        self.arena["worker"] = number
        self._set_natives()
        # the interpreter, which is first, takes as long to compile as all others
        compile_kernels((*_CALLED.values(), (work, 2)))
        for field, called in _CALLED.items():
            self.arena[field] = address_of_kernel(*called)
        #: Where an arena begins to fill with what transactions leave behind.
        self._tops = {name: self.arena[name] for name in ("logs", "log_data", "log_room", "notes", "cells")}
        if beside is not None:
            self.arena["bare_storage"] = int(beside["bare_storage"])

    def _set_natives(self) -> None:
        """Functions of libraries that kernels may call by their addresses."""
        found = natives()
        for library in _NATIVES:
            if all(found[name] for name in library.values()):
                for field, name in library.items():
                    self.arena[field] = found[name]
        constant = b"".join(part.to_bytes(32, "little") for part in TWIST_B)
        self.arena.buffer("curve")[: len(constant)] = np.frombuffer(constant, np.uint8)

    def defer(self, fetch: Callable[[Arena], object]) -> None:
        """From here on have something called to fetch what of the state is not there, when it is first needed."""
        self.arena.defer()
        self._fetch = fetch

    def forget(self) -> None:
        """Drop logs, notes and changes of earlier transactions, and one that was suspended."""
        for name, value in self._tops.items():
            self.arena[name] = value
        self.arena["status"] = layout.OK
        for name in ("n_held", "executions", "untold", "cpu"):
            self.arena[name] = 0
        self.arena["first_cell"] = self.arena["cells"]
        self.problems = {}

    @property
    def suspended(self) -> bool:
        """Whether its transaction waits for an answer."""
        return self.arena["status"] == layout.SUSPENDED

    def work(self, block: int) -> None:
        """Take part in the block whose record is at that address until there is no more to do, and answer what is asked.

        Raises
        ------
        ExecutionError
            If (in builds that check it) the kernels reached for memory not theirs.
        """
        stop, failed = (ctypes.c_int64.from_address(block + layout.BLOCK.numbers[name]) for name in ("stop", "failed"))
        while True:
            if self.suspended and not self.answer():
                stop.value, failed.value = layout.FULL, self.arena["position"]
                break
            work(self.arena.address, block)
            if not self.suspended or stop.value:
                break
        self.check()

    def check(self) -> None:
        """Raise if kernels have reached for memory not theirs; `work` does."""
        outside = REGIONS.violation()
        if outside:
            raise ExecutionError(f"the machine reached for address {outside:#x}, which is not its own: a defect")

    def answer(self) -> bool:
        """Do what the kernels have left for, so that they can go on; whether there was room for what came of it.

        What is raised here passes through: the transaction stays suspended, and the next `forget` drops it.
        """
        arena, start = self.arena, thread_time_ns()
        asked, fits = arena["asks"], True
        if asked == layout.ASKS_PRECOMPILE:
            fits = self._precompile()
        elif asked == layout.ASKS_STEP and self.look is not None:
            self.look()
        elif self._fetch is not None:
            self._fetch(arena)
            fits = arena["status"] != layout.FULL
        arena["asks"] = layout.ASKS_NOTHING
        arena["cpu"] += thread_time_ns() - start
        return fits

    def _precompile(self) -> bool:
        """Run the precompile that is asked for; whether there is room for what it returns.

        What `call` cannot do is the transaction's problem, which may have been run too early, on what is not so.
        """
        arena = self.arena
        data = ctypes.string_at(arena["host_input"], arena["host_size"])
        try:
            ok, used, output = call(self.env.fork, arena["host_address"], data, arena["host_gas"])
        except (ExecutionError, MemoryError) as problem:
            self.problems[arena["position"]] = problem
            arena["host_ok"] = layout.HOST_CANNOT
            return True
        if len(output) > arena["returned_room"]:
            return False
        ctypes.memmove(arena["returned"], output, len(output))
        arena["host_used"], arena["returned_size"] = used, len(output)
        arena["host_ok"] = layout.HOST_DONE if ok else layout.HOST_FAILED
        return True
