"""Records at addresses: fields are where the layout says, in compiled code as in plain Python, and disjoint."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pevm_numba._kernels.evm import memory
from pevm_numba._kernels.evm.records import address_of, record
from pevm_numba._kernels.evm.regions import REGIONS
from pevm_numba._kernels.jit import DISABLED, kernel

FRAME = record("TEST_FRAME", "gas depth parent", "value origin")
frame_at = FRAME.at


@kernel(bare=True)
def _use(p, q):
    frame = frame_at(p)
    frame.gas = 100
    frame.gas -= 7
    frame.depth += frame.gas
    memory.word_set(frame.value, 5)
    memory.word_add(frame.origin, frame.value, frame.value)
    other = frame_at(q)
    other.parent = address_of(frame)
    return frame_at(other.parent).depth


def test_fields_are_read_and_written_where_the_layout_says() -> None:
    assert FRAME.words == {"value": 0, "origin": 32}
    assert FRAME.numbers == {"gas": 64, "depth": 72, "parent": 80}
    assert FRAME.size == 96
    arena = np.zeros(2 * FRAME.size // 8 + 1, np.int64)
    p = arena.ctypes.data
    q = p + FRAME.size
    REGIONS.add(p, 2 * FRAME.size)
    arena[9] = 1
    assert _use(p, q) == 94
    expected = np.zeros_like(arena)
    expected[[0, 4, 8, 9]] = 5, 10, 93, 94
    expected[(FRAME.size + 80) // 8] = p
    assert arena.tolist() == expected.tolist()
    assert REGIONS.violation() == 0
    REGIONS.remove(p)


@pytest.mark.parametrize("numbers", ["gas gas", "gas value"])
def test_a_field_that_comes_twice_is_refused(numbers: str) -> None:
    with pytest.raises(ValueError, match="record TWICE: a field comes twice"):
        record("TWICE", numbers, "value")


@pytest.mark.skipif(DISABLED, reason="plain Python finds a wrong name when it runs")
def test_an_unknown_field_is_found_at_compile_time() -> None:
    import numba

    @numba.njit
    def wrong(p):
        return frame_at(p).gass

    with pytest.raises(numba.TypingError, match="gass"):
        wrong(0)


@pytest.mark.skipif(DISABLED, reason="nothing is compiled")
def test_a_kernel_with_records_comes_from_the_disk_cache_in_another_process() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_evm_records as t; from pevm_numba._kernels import jit;"
        "t.test_fields_are_read_and_written_where_the_layout_says(); print(jit.was_compiled())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[1].stdout.strip() == "0"
