"""Opcode and price tables: against py-evm's own tables, and against laws that they must keep."""

from __future__ import annotations

import warnings

import pytest

from pevm_numba.errors import BlockError
from pevm_numba.evm.forks import ACTIVATIONS, BLOB_SCHEDULE, Fork, blob_parameters, fork_at, fork_named
from pevm_numba.evm.opcodes import ENVIRONMENT, HANDLERS, OPCODES, STACK_LIMIT, name_of, opcodes, packed
from pevm_numba.evm.prices import CHANGES, prices

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    vms = pytest.importorskip("eth.vm.forks", reason="py-evm is not installed")

PEERS = {
    Fork.FRONTIER: "FrontierVM", Fork.HOMESTEAD: "HomesteadVM", Fork.TANGERINE: "TangerineWhistleVM",
    Fork.SPURIOUS: "SpuriousDragonVM", Fork.BYZANTIUM: "ByzantiumVM", Fork.PETERSBURG: "PetersburgVM",
    Fork.ISTANBUL: "IstanbulVM", Fork.BERLIN: "BerlinVM", Fork.LONDON: "LondonVM", Fork.PARIS: "ParisVM",
    Fork.SHANGHAI: "ShanghaiVM", Fork.CANCUN: "CancunVM",
}  # fmt: skip

#: Opcodes whose least price py-evm books elsewhere; `gas_cost` there is something else.
ELSEWHERE = {
    "BALANCE", "EXTCODESIZE", "EXTCODECOPY", "EXTCODEHASH", "SLOAD", "SSTORE", "CALL", "CALLCODE", "DELEGATECALL",
    "STATICCALL", "SELFDESTRUCT", "CREATE", "CREATE2", "LOG0", "LOG1", "LOG2", "LOG3", "LOG4",
}  # fmt: skip


def peer_table(fork: Fork) -> dict:
    return getattr(vms, PEERS[fork]).get_state_class().computation_class.opcodes


@pytest.mark.parametrize("fork", PEERS, ids=lambda fork: fork.name.lower())
def test_a_fork_has_the_opcodes_and_fixed_prices_of_py_evm(fork: Fork) -> None:
    ours, theirs = opcodes(fork), peer_table(fork)
    assert set(ours) == {code for code in theirs if code != 0xFE}
    for code, op in ours.items():
        if op.name not in ELSEWHERE:
            assert op.gas == theirs[code].gas_cost, op.name
        peer = getattr(theirs[code], "mnemonic", op.name)  # a function has none
        assert peer in (op.name, name_of(code, fork), {"KECCAK256": "SHA3"}.get(op.name)), op.name


@pytest.mark.parametrize("fork", list(Fork), ids=lambda fork: fork.name.lower())
def test_the_packed_table_says_what_the_opcodes_say(fork: Fork) -> None:
    table, known = packed(fork), opcodes(fork)
    assert len(table) == 256
    assert max(table) < 2**63
    for code, entry in enumerate(table):
        gas, pops, room = entry & 0xFFFF, entry >> 16 & 0xFFFF, entry >> 32 & 0xFFFF
        if code not in known:
            assert pops > 32 * STACK_LIMIT, "the test for underflow must find what is no opcode"
            continue
        op = known[code]
        assert (gas, pops, HANDLERS[entry >> 48 & 0xFF], entry >> 56) == (op.gas, 32 * op.pops, op.handler, op.parameter)
        assert room // 32 + op.pushes - op.pops <= STACK_LIMIT
        assert room // 32 == STACK_LIMIT or room // 32 + op.pushes - op.pops == STACK_LIMIT


def test_codes_and_names_are_distinct_and_parameters_tell_members_of_a_family_apart() -> None:
    assert len({op.code for op in OPCODES}) == len({op.name for op in OPCODES}) == len(OPCODES)
    assert len({(op.handler, op.parameter) for op in OPCODES}) == len(OPCODES)
    environment = {op.parameter: op.name.lower() for op in OPCODES if op.handler == "ENVIRONMENT"}
    assert [environment[i] for i in range(len(ENVIRONMENT))] == [name.replace("_", "") for name in ENVIRONMENT]


def test_every_fork_has_every_price_and_each_change_changes_something() -> None:
    names = list(prices(Fork.FRONTIER))
    for fork in Fork:
        assert list(prices(fork)) == names
    seen: dict[str, int] = {}
    assert [row[0] for row in CHANGES] == sorted(row[0] for row in CHANGES)
    for fork, eip, name, gas in CHANGES:
        assert seen.get(name) != gas, (fork, name)
        assert (eip == 0) == (fork == Fork.FRONTIER)
        seen[name] = gas


@pytest.mark.parametrize("fork", PEERS, ids=lambda fork: fork.name.lower())
def test_prices_of_state_access_are_those_of_py_evm(fork: Fork) -> None:
    ours, theirs = prices(fork), peer_table(fork)
    if fork < Fork.BERLIN:
        for name, code in {"balance": 0x31, "extcode": 0x3B, "sload": 0x54, "call": 0xF1, "extcode_hash": 0x3F}.items():
            if code in theirs:
                assert theirs[code].gas_cost == ours[name], name
    elif fork >= Fork.BERLIN:
        from eth.vm.forks.berlin import constants

        assert ours["cold_account"] == constants.COLD_ACCOUNT_ACCESS_COST
        assert ours["cold_slot"] == constants.COLD_SLOAD_COST
        assert ours["warm"] == constants.WARM_STORAGE_READ_COST
        assert ours["list_address"] == constants.ACCESS_LIST_ADDRESS_COST_EIP_2930
        assert ours["list_slot"] == constants.ACCESS_LIST_STORAGE_KEY_COST_EIP_2930


def test_forks_of_mainnet_begin_where_they_began() -> None:
    for fork, by, first in ACTIVATIONS:
        number = first if by == "number" else 30_000_000
        time = first if by == "timestamp" else 0
        assert fork_at(number, time) is fork
        if fork > Fork.FRONTIER:
            before = fork_at(number - (by == "number"), time - (by == "timestamp"))
            assert before == fork - 1
    assert fork_named("ConstantinopleFix") is Fork.PETERSBURG
    with pytest.raises(BlockError, match="fork 'moon' is unknown: one of frontier"):
        fork_named("moon")


def test_blob_parameters_follow_the_forks_and_then_the_clock() -> None:
    assert blob_parameters(Fork.OSAKA) == blob_parameters(Fork.OSAKA, 1_764_798_551)
    assert blob_parameters(Fork.OSAKA)[2:] == (6, 9, 5_007_716, 6, True)
    assert blob_parameters(Fork.OSAKA, 1_765_290_070)[2:4] == (6, 9)
    assert blob_parameters(Fork.OSAKA, 1_765_290_071)[2:] == (10, 15, 8_346_193, 6, True)
    assert blob_parameters(Fork.OSAKA, 2_000_000_000)[2:] == (14, 21, 11_684_671, 6, True)
    assert blob_parameters(Fork.CANCUN, 2_000_000_000)[2:] == (3, 6, 3_338_477, 6, False)
    assert blob_parameters(Fork.PRAGUE, 2_000_000_000)[2:] == (6, 9, 5_007_716, 9, False)
    assert [row.since for row in BLOB_SCHEDULE[:3]] == [since for _, _, since in ACTIVATIONS[-3:]]
    assert blob_parameters("BPO1") == BLOB_SCHEDULE[3]
    with pytest.raises(BlockError, match="fork 'bpo3' is unknown: parameters of blobs are those of cancun"):
        blob_parameters("bpo3")
