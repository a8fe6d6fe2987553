"""Transactions against py-evm's own, signed by its own code, and against those of the official state tests."""

from __future__ import annotations

import json
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pevm_numba.errors import BlockError
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.precompiles import signatures
from pevm_numba.evm.precompiles.curves import SECP256K1
from pevm_numba.evm.precompiles.signatures import public_key, recover_address
from pevm_numba.evm.transaction import (
    Authorization,
    Transaction,
    authority_of,
    decode_transaction,
    encode_transaction,
    recover_senders,
    signing_hash,
    transaction_hash,
)
from pevm_numba.evm.trie import Account, state_root

pytest.importorskip("eth", reason="py-evm is not installed")
import rlp as peer_rlp
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_hash.auto import keccak as peer_keccak
from eth_keys import keys

STATE_TESTS = Path(__file__).resolve().parents[2] / "shared" / "state_tests" / "GeneralStateTests.zip"

word = st.integers(0, 2**256 - 1) | st.integers(0, 300)
u64 = st.integers(0, 2**64 - 1) | st.integers(0, 300)
address = st.binary(min_size=20, max_size=20)
access_list = st.lists(st.tuples(address, st.lists(word, max_size=3).map(tuple)), max_size=3).map(tuple)
KEYS = [keys.PrivateKey(bytes(31) + bytes([n])) for n in range(1, 5)]


@st.composite
def signed(draw: Any) -> tuple[Any, Any, int | None]:
    """A transaction of py-evm, signed by its own code, with its key and chain."""
    kind, key, builder = draw(st.integers(0, 4)), draw(st.sampled_from(KEYS)), PragueTransactionBuilder
    chain = draw(st.sampled_from([None, 1, 5, 2**40])) if kind == 0 else draw(st.sampled_from([1, 137, 2**63]))
    to = draw(address if kind >= 3 else address | st.just(b""))
    common = {"nonce": draw(st.integers(0, 2**64 - 2)), "gas": draw(u64), "to": to, "value": draw(word)}
    common["data"] = draw(st.binary(max_size=80))
    if kind < 2:
        common["gas_price"] = draw(word)
    else:
        common |= {"max_fee_per_gas": draw(word), "max_priority_fee_per_gas": draw(word)}
    if kind == 0:
        return builder.create_unsigned_transaction(**common).as_signed_transaction(key, chain_id=chain), key, chain
    common |= {"chain_id": chain, "access_list": draw(access_list)}
    if kind == 3:
        hashes = draw(st.lists(st.binary(min_size=32, max_size=32), max_size=3))
        common |= {"max_fee_per_blob_gas": draw(word), "blob_versioned_hashes": hashes}
    if kind == 4:
        parts = ("chain_id", "address", "nonce", "y_parity", "r", "s")
        values = draw(st.lists(st.tuples(word, address, u64, st.integers(0, 255), word, word), min_size=1, max_size=3))
        common["authorization_list"] = [dict(zip(parts, one)) for one in values]
    names = ("access_list", "dynamic_fee", "blob", "set_code")
    unsigned = getattr(builder, f"new_unsigned_{names[kind - 1]}_transaction")(**common)
    return unsigned.as_signed_transaction(key), key, chain


@given(signed())
def test_transactions_that_py_evm_signs(case: tuple[Any, Any, int | None]) -> None:
    peer, key, chain = case
    raw = peer.encode()
    tx = decode_transaction(raw)
    assert encode_transaction(tx) == raw
    assert transaction_hash(tx) == peer.hash
    assert signing_hash(tx) == peer_keccak(peer.get_message_for_signing())
    assert tx.type == (peer.type_id or 0)
    assert tx.chain_id == chain
    assert (tx.nonce, tx.gas_limit, tx.to or b"", tx.value, tx.data) == (peer.nonce, peer.gas, peer.to, peer.value, peer.data)
    assert (tx.y_parity, tx.r, tx.s) == (peer.y_parity, peer.r, peer.s)
    if tx.type < 2:
        assert tx.gas_price == peer.gas_price
    else:
        assert (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) == (peer.max_fee_per_gas, peer.max_priority_fee_per_gas)
    if tx.type:
        assert tx.access_list == tuple((entry, tuple(slots)) for entry, slots in peer.access_list)
    if tx.type == 3:
        assert (tx.max_fee_per_blob_gas, tx.blob_versioned_hashes) == (peer.max_fee_per_blob_gas, peer.blob_versioned_hashes)
    if tx.type == 4:
        assert [one[:3] for one in tx.authorization_list] == [
            (one.chain_id, one.address, one.nonce) for one in peer.authorization_list
        ]
    assert recover_senders([tx, tx]) == [key.public_key.to_canonical_address()] * 2 == [peer.sender] * 2


