"""Natural slips in calling the public functions: each is a PevmError that names argument, value and rule."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import pevm_numba as pn
from pevm_numba import door
from pevm_numba.access.eip7928 import AccountChanges, Eip7928List
from pevm_numba.access.pattern_json import patterns_from_json, patterns_to_json
from pevm_numba.errors import BlockError, PevmError, ScheduleError, TooLargeError
from pevm_numba.evm import rlp
from pevm_numba.evm.header import BlockEnv
from pevm_numba.io.access_lists import block_list_of
from pevm_numba.keys import KeyTable
from pevm_numba.schedule.bounds import critical_path_cost, speedup_bound
from pevm_numba.schedule.conflicts import all_pairs_graph
from pevm_numba.schedule.costs import cost_of
from pevm_numba.schedule.index import key_heat
from pevm_numba.schedule.listing import list_timeline, priority_order, wave_timeline

A, B = (1, 0, 0), (2, 0, 5)
BLOCK = pn.Block.from_programs(
    [[("SSTORE", A, 1)], [("SLOAD", A), ("SSTORE", B, "TOP")], [("KECCAK", b"abc")]],
    {A: 3},
    access_lists=[[(1, [0])], [], []],
    meta={"blob_count": [1, 2, None]},
)
ACCESS = pn.access_sets(BLOCK)
PLAN = pn.schedule(BLOCK)
DEPS = pn.dependencies(ACCESS)
WAVES = PLAN.wave_indptr, PLAN.wave_tx
COLUMNS: dict[str, Any] = {
    "sender": np.zeros((1, 20), np.uint8), "op_indptr": [0, 0], "op_code": [], "op_key": [], "op_arg": [],
    "key_address": np.zeros((0, 20), np.uint8), "key_field": [], "key_slot": np.zeros((0, 32), np.uint8),
}  # fmt: skip

SEE = r"must be an AccessSets, see access_sets\(block\)"
TWICE = pa.table([pa.array([1], pa.uint8()), pa.array([2], pa.uint8())], names=["blob_count", "blob_count"])


def made(programs: Any = ((),), *args: Any, **named: Any) -> pn.Block:
    """A block from whatever is given."""
    return pn.Block.from_programs(programs, *args, **named)


SLIPS: dict[str, tuple[Callable[[], Any], str]] = {
    # access sets
    "access_sets of text": (lambda: pn.access_sets("x"), "block = 'x': must be a Block"),
    "access_sets of access sets": (lambda: pn.access_sets(ACCESS), "block = <AccessSets.*: must be a Block"),
    "oracle": (lambda: pn.access_sets(BLOCK, ["static"]), r"oracle = \['static'\]: must be one of static"),
    "rates of a static oracle": (lambda: pn.access_sets(BLOCK, miss_rate=np.ones(2)), "miss_rate = .*must be a number"),
    "degrade a block": (lambda: pn.degrade(BLOCK), f"access = <Block 0.*{SEE}"),
    "degrade by text": (lambda: pn.degrade(ACCESS, "x"), "miss_rate = 'x': must be a number"),
    "accuracy against 5": (lambda: pn.accuracy(ACCESS, 5), f"truth = 5: {SEE}"),
    "accuracy of a block": (lambda: pn.accuracy(BLOCK, ACCESS), f"estimate = <Block.*{SEE}"),
    "select in a block": (lambda: pn.select(BLOCK, BLOCK), f"access = <Block.*{SEE}"),
    "select without a block": (lambda: pn.select(ACCESS, None), "block = None: must be a Block"),
    "select field 5 alone": (lambda: pn.select(ACCESS, BLOCK, fields=5), "fields = 5: must be a list of field names"),
    "select half a field": (lambda: pn.select(ACCESS, BLOCK, fields=[0.5]), "field = 0.5: must be an integer"),
    "granularity": (lambda: pn.select(ACCESS, BLOCK, granularity=np.ones(2)), "granularity = .*slot, account"),
    "footprint of text": (lambda: pn.AccessSets.footprint("x"), "block = 'x': must be a Block"),
    "from_dicts of numbers": (lambda: pn.AccessSets.from_dicts([5], 1), r"sets\[0\] = 5: must be a Mapping"),
    "from_dicts of a number": (lambda: pn.AccessSets.from_dicts(5, 1), "sets = 5: must be a list of mappings"),
    "from_dicts by name": (lambda: pn.AccessSets.from_dicts([{"a": 1, 0: 1}], 1), r"sets\[0\] key = 'a'"),
    "from_dicts, odd mode": (lambda: pn.AccessSets.from_dicts([{0: "r"}], 1), r"sets\[0\]\[0\] = 'r'"),
    "from_dicts, no n_keys": (lambda: pn.AccessSets.from_dicts([{0: 1}], None), "n_keys = None: must be an integer"),
    "sets of transaction 9": (lambda: ACCESS[9], r"transaction = 9: must be in \[0, 2\]"),
    # conflicts, dependencies, bounds
    "conflict_graph": (lambda: pn.conflict_graph(BLOCK), f"access = <Block.*{SEE}"),
    "conflict_graph limit": (lambda: pn.conflict_graph(ACCESS, limit="x"), "limit = 'x': must be an integer"),
    "conflict_graph block": (lambda: pn.conflict_graph(ACCESS, block="x"), "block = 'x': must be a Block"),
    "conflict_counts": (lambda: pn.conflict_counts(BLOCK), f"access = <Block.*{SEE}"),
    "conflict_counts work": (lambda: pn.conflict_counts(ACCESS, work_limit=1.5), "work_limit = 1.5: must be an integer"),
    "all_pairs_graph": (lambda: all_pairs_graph(BLOCK), SEE),
    "all_pairs_graph limit": (lambda: all_pairs_graph(ACCESS, limit="x"), "limit = 'x'"),
    "key_heat": (lambda: key_heat(BLOCK), SEE),
    "dependencies": (lambda: pn.dependencies(BLOCK), f"access = <Block.*{SEE}"),
    "dependencies edges": (lambda: pn.dependencies(ACCESS, edges=np.ones(2)), "edges = .*must be one of all, raw"),
    "dependencies by hand": (lambda: dataclasses.replace(pn.dependencies(ACCESS), n_tx=99), r"dependencies\(access\)"),
    "critical_path_cost": (lambda: critical_path_cost(BLOCK), SEE),
    "speedup_bound": (lambda: speedup_bound(BLOCK, None, 2), SEE),
    # schedules
    "schedule of text": (lambda: pn.schedule("x"), "block_or_access = 'x': .*must be a Block or Acc"),
    "policy list": (lambda: pn.schedule(BLOCK, []), r"policy = \[\]: must be one of levels"),
    "cost text": (lambda: pn.schedule(BLOCK, cost="x"), "cost = 'x': must be one of unit, accesses, ops, gas, chain-gas, ns"),
    "cost gas": (
        lambda: pn.schedule(BLOCK, cost="gas"),
        r"known only by running the block: .*transaction_costs\(block, 'gas'",
    ),
    "cost ns": (lambda: pn.schedule(BLOCK, cost="ns"), r"known only by running.*transaction_costs\(block, 'ns'\)"),
    "cost ops": (
        lambda: pn.schedule(pn.AccessSets.from_dicts([{}], 0), cost="ops"),
        "cost = 'ops': access sets alone do not tell it: give the block",
    ),
    "cost mapping": (lambda: pn.schedule(BLOCK, cost={0: 1}), r"cost has shape \(\), dtype object"),
    "cost of text": (lambda: pn.schedule(BLOCK, cost=["a", "b", "c"]), "cost has shape .*<U1"),
    "cost ragged": (lambda: pn.schedule(BLOCK, cost=[[1], [2, 3], []]), "cost: not an array of numbers"),
    "cost complex": (lambda: pn.schedule(BLOCK, cost=[1j, 0, 0]), "cost has shape .*complex128"),
    "cost nan": (lambda: pn.schedule(BLOCK, cost=[1, np.nan, 0]), r"cost\[1\] = nan: must be finite"),
    "workers": (lambda: pn.schedule(BLOCK, workers=2.0), "workers = 2.0: must be an integer"),
    "workers of list": (lambda: pn.schedule(BLOCK, "list", workers=2**31), r"workers = 2147483648: must be in \[1, 21"),
    "priority": (lambda: pn.schedule(BLOCK, "list", priority=5), "priority = 5 with policy list: must be one of longest"),
    "seed": (lambda: pn.schedule(BLOCK, seed=-1), r"seed = -1: must be in \[0, "),
    "transaction_costs": (lambda: pn.transaction_costs(ACCESS), "block = <AccessSets.*: must be a Block"),
    "kind of cost": (lambda: pn.transaction_costs(BLOCK, "time"), "kind = 'time': must be one of unit, accesses, ops"),
    "repeat": (lambda: pn.transaction_costs(BLOCK, "ns", repeat=0), r"repeat = 0: must be in \[1, 1000\]"),
    "list_timeline": (lambda: list_timeline(ACCESS, [0, 1, 2], 1), "dependencies = <AccessSets.*: must be a Dep"),
    "list_timeline order": (lambda: list_timeline(DEPS, [0, 1, 1], 1), "order holds transaction 1 2 times"),
    "list_timeline release": (lambda: list_timeline(DEPS, range(3), 1, release=[0, -1, 0]), r"release\[1\] = -1: must"),
    "list_timeline dispatch": (lambda: list_timeline(DEPS, range(3), 1, dispatch=-1), "dispatch = -1: must be a finite"),
    "endless work": (lambda: list_timeline(DEPS, range(3), 1, [1e308] * 3), "3 transactions could end beyond 1.8e308"),
    "priority_order": (lambda: priority_order(DEPS, None, "best"), "priority = 'best': must be one of block, longest"),
    "priority_order of sets": (lambda: priority_order(ACCESS, None, "block"), "dependencies = <AccessSets"),
    "wave_timeline": (lambda: wave_timeline([0, 2], [0, 1, 2], 1), r"wave_indptr\[1\] = 2: must be 3, the number"),
    "wave_timeline twice": (lambda: wave_timeline([0, 2], [1, 1], 1), "wave_tx holds transaction 0 0 times"),
    "wave_timeline barrier": (lambda: wave_timeline(*WAVES, 1, barrier=np.inf), "barrier = inf: must be a finite number"),
    "timeline workers": (lambda: pn.Timeline(0, [], [], [], 0), "n_workers = 0: must be in"),
    "timeline worker": (lambda: pn.Timeline(1, [1], [0], [0], 0), r"worker\[0\] = 1: must be in \[0, 0\]"),
    "timeline of text": (lambda: pn.Timeline(1, [0], ["0"], [0], 0), "start has shape .*<U1: must be .1,. integers"),
    "timeline nan": (lambda: pn.Timeline(1, [0], [0], [np.nan], 0), r"end\[0\] = nan: must be finite"),
    "timeline sizes": (lambda: pn.Timeline(1, [0], [0, 1], [1, 2], 2), r"start has shape \(2,\).*: must be \(1,\)"),
    "timeline backwards": (lambda: pn.Timeline(1, [0], [2], [1], 2), r"end\[0\] = 1: must not be before start, 2"),
    "timeline makespan": (lambda: pn.Timeline(1, [0], [0], [3], 2), "makespan = 2: must be at least the last end, 3"),
    "timeline of waves": (lambda: pn.Schedule.from_waves("x", [[0]], timeline=[0]), r"timeline = \[0\]: must be a Timel"),
    "timeline of others": (
        lambda: pn.Schedule.from_waves("x", [[0]], timeline=pn.Timeline(1, [], [], [], 0)),
        "timeline of 0 transactions: must be 1, as in the waves",
    ),
    "limit": (lambda: pn.schedule(BLOCK, limit="x"), "limit = 'x': must be an integer"),
    "block of a schedule": (lambda: pn.schedule(ACCESS, "mis", block=5), "block = 5: must be a Block"),
    "check_schedule with a block": (lambda: pn.check_schedule(PLAN, BLOCK), f"access = <Block.*{SEE}"),
    "check_schedule swapped": (lambda: pn.check_schedule(BLOCK, PLAN), "schedule = <Block.*must be a Schedule"),
    "check_schedule block": (lambda: pn.check_schedule(PLAN, ACCESS, block=PLAN), "block = <Schedule.*: must be a Block"),
    "waves of names": (lambda: pn.Schedule.from_waves("x", [["a"]]), r"waves\[0\] = 'a': must be an integer"),
    "waves of halves": (lambda: pn.Schedule.from_waves("x", [[0.5]]), r"waves\[0\] = 0.5: must be an integer"),
    "waves of text": (lambda: pn.Schedule.from_waves("x", ["ab"]), r"waves\[0\] = 'ab': must be a list of transactions"),
    "waves flat": (lambda: pn.Schedule.from_waves("x", [0, 1]), r"waves\[0\] = 0: must be a list of transactions"),
    "waves 5": (lambda: pn.Schedule.from_waves("x", 5), "waves = 5: must be a list of waves"),
    "policy of waves": (lambda: pn.Schedule.from_waves(5, [[0]]), "policy = 5: must be a str"),
    "serial order": (lambda: pn.Schedule.from_waves("x", [[0]], ["a"]), "serial_order has dtype <U1"),
    # blocks
    "concat of numbers": (lambda: pn.Block.concat([1]), r"blocks\[0\] = 1: must be a Block"),
    "concat of nothing": (lambda: pn.Block.concat([]), "concat of 0 blocks: needs at least one"),
    "concat of a block": (lambda: pn.Block.concat(BLOCK), "blocks = <Block.*: must be a list of Block"),
    "concat header": (lambda: pn.Block.concat([BLOCK], header="x"), "header = 'x': must be a Header"),
    "programs 5": (lambda: made(5), "programs = 5: must be a list of programs"),
    "programs None": (lambda: made(None), "programs = None: must be a list of programs"),
    "programs of numbers": (lambda: made([5]), r"programs\[0\] = 5: must be a list of ops"),
    "programs of text": (lambda: made(["SLOAD"]), r"programs\[0\] = 'SLOAD': must be a list of ops"),
    "one level too few": (lambda: made([("SLOAD", A)]), "transaction 0 op 0 = 'SLOAD': an op is a tuple"),
    "op of arrays": (lambda: made([[(np.ones(2), A)]]), "op .* is unknown"),
    "state list": (lambda: made([], state=[1]), r"state = \[1\]: must be a Mapping from key to int"),
    "state zero": (lambda: made([], state=0), "state = 0: must be a Mapping"),
    "state of flat keys": (lambda: made([], {1: 1}), "state key = 1: a key is"),
    "state of text": (lambda: made([], {A: "x"}), r"state\[\(1, 0, 0\)\] = 'x': must be an integer"),
    "access lists 5": (lambda: made(access_lists=5), "access_lists = 5: must be a list"),
    "access list None": (lambda: made(access_lists=[None]), r"access_lists\[0\] = None: must be a list of entries"),
    "a bare slot": (lambda: made(access_lists=[[(1, 5)]]), r"access_lists\[0\] slots = 5: must be a list of slots"),
    "a bare slot of bytes": (lambda: made(access_lists=[[(1, bytes(32))]]), r"access_lists\[0\] slots = b.*list of slots"),
    "slots as text": (lambda: made(access_lists=[[(1, "0x5")]]), r"access_lists\[0\] slots = '0x5': must be a list"),
    "declared 5": (lambda: made(declared_reads=[5]), r"declared_reads\[0\] = 5: must be a list of keys"),
    "declared 0": (lambda: made(declared_writes=[0]), r"declared_writes\[0\] = 0: must be a list of keys"),
    "declared by number": (lambda: made(declared_reads={0: [A]}), "declared_reads = .*must be a list"),
    "one sender": (lambda: made(senders=bytes(1)), r"senders = b'\\x00': must be a list"),
    "sender arrays": (lambda: made(senders=np.zeros((1, 20), np.uint8)), r"(?s)senders\[0\] = .*must be an integer"),
    "nonces 5": (lambda: made(nonces=5), "nonces = 5: must be a list"),
    "nonces of text": (lambda: made(nonces=["1"]), "nonce has dtype <U1"),
    "gas limits": (lambda: made(gas_limits=[0.5]), "gas_limit, element 0 = 0.5: must be an integer"),
    "number": (lambda: made(number="7"), "number = '7': must be an integer"),
    "header": (lambda: pn.Block.from_arrays(**COLUMNS, header="x"), "header = 'x': must be a Header"),
    "header False": (lambda: pn.Block.from_arrays(**COLUMNS, header=False), "header = False: must be a Header"),
    "meta list": (lambda: made(meta=[1]), r"meta = \[1\]: must be a pyarrow.Table or a mapping"),
    "meta twice": (lambda: made(meta=TWICE), "meta has 2 columns 'blob_count': must be one"),
    "meta by number": (lambda: made(meta={1: [1], "x": [2]}), "meta has no column 1: one of"),
    "meta without length": (lambda: made(meta={"blob_count": 5}), "meta column 'blob_count': must hold uint8"),
    "key too high": (lambda: BLOCK.key(10**6), r"key = 1000000: must be in \[0, 1\]"),
    "key name too high": (lambda: BLOCK.key_name(10**6), r"key = 1000000: must be in \[0, 1\]"),
    "key -1": (lambda: BLOCK.key(-1), r"key = -1: must be in \[0, 1\]"),
    "key by tuple": (lambda: BLOCK.key(A), r"key = \(1, 0, 0\): must be an integer"),
    "slice text": (lambda: BLOCK.slice("x"), "start = 'x': must be an integer"),
    "slice halves": (lambda: BLOCK.slice(0, 1.5), "stop = 1.5: must be an integer"),
    "slice none": (lambda: BLOCK.slice(None), "start = None: must be an integer"),
    "slice backwards": (lambda: BLOCK.slice(2, 1), r"stop = 1: must be in \[2, 3\]"),
    # files
    "numbers 0": (lambda: pn.read_blocks("f", 0), "numbers = 0: must be a list of block numbers"),
    "numbers text": (lambda: pn.read_blocks("f", "12"), "numbers = '12': must be a list of block numbers"),
    "numbers of text": (lambda: pn.read_blocks("f", ["1"]), r"numbers\[0\] = '1': must be an integer"),
    "number of a block": (lambda: pn.read_block("f", "x"), "number = 'x': must be an integer"),
    "read nothing": (lambda: pn.read_blocks(None), "None: not a path"),
    "write to 5": (lambda: pn.write_blocks(5, BLOCK), "path = 5: not a path"),
    "write to a zero byte": (lambda: pn.write_blocks("a\0.parquet", BLOCK), "path = .*a.x00.parquet"),
    "write patterns to 5": (lambda: pn.write_patterns(5, pn.Patterns()), "path = 5: not a path"),
    "write patterns to a zero byte": (lambda: pn.write_patterns("a\0.json", pn.Patterns()), "path = .*a.x00.json"),
    "write 5 as patterns": (lambda: pn.write_patterns("x.json", 5), "patterns = 5: must be a Patterns"),
    "write 5": (lambda: pn.write_blocks("x.parquet", 5), "blocks = 5: must be a Block or an iterable of them"),
    "write 5 as JSON": (lambda: pn.write_blocks("x.json", 5), "blocks = 5: must be a Block"),
    "write text": (lambda: pn.write_blocks("x.parquet", "ab"), "blocks = 'ab': must be a Block"),
    "write numbers": (lambda: pn.write_blocks("x.parquet", iter([5])), "blocks.*must all be Block"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, message = SLIPS[name]
    with pytest.raises(PevmError, match=message):
        call()
    assert not list(tmp_path.iterdir()), "a refused call leaves no file"


def test_any_junk_in_any_place_is_refused_by_name() -> None:
    junk = [None, 5, -1, 0.5, "x", b"x", [1], {"a": 1}, object(), np.ones(3), ACCESS, PLAN, np.nan, 10**5000]
    junk += [[10**5000], {10**5000: 1}]  # which Python does not write
    first = [
        pn.access_sets, pn.degrade, pn.conflict_graph, pn.conflict_counts, pn.dependencies, pn.schedule, key_heat,
        critical_path_cost, pn.Block.concat, pn.read_block, BLOCK.key, BLOCK.slice, all_pairs_graph,
        lambda value: pn.accuracy(ACCESS, value), lambda value: pn.select(ACCESS, value),
        lambda value: pn.check_schedule(PLAN, value), lambda value: pn.check_schedule(value, ACCESS),
        lambda value: made(value), lambda value: made([value]), lambda value: made([[value]]),
        lambda value: made([[("SLOAD", value)]]), lambda value: made([[(value, 1)]]), lambda value: made(state=value),
        lambda value: made(senders=value), lambda value: made(access_lists=[value]), lambda value: made(meta=value),
        lambda value: made(meta={"blob_count": value}), lambda value: made(fork=value),
        lambda value: pn.Block.from_arrays(**(COLUMNS | {"sender": value})),
        lambda value: pn.Block.from_arrays(**(COLUMNS | {"op_indptr": value})),
        lambda value: pn.Block.from_arrays(**(COLUMNS | {"op_code": value})),
        lambda value: pn.Block.from_arrays(**COLUMNS, declared_reads=value),
        lambda value: pn.Schedule.from_waves("x", value), lambda value: pn.Schedule.from_arrays("x", value, value),
        lambda value: pn.AccessSets.from_arrays(1, value, value, value), lambda value: pn.AccessSets.from_dicts(value, 1),
        lambda value: pn.schedule(BLOCK, value), lambda value: pn.schedule(BLOCK, cost=value),
        lambda value: pn.schedule(BLOCK, "list", priority=value), lambda value: pn.transaction_costs(value),
        lambda value: pn.Schedule.from_waves("x", [[0]], None, value), lambda value: pn.transaction_costs(BLOCK, value),
        lambda value: pn.transaction_costs(BLOCK, "ns", repeat=value), lambda value: cost_of(value, ACCESS, None),
        lambda value: pn.Timeline(1, [0], value, [1], 1), lambda value: pn.Timeline(value, [0], [0], [0], value),
        lambda value: wave_timeline(value, value, 1), lambda value: list_timeline(DEPS, value, 1),
        lambda value: pn.access_sets(BLOCK, value), lambda value: pn.access_sets(BLOCK, fields=value),
        lambda value: pn.access_sets(BLOCK, "degraded", miss_rate=value, seed=value),
    ]  # fmt: skip
    refused = short = 0
    for call in first:
        for value in junk:
            try:
                call(value)
            except PevmError as error:
                refused += 1
                short += len(str(error)) < 10
    assert refused > 0.8 * len(first) * len(junk)
    assert short == 0


def test_integers_that_python_does_not_write_are_refused_as_others_are() -> None:
    """A complaint with such an integer in it would fail itself: more than 4,300 digits."""
    huge, told = 10**5000, "an integer of many digits"
    for call in (
        lambda: Eip7928List.from_accounts([AccountChanges(bytes(20), nonce_changes=((1, huge),))]),
        lambda: Eip7928List.from_accounts([AccountChanges(bytes(20), nonce_changes=((huge, 1),))]),
        lambda: Eip7928List.from_accounts([AccountChanges(bytes(20), (), (huge,))]),
        lambda: Eip7928List.from_accounts([]).check(gas_limit=huge), lambda: pn.generate_evm(seed=huge),
        lambda: pn.predict(pn.generate_evm(n_tx=1), pn.Patterns(), -huge), lambda: rlp.encode([-huge]),
        lambda: block_list_of([{"address": "0x" + "01" * 20, "storageReads": [huge]}]),
        lambda: patterns_from_json(patterns_to_json(pn.Patterns()) | {"asked": [[huge]]}),
        lambda: KeyTable.from_keys([(bytes(20), 0, huge)]), lambda: pn.generate(n_tx=3, conflict_ratio=huge),
        lambda: pn.EvmBlock(BlockEnv(number=1, timestamp=1, fork="shanghai", base_fee=7), [], {bytes(20): huge}),
        lambda: pn.EvmBlock(huge, [], {}), lambda: pn.generate_evm("erc20", n_tx=huge),
        lambda: door.array("x", [huge], np.int64, (None,)),
        lambda: door.choice("x", huge, ("a",)), lambda: door.text("x", huge), lambda: door.real("x", huge, 0.0),
    ):  # fmt: skip
        with pytest.raises(PevmError, match=told):
            call()


def test_an_error_of_the_callers_own_generator_is_not_renamed() -> None:
    def broken() -> Any:
        yield []
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        made(broken())
    assert door.items("x", (n for n in range(3)), "numbers") == [0, 1, 2]


NO_FILES = [None, 5, b"x.parquet", ["x"], "\0", f"{'a' * 5000}.parquet", "x\udc80.parquet"]


@pytest.mark.parametrize("path", NO_FILES, ids=lambda path: ascii(path)[:12])
def test_what_names_no_file_is_refused_by_all_that_write(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = pn.generate(n_tx=5, seed=1)
    done, plan, evm = pn.execute(block, "serial"), pn.schedule(block, "levels"), pn.generate_evm("transfers", n_tx=2)
    calls: list[Callable[[], Any]] = [
        lambda: pn.write_blocks(path, [block]), lambda: pn.write_execution(path, done), lambda: pn.write_schedule(path, plan),
        lambda: pn.write_state(path, pn.open_store()), lambda: pn.write_patterns(path, pn.built_in_patterns()),
        lambda: pn.write_node_block(path, "state.json", evm),
    ]  # fmt: skip
    for call in calls[: 4 if path == "x\udc80.parquet" else None]:  # which Arrow cannot write, but Python can
        with pytest.raises(PevmError):
            call()
    assert path == "x\udc80.parquet" or not list(tmp_path.iterdir())


def test_access_sets_can_be_gone_through() -> None:
    assert list(ACCESS) == [ACCESS[t] for t in range(3)]


# -------------------------------------------------------------------- the bare constructor


def test_a_block_is_made_through_the_door_only() -> None:
    for call in (
        lambda: pn.Block(),
        lambda: pn.Block(0, "london"),
        lambda: dataclasses.replace(BLOCK, op_key=np.full(BLOCK.n_ops, 10**6, np.int32)),
        lambda: dataclasses.replace(BLOCK),
    ):
        with pytest.raises(BlockError, match=r"make a Block with Block\.from_programs, .* or read_block"):
            call()


def test_copies_of_a_block_are_equal_and_frozen() -> None:
    BLOCK.digest()
    for other in (copy.copy(BLOCK), copy.deepcopy(BLOCK), pickle.loads(pickle.dumps(BLOCK))):
        assert other == BLOCK
        assert other is not BLOCK
        assert other._derived is not BLOCK._derived
        assert other.meta.equals(BLOCK.meta)
        for item in dataclasses.fields(other):
            value = getattr(other, item.name)
            assert not isinstance(value, np.ndarray) or not value.flags.writeable, item.name
        with pytest.raises(dataclasses.FrozenInstanceError):
            other.number = 5
    names = [item.name for item in dataclasses.fields(pn.Block)]
    assert names[:3] == ["number", "fork", "header"]
    assert set(vars(BLOCK)) == set(names)


# -------------------------------------------------------------------- shared payloads


def shared(payload: np.ndarray, n: int) -> pn.Block:
    """A block of n KECCAKs of one payload."""
    ops = {"op_indptr": [0, n], "op_code": np.full(n, pn.Op.KECCAK), "op_key": np.full(n, -1), "op_arg": np.zeros(n, int)}
    return pn.Block.from_arrays(**(COLUMNS | ops), payload_indptr=[0, len(payload)], payload_data=payload)


def test_a_shared_payload_that_would_blow_up_is_refused_before_anything_is_built() -> None:
    payload = np.zeros(2**20, np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(BlockError, match=r"payload_data: 2048 KECCAKs hash 2147483648 bytes together: .* 2\*\*31"):
            shared(payload, 2048)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_repeating_a_payload_takes_no_index_of_its_bytes() -> None:
    payload = np.arange(2**20, dtype=np.uint8)
    shared(payload[:8], 2)  # compiles
    tracemalloc.start()
    try:
        block = shared(payload, 32)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * 2**25
    finally:
        tracemalloc.stop()
    assert (block.payload_data.reshape(32, -1) == payload).all()


def test_payloads_come_in_the_order_of_their_ops() -> None:
    parts = [b"", b"one", b"two" * 50, b"x"]
    ends = np.cumsum([0] + [len(part) for part in parts])
    data = np.frombuffer(b"".join(parts), np.uint8)
    for used in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 1], [2], [0], [], [0, 1, 2, 3, 0], [1, 2]):
        n = len(used)
        ops = {"op_indptr": [0, n], "op_code": np.full(n, pn.Op.KECCAK), "op_key": np.full(n, -1), "op_arg": used}
        block = pn.Block.from_arrays(**(COLUMNS | ops), payload_indptr=ends, payload_data=data)
        assert [op[1] for op in block.to_programs()[0]] == [parts[p] for p in used]
        assert not np.shares_memory(block.payload_data, data)


# -------------------------------------------------------------------- naming keys


def test_ids_of_accounts_are_not_named_as_keys() -> None:
    block = made([[("SSTORE", (1, 0, 0), 1), ("SSTORE", (9, 0, 7), 1)], [("SSTORE", (1, 0, 1), 1), ("SLOAD", (9, 0, 7))]])
    plan = pn.Schedule.from_waves("x", [[0, 1]])
    for granularity, message in (("slot", rf"key 1 \({block.key_name(1)}\), but"), ("account", r"on key 0, but")):
        access = pn.access_sets(block, granularity=granularity)
        with pytest.raises(ScheduleError, match=message):
            pn.check_schedule(plan, access, block=block)
        hot = message.removesuffix(", but").removeprefix("on ").removeprefix("key ")
        with pytest.raises(TooLargeError, match=f"hottest key is {hot} in 2 transactions"):
            pn.conflict_graph(access, limit=0, block=block)


def test_the_block_of_exact_sets_is_taken_for_names_and_senders() -> None:
    with pytest.raises(ScheduleError, match=r"key 0 \(0x0*1 slot 0x0\)"):
        pn.check_schedule(pn.Schedule.from_waves("x", [[0, 1, 2]]), ACCESS)
    block = made([[], []], senders=[7, 7], nonces=[1, 0])
    with pytest.raises(ScheduleError, match="the same sender"):
        pn.check_schedule(pn.Schedule.from_waves("x", [[1, 0]], [1, 0]), pn.access_sets(block))
