"""Stores of every backend for tests, and the program that is killed while it commits to one."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pevm_numba.evm.hashing import keccak
from pevm_numba.keys import KeyTable, StateChange
from pevm_numba.storage.base import commit
from pevm_numba.storage.opening import open_store
from pevm_numba.storage.store import Store

#: All that outlive a process.
LASTING = ("mmap", "rocksdb", "lmdb", "sqlite")
#: This program, see `main`.
PROGRAM = Path(__file__)
Key = tuple[bytes, int, int]


def entries(given: dict[Key, int]) -> tuple[KeyTable, np.ndarray]:
    """Keys and words of a dictionary."""
    words = b"".join(value.to_bytes(32, "big") for value in given.values())
    return KeyTable.from_keys(given), np.frombuffer(words, np.uint8).reshape(-1, 32)


def held(store: Any) -> dict[Key, int]:
    """All that a store has."""
    return {
        tuple(key): int.from_bytes(word.tobytes(), "big")
        for keys, words in store.items() for key, word in zip(keys, words, strict=True)
    }  # fmt: skip


def opened(path: Path | None, backend: str, mode: str = "c", **options: Any) -> Store:
    """A store; of a path of its own in a folder."""
    return open_store(None if backend == "memory" else path, mode, backend=backend, **options)


# -------------------------------------------------------------------- a chain of blocks that anybody can make again


def block_of(number: int) -> tuple[dict[Key, int], dict[bytes, bytes]]:
    """What a block changes: some keys of a few hundred, some of them to 0, and now and then a code."""
    rng = np.random.default_rng(number)
    given: dict[Key, int] = {}
    for _ in range(int(rng.integers(1, 40))):
        address, slot = bytes([int(rng.integers(5))]) * 20, int(rng.integers(60))
        given[address, 0, slot] = 0 if rng.random() < 0.2 else int(rng.integers(1, 2**62)) << int(rng.integers(190))
    code = hashlib.sha256(str(number).encode()).digest() * int(rng.integers(1, 40))
    return given, {keccak(code): code} if number % 3 == 0 else {}


def change_of(number: int) -> StateChange:
    given, codes = block_of(number)
    return StateChange(*entries(given), codes)


def main(backend: str, path: Path, options: dict[str, Any]) -> None:
    """Commit block after block and say so, until killed."""
    with opened(path, backend, **options) as store:
        last = store.last_block()
        number = 0 if last is None else last[0] + 1
        while True:
            commit(store, number, change_of(number))
            print(number, flush=True)
            number += 1


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), {name: int(value) for name, value in (word.split("=") for word in sys.argv[3:])})
