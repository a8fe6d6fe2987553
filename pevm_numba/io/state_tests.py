"""Official state tests: one transaction each, with the root of the state and the hash of the logs that must come out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import BlockError, FileFormatError
from ..evm.forks import Fork, fork_named
from ..evm.hashing import keccak
from ..evm.header import BlockEnv
from ..evm.machine import Evm
from ..evm.receipts import logs_hash
from ..evm.transaction import Transaction, decode_transaction
from ..evm.trie import state_root
from ..evm.world import AccountState
from .paths import existing

__all__ = ["StateTest", "read_state_tests"]


@dataclass(frozen=True)
class StateTest:
    """One case: a test, a fork, and one of what the test expects there.

    Parameters
    ----------
    name : str
        File and number of the case in it.
    fork : str
    test, expected : dict
        As in the file.
    """

    name: str
    fork: str
    test: Mapping[str, Any]
    expected: Mapping[str, Any]

    def outcome(self) -> str:
        """Run it: "passed", or how it came out else: "refused", "not refused", "logs", "root"; more may follow a colon."""
        must_fail = "expectException" in self.expected
        try:
            machine = Evm(self._environment(), self._state())
            done = machine.run(self._transaction())
        except BlockError as error:
            return "passed" if must_fail else f"refused: {error}"
        if must_fail:
            return f"not refused: {self.expected['expectException']}"
        if logs_hash(done.logs) != _octets(self.expected["logs"]):
            return "logs"
        return "passed" if _root(machine.state()) == _octets(self.expected["hash"]) else "root"

    def _environment(self) -> BlockEnv:
        env, fork = self.test["env"], fork_named(self.fork)
        height = _number(env["currentNumber"])
        return BlockEnv(
            number=height, timestamp=_number(env["currentTimestamp"]), fork=fork,
            fee_recipient=_octets(env["currentCoinbase"]), gas_limit=min(_number(env["currentGasLimit"]), 2**64 - 1),
            prev_randao=_number(env["currentRandom"] if fork >= Fork.PARIS else env["currentDifficulty"]),
            base_fee=_number(env["currentBaseFee"]) if fork >= Fork.LONDON else None,
            excess_blob_gas=_number(env.get("currentExcessBlobGas", "0x0")) if fork >= Fork.CANCUN else None,
            block_hashes={n: keccak(str(n).encode()) for n in range(max(0, height - 256), height)},
        )  # fmt: skip

    def _state(self) -> dict[bytes, AccountState]:
        return {
            _octets(address): AccountState(
                _number(one["balance"]), _number(one["nonce"]), _octets(one["code"]),
                {_number(slot): _number(value) for slot, value in one["storage"].items()},
            )
            for address, one in self.test["pre"].items()
        }  # fmt: skip

    def _transaction(self) -> Transaction:
        decoded = decode_transaction(_octets(self.expected["txbytes"]))
        fields = {name: getattr(decoded, name) for name in type(decoded).__dataclass_fields__}
        return Transaction(**(fields | {"sender": _octets(self.test["transaction"]["sender"])}))


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _number(text: str) -> int:
    return int(text, 16)


def _root(accounts: Mapping[bytes, AccountState]) -> bytes:
    return state_root({
        address: (nonce, balance, keccak(code), dict(storage))
        for address, (balance, nonce, code, storage) in accounts.items()
    })  # fmt: skip


def _place(path: Path, name: str) -> str:
    return f"{path}" if path.name == name else f"{path}: {name}"


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    """JSON files, by name: those of an archive or a folder, or a single one."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(".json")):
                yield name, archive.read(name)
    elif path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield str(file.relative_to(path)), file.read_bytes()
    else:
        yield path.name, path.read_bytes()


def read_state_tests(path: str | PathLike[str], forks: Iterable[str], every: int = 1) -> Iterator[StateTest]:
    """Cases of some forks.

    Parameters
    ----------
    path : path
        A JSON file, a folder of them, or a ``.zip`` of ethereum/tests' GeneralStateTests.
    forks : iterable of str
        Names as the files have them, such as "Cancun".
    every : int
        Of the files, in the order of their names, every so many is read.

    Raises
    ------
    FileFormatError
        If a file is no JSON, or not of this form; names it.

    References
    ----------
    ethereum/tests, GeneralStateTests.
    """
    wanted, found = list(forks), existing(path)
    for name, text in [*_documents(found)][::every] if every > 1 else _documents(found):
        try:
            tests = json.loads(text)
            cases = [
                StateTest(f"{name}:{i}", fork, test, expected)
                for test in tests.values() for fork in wanted for i, expected in enumerate(test["post"].get(fork, ()))
            ]  # fmt: skip
        except ValueError as error:
            raise FileFormatError(f"{_place(found, name)}: not readable JSON: {error}") from None
        except (AttributeError, TypeError, KeyError):
            rule = "must be objects by name, each with 'env', 'pre', 'transaction' and, in 'post', lists by fork"
            raise FileFormatError(f"{_place(found, name)}: is no state test: {rule}") from None
        yield from cases
