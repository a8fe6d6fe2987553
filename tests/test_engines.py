"""Compiled shapes: what they are, that they leave what the specification leaves, what is kept, and when they are made."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import blocks
from test_execute import check, force_threads

import pevm_numba as pn
from pevm_numba._kernels import codes
from pevm_numba._kernels.context import Code
from pevm_numba._kernels.control import POLL_FEW
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.block import Block
from pevm_numba.engines import native, shapes
from pevm_numba.engines.attached import JIT_COSTS, Jit
from pevm_numba.engines.engine import Engine
from pevm_numba.engines.native import LOADED, NativeCode
from pevm_numba.engines.paying import MOST_BREAK_EVEN, Costs, Met
from pevm_numba.engines.shapes import MOST_TOKENS, by_shape, shapes_of
from pevm_numba.engines.wasm import WASM_COSTS
from pevm_numba.errors import BlockError, ExecutionError, PevmError
from pevm_numba.execute.micro_ops import JOBS
from pevm_numba.execute.program import program_of
from pevm_numba.execute.run import execute
from pevm_numba.generate import generate
from pevm_numba.io.files import read_blocks
from pevm_numba.machine.shapes import PAYLOAD, Token

SOAK = bool(os.environ.get("PEVM_NUMBA_SOAK"))
A, B, FEE = (1, 0, 0), (2, 0, 0), (9, 1, 0)

compiling = pytest.mark.skipif(DISABLED, reason="there is no compiled code in plain Python")
ENGINES = ("jit", "wasm")
LAYOUTS = ("keys", "sums", "entries")


def rows_of(code: Code, t: int) -> list[list[int]]:
    found: list[list[int]] = code.rows[code.op_indptr[t] : code.op_indptr[t + 1]].tolist()
    return found


# ----------------------------------------------------------------------- shapes


def naive_shape(rows: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Tokens and operands of one transaction's encoded ops (code, key, argument, ordinal), by expressions on a stack."""
    tokens: list[int] = []
    operands: list[int] = []
    stack: list[tuple[int, list[int], list[tuple[int, int]]]] = []  # token, its operands, what is added
    saves: dict[int, int] = {}
    reads = steps = 0

    def spell(entry: tuple[int, list[int], list[tuple[int, int]]]) -> None:
        token, own, added = entry
        tokens.extend([token, *(kind for kind, _ in added)])
        operands.extend([*own, *(row for _, row in added)])

    for code, key, argument, ordinal in rows:
        if code in (codes.E_LOAD, codes.E_TOUCH):
            tokens.append(Token.READ)
            operands.append(key)
            if code == codes.E_LOAD:
                stack.append((Token.LOADED + PAYLOAD * reads, [], []))
            reads += 1
        elif code == codes.E_KECCAK:
            stack.append((int(Token.HASHED), [argument], []))
        elif code in (codes.E_ADD, codes.E_SUB):
            stack[-1][2].append((int(Token.PLUS if code == codes.E_ADD else Token.MINUS), argument))
        elif code in (codes.E_CREDIT, codes.E_SHARED):
            tokens.append(int(Token.CREDIT if code == codes.E_CREDIT else Token.SHARED))
            operands.extend([key, argument])
        elif code == codes.E_NOOP:
            steps += argument
        elif code in (codes.E_NEW, codes.E_SAVE, codes.E_AGAIN, codes.E_PLAIN):
            kinds = {codes.E_NEW: Token.NEW, codes.E_SAVE: Token.SAVE, codes.E_AGAIN: Token.AGAIN}
            kind = kinds.get(code, Token.PLAIN)
            number = saves.setdefault(ordinal, len(saves)) if code in (codes.E_SAVE, codes.E_AGAIN) else 0
            tokens.append(kind + PAYLOAD * number)
            operands.append(key)
            spell(stack.pop() if argument < 0 else (int(Token.LITERAL), [argument], []))
    tokens.append(int(Token.OUTPUT))
    if stack:
        spell(stack[-1])
    return [int(token) for token in tokens], [*operands, steps]


