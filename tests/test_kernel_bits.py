"""Bits of a page's tags, eight at a time, as one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pevm_numba._kernels import table
from pevm_numba._kernels.bits import trailing_zeros
from pevm_numba._kernels.jit import kernel

U64 = st.integers(0, 2**64 - 1)


@kernel
def zeros_of(values, out):
    for i in range(len(values)):
        out[i] = trailing_zeros(values[i])


@given(st.lists(st.one_of(U64, st.integers(0, 63).map(lambda n: 1 << n))))
def test_the_lowest_bit_is_found(values: list[int]) -> None:
    out = np.empty(len(values), np.int64)
    zeros_of(np.array(values, np.uint64), out)
    assert out.tolist() == [next((i for i in range(64) if value >> i & 1), 64) for value in values]


@given(st.binary(min_size=48, max_size=48), st.data())
def test_tags_are_compared_at_once_as_one_by_one(tags: bytes, data: st.DataObject) -> None:
    tag = data.draw(st.one_of(st.sampled_from(list(tags)), st.integers(0, 255)))
    pages = np.zeros((2, table.LIMBS), np.uint64)
    pages[1, table.TAGS : table.TAGS + 6] = np.frombuffer(tags, np.uint64)
    found = int(table._matches(pages, 1, np.uint64(tag)))
    assert found == sum(1 << e for e in range(table.SLOTS) if tags[e] == tag)
