"""What EIP-7928 has in a list and what not, rule by rule: who is looked at, when a thing is paid for, what is no change."""

from __future__ import annotations

from typing import Any

import pytest
from eth_keys.datatypes import PrivateKey

import pevm_numba as pn
from pevm_numba.access.eip7928 import AccountChanges, Eip7928List
from pevm_numba.access.eip7928_rules import Rule
from pevm_numba.errors import AccessListError
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.encoding import SYSTEM
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv, Withdrawal
from pevm_numba.evm.rlp import encode
from pevm_numba.evm.transaction import Authorization, Transaction

SENDER, CODE, OTHER, THIRD, MINER = (bytes([n]) * 20 for n in (1, 2, 3, 4, 9))
BEACON = bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02")
BEACON_CODE = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff810690815414603c575f5ffd5b"
    "62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
)


def push(address: bytes) -> str:
    return "73" + address.hex()


def call(to: bytes, value: int = 0, gas: str = "5a", op: str = "f1") -> str:
    """A call whose result is dropped."""
    amount = f"60{value:02x}" if op in ("f1", "f2") else ""
    return "5f5f5f5f" + amount + push(to) + gas + op + "50"


def listed(code: str, fork: Fork = Fork.SHANGHAI, others: dict[bytes, Any] | None = None, **fields: Any) -> dict[bytes, Any]:
    """The list of a block with one call of a contract, by address."""
    env_fields = {name: fields.pop(name) for name in ("withdrawals", "parent_beacon_block_root") if name in fields}
    state = {SENDER: (10**18, 0, b"", {}), CODE: (7, 1, bytes.fromhex(code), {}), **(others or {})}
    tx = Transaction(**({"gas_price": 9, "gas_limit": 500_000, "to": CODE, "sender": SENDER} | fields))
    blobs = {"excess_blob_gas": 0} if fork >= Fork.CANCUN else {}
    env = BlockEnv(number=7, timestamp=99, fork=fork, base_fee=7, **({"fee_recipient": MINER} | blobs | env_fields))
    block = EvmBlock(env, [tx], state)
    found = pn.execute(block, "serial").eip7928_list()
    for executor in ("optimistic", "dataflow"):
        assert pn.execute(block, executor, workers=2).eip7928_list() == found
    return {one.address: one for one in found}


def test_who_sends_who_is_called_and_who_is_paid() -> None:
    found = listed("00", value=5)
    assert found.keys() == {SENDER, CODE, MINER}
    assert found[SENDER].nonce_changes == ((1, 1),)
    assert found[CODE] == AccountChanges(CODE, balance_changes=((1, 12),))
    assert found[MINER].balance_changes == ((1, 21_000 * 2),)


def test_a_fee_of_nothing_is_a_read_of_the_miner_and_no_value_one_of_the_recipient() -> None:
    found = listed("00", gas_price=7)
    assert found[MINER] == AccountChanges(MINER)
    assert found[CODE] == AccountChanges(CODE)


def test_an_empty_block_lists_nobody() -> None:
    env = BlockEnv(number=7, timestamp=99, fork=Fork.SHANGHAI, base_fee=7, fee_recipient=MINER)
    assert len(pn.execute(EvmBlock(env, [], {SENDER: (1, 0, b"", {})}), "serial").eip7928_list()) == 0


@pytest.mark.parametrize("op", ["31", "3b", "3f"])
def test_targets_of_balance_and_code_opcodes(op: str) -> None:
    assert listed(push(OTHER) + op)[OTHER] == AccountChanges(OTHER)


@pytest.mark.parametrize("op", ["f1", "f2", "f4", "fa"])
def test_targets_of_calls_even_if_they_revert(op: str) -> None:
    state = {OTHER: (0, 1, bytes.fromhex("5f5ffd"), {})}
    assert listed(call(OTHER, op=op), others=state)[OTHER] == AccountChanges(OTHER)
    assert listed(call((2).to_bytes(20, "big"), op=op))[(2).to_bytes(20, "big")] == AccountChanges((2).to_bytes(20, "big"))


