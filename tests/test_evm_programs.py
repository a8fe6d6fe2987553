"""Random and hostile programs on the machine and on independent EVMs: receipts and whole states must be the same."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import pytest
from evm_peers import (
    FORKS,
    After,
    Case,
    Outcome,
    PeerLimit,
    block_hash,
    differences,
    from_fork,
    missing,
    pyrevm_limit,
    run_pyevm,
    run_pyrevm,
)  # fmt: skip
from evm_programs import hostile_cases, random_case

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import BlockError
from pevm_numba.evm.arena import Room
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.transaction import Transaction

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {' and '.join(missing())}")

#: Programs of each fork, on py-evm and on pyrevm: in the soak 102,000 in all.
SOAK = bool(os.environ.get("PEVM_NUMBA_SOAK"))
#: In plain Python a program takes seconds.
PROGRAMS, CALLS = (2_500, 8_000) if SOAK else (3, 4) if DISABLED else (30, 40)


def environment(case: Case) -> BlockEnv:
    """The case's block in our form."""
    env, number = case.env, case.env["number"]
    fork = Fork[case.fork]
    return BlockEnv(
        number=number, timestamp=env["timestamp"], fork=fork, fee_recipient=env["fee_recipient"], gas_limit=env["gas_limit"],
        prev_randao=env["prev_randao"] if fork >= Fork.PARIS else env["difficulty"],
        base_fee=env["base_fee"] if fork >= Fork.LONDON else None, chain_id=env.get("chain_id", 1),
        excess_blob_gas=env["excess_blob_gas"] if fork >= Fork.CANCUN else None,
        block_hashes={n: block_hash(n) for n in range(max(0, number - 256), number)},
    )  # fmt: skip


def transaction(case: Case) -> Transaction:
    """The case's transaction in our form."""
    tx: dict[str, Any] = {name: case.tx[name] for name in ("sender", "to", "nonce", "gas_limit", "value", "data")}
    hashes, chain = tuple(case.tx.get("blob_hashes", ())), case.env.get("chain_id", 1)
    if hashes:
        price = case.tx["gas_price"]
        fees = {"max_fee_per_gas": price, "max_priority_fee_per_gas": price, "max_fee_per_blob_gas": 10**9}
        return Transaction(
            type=3, chain_id=chain, access_list=case.tx["access_list"], blob_versioned_hashes=hashes, **fees, **tx
        )  # fmt: skip
    given = tuple(case.tx.get("authorizations", ()))
    if given:
        price = case.tx["gas_price"]
        fees = {"max_fee_per_gas": price, "max_priority_fee_per_gas": price}
        return Transaction(type=4, chain_id=chain, access_list=case.tx["access_list"], authorization_list=given, **fees, **tx)
    listed = {"type": 1, "chain_id": chain, "access_list": case.tx["access_list"]} if from_fork(case.fork, "BERLIN") else {}
    return Transaction(gas_price=case.tx["gas_price"], **listed, **tx)


def run(case: Case, room: Room | None = None) -> Outcome:
    """The case on our machine."""
    state = {a: (one.balance, one.nonce, one.code, one.storage) for a, one in case.pre.items()}
    machine = Evm(environment(case), state, room)
    done = machine.run(transaction(case))
    accounts = {address: After(*account) for address, account in machine.state().items()}
    logs = tuple((log.address, tuple(int(topic) for topic in log.topics), log.data) for log in done.logs)
    return Outcome(done.success, done.gas_used, done.output, logs, accounts)


def check(case: Case, name: object) -> Outcome:
    """Our outcome, which must be that of the peers that can run the case."""
    ours = run(case)
    assert not differences(case, ours, run_pyevm(case)), f"{name}: py-evm"
    return ours


@pytest.mark.parametrize("fork", FORKS)
def test_random_programs_leave_what_py_evm_leaves(fork: str) -> None:
    outcomes = [check(random_case(seed, fork), seed) for seed in range(5_000, 5_000 + PROGRAMS)]
    if PROGRAMS >= 30:
        assert PROGRAMS // 10 < sum(outcome.success for outcome in outcomes) < PROGRAMS
        assert any(outcome.logs for outcome in outcomes)


