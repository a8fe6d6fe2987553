"""Real mainnet blocks by every executor: every receipt, root and bloom of the header, and the state afterwards."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pyarrow.parquet as pq
import pytest
from evm_corpus import CORPUS, blocks, numbers, serial

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench.evm import chained
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.hashing import EMPTY_HASH, keccak
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.world import World
from pevm_numba.execute.evm_result import EvmExecution
from pevm_numba.machine.ops import Field

#: Neighbours that are made one block.
MEGA = 4
pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("always_parallel")]


def rows(number: int) -> list[dict[str, Any]]:
    """What the chain says of the block's transactions."""
    return pq.read_table(CORPUS / "cryo" / f"ethereum__transactions__{number:08d}_to_{number:08d}.parquet").to_pylist()


@pytest.mark.parametrize("number", numbers())
def test_a_real_block_has_its_receipts_and_its_state(number: int) -> None:
    done = serial(number)
    assert done.gas_used.tolist() == [row["gas_used"] for row in rows(number)]
    assert done.success.tolist() == [row["success"] for row in rows(number)]
    assert blocks()[number].after is not None
    assert done.differences_from_chain() == []


def values(world: World) -> dict[tuple[bytes, int, int], int]:
    """All words of a state that are not 0, code as its hash."""
    found = {}
    for address, (balance, nonce, code, storage) in world.items():
        found |= {(address, Field.BALANCE, 0): balance, (address, Field.NONCE, 0): nonce}
        found[address, Field.CODE, 0] = int.from_bytes(keccak(code), "big") if code else 0
        found |= {(address, Field.STORAGE, slot): value for slot, value in storage.items()}
    return {key: value for key, value in found.items() if value}


@pytest.mark.parametrize("number", numbers())
def test_a_change_is_all_that_differs_between_the_states_before_and_after(number: int) -> None:
    """Those of the protocol's calls before the transactions included, as block 19,807,080 has (EIP-4788)."""
    done = serial(number)
    before, after = values(blocks()[number].state), values(done.state)
    wanted = {key: after.get(key, 0) for key in before.keys() | after.keys() if before.get(key, 0) != after.get(key, 0)}
    found = {key: int.from_bytes(word.tobytes(), "big") for key, word in zip(done.change.keys, done.change.words)}
    none = int.from_bytes(EMPTY_HASH, "big")  # tells an account that exists and has no code from one that does not exist
    found = {key: 0 if key[1] == Field.CODE and word == none else word for key, word in found.items()}
    assert {key: word for key, word in found.items() if key in wanted or key[1] != Field.CODE or word} == wanted


@pytest.mark.parametrize("number", numbers())
@pytest.mark.parametrize("executor", ["waves", "dataflow", "optimistic", "bal"])
def test_every_executor_has_the_outcome_of_serial_execution(executor: str, number: int) -> None:
    known = {"access_list": serial(number).block_access_list()} if executor == "bal" else {}
    if executor in ("waves", "dataflow"):
        known = {"access": serial(number).observed}
    for workers in (1, 2, 4):
        done = pn.execute(blocks()[number], executor, workers=workers, **known)
        done.check_equal(serial(number))
        assert (done.times.runs >= 1).all()
        assert executor not in ("dataflow", "waves", "bal") or done.counters["aborts"] == 0


def neighbours() -> list[list[int]]:
    """Groups of blocks of one fork, as `bench evm` makes them: most of the work that can be had in one block."""
    by_fork: dict[str, list[int]] = {}
    for number in numbers():
        if blocks()[number].n_tx:
            by_fork.setdefault(blocks()[number].fork, []).append(number)
    return [found[i : i + MEGA] for found in by_fork.values() for i in range(0, len(found) - MEGA + 1, MEGA)]


@functools.cache
def made_one(numbers: tuple[int, ...]) -> EvmExecution:
    """A serial execution of several blocks in one."""
    return pn.execute(chained([blocks()[number] for number in numbers]), "serial")


@pytest.mark.skipif(not numbers(), reason="no corpus")
@pytest.mark.parametrize("executor", ["waves", "dataflow", "optimistic", "bal"])
def test_blocks_made_one_have_the_outcome_of_serial_execution(executor: str) -> None:
    assert DISABLED or len(neighbours()) == 12
    for group in neighbours():
        done = made_one(tuple(group))
        known = {"access_list": done.block_access_list()} if executor == "bal" else {}
        if executor in ("waves", "dataflow"):
            known = {"access": done.observed}
        for workers in (1, 2, 4):
            pn.execute(done.block, executor, workers=workers, **known).check_equal(done)


@pytest.mark.parametrize("number", numbers()[-12:])
def test_what_transactions_declare_is_a_hint(number: int) -> None:
    block = blocks()[number]
    for oracle in ("static", "eip2930", "union"):
        hints = pn.access_sets(block, oracle)
        assert hints.n_tx == block.n_tx
        for executor in ("optimistic", "dataflow"):
            pn.execute(block, executor, workers=2, access=hints).check_equal(serial(number))


@pytest.mark.parametrize("number", numbers()[::9])
def test_one_by_one_is_as_all_together(number: int) -> None:
    block = blocks()[number]
    machine = Evm(block.env, serial(number).block.state)
    outcomes = [machine.run(tx) for tx in block.transactions] if not block.env.parent_beacon_block_root else []
    if outcomes:
        assert [one.gas_used for one in outcomes] == serial(number).gas_used.tolist()
        assert machine.state() == dict(serial(number).after_transactions)


@pytest.mark.skipif(not numbers(), reason="no corpus")
def test_a_block_with_a_wrong_header_is_told() -> None:
    block = blocks()[numbers()[-1]]
    env = dataclasses.replace(block.env, gas_used=1, logs_bloom=bytes(256), timestamp=block.env.timestamp + 1)
    wrong = pn.execute(EvmBlock(env, block.transactions, block.state, block.after), "serial").differences_from_chain()
    assert any("gas used" in text for text in wrong)
    assert any("bloom" in text for text in wrong)
