"""RLP and tries against the libraries of py-evm, on random contents."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba.evm.rlp import decode, encode
from pevm_numba.evm.trie import ordered_root, trie_root

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    trie = pytest.importorskip("trie", reason="py-evm is not installed")
    rlp = pytest.importorskip("rlp", reason="py-evm is not installed")

items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=6), max_leaves=25)


@given(items)
def test_rlp_is_that_of_the_library_and_comes_back(item: object) -> None:
    raw = encode(item)
    assert raw == rlp.encode(item)
    assert decode(raw) == rlp.decode(raw, strict=True) or decode(raw) == item


@given(st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(min_size=1, max_size=60), max_size=30))
@settings(deadline=None)
def test_a_trie_has_the_root_that_it_has_when_built_one_by_one(pairs: dict[bytes, bytes]) -> None:
    built = trie.HexaryTrie({})
    for key, value in pairs.items():
        built[key] = value
    assert trie_root(pairs) == built.root_hash


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=140))
@settings(deadline=None, max_examples=20)
def test_a_list_has_the_root_of_the_trie_of_its_indices(values: list[bytes]) -> None:
    assert ordered_root(values) == trie_root({rlp.encode(i): value for i, value in enumerate(values)})
