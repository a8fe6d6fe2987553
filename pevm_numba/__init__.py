"""A laboratory for parallel EVM execution: find conflicts, schedule, execute on every core, prove the result right."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access.oracles import access_sets as access_sets
    from .access.oracles import degrade as degrade
    from .access.quality import accuracy as accuracy
    from .access.sets import AccessSets as AccessSets
    from .access.view import select as select
    from .block import Block as Block
    from .block import Header as Header
    from .errors import PevmError as PevmError
    from .execute.result import Execution as Execution
    from .execute.run import execute as execute
    from .generate import generate as generate
    from .io.files import read_block as read_block
    from .io.files import read_blocks as read_blocks
    from .io.files import write_blocks as write_blocks
    from .machine.gas import GasSchedule as GasSchedule
    from .machine.gas import gas_schedule as gas_schedule
    from .machine.ops import Field as Field
    from .machine.ops import Mode as Mode
    from .machine.ops import Op as Op
    from .machine.ops import Status as Status
    from .schedule.check import check_schedule as check_schedule
    from .schedule.conflicts import conflict_counts as conflict_counts
    from .schedule.conflicts import conflict_graph as conflict_graph
    from .schedule.dependencies import dependencies as dependencies
    from .schedule.plan import Schedule as Schedule
    from .schedule.policies import schedule as schedule
    from .workload import OpMix as OpMix

__version__ = "0.1.0"

#: Public name -> module that holds it; loaded at first use, so that `import pevm_numba` stays fast.
_HOMES = {
    "AccessSets": "access.sets",
    "Block": "block",
    "Execution": "execute.result",
    "Field": "machine.ops",
    "GasSchedule": "machine.gas",
    "Header": "block",
    "OpMix": "workload",
    "Mode": "machine.ops",
    "Op": "machine.ops",
    "PevmError": "errors",
    "Schedule": "schedule.plan",
    "Status": "machine.ops",
    "access_sets": "access.oracles",
    "accuracy": "access.quality",
    "check_schedule": "schedule.check",
    "conflict_counts": "schedule.conflicts",
    "conflict_graph": "schedule.conflicts",
    "degrade": "access.oracles",
    "dependencies": "schedule.dependencies",
    "execute": "execute.run",
    "gas_schedule": "machine.gas",
    "generate": "generate",
    "read_block": "io.files",
    "read_blocks": "io.files",
    "schedule": "schedule.policies",
    "select": "access.view",
    "write_blocks": "io.files",
}

__all__ = [*_HOMES, "__version__"]


class _Package(ModuleType):
    """Keeps `generate` and `schedule` the functions: importing the submodules of that name would bind the modules."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
