"""The trees of a dispute against the definition of their root; proofs, changes, and every way to spoil a proof."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import words

from pevm_numba import programs
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.dispute import hashing
from pevm_numba.dispute.hashing import EMPTY, key_path, leaf_hash, node_hash, stack_hash, tagged
from pevm_numba.dispute.proofs import EMPTY_PROOF, Proof, bit_of, first_difference, index_path
from pevm_numba.dispute.state_tree import StateTree, hash_rows, key_paths
from pevm_numba.dispute.tree import Tree
from pevm_numba.errors import BlockError, DisputeError
from pevm_numba.evm.hashing import keccak
from pevm_numba.generate import generate
from pevm_numba.machine.spec import keccak256

Items = dict[bytes, bytes]


def root_by_definition(items: Items) -> bytes:
    """Root of a tree: a leaf alone, or a node over those with 0 and those with 1 at the first bit where any differ."""
    if not items:
        return EMPTY
    if len(items) == 1:
        [(path, value)] = items.items()
        return leaf_hash(path, value, keccak)
    bit = next(i for i in range(256) if len({bit_of(path, i) for path in items}) == 2)
    sides = [{path: value for path, value in items.items() if bit_of(path, bit) == side} for side in (0, 1)]
    return node_hash(bit, *(root_by_definition(side) for side in sides), keccak)


def near_paths() -> st.SearchStrategy[bytes]:
    """Paths of which many share a long beginning, so that they part late, early and everywhere."""
    spread = st.binary(min_size=32, max_size=32)
    close = st.builds(lambda byte, bit: (1 << bit | byte).to_bytes(32, "big"), st.integers(0, 15), st.integers(0, 255))
    return close | spread


def item_dicts(max_size: int = 12) -> st.SearchStrategy[Items]:
    """Trees as dicts."""
    return st.dictionaries(near_paths(), words().map(lambda word: word.to_bytes(32, "big")), max_size=max_size)


@pytest.mark.parametrize("size", [0, 1, 55, 56, 135, 136, 137, 271, 272, 300])
def test_the_plain_hash_is_keccak(size: int) -> None:
    data = bytes(range(256)) * 2
    assert hashing.keccak(data[:size]) == keccak256(data[:size]) == keccak(data[:size])


def test_messages_of_two_kinds_are_never_equal() -> None:
    word, one = b"\x00" * 32, b"\x00" * 31 + b"\x01"
    made = {
        leaf_hash(word, one), node_hash(0, word, one), stack_hash(0, one), key_path(word + one[:21]),
        hashing.keccak(tagged(hashing.Tag.MACHINE, word + one)), hashing.keccak(tagged(hashing.Tag.CLAIM, word + one)),
        hashing.keccak(tagged(hashing.Tag.AGREEMENT, word + one)),
    }  # fmt: skip
    assert len(made) == 7
    assert len({node_hash(bit, word, one, keccak) for bit in range(256)}) == 256
    assert node_hash(0, word, one) != node_hash(0, one, word)


@given(item_dicts(), st.randoms(use_true_random=False))
def test_a_root_is_that_of_the_definition_whatever_the_history(items: Items, rng) -> None:
    expected = root_by_definition(items)
    assert Tree(items).root == expected
    pairs = list(items.items())
    rng.shuffle(pairs)
    tree = Tree(hash=keccak)
    for path, value in pairs:
        tree = tree.put(path, b"other" + value).put(path[::-1], b"for now")
    for path, value in pairs:
        tree = tree.put(path, value)
    for path in {path[::-1] for path in items} - items.keys():
        tree = tree.drop(path)
    assert tree.root == expected
    assert tree.first() == min(items, default=None)
    assert all(tree.get(path) == value for path, value in items.items())


@given(item_dicts(), near_paths(), words().map(lambda word: word.to_bytes(32, "big")))
def test_a_proof_shows_a_value_or_its_absence_and_what_any_change_gives(items: Items, path: bytes, value: bytes) -> None:
    tree = Tree(items, keccak)
    for asked in (*items, path):
        proof = tree.prove(asked)
        assert proof.check(tree.root, asked, keccak) == items.get(asked)
        assert Proof.from_json(proof.to_json()) == proof
        assert proof.changed(asked, value, keccak) == root_by_definition(items | {asked: value})
        rest = {one: held for one, held in items.items() if one != asked}
        assert proof.changed(asked, None, keccak) == root_by_definition(rest)
        assert proof.is_first == (proof.path is not None and proof.path == min(items))


def test_a_proof_of_absence_must_be_on_the_way() -> None:
    paths = [bytes([first]) + bytes(31) for first in (0x00, 0x40, 0x80, 0xC0)]
    tree = Tree(dict.fromkeys(paths, b"v"))
    absent = b"\x41" + bytes(31)
    assert tree.prove(absent).check(tree.root, absent) is None
    for path in paths:
        if path != paths[1]:
            with pytest.raises(DisputeError, match="leaves the way"):
                tree.prove(path).check(tree.root, absent)


@pytest.mark.skipif(DISABLED, reason="thousands of hashes for each proof")
@given(item_dicts(8).filter(bool), near_paths(), st.data())
@settings(max_examples=60)
def test_every_changed_bit_of_a_proof_is_refused(items: Items, path: bytes, data) -> None:
    tree = Tree(items, keccak)
    asked = data.draw(st.sampled_from([*items, path]))
    proof = tree.prove(asked)
    wrong: list[Proof] = [EMPTY_PROOF, replace(proof, siblings=(*proof.siblings, (255, bytes(32))))]
    assert proof.path is not None
    wrong += [replace(proof, path=flipped(proof.path, i)) for i in range(256)]
    wrong += [replace(proof, value=flipped(proof.value, i)) for i in range(256)]
    wrong += [replace(proof, value=proof.value[:-1]), replace(proof, value=proof.value + b"\x00")]
    for at, (bit, other) in enumerate(proof.siblings):
        changed = [(bit, flipped(other, i)) for i in range(256)] + [(bit ^ 1 << i, other) for i in range(8)]
        changed += [(bit, other[:-1]), (256 + bit, other)]
        wrong += [replace(proof, siblings=(*proof.siblings[:at], one, *proof.siblings[at + 1 :])) for one in changed]
        wrong.append(replace(proof, siblings=proof.siblings[:at] + proof.siblings[at + 1 :]))
    for one in wrong:
        with pytest.raises(DisputeError):
            one.check(tree.root, asked, keccak)


def flipped(data: bytes, bit: int) -> bytes:
    """Bytes with one bit changed."""
    return data[: bit // 8] + bytes([data[bit // 8] ^ 128 >> bit % 8]) + data[bit // 8 + 1 :]


# -------------------------------------------------------------------- the tree of kernels


def state_items(paths: list[bytes], values: list[int]) -> Items:
    """What a state's tree holds."""
    return {path: value.to_bytes(32, "big") for path, value in zip(paths, values) if value}


