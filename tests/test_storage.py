"""Stores against a plain dictionary, accounts in them, and chains of blocks on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_backends import entries
from test_evm_limits import CODE, block_of
from test_evm_suspended import chained

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import BlockError, StoreError
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.keys import KeyTable, StateChange
from pevm_numba.storage.base import StateStore, commit
from pevm_numba.storage.memory import MemoryStore
from pevm_numba.storage.world import put_world, read_world

ADDRESSES = [bytes([i]) * 20 for i in range(3)]
def test_a_store_refuses_what_it_cannot_hold() -> None:
    keys, words = entries({(ADDRESSES[0], 0, 5): 7})
    store = MemoryStore()
    assert isinstance(store, StateStore)
    with pytest.raises(BlockError, match="words"):
        store.put_many(keys, words[:, :31])
    with pytest.raises(BlockError, match="no code of hash 0x" + "07" * 32):
        store.get_codes([b"\7" * 32])
    with pytest.raises(BlockError, match="whole accounts"):
        store.put_many(KeyTable(keys.address, keys.field, keys.slot, whole=True), words)
    with pytest.raises(BlockError, match="store = 5: must be a StateStore"):
        pn.execute(block_of("00"), "serial", store=5)  # type: ignore[call-overload]
    with pytest.raises(BlockError, match="source = 5: must have accounts, slots and storage"):
        pn.EvmBlock(block_of("00").env, [], {}, source=5)  # type: ignore[arg-type]
    assert list(store.items()) == []
    assert store.last_block() is None


def test_digests_tell_histories_apart() -> None:
    one, other = MemoryStore(), MemoryStore()
    change = StateChange(*entries({(ADDRESSES[0], 0, 5): 7}))
    commit(one, 3, change)
    commit(other, 4, change)
    assert one.last_block() != other.last_block()
    again = MemoryStore()
    commit(again, 3, change)
    assert again.last_block() == one.last_block()


def test_a_commit_that_is_broken_off_behind_the_log_closes_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log had the block and the table had not: reads went on without it, and so did the next commit."""

    def breaks(*_: object) -> None:
        raise KeyboardInterrupt

    store = pn.open_store(tmp_path / "state", backend="mmap")
    change = StateChange(*entries({(ADDRESSES[0], 0, 5): 7}))
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "_do", breaks)
        with pytest.raises(KeyboardInterrupt):
            commit(store, 3, change)
    with pytest.raises(StoreError, match="closed"):
        store.get_many(change.keys)
    with pn.open_store(tmp_path / "state", "w") as again:
        assert (again.last_block() or [None])[0] == 3
        assert int(again.get_many(change.keys)[0, 31]) == 7


def test_accounts_come_back() -> None:
    world = {
        ADDRESSES[0]: (5, 0, b"", {}), ADDRESSES[1]: (0, 1, b"\x60\x00", {2**256 - 1: 1, 3: 4}),
        ADDRESSES[2]: (0, 0, b"", {}),
    }  # fmt: skip
    store = MemoryStore()
    put_world(store, world)
    assert read_world(store) == world
    put_world(store, {ADDRESSES[0]: (0, 7, b"", {1: 2})})
    assert read_world(store) == world | {ADDRESSES[0]: (0, 7, b"", {1: 2})}


def halves(block: pn.EvmBlock) -> list[pn.EvmBlock]:
    """Two blocks of a chain."""
    middle, later = block.n_tx // 2, replace(block.env, number=block.number + 1)
    return [
        pn.EvmBlock(block.env, block.transactions[:middle], block.state),
        pn.EvmBlock(later, block.transactions[middle:], block.state),
    ]


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("executor", ["auto", "serial", "waves", "dataflow", "optimistic", "bal"])
def test_a_chain_on_a_store_is_a_chain_in_memory(executor: str) -> None:
    block = chained(6 if DISABLED else 24, 4)
    store, state = MemoryStore(), block.state
    put_world(store, block.state)
    for half in halves(block):
        expected = pn.execute(pn.EvmBlock(half.env, half.transactions, state), "serial")
        state = expected.state
        done = pn.execute(half, executor, workers=2, store=store)
        assert done.gas_used.tolist() == expected.gas_used.tolist()
        assert done.receipts_root() == expected.receipts_root()
        assert done.observed == expected.observed
        assert read_world(store) == state
    last = store.last_block()
    assert last is not None
    assert last[0] == block.number + 1


def test_nothing_is_committed_of_a_block_that_is_refused() -> None:
    block = block_of("60016000550000", Fork.SHANGHAI, n_tx=2)
    block = pn.EvmBlock(block.env, [block.transactions[0], replace(block.transactions[1], nonce=7)], block.state)
    store = MemoryStore()
    put_world(store, block.state)
    with pytest.raises(BlockError, match="transaction 1 refused: nonce = 7"):
        pn.execute(block, "serial", store=store)
    assert read_world(store) == block.state
    assert store.last_block() is None
    pn.execute(pn.EvmBlock(block.env, block.transactions[:1], {}), "serial", store=store)
    again = pn.EvmBlock(block.env, [replace(block.transactions[0], nonce=1)], {})
    with pytest.raises(BlockError, match="block 300: the store has had block 300"):
        pn.execute(again, "serial", store=store)


