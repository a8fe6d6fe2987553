"""What the execution of an EVM block leaves behind: receipts, what was accessed, the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import door, html
from ..access.eip7928 import Eip7928List
from ..access.eip7928_build import list_of_evm
from ..access.eip7928_compare import differences
from ..access.oracles import observed_sets
from ..access.sets import AccessSets
from ..errors import ExecutionError
from ..evm.accesses import BlockAccesses
from ..evm.block import EvmBlock
from ..evm.forks import Fork
from ..evm.lazy import Fetches
from ..evm.observation import EvmAccessList, Observation, access_list
from ..evm.receipts import Log, Receipt, logs_bloom, receipts_root
from ..evm.trie import world_root
from ..evm.world import AccountState
from ..keys import KeyTable, StateChange
from ..schedule.plan import Schedule
from ..tabular import Tabular
from .difference import ExecutionDiff, evm_diff
from .result import TxTimes

__all__ = ["EvmExecution"]


@dataclass(frozen=True, eq=False, repr=False)
class EvmExecution(Tabular):
    """Receipts, state, counters and times of one execution of an EVM block; made by `execute`.

    Parameters
    ----------
    block : EvmBlock
    executor : str
        Which one ran (for ``auto``: the one picked).
    schedule : Schedule or None
        What was followed.
    success : (n_tx,) bool
    gas_used : (n_tx,) int64
        Refunds taken off.
    logs : tuple of tuples of Log
        Of each transaction.
    seen : Observation
        What was read and changed.
    after_transactions : mapping of bytes to AccountState
        All accounts after the last transaction; of a block with a source, as far as they are known.
    state : mapping of bytes to AccountState
        All accounts after the block: system calls and withdrawals included, rewards for mining not. As far as known, too.
    accesses : BlockAccesses
        All that the block accessed and changed, whoever did.
    change : StateChange
        What is not as it was before the block: keys, their words, and code.
    fetches : Fetches
        What had to be fetched from the block's source while it ran.
    counters, timings : dict
        As in `Execution`; `execute_ns` begins when all threads are awake.
    times : TxTimes
        When each transaction ran, in nanoseconds.
    reason : str
        Why this executor was picked.

    Notes
    -----
    All arrays are read-only.
    """

    block: EvmBlock
    executor: str
    schedule: Schedule | None
    success: NDArray[np.bool_]
    gas_used: NDArray[np.int64]
    logs: tuple[tuple[Log, ...], ...]
    seen: Observation
    after_transactions: Mapping[bytes, AccountState]
    state: Mapping[bytes, AccountState]
    times: TxTimes
    accesses: BlockAccesses
    change: StateChange
    fetches: Fetches
    counters: dict[str, int] = field(default_factory=dict)
    timings: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def keys(self) -> KeyTable:
        """What the key ids of `observed` and `block_access_list` stand for."""
        return self.seen.keys

    @cached_property
    def observed(self) -> AccessSets:
        """What was really accessed: READ what was looked at, WRITE what changed, CREDIT what was only added to."""
        return observed_sets(self.block, self.seen)

    @cached_property
    def receipts(self) -> list[Receipt]:
        """Receipts in block order; before Byzantium they have the status where the chain's have a state root (EIP-658)."""
        total = np.cumsum(self.gas_used).tolist()
        return [
            Receipt(tx.type, int(ok), gas, logs)
            for tx, ok, gas, logs in zip(self.block.transactions, self.success.tolist(), total, self.logs)
        ]

    @property
    def root_is_chains(self) -> bool | None:
        """Whether the receipts root is the header's; None if that is unknown or, before Byzantium, made of state roots."""
        env = self.block.env
        known = env.receipts_root is not None and env.fork >= Fork.BYZANTIUM
        return self.receipts_root() == env.receipts_root if known else None

    def receipts_root(self) -> bytes:
        """Root of the receipts' trie."""
        return receipts_root(self.receipts)

    def logs_bloom(self) -> bytes:
        """Bloom filter of all logs."""
        return logs_bloom(log for logs in self.logs for log in logs)

    def state_root(self) -> bytes:
        """Root of the state after the block: the chain's, if the block knows all accounts and no reward is due."""
        return world_root(self.state)

    def block_access_list(self) -> EvmAccessList:
        """What each transaction changed: what ``execute(block, "bal", access_list=...)`` runs from."""
        return access_list(self.seen, self.block.n_tx)

    @cached_property
    def _list(self) -> Eip7928List:
        return list_of_evm(self.accesses)

    def eip7928_list(self) -> Eip7928List:
        """The list as clients exchange it (EIP-7928): reads, and the protocol's own part of the block, included."""
        return self._list

    def differences_from_chain(self, *, whole_state: bool = False) -> list[str]:
        """What is not as the block's header and the state after it say; empty if all that is looked at is right.

        Looked at, as far as the block knows them: gas used, receipts root (from Byzantium on), logs bloom; of every
        account in ``block.after`` balance, nonce and storage; and the state root where `whole_state` says that the block's
        state has all accounts and no reward is due.
        """
        env, found = self.block.env, []
        gas = int(self.gas_used.sum())
        if env.gas_used is not None and gas != env.gas_used:
            found.append(f"gas used {gas:,}: the header says {env.gas_used:,}")
        if self.root_is_chains is False:
            wanted = (env.receipts_root or b"").hex()
            found.append(f"receipts root 0x{self.receipts_root().hex()}: the header says 0x{wanted}")
        if env.logs_bloom is not None and self.logs_bloom() != env.logs_bloom:
            found.append("logs bloom is not the header's")
        if whole_state and env.state_root is not None and self.state_root() != env.state_root:
            found.append(f"state root 0x{self.state_root().hex()}: the header says 0x{env.state_root.hex()}")
        for address, expected in (self.block.after or {}).items():
            account = self.after_transactions.get(address)
            if account is None or account[:2] != expected[:2] or account.storage != expected[3]:
                found.append(f"account 0x{address.hex()} is not as it was after the block")
        if self.block.after is not None:
            found += [f"account 0x{a.hex()} is left over" for a in self.after_transactions.keys() - self.block.after.keys()]
        return found

    def summary(self) -> list[tuple[str, str]]:
        """What it comes to, as names and texts; the block first.

        Raises
        ------
        ExecutionError
            If something is not as the chain has it.
        """
        env, block = self.block.env, self.block
        found = self.differences_from_chain()
        if found:
            more = f", and {len(found) - 1} more" if found[1:] else ""
            raise ExecutionError(f"block {block.number}: {found[0]}{more}")
        known = ["gas used"] if env.gas_used is not None else []
        known += ["receipts root"] if self.root_is_chains is not None else []
        known += ["logs bloom"] if env.logs_bloom is not None else []
        known += ["state of known accounts"] if block.after is not None else []
        compared = ", ".join(known) or "nothing to compare with"
        keys = f"{self.observed.n_accesses:,}, of {len(self.keys):,} keys"
        return [
            ("block", f"{block.number}, {block.fork}: {block.n_tx:,} transactions, {len(block.state):,} accounts"),
            ("failed", f"{int(np.count_nonzero(~self.success)):,}"),
            ("gas used", f"{int(self.gas_used.sum()):,}"),
            ("logs", f"{sum(map(len, self.logs)):,}"),
            ("accesses", keys),
            ("as the chain", compared),
        ]

    def difference(self, other: EvmExecution) -> str | None:
        """First difference of outcomes between two executions, None if there is none."""
        door.instance("other", other, EvmExecution)
        ours, theirs = ((one.block.env, one.block.transactions) for one in (self, other))
        if self.block is not other.block and ours != theirs:
            return f"different blocks: {self.block!r} and {other.block!r}"
        for name in ("success", "gas_used"):
            unlike = np.flatnonzero(getattr(self, name) != getattr(other, name))
            if len(unlike):
                t = int(unlike[0])
                return f"transaction {t}, {name}: {getattr(self, name)[t]} and {getattr(other, name)[t]}"
        for t, (mine, logs) in enumerate(zip(self.logs, other.logs)):
            if mine != logs:
                return f"transaction {t}: other logs"
        if self.keys != other.keys or self.observed != other.observed:
            return "observed access sets"
        for entry in differences(self.eip7928_list(), other.eip7928_list()):
            return f"block access list: {entry}"
        for address in self.state.keys() | other.state.keys():
            if self.state.get(address) != other.state.get(address):
                return f"account 0x{address.hex()}: {self.state.get(address)!r:.80} and {other.state.get(address)!r:.80}"
        return None

    def check_equal(self, other: EvmExecution) -> None:
        """Compare outcomes: receipts, logs, access sets, state.

        Raises
        ------
        ExecutionError
            Naming the first difference.
        """
        found = self.difference(other)
        if found is not None:
            raise ExecutionError(f"block {self.block.number}: {self.executor} and {other.executor} differ: {found}")

    def diff(self, other: EvmExecution) -> ExecutionDiff:
        """All receipts, accesses, list entries and keys in which another execution differs; false if there are none.

        Raises
        ------
        BlockError
            If `other` is no execution of this block.
        """
        door.instance("other", other, EvmExecution)
        return evm_diff(self, other)

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row for each transaction: its receipt, and when it ran.

        Returns
        -------
        dict
            ``tx_index`` uint32, ``type`` uint8, ``success`` bool, ``gas_used`` int64, ``n_logs`` int64, and those of
            `TxTimes.columns`.
        """
        made: dict[str, NDArray[Any]] = {"tx_index": np.arange(self.block.n_tx, dtype=np.uint32)}
        made["type"] = np.array([tx.type for tx in self.block.transactions], np.uint8)
        made |= {"success": self.success, "gas_used": self.gas_used}
        made["n_logs"] = np.array([len(logs) for logs in self.logs], np.int64)
        return made | self.times.columns()

    def _repr_html_(self) -> str:
        facts: list[tuple[str, Any]] = [
            ("executor", self.executor), ("reason", self.reason), ("fork", self.block.fork),
            ("transactions", self.block.n_tx), ("failed", int(np.count_nonzero(~self.success))),
            ("gas used", int(self.gas_used.sum())), ("logs", sum(map(len, self.logs))), ("keys accessed", len(self.keys)),
            ("time", f"{self.timings.get('execute_ns', 0) / 1e6:.3f} ms"),
        ]  # fmt: skip
        facts += [(name, count) for name, count in self.counters.items() if count]
        rows = (
            (t, "success" if self.success[t] else "failed", int(self.gas_used[t]), len(self.logs[t]), int(self.times.runs[t]))
            for t in range(self.block.n_tx)
        )
        heads = ("transaction", "status", "gas used", "logs", "runs")
        caption = f"Execution of EVM block {self.block.number}"
        return html.table(caption, [one for one in facts if one[1] != ""], heads, rows, self.block.n_tx, "transactions")

    def __repr__(self) -> str:
        ms = self.timings.get("execute_ns", 0) / 1e6
        n_ok, gas = int(self.success.sum()), int(self.gas_used.sum())
        return f"<EvmExecution by {self.executor}: {n_ok:,} of {len(self.success):,} txs succeeded, {gas:,} gas, {ms:.2f} ms>"