def test_nobody_is_looked_at_for_whom_the_gas_does_not_suffice() -> None:
    """2,600 for the account, 9,000 for value, 3 a word of memory; 2,100 for a slot; more than 2,300 for a store."""
    for code, least in (
        (push(OTHER) + "31", 3 + 2_600), (push(OTHER) + "3b", 3 + 2_600), (push(OTHER) + "ff", 3 + 7_600),
        ("5f5f5f" + push(OTHER) + "3c", 3 * 2 + 3 + 2_600), ("60205f5f" + push(OTHER) + "3c", 3 + 2 * 2 + 3 + 2_600 + 6),
        ("5f5f5f5f5f" + push(OTHER) + "5ff1", 2 * 6 + 3 + 2_600), ("5f5f5f5f" + push(OTHER) + "5ffa", 2 * 5 + 3 + 2_600),
        ("5f5f5f5f6001" + push(OTHER) + "5ff1", 4 * 2 + 2 + 6 + 11_600),
        ("60205f5f5f5f" + push(OTHER) + "5ff1", 3 + 2 * 5 + 3 + 2_600 + 3),
    ):  # fmt: skip
        assert OTHER in listed(code, gas_limit=21_000 + least), code
        assert OTHER not in listed(code, gas_limit=21_000 + least - 1), code
    for code, least in (("6005" "54", 3 + 2_100), ("6001600555", 6 + 2_301)):
        assert listed(code, gas_limit=21_000 + least)[CODE].storage_reads == (5,)
        assert listed(code, gas_limit=21_000 + least - 1)[CODE].storage_reads == ()


def test_a_list_of_the_transaction_is_not_copied() -> None:
    found = listed("6005" "54", type=1, chain_id=1, access_list=((OTHER, (1,)), (CODE, (5, 6))))
    assert found.keys() == {SENDER, CODE, MINER}
    assert found[CODE].storage_reads == (5,)


def test_changes_of_storage_and_what_is_none() -> None:
    others = {CODE: (7, 1, bytes.fromhex("60016000555f600155600260025560035460045560076005556001600555"), {1: 8, 2: 2, 5: 1})}
    found = listed("", others=others)[CODE]
    assert found.storage_changes == ((0, ((1, 1),)), (1, ((1, 0),)))
    assert found.storage_reads == (2, 3, 4, 5)


def test_what_a_call_that_fails_has_read_and_written_is_read() -> None:
    state = {OTHER: (0, 1, bytes.fromhex("60055460016007555f5ffd"), {})}
    assert listed(call(OTHER), others=state)[OTHER] == AccountChanges(OTHER, (), (5, 7))


def test_balances_that_are_as_before_are_no_change() -> None:
    """It sends 5 wei to one who sends them back, with a byte of data, at which it stops."""
    state = {OTHER: (0, 1, bytes.fromhex("5f5f60015f34" + push(CODE) + "5af1"), {})}
    found = listed("36602b57" + call(OTHER, 5) + "00" + "00" * 8 + "5b00", others=state)
    assert found[OTHER] == AccountChanges(OTHER)
    assert found[CODE] == AccountChanges(CODE)


@pytest.mark.parametrize("fork", [Fork.SHANGHAI, Fork.CANCUN])
def test_self_destruct_lists_who_is_left_what(fork: Fork) -> None:
    found = listed(push(OTHER) + "ff", fork)
    assert found[OTHER].balance_changes == ((1, 7),)
    assert found[CODE].balance_changes == ((1, 0),)
    poor = {CODE: (0, 1, bytes.fromhex(push(OTHER) + "ff"), {})}
    assert listed("", fork, others=poor)[OTHER] == AccountChanges(OTHER)


