"""A call's memory against a Python bytearray: bytes, gas and size, for any offsets and sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pevm_numba._kernels.evm import expansion, layout
from pevm_numba._kernels.evm.regions import REGIONS
from pevm_numba.evm.arena import Arena
from pevm_numba.evm.forks import Fork

TOP = 1 << 256
GAS = 10**6
ROOM = 1 << 15
SOURCE = bytes(range(1, 101))

near = st.one_of(st.integers(0, 200), st.integers(0, 3000))
far = st.one_of(near, st.sampled_from([2**32 - 1, 2**32, 2**40 - 1, 2**40, 2**63, 2**64 - 1, 2**255, TOP - 1]))


class Memory:
    """One frame with a memory of ROOM bytes, full of ones before it grows; three operands; a source."""

    def __init__(self) -> None:
        self.arena = Arena(Fork.CANCUN)
        self.c = self.arena.address
        self.frame = self.arena.allocate("test frame", layout.FRAME.size)
        self.f = int(self.frame.ctypes.data)
        self.bytes = self.arena.allocate("test memory", ROOM)
        self.bytes[:] = 1
        self.operands = self.arena.allocate("test operands", 96)
        self.source = self.arena.allocate("test source", len(SOURCE))
        self.source[:] = np.frombuffer(SOURCE, np.uint8)
        self.arena["memory_end"] = self.bytes.ctypes.data + ROOM
        self["memory"] = self.bytes.ctypes.data

    def __setitem__(self, name: str, value: int) -> None:
        self.frame.view(np.int64)[layout.FRAME.numbers[name] // 8] = value

    def __getitem__(self, name: str) -> int:
        return int(self.frame.view(np.int64)[layout.FRAME.numbers[name] // 8])

    def put(self, *operands: int) -> int:
        """Operands in the order in which the stack has them, the last on top; where they end."""
        for i, value in enumerate(operands):
            self.operands[32 * i : 32 * i + 32] = np.frombuffer(value.to_bytes(32, "little"), np.uint8)
        return int(self.operands.ctypes.data) + 96


def price(words: int) -> int:
    """The Yellow Paper's price of so many words."""
    return 3 * words + words * words // 512


def fits(model: bytearray, end: int, gas: int, extra: int) -> tuple[bool, int]:
    """Whether memory can grow to `end`, and the gas left after that and `extra`."""
    words, before = -(-end // 32), len(model) // 32
    left = gas - extra - max(0, price(words) - price(before))
    return left >= 0 and 32 * words + 64 <= ROOM, left


@given(st.lists(st.tuples(far, far, far, st.booleans()), min_size=1, max_size=6))
@example([(0, TOP - 1, 0, False)])
@example([(TOP - 1, 5, 3, True), (96, 99, 1, True), (96, 100, 1, True)])
@settings(max_examples=200, deadline=None)
def test_copies_are_those_of_a_bytearray_and_cost_what_they_must(copies: list[tuple[int, int, int, bool]]) -> None:
    memory, model, gas = Memory(), bytearray(), GAS
    for to, offset, size, strict in copies:
        operands = memory.put(size, offset, to)
        left = int(
            expansion.copy_to_memory(
                memory.c, memory.f, gas, operands, int(memory.source.ctypes.data), len(SOURCE), strict
            )
        )
        if strict and offset + size > len(SOURCE):
            assert left < 0
            return
        if size:
            good, expected = fits(model, to + size, gas, 3 * -(-size // 32))
            if not good:
                assert left < 0
                assert (memory.arena["status"] == layout.FULL) == (expected >= 0)
                assert memory["memory_size"] == len(model)
                return
            model += bytes(max(0, -(-(to + size) // 32) * 32 - len(model)))
            model[to : to + size] = (SOURCE[offset:] + bytes(size))[:size] if offset < len(SOURCE) else bytes(size)
            gas = expected
        assert left == gas
        assert memory["memory_size"] == len(model)
        assert memory.bytes[: len(model)].tobytes() == bytes(model)
        assert (memory.bytes[len(model) :] == 1).all()
    assert REGIONS.violation() == 0


@given(far, far)
def test_the_end_of_a_range(offset: int, size: int) -> None:
    memory = Memory()
    at = memory.put(offset, size) - 96
    end = int(expansion.end_of_range(at, at + 32))
    if size == 0:
        assert end == 0
    elif max(offset, size) >= 2**40:
        assert end == expansion.BEYOND
    else:
        assert end == offset + size
