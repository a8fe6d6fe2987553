"""Headers, and blocks as nodes give them: made from signed transactions, from real blocks, and wrong in one place each."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from pevm_numba.blobs.market import fake_exponential
from pevm_numba.errors import BlockError, FileFormatError, UsageError
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.forks import BLOB_SCHEDULE, Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv, Withdrawal
from pevm_numba.evm.rlp import encode
from pevm_numba.evm.transaction import Authorization, Transaction, signing_hash, transaction_hash
from pevm_numba.evm.workloads import MIXES, generate_evm
from pevm_numba.evm.world import AccountState
from pevm_numba.io.evm_tables import read_evm_blocks
from pevm_numba.io.node_json import read_node_block
from pevm_numba.io.node_json_write import node_block_json, write_node_block

keys = pytest.importorskip("eth_keys", reason="eth-keys is not installed").keys

# -------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("factor", "numerator", "denominator", "expected"),
    [  # of go-ethereum, consensus/misc/eip4844
        (1, 0, 1, 1), (38493, 0, 1000, 38493), (0, 1234, 2345, 0), (1, 2, 1, 6), (1, 4, 2, 6), (1, 3, 1, 16), (1, 6, 2, 18),
        (1, 4, 1, 49), (1, 8, 2, 50), (10, 8, 2, 542), (11, 8, 2, 596), (1, 5, 1, 136), (1, 5, 2, 11), (2, 5, 2, 23),
        (1, 50_000_000, 2_225_652, 5_709_098_764),
    ],
)  # fmt: skip
def test_exponentials(factor: int, numerator: int, denominator: int, expected: int) -> None:
    assert fake_exponential(factor, numerator, denominator) == expected


CANCUN: dict[str, Any] = {"number": 5, "timestamp": 9, "fork": "cancun", "base_fee": 7, "excess_blob_gas": 10**7}


def test_prices_of_blob_gas_follow_fork_and_time() -> None:
    def price(**fields: Any) -> int | None:
        return BlockEnv(**CANCUN | fields).blob_gas_price

    assert price() == 19
    assert price(blob_gas_price=3) == 3
    assert price(fork=Fork.PRAGUE) == fake_exponential(1, 10**7, 5_007_716) == 7
    first, fraction = BLOB_SCHEDULE[3].since, BLOB_SCHEDULE[3].fraction
    osaka = {"fork": "osaka", "excess_blob_gas": 10**8}
    assert price(**osaka, timestamp=first) == fake_exponential(1, 10**8, fraction)
    before = price(**osaka, timestamp=first - 1)
    assert price(**osaka, timestamp=first, chain_id=7) == before == fake_exponential(1, 10**8, 5_007_716)
    assert BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=1).blob_gas_price is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"number": -1}, "number = -1: must be in"),
        ({"timestamp": "9"}, "timestamp = '9': must be an integer"),
        ({"fork": "nothing"}, "fork 'nothing' is unknown"),
        ({"base_fee": None}, "base_fee = None: must be given from london on, and fork = cancun"),
        ({"fork": "berlin"}, "base_fee = 7: must not be given before london, and fork = berlin"),
        ({"fork": "paris"}, "excess_blob_gas = 10000000: must not be given before cancun"),
        ({"excess_blob_gas": None}, "excess_blob_gas = None: must be given from cancun on"),
        ({"excess_blob_gas": 10**12}, "excess_blob_gas = 1000000000000: must be at most 590910429"),
        ({"fee_recipient": b"x"}, "fee_recipient = 0x78: must be 20 bytes"),
        ({"prev_randao": 2**256}, "prev_randao = 11579.*: must be in"),
        ({"logs_bloom": bytes(255)}, "logs_bloom = 0x00.*: must be 256 bytes"),
        ({"block_hashes": {5: bytes(32)}}, r"block_hashes, number = 5: must be in \[0, 4\]"),
        ({"block_hashes": {4: b""}}, r"block_hashes\[4\] = 0x: must be 32 bytes"),
        ({"block_hashes": [b""]}, "block_hashes = .*: must be a Mapping"),
        ({"withdrawals": [(0, 1, bytes(20))]}, r"withdrawals\[0\] has 3 parts: must be number, validator"),
        ({"withdrawals": [(0, 1, bytes(20), 2**64)]}, r"withdrawals\[0\].amount = 18446744073709551616: must be in"),
        ({"withdrawals": [(0, 1, b"", 5)]}, r"withdrawals\[0\].address = 0x: must be 20 bytes"),
    ],
)
def test_what_cannot_be_a_header_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BlockError, match=message):
        BlockEnv(**CANCUN | fields)


def test_a_header_cannot_be_changed_from_outside() -> None:
    hashes = {4: bytes(32)}
    env = BlockEnv(**CANCUN, block_hashes=hashes, withdrawals=[(0, 1, bytes(20), 5)])
    hashes[3] = bytes(32)
    assert env.block_hashes == {4: bytes(32)}
    assert env.withdrawals == (Withdrawal(0, 1, bytes(20), 5),)
    assert env.fork is Fork.CANCUN
    with pytest.raises(AttributeError):
        env.number = 6


# -------------------------------------------------------------------- a block as a node gives it

A, B, C = (bytes([n]) * 20 for n in (0xA1, 0xB2, 0xC3))
FEES: dict[str, Any] = {"max_fee_per_gas": 9, "max_priority_fee_per_gas": 2}
PERMIT = Authorization(1, A, 3, 1, 5, 2**255)
ACCESS = ((A, (1, 2**255)), (B, ()))
PLAIN: list[dict[str, Any]] = [
    {"gas_price": 10, "to": A, "value": 7, "nonce": 2},
    {"gas_price": 10, "chain_id": 1, "data": b"\x60\x00", "gas_limit": 60_000},
    {"type": 1, "chain_id": 1, "gas_price": 2**100, "to": B, "access_list": ACCESS},
    {"type": 2, "chain_id": 1, **FEES, "to": C, "data": bytes(100)},
    {"type": 3, "chain_id": 1, **FEES, "to": A, "max_fee_per_blob_gas": 4, "blob_versioned_hashes": (b"\1" * 32,)},
    {"type": 4, "chain_id": 1, **FEES, "to": A, "access_list": ACCESS, "authorization_list": (PERMIT,)},
]
KEYS = [keys.PrivateKey(bytes(31) + bytes([n + 1])) for n in range(len(PLAIN))]


def signed(plain: dict[str, Any], key: Any) -> Transaction:
    parity, r, s = key.sign_msg_hash(signing_hash(Transaction(**plain))).vrs
    chain = plain.get("chain_id")
    v = parity if plain.get("type") else parity + (27 if chain is None else 35 + 2 * chain)
    return Transaction(**plain, v=v, r=r, s=s, sender=key.public_key.to_canonical_address())


TXS = [signed(plain, key) for plain, key in zip(PLAIN, KEYS)]


def octets(data: bytes) -> str:
    return "0x" + data.hex()


def as_node(tx: Transaction, *, unsigned: bool = False) -> dict[str, Any]:
    """A transaction in the members and order of go-ethereum."""
    names = {"gas_limit": "gas", "gas_price": "gasPrice", "max_fee_per_gas": "maxFeePerGas", "chain_id": "chainId"}
    names |= {"max_priority_fee_per_gas": "maxPriorityFeePerGas", "max_fee_per_blob_gas": "maxFeePerBlobGas"}
    names |= {name: name for name in ("type", "nonce", "value", "v", "r", "s")}
    out: dict[str, Any] = {to: hex(getattr(tx, name)) for name, to in names.items() if getattr(tx, name) is not None}
    out |= {"from": octets(tx.sender), "to": None if tx.to is None else octets(tx.to), "input": octets(tx.data)}
    if tx.type:
        out["accessList"] = [{"address": octets(a), "storageKeys": [f"{x:#066x}" for x in xs]} for a, xs in tx.access_list]
        out["yParity"] = out.get("v")
    if tx.type > 1:
        out["gasPrice"] = "0x8"  # what it paid: no field of the transaction
    if tx.type == 3:
        out["blobVersionedHashes"] = [octets(digest) for digest in tx.blob_versioned_hashes]
    if tx.type == 4:
        given = ("chainId", "address", "nonce", "yParity", "r", "s")
        out["authorizationList"] = [
            {name: octets(x) if isinstance(x, bytes) else hex(x) for name, x in zip(given, one)}
            for one in tx.authorization_list
        ]
    if unsigned:
        return {name: value for name, value in out.items() if name not in ("v", "r", "s", "yParity")}
    return out | {"hash": octets(transaction_hash(tx)), "transactionIndex": "0x0", "blockHash": None}


def node_block() -> dict[str, Any]:
    return {
        "number": "0x15f9000", "timestamp": "0x68200000", "miner": octets(C), "gasLimit": "0x1c9c380", "gasUsed": "0x5208",
        "difficulty": "0x0", "mixHash": "0x" + "0" * 62 + "ab", "baseFeePerGas": "0x7", "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": octets(b"\5" * 32), "parentHash": octets(b"\6" * 32), "stateRoot": octets(b"\7" * 32),
        "receiptsRoot": octets(b"\x08" * 32), "logsBloom": octets(bytes(256)), "extraData": "0x", "size": "0x1", "uncles": [],
        "withdrawals": [{"index": "0x1", "validatorIndex": "0x2", "address": octets(B), "amount": "0x3"}],
        "transactions": [as_node(tx) for tx in TXS],
    }  # fmt: skip


def test_a_block_is_read_as_it_was_made(tmp_path: Path) -> None:
    block = node_block()
    expected = read_node_block(block)
    assert list(expected.transactions) == TXS
    env = expected.env
    assert (env.fork, env.number, env.timestamp, env.chain_id) == (Fork.PRAGUE, 0x15F9000, 0x68200000, 1)
    assert (env.prev_randao, env.base_fee, env.blob_gas_price) == (0xAB, 7, 1)
    assert (env.gas_limit, env.gas_used) == (30_000_000, 21_000)
    assert (env.fee_recipient, env.block_hashes) == (C, {0x15F8FFF: b"\6" * 32})
    assert (env.parent_beacon_block_root, env.state_root, env.receipts_root) == (b"\5" * 32, b"\7" * 32, b"\x08" * 32)
    assert env.logs_bloom == bytes(256)
    assert env.withdrawals == (Withdrawal(1, 2, B, 3),)

    enveloped = {"jsonrpc": "2.0", "id": 1, "result": block}
    plain, packed = tmp_path / "block.json", tmp_path / "block.json.gz"
    plain.write_text(json.dumps(enveloped))
    packed.write_bytes(gzip.compress(json.dumps(block).encode()))
    for source in (enveloped, plain, str(packed)):
        assert read_node_block(source) == expected

    for one in block["transactions"]:
        del one["from"]
        one["data"] = one.pop("input")
        one.pop("yParity", None)
    assert read_node_block(block) == expected
    without = {**block, "transactions": [as_node(tx, unsigned=True) for tx in TXS]}
    read = read_node_block(without).transactions
    assert [tx.sender for tx in read] == [tx.sender for tx in TXS]
    assert [signing_hash(tx) for tx in read] == [signing_hash(tx) for tx in TXS]
    assert all(tx.v is None for tx in read)


def test_other_chains_need_a_fork_and_old_blocks_have_a_difficulty() -> None:
    block = node_block()
    with pytest.raises(FileFormatError, match=r"a block of chain 5: only chain 1 has .*: say which with fork="):
        read_node_block(block, chain_id=5)
    assert read_node_block(block, chain_id=5, fork="Prague").env.chain_id == 5
    old = {name: block[name] for name in ("miner", "gasLimit", "mixHash")}
    old |= {"number": "0x0", "timestamp": "0x1", "difficulty": "0x4", "parentHash": octets(bytes(32)), "transactions": []}
    env = read_node_block(old).env
    assert (env.fork, env.prev_randao, env.base_fee, env.block_hashes) == (Fork.FRONTIER, 4, None, {})


def at(block: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The block with one value changed; a value of ... takes the member out."""
    *inner, last = place
    target = block
    for name in inner:
        target = target[name]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return block


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("transactions", 3, "from"), octets(A), r"transactions\[3\].from = '0xa1.*': signed by 0x[0-9a-f]{40}"),
        (("transactions", 3, "hash"), octets(bytes(32)), r"transactions\[3\].hash = '0x00.*: the fields have hash 0x"),
        (("transactions", 3, "input"), "0x", r"transactions\[3\].from = .*: signed by"),
        (("transactions", 0, "v"), "0x5", r"transactions\[0\].v = 5: must be 27, 28, or 35 and more"),
        (("transactions", 1, "chainId"), "0x5", r"transactions\[1\].chain_id = 5: v = 3[78] signs for chain 1"),
        (("transactions", 2, "yParity"), "0x1b", r"transactions\[2\].v = 27: must be 0 or 1 in type 1"),
        (("transactions", 4, "s"), hex(2**256 - 1), r"transactions\[4\].s = 0xff.*: must be at most .*EIP-2"),
        (("transactions", 4, "s"), "0x" + "f" * 65, r"transactions\[4\].s = .*: must be a quantity in hexadecimal"),
        (("transactions", 2), octets(bytes(32)), r"transactions\[2\] = .*: ask the node for full transactions"),
        (("transactions", 2, "type"), "0x7e", r"transactions\[2\].type = '0x7e': must be a quantity .* in \[0, 0x4\]"),
        (("transactions", 2, "gas"), 1.5, r"transactions\[2\].gas = 1.5: must be a quantity"),
        (("transactions", 2, "gas"), "21000", r"transactions\[2\].gas = '21000': must be a quantity"),
        (("transactions", 2, "gas"), True, r"transactions\[2\].gas = True: must be a quantity"),
        (("transactions", 2, "nonce"), hex(2**64), r"transactions\[2\].nonce = '0x1.*: must be .* in \[0, 0xf{16}\]"),
        (("transactions", 2, "gas"), hex(2**64), r"transactions\[2\].gas = '0x1.*: must be .* in \[0, 0xf{16}\]"),
        (("withdrawals",), {}, "withdrawals = {}: must be an array"),
        (("transactions", 2, "nonce"), ..., r"transactions\[2\] = .*: member 'nonce' is missing"),
        (("transactions", 2, "input"), ..., r"transactions\[2\] = .*: member 'input' or 'data' is missing"),
        (("transactions", 2, "input"), "0x123", r"transactions\[2\].input = '0x123': must be bytes in hexadecimal"),
        (("transactions", 2, "to"), "0x12", r"transactions\[2\].to = '0x12': has 1 bytes: must be 20"),
        (("transactions", 4, "to"), None, r"transactions\[4\].to = None: type 3 cannot create a contract"),
        (("transactions", 2, "accessList", 0, "storageKeys", 1), "x", r"\[2\].accessList\[0\].storageKeys\[1\] = 'x'"),
        (("transactions", 2, "accessList"), {}, r"transactions\[2\].accessList = {}: must be an array"),
        (("transactions", 4, "blobVersionedHashes", 0), "0x", r"blobVersionedHashes\[0\] = '0x': has 0 bytes: must be 32"),
        (("transactions", 5, "authorizationList", 0, "yParity"), "0x100", r"\[5\].authorization_list\[0\].y_parity = 256"),
        (("transactions",), ..., "block = .*: member 'transactions' is missing"),
        (("miner",), ..., "member 'miner' is missing"),
        (("mixHash",), None, "member 'mixHash' is missing"),
        (("baseFeePerGas",), None, "block: base_fee = None: must be given from london on"),
        (("logsBloom",), "0x00", "logsBloom = '0x00': has 1 bytes: must be 256"),
        (("withdrawals", 0, "amount"), ..., r"withdrawals\[0\] = .*: member 'amount' is missing"),
    ],
)
def test_what_is_wrong_in_a_block_is_named(tmp_path: Path, place: tuple[Any, ...], value: Any, message: str) -> None:
    path = tmp_path / "block.json"
    path.write_text(json.dumps(at(node_block(), place, value)))
    with pytest.raises(FileFormatError, match=message) as caught:
        read_node_block(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_sender_must_be_known_and_files_readable(tmp_path: Path) -> None:
    block = {**node_block(), "transactions": [as_node(TXS[0], unsigned=True)]}
    del block["transactions"][0]["from"]
    with pytest.raises(FileFormatError, match=r"^block: transactions\[0\].from: must be given, for there is no signature"):
        read_node_block(block)
    with pytest.raises(FileFormatError, match=r"error = .*: the node could not answer"):
        read_node_block({"jsonrpc": "2.0", "error": {"code": -32000}})
    with pytest.raises(FileFormatError, match="member 'result' is missing"):
        read_node_block({"jsonrpc": "2.0", "result": None})
    for name, data, message in (
        ("no.json", None, "no such file"),
        ("cut.json", b'{"number": ', "not readable JSON"),
        ("cut.json.gz", gzip.compress(b"{}" * 500)[:-9], "not readable JSON"),
        ("twice.json", b'{"number": 1, "number": 2}', "has the member 'number' twice"),
        ("list.json", b"[]", r"block = \[\]: must be an object"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match=message):
            read_node_block(tmp_path / name)


# -------------------------------------------------------------------- state before the block


def account(balance: int, nonce: int = 0, code: str = "0x", **storage: str) -> dict[str, Any]:
    return {"balance": hex(balance), "nonce": nonce, "code": code, "storage": {name[1:]: x for name, x in storage.items()}}


def test_state_from_one_object_of_accounts(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = {octets(A): account(5, 7, "0x6000", _0x01="0x" + "0" * 63 + "2"), octets(B): {"balance": "0x0"}}
    path.write_text(json.dumps({"result": state}))
    expected = {A: AccountState(5, 7, b"\x60\0", {1: 2}), B: AccountState(0, 0, b"", {})}
    assert read_node_block(node_block(), path).state == expected


def traced(*results: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"txHash": octets(transaction_hash(tx)), "result": result} for tx, result in zip(TXS, results)]


def test_state_from_a_result_for_each_transaction_is_what_was_seen_first() -> None:
    created = keccak(encode([TXS[1].sender, TXS[1].nonce]))[12:]
    results = traced(
        {octets(C): account(1, _0x1="0x5")},  # calls A, which is not listed: it was empty
        {octets(C): account(2, _0x1="0x6", _0x2="0x7"), octets(B): account(3)},  # creates a contract, not listed
        {octets(A): account(100, _0x1="0x1"), octets(created): account(0, 1, "0x00", _0x9="0x9")},
        {octets(C): account(9, 9, _0x3="0x8"), octets(B): account(50)},
        {},
        {octets(A): account(7)},
    )
    expected = {C: AccountState(1, 0, b"", {1: 5, 2: 7, 3: 8}), B: AccountState(3, 0, b"", {})}
    assert read_node_block(node_block(), results).state == expected
    assert read_node_block(node_block(), [one["result"] for one in results]).state == expected
    assert read_node_block(node_block(), {"jsonrpc": "2.0", "result": results}).state == expected


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"0x12": {}}, "prestate: state, account = '0x12': has 1 bytes: must be 20"),
        ({octets(A): {"balance": "5"}}, "prestate: 0xa1.*.balance = '5': must be a quantity"),
        ({octets(A): {"nonce": 2**64}}, r"prestate: 0xa1.*.nonce = 18446744073709551616: must be .* in \[0, 0xf{16}\]"),
        ({octets(A): {"code": "6000"}}, "prestate: 0xa1.*.code = '6000': must be bytes"),
        ({octets(A): {"storage": {"0x1": "0x1", "0x01": "0x2"}}}, "0xa1.*.storage, slot = '0x01': is given twice"),
        ({octets(A): {"storage": {"0x1": "zz"}}}, "0xa1.*.storage.0x1 = 'zz': must be a quantity"),
        ({octets(A): {}, octets(A).upper().replace("X", "x"): {}}, "state, account = '0xA1.*': is given twice"),
        ({"pre": {}, "post": {}}, "diffMode lists only what changes"),
        ([{}], "prestate: has 1 results: must be 6, one for each transaction"),
        (traced({}, {}, {octets(A): 5}, {}, {}, {}), r"prestate: \[2\].result.0xa1.* = 5: must be an object"),
        ([*traced({}, {}, {}, {}, {}), {"error": "timeout"}], r"\[5\].error = 'timeout': the node could not answer"),
        (traced({}, {}, {}, {}, {}, {})[::-1], r"prestate: \[0\].txHash = '0x.*': transaction 0 has hash 0x"),
    ],
)
def test_what_is_wrong_in_a_state_is_named(state: Any, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_node_block(node_block(), state)


# -------------------------------------------------------------------- written


def pectra(*txs: Transaction, **fields: Any) -> EvmBlock:
    """A block of Prague that says all that a header can say."""
    said = {
        "fee_recipient": C, "gas_limit": 30_000_000, "prev_randao": 2**255 + 1, "base_fee": 7, "excess_blob_gas": 10**7,
        "parent_beacon_block_root": b"\5" * 32, "block_hashes": {4: b"\6" * 32}, "gas_used": 21_000,
        "withdrawals": (Withdrawal(1, 2, B, 3), Withdrawal(2, 2, A, 2**60)), "receipts_root": b"\x08" * 32,
        "logs_bloom": bytes(255) + b"\1", "state_root": b"\7" * 32,
    }  # fmt: skip
    env = BlockEnv(number=5, timestamp=2**40, fork=Fork.PRAGUE, **said | fields)
    state = {A: AccountState(2**255, 2**63, b"\x60\x00", {0: 0, 2**255: 1, 5: 2**256 - 1}), B: AccountState(0, 0, b"", {})}
    return EvmBlock(env, txs, state)


UNSIGNED = [Transaction(**plain, sender=C) for plain in PLAIN]


@pytest.mark.parametrize("txs", [TXS, UNSIGNED, []], ids=["signed", "unsigned", "none"])
@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_all_that_a_block_says_is_written(tmp_path: Path, txs: list[Transaction], ending: str) -> None:
    block, paths = pectra(*txs), (tmp_path / f"block{ending}", tmp_path / f"prestate{ending}")
    write_node_block(*paths, block)
    found = read_node_block(*paths, fork="prague")
    assert found == block
    assert found.digest() == block.digest()
    write_node_block(*paths, block)  # over what is there
    assert read_node_block(*paths, fork="prague") == block
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_members_are_those_of_a_node() -> None:
    given, state = node_block_json(pectra(*TXS))
    ours, theirs = given["transactions"], [as_node(tx) for tx in TXS]
    leave = {"transactionIndex", "blockHash", "blockNumber", "yParity"}
    for one, other, tx in zip(ours, theirs, TXS):
        other = {name: value for name, value in other.items() if name not in leave and (name != "gasPrice" or tx.type < 2)}
        assert {name: value for name, value in one.items() if name not in leave} == other
    assert {name: type(value) for name, value in given.items()} == {
        name: type(value) for name, value in node_block().items() if name not in ("extraData", "size", "uncles")
    }
    assert state[octets(A)]["storage"]["0x" + "0" * 64] == "0x" + "0" * 64  # known to be zero
    assert state[octets(B)] == {"balance": "0x0", "nonce": 0}


@pytest.mark.parametrize("mix", MIXES)
def test_generated_blocks_come_back(tmp_path: Path, mix: str) -> None:
    block, paths = generate_evm(mix, n_tx=60, fork="london"), (tmp_path / "a.json", tmp_path / "b.json")
    write_node_block(*paths, block)
    assert read_node_block(*paths, fork="london") == block


def test_what_cannot_be_written_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    class Nothing:
        def accounts(self, addresses: Any) -> list[None]:
            return [None for _ in addresses]

        def slots(self, keys: Any) -> list[int]:
            return [0 for _ in keys]

        def storage(self, address: bytes) -> dict[int, int]:
            return {}

    paths = tmp_path / "block.json", tmp_path / "prestate.json"
    paths[0].write_text("kept")
    other = pectra(block_hashes={3: b"\1" * 32, 4: b"\6" * 32})
    sourced = EvmBlock(pectra().env, [], {}, source=Nothing())
    for block, rule in (
        (other, "block 5, block_hashes: a node's JSON cannot say this"),
        (pectra(blob_gas_price=3), "block 5, blob_gas_price: a node's JSON cannot say this"),
        (sourced, "block 5, source: what it knows cannot be written"),
        (5, "block = 5: must be an EvmBlock"),
    ):
        with pytest.raises(BlockError, match=rule):
            write_node_block(*paths, block)  # type: ignore[arg-type]
    block = pectra()
    with pytest.raises(UsageError, match="must be another file than the block's"):
        write_node_block(paths[0], paths[0], block)
    with pytest.raises(FileFormatError, match="there is no folder"):
        write_node_block(paths[0], tmp_path / "none" / "x.json", block)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("block.json", "kept")]