@given(blocks(), st.sampled_from(LAYOUTS))
def test_shapes_are_those_of_expressions_on_a_stack(block: Block, layout: Any) -> None:
    code = program_of(block, layout=layout).code
    found = shapes_of(code)
    assert int(found.count.sum()) == int((found.shape >= 0).sum())
    assert len({tokens.tobytes() for tokens in found.tokens}) == len(found.tokens)
    for t in range(block.n_tx):
        if code.flags[t] & codes.CAREFUL:
            assert found.shape[t] == -1
            continue
        tokens, operands = naive_shape(rows_of(code, t))
        if found.shape[t] < 0:
            assert len(tokens) > MOST_TOKENS or operands[-1] > POLL_FEW
            continue
        given_operands = found.operands[found.operand_indptr[t] : found.operand_indptr[t + 1]].tolist()
        assert (found.tokens[found.shape[t]].tolist(), given_operands) == (tokens, operands)


def test_what_leaves_no_trace_is_no_part_of_a_shape() -> None:
    plain = [("SLOAD", A), ("SSTORE", B, 7)]
    dropped = [("KECCAK", b"x"), ("SLOAD", A), ("NOOP", 3), ("SSTORE", B, 9), ("BURN", 2), ("NOOP", 1)]
    added = [("KECCAK", b"y"), ("ADD", 1), ("SLOAD", B), ("SSTORE", A, 2)]  # the sum stays below the top of the stack
    block = Block.from_programs([plain, dropped, added, [*plain, ("ADD", 1)]])
    found = pn.shapes(block)
    assert found.shape.tolist() == [0, 0, 0, 1]
    spelled = ["read new(literal) output(loaded0)", "read new(literal) output(loaded0 plus)"]
    assert [found.spelled(i) for i in range(2)] == spelled


def test_hundreds_of_shapes_are_told_apart() -> None:
    block = generate("large", n_tx=1500)
    found, code = pn.shapes(block), program_of(block).code
    wanted = [tuple(naive_shape(rows_of(code, t))[0]) for t in range(block.n_tx)]
    numbers = {tokens: i for i, tokens in enumerate(dict.fromkeys(wanted))}
    assert found.shape.tolist() == [numbers[tokens] for tokens in wanted]
    assert len(numbers) > 150


def test_longer_shapes_than_the_most_are_left_to_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Block.from_programs([[("SSTORE", (1, 0, k), 1) for k in range(n)] for n in (3, 4)])
    monkeypatch.setattr(shapes, "MOST_TOKENS", 7)  # two a store, and the output
    assert shapes_of(program_of(block).code).shape.tolist() == [0, -1]


@given(st.integers(0, 60), st.integers(1, 6), st.randoms(use_true_random=False))
def test_grouping_moves_transactions_within_their_wave_only(n: int, n_waves: int, random: Any) -> None:
    kinds = np.array([random.randrange(-1, 4) for _ in range(n)], np.int32)
    given_shapes = shapes.Shapes(kinds, np.zeros(4, np.int64), [], np.zeros(n + 1, np.int64), np.zeros(0, np.int32))
    cuts = sorted(random.randrange(n + 1) for _ in range(n_waves - 1))
    indptr = np.array([0, *cuts, n], np.int64)
    tx = np.array(random.sample(range(n), n), np.int32)
    found = by_shape(indptr, tx, given_shapes)
    for start, end in itertools.pairwise(indptr.tolist()):
        part, was = found[start:end], tx[start:end]
        assert sorted(part.tolist()) == sorted(was.tolist())
        assert kinds[part].tolist() == sorted(kinds[was].tolist())
        for kind in range(-1, 4):
            assert part[kinds[part] == kind].tolist() == was[kinds[was] == kind].tolist()


# ---------------------------------------------------------------- equality


@compiling
@given(blocks(max_tx=6, max_ops=7), st.sampled_from(("interpreter", *ENGINES)), st.sampled_from(list(JOBS)), st.data())
@settings(max_examples=1000 if SOAK else 80)
def test_every_engine_and_executor_leave_what_the_specification_leaves(
    block: Block, engine: Any, executor: str, data: st.DataObject
) -> None:
    group, timed, threads = (data.draw(st.booleans()) for _ in range(3))
    order = data.draw(st.none() | st.permutations(range(block.n_tx)))
    waves = None if order is None else [[t] for t in order]
    plan = None if waves is None else pn.Schedule.from_waves("any", waves, order)
    chosen = Engine(engine, "paying" if engine == "interpreter" else "all", group)
    with pytest.MonkeyPatch.context() as patch:
        if threads:
            force_threads(patch)
        result = check(
            block, executor, order, engine=chosen, workers=2, schedule=plan, record="times" if timed else None
        )
    expected = 0 if engine == "interpreter" else int((pn.shapes(block).shape >= 0).sum())
    assert result.counters["compiled"] == expected


