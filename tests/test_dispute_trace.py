"""Traces end as the specification says; each step is shown by its proof alone, and by no other."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import blocks, pool, programs
from test_machine import ALL_OPS, BALANCE, SLOT

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.block import Block
from pevm_numba.dispute import wire
from pevm_numba.dispute.agreed import AgreedBlock
from pevm_numba.dispute.agreement import Agreement
from pevm_numba.dispute.commitment import Commitment, commit
from pevm_numba.dispute.faults import mutated
from pevm_numba.dispute.hashing import EMPTY
from pevm_numba.dispute.machine_state import MachineState, Outcome, Phase, TxHeader, done, op_bytes, op_of
from pevm_numba.dispute.proofs import index_path
from pevm_numba.dispute.steps import begin, n_steps
from pevm_numba.dispute.tree import Tree
from pevm_numba.dispute.verify import StepProof, verify_step
from pevm_numba.errors import BlockError, DisputeError
from pevm_numba.evm.hashing import keccak
from pevm_numba.execute.result import Changes
from pevm_numba.execute.run import execute
from pevm_numba.machine import spec
from pevm_numba.machine.gas import gas_schedule
from pevm_numba.machine.ops import MAX_STACK, Op, Status
from pevm_numba.programs import access_lists_of


def committed(block: Block, **options: Any) -> Commitment:
    """A commitment to the serial execution of a block."""
    return commit(execute(block, "serial", record="changes", **options))


def root_of(agreed: AgreedBlock, state: dict[Any, int]) -> bytes:
    """Root of a state by the plain tree."""
    paths = {agreed.block.key(k): agreed.paths[k].tobytes() for k in range(agreed.block.n_keys)}
    return Tree({paths[key]: value.to_bytes(32, "big") for key, value in state.items() if value}, keccak).root


@given(blocks(max_tx=4, deep=False))
def test_every_trace_ends_as_the_specification_and_every_step_is_proved(block: Block) -> None:
    made, state, listed = committed(block), block.state(), access_lists_of(block)
    for position, program in enumerate(block.to_programs()):
        trace = made.trace(position)
        assert trace.machine(0).root == root_of(made.agreed, state)
        receipt = spec.run_transaction(program, state, int(block.gas_limit[position]), listed[position], block.fork)
        last = trace.machine(len(trace))
        assert last == done(root_of(made.agreed, state), outcome_of(receipt))
        assert made.claim(position + 1).receipt == last.outcome
        assert made.claim(position + 1).root == last.root
        assert len(trace) <= n_steps(made.agreed.header(position))
        for step in range(len(trace) + 1):
            proof = StepProof.from_json(trace.prove(step).to_json())
            after = verify_step(made.agreement, position, trace.digest(step), proof, hash=keccak)
            assert after == trace.digest(step + 1)


def outcome_of(receipt: spec.Receipt) -> Outcome:
    """A receipt of the specification as a dispute has it."""
    return Outcome(receipt.status, receipt.gas_used, receipt.refund, receipt.output, receipt.digest)


@pytest.mark.parametrize("fork", ["berlin", "london", "free"])
def test_all_ops_are_proved_at_every_limit_of_gas(fork: str) -> None:
    limits = [*range(20_990, 60_000, 977), 10**6]
    block = Block.from_programs(
        [ALL_OPS] * len(limits), {SLOT: 9, BALANCE: 4}, gas_limits=limits, fork=fork,
        access_lists=[[(1, [0, 7])]] * len(limits),
    )  # fmt: skip
    made = committed(block)
    for position in range(block.n_tx):
        trace = made.trace(position)
        for step in range(len(trace)):
            after = verify_step(made.agreement, position, trace.digest(step), trace.prove(step), hash=keccak)
            assert after == trace.digest(step + 1)
        assert trace.machine(len(trace)).outcome == made.claim(position + 1).receipt


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ([("SLOAD", SLOT)] * (MAX_STACK + 1), Status.STACK_OVERFLOW),
        ([("SLOAD", SLOT)] * MAX_STACK + [("ADD", 5), ("SSTORE", BALANCE, "TOP")], Status.SUCCESS),
        ([("KECCAK", b"x" * 300), ("SSTORE", BALANCE, "TOP"), ("SUB", 1)], Status.STACK_UNDERFLOW),
        ([("SSTORE", BALANCE, 5), ("SSTORE", BALANCE, 0)], Status.SUCCESS),
        ([], Status.SUCCESS),
    ],
)
def test_stacks_overflow_underflow_and_end_where_the_machine_says(program: Any, status: Status) -> None:
    made = committed(Block.from_programs([program], {SLOT: 3, BALANCE: 4}, gas_limits=[10**7]))
    trace = made.trace(0)
    assert trace.machine(len(trace)).outcome.status == status
    for step in range(max(0, len(trace) - 4), len(trace) + 1):
        after = verify_step(made.agreement, 0, trace.digest(step), trace.prove(step))
        assert after == trace.digest(step + 1)


def test_the_last_op_may_need_two_entries_of_the_stack() -> None:
    program = [("SLOAD", SLOT), ("KECCAK", b""), ("SSTORE", BALANCE, "TOP")]
    made = committed(Block.from_programs([program], {SLOT: 3}))
    trace = made.trace(0)
    proof = trace.prove(2)
    assert proof.top is not None
    assert len(proof.top[0]) == 2
    assert verify_step(made.agreement, 0, trace.digest(2), proof) == trace.digest(3)
    assert trace.machine(len(trace)).outcome.output == 3
    for top in ((proof.top[0][:1], proof.top[1]), ((*proof.top[0], 5), EMPTY), ((5, *proof.top[0]), proof.top[1])):
        with pytest.raises(DisputeError, match="top"):
            verify_step(made.agreement, 0, trace.digest(2), replace(proof, top=top))


def test_a_transaction_that_cannot_pay_for_itself_is_done_at_once() -> None:
    header = TxHeader(30_000, 2, 3, 1, EMPTY, EMPTY)
    needed = 21_000 + 2 * 2400 + 3 * 1900
    start = begin(EMPTY, header, gas_schedule("london"))
    assert start == done(EMPTY, Outcome(Status.OUT_OF_GAS, 30_000))
    start = begin(EMPTY, replace(header, gas_limit=needed), gas_schedule("london"))
    assert (start.phase, start.gas_left) == (Phase.RUN, 0)


def test_failed_transactions_leave_no_entry_of_their_journal() -> None:
    made = committed(Block.from_programs([[("SSTORE", SLOT, 1), ("CREDIT", BALANCE, 2), ("ADD", 1)]], {BALANCE: 3}))
    trace = made.trace(0)
    assert trace.machine(2).journal != EMPTY
    assert trace.machine(3) == done(made.agreement.pre_root, Outcome(Status.STACK_UNDERFLOW, 2**24))
    assert trace.settled == []


def test_the_journal_is_brought_into_the_state_one_key_a_step() -> None:
    keys = [(address, 1, 0) for address in range(1, 8)]
    made = committed(Block.from_programs([[("SSTORE", key, i) for i, key in enumerate(keys)]], {keys[0]: 9}))
    trace = made.trace(0)
    phases = [trace.machine(step).phase for step in range(len(trace) + 1)]
    assert phases == [Phase.RUN] * 7 + [Phase.SETTLE] * 7 + [Phase.DONE]
    assert len({trace.machine(step).root for step in range(7, 15)}) == 8
    assert [path for path, _ in trace.settled] == sorted(path for path, _ in trace.settled)
    assert trace.machine(14).root == made.claim(1).root


# -------------------------------------------------------------------- proofs that show nothing


def bit_flips(value: Any) -> Iterator[Any]:
    """Every copy of a JSON value in which one bit of one text or number is another, or a part is missing or was null."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from ({**value, name: other} for other in bit_flips(item))
            yield {key: one for key, one in value.items() if key != name}
        yield {**value, "more": 0}
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from ([*value[:i], other, *value[i + 1 :]] for other in bit_flips(item))
            yield value[:i] + value[i + 1 :]
        yield [*value, value[-1] if value else "0x"]
    elif isinstance(value, str):
        for at in range(2, len(value)):
            yield from (f"{value[:at]}{int(value[at], 16) ^ bit:x}{value[at + 1 :]}" for bit in (1, 2, 4, 8))
        yield from (value + "00", value[:-2] if len(value) > 2 else value[1:], None, value.upper())
    elif isinstance(value, int):
        yield from (value ^ 1 << bit for bit in range(max(8, value.bit_length() + 1)))
        yield from (str(value), float(value), None)
    else:
        yield from ({}, "0x", 0, [])