@given(st.lists(near_paths(), max_size=12, unique=True), st.data())
def test_the_state_tree_is_that_of_the_definition_after_every_batch(paths: list[bytes], data) -> None:
    n = len(paths)
    held = data.draw(st.lists(words(), min_size=n, max_size=n))
    rows = np.frombuffer(b"".join(paths), np.uint8).reshape(n, 32)
    tree = StateTree(rows, programs.limbs(held))
    assert tree.root == root_by_definition(state_items(paths, held))
    batch = st.dictionaries(st.integers(0, max(n - 1, 0)), words(), max_size=n)
    batches = data.draw(st.lists(batch, max_size=4)) if n else []
    other = tree.copy()
    keys = [key for batch in batches for key in batch]
    indptr = np.concatenate([[0], np.cumsum([len(batch) for batch in batches], dtype=np.int64)]).astype(np.int64)
    given_values = programs.limbs(value for batch in batches for value in batch.values())
    roots = tree.put_batches(indptr, np.array(keys, np.int64), given_values)
    before = state_items(paths, held)
    for batch, root in zip(batches, roots):
        for key, value in batch.items():
            held[key] = value
        assert root.tobytes() == root_by_definition(state_items(paths, held))
    assert tree.root == root_by_definition(state_items(paths, held))
    assert tree.values() == held
    assert other.root == root_by_definition(before)