STORES = [
    [("SSTORE", A, a), ("SSTORE", A, b), ("SSTORE", A, c)] for a in range(3) for b in range(3) for c in range(3)
]  # fmt: skip


@compiling
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("original", [0, 1])
@pytest.mark.parametrize("fork", ["london", "berlin", "free"])
def test_all_rows_of_store_prices_are_charged_and_refunded(engine: Any, original: int, fork: str) -> None:
    """Three stores of 0, 1, 2 on an original of 0 or 1, each in a block of its own."""
    for program in STORES:
        block = Block.from_programs([program], {A: original}, fork=fork)
        assert check(block, "serial", engine=Engine(engine, "all")).counters["compiled"] == 1


@compiling
@pytest.mark.parametrize("engine", ENGINES)
def test_carries_run_through_all_limbs(engine: Any) -> None:
    edges = [0, 1, 2**64 - 1, 2**64, 2**128 - 1, 2**192 - 1, 2**255, 2**256 - 1]
    programs = [
        [("SLOAD", (1, 0, i)), (op, b), ("SSTORE", (2, 0, 64 * j + i), "TOP"), ("CREDIT", FEE, b)]
        for j, b in enumerate(edges) for op in ("ADD", "SUB") for i in range(len(edges))
    ]  # fmt: skip
    block = Block.from_programs(programs, {(1, 0, i): a for i, a in enumerate(edges)})
    for executor in ("serial", "waves"):
        assert check(block, executor, engine=Engine(engine, "all"), workers=2).counters["compiled"] == block.n_tx


@compiling
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("executor", list(JOBS))
def test_compiled_programs_do_their_stand_in_work_and_note_when_they_ran(engine: Any, executor: str, timed: bool) -> None:
    """`Execution` does not show the work; a speed without it would be none."""
    block = Block.from_programs([
        [("NOOP", t % 7), ("SLOAD", (1, 0, t % 50)), ("NOOP", t % 3), ("SSTORE", (2, 0, t % 9), t)] for t in range(120)
    ])  # fmt: skip
    sinks = []
    for chosen in (Engine(), Engine(engine, "all"), Engine(engine, "all", group=True)):
        listed = execute(block, "serial", record="changes").block_access_list() if executor == "bal" else None
        job = JOBS[executor](block, workers=2, engine=chosen, timed=timed, access_list=listed)
        job.plan()
        job.reset()
        job.space.receipts.sink[:] = 7
        job.run()
        sinks.append(job.space.receipts.sink.tolist())
        if timed:
            times = job.space.times
            assert (times.runs >= 1).all()
            assert ((times.begin > 0) & (times.end > times.begin)).all()
            assert set(times.worker.tolist()) <= {0, 1}
    assert sinks[0] == sinks[1] == sinks[2]
    assert len(set(sinks[0])) == 120


@compiling
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("executor", list(JOBS))
def test_batches_longer_than_one_call_takes_and_a_schedule_s_own_order(engine: Any, executor: str) -> None:
    """One shape 1,000 times, every third transaction on one key, so that order shows; calls of WebAssembly take 256."""
    block = Block.from_programs(
        [[("SLOAD", A), ("ADD", t), ("SSTORE", A if t % 3 else (3, 0, t), "TOP")] for t in range(1000)]
    )
    for group in (False, True):
        chosen = Engine(engine, "all", group)
        serial = execute(block, "serial")
        done = execute(block, executor, engine=chosen, workers=2)
        done.check_equal(serial)
        assert done.stop.tolist() == serial.stop.tolist()
        plan = pn.schedule(block, "mis")
        wanted = execute(block, "serial", schedule=plan)
        execute(block, executor, engine=chosen, workers=2, schedule=plan).check_equal(wanted)