def refused(agreement: Agreement, position: int, before: bytes, value: Any) -> bool:
    """Whether a proof as JSON is refused, which nothing but a DisputeError says."""
    try:
        verify_step(agreement, position, before, StepProof.from_json(value), hash=keccak)
    except DisputeError:
        return True
    return False


@pytest.mark.skipif(DISABLED, reason="thousands of proofs, each of dozens of hashes")
@pytest.mark.parametrize("step", range(6))
def test_a_proof_with_any_other_bit_or_part_is_refused(step: int) -> None:
    program = [("SLOAD", SLOT), ("SSTORE", SLOT, "TOP"), ("CREDIT", BALANCE, 2), ("KECCAK", b"payload")]
    other = [("SSTORE", (2, 1, 0), 7)]
    made = committed(Block.from_programs([other, program, other], {SLOT: 9, (5, 0, 3): 8}))
    trace = made.trace(1)
    proof, before = trace.prove(step).to_json(), trace.digest(step)
    assert not refused(made.agreement, 1, before, proof)
    count = 0
    for wrong in bit_flips(proof):
        if wrong == proof:  # upper case of text without letters
            continue
        count += 1
        assert refused(made.agreement, 1, before, wrong), wrong
    assert count > 3000
    assert refused(made.agreement, 0, before, proof)
    assert refused(made.agreement, 2, before, proof)
    assert refused(made.agreement, 1, trace.digest(step + 1), proof)


