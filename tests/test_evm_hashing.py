"""Keccak-256 at addresses against an independent implementation, for every length around the block size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pevm_numba._kernels.evm import hashing
from pevm_numba._kernels.evm.regions import REGIONS

eth_hash = pytest.importorskip("eth_hash.auto", reason="eth-hash is not installed")

ARENA = np.zeros(4096, np.uint8)
BASE = ARENA.ctypes.data + -ARENA.ctypes.data % 32
REGIONS.add(BASE, 4000)


def digest(data: bytes, offset: int = 0) -> bytes:
    begin = BASE - ARENA.ctypes.data
    at = begin + 1024 + offset
    ARENA[at : at + len(data)] = np.frombuffer(data, np.uint8)
    hashing.keccak(BASE, BASE + 1024 + offset, len(data), BASE + 64)
    return ARENA[begin : begin + 32].tobytes()[::-1]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 31, 32, 64, 134, 135, 136, 137, 271, 272, 273, 1000])
def test_every_length_around_a_block(size: int) -> None:
    data = bytes(i * 7 % 256 for i in range(size))
    assert digest(data) == eth_hash.keccak(data)


@given(st.binary(max_size=500), st.integers(0, 31))
def test_any_bytes_at_any_address(data: bytes, offset: int) -> None:
    assert digest(data, offset) == eth_hash.keccak(data)
    assert REGIONS.violation() == 0
