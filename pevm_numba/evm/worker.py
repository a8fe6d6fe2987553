"""One worker: an arena, and what its kernels call back into Python for."""

from __future__ import annotations

import ctypes
import weakref
from typing import Final

import numpy as np

from .._kernels.evm import layout
from .._kernels.evm.blocks import work
from .._kernels.evm.interpreter import interpret
from .._kernels.evm.linking import address_of_kernel
from .._kernels.evm.native import run_precompile
from .._kernels.evm.regions import REGIONS
from .._kernels.evm.transactions import run_transaction
from ..errors import ExecutionError
from ..patience import callback
from .arena import Arena, Room
from .encoding import set_environment
from .header import BlockEnv
from .precompiles import call
from .precompiles.bn128_plain import TWIST_B
from .precompiles.native import natives

__all__ = ["Worker"]

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
        self._interruption: BaseException | None = None
        set_environment(self.arena, env)
        self._listen()
        self.arena["worker"] = number
        self._set_natives()
        self.arena["interpreter"] = address_of_kernel(interpret, 1)
        self.arena["runner"] = address_of_kernel(run_transaction)
        self.arena["server"] = address_of_kernel(run_precompile, 1)
        #: Where an arena begins to fill with what transactions leave behind.
        self._tops = {name: self.arena[name] for name in ("logs", "log_data", "log_room", "notes", "cells")}
        if beside is not None:
            self.arena["bare_storage"] = int(beside["bare_storage"])

    def _listen(self) -> None:
        """Be there for what kernels ask of the host."""
        this = weakref.ref(self)  # a strong one would be a cycle, and keep the arena until the collector comes by

        def serve() -> None:
            worker = this()
            if worker is not None:
                worker._precompile()

        def failed(problem: BaseException) -> None:
            worker = this()
            if worker is not None:
                worker._interruption = problem

        self._callback = callback(serve, failed)
        self.arena["host"] = ctypes.cast(self._callback, ctypes.c_void_p).value or 0

    def _set_natives(self) -> None:
        """Functions of libraries that kernels may call by their addresses."""
        found = natives()
        for library in _NATIVES:
            if all(found[name] for name in library.values()):
                for field, name in library.items():
                    self.arena[field] = found[name]
        constant = b"".join(part.to_bytes(32, "little") for part in TWIST_B)
        self.arena.buffer("curve")[: len(constant)] = np.frombuffer(constant, np.uint8)

    def forget(self) -> None:
        """Drop logs, notes and changes of earlier transactions."""
        for name, value in self._tops.items():
            self.arena[name] = value
        self.arena["status"], self.arena["host_ok"] = layout.OK, layout.HOST_FAILED
        self.problems, self._interruption = {}, None
        self.arena.buffer("fingers")[:] = 0

    def work(self, block: int) -> None:
        """Take part in the block whose record is at that address.

        Raises
        ------
        BaseException
            What a signal's handler raised while a precompile was served.
        ExecutionError
            If (in builds that check it) the kernels reached for memory not theirs.
        """
        work(self.arena.address, block)
        self.check()

    def check(self) -> None:
        """Raise what went wrong while kernels ran; `work` does."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption
        if self.arena["host_ok"] == layout.HOST_LOST:  # no room for one more call, for one
            self._listen()
            raise ExecutionError("Python could not be asked to run a precompile, for the reason that it has reported")
        outside = REGIONS.violation()
        if outside:
            raise ExecutionError(f"the machine reached for address {outside:#x}, which is not its own: a defect")

    def _precompile(self) -> None:
        """Called by the kernels, which do not have the interpreter's lock.

        What `call` cannot do is the transaction's problem, which may have been run too early, on what is not so. What else is
        raised ends the run, and is raised again when the kernels have returned.
        """
        arena = self.arena
        data = ctypes.string_at(arena["host_input"], arena["host_size"])
        try:
            ok, used, output = call(self.env.fork, arena["host_address"], data, arena["host_gas"])
        except (ExecutionError, MemoryError) as problem:
            self.problems[arena["position"]] = problem
            arena["host_ok"] = layout.HOST_CANNOT
            return
        if len(output) > arena["returned_room"]:
            arena["status"], arena["host_ok"] = layout.FULL, layout.HOST_FAILED
            return
        ctypes.memmove(arena["returned"], output, len(output))
        arena["host_used"], arena["returned_size"] = used, len(output)
        arena["host_ok"] = layout.HOST_DONE if ok else layout.HOST_FAILED