@given(blocks(max_tx=3, deep=False).filter(lambda block: block.n_tx > 0), st.integers(0, 2**32), st.data())
def test_mutated_proofs_of_any_step_are_refused(block: Block, seed: int, data: st.DataObject) -> None:
    made, rng = committed(block), random.Random(seed)
    position = data.draw(st.integers(0, block.n_tx - 1))
    trace = made.trace(position)
    step = data.draw(st.integers(0, len(trace)))
    proof = trace.prove(step).to_json()
    kept = copy.deepcopy(proof)
    for _ in range(20):
        wrong = mutated(proof, rng)
        assert wrong != proof
        assert refused(made.agreement, position, trace.digest(step), wrong)
    assert proof == kept


def test_a_step_needs_each_part_and_takes_no_other() -> None:
    made = committed(Block.from_programs([[("SLOAD", SLOT), ("NOOP", 5)]], {SLOT: 9}))
    trace = made.trace(0)
    load, noop = trace.prove(0), trace.prove(1)
    for name in ("op", "warm", "journal", "stored"):
        with pytest.raises(DisputeError, match=name):
            verify_step(made.agreement, 0, trace.digest(0), replace(load, **{name: None}))
    for name in ("warm", "journal", "stored"):
        with pytest.raises(DisputeError, match=f"does not need {name}"):
            verify_step(made.agreement, 0, trace.digest(1), replace(noop, **{name: getattr(load, name)}))
    last = trace.prove(len(trace))
    with pytest.raises(DisputeError, match="op must be null"):
        verify_step(made.agreement, 0, trace.digest(len(trace)), replace(last, op=load.op))


def test_a_machine_out_of_range_is_refused() -> None:
    made = committed(Block.from_programs([[("NOOP", 5)]]))
    proof = made.trace(0).prove(0)
    rich = replace(proof.machine, gas_left=2**40)
    with pytest.raises(DisputeError, match="gas_left 1099511627776"):
        verify_step(made.agreement, 0, rich.digest(), replace(proof, machine=rich))
    odd = replace(proof.machine, outcome=Outcome(refund=-(2**63)))
    assert verify_step(made.agreement, 0, odd.digest(), replace(proof, machine=odd))
    with pytest.raises(DisputeError, match="machine has digest"):
        verify_step(made.agreement, 0, bytes(32), proof)
    with pytest.raises(DisputeError, match=r"position = 5: must be an integer in \[0, 0\]"):
        verify_step(made.agreement, 5, proof.machine.digest(), proof)


# -------------------------------------------------------------------- forms


@given(programs(pool(6)))
@settings(max_examples=100)
def test_ops_are_read_back_from_their_bytes(program: list[tuple[Any, ...]]) -> None:
    block = Block.from_programs([[("NOOP", 1)], program])
    ops = block.to_programs()[1]
    assert AgreedBlock(block).ops_of(1) == [op_bytes(op) for op in ops]
    for op in ops:
        code, key, argument = op_of(op_bytes(op))
        assert code is op[0]
        if code.takes_key:
            assert (key[:20], key[20], key[21:]) == op[1]
        wanted = None if code in (Op.SLOAD, Op.TOUCH) else op[-1]
        assert argument == (wanted if wanted != "TOP" else None) or (wanted is None and argument == 0)


@pytest.mark.parametrize(
    "data",
    ["", "09", "00", "05000000", "0580000000", "0380", "07" + "00" * 85, "00" * 21 + "04" + "00" * 32, "06" + "00" * 54],
)
def test_bytes_of_no_op_are_refused(data: str) -> None:
    with pytest.raises(DisputeError, match="op 0x"):
        op_of(bytes.fromhex(data))