@given(signed(), st.randoms(use_true_random=False))
def test_damaged_transactions_are_refused_or_have_one_encoding(case: tuple[Any, Any, int], rng: random.Random) -> None:
    raw = bytearray(case[0].encode())
    for _ in range(rng.randrange(1, 4)):
        raw[rng.randrange(len(raw))] = rng.choice((0, 1, 5, 0x80, 0x81, 0xC0, 0xFF))
    try:
        tx = decode_transaction(bytes(raw))
    except BlockError:
        return
    assert encode_transaction(tx) == raw


def test_the_example_of_eip_155() -> None:
    raw = bytes.fromhex(
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe53"
        "7567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    )
    tx = decode_transaction(raw)
    assert (tx.chain_id, tx.v, tx.y_parity, tx.nonce, tx.gas_price, tx.value) == (1, 37, 0, 9, 20 * 10**9, 10**18)
    assert signing_hash(tx).hex() == "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    assert recover_senders([tx]) == [keys.PrivateKey(b"\x46" * 32).public_key.to_canonical_address()]


def changed(tx: Transaction, **fields: Any) -> Transaction:
    return Transaction(**{name: getattr(tx, name) for name in tx.__dataclass_fields__} | fields)


@given(signed())
def test_the_upper_half_of_s_is_refused_from_homestead_on(case: tuple[Any, Any, int]) -> None:
    tx = decode_transaction(case[0].encode())
    assume(tx.v is not None and tx.s is not None)
    base = tx.v - tx.y_parity
    other = changed(tx, v=base + 1 - tx.y_parity, s=SECP256K1.order - tx.s)
    assert recover_senders([other], low_s=False) == [case[0].sender]
    with pytest.raises(BlockError, match=r"transaction 1: s = 0x.*: must be at most 0x7f.*EIP-2"):
        recover_senders([tx, other])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"v": 5, "r": 1, "s": 1}, "v = 5: must be 27, 28, or 35 and more"),
        ({"v": 37, "r": 1}, "v = 37: v, r and s must be given together"),
        ({"v": 37, "r": 1, "s": 1, "chain_id": 5}, "chain_id = 5: v = 37 signs for chain 1"),
        ({"v": 27, "r": 1, "s": 1, "chain_id": 1}, "chain_id = 1: v = 27 signs for any chain"),
        ({"v": 27, "r": 1, "s": 2**256}, "s = 11579.*: must be in"),
        ({"type": 5}, r"type = 5: must be in \[0, 4\]"),
        ({"gas_price": None}, "gas_price = None: must be an integer"),
        ({"nonce": 2**64}, "nonce = 18446744073709551616: must be in"),
        ({"to": b"x"}, "to = 0x78: must be 20 bytes"),
        ({"sender": bytes(32)}, "sender = 0x00.*: must be 20 bytes"),
        ({"data": "0x"}, "data = '0x': must be bytes"),
        ({"max_fee_per_gas": 1}, "max_fee_per_gas = 1: type 0 has no such field"),
        ({"type": 1, "chain_id": 1, "v": 27, "r": 1, "s": 1}, "v = 27: must be 0 or 1 in type 1"),
        ({"type": 1, "chain_id": 1, "access_list": ((bytes(20), (1, -1)),)}, r"access_list\[0\].slots\[1\] = -1"),
        ({"type": 1, "chain_id": 1, "access_list": ((bytes(20),),)}, r"access_list\[0\] has 1 parts: must be address, slots"),
        ({"type": 1}, "chain_id = None: must be an integer"),
    ],
)
def test_what_cannot_be_a_transaction_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BlockError, match=message):
        Transaction(**{"gas_price": 1} | fields)


def test_types_with_blobs_or_authorizations_create_nothing_and_name_their_items() -> None:
    fees: dict[str, Any] = {"chain_id": 1, "max_fee_per_gas": 1, "max_priority_fee_per_gas": 1}
    with pytest.raises(BlockError, match="to = None: type 4 cannot create"):
        Transaction(type=4, **fees)
    with pytest.raises(BlockError, match=r"blob_versioned_hashes\[1\] = 0x: must be 32 bytes"):
        Transaction(type=3, to=bytes(20), max_fee_per_blob_gas=1, blob_versioned_hashes=(bytes(32), b""), **fees)
    wrong = Authorization(0, bytes(20), 0, 256, 1, 1)
    with pytest.raises(BlockError, match=r"authorization_list\[0\].y_parity = 256: must be in"):
        Transaction(type=4, to=bytes(20), authorization_list=(wrong,), **fees)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "must be bytes, and not empty"),
        (b"\x05\xc0", r"byte 0 = 0x05: must be 0x01 to 0x04"),
        (b"\x80", r"byte 0 = 0x80: must be"),
        (b"\x02\xc0", "transaction of type 2: is a list of 0: must be a list of 12 items: chain_id, nonce"),
        (b"\x02\x80", "transaction of type 2: is a string"),
        (peer_rlp.encode([b"\0", *[b"\1"] * 8]), "nonce = 0x00: must be an integer without leading zeros"),
        (peer_rlp.encode([[], *[b"\1"] * 8]), "nonce = a list: must be an integer"),
        (peer_rlp.encode([b""] * 5 + [[]] + [b"\x1b"] * 3), r"data = \[\]: must be bytes"),
        (b"\x01" + peer_rlp.encode([b""] * 11), "access_list = 0x: must be a list"),
        (b"\x01" + peer_rlp.encode([b""] * 7 + [[[bytes(20), [b"\1"]]]] + [b""] * 3), r"slots = 0x01: must be 32 bytes"),
    ],
)
def test_what_does_not_encode_a_transaction_is_named(raw: bytes, message: str) -> None:
    with pytest.raises(BlockError, match=message):
        decode_transaction(raw)


