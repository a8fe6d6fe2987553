"""The official state tests, Berlin to Cancun: state root and hash of the logs of each case; refused where it must be."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pevm_numba.errors import BlockError
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.machine import Machine
from pevm_numba.evm.receipts import logs_hash
from pevm_numba.evm.transaction import decode_transaction
from pevm_numba.evm.trie import state_root

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "state_tests" / "GeneralStateTests.zip"
pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason="no official state tests beside the checkout")

FORKS = ("Berlin", "London", "Paris", "Shanghai", "Cancun")
#: Slow by design; in the soak with all others.
SLOW = ("stTimeConsuming", "stQuadraticComplexityTest", "stStackTests")
#: Of the other files, every so many is run; in the soak all are.
EVERY = 1 if os.environ.get("PEVM_NUMBA_SOAK") else 10


def octets(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def number(text: str) -> int:
    return int(text, 16)


def names() -> list[str]:
    """Files to run, a fixed sample."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        found = sorted(name for name in archive.namelist() if name.endswith(".json"))
    if EVERY == 1:
        return found
    return [name for name in found if not any(slow in name for slow in SLOW)][::EVERY]


def environment(env: dict[str, str], fork: Fork) -> BlockEnv:
    height = number(env["currentNumber"])
    return BlockEnv(
        number=height, timestamp=number(env["currentTimestamp"]), fork=fork, fee_recipient=octets(env["currentCoinbase"]),
        gas_limit=min(number(env["currentGasLimit"]), 2**64 - 1),
        prev_randao=number(env["currentRandom"] if fork >= Fork.PARIS else env["currentDifficulty"]),
        base_fee=number(env["currentBaseFee"]) if fork >= Fork.LONDON else None,
        excess_blob_gas=number(env.get("currentExcessBlobGas", "0x0")) if fork >= Fork.CANCUN else None,
        block_hashes={n: keccak(str(n).encode()) for n in range(max(0, height - 256), height)},
    )  # fmt: skip


def pre_state(pre: dict[str, Any]) -> dict[bytes, tuple[int, int, bytes, dict[int, int]]]:
    return {
        octets(address): (
            number(one["balance"]), number(one["nonce"]), octets(one["code"]),
            {number(slot): number(value) for slot, value in one["storage"].items()},
        )
        for address, one in pre.items()
    }  # fmt: skip


def root(accounts: dict[bytes, Any]) -> bytes:
    return state_root(
        {address: (nonce, balance, keccak(code), storage) for address, (balance, nonce, code, storage) in accounts.items()}
    )


def cases(fork: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every case of the sample: its name, the test, what is expected."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in names():
            for test in json.loads(archive.read(name)).values():
                for i, expected in enumerate(test["post"].get(fork, ())):
                    yield f"{name}:{i}", test, expected


def outcome(test: dict[str, Any], expected: dict[str, Any], fork: Fork) -> str:
    """What came of a case: "passed", or how it failed."""
    state = pre_state(test["pre"])
    must_fail = "expectException" in expected
    try:
        machine = Machine(environment(test["env"], fork), state)
        tx = decode_transaction(octets(expected["txbytes"]))
        tx = dataclasses.replace(tx, sender=octets(test["transaction"]["sender"]))
        done = machine.run(tx)
    except BlockError as error:
        return "passed" if must_fail else f"refused: {error}"
    if must_fail:
        return f"not refused: {expected['expectException']}"
    if logs_hash(done.logs) != octets(expected["logs"]):
        return "logs"
    return "passed" if root(machine.state()) == octets(expected["hash"]) else "root"


@pytest.mark.parametrize("fork", FORKS)
def test_official_cases(fork: str) -> None:
    counts: Counter[str] = Counter()
    failed = []
    for name, test, expected in cases(fork):
        found = outcome(test, expected, Fork[fork.upper()])
        counts[found.split(":")[0]] += 1
        if found != "passed":
            failed.append(f"{name}: {found}")
    print(fork, dict(counts))
    assert counts["passed"] > 300
    assert not failed, f"{len(failed)} of {counts.total()}: " + "; ".join(failed[:20])
