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
from pevm_numba.engines import engine as engine_module
from pevm_numba.engines import native, shapes
from pevm_numba.engines.attached import JIT_COSTS, NATIVE
from pevm_numba.engines.engine import MOST_BREAK_EVEN, Costs, Engine, worth_it
from pevm_numba.engines.native import NativeCode
from pevm_numba.engines.shapes import MOST_TOKENS, by_shape, shapes_of
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


def test_shapes_of_equal_hash_length_are_compared_token_by_token() -> None:
    """Every pair of shapes in a large block differs, so none was taken for another."""
    found = pn.shapes(generate("large"))
    names = [found.spelled(i) for i in range(len(found.tokens))]
    assert len(set(names)) == len(names) > 200


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
@given(blocks(max_tx=6, max_ops=7), st.sampled_from(ENGINES), st.sampled_from(list(JOBS)), st.booleans(), st.booleans())
@settings(max_examples=1000 if SOAK else 60)
def test_every_engine_and_executor_leave_what_the_specification_leaves(
    block: Block, engine: Any, executor: str, group: bool, timed: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        force_threads(patch)
        chosen = Engine(engine, "all", group)
        result = check(block, executor, engine=chosen, workers=2, record="times" if timed else None)
    expected = int((pn.shapes(block).shape >= 0).sum())
    if not result.counters["fallback"] and executor != "dataflow":
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
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("executor", list(JOBS))
def test_batches_longer_than_one_call_takes_and_a_schedule_s_own_order(engine: Any, executor: str) -> None:
    """One shape 1,000 times, every third transaction on one key, so that order shows."""
    block = Block.from_programs(
        [[("SLOAD", A), ("ADD", t), ("SSTORE", A if t % 3 else (3, 0, t), "TOP")] for t in range(1000)]
    )
    for group in (False, True):
        chosen = Engine(engine, "all", group)
        serial = execute(block, "serial")
        execute(block, executor, engine=chosen, workers=2).check_equal(serial)
        plan = pn.schedule(block, "mis")
        wanted = execute(block, "serial", schedule=plan)
        execute(block, executor, engine=chosen, workers=2, schedule=plan).check_equal(wanted)


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


@pytest.fixture
def nothing_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """No transactions have come yet."""
    monkeypatch.setattr(engine_module, "_met", engine_module.Counter())


COSTS = Costs(compile_ns=1000.0, compile_token_ns=0.0, load_ns=100.0, saved_ns=10.0, saved_token_ns=0.0)


def one_shape(n: int) -> shapes.Shapes:
    return pn.shapes(Block.from_programs([[("SLOAD", A)]] * n))


def test_a_shape_is_compiled_once_its_transactions_have_paid_for_it(nothing_met: None) -> None:
    assert [worth_it(one_shape(n), COSTS, [False]).tolist() for n in (60, 39, 1)] == [[False], [False], [True]]


def test_what_is_kept_pays_sooner(nothing_met: None) -> None:
    assert worth_it(one_shape(10), COSTS, [True]).tolist() == [True]


def test_a_shape_that_takes_too_many_transactions_is_never_compiled(nothing_met: None) -> None:
    never = Costs(1000.0, 0.0, 1000.0, 1000.0 / (MOST_BREAK_EVEN + 1), 0.0)
    worse = Costs(1000.0, 0.0, 1000.0, -1.0, 0.0)
    engine_module._met[one_shape(1).tokens[0].tobytes()] = 10**12
    assert not worth_it(one_shape(1), never, [False])[0]
    assert not worth_it(one_shape(1), worse, [True])[0]


@compiling
def test_by_default_only_what_pays_is_compiled(nothing_met: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = NativeCode()
    monkeypatch.setattr("pevm_numba.engines.attached.NATIVE", fresh)
    monkeypatch.setattr(NativeCode, "is_kept", lambda self, shape: False)
    block = Block.from_programs([[("SLOAD", A), ("SSTORE", (1, 0, 5), t)] for t in range(50)])
    wanted = execute(block, "serial")
    needed = JIT_COSTS.break_even(len(pn.shapes(block).tokens[0]))
    result = execute(block, "serial", engine="jit")
    result.check_equal(wanted)
    assert (result.counters["compiled"], fresh.n_compiled) == (0, 0)
    engine_module._met[pn.shapes(block).tokens[0].tobytes()] = int(needed)
    result = execute(block, "serial", engine="jit")
    result.check_equal(wanted)
    assert (result.counters["compiled"], fresh.n_loaded) == (50, 1)
    assert "jit: 1 of 1 shapes, 50 of 50 transactions" in result.reason
    # and what there is costs nothing more
    engine_module._met.clear()
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
    size = len(native.compiler(tokens(1)))
    code = NativeCode(most_bytes=2 * size + size // 2)
    code.add([tokens(n) for n in (1, 2, 3, 4)])
    assert code.bytes <= code.most_bytes
    assert [code.address(tokens(n)) != 0 for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert "no more shapes are compiled" in caplog.text


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
    monkeypatch.setattr(wasm, "modules", wasm.modules.__wrapped__)
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


@compiling
def test_arrays_beyond_4_gib_are_refused_for_wasm() -> None:
    with pytest.raises(PevmError, match=r"take 5,000,\d+,\d+ bytes: at most 4 GiB fit"):
        JOBS["serial"](generate("small"), engine=Engine("wasm", "all")).space.zeros(625_000_000, np.int64)


def test_native_code_of_this_process_is_bounded() -> None:
    assert NATIVE.bytes <= NATIVE.most_bytes == native.MOST_BYTES