def test_senders_need_possible_signatures() -> None:
    plain: dict[str, Any] = {"gas_price": 1, "v": 27}
    for bad, message in (
        ({"v": None}, "transaction 0: v = None: must be signed"),
        ({"r": 5, "s": 1}, "transaction 0: r = 0x5, s = 0x1: no key"),
        ({"r": 0, "s": 1}, "no key can have made"),
        ({"r": SECP256K1.order, "s": 1}, "no key can have made"),
    ):
        with pytest.raises(BlockError, match=message):
            recover_senders([Transaction(**plain | bad)])
    with pytest.raises(BlockError, match="v = None: must be signed to be encoded"):
        encode_transaction(Transaction(gas_price=1))


def test_recovery_without_coincurve_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    cases = []
    for n in range(12):
        digest = rng.randbytes(32)
        vrs = keys.PrivateKey(rng.randbytes(32)).sign_msg_hash(digest).vrs
        cases += [(digest, *vrs), (digest, 1 - vrs[0], *vrs[1:]), (digest, n % 2, n, 5), (bytes(32), n % 3, n, n)]
    expected = [public_key(*case) for case in cases]
    assert sum(key is None for key in expected) in range(10, 40)
    monkeypatch.setitem(sys.modules, "coincurve", None)
    signatures._coincurve.cache_clear()
    try:
        assert [public_key(*case) for case in cases] == expected
        assert signatures._coincurve() is None
    finally:
        signatures._coincurve.cache_clear()


@given(word, address, st.integers(0, 2**64 - 2), st.sampled_from(KEYS))
def test_authorities(chain: int, target: bytes, nonce: int, key: Any) -> None:
    y_parity, r, s = key.sign_msg(b"\x05" + peer_rlp.encode([chain, target, nonce])).vrs
    given_by = Authorization(chain, target, nonce, y_parity, r, s)
    assert authority_of(given_by) == authority_of(tuple(given_by)) == key.public_key.to_canonical_address()
    assert authority_of(given_by._replace(y_parity=1 - y_parity, s=SECP256K1.order - s)) is None
    assert authority_of(given_by._replace(y_parity=y_parity + 27)) is None
    assert authority_of(given_by._replace(nonce=2**64 - 1)) is None
    assert authority_of(given_by._replace(r=0)) is None
    assert authority_of(given_by._replace(nonce=nonce + 1)) != key.public_key.to_canonical_address()


def test_a_digest_has_32_bytes() -> None:
    with pytest.raises(BlockError, match="digest = 0x: must be 32 bytes"):
        recover_address(b"", 0, 1, 1)


# -------------------------------------------------------------------- official state tests


def octets(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def pre_root(accounts: dict[str, Any]) -> bytes:
    state = {}
    for name, one in accounts.items():
        storage = {int(slot, 16): int(value, 16) for slot, value in one["storage"].items()}
        state[octets(name)] = Account(int(one["nonce"], 16), int(one["balance"], 16), keccak(octets(one["code"])), storage)
    return state_root(state)


@pytest.mark.skipif(not STATE_TESTS.is_file(), reason="no official state tests beside the checkout")
def test_official_transactions_senders_and_roots_of_rejected_ones() -> None:
    n_roots = n_signed = 0
    with zipfile.ZipFile(STATE_TESTS) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".json"))
        rejecting = [name for name in names if "intrinsic" in name.lower() or "stTransactionTest" in name or "4844" in name]
        for name in {*random.Random(1).sample(names, 60), *rejecting}:
            for case in json.loads(archive.read(name)).values():
                txs = []
                for post in [post for fork in case["post"].values() for post in fork]:
                    reason = post.get("expectException", "")
                    if reason:
                        n_roots += 1
                        assert pre_root(case["pre"]) == octets(post["hash"]), name
                    raw = octets(post["txbytes"])
                    if "WRONGVALUE" in reason or "BLOBCREATE" in reason:
                        with pytest.raises(BlockError, match=r"value = 1157.*must be in|to = None"):
                            decode_transaction(raw)
                        continue
                    txs.append(decode_transaction(raw))
                    assert encode_transaction(txs[-1]) == raw
                n_signed += len(txs)
                assert set(recover_senders(txs)) <= {octets(case["transaction"]["sender"])}, name
    assert n_signed > 1500
    assert n_roots > 150
