"""Where something runs out: room in the tables, what is known of a block, patience. Nothing may come out that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_evm_engine import CODES, MINER, at
from test_evm_engine import state as base_state
from test_evm_prague import authorization, key

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import AccessListError, BlockError, ExecutionError
from pevm_numba.evm import engine as engines
from pevm_numba.evm.arena import Room
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.engine import Engine
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.plans import serial_plan
from pevm_numba.evm.rlp import encode
from pevm_numba.evm.transaction import Transaction
from pevm_numba.evm.world import AccountState

pytestmark = pytest.mark.usefixtures("always_parallel")
EXECUTORS = ("serial", "waves", "dataflow", "optimistic", "bal")
WHO = [bytes([i]) * 20 for i in range(1, 6)]
CODE, REQUESTS = b"\xc0" * 20, bytes.fromhex("00000961ef480eb55e80d19ad83579a64c007002")
#: Reads as many slots as its code says, one after the other.
READS = "61{:04x}5b8054506001900380600357"


def block_of(code: str, fork: Fork = Fork.BERLIN, n_tx: int = 1, gas: int = 200_000, **given: Any) -> EvmBlock:
    """Calls of one contract by different people; more accounts by `state`, the rest for the environment."""
    state = {CODE: AccountState(0, 1, bytes.fromhex(code), {}), **dict.fromkeys(WHO, AccountState(10**20, 0, b"", {}))}
    state |= given.pop("state", {})
    known = {} if fork < Fork.LONDON else {"base_fee": 7}
    known |= {} if fork < Fork.CANCUN else {"excess_blob_gas": 0}
    env = BlockEnv(number=300, timestamp=1, fork=fork, gas_limit=10**10, **(known | given))
    txs = [Transaction(gas_price=9, gas_limit=gas, to=CODE, sender=WHO[i]) for i in range(n_tx)]
    return EvmBlock(env, txs, state)


def with_room(block: EvmBlock, keys: int) -> Engine:
    """An engine that begins with room for so many keys."""
    engine = Engine(block.env, block.transactions, block.state, records=True)
    engine._make(replace(engine.arena.room, keys=keys))
    engine.run(serial_plan(block.n_tx))
    return engine


# -------------------------------------------------------------------- room


@pytest.mark.skipif(DISABLED, reason="too slow in plain Python")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_block_that_never_fits_is_an_error(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of("62030000" + "5b80545060019003806004" + "57", n_tx=2, gas=500_000_000)
    monkeypatch.setattr(engines, "ENLARGED", 2)
    with pytest.raises(ExecutionError, match=r"no room for what transaction \d does"):
        pn.execute(block, executor, workers=2)


def test_withdrawals_reach_their_accounts_however_full_the_tables_are() -> None:
    paid = tuple((i, i, bytes([0xD0 + i]) * 20, 32 * 10**9) for i in range(3))
    block = block_of(READS.format(20), Fork.SHANGHAI, withdrawals=paid)
    expected = pn.execute(block, "serial").state
    assert all(expected[one[2]].balance == 32 * 10**18 for one in paid)
    for keys in range(40, 80):
        assert with_room(block, keys).state() == expected, keys


@pytest.mark.parametrize("fork", [Fork.CANCUN, Fork.PRAGUE])
def test_calls_of_the_protocol_are_made_however_full_the_tables_are(fork: Fork) -> None:
    roots = bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02")
    stores = AccountState(0, 1, bytes.fromhex("600160055560016006554360075500"), {})
    block = block_of(
        READS.format(20), fork, state={REQUESTS: stores, roots: stores}, parent_beacon_block_root=b"\7" * 32
    )
    expected = pn.execute(block, "serial").state
    assert expected[roots].storage == {5: 1, 6: 1, 7: 300}
    assert bool(expected[REQUESTS].storage) == (fork >= Fork.PRAGUE)
    for keys in range(40, 80):
        assert with_room(block, keys).state() == expected, keys


def test_no_sender_is_refused_for_want_of_room() -> None:
    block = block_of(READS.format(20), n_tx=2)
    poor = b"\xee" * 20
    last = Transaction(gas_price=0, gas_limit=21_000, to=WHO[0], sender=poor)
    block = EvmBlock(block.env, [*block.transactions, last], block.state)
    expected = pn.execute(block, "serial")
    for keys in range(40, 90):
        engine = with_room(block, keys)
        assert engine.records["success"].tolist() == [1, 1, 1], keys
        assert engine.state() == expected.state


def test_room_has_its_least_sizes() -> None:
    with pytest.raises(BlockError, match="returned = 16: must be in"):
        Room(returned=16)
    with pytest.raises(BlockError, match="keys = 0: must be in"):
        Room(keys=0)
    assert Room(memory=1 << 31).doubled().memory == 1 << 31
    assert Room().doubled().keys == 2 * Room().keys


# -------------------------------------------------------------------- code that comes and goes


@pytest.mark.parametrize("workers", [1, 2])
def test_a_list_has_the_code_that_was_there_for_a_while(workers: int) -> None:
    """A contract is made, called, and gone before the block ends."""
    child = bytes.fromhex("36600557005b33ff")
    turns = bytes.fromhex("610400" if not DISABLED else "610002") + bytes.fromhex("5b60019003806003575b")
    init = turns + bytes.fromhex(f"60{len(child):02x}60{len(turns) + 12:02x}60003960{len(child):02x}6000f3") + child
    where = keccak(encode([WHO[0], 0]))[12:]
    txs = [
        Transaction(gas_price=9, gas_limit=1_000_000, to=None, data=init, sender=WHO[0]),
        Transaction(gas_price=9, gas_limit=100_000, to=where, sender=WHO[1]),
        Transaction(gas_price=9, gas_limit=100_000, to=where, data=b"\1", sender=WHO[2]),
    ]
    given = block_of("00", Fork.LONDON)
    block = EvmBlock(given.env, txs, given.state)
    serial = pn.execute(block, "serial")
    assert serial.success.all()
    assert where not in serial.state
    assert serial.block_access_list().codes == (child,)
    for _ in range(5):
        pn.execute(block, "bal", workers=workers).check_equal(serial)


@pytest.mark.parametrize("executor", EXECUTORS[1:])
def test_delegations_change_for_those_behind(executor: str) -> None:
    """An account runs one code, then another, then none; between that it is called (EIP-7702)."""
    signer, counter, setter = key(3), b"\xc1" * 20, b"\xc2" * 20
    account = bytes(signer.public_key.to_canonical_address())
    state = {
        counter: AccountState(0, 1, bytes.fromhex("600054600101600055"), {}),
        setter: AccountState(0, 1, bytes.fromhex("6007600155"), {}),
    }
    block = block_of("00", Fork.PRAGUE, state=state)
    targets = [counter, setter, bytes(20), counter]
    txs: list[Transaction] = []
    for nonce, target in enumerate(targets):
        signed = (authorization(signer, 1, target, nonce),)
        txs.append(Transaction(
            type=4, chain_id=1, max_fee_per_gas=9, max_priority_fee_per_gas=1, gas_limit=300_000, to=CODE, nonce=nonce,
            sender=WHO[0], authorization_list=signed,
        ))  # fmt: skip
        txs += [
            Transaction(gas_price=9, gas_limit=100_000, to=account, nonce=2 * nonce + i, sender=WHO[1]) for i in range(2)
        ]
    block = EvmBlock(block.env, txs, block.state)
    serial = pn.execute(block, "serial")
    assert serial.success.all()
    assert serial.state[account].storage == {0: 4, 1: 7}
    for workers in (1, 2):
        pn.execute(block, executor, workers=workers).check_equal(serial)


@settings(max_examples=3 if DISABLED else 25, deadline=None)
@given(st.data())
def test_random_delegations_change_nothing_in_parallel(data: st.DataObject) -> None:
    """Accounts that delegate to each other's and to contracts' code, send, pay, are called, and destroy themselves."""
    signers = [key(number) for number in (3, 4, 5)]
    accounts = [bytes(signer.public_key.to_canonical_address()) for signer in signers]
    places = [at(number) for number in range(len(CODES))]
    state = {**base_state(), **{one: AccountState(10**19, 0, b"", {1: 7} if i else {}) for i, one in enumerate(accounts)}}
    env = replace(block_of("00", Fork.PRAGUE).env, fee_recipient=MINER)
    machine, txs = Evm(env, state), []
    words = st.sampled_from([0, 1, 2, *(int.from_bytes(one, "big") for one in (*places, *accounts, MINER))])
    for _ in range(data.draw(st.integers(1, 4 if DISABLED else 20))):
        sender = data.draw(st.sampled_from([*WHO[:3], *accounts]))
        known = machine.state()
        common: dict[str, Any] = {
            "to": data.draw(st.sampled_from([*places, *accounts, *accounts])), "sender": sender,
            "value": data.draw(st.sampled_from([0, 0, 1, 500])), "nonce": known[sender].nonce if sender in known else 0,
            "data": b"".join(data.draw(words).to_bytes(32, "big") for _ in range(2)), "gas_limit": 300_000,
        }  # fmt: skip
        if data.draw(st.integers(0, 2)):
            tx = Transaction(gas_price=10, **common)
        else:
            who = data.draw(st.integers(0, 2))
            nonce = (known[accounts[who]].nonce if accounts[who] in known else 0) + (accounts[who] == sender)
            target = data.draw(st.sampled_from([bytes(20), *places, *accounts]))
            signed = (authorization(signers[who], 1, target, nonce),)
            fees = {"max_fee_per_gas": 10, "max_priority_fee_per_gas": 3}
            tx = Transaction(type=4, chain_id=1, **fees, authorization_list=signed, **common)
        try:
            machine.run(tx)
        except BlockError:
            continue  # it cannot pay, for one
        txs.append(tx)
    block = EvmBlock(env, txs, state)
    serial = pn.execute(block, "serial")
    assert serial.after_transactions == machine.state()
    for executor in EXECUTORS[1:]:
        pn.execute(block, executor, workers=2).check_equal(serial)


def test_a_wrong_list_is_named_by_its_first_difference() -> None:
    block = block_of("600054600101600055", n_tx=4)
    serial = pn.execute(block, "serial")
    listed = serial.block_access_list()
    wrong = listed.values.copy()
    place = next(i for i, k in listed.entries(1) if listed.keys[k][1] == 0)
    wrong[place, -1] = 9
    bad = pn.EvmAccessList(listed.keys, listed.indptr, listed.key, wrong, listed.codes)
    for workers in (1, 2):
        with pytest.raises(AccessListError, match=r"transaction 1, 0xc0.* slot 0x0: .* leaves 0x0*2, listed is 0x0*9$"):
            pn.execute(block, "bal", access_list=bad, workers=workers)


# -------------------------------------------------------------------- what is known of a block


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_block_hash_that_nobody_has_given_is_not_made_up(executor: str) -> None:
    code = "60c84060005500"  # slot 0 := hash of block 200
    block = block_of(code, n_tx=3)
    with pytest.raises(BlockError, match="transaction 0 refused: it asks for the hash of a block before"):
        pn.execute(block, executor, workers=2)
    known = block_of(code, n_tx=3, block_hashes={200: b"\5" * 32})
    done = pn.execute(known, executor, workers=2)
    assert done.state[CODE].storage == {0: int.from_bytes(b"\5" * 32, "big")}
    with pytest.raises(BlockError, match="it asks for the hash"):
        Evm(block.env, block.state).run(block.transactions[0])
    far = block_of("600a4060005500", n_tx=3)  # of block 10: further back than anyone looks
    assert pn.execute(far, executor, workers=2).success.all()


def test_blobs_have_parameters_at_every_time() -> None:
    env = BlockEnv(number=1, timestamp=1, fork=Fork.OSAKA, base_fee=7, excess_blob_gas=0)
    assert env.blob_gas_price == 1


def test_nobody_is_the_protocol_by_its_name() -> None:
    system = b"\xff" * 19 + b"\xfe"
    block = block_of("00", Fork.CANCUN)
    tx = Transaction(gas_price=9, gas_limit=30_000, to=WHO[0], value=5, sender=system)
    with pytest.raises(BlockError, match="cannot pay"):
        pn.execute(EvmBlock(block.env, [tx], block.state), "serial")


def test_signatures_that_no_block_may_have_are_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    for fork, v, s, text in (
        (Fork.HOMESTEAD, 37, 5, "v = 37: signatures for one chain"), (Fork.BERLIN, 27, order - 5, "at most half the order"),
        (Fork.BERLIN, 27, 2**256 - 1, "must be in"), (Fork.BERLIN, 27, 0, "must be in"),
    ):  # fmt: skip
        block = block_of("00", fork)
        tx = Transaction(gas_price=9, gas_limit=30_000, to=CODE, sender=WHO[0], v=v, r=5, s=s)
        with pytest.raises(BlockError, match=text):
            pn.execute(EvmBlock(block.env, [tx], block.state), "serial")
    for fork, v, s in ((Fork.FRONTIER, 27, order - 5), (Fork.SPURIOUS, 37, 5)):
        block = block_of("00", fork)
        tx = Transaction(gas_price=9, gas_limit=30_000, to=CODE, sender=WHO[0], v=v, r=5, s=s)
        assert pn.execute(EvmBlock(block.env, [tx], block.state), "serial").success.all()


def test_withdrawals_come_before_the_calls_after_a_block_and_those_must_succeed() -> None:
    looks = AccountState(0, 1, bytes.fromhex("4760015500"), {})  # slot 1 := its balance
    paid = ((1, 1, REQUESTS, 5),)
    block = block_of("00", Fork.PRAGUE, state={REQUESTS: looks}, withdrawals=paid)
    assert pn.execute(block, "serial").state[REQUESTS].storage == {1: 5 * 10**9}
    fails = block_of("00", Fork.PRAGUE, state={REQUESTS: AccountState(0, 1, b"\xfe", {})})
    with pytest.raises(BlockError, match="the protocol's call of 0x0000096"):
        pn.execute(fails, "serial")


def test_a_state_root_is_compared_where_the_whole_state_is_known() -> None:
    block = block_of("00")
    root = pn.execute(block, "serial").state_root()
    for claimed, wrong in ((root, 0), (b"\5" * 32, 1)):
        done = pn.execute(EvmBlock(replace(block.env, state_root=claimed), block.transactions, block.state), "serial")
        assert done.differences_from_chain() == []
        assert len(done.differences_from_chain(whole_state=True)) == wrong


# -------------------------------------------------------------------- patience

INTERRUPT = """
import os, signal, sys, threading, time
import pevm_numba as pn
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.transaction import Transaction
from pevm_numba.execute import evm_job

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
evm_job.LEAST_WORK = evm_job.LEAST_GAIN = 0
executor, gas = sys.argv[1], int(sys.argv[2])
code, who = b"\\xc0" * 20, [bytes([i]) * 20 for i in range(1, 41)]
state = {code: (0, 1, bytes.fromhex("5b600056"), {}), **{one: (10**30, 0, b"", {}) for one in who}}
env = BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN, gas_limit=10**13)


def block(gas):
    return pn.EvmBlock(env, [Transaction(gas_price=9, gas_limit=gas, to=code, sender=one) for one in who], state)


short = pn.execute(block(50_000), "serial")
long = evm_job.EvmJob(block(gas), executor, workers=2, access=short.observed)
long.plan()
started = []
timer = threading.Timer(0.5, lambda: (started.append(time.perf_counter()), os.kill(os.getpid(), signal.SIGINT)))
timer.start()
try:
    long.run()
except KeyboardInterrupt:
    assert time.perf_counter() - started[0] < 1.5
    busy = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - busy < 0.2
    pn.execute(block(50_000), executor, workers=2).check_equal(short)
    print("interrupted")
"""


@pytest.mark.skipif(DISABLED, reason="needs real threads")
@pytest.mark.parametrize("gas", [10**9, 10**12], ids=["many long transactions", "one that has no end"])
@pytest.mark.parametrize("executor", ["serial", "waves", "dataflow", "optimistic"])
def test_ctrl_c_stops_every_worker(executor: str, gas: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    line = [sys.executable, "-c", INTERRUPT, executor, str(gas)]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
