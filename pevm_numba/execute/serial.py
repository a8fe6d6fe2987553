"""Serial execution: one core, in the promised order. Every other executor is compared with this one.

An engine that groups runs another order with the same outcome: within a level of the dependencies nobody conflicts, so
transactions of one shape can be put beside each other there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..engines.shapes import by_shape
from ..schedule.policies import schedule
from .launch import launch
from .micro_op_job import MicroOpJob
from .workspace import Workspace

__all__ = ["SerialJob"]


class SerialJob(MicroOpJob):
    """All transactions one after the other."""

    name = "serial"

    def prepare(self) -> None:
        """Buffers for one worker."""
        self.space = Workspace(self.block, self.gas, timed=self.timed, engine=self.engine)
        self.run_order: NDArray[np.int32] | None = None

    def plan(self) -> None:
        """Nothing to decide, but for an engine that groups."""
        self.run_order = None
        if self.engine.group:
            # levels of the footprints, in the promised order, whatever a schedule and an estimate say
            levels = schedule(self.promised, "levels")
            tx = levels.wave_tx if self.order is None else self.order[levels.wave_tx]
            self.run_order = by_shape(levels.wave_indptr, tx, self.space.program.shapes)

    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run in the promised order, or, planned by an engine that groups, one that comes to the same."""
        order = self.order if self.run_order is None else self.run_order
        _, timings = launch(*self.space.serial_call(order), self.space, threads=0)
        return self.counted(), timings