class Broken(MemoryStore):
    """A store that cannot be read any more once the block runs."""

    reads = 0

    def get_many(self, keys: KeyTable) -> Any:
        self.reads += 1
        if self.reads > 2:
            raise OSError("the disk is gone")
        return super().get_many(keys)


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("executor", ["serial", "optimistic"])
def test_a_store_that_fails_ends_the_run(executor: str) -> None:
    block = block_of("5f545f35540000", Fork.SHANGHAI, n_tx=5)
    block = pn.EvmBlock(block.env, [replace(tx, data=bytes([i]) * 32) for i, tx in enumerate(block.transactions)], {})
    store = Broken()
    put_world(store, block_of("5f545f35540000", Fork.SHANGHAI).state)
    before = read_world(store)
    with pytest.raises(OSError, match="the disk is gone"):
        pn.execute(block, executor, workers=2, store=store)
    assert read_world(store) == before
    assert store.last_block() is None


def test_an_account_destroyed_on_a_store_leaves_nothing_there() -> None:
    block = block_of("33ff", Fork.SHANGHAI)
    store = MemoryStore()
    put_world(store, {**block.state, CODE: (9, 1, bytes.fromhex("33ff"), dict.fromkeys(range(50), 1))})
    done = pn.execute(block, "serial", store=store)
    assert done.fetches.storages == 1
    assert CODE not in read_world(store)
    assert len(store.slots_of(CODE)) == 0


def test_what_transactions_have_written_is_not_fetched_over() -> None:
    """The second transaction destroys the account, for which all of its storage is fetched, and fails."""
    reverts = b"\xd0" * 20
    code = "36600657" + "33ff" + "5b6005600055" + "00"  # with data slot 0 := 5, without it is destroyed
    block = block_of(code, Fork.SHANGHAI, n_tx=2)
    writes, fails = replace(block.transactions[0], data=b"\1"), replace(block.transactions[1], to=reverts)
    store = MemoryStore()
    destroys = bytes.fromhex("5f5f5f5f5f73" + CODE.hex() + "5af1505f5ffd")
    put_world(store, {**block.state, CODE: (0, 1, bytes.fromhex(code), {0: 1, 1: 7}), reverts: (0, 1, destroys, {})})
    done = pn.execute(pn.EvmBlock(block.env, [writes, fails], {}), "serial", store=store)
    assert done.success.tolist() == [True, False]
    assert done.fetches.storages == 1
    assert read_world(store)[CODE].storage == {0: 5, 1: 7}


def test_the_code_that_an_account_met_on_the_way_runs_is_fetched_with_it() -> None:
    """A contract calls somebody who has delegated to another contract (EIP-7702), and nothing names either."""
    signer, target = b"\xd1" * 20, b"\xd2" * 20
    block = block_of("5f5f5f5f5f73" + signer.hex() + "5af15f5500", Fork.PRAGUE)
    state = {
        **block.state, signer: (0, 1, bytes.fromhex("ef0100") + target, {3: 4}),
        target: (0, 1, bytes.fromhex("60035460010160035500"), {}),
    }  # fmt: skip
    expected = pn.execute(pn.EvmBlock(block.env, block.transactions, state), "serial")
    store = MemoryStore()
    put_world(store, state)
    assert pn.execute(block, "serial", store=store).change.keys == expected.change.keys
    assert read_world(store) == expected.state
    assert read_world(store)[signer].storage == {3: 5}


def test_micro_ops_run_on_a_store_too() -> None:
    key = (b"\1" * 20, 0, bytes(32))
    adds = [("SLOAD", key), ("ADD", 1), ("SSTORE", key, "TOP")]
    block = pn.Block.from_programs([adds, adds], number=4)
    store = MemoryStore()
    keys, words = entries({(b"\1" * 20, 0, 0): 40})
    store.put_many(keys, words)
    for number in (4, 5):
        pn.execute(pn.Block.from_programs([adds, adds], number=number), "dataflow", workers=2, store=store)
    assert int.from_bytes(store.get_many(keys)[0].tobytes(), "big") == 44
    assert block.pre_values.any() == np.False_


def test_what_a_trace_needs_is_fetched() -> None:
    from pevm_numba.evm.trace import trace
    from pevm_numba.storage.world import StoreSource

    block = chained(3, 2)
    store = MemoryStore()
    put_world(store, block.state)
    away = pn.EvmBlock(block.env, block.transactions, {}, source=StoreSource(store))
    assert trace(away, 2).steps == trace(block, 2).steps


def test_code_that_the_store_has_lost_is_named() -> None:
    block = block_of("00", Fork.SHANGHAI)
    store = MemoryStore()
    put_world(store, block.state)
    del store._codes[keccak(b"\0")]
    with pytest.raises(BlockError, match="no code of hash 0x" + keccak(b"\0").hex()):
        pn.execute(block, "serial", store=store)