@compiling
@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_of_more_transactions_than_a_batch_holds(engine: Any) -> None:
    """One wave with too little work to be shared out is one call, if functions take batches."""
    block = Block.from_programs([[("SLOAD", (1, 0, i))] for i in range(300)], {(1, 0, i): i for i in range(300)})
    result = execute(block, "waves", engine=Engine(engine, "all"), workers=2)
    assert (result.counters["parallel_waves"], result.counters["compiled"]) == (0, 300)
    result.check_equal(execute(block, "serial"))


@pytest.mark.parametrize("executor", list(JOBS))
def test_a_small_block_on_a_schedule_of_its_own_order_is_grouped_within_it(executor: str) -> None:
    """Where dataflow leaves a block to the serial executor, that follows the schedule, too."""
    block = Block.from_programs([[("SSTORE", A, 1)], [("SSTORE", A, 2)]])
    plan = pn.Schedule.from_waves("backwards", [[1], [0]], [1, 0])
    check(block, executor, [1, 0], schedule=plan, workers=2, engine=Engine(group=True))


def test_groups_are_those_of_the_waves_at_hand() -> None:
    """The same order with other boundaries, on one job."""
    block = Block.from_programs([
        [("SSTORE", A, 1)], [("CREDIT", FEE, 2)], [("CREDIT", FEE, 3), ("CREDIT", FEE, 3)], [("SSTORE", B, 1)],
        [("SLOAD", FEE)],
    ])  # fmt: skip
    job = JOBS["waves"](block, workers=2, engine=Engine(group=True))
    for waves in ([[0, 1, 2, 3], [4]], [[0, 1, 2], [3, 4]], [[0, 1, 2, 3], [4]]):
        job.schedule = pn.Schedule.from_waves("given", waves, list(range(5)))
        job.plan()
        job.reset()
        job.collect(*job.run()).check_equal(execute(block, "serial"))


@compiling
def test_a_job_runs_again_and_again_and_a_schedule_may_be_set_anew() -> None:
    block = generate("small", pattern="zipf")
    for engine in ENGINES:
        job = JOBS["serial"](block, engine=Engine(engine, "all", group=True))
        for plan in (None, pn.schedule(block, "mis")):
            job.schedule = plan
            job.plan()
            for _ in range(2):
                job.reset()
                job.collect(*job.run()).check_equal(execute(block, "serial", schedule=plan))


@compiling
@pytest.mark.corpus
@pytest.mark.parametrize("engine", ENGINES)
def test_real_blocks_are_executed_as_serially_with_all_shapes_compiled(engine: Any) -> None:
    compiled = total = 0
    for block in list(read_blocks(SHARED / "corpus" / "op_trace"))[:: 1 if SOAK else 9]:
        how = "all" if SOAK or len(pn.shapes(block).tokens) < 40 else "paying"
        result = execute(block, "serial", engine=Engine(engine, how))
        result.check_equal(execute(block, "serial"))
        compiled, total = compiled + result.counters["compiled"], total + block.n_tx
    assert 0 < compiled <= total


@compiling
@pytest.mark.corpus
def test_a_real_block_on_every_executor_with_both_engines() -> None:
    block = next(read_blocks(SHARED / "corpus" / "op_trace", [3828959]))
    serial = execute(block, "serial")
    for engine in ENGINES:
        for executor in JOBS:
            result = execute(block, executor, engine=Engine(engine, "all"), workers=2)
            result.check_equal(serial)
            assert result.counters["compiled"] == block.n_tx - 1  # one has more stand-in work than a poll allows


# ------------------------------------------------------------------- the rule


COSTS = Costs(1000.0, 0.0, 0.0, load_ns=100.0, saved_ns=10.0, saved_token_ns=0.0)


def one_shape(n: int) -> shapes.Shapes:
    return pn.shapes(Block.from_programs([[("SLOAD", A)]] * n))


def never(_: bytes) -> bool:
    return False


def test_a_shape_is_compiled_once_its_transactions_have_paid_for_it() -> None:
    met = Met()
    found = []
    for n in (60, 39, 1):
        found.append(len(met.paying(one_shape(n), COSTS, never)))
        met.add(one_shape(n))
    assert found == [0, 0, 1]


