"""Hashes, RLP, tries and receipts against other authors' libraries on random contents."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pevm_numba.errors import BlockError
from pevm_numba.evm import rlp
from pevm_numba.evm.hashing import EMPTY_HASH, keccak, keccak_many
from pevm_numba.evm.receipts import Log, Receipt, encode_receipt, logs_bloom, logs_hash, receipts_root
from pevm_numba.evm.trie import EMPTY_ROOT, Account, ordered_root, state_root, storage_root, trie_root

pytest.importorskip("eth", reason="py-evm is not installed")
import rlp as peer_rlp
from eth.rlp.accounts import Account as PeerAccount
from eth.rlp.logs import Log as PeerLog
from eth.rlp.receipts import Receipt as PeerReceipt
from eth_hash.auto import keccak as peer_keccak
from trie import HexaryTrie

word = st.integers(0, 2**256 - 1) | st.integers(0, 300)
u64 = st.integers(0, 2**64 - 1) | st.integers(0, 300)
address = st.binary(min_size=20, max_size=20)

# -------------------------------------------------------------------- hashes


def test_hashes_of_every_length_around_the_blocks() -> None:
    messages = [random.Random(n).randbytes(n) for n in [*range(280), 407, 408, 409, 5000]]
    expected = [peer_keccak(message) for message in messages]
    assert [keccak(message) for message in messages] == expected
    assert keccak_many(messages) == expected
    assert keccak_many([]) == []
    assert keccak(b"") == EMPTY_HASH


def test_hashes_without_machine_code() -> None:
    code = (
        "from pevm_numba.evm.hashing import *\nfrom pevm_numba._kernels.jit import DISABLED\n"
        "print(DISABLED, [x.hex() for x in keccak_many([b'', b'a' * 135, b'b' * 300]) + [keccak(b'c' * 136)]])"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    expected = [peer_keccak(x).hex() for x in (b"", b"a" * 135, b"b" * 300, b"c" * 136)]
    assert done.stdout.strip() == f"True {expected}"


def test_only_bytes_are_hashed() -> None:
    with pytest.raises(BlockError, match="data = 'text': must be bytes"):
        keccak("text")
    with pytest.raises(BlockError, match="message 1 = 5: must be bytes"):
        keccak_many([b"", 5])


# -------------------------------------------------------------------- RLP

nested = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=30)


@given(nested)
def test_rlp_of_any_item(item: Any) -> None:
    raw = rlp.encode(item)
    assert raw == peer_rlp.encode(item)
    assert rlp.decode(raw) == item


@given(st.integers(0, 2**300))
def test_rlp_of_integers(number: int) -> None:
    assert rlp.encode(number) == peer_rlp.encode(number)
    assert rlp.read_integer("x", rlp.decode(rlp.encode(number))) == number


@given(nested, st.randoms(use_true_random=False))
def test_rlp_takes_exactly_the_encodings_that_a_peer_takes(item: Any, rng: random.Random) -> None:
    raw = bytearray(peer_rlp.encode(item))
    for _ in range(rng.randrange(3)):
        raw[rng.randrange(min(len(raw), 8))] = rng.choice((0, 1, 0x7F, 0x80, 0x81, 0xB7, 0xB8, 0xB9, 0xC0, 0xC1, 0xF7, 0xF8))
    if rng.random() < 0.2:
        raw += b"\0"
    try:
        expected = peer_rlp.decode(bytes(raw), strict=True)
    except peer_rlp.DecodingError:
        with pytest.raises(BlockError, match="RLP, byte "):
            rlp.decode(bytes(raw))
    else:
        assert rlp.decode(bytes(raw)) == expected


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "byte 0: an item must start here"),
        ("8105", "byte 0: 0x8105: a byte below 0x80"),
        ("c28105", "byte 1: 0x8105: a byte below 0x80"),
        ("83aabb", "byte 0: 3 bytes must follow, but only 2"),
        ("c283aabb", "byte 1: 3 bytes must follow, but only 1"),
        ("b801" + "aa", "byte 1: length 1: below 56"),
        ("b90038" + "aa" * 56, "byte 1: a length must have no leading zero"),
        ("b9", "byte 0: a length of 2 bytes must follow, but only 0"),
        ("0102", "byte 1: 1 bytes left over"),
        ("f8", "byte 0: a length of 1 bytes"),
    ],
)
def test_rlp_errors_name_the_position(raw: str, message: str) -> None:
    with pytest.raises(BlockError, match=message):
        rlp.decode(bytes.fromhex(raw))


def test_rlp_nested_without_end_is_refused() -> None:
    item: Any = []
    for _ in range(100):
        item = [item]
    with pytest.raises(BlockError, match="nested more than 64 deep"):
        rlp.encode(item)
    raw = b""
    for _ in range(5000):
        raw = rlp.join_list([raw])
    with pytest.raises(BlockError, match="nested more than 64 deep"):
        rlp.decode(raw)
    for wrong, message in ((-1, "item = -1"), ([True], r"item\[0\] = True"), ([[], "x"], r"item\[1\] = 'x'")):
        with pytest.raises(BlockError, match=message):
            rlp.encode(wrong)


# -------------------------------------------------------------------- tries


def peer_root(pairs: dict[bytes, bytes]) -> bytes:
    trie = HexaryTrie({})
    for key, value in pairs.items():
        trie[key] = value
    return trie.root_hash


few_digits = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), max_size=6).map(bytes)
values = st.binary(min_size=1, max_size=40)


@given(st.dictionaries(few_digits | st.binary(max_size=4), values, max_size=40))
def test_roots_of_keys_that_are_prefixes_of_others(pairs: dict[bytes, bytes]) -> None:
    assert trie_root(pairs) == peer_root(pairs)
    assert trie_root(dict(reversed(pairs.items()))) == trie_root(pairs)


@given(st.lists(st.tuples(st.integers(0, 31), st.binary(min_size=1, max_size=1)), max_size=12), values)
def test_roots_of_long_keys_that_part_late(places: list[tuple[int, bytes]], value: bytes) -> None:
    pairs = {bytes(at) + end + bytes(31 - at): value + end for at, end in places}
    assert trie_root(pairs) == peer_root(pairs)


@given(st.binary(max_size=33), values)
def test_root_of_a_single_entry(key: bytes, value: bytes) -> None:
    assert trie_root({key: value}) == peer_root({key: value})


def test_root_of_nothing_and_of_a_chain_of_a_thousand_branches() -> None:
    assert trie_root({}) == state_root({}) == ordered_root([]) == storage_root({}) == HexaryTrie({}).root_hash == EMPTY_ROOT
    chain = {bytes(n): b"x" for n in range(1000)}
    changed = chain | {bytes(999): b"y"}
    assert len({trie_root(chain), trie_root(changed), trie_root({bytes(n): b"x" for n in range(999)})}) == 3


@pytest.mark.parametrize("n", [1, 2, 16, 17, 127, 128, 129, 300])
def test_roots_of_lists(n: int) -> None:
    items = [random.Random(i).randbytes(i % 60 + 1) for i in range(n)]
    assert ordered_root(items) == peer_root({peer_rlp.encode(i): item for i, item in enumerate(items)})


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=140))
def test_a_list_has_the_root_of_the_trie_of_its_indices(items: list[bytes]) -> None:
    assert ordered_root(items) == peer_root({peer_rlp.encode(i): item for i, item in enumerate(items)})


accounts = st.dictionaries(
    address, st.tuples(u64, word, st.binary(min_size=32, max_size=32), st.dictionaries(word, word, max_size=6)), max_size=12
)


@given(accounts)
def test_state_roots(state: dict[bytes, tuple[int, int, bytes, dict[int, int]]]) -> None:
    pairs, roots = {}, {}
    for name, (nonce, balance, code, storage) in state.items():
        slots = {peer_keccak(slot.to_bytes(32, "big")): peer_rlp.encode(value) for slot, value in storage.items() if value}
        assert storage_root(storage) == peer_root(slots)
        roots[name] = (nonce, balance, code, peer_root(slots))
        fields = PeerAccount(nonce=nonce, balance=balance, storage_root=peer_root(slots), code_hash=code)
        pairs[peer_keccak(name)] = peer_rlp.encode(fields)
    assert state_root(state) == state_root(roots) == peer_root(pairs)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({b"short": Account()}, "account b'short': must be 20 bytes"),
        ({bytes(20): Account(nonce=-1)}, "account 0x00.*: nonce = -1: must be an integer in"),
        ({bytes(20): Account(balance=2**256)}, "balance = 11579.*: must be an integer in"),
        ({bytes(20): Account(code_hash=b"")}, "code hash = b'': must be 32 bytes"),
        ({bytes(20): Account(storage=b"")}, "storage root = b'': must be 32 bytes"),
        ({bytes(20): Account(storage={2**256: 1})}, "slot 11579.*: must be an integer in"),
        ({bytes(20): Account(storage={3: None})}, r"storage\[3\] = None: must be an integer in"),
    ],
)
def test_what_cannot_be_an_account_is_named(state: dict[bytes, Account], message: str) -> None:
    with pytest.raises(BlockError, match=message):
        state_root(state)


def test_a_trie_holds_no_empty_values() -> None:
    with pytest.raises(BlockError, match="key 0x01: value b'': must be bytes, and not empty"):
        trie_root({b"\1": b""})
    with pytest.raises(BlockError, match="item 1 = b''"):
        ordered_root([b"x", b""])


# -------------------------------------------------------------------- receipts

logs = st.lists(st.tuples(address, st.lists(word, max_size=4).map(tuple), st.binary(max_size=70)), max_size=5)
receipt = st.tuples(st.integers(0, 4), st.sampled_from([0, 1]), u64, logs)


def peer_receipt(kind: int, status: int | bytes, gas: int, given: list[Any]) -> bytes:
    state = status if isinstance(status, bytes) else bytes([1]) * status
    body = PeerReceipt(state_root=state, gas_used=gas, logs=[PeerLog(*log) for log in given])
    return bytes([kind]) * (kind > 0) + body.encode()


@given(st.lists(receipt, max_size=6))
def test_receipts(receipts: list[Any]) -> None:
    expected = [peer_receipt(*one) for one in receipts]
    assert [encode_receipt(*one) for one in receipts] == expected
    assert receipts_root([Receipt(*one) for one in receipts]) == ordered_root(expected)


@given(logs)
def test_blooms_and_hashes_of_logs(given_logs: list[Any]) -> None:
    expected = PeerReceipt(state_root=b"", gas_used=0, logs=[PeerLog(*log) for log in given_logs])
    in_bytes = [Log(at, tuple(topic.to_bytes(32, "big") for topic in topics), data) for at, topics, data in given_logs]
    for form in (given_logs, in_bytes):
        assert logs_bloom(form) == expected.bloom.to_bytes(256, "big")
        assert logs_hash(form) == peer_keccak(peer_rlp.encode(expected.logs))


def test_receipts_before_byzantium_hold_a_root_and_errors_name_the_log() -> None:
    assert encode_receipt(0, b"r" * 32, 5, []) == peer_receipt(0, b"r" * 32, 5, [])
    for wrong, message in (
        ((0, b"r", 5, []), "receipt 1: state root = 0x72: must be 32 bytes"),
        ((1, b"r" * 32, 5, []), "receipt 1: state root 0x72.*: a receipt of type 1 has a status"),
        ((1, 2, 5, []), r"receipt 1: status = 2: must be in \[0, 1\]"),
        ((1, 1, -5, []), "receipt 1: cumulative_gas = -5"),
        ((1, 1, 5, [Log(bytes(20), (1,) * 5, b"")]), "receipt 1: log 0 has 5 topics"),
        ((1, 1, 5, [Log(bytes(20), (b"",), b"")]), "log 0, topic 0 = 0x: must be 32 bytes"),
        ((1, 1, 5, [Log(bytes(19), (), b"")]), "log 0, address = 0x00.*: must be 20 bytes"),
    ):
        with pytest.raises(BlockError, match=message):
            receipts_root([(0, 1, 5, []), wrong])