# -------------------------------------------------------------------- real blocks


def real_block(corpus: Path, number: int) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """A block of the corpus as a node would give it, its pre-state as one object, and its transactions as stored."""
    import pyarrow.parquet as pq

    def rows(path: str, **where: Any) -> list[dict[str, Any]]:
        filters = [(name, "==", value) for name, value in where.items()] or None
        return pq.read_table(corpus / path, filters=filters).to_pylist()

    (header,) = rows("state/ethereum__headers.parquet", block_number=number)
    texts = {"miner": "miner", "parentHash": "parent_hash", "mixHash": "mix_hash", "stateRoot": "state_root"}
    texts |= {"receiptsRoot": "receipts_root", "logsBloom": "logs_bloom", "parentBeaconBlockRoot": "parent_beacon_block_root"}
    numbers = {"number": "block_number", "gasLimit": "gas_limit", "gasUsed": "gas_used", "baseFeePerGas": "base_fee_per_gas"}
    numbers |= {"timestamp": "timestamp", "excessBlobGas": "excess_blob_gas"}
    block: dict[str, Any] = {to: octets(header[name]) for to, name in texts.items() if header[name] is not None}
    block |= {to: hex(header[name]) for to, name in numbers.items() if header[name] is not None}
    block["difficulty"] = hex(int(header["difficulty"]))
    stored = rows(f"cryo/ethereum__transactions__{number:08}_to_{number:08}.parquet")
    block["transactions"] = [
        {
            "from": octets(row["from_address"]), "to": octets(row["to_address"]) if row["to_address"] else None,
            "nonce": hex(row["nonce"]), "value": hex(int(row["value_string"])), "input": octets(row["input"]), "type": "0x0",
            "gas": hex(row["gas_limit"]), "gasPrice": hex(row["gas_price"]), "hash": octets(row["transaction_hash"]),
        }
        for row in stored
    ]  # fmt: skip
    state: dict[str, Any] = {}
    for row in rows(f"state/ethereum__pre_state__{number:08}_to_{number:08}.parquet"):
        given = state.setdefault(octets(row["address"]), {"storage": {}})
        if row["slot"] is None:
            given |= {"balance": octets(row["balance"]), "nonce": row["nonce"]}
        else:
            given["storage"][octets(row["slot"])] = octets(row["value"])
    return block, state, stored


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("number", "fork"), [(46147, "FRONTIER"), (4370000, "BYZANTIUM"), (14029313, "LONDON"), (19917570, "CANCUN")]
)
def test_real_blocks_as_a_node_would_give_them(shared: Path, number: int, fork: str) -> None:
    block, state, stored = real_block(shared / "corpus", number)
    parsed = read_node_block(block, state)
    assert (parsed.env.fork.name, parsed.env.number) == (fork, number)
    assert (parsed.env.base_fee is None) == (fork in ("FRONTIER", "BYZANTIUM"))
    assert [tx.sender for tx in parsed.transactions] == [row["from_address"] for row in stored]
    assert [tx.value for tx in parsed.transactions] == [int.from_bytes(row["value_binary"], "big") for row in stored]
    assert [tx.to for tx in parsed.transactions] == [row["to_address"] for row in stored]
    assert {octets(name) for name in parsed.state} == set(state)
    assert sum(len(one.storage) for one in parsed.state.values()) == sum(len(one["storage"]) for one in state.values())
    assert {tx.sender for tx in parsed.transactions} <= set(parsed.state)


@pytest.mark.corpus
def test_real_blocks_come_back(shared: Path, tmp_path: Path) -> None:
    paths, written = (tmp_path / "block.json.gz", tmp_path / "prestate.json.gz"), 0
    for block in read_evm_blocks(shared / "corpus"):
        if set(block.env.block_hashes) - {block.number - 1}:
            with pytest.raises(BlockError, match="block_hashes: a node's JSON cannot say this"):
                node_block_json(block)
            continue
        write_node_block(*paths, block)
        found, written = read_node_block(*paths), written + 1
        assert (found.digest(), found.state) == (block.digest(), block.state)
    assert written > 40


@pytest.mark.corpus
def test_hashes_of_real_code(shared: Path) -> None:
    import pyarrow.parquet as pq

    codes = pq.read_table(shared / "corpus" / "state" / "ethereum__codes.parquet").to_pylist()
    assert len(codes) > 500
    for row in random.Random(1).sample(codes, 300):
        assert keccak(row["code"]) == row["code_hash"]