def test_looking_at_a_block_counts_nothing_and_running_does() -> None:
    met = Met()
    assert [met.paying(one_shape(60), COSTS, never) for _ in range(3)] == [[], [], []]


def test_what_is_kept_pays_sooner() -> None:
    assert len(Met().paying(one_shape(10), COSTS, lambda _: True)) == 1


def test_whether_a_shape_is_kept_is_asked_only_where_that_decides() -> None:
    def asked(_: bytes) -> bool:
        raise AssertionError

    assert Met().paying(one_shape(9), COSTS, asked) == []
    assert len(Met().paying(one_shape(100), COSTS, asked)) == 1


def test_a_shape_that_takes_too_many_transactions_is_never_compiled() -> None:
    met = Met()
    for _ in range(20):
        met.add(one_shape(30_000))
    assert met.paying(one_shape(1), Costs(1000.0, 0.0, 0.0, 1000.0, 1000.0 / (MOST_BREAK_EVEN + 1), 0.0), never) == []
    assert met.paying(one_shape(1), Costs(1000.0, 0.0, 0.0, 1000.0, -1.0, 0.0), lambda _: True) == []
    assert len(met.paying(one_shape(1), Costs(1000.0, 0.0, 0.0, 1000.0, 1000.0 / MOST_BREAK_EVEN, 0.0), never)) == 1


def test_later_stores_to_a_slot_and_credits_are_expected_to_cost_more_and_the_stores_to_save_less() -> None:
    (one,), (two,) = (pn.shapes(Block.from_programs([[("SSTORE", A, k) for k in range(n)]])).names for n in (20, 21))
    saving, cost = Costs(1000.0, 0.0, 0.0, 100.0, 0.0, 1.0), Costs(0.0, 1.0, 0.0, 0.0, 1.0, 0.0)
    assert 1000.0 / saving.break_even(two) - 1000.0 / saving.break_even(one) == pytest.approx(1.0)  # its literal
    assert cost.break_even(two) - cost.break_even(one) == pytest.approx(3.0)
    many = np.array([Token.SAVE, Token.LITERAL, *[Token.AGAIN + PAYLOAD * k for k in range(9)], Token.OUTPUT], np.int32)
    assert saving.break_even(many.tobytes()) == pytest.approx(1000.0 / 3)
    assert cost.break_even(many.tobytes()) == pytest.approx(3 + 18)
    credits = np.array([Token.CREDIT, Token.SHARED, Token.OUTPUT], np.int32).tobytes()
    assert (cost.break_even(credits), 1000.0 / saving.break_even(credits)) == (pytest.approx(5.0), pytest.approx(3.0))


def test_modules_of_wasm_are_never_expected_to_pay() -> None:
    for kind, n in itertools.product((Token.READ, Token.NEW, Token.PLUS), (1, 40, MOST_TOKENS)):
        name = np.array([kind] * n, np.int32).tobytes()
        assert WASM_COSTS.break_even(name) == WASM_COSTS.break_even(name, kept=True) == np.inf


def test_no_more_shapes_are_remembered_than_stated() -> None:
    met = Met(most=4)
    for n in range(1, 8):
        many = pn.shapes(Block.from_programs([[("SLOAD", A)] * n] * n))
        met.add(many)
        assert len(met) <= 4
    assert len(met.paying(many, Costs(13.0, 0.0, 0.0, 1.0, 1.0, 0.0), never)) == 1  # 7 have come, and 7 are here