@given(st.lists(near_paths(), min_size=1, max_size=12, unique=True), near_paths(), st.data())
def test_the_state_tree_proves_as_the_plain_one(paths: list[bytes], absent: bytes, data) -> None:
    values = data.draw(st.lists(words(), min_size=len(paths), max_size=len(paths)))
    rows = np.frombuffer(b"".join(paths), np.uint8).reshape(-1, 32)
    tree, plain = StateTree(rows, programs.limbs(values)), Tree(state_items(paths, values), keccak)
    for path in (*paths, absent):
        assert tree.prove(path) == plain.prove(path)
        assert tree.find(path) == (paths.index(path) if path in paths else -1)
        assert tree.get(path) == dict(zip(paths, values)).get(path, 0)
    tree.set(paths[0], 7)
    assert tree.root == root_by_definition(state_items(paths, [7, *values[1:]]))


def test_state_trees_refuse_what_is_no_key() -> None:
    rows = np.zeros((2, 32), np.uint8)
    with pytest.raises(BlockError, match="is there twice"):
        StateTree(rows, np.zeros((2, 4), np.uint64))
    tree = StateTree(rows[:1], np.zeros((1, 4), np.uint64))
    with pytest.raises(BlockError, match="must be of a key of the block"):
        tree.set(b"\x01" * 32, 5)


@pytest.mark.parametrize(
    ("indptr", "keys", "told"),
    [
        ([0, 100_000], [1] * 100_000, "batch 0 has key 1 twice"),
        ([0, 1, 4], [2, 2, 0, 2], "batch 1 has key 2 twice"),
        ([0, 1], [3], "keys.0. = 3: must be in"),
        ([0, 1], [-1], "keys.0. = -1: must be in"),
        ([0, 2, 1], [0], "must not be below"),
        ([0, 5], [0], "must be 1, the number of entries"),
    ],
)
def test_batches_for_which_the_kernel_has_no_room_are_refused(indptr: list[int], keys: list[int], told: str) -> None:
    paths = np.arange(96, dtype=np.uint8).reshape(3, 32)
    tree = StateTree(paths, np.ones((3, 4), np.uint64))
    before = tree.root
    with pytest.raises(BlockError, match=told):
        tree.put_batches(np.array(indptr, np.int64), np.array(keys, np.int64), np.full((len(keys), 4), 7, np.uint64))
    assert tree.root == before


def test_keys_set_one_by_one_come_to_what_a_batch_does() -> None:
    n, rng = 3000, np.random.default_rng(1)
    rows, values = rng.integers(0, 256, (n, 32), np.uint8), rng.integers(0, 3, (n, 4), np.uint64)
    alone = StateTree(rows, np.zeros((n, 4), np.uint64))
    middle = alone
    for key, value in enumerate(programs.integers(values)):
        alone.set(rows[key].tobytes(), value)
        if key == n // 2:
            middle = alone.copy()
    assert alone.root == StateTree(rows, values).root
    assert middle.put(np.arange(n), values).hex() == alone.root.hex()


def test_a_large_state_has_the_root_of_the_plain_tree() -> None:
    block = generate("small", n_tx=300, seed=5)
    tree = StateTree(key_paths(block), block.pre_values)
    paths = [row.tobytes() for row in key_paths(block)]
    assert tree.root == Tree(state_items(paths, programs.integers(block.pre_values)), keccak).root
    address, kind, slot = block.key(3)
    assert paths[3] == key_path(address + bytes([kind]) + slot)
    assert hash_rows(np.zeros((1, 7), np.uint8)).tobytes() == keccak256(bytes(7))


def test_bits_are_counted_from_the_most_significant() -> None:
    assert [first_difference(bytes(32), flipped(bytes(32), i)) for i in (0, 7, 8, 255)] == [0, 7, 8, 255]
    assert [bit_of(b"\x80\x01", i) for i in (0, 1, 15)] == [1, 0, 1]
    assert index_path(258)[-2:] == b"\x01\x02"
