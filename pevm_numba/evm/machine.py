"""One block's state and the machine that changes it, transaction after transaction, on one core.

A transaction that the rules refuse is no failed one: it cannot be in a block, raises an error and changes nothing.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout, transactions
from .._kernels.evm.regions import REGIONS
from .._kernels.evm.state import find_key
from ..errors import BlockError, ExecutionError
from .arena import Arena, Room
from .charges import charges, floor_gas, intrinsic_gas, refusal
from .forks import Fork
from .hashing import EMPTY_HASH
from .header import BlockEnv
from .opcodes import ENVIRONMENT
from .precompiles import call, precompiles
from .receipts import Log
from .transaction import Transaction

__all__ = ["AccountState", "Machine", "Outcome"]

#: Refusals that depend on the state.
_REFUSALS: Final = {
    transactions.NONCE: "nonce = {nonce}: is not the sender's",
    transactions.FUNDS: "the sender cannot pay {most} wei",
    transactions.SENDER_CODE: "the sender has code (EIP-3607)",
}
#: Most times that an arena is enlarged for one transaction: to 256 times its room.
_ENLARGED: Final = 8


class AccountState(NamedTuple):
    """An account; `storage` has no zeros."""

    balance: int
    nonce: int
    code: bytes
    storage: dict[int, int]


class Outcome(NamedTuple):
    """What a transaction did: `output` is what it returned or reverted with, nothing for one that creates a contract."""

    success: bool
    gas_used: int
    output: bytes
    logs: tuple[Log, ...]


class Machine:
    """The state of accounts in a block, and what its transactions do to it.

    Parameters
    ----------
    env : BlockEnv
    state : mapping of address to (balance, nonce, code, storage)
        All accounts that exist, by their 20 bytes; everything else is absent, and zero.
    room : Room, optional
        How much the tables hold at first; they are enlarged when need be.

    Examples
    --------
    >>> adds = bytes.fromhex("60036004015f5260205ff3")  # 3 + 4, returned
    >>> state = {b"\\x01" * 20: (10**18, 0, b"", {}), b"\\x02" * 20: (0, 1, adds, {})}
    >>> machine = Machine(BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=0), state)
    >>> tx = Transaction(gas_price=0, gas_limit=50_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> outcome = machine.run(tx)
    >>> outcome.success, outcome.gas_used, outcome.output[-1]
    (True, 21022, 7)
    """

    def __init__(
        self, env: BlockEnv, state: Mapping[bytes, tuple[int, int, bytes, Mapping[int, int]]], room: Room | None = None
    ) -> None:
        self.env = env
        self._problem: BaseException | None = None
        this = weakref.ref(self)  # a strong one would be a cycle, and keep the arena until the collector comes by

        def serve(_: int) -> int:
            machine = this()
            return 0 if machine is None else machine._precompile()

        self._callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(serve)
        self._load(dict(state), Room() if room is None else room)

    # ---------------------------------------------------------------- state

    def _load(self, state: Mapping[bytes, tuple[int, int, bytes, Mapping[int, int]]], room: Room) -> None:
        """A new arena, with room enough, that holds the state."""
        for _ in range(_ENLARGED):
            self.arena = Arena(self.env.fork, room)
            self._word = self.arena.allocate("word", 32)
            self.arena["bare_storage"] = any(one[3] and not (one[1] or one[2]) for one in state.values())
            for address, account in state.items():
                self._add_account(address, account)
            if self.arena["status"] == layout.OK:
                self._set_environment()
                return
            room = room.doubled()
        raise ExecutionError(f"state of {len(state)} accounts: no room for it in {room}")

    def _key(self, owner: int, value: int, width: int) -> int:
        self._word[:] = _bytes(value)
        return int(find_key(self.arena.address, owner, self._word.ctypes.data, width))

    def _add_account(self, address: bytes, account: tuple[int, int, bytes, Mapping[int, int]]) -> None:
        balance, nonce, code, storage = account
        key, values = self._key(-1, int.from_bytes(address, "big"), 3), self.arena.words("values")
        merely_exists = self.env.fork < Fork.SPURIOUS or not (balance or nonce)
        number = self.arena.add_code(code)
        if code:
            codes = self.arena.buffer("codes").reshape(-1, layout.CODE.size)
            values[key + 2] = codes[number, :32].view(np.uint64)
        elif merely_exists:
            values[key + 2] = np.frombuffer(EMPTY_HASH[::-1], np.uint64)
        values[key], values[key + 1] = _bytes(balance).view(np.uint64), _bytes(nonce).view(np.uint64)
        for slot, value in storage.items():
            if value:
                values[self._key(key, slot, 1)] = _bytes(value).view(np.uint64)

    def state(self) -> dict[bytes, AccountState]:
        """All accounts that exist now."""
        arena = self.arena
        n_keys = int(arena.buffer("n_keys").view(np.int64)[0])
        keys = arena.buffer("keys").reshape(-1, layout.KEY.size)[:n_keys]
        owners, values = keys[:, 32:40].copy().view(np.int64)[:, 0], arena.buffer("values").reshape(-1, 32)
        accounts, storages = dict[bytes, tuple[int, int, int, bytes]](), dict[int, dict[int, int]]()
        k = 0
        while k < n_keys:
            if owners[k] >= 0:
                value = _integer(values[k])
                if value:
                    storages.setdefault(int(owners[k]), {})[_integer(keys[k, :32])] = value
                k += 1
                continue
            balance, nonce, code_hash = (_integer(values[k + i]) for i in range(3))
            if balance or nonce or code_hash:
                address = _integer(keys[k, :32]).to_bytes(20, "big")
                accounts[address] = k, balance, nonce, self._code(code_hash)
            k += 3
        return {
            address: AccountState(balance, nonce, code, storages.get(k, {}))
            for address, (k, balance, nonce, code) in accounts.items()
        }

    def _code(self, code_hash: int) -> bytes:
        if code_hash in (0, int.from_bytes(EMPTY_HASH, "big")):
            return b""
        arena = self.arena
        n_codes = int(arena.buffer("n_codes").view(np.int64)[0])
        codes = arena.buffer("codes").reshape(-1, layout.CODE.size)[:n_codes]
        word = np.frombuffer(code_hash.to_bytes(32, "little"), np.uint8)
        number = int(np.flatnonzero((codes[:, :32] == word).all(axis=1))[0])
        start, size = codes[number, 32:48].view(np.int64)
        first = int(start) - arena.buffer("code_top").ctypes.data
        return arena.buffer("code_top")[first : first + int(size)].tobytes()

    # ---------------------------------------------------------------- environment

    def _set_environment(self) -> None:
        env, arena = self.env, self.arena
        words = {
            "coinbase": int.from_bytes(env.fee_recipient, "big"), "timestamp": env.timestamp, "number": env.number,
            "prev_randao": env.prev_randao, "gas_limit": env.gas_limit, "chain_id": env.chain_id,
            "base_fee": env.base_fee or 0, "blob_base_fee": env.blob_gas_price or 0,
        }  # fmt: skip
        environment = arena.buffer("environment").reshape(-1, 32)
        for name, value in words.items():
            environment[ENVIRONMENT.index(name)] = _bytes(value)
        arena.buffer("context")[layout.CONTEXT.words["coinbase"] :][:32] = _bytes(words["coinbase"])
        hashes = arena.buffer("block_hashes").reshape(-1, 32)
        for number, digest in env.block_hashes.items():
            if env.number - 256 <= number < env.number:
                hashes[env.number - 1 - number] = np.frombuffer(digest[::-1], np.uint8)
        known = sorted(precompiles(env.fork))
        arena["n_precompiles"] = sum(address < 0x100 for address in known)
        arena["high_precompile"] = next((address for address in known if address >= 0x100), 0)
        arena["host"] = ctypes.cast(self._callback, ctypes.c_void_p).value or 0

    def _precompile(self) -> int:
        """Called by the kernels, without the interpreter's lock; what goes wrong here is raised when they have returned."""
        arena = self.arena
        try:
            data = ctypes.string_at(arena["host_input"], arena["host_size"])
            ok, used, output = call(self.env.fork, arena["host_address"], data, arena["host_gas"])
            if len(output) > arena["returned_room"]:
                arena["status"] = layout.FULL
                return 0
            ctypes.memmove(arena["returned"], output, len(output))
            arena["host_ok"], arena["host_used"], arena["returned_size"] = int(ok), used, len(output)
        except BaseException as problem:
            self._problem = problem
        return 0

    # ---------------------------------------------------------------- transactions

    def run(self, tx: Transaction) -> Outcome:
        """Run a transaction on the state, which it changes.

        Raises
        ------
        BlockError
            If the rules refuse it, or its sender is not given.
        ExecutionError
            If it needs more room than an enlarged arena has, or a library that is not installed.
        """
        reason = "sender = None: must be given, or recovered" if tx.sender is None else refusal(tx, self.env)
        if reason is not None:
            raise BlockError(f"transaction refused: {reason}")
        for _ in range(_ENLARGED):
            record = self._encode(tx)
            transactions.run_transaction(self.arena.address, record)
            self._check()
            if self.arena["status"] != layout.FULL:
                break
            self._load(self.state(), self.arena.room.doubled())
        if self.arena["status"] == layout.FULL:
            raise ExecutionError(f"transaction: no room for what it does in {self.arena.room}")
        if self.arena["status"] == layout.REJECTED:
            text = _REFUSALS[self.arena["refusal"]].format(nonce=tx.nonce, most=charges(tx, self.env).most)
            raise BlockError(f"transaction refused: {text}")
        return self._outcome(tx)

    def _check(self) -> None:
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem
        outside = REGIONS.violation()
        if outside:
            raise ExecutionError(f"the machine reached for address {outside:#x}, which is not its own: a defect")

    def _outcome(self, tx: Transaction) -> Outcome:
        arena = self.arena
        output = b"" if tx.to is None else arena.buffer("returned")[: arena["returned_size"]].tobytes()
        logs = self._logs() if arena["success"] else ()
        return Outcome(bool(arena["success"]), arena["gas_used"], output, logs)

    def _logs(self) -> tuple[Log, ...]:
        arena, found = self.arena, []
        records = arena.buffer("logs").reshape(-1, layout.LOG.size)[: arena["n_logs"]]
        for record in records:
            n_topics, data, size = record[160:184].view(np.int64).tolist()
            words = [_integer(record[32 * i : 32 * i + 32]) for i in range(1 + n_topics)]
            first = data - arena["log_data"]
            payload = arena.buffer("log_data")[first : first + size].tobytes()
            found.append(Log(words[0].to_bytes(20, "big"), tuple(words[1:]), payload))
        return tuple(found)

    def _encode(self, tx: Transaction) -> int:
        """Address of the transaction's record."""
        paid, arena = charges(tx, self.env), self.arena
        entries = [entry for address, slots in tx.access_list for entry in ((address, None), *((address, s) for s in slots))]
        listed = arena.allocate("list", layout.LIST_ENTRY.size * len(entries)).reshape(-1, layout.LIST_ENTRY.size)
        for row, (address, slot) in zip(listed, entries):
            row[:32], row[32:64] = _bytes(int.from_bytes(address, "big")), _bytes(slot or 0)
            row[64] = slot is not None
        data = arena.allocate("data", len(tx.data) + 64)
        data[: len(tx.data)] = np.frombuffer(tx.data, np.uint8)
        hashes = arena.allocate("blob_hashes", 32 * len(tx.blob_versioned_hashes)).reshape(-1, 32)
        for row, digest in zip(hashes, tx.blob_versioned_hashes):
            row[:] = np.frombuffer(digest[::-1], np.uint8)
        numbers: dict[str, Any] = {
            "creates": tx.to is None, "nonce": tx.nonce, "gas_limit": tx.gas_limit,
            "intrinsic": intrinsic_gas(tx, self.env.fork), "floor": floor_gas(tx, self.env.fork),
            "data": data.ctypes.data, "data_size": len(tx.data), "list": listed.ctypes.data,
            "list_end": listed.ctypes.data + listed.nbytes, "blob_hashes": hashes.ctypes.data, "n_blobs": len(hashes),
        }  # fmt: skip
        words = {
            "sender": int.from_bytes(tx.sender or b"", "big"), "to": int.from_bytes(tx.to or b"", "big"), "value": tx.value,
            "fee": paid.fee, "tip": paid.tip, "most_upfront": paid.most, "blob_fee": paid.blob_fee,
        }  # fmt: skip
        record = arena.allocate("transaction", layout.TX.size)
        for name, place in layout.TX.numbers.items():
            record[place : place + 8].view(np.uint64)[0] = int(numbers[name])
        for name, place in layout.TX.words.items():
            record[place : place + 32] = _bytes(words[name])
        return int(record.ctypes.data)


def _bytes(value: int) -> NDArray[np.uint8]:
    """A word as the machine has it: 32 bytes, least significant first."""
    return np.frombuffer(value.to_bytes(32, "little"), np.uint8)


def _integer(word: NDArray[np.uint8]) -> int:
    return int.from_bytes(word.tobytes(), "little")