@compiling
def test_by_default_only_what_pays_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, met = NativeCode(), Met()
    monkeypatch.setattr("pevm_numba.engines.attached.NATIVE", fresh)
    monkeypatch.setattr(Jit, "met", met)
    monkeypatch.setattr(NativeCode, "is_kept", lambda self, shape: False)
    block = Block.from_programs([[("SLOAD", A), *[("SSTORE", (1, 0, k), t) for k in range(5, 9)]] for t in range(50)])
    wanted = execute(block, "serial")
    needed = JIT_COSTS.break_even(pn.shapes(block).names[0])
    result = execute(block, "serial", engine="jit")
    result.check_equal(wanted)
    assert (result.counters["compiled"], fresh.n_compiled) == (0, 0)
    job = JOBS["serial"](block, engine=Engine("jit"))
    job.plan()
    for _ in range(3):  # each run counts
        job.reset()
        job.run()
    (name,) = pn.shapes(block).names
    assert list(met._count.values()) == [200]
    met._count[next(iter(met._count))] = int(needed)
    result = execute(block, "serial", engine="jit")
    result.check_equal(wanted)
    assert (result.counters["compiled"], fresh.n_loaded, fresh.address(name) != 0) == (50, 1, True)
    assert "jit: 1 of 1 shapes, 50 of 50 transactions" in result.reason
    met._count.clear()  # and what there is costs nothing more
    assert execute(block, "serial", engine="jit").counters["compiled"] == 50


# --------------------------------------------------------------- what is kept


def tokens(n: int) -> bytes:
    return np.array([Token.READ] * n + [Token.OUTPUT, Token.LOADED + PAYLOAD * (n - 1)], np.int32).tobytes()


@compiling
def test_object_files_are_kept_and_damaged_ones_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "cache_directory", lambda: tmp_path)
    monkeypatch.setattr(native, "can_keep", lambda: True)
    shape = tokens(3)
    first = NativeCode()
    first.add([shape])
    (path,) = (tmp_path / "shapes").iterdir()
    kept = path.read_bytes()
    second = NativeCode()
    assert second.is_kept(shape)
    second.add([shape])
    assert (first.n_compiled, second.n_compiled, second.n_loaded) == (1, 0, 1)
    for damaged in (kept[:-1], kept[:50] + bytes([kept[50] ^ 1]) + kept[51:], b"", kept[:20]):
        path.write_bytes(damaged)
        again = NativeCode()
        again.add([shape])
        assert (again.n_compiled, path.read_bytes()) == (1, kept)