def test_headers_machines_and_receipts_have_the_size_that_is_documented() -> None:
    header = TxHeader(2**63 - 1, 1, 2, 3, b"\x01" * 32, b"\x02" * 32)
    assert len(header.encode()) == 84
    assert TxHeader.decode(header.encode()) == header
    with pytest.raises(DisputeError, match="83 bytes"):
        TxHeader.decode(header.encode()[:-1])
    receipt = Outcome(1, 2**63 - 1, -5, 2**256 - 1, 2**64 - 1)
    machine = MachineState(2, 1, 2, 3, EMPTY, EMPTY, EMPTY, EMPTY, receipt)
    assert (len(receipt.encode()), len(machine.encode())) == (57, 200)
    assert Outcome.decode(receipt.encode()) == receipt == Outcome.from_json(receipt.to_json())
    assert MachineState.from_json(machine.to_json()) == machine


def test_the_agreement_is_that_of_plain_trees() -> None:
    block = pn.generate("small", n_tx=30, seed=3)
    order = list(range(30))[::-1]
    made = AgreedBlock(block, order, "berlin")
    headers = {}
    for position, tx in enumerate(order):
        header = made.header(position)
        assert header.program == Tree({index_path(i): op for i, op in enumerate(made.ops_of(tx))}, keccak).root
        assert header.warm == made.warm_of(tx).root
        assert header.intrinsic_gas(made.prices.costs) == spec.intrinsic_gas(made.prices, access_lists_of(block)[tx])
        headers[index_path(position)] = header.encode()
    assert made.agreement.transactions == Tree(headers, keccak).root
    assert Agreement.from_json(made.agreement.to_json()) == made.agreement
    other = AgreedBlock(block, None, "berlin").agreement
    assert (other.pre_root, other.transactions == made.agreement.transactions) == (made.agreement.pre_root, False)
    changed = [
        replace(other, n_tx=29), replace(other, pre_root=bytes(32)), replace(other, prices=gas_schedule("london")),
        replace(other, transactions=bytes(32)),
    ]  # fmt: skip
    assert len({one.digest() for one in (other, *changed)}) == 5