@pytest.mark.parametrize("fork", [fork for fork in FORKS if from_fork(fork, "SPURIOUS")])
def test_random_programs_leave_what_pyrevm_leaves(fork: str) -> None:
    compared = 0
    for seed in range(9_000, 9_000 + CALLS):
        case = random_case(seed, fork)
        try:
            theirs = run_pyrevm(case)
        except PeerLimit:
            continue
        found = differences(case, run(case), theirs)
        assert not found or pyrevm_limit(case), (seed, found)
        compared += not found
    assert compared > CALLS // 2 or DISABLED


@pytest.mark.parametrize("fork", ["CANCUN", *(pytest.param(fork, marks=pytest.mark.soak) for fork in FORKS[:-1])])
@pytest.mark.skipif(DISABLED, reason="30 million gas of plain Python take hours")
def test_hostile_programs_are_bounded_and_leave_what_py_evm_leaves(fork: str) -> None:
    for name, case in hostile_cases(fork).items():
        check(case, name)


def test_tables_that_are_too_small_are_enlarged_and_the_outcome_is_the_same() -> None:
    tiny = {"keys": 64, "codes": 8, "accounts": 4, "slots": 1, "journal": 4, "logs": 1, "log_bytes": 1, "memory": 512}
    for seed in range(20):
        case = random_case(seed, "CANCUN")
        assert not differences(case, run(case, Room(**tiny, code_bytes=1 << 14, returned=64)), run(case))


def test_refused_transactions_change_nothing_and_say_why() -> None:
    rich, poor, contract = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
    state = {rich: (10**18, 5, b"", {}), poor: (1, 0, b"", {}), contract: (10**18, 0, b"\x00", {})}
    machine = Evm(BlockEnv(number=9, timestamp=9, fork=Fork.SHANGHAI, base_fee=7), state)
    before = machine.state()
    good: dict[str, Any] = {"sender": rich, "to": poor, "nonce": 5, "gas_limit": 21_000, "gas_price": 7}
    for change, text in (
        ({"nonce": 4}, "nonce = 4: the sender's is 5"),
        ({"sender": poor, "nonce": 0}, "the sender cannot pay 147000 wei"),
        ({"sender": contract, "nonce": 0}, "the sender has code"),
        ({"gas_limit": 20_999}, "gas_limit = 20999: must be at least 21000"),
        ({"gas_price": 6}, "price of gas 6: must be at least the base fee 7"),
        ({"gas_limit": 30_000_001}, "gas_limit = 30000001: must be at most 30000000"),
        ({"to": None, "data": bytes(49_153), "gas_limit": 10**6}, "data of 49153 bytes: must be at most 49152"),
        ({"sender": None}, "sender = None: must be given"),
    ):
        with pytest.raises(BlockError, match=text):
            machine.run(Transaction(**good | change))
        assert machine.state() == before
    assert machine.run(Transaction(**good)).success
    assert machine.state()[poor].balance == 1
    assert machine.state()[rich].balance == 10**18 - 7 * 21_000


@pytest.mark.parametrize("fork", [Fork.FRONTIER, Fork.TANGERINE, Fork.SPURIOUS, Fork.CANCUN])
def test_empty_accounts_exist_until_spurious_dragon_and_a_left_over_one_until_it_is_touched(fork: Fork) -> None:
    sender, touched, left, absent = (bytes([i]) * 20 for i in (1, 2, 3, 4))
    state = {sender: (10**18, 0, b"", {}), touched: (0, 0, b"", {}), left: (0, 0, b"", {})}
    cancun = {"base_fee": 0, "excess_blob_gas": 0} if fork == Fork.CANCUN else {}
    machine = Evm(BlockEnv(number=9, timestamp=9, fork=fork, **cancun), state)
    for nonce, to in enumerate((touched, absent)):
        assert machine.run(Transaction(sender=sender, nonce=nonce, to=to, gas_limit=21_000, gas_price=0)).success
    after = set(machine.state())
    assert left in after
    assert (touched in after, absent in after, bytes(20) in after) == 3 * (fork < Fork.SPURIOUS,)


def test_a_machine_that_is_not_used_any_more_gives_its_memory_back_at_once() -> None:
    gc.disable()
    try:
        machine = Evm(BlockEnv(number=9, timestamp=9, fork=Fork.BERLIN), {})
        arena = weakref.ref(machine.arena)
        del machine
        assert arena() is None
    finally:
        gc.enable()
