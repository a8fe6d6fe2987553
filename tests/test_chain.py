"""Chains of blocks on stores: whatever is read beforehand, wherever a run was broken off, it ends as in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import evm_corpus
import pytest
from store_backends import opened
from test_evm_suspended import chained

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import BlockError, StoreError, UsageError
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv, Withdrawal
from pevm_numba.evm.rlp import encode
from pevm_numba.evm.transaction import Transaction
from pevm_numba.keys import KeyTable
from pevm_numba.storage.opening import BACKENDS
from pevm_numba.storage.prefetch import Prefetched, named_keys

for library in ("lmdb", "rocksdict"):
    pytest.importorskip(library, reason=f"{library} is not installed")


def chain_of(block: pn.EvmBlock, n: int) -> list[pn.EvmBlock]:
    """A block's transactions in several blocks, whose own state is all wrong: it is the store's that counts."""
    size, made = -(-block.n_tx // n), []
    for i in range(n):
        number = block.number + i
        hashes = {k: k.to_bytes(32, "big") for k in range(max(0, number - 256), number)} | dict(block.env.block_hashes)
        env = replace(block.env, number=number, block_hashes=hashes)
        made.append(pn.EvmBlock(env, block.transactions[i * size : (i + 1) * size], {}))
    return made


def in_memory(blocks: list[pn.EvmBlock], state: Any) -> list[pn.EvmExecution]:
    """The same blocks, each on the state after the one before."""
    found = []
    for block in blocks:
        found.append(pn.execute(pn.EvmBlock(block.env, block.transactions, state), "serial"))
        state = found[-1].state
    return found


def equal(done: pn.EvmExecution, expected: pn.EvmExecution) -> bool:
    return (
        done.receipts_root() == expected.receipts_root()
        and done.gas_used.tolist() == expected.gas_used.tolist()
        and done.observed == expected.observed
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


BLOCK = chained(6 if DISABLED else 24, 4)
CHAIN = chain_of(BLOCK, 3 if DISABLED else 5)


@pytest.fixture(scope="module")
def expected() -> list[pn.EvmExecution]:
    return in_memory(CHAIN, BLOCK.state)


def lists_of(kind: str, expected: list[pn.EvmExecution]) -> Any:
    """What is thought to be needed: exactly that, what the next block needs, or nothing."""
    exact = {one.block.number: one for one in expected}
    first = CHAIN[0].number
    return {
        "exact": lambda block: exact[block.number].observed,
        "changes": lambda block: exact[block.number].block_access_list(),
        "wire": lambda block: exact[block.number].eip7928_list(),
        "another's": lambda block: exact[first + (block.number + 1 - first) % len(CHAIN)].observed.table,
        "nothing": None,
    }[kind]


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("executor", ["auto", "serial", "waves", "dataflow", "optimistic", "bal"])
@pytest.mark.parametrize("kind", ["exact", "changes", "wire", "another's", "nothing"])
def test_a_chain_leaves_what_it_leaves_in_memory(kind: str, executor: str, expected: list[pn.EvmExecution]) -> None:
    store, results = pn.open_store(), list[Any]()
    pn.put_world(store, BLOCK.state)
    given = {"lists": lists_of(kind, expected), "workers": 2, "done": lambda step, result: results.append((step, result))}
    steps = pn.run_chain(CHAIN, store, executor, **given)
    assert [step.number for step in steps] == [block.number for block in CHAIN]
    assert [step for step, _ in results] == steps
    assert all(equal(result, one) for (_, result), one in zip(results, expected, strict=True))
    assert [step.gas_used for step in steps] == [int(one.gas_used.sum()) for one in expected]
    assert pn.read_world(store) == expected[-1].state
    alone, told = pn.open_store(), list[pn.ChainStep]()
    pn.put_world(alone, BLOCK.state)
    bare = pn.run_chain(CHAIN, alone, executor, **{**given, "done": None, "progress": told.append})
    assert told == bare
    assert [step[:4] for step in bare] == [step[:4] for step in steps]
    assert (alone.last_block(), pn.read_world(alone)) == (store.last_block(), expected[-1].state)
    if kind in ("exact", "wire"):
        assert all(step.prefetched > 0 and step.fetches[:3] == (0, 0, 0) for step in steps)
    if kind == "nothing" and executor == "serial":
        assert all(step.fetches.slots > 0 for step in steps)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("prefetch", [True, False])
def test_a_chain_that_was_broken_off_goes_on(
    backend: str, prefetch: bool, folder: Path, expected: list[pn.EvmExecution]
) -> None:
    class Broken(Exception):
        pass

    def breaks(step: pn.ChainStep, result: Any) -> None:
        if step.number == CHAIN[1].number:
            raise Broken

    store = opened(folder / "state", backend)
    pn.put_world(store, BLOCK.state)
    with pytest.raises(Broken):
        pn.run_chain(CHAIN, store, lists=lists_of("exact", expected), prefetch=prefetch, done=breaks)
    last = store.last_block()
    assert last is not None
    assert last[0] == CHAIN[1].number
    assert pn.read_world(store) == expected[1].state
    if backend != "memory":
        store.close()
        store = opened(folder / "state", backend, "w")
    with store:
        steps = pn.run_chain(CHAIN, store, lists=lists_of("exact", expected), prefetch=prefetch)
        assert [step.number for step in steps] == [block.number for block in CHAIN[2:]]
        assert pn.read_world(store) == expected[-1].state
        assert pn.run_chain(CHAIN, store) == []


def test_a_block_that_is_refused_ends_the_chain_and_leaves_those_before(expected: list[pn.EvmExecution]) -> None:
    store = pn.open_store()
    pn.put_world(store, BLOCK.state)
    wrong = pn.EvmBlock(CHAIN[1].env, [replace(tx, nonce=10**6) for tx in CHAIN[1].transactions], {})
    with pytest.raises(BlockError, match="nonce = 1000000"):
        pn.run_chain([CHAIN[0], wrong, *CHAIN[2:]], store)
    assert pn.read_world(store) == expected[0].state
    with pytest.raises(BlockError, match=f"block {CHAIN[1].number} after block {CHAIN[1].number}: blocks .* must ascend"):
        pn.run_chain([CHAIN[1], CHAIN[1]], store)
    with pytest.raises(BlockError, match="store = 5: must be a StateStore"):
        pn.run_chain(CHAIN, 5)  # type: ignore[arg-type]
    with pytest.raises(BlockError, match="blocks = 7: must be a Block or an EvmBlock"):
        pn.run_chain([7], store)  # type: ignore[list-item]
    with pytest.raises(BlockError, match=r"blocks = .*: must be several, such as a list"):
        pn.run_chain(CHAIN[0], store)  # type: ignore[arg-type]  # no list, which is what is refused
    with pytest.raises(UsageError, match="not a path: it has half of a character"):
        pn.open_store("state\ud800")
    with pytest.raises(BlockError, match="prefetch = 'keys': must be a KeyTable, AccessSets"):
        pn.execute(CHAIN[2], store=store, prefetch="keys")  # type: ignore[call-overload]
    with pytest.raises(BlockError, match="only from a store"):
        pn.execute(BLOCK, prefetch=KeyTable.from_keys([]))
    for name in ("lists", "progress", "done"):
        with pytest.raises(BlockError, match=f"{name} = 5: must be a function"):
            pn.run_chain(CHAIN[1:], store, **{name: 5})  # type: ignore[arg-type]  # no function, which is what is refused
    assert pn.read_world(store) == expected[0].state
    with pytest.raises(ZeroDivisionError):
        pn.run_chain(CHAIN[2:], store, lists=lambda block: 1 // 0)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("looked_at", [True, False])
def test_withdrawals_are_paid_in_chains_whether_or_not_results_are_looked_at(looked_at: bool) -> None:
    env = BlockEnv(number=4, timestamp=1, fork=Fork.SHANGHAI, base_fee=7)
    paid = [replace(env, number=4 + i, withdrawals=(Withdrawal(i, 0, b"\x07" * 20, 5),)) for i in range(3)]
    store = pn.open_store()
    pn.run_chain([pn.EvmBlock(one, [], {}) for one in paid], store, done=(lambda *_: None) if looked_at else None)
    assert pn.read_world(store) == {b"\x07" * 20: (3 * 5 * 10**9, 0, b"", {})}


def test_micro_ops_make_chains_too() -> None:
    key = (b"\1" * 20, 0, bytes(32))
    adds = [("SLOAD", key), ("ADD", 1), ("SSTORE", key, "TOP")]
    store = pn.open_store()
    steps = pn.run_chain([pn.Block.from_programs([adds] * 3, number=n) for n in (4, 7, 9)], store, "dataflow", workers=2)
    assert [(step.number, step.prefetched) for step in steps] == [(4, 0), (7, 0), (9, 0)]
    ((keys, words),) = store.items()
    assert (list(keys), int(words[0, 31])) == ([(b"\1" * 20, 0, 0)], 9)
    other, results = pn.open_store(), list[Any]()
    blocks = [pn.Block.from_programs([adds] * 3, number=n) for n in (4, 7, 9)]
    looked_at = pn.run_chain(blocks, other, "dataflow", workers=2, done=lambda _, result: results.append(result))
    assert other.last_block() == store.last_block()
    assert [step[:4] for step in looked_at] == [step[:4] for step in steps]
    assert [int(result.gas_used.sum()) for result in results] == [step.gas_used for step in steps]


def test_what_was_read_before_a_block_is_brought_up_to_date(expected: list[pn.EvmExecution]) -> None:
    """The state that is read, whole, before each block and renewed after it is that after the block."""
    store = pn.open_store()
    pn.put_world(store, BLOCK.state)
    every = KeyTable.from_keys(dict.fromkeys(key for one in expected for key in one.observed.table or ()))
    for block, one in zip(CHAIN, expected, strict=True):
        ahead = Prefetched(store, block, every)
        before = pn.read_world(store)
        assert {address: ahead.world()[address][:3] for address in ahead.world()} == {
            address: account[:3] for address, account in before.items() if address in ahead.world()
        }
        done = pn.execute(block, "serial", store=store)
        ahead.renew(done.change)
        again = Prefetched(store, block, every)
        assert ahead.world() == again.world()
        accounts, slots = named_keys(every)
        assert ahead.accounts(accounts) == again.accounts(accounts)
        assert ahead.slots(slots) == again.slots(slots)
        assert pn.read_world(store) == one.state


@pytest.mark.parametrize("executor", ["serial", "optimistic"])
@pytest.mark.parametrize("balance", [0, 5])
@pytest.mark.parametrize("by", ["transaction", "CREATE", "CREATE2"])
def test_where_storage_is_nothing_can_be_created_whatever_was_read_before(by: str, balance: int, executor: str) -> None:
    """Found in review (EIP-7610): whether one can depended on what the list named."""
    sender, maker = b"\x01" * 20, b"\x02" * 20
    new = keccak(encode([sender, 0]) if by == "transaction" else encode([maker, 1]))[12:]
    if by == "CREATE2":
        new = keccak(b"\xff" + maker + bytes(32) + keccak(b""))[12:]
    make = {"CREATE": "5f5f5ff0", "CREATE2": "5f5f5f5ff5"}.get(by, "")
    for storage in ({7: 8}, {}):
        state = {
            sender: (10**18, 0, b"", {}), maker: (0, 1, bytes.fromhex(make + "5f55"), {}), new: (balance, 0, b"", storage),
        }  # fmt: skip
        env = BlockEnv(number=20_000_000, timestamp=1_720_000_000, fork=Fork.CANCUN, base_fee=7, excess_blob_gas=0)
        to = None if by == "transaction" else maker
        block = pn.EvmBlock(env, [Transaction(gas_price=9, gas_limit=200_000, to=to, sender=sender)], state)
        expected = pn.execute(block, "serial")
        made = expected.success[0] if by == "transaction" else bool(expected.state[maker].storage)
        assert made == (not storage)
        for named in ([], [(new, 0, 7)], [(new, 0, 99)], [(new, 1, 0)]):
            store = pn.open_store()
            pn.put_world(store, state)
            done = pn.execute(block, executor, store=store, prefetch=KeyTable.from_keys(named), workers=2)
            assert done.gas_used.tolist() == expected.gas_used.tolist()
            assert done.receipts_root() == expected.receipts_root()
            assert pn.read_world(store) == expected.state


def test_a_delayed_store_gives_the_same(expected: list[pn.EvmExecution], tmp_path: Path) -> None:
    behind = pn.open_store()
    pn.put_world(behind, BLOCK.state)
    store = pn.DelayedStore(behind, 50_000, queue_depth=8)
    assert isinstance(store, pn.StateStore)
    steps = pn.run_chain(CHAIN, store, "serial", prefetch=False)
    assert all(step.fetches.ns >= 50_000 * (step.fetches.slots + step.fetches.accounts) for step in steps)
    told = behind.metrics()  # each account and each slot by itself
    assert told.reads > sum(step.fetches.slots for step in steps) + sum(block.n_tx for block in CHAIN)
    assert told.hits + told.misses <= 3 * told.reads
    assert pn.read_world(store) == expected[-1].state
    assert store.last_block() == behind.last_block()
    assert store.metrics() == behind.metrics()
    store.snapshot(tmp_path / "copy")
    with pn.open_store(tmp_path / "copy", "r") as copy, pn.DelayedStore(copy, 0) as delayed:
        assert delayed.last_block() == behind.last_block()
    with pytest.raises(StoreError, match="closed"):
        copy.last_block()
    for arguments, rule in (((behind, -1), "read_ns = -1"), ((behind, 5, 0), "queue_depth = 0")):
        with pytest.raises(BlockError, match=rule):
            pn.DelayedStore(*arguments)


@pytest.mark.corpus
@pytest.mark.parametrize("prefetch", [True, False])
def test_real_blocks_in_parts_leave_what_they_leave_in_memory(prefetch: bool) -> None:
    for number in [n for n in evm_corpus.numbers() if 4_370_000 <= n < 19_426_587][:12]:
        check_in_parts(evm_corpus.blocks()[number], prefetch)


def check_in_parts(block: pn.EvmBlock, prefetch: bool) -> None:
    parts, store, results = chain_of(block, 3), pn.open_store(), list[Any]()
    pn.put_world(store, block.state)
    expected = in_memory(parts, block.state)
    sets = {one.block.number: one.observed for one in expected}
    steps = pn.run_chain(  # serially: who runs ahead of what he depends on may meet other keys
        parts, store, "serial", lists=lambda part: sets[part.number], prefetch=prefetch,
        done=lambda _, one: results.append(one),
    )  # fmt: skip
    assert all(equal(result, one) for result, one in zip(results, expected, strict=True))
    assert pn.read_world(store) == expected[-1].state
    # sets have no account or slot that a transaction asked for and could not pay
    assert not prefetch or all(step.fetches.accounts + step.fetches.slots <= 1 for step in steps)