def test_judging_imports_no_kernel_and_no_array_of_the_state() -> None:
    code = (
        "import sys, pevm_numba.dispute.game\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('numba', 'llvmlite') or '_kernels' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -------------------------------------------------------------------- claims


@given(blocks(max_tx=6, deep=False))
def test_claims_are_a_chain_from_the_agreement_on(block: Block) -> None:
    made, state = committed(block), block.state()
    claim = made.claim(0)
    assert (claim.link, claim.root, claim.receipt) == (made.agreement.digest(), root_of(made.agreed, state), Outcome())
    for position, program in enumerate(block.to_programs()):
        following = made.claim(position + 1)
        assert following.link == claim.digest()
        listed = access_lists_of(block)[position]
        receipt = spec.run_transaction(program, state, int(block.gas_limit[position]), listed, block.fork)
        assert following.receipt == outcome_of(receipt)
        assert following.root == root_of(made.agreed, state) == made.state(position + 1).root
        claim = following
    assert made.digest == claim.digest()


@pytest.mark.parametrize("executor", ["waves", "dataflow", "optimistic", "bal"])
def test_every_executor_makes_the_same_commitment(executor: str) -> None:
    block = pn.generate("small", n_tx=60, key_space=40, conflict_ratio=0.5)
    assert commit(execute(block, executor, record="changes", workers=2)).digest == committed(block).digest


def test_a_schedule_is_committed_to_in_its_serial_order() -> None:
    block = pn.generate("small", n_tx=40, key_space=20, conflict_ratio=0.7)
    plan = pn.schedule(block, "mis")
    made = committed(block, schedule=plan)
    order = plan.serial_order.tolist()
    assert order != list(range(40))
    _, state = spec.execute(
        block.to_programs(), block.state(), block.gas_limit.tolist(), access_lists_of(block), block.fork, order
    )
    assert made.claim(40).root == root_of(made.agreed, state)
    assert made.digest != committed(block).digest


@pytest.mark.parametrize(
    ("part", "most"), [("transaction", 84), ("op", 2**17 + 1), ("warm", 1), ("journal", 64), ("stored", 32)]
)
def test_values_too_long_are_refused_before_anything_is_hashed(part: str, most: int) -> None:
    made = committed(Block.from_programs([[("SSTORE", SLOT, 5)]], {SLOT: 3}))
    trace = made.trace(0)
    proof, hashed = trace.prove(0), list[int]()

    def counted(data: bytes) -> bytes:
        hashed.append(len(data))
        return keccak(data)

    long = replace(proof, **{part: replace(getattr(proof, part), path=bytes(32), value=bytes(most + 1))})
    with pytest.raises(DisputeError, match=f"proof of {part} has a value of {most + 1} bytes: must be at most {most}"):
        verify_step(made.agreement, 0, trace.digest(0), long, hash=counted)
    assert hashed == []
    full = replace(proof, **{part: replace(getattr(proof, part), path=bytes(32), value=bytes(most))})
    with pytest.raises(DisputeError, match="proof leads to root"):
        verify_step(made.agreement, 0, trace.digest(0), full, hash=counted)
    assert hashed.count(40 + most) == 1  # the root is found once


def test_the_longest_payload_is_proved_and_a_longer_one_is_not_committed_to() -> None:
    made = committed(Block.from_programs([[("KECCAK", bytes(2**17))]]))
    trace = made.trace(0)
    proof = StepProof.from_json(wire.plain(trace.prove(0).to_json()))
    assert verify_step(made.agreement, 0, trace.digest(0), proof, hash=keccak) == trace.digest(1)
    with pytest.raises(BlockError, match="payload 1 has 131073 bytes: must have at most 131072"):
        committed(Block.from_programs([[("KECCAK", b"")], [("KECCAK", bytes(2**17 + 1))]]))


@pytest.mark.parametrize(
    ("indptr", "keys", "told"),
    [
        ([0, 100_000], [0] * 100_000, "has key 0 twice"),
        ([0, 1], [1], r"execution\.changes\.keys.0. = 1"),
        ([0, 2], [0], r"execution\.changes\.indptr.1. = 2"),
        ([0], [0], r"execution\.changes\.indptr has shape"),
    ],
)
def test_changes_that_no_execution_records_are_refused(indptr: list[int], keys: list[int], told: str) -> None:
    ran = execute(Block.from_programs([[("SSTORE", SLOT, 5)]]), "serial", record="changes")
    changes = Changes(np.array(indptr, np.int64), np.array(keys, np.int32), np.ones((len(keys), 4), np.uint64))
    with pytest.raises(BlockError, match=told):
        commit(replace(ran, changes=changes))


@pytest.mark.parametrize("step", [-1, 1.5, True, "1", None])
def test_steps_that_are_none_are_refused(step: Any) -> None:
    trace = committed(Block.from_programs([[("SSTORE", SLOT, 5)]])).trace(0)
    for ask in (trace.machine, trace.digest, trace.prove, trace.op):
        with pytest.raises(BlockError, match="step = "):
            ask(step)


@pytest.mark.parametrize(
    ("position", "options", "told"),
    [
        (0, {}, "position = 0"), (2, {}, "position = 2"), (True, {}, "position = True"),
        (1, {"link": bytes(31)}, "link = .*: must be 32 bytes"), (1, {"root": "0x"}, "root = '0x': must be 32 bytes"),
        (1, {"receipt": 5}, "receipt = 5: must be an Outcome"),
    ],
)  # fmt: skip
def test_claims_that_are_none_are_refused(position: Any, options: dict[str, Any], told: str) -> None:
    made = committed(Block.from_programs([[("SSTORE", SLOT, 5)]]))
    with pytest.raises(BlockError, match=told):
        made.altered(position, **options)


def test_misuse_of_commit_is_named() -> None:
    block = Block.from_programs([[("SSTORE", SLOT, 5)]])
    ran = execute(block, "serial", record="changes")
    with pytest.raises(BlockError, match="without changes"):
        commit(execute(block, "serial"))
    with pytest.raises(BlockError, match="must be an Execution"):
        commit("x")  # type: ignore[arg-type]  # which is what is refused
    with pytest.raises(BlockError, match="beside agreed"):
        commit(ran, gas="berlin", agreed=AgreedBlock(block))
    with pytest.raises(BlockError, match="must be about the block"):
        commit(ran, agreed=AgreedBlock(Block.from_programs([[]])))
    with pytest.raises(BlockError, match="position = 2"):
        commit(ran).claim(2)
    party = commit(ran, gas="free").party()
    with pytest.raises(BlockError, match="at position 0 ends as"):
        party.trace(0)
    with pytest.raises(DisputeError, match="must ask for claim"):
        party.answer({"ask": "money"})