def test_created_contracts_and_addresses_where_none_could_be() -> None:
    found = listed("5f5f5ff0")
    (made,) = found.keys() - {SENDER, CODE, MINER}
    assert found[made] == AccountChanges(made, nonce_changes=((1, 1),))
    assert found[CODE].nonce_changes == ((1, 2),)
    taken = {made: (0, 3, b"", {})}
    assert listed("5f5f5ff0", others=taken)[made] == AccountChanges(made)
    assert made not in listed("5f5f6009f0")  # it has not 9 wei


def test_code_that_is_deployed_is_listed_itself() -> None:
    found = listed("00", to=None, data=bytes.fromhex("60fe5f5360015ff3"))
    (made,) = found.keys() - {SENDER, MINER}
    assert found[made] == AccountChanges(made, nonce_changes=((1, 1),), code_changes=((1, b"\xfe"),))


def test_delegations_list_who_signed_and_the_target_when_it_runs() -> None:
    key = PrivateKey(bytes(31) + b"\x05")
    signer = key.public_key.to_canonical_address()

    def sign(nonce: int) -> Authorization:
        vrs = key.sign_msg_hash(keccak(b"\x05" + encode([1, OTHER, nonce]))).vrs
        return Authorization(1, OTHER, nonce, *vrs)

    fields = {"type": 4, "chain_id": 1, "gas_price": None, "max_fee_per_gas": 9, "max_priority_fee_per_gas": 1}
    delegation = b"\xef\x01" + bytes(1) + OTHER
    found = listed("00", Fork.PRAGUE, authorization_list=(sign(0),), **fields)
    assert found[signer] == AccountChanges(signer, nonce_changes=((1, 1),), code_changes=((1, delegation),))
    assert OTHER not in found
    runs = {THIRD: (0, 1, delegation, {})}
    assert {THIRD, OTHER} <= listed(call(THIRD), Fork.PRAGUE, others=runs).keys()
    assert listed("00", Fork.PRAGUE, authorization_list=(sign(5),), **fields)[signer] == AccountChanges(signer)


def test_what_the_protocol_does_has_indices_of_its_own() -> None:
    paid = (Withdrawal(0, 0, OTHER, 5), Withdrawal(1, 0, THIRD, 0), Withdrawal(2, 0, OTHER, 1))
    others = {BEACON: (0, 1, BEACON_CODE, {})}
    found = listed("00", Fork.CANCUN, others=others, withdrawals=paid, parent_beacon_block_root=b"\x07" * 32)
    assert found[OTHER] == AccountChanges(OTHER, balance_changes=((2, 6 * 10**9),))
    assert found[THIRD] == AccountChanges(THIRD)
    root = int.from_bytes(b"\x07" * 32, "big")
    assert found[BEACON].storage_changes == ((99, ((0, 99),)), (8191 + 99, ((0, root),)))
    assert SYSTEM not in found


def test_the_caller_of_the_protocol_is_listed_if_a_transaction_looks_at_it_and_else_refused() -> None:
    assert listed(push(SYSTEM) + "31")[SYSTEM] == AccountChanges(SYSTEM)
    for code, right in ((push(SYSTEM) + "31", True), ("00", False)):
        tx = Transaction(gas_price=9, gas_limit=500_000, to=CODE, sender=SENDER)
        state = {SENDER: (10**18, 0, b"", {}), CODE: (7, 1, bytes.fromhex(code), {})}
        block = EvmBlock(BlockEnv(number=7, timestamp=99, fork=Fork.SHANGHAI, base_fee=7), [tx], state)
        done = pn.execute(block, "serial")
        rest = {one.address: one for one in done.eip7928_list()}
        said = Eip7928List.from_accounts(sorted({**rest, SYSTEM: AccountChanges(SYSTEM)}.values()))
        said.check(n_tx=1, gas_limit=block.env.gas_limit)
        if right:
            pn.execute(block, "bal", access_list=said).check_equal(done)
        else:
            with pytest.raises(AccessListError, match=f"0x{SYSTEM.hex()}: listed, but {Rule.SYSTEM_ADDRESS.text}"):
                pn.execute(block, "bal", access_list=said)
