"""Serial execution: one core, in the promised order. Every other executor is compared with this one."""

from __future__ import annotations

from .launch import launch
from .micro_op_job import MicroOpJob
from .workspace import Workspace

__all__ = ["SerialJob"]


class SerialJob(MicroOpJob):
    """All transactions one after the other."""

    name = "serial"

    def prepare(self) -> None:
        """Buffers for one worker."""
        self.space = Workspace(self.block, self.gas, timed=self.timed)

    def plan(self) -> None:
        """Nothing to decide."""

    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run in the promised order."""
        _, timings = launch(*self.space.serial_call(self.order), self.space, threads=0)
        return self.counted(), timings