@compiling
def test_no_more_code_is_loaded_than_the_stated_memory(caplog: pytest.LogCaptureFixture) -> None:
    size = len(native.compiler(tokens(1))) + LOADED
    code = NativeCode(most_bytes=2 * size + size // 2)
    code.add([tokens(n) for n in (1, 2, 3, 4)])
    assert code.bytes <= code.most_bytes
    assert [code.address(tokens(n)) != 0 for n in (1, 2, 3, 4)] == [True, True, False, False]
    compiled = code.n_compiled
    code.add([tokens(n) for n in (3, 4, 5)])
    assert (code.n_compiled, caplog.text.count("no more shapes are compiled")) == (compiled, 1)


GROWTH = """
import os, numpy as np
from pevm_numba.engines.native import LOADED, NativeCode
from pevm_numba.machine.shapes import Token
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
code = NativeCode()
shapes = [np.array([Token.READ] * (1 + n % 7) + [Token.PLAIN, Token.LITERAL] * (n // 7) + [Token.OUTPUT], np.int32).tobytes()
          for n in range(170)]
for shape in shapes[:20]:
    code.add([shape])
before, counted = resident(), code.bytes
for shape in shapes[20:]:
    code.add([shape])  # one at a time, as the rule finds them
print(len(set(shapes)), resident() - before, code.bytes - counted)
"""


@compiling
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell memory")
def test_machine_code_takes_no_more_memory_than_is_counted(tmp_path: Path) -> None:
    line = [sys.executable, "-c", GROWTH]
    env = os.environ | {"PEVM_NUMBA_CACHE_DIR": str(tmp_path)}
    said = subprocess.run(line, env=env, capture_output=True, text=True, check=True, timeout=550).stdout
    n, grown, counted = (int(word) for word in said.split())
    assert n == 170
    assert grown <= counted


KEPT = """
import pevm_numba as pn
from pevm_numba.engines.attached import NATIVE
block = pn.generate("small", seed=3)
result = pn.execute(block, "serial", engine=pn.Engine("jit", {how!r}))
result.check_equal(pn.execute(block, "serial"))
print(NATIVE.n_compiled, result.counters["compiled"])
"""


@compiling
def test_a_second_process_compiles_no_shape() -> None:
    def run(how: str) -> list[int]:
        line = [sys.executable, "-c", KEPT.format(how=how)]
        said = subprocess.run(line, capture_output=True, text=True, check=True, timeout=550).stdout
        return [int(word) for word in said.split()]

    assert run("all")[1] == 100
    assert run("all") == [0, 100]
    assert run("kept") == [0, 100]


# -------------------------------------------------------------------- misuse


@pytest.mark.parametrize(("bad", "text"), [
    ({"name": "llvm"}, "engine 'llvm' is unknown: one of interpreter, jit, wasm"),
    ({"compile": "some"}, "compile = 'some': must be one of paying, all, kept"),
    ({"group": 1}, "group = 1: must be True or False"),
])  # fmt: skip
def test_engines_that_there_are_not(bad: dict[str, Any], text: str) -> None:
    with pytest.raises(BlockError, match=text):
        Engine(**bad)


def test_execute_names_the_engines() -> None:
    with pytest.raises(BlockError, match="engine 'fast' is unknown: one of interpreter, jit, wasm"):
        execute(generate("small"), engine="fast")


def test_code_of_the_evm_has_its_interpreter_only() -> None:
    with pytest.raises(BlockError, match="engine 'jit': compiles programs of micro-ops; code of the EVM is interpreted"):
        execute(pn.generate_evm("transfers", n_tx=2), "serial", engine="jit")


def test_a_missing_wasmtime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    if DISABLED:
        with pytest.raises(ExecutionError, match="no compiled code in plain Python"):
            execute(generate("small"), engine="wasm")
        return
    from pevm_numba.engines import wasm

    monkeypatch.setitem(sys.modules, "wasmtime", None)
    monkeypatch.setattr(wasm, "_wasmtime", wasm._wasmtime.__wrapped__)
    monkeypatch.setattr(wasm, "modules", wasm._Once())
    with pytest.raises(PevmError, match=r"pip install 'pevm-numba\[wasm\]'"):
        execute(generate("small"), "serial", engine="wasm")


@compiling
def test_an_error_of_wasmtime_is_not_passed_over() -> None:
    job = JOBS["serial"](generate("small"), engine=Engine("wasm", "all"))
    job.plan()
    job.reset()
    job.space.attached.links[0, -1] = 1
    with pytest.raises(ExecutionError, match="engine 'wasm' reported an error; nothing of the run is kept"):
        job.run()
    job.reset()
    job.collect(*job.run()).check_equal(execute(generate("small"), "serial"))


THREADS = """
import threading
import pevm_numba as pn
block = pn.generate("small")
serial = pn.execute(block, "serial")
start, wrong = threading.Barrier(4), []
def one():
    start.wait()
    try:
        pn.execute(block, "serial", engine=pn.Engine({name!r}, "all")).check_equal(serial)
    except Exception as error:
        wrong.append(repr(error))
threads = [threading.Thread(target=one) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(wrong)
"""

FORKED = """
import os, threading, time
import pevm_numba as pn
from pevm_numba.engines import attached, wasm
small = pn.generate("small")
pn.execute(small, "serial", engine=pn.Engine({name!r}, "all"))
lock = attached.NATIVE._lock if {name!r} == "jit" else wasm.modules()._lock
held, over = threading.Event(), threading.Event()
def hold():
    with lock:
        held.set()
        over.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    block = pn.generate("small", seed=5)
    pn.execute(block, "serial", engine=pn.Engine({name!r}, "all")).check_equal(pn.execute(block, "serial"))
    os._exit(7)
over.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@compiling
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(("code", "said"), [(THREADS, "[]"), (FORKED, "7")], ids=["threads", "fork"])
def test_an_engine_is_used_first_by_several_threads_and_by_a_forked_child(name: str, code: str, said: str) -> None:
    line = [sys.executable, "-W", "ignore", "-c", code.format(name=name)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=550)
    assert done.stdout.split() == [said], done.stderr


@compiling
def test_arrays_beyond_4_gib_are_refused_for_wasm() -> None:
    with pytest.raises(PevmError, match=r"take 5,000,\d+,\d+ bytes: at most 4 GiB fit"):
        JOBS["serial"](generate("small"), engine=Engine("wasm", "all")).space.zeros(625_000_000, np.int64)
