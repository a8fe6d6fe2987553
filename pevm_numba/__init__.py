"""A laboratory for parallel EVM execution: find conflicts, schedule, execute on every core, prove the result right."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access.asking import ask_layouts as ask_layouts
    from .access.block_list import BlockAccessList as BlockAccessList
    from .access.eip2930_tried import optimal_access_lists as optimal_access_lists
    from .access.eip7928 import AccountChanges as AccountChanges
    from .access.eip7928 import Eip7928List as Eip7928List
    from .access.eip7928_sets import sets_of_list as sets_of_list
    from .access.oracles import access_sets as access_sets
    from .access.oracles import degrade as degrade
    from .access.pattern_library import built_in_patterns as built_in_patterns
    from .access.patterns import Patterns as Patterns
    from .access.prediction import learn_block as learn_block
    from .access.prediction import predict as predict
    from .access.quality import accuracy as accuracy
    from .access.sets import AccessSets as AccessSets
    from .access.view import select as select
    from .blobs.building import BlobBlock as BlobBlock
    from .blobs.building import build_blob_block as build_blob_block
    from .blobs.demand import BlobUsers as BlobUsers
    from .blobs.demand import blob_demand as blob_demand
    from .blobs.market import blob_base_fee as blob_base_fee
    from .blobs.market import excess_at_fee as excess_at_fee
    from .blobs.market import fake_exponential as fake_exponential
    from .blobs.market import next_excess_blob_gas as next_excess_blob_gas
    from .blobs.rules import check_blob_transaction as check_blob_transaction
    from .blobs.simulation import BlobSimulation as BlobSimulation
    from .blobs.simulation import simulate_blobs as simulate_blobs
    from .blobs.work import blob_costs as blob_costs
    from .blobs.work import blob_counts as blob_counts
    from .block import Block as Block
    from .block import Header as Header
    from .dispute.agreement import Agreement as Agreement
    from .dispute.commitment import Commitment as Commitment
    from .dispute.commitment import commit as commit
    from .dispute.faults import faulty_party as faulty_party
    from .dispute.game import play as play
    from .dispute.game import replay as replay
    from .dispute.transcript import Transcript as Transcript
    from .dispute.transcript import Verdict as Verdict
    from .dispute.verify import StepProof as StepProof
    from .dispute.verify import verify_step as verify_step
    from .engines.engine import Engine as Engine
    from .errors import PevmError as PevmError
    from .evm.block import EvmBlock as EvmBlock
    from .evm.forks import BlobParameters as BlobParameters
    from .evm.forks import blob_parameters as blob_parameters
    from .evm.observation import EvmAccessList as EvmAccessList
    from .evm.workloads import generate_evm as generate_evm
    from .execute.chain import ChainStep as ChainStep
    from .execute.chain import run_chain as run_chain
    from .execute.costs import transaction_costs as transaction_costs
    from .execute.difference import ExecutionDiff as ExecutionDiff
    from .execute.difference import Unequal as Unequal
    from .execute.evm_result import EvmExecution as EvmExecution
    from .execute.result import Execution as Execution
    from .execute.result import TxTimes as TxTimes
    from .execute.run import execute as execute
    from .execute.shapes import shapes as shapes
    from .generate import generate as generate
    from .io.access_lists import read_block_list as read_block_list
    from .io.evm_tables import read_evm_blocks as read_evm_blocks
    from .io.execution_file import read_execution as read_execution
    from .io.execution_file import write_execution as write_execution
    from .io.files import read_block as read_block
    from .io.files import read_blocks as read_blocks
    from .io.files import write_blocks as write_blocks
    from .io.node_json import read_node_block as read_node_block
    from .io.node_json_write import write_node_block as write_node_block
    from .io.pattern_file import read_patterns as read_patterns
    from .io.pattern_file import write_patterns as write_patterns
    from .io.schedule_file import read_schedule as read_schedule
    from .io.schedule_file import write_schedule as write_schedule
    from .io.state_file import load_state as load_state
    from .io.state_file import write_state as write_state
    from .keys import KeyTable as KeyTable
    from .keys import StateChange as StateChange
    from .machine.gas import GasSchedule as GasSchedule
    from .machine.gas import gas_schedule as gas_schedule
    from .machine.ops import Field as Field
    from .machine.ops import Mode as Mode
    from .machine.ops import Op as Op
    from .machine.ops import Status as Status
    from .schedule.bounds import Bounds as Bounds
    from .schedule.bounds import bounds as bounds
    from .schedule.building import BuiltBlock as BuiltBlock
    from .schedule.building import build_block as build_block
    from .schedule.check import check_schedule as check_schedule
    from .schedule.conflicts import conflict_counts as conflict_counts
    from .schedule.conflicts import conflict_graph as conflict_graph
    from .schedule.dependencies import Dependencies as Dependencies
    from .schedule.dependencies import EdgeKind as EdgeKind
    from .schedule.dependencies import dependencies as dependencies
    from .schedule.exact import Optimum as Optimum
    from .schedule.exact import largest_independent_set as largest_independent_set
    from .schedule.exact import optimal_makespan as optimal_makespan
    from .schedule.exact import optimal_waves as optimal_waves
    from .schedule.optimality import Ratio as Ratio
    from .schedule.optimality import optimality as optimality
    from .schedule.plan import Schedule as Schedule
    from .schedule.policies import schedule as schedule
    from .schedule.simulate import Overheads as Overheads
    from .schedule.simulate import Simulation as Simulation
    from .schedule.simulate import compare as compare
    from .schedule.simulate import simulate as simulate
    from .schedule.timeline import Timeline as Timeline
    from .storage.base import StateStore as StateStore
    from .storage.checking import StoreReport as StoreReport
    from .storage.checking import Unlike as Unlike
    from .storage.checking import compare_stores as compare_stores
    from .storage.checking import verify_store as verify_store
    from .storage.delayed import DelayedStore as DelayedStore
    from .storage.latency import StoreMetrics as StoreMetrics
    from .storage.memory import MemoryStore as MemoryStore
    from .storage.opening import open_store as open_store
    from .storage.store import Store as Store
    from .storage.world import put_before as put_before
    from .storage.world import put_world as put_world
    from .storage.world import read_world as read_world
    from .survey.result import Survey as Survey
    from .survey.result import read_survey as read_survey
    from .survey.run import survey as survey
    from .tabular import to_arrow as to_arrow
    from .tabular import to_pandas as to_pandas
    from .versions import show_versions as show_versions
    from .versions import versions as versions
    from .workload import OpMix as OpMix

__version__ = "0.1.0"

#: Public name -> module that holds it; loaded at first use, so that `import pevm_numba` stays fast.
_HOMES = {
    "AccessSets": "access.sets",
    "AccountChanges": "access.eip7928",
    "Agreement": "dispute.agreement",
    "BlobBlock": "blobs.building",
    "BlobParameters": "evm.forks",
    "BlobSimulation": "blobs.simulation",
    "BlobUsers": "blobs.demand",
    "Block": "block",
    "BlockAccessList": "access.block_list",
    "Bounds": "schedule.bounds",
    "BuiltBlock": "schedule.building",
    "ChainStep": "execute.chain",
    "Commitment": "dispute.commitment",
    "DelayedStore": "storage.delayed",
    "Dependencies": "schedule.dependencies",
    "EdgeKind": "schedule.dependencies",
    "Eip7928List": "access.eip7928",
    "Engine": "engines.engine",
    "EvmAccessList": "evm.observation",
    "EvmBlock": "evm.block",
    "EvmExecution": "execute.evm_result",
    "Execution": "execute.result",
    "ExecutionDiff": "execute.difference",
    "Field": "machine.ops",
    "GasSchedule": "machine.gas",
    "Header": "block",
    "KeyTable": "keys",
    "MemoryStore": "storage.memory",
    "Mode": "machine.ops",
    "Op": "machine.ops",
    "OpMix": "workload",
    "Optimum": "schedule.exact",
    "Overheads": "schedule.simulate",
    "Patterns": "access.patterns",
    "PevmError": "errors",
    "Ratio": "schedule.optimality",
    "Schedule": "schedule.plan",
    "Simulation": "schedule.simulate",
    "StateChange": "keys",
    "StateStore": "storage.base",
    "Status": "machine.ops",
    "StepProof": "dispute.verify",
    "Store": "storage.store",
    "StoreMetrics": "storage.latency",
    "StoreReport": "storage.checking",
    "Survey": "survey.result",
    "Timeline": "schedule.timeline",
    "Transcript": "dispute.transcript",
    "TxTimes": "execute.result",
    "Unequal": "execute.difference",
    "Unlike": "storage.checking",
    "Verdict": "dispute.transcript",
    "access_sets": "access.oracles",
    "accuracy": "access.quality",
    "ask_layouts": "access.asking",
    "blob_base_fee": "blobs.market",
    "blob_costs": "blobs.work",
    "blob_counts": "blobs.work",
    "blob_demand": "blobs.demand",
    "blob_parameters": "evm.forks",
    "bounds": "schedule.bounds",
    "build_blob_block": "blobs.building",
    "build_block": "schedule.building",
    "built_in_patterns": "access.pattern_library",
    "check_blob_transaction": "blobs.rules",
    "check_schedule": "schedule.check",
    "commit": "dispute.commitment",
    "compare": "schedule.simulate",
    "compare_stores": "storage.checking",
    "conflict_counts": "schedule.conflicts",
    "conflict_graph": "schedule.conflicts",
    "degrade": "access.oracles",
    "dependencies": "schedule.dependencies",
    "excess_at_fee": "blobs.market",
    "execute": "execute.run",
    "fake_exponential": "blobs.market",
    "faulty_party": "dispute.faults",
    "gas_schedule": "machine.gas",
    "generate": "generate",
    "generate_evm": "evm.workloads",
    "largest_independent_set": "schedule.exact",
    "learn_block": "access.prediction",
    "load_state": "io.state_file",
    "next_excess_blob_gas": "blobs.market",
    "open_store": "storage.opening",
    "optimal_access_lists": "access.eip2930_tried",
    "optimal_makespan": "schedule.exact",
    "optimal_waves": "schedule.exact",
    "optimality": "schedule.optimality",
    "play": "dispute.game",
    "predict": "access.prediction",
    "put_before": "storage.world",
    "put_world": "storage.world",
    "read_block": "io.files",
    "read_block_list": "io.access_lists",
    "read_blocks": "io.files",
    "read_evm_blocks": "io.evm_tables",
    "read_execution": "io.execution_file",
    "read_node_block": "io.node_json",
    "read_patterns": "io.pattern_file",
    "read_schedule": "io.schedule_file",
    "read_survey": "survey.result",
    "read_world": "storage.world",
    "replay": "dispute.game",
    "run_chain": "execute.chain",
    "schedule": "schedule.policies",
    "select": "access.view",
    "sets_of_list": "access.eip7928_sets",
    "shapes": "execute.shapes",
    "show_versions": "versions",
    "simulate": "schedule.simulate",
    "simulate_blobs": "blobs.simulation",
    "survey": "survey.run",
    "to_arrow": "tabular",
    "to_pandas": "tabular",
    "transaction_costs": "execute.costs",
    "verify_step": "dispute.verify",
    "verify_store": "storage.checking",
    "versions": "versions",
    "write_blocks": "io.files",
    "write_execution": "io.execution_file",
    "write_node_block": "io.node_json_write",
    "write_patterns": "io.pattern_file",
    "write_schedule": "io.schedule_file",
    "write_state": "io.state_file",
}

__all__ = sorted([*_HOMES, "__version__"])


class _Package(ModuleType):
    """Keeps `generate` and `schedule` the functions: importing the submodules of that name would bind the modules."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


if not TYPE_CHECKING:  # or type checkers would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return list(__all__)
