"""One plain form of a case (a pre-state, a block, a transaction), and adapters that run it on EVMs of other authors.

Neither adapter imports the package. Both peers are imported when first used: a test that needs one asks `missing` first.

**pyrevm** 0.3.7 (revm 8 in Rust). It runs *message calls*, not transactions, and what it leaves out the adapter adds: the
sender is charged before (its balance is seen from inside), refunded after, the fee recipient is paid last, and accounts that
destroyed themselves or were touched while empty are removed. What cannot be added is named by `pyrevm_limit`, to be asked
where an outcome differs (it repeats the run with the tracer, which takes a millisecond an opcode):

- BASEFEE is 0 whatever the block says, and so is GASPRICE in a create transaction.
- Every account "exists" in its empty database, so before Spurious Dragon the 25,000 of a call or self-destruct to an account
  that does not exist are not charged.

And the adapter works around:

- The sender must own the whole fee twice, as the check of its balance follows the charge; else `PeerLimit` is raised.
- An unknown ``spec_id`` silently means the *latest* rules; the names are "Frontier" ... "Cancun", and "Merge" for Paris.
- ``insert_account_storage`` leaves the account warm, and a second slot of a warm account is known to the journal alone; the
  adapter reverts a snapshot around every slot.
- The journal is only readable as text (`EVM.journal_str`), which is parsed; it keeps no list of accounts never touched, and
  those are taken from the pre-state.

**py-evm** 0.12.1b1 (Python). It runs whole transactions on any fork with an unsigned, "spoofed" one. It cannot list accounts
and slots, but remembers which ones were asked for. Its frames are Python frames: it runs on a thread with a large stack.

Both know block hashes as ``keccak(str(number))`` (`block_hash`), since pyrevm has no other.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, NamedTuple, TypeVar

__all__ = [
    "FORKS",
    "Account",
    "After",
    "Case",
    "CaseRejected",
    "Outcome",
    "PeerLimit",
    "block_hash",
    "differences",
    "executed_opcodes",
    "from_fork",
    "intrinsic_gas",
    "keccak",
    "missing",
    "pyrevm_limit",
    "run_pyevm",
    "run_pyrevm",
]

T = TypeVar("T")

#: Names of `pevm_numba.evm.forks.Fork` that the peers share, oldest first.
FORKS: Final = (
    "FRONTIER",
    "HOMESTEAD",
    "TANGERINE",
    "SPURIOUS",
    "BYZANTIUM",
    "PETERSBURG",
    "ISTANBUL",
    "BERLIN",
    "LONDON",
    "PARIS",
    "SHANGHAI",
    "CANCUN",
)

#: With the fork that only py-evm knows.
ORDER: Final = (*FORKS, "PRAGUE")

_REVM_SPEC: Final = {fork: fork.capitalize() for fork in FORKS} | {"PARIS": "Merge"}
_PYEVM_VM: Final = {fork: fork.capitalize() + "VM" for fork in ORDER} | {
    "TANGERINE": "TangerineWhistleVM",
    "SPURIOUS": "SpuriousDragonVM",
}


class PeerLimit(Exception):
    """This peer cannot run this case faithfully; the message says why."""


class CaseRejected(ValueError):
    """The transaction of a case is invalid: it cannot be in a block."""


@dataclass(frozen=True)
class Account:
    """An account before the transaction."""

    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A transaction and all it can see.

    Attributes
    ----------
    fork : str
        One of `FORKS`.
    env : Mapping[str, Any]
        The block: ``number``, ``timestamp``, ``fee_recipient`` (20 bytes), ``gas_limit``, ``base_fee`` (None before London),
        ``difficulty`` (before Paris), ``prev_randao`` (an integer, from Paris), ``chain_id``, ``excess_blob_gas`` (None
        before Cancun). Block hashes are `block_hash`.
    pre : Mapping[bytes, Account]
        Accounts that exist before, by their 20 bytes.
    tx : Mapping[str, Any]
        ``sender``, ``to`` (None creates), ``nonce``, ``gas_limit``, ``gas_price`` (all that is paid, base fee included),
        ``value``, ``data``, ``access_list`` (of (address, slots), empty before Berlin) and, from Cancun, maybe
        ``blob_hashes``; from Prague maybe ``authorizations``, tuples of chain, address, nonce, y parity, r, s.
    """

    fork: str
    env: Mapping[str, Any]
    pre: Mapping[bytes, Account]
    tx: Mapping[str, Any]


class After(NamedTuple):
    """An account after the transaction; its storage without zeros."""

    balance: int
    nonce: int
    code: bytes
    storage: dict[int, int]


@dataclass(frozen=True)
class Outcome:
    """What a transaction did. A part that a peer cannot tell is None; no part is None today.

    Attributes
    ----------
    success : bool
    gas_used : int
        After refunds, as in a receipt.
    output : bytes
        Returned or revert data; empty after an exceptional halt, and of every create transaction.
    logs : tuple of (address, topics, data)
        Topics are integers.
    accounts : dict[bytes, After]
        Every account that exists, fees paid.
    """

    success: bool
    gas_used: int
    output: bytes
    logs: tuple[tuple[bytes, tuple[int, ...], bytes], ...]
    accounts: dict[bytes, After]


def from_fork(fork: str, first: str) -> bool:
    """Whether a rule that came with `first` holds in `fork`."""
    return ORDER.index(fork) >= ORDER.index(first)


def missing() -> list[str]:
    """Modules of the peers that are not installed: for `pytest.skip`."""
    return [name for name in ("pyrevm", "eth") if importlib.util.find_spec(name) is None]


@cache
def _keccak_class() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from Crypto.Hash import keccak as module
    return module


def keccak(data: bytes) -> bytes:
    """Keccak-256 of pycryptodome, which py-evm brings."""
    return bytes(_keccak_class().new(digest_bits=256, data=data).digest())


def block_hash(number: int) -> bytes:
    """The hash that every peer has for a block: only the 256 before the case's own can be asked for."""
    return keccak(str(number).encode())


def intrinsic_gas(case: Case) -> int:
    """Gas of a transaction before its first opcode."""
    tx = case.tx
    zeros = tx["data"].count(0)
    gas = 21_000 + 4 * zeros + (16 if from_fork(case.fork, "ISTANBUL") else 68) * (len(tx["data"]) - zeros)
    if tx["to"] is None and from_fork(case.fork, "HOMESTEAD"):
        gas += 32_000
    if tx["to"] is None and from_fork(case.fork, "SHANGHAI"):
        gas += 2 * (-(-len(tx["data"]) // 32))
    gas += 25_000 * len(tx.get("authorizations", ()))
    if from_fork(case.fork, "PRAGUE"):
        gas = max(gas, 21_000 + 10 * (4 * len(tx["data"]) - 3 * zeros))
    return int(gas + sum(2400 + 1900 * len(slots) for _, slots in tx["access_list"]))


def differences(case: Case, a: Outcome, b: Outcome) -> list[str]:
    """Where two outcomes of a case differ, in words; parts that are None in either are passed over."""
    found = []
    for name in ("success", "gas_used", "output", "logs"):
        left, right = getattr(a, name), getattr(b, name)
        if None not in (left, right) and left != right and not (name == "output" and case.tx["to"] is None):
            found.append(f"{name}: {left!r} != {right!r}"[:400])
    if None in (a.accounts, b.accounts):
        return found
    for address in sorted(a.accounts.keys() | b.accounts.keys()):
        left, right = a.accounts.get(address), b.accounts.get(address)
        if left is None or right is None:
            found.append(f"0x{address.hex()}: {left} != {right}"[:400])
            continue
        for part, x, y in zip(After._fields, left, right):
            if x != y and None not in (x, y):
                found.append(f"0x{address.hex()} {part}: {x!r} != {y!r}"[:400])
    return found


def _check(case: Case) -> None:
    """Rules of a valid transaction that not every peer applies."""
    sender = case.pre.get(case.tx["sender"], Account())
    if case.fork not in ORDER:
        raise CaseRejected(f"fork {case.fork!r} is unknown")
    if sender.nonce != case.tx["nonce"]:
        raise CaseRejected(f"nonce {case.tx['nonce']} of a sender at {sender.nonce}")
    if sender.code:
        raise CaseRejected("the sender has code")
    if sender.balance < case.tx["gas_limit"] * case.tx["gas_price"] + case.tx["value"] + _blob_fee(case):
        raise CaseRejected("the sender cannot pay")
    if case.tx["gas_limit"] < intrinsic_gas(case):
        raise CaseRejected(f"gas limit {case.tx['gas_limit']} < {intrinsic_gas(case)}")
    if case.tx["gas_limit"] > case.env["gas_limit"]:
        raise CaseRejected("more gas than the block has")
    if case.tx["to"] is None and from_fork(case.fork, "SHANGHAI") and len(case.tx["data"]) > 2 * 24_576:
        raise CaseRejected("init code of more than 49,152 bytes")
    if case.tx["gas_price"] < (case.env.get("base_fee") or 0):
        raise CaseRejected("gas price below the base fee")


def _blob_fee(case: Case) -> int:
    """What the blobs of a case cost; burnt."""
    hashes = case.tx.get("blob_hashes", ())
    return len(hashes) * 131_072 * _blob_base_fee(case.env["excess_blob_gas"]) if hashes else 0


def _blob_base_fee(excess: int) -> int:
    """EIP-4844's fake exponential with Cancun's constants."""
    fraction, i, total, term = 3_338_477, 1, 0, 3_338_477
    while term > 0:
        total += term
        term = term * excess // (fraction * i)
        i += 1
    return total // fraction


# pyrevm


@cache
def _pyrevm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyrevm
    return pyrevm


_STEP: Final = re.compile(r'"op":(\d+),.*?"stack":\[([^\]]*)\]')

_JOURNALED: Final = re.compile(
    r"0x([0-9a-f]{40}): Account \{ info: AccountInfo \{ balance: (\d+), nonce: (\d+), code_hash: 0x[0-9a-f]{64}, code: "
    r"(?:None|Some\(Bytecode \{ bytecode: 0x([0-9a-f]*), state: (?:Raw|\w+ \{ len: (\d+)[^{}]*(?:\{[^{}]*\})?[^{}]*\}) \}\)) "
    r"\}, storage: \{((?:\d+: StorageSlot \{[^}]*\}(?:, )?)*)\}, status: AccountStatus\(([^)]*)\) \}"
)
#: Opcodes that pay for an account that does not exist yet, and where its address is on the stack.
_TARGET: Final = {0xF1: 2, 0xFF: 1}
_SLOT: Final = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+) \}")
_REVERTED: Final = re.compile(r"^Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}$")


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def _revm(case: Case, watch: _Watch | None = None) -> tuple[Any, bytes]:
    """An EVM after the case and the output; with a watch, it is traced."""
    lib = _pyrevm()
    env, tx = case.env, case.tx
    evm = lib.EVM(
        env=lib.Env(cfg=lib.CfgEnv(chain_id=env.get("chain_id", 1))),
        gas_limit=env["gas_limit"],
        tracing=watch is not None,
        spec_id=_REVM_SPEC[case.fork],
    )
    charge = tx["gas_limit"] * tx["gas_price"] + _blob_fee(case)
    for address, account in case.pre.items():
        info = {"balance": account.balance, "nonce": account.nonce}
        if address == tx["sender"]:
            # `deploy` counts the nonce up itself, `message_call` does not
            info = {"balance": account.balance - charge, "nonce": account.nonce + (tx["to"] is not None)}
        if account.code:
            info["code"] = account.code
        evm.insert_account_info(_hex(address), lib.AccountInfo(**info))
    for address, account in case.pre.items():
        for slot, value in account.storage.items():
            mark = evm.snapshot()
            evm.insert_account_storage(_hex(address), slot, value)
            evm.revert(mark)
    evm.set_block_env(
        lib.BlockEnv(
            number=env["number"],
            coinbase=_hex(env["fee_recipient"]),
            timestamp=env["timestamp"],
            difficulty=env.get("difficulty") or 0,
            prevrandao=(env.get("prev_randao") or 0).to_bytes(32, "big"),
            basefee=0,
            gas_limit=env["gas_limit"],
            excess_blob_gas=env.get("excess_blob_gas") or 0,
        )
    )
    hashes = list(tx.get("blob_hashes", ()))
    evm.set_tx_env(
        lib.TxEnv(
            caller=_hex(tx["sender"]),
            access_list=[(_hex(address), list(slots)) for address, slots in tx["access_list"]],
            **({"blob_hashes": hashes, "max_fee_per_blob_gas": _blob_base_fee(env["excess_blob_gas"])} if hashes else {}),
        )
    )
    output = b""
    with contextlib.nullcontext() if watch is None else contextlib.redirect_stdout(watch):
        try:
            if tx["to"] is None:
                evm.deploy(_hex(tx["sender"]), tx["data"], tx["value"], tx["gas_limit"])
            else:
                output = bytes(
                    evm.message_call(
                        _hex(tx["sender"]), _hex(tx["to"]), tx["data"], tx["value"], tx["gas_limit"], tx["gas_price"]
                    )
                )
        except RuntimeError as error:
            if evm.result is None:
                raise CaseRejected(str(error)) from error
            found = _REVERTED.match(str(error))
            output = bytes.fromhex(found[1]) if found else b""
    return evm, output if tx["to"] is not None else b""


class _Watch:
    """Where the tracer prints, token by token: each step is looked at until there is a finding."""

    def __init__(self, look: Callable[[int, Sequence[str]], str | None]) -> None:
        self.look = look
        self.found: str | None = None
        self.tokens: list[str] = []

    def write(self, token: str) -> int:
        if self.found is None:
            self.tokens.append(token)
            if token.endswith("\n"):
                step = _STEP.search("".join(self.tokens))
                self.tokens.clear()
                if step:
                    self.found = self.look(int(step[1]), step[2].replace('"', "").split(","))
        return len(token)

    def flush(self) -> None:
        """Part of a file; nothing is buffered."""


def pyrevm_limit(case: Case) -> str | None:
    """Why the outcome that pyrevm gave for a case is not what a block would have, or None.

    The case is run again with the tracer, at about a millisecond an opcode: ask only where an outcome differs.
    """
    unknown = {}
    if case.env.get("base_fee"):
        unknown[0x48] = "BASEFEE is 0 in pyrevm"
    if case.tx["to"] is None and case.tx["gas_price"]:
        unknown[0x3A] = "GASPRICE is 0 in a create transaction of pyrevm"
    old = not from_fork(case.fork, "SPURIOUS")
    if not unknown and not old:
        return None
    status = _journaled(case, _state_text(_revm(case)[0]))[1]
    known = set(case.pre) | {address for address, flags in status.items() if "Created" in flags}

    def look(op: int, stack: Sequence[str]) -> str | None:
        if op in unknown:
            return unknown[op]
        if old and op in _TARGET and len(stack) >= _TARGET[op]:
            target = (int(stack[-_TARGET[op]] or "0", 16) % 2**160).to_bytes(20, "big")
            if target not in known:
                return f"every account exists in pyrevm, and {_hex(target)} does not"
        return None

    watch = _Watch(look)
    _revm(case, watch)
    return watch.found


def run_pyrevm(case: Case) -> Outcome:
    """Run a case on revm; where the outcome differs from another's, ask `pyrevm_limit` whether it is to be trusted.

    Raises
    ------
    PeerLimit
        If pyrevm cannot run the case at all.
    CaseRejected
        If the transaction is invalid.
    """
    _check(case)
    tx = case.tx
    sender, charge = tx["sender"], tx["gas_limit"] * tx["gas_price"] + _blob_fee(case)
    if tx["to"] is not None and case.pre[sender].balance < 2 * charge + tx["value"]:
        raise PeerLimit("the sender of pyrevm needs its fee twice")
    evm, output = _revm(case)
    if evm.journal_depth:
        raise PeerLimit("the journal of pyrevm is left open")
    result = evm.result
    entries, status = _journaled(case, _state_text(evm))
    gas_used = int(result.gas_used)
    back = (tx["gas_limit"] - gas_used) * tx["gas_price"]
    tip = (tx["gas_price"] - (case.env.get("base_fee") or 0)) * gas_used
    entries[sender] = entries[sender]._replace(balance=entries[sender].balance + back)
    collector = case.env["fee_recipient"]
    cleared = from_fork(case.fork, "SPURIOUS")
    paid = entries.get(collector, After(0, 0, b"", {}))
    entries[collector] = paid._replace(balance=paid.balance + tip)
    touched = {a for a, flags in status.items() if "Touched" in flags} | {sender, collector}
    gone = {a for a, flags in status.items() if "SelfDestructed" in flags}
    if cleared:
        gone |= {a for a in touched if entries[a][:3] == (0, 0, b"")}
    return Outcome(
        success=bool(result.is_success),
        gas_used=gas_used,
        output=output,
        logs=tuple(
            (
                bytes.fromhex(log.address[2:]),
                tuple(int.from_bytes(topic, "big") for topic in log.data[0]),
                bytes(log.data[1]),
            )
            for log in result.logs
        ),
        accounts={a: entry for a, entry in entries.items() if a not in gone and (a in case.pre or a in touched)},
    )


def _state_text(evm: Any) -> str:
    """Accounts of the journal as text, without the rest of it."""
    return evm.journal_str.partition("}, transient_storage: {")[0] + "}"


def _journaled(case: Case, text: str) -> tuple[dict[bytes, After], dict[bytes, str]]:
    """Accounts of the pre-state under those of the journal, and the flags of the latter."""
    entries = {
        a: After(account.balance, account.nonce, account.code, {s: v for s, v in account.storage.items() if v})
        for a, account in case.pre.items()
    }
    status: dict[bytes, str] = {}
    for address, balance, nonce, code, length, storage, flags in _JOURNALED.findall(text):
        key = bytes.fromhex(address)
        before = entries.get(key, After(0, 0, b"", {}))
        now = bytes.fromhex(code)
        if length:
            now = now[: int(length)]
        slots = {} if "Created" in flags else dict(before.storage)
        slots |= {int(slot): int(value) for slot, value in _SLOT.findall(storage)}
        entries[key] = After(int(balance), int(nonce), now, {s: v for s, v in slots.items() if v})
        status[key] = flags
    if len(status) != text.count(": Account { info:"):
        raise RuntimeError(f"the journal of pyrevm has another form than before: {text[:2000]}")
    return entries, status


# py-evm


@cache
def _pyevm() -> Any:
    """Names of py-evm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import eth.vm.forks as forks
        from eth.constants import BLANK_ROOT_HASH
        from eth.db.atomic import AtomicDB
        from eth.exceptions import Halt, VMError
        from eth.vm.execution_context import ExecutionContext
        from eth.vm.forks.berlin.transactions import UnsignedAccessListTransaction
        from eth.vm.forks.cancun.transactions import UnsignedBlobTransaction
        from eth.vm.forks.prague.transactions import Authorization, UnsignedSetCodeTransaction
        from eth.vm.spoof import SpoofTransaction
        from eth_utils import ValidationError
    return SimpleNamespace(
        forks=forks,
        root=BLANK_ROOT_HASH,
        db=AtomicDB,
        halt=Halt,
        error=VMError,
        context=ExecutionContext,
        access_list_transaction=UnsignedAccessListTransaction,
        blob_transaction=UnsignedBlobTransaction,
        set_code_transaction=UnsignedSetCodeTransaction,
        authorization=Authorization,
        spoof=SpoofTransaction,
        invalid=ValidationError,
    )


@contextlib.contextmanager
def _deep() -> Iterator[None]:
    """Room for 1,024 frames of py-evm: 12,000 of Python, and a stack of 512 MiB for threads started inside."""
    limit, size = sys.getrecursionlimit(), threading.stack_size(512 << 20)
    sys.setrecursionlimit(max(limit, 20_000))
    try:
        yield
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)


def _on_deep_stack(work: Callable[[], T]) -> T:
    """`work` on a thread of its own; its exceptions come back."""
    done: list[T] = []
    failed: list[BaseException] = []

    def body() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    with _deep(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _pyevm_transaction(case: Case, vm: Any) -> Any:
    lib, tx = _pyevm(), case.tx
    common = {"nonce": tx["nonce"], "gas": tx["gas_limit"], "to": tx["to"] or b"", "value": tx["value"], "data": tx["data"]}
    lists = [[address, list(slots)] for address, slots in tx["access_list"]]
    chain = case.env.get("chain_id", 1)
    if tx.get("blob_hashes"):
        unsigned = lib.blob_transaction(
            chain_id=chain,
            max_priority_fee_per_gas=tx["gas_price"],
            max_fee_per_gas=tx["gas_price"],
            access_list=lists,
            max_fee_per_blob_gas=_blob_base_fee(case.env["excess_blob_gas"]),
            blob_versioned_hashes=list(tx["blob_hashes"]),
            **common,
        )
        return lib.spoof(unsigned, from_=tx["sender"], gas_price=tx["gas_price"])
    if tx.get("authorizations"):
        unsigned = lib.set_code_transaction(
            chain_id=chain,
            max_priority_fee_per_gas=tx["gas_price"],
            max_fee_per_gas=tx["gas_price"],
            access_list=lists,
            authorization_list=[lib.authorization(*one) for one in tx["authorizations"]],
            **common,
        )
        return lib.spoof(unsigned, from_=tx["sender"], gas_price=tx["gas_price"])
    if lists:
        unsigned = lib.access_list_transaction(chain_id=chain, gas_price=tx["gas_price"], access_list=lists, **common)
    else:
        unsigned = vm.get_transaction_builder().create_unsigned_transaction(gas_price=tx["gas_price"], **common)
    return lib.spoof(unsigned, from_=tx["sender"])


def _pyevm_state(case: Case, vm: Any) -> Any:
    lib, env = _pyevm(), case.env
    context = lib.context(
        coinbase=env["fee_recipient"],
        timestamp=env["timestamp"],
        block_number=env["number"],
        difficulty=env.get("difficulty") or 0,
        mix_hash=(env.get("prev_randao") or 0).to_bytes(32, "big"),
        gas_limit=env["gas_limit"],
        prev_hashes=(block_hash(n) for n in range(env["number"] - 1, max(-1, env["number"] - 257), -1)),
        chain_id=env.get("chain_id", 1),
        base_fee_per_gas=env.get("base_fee"),
        excess_blob_gas=env.get("excess_blob_gas"),
    )
    state = vm.get_state_class()(lib.db(), context, lib.root)
    for address, account in case.pre.items():
        state.touch_account(address)
        state.set_balance(address, account.balance)
        state.set_nonce(address, account.nonce)
        if account.code:
            state.set_code(address, account.code)
        for slot, value in account.storage.items():
            state.set_storage(address, slot, value)
    state.lock_changes()
    return state


def _pyevm_transact(case: Case, vm: Any) -> Outcome:
    lib, tx = _pyevm(), case.tx
    state = _pyevm_state(case, vm)
    transaction = _pyevm_transaction(case, vm)
    executor = state.get_transaction_executor()
    try:
        executor.validate_transaction(transaction)
    except lib.invalid as error:
        raise CaseRejected(str(error)) from error
    computation = executor(transaction)
    database = state._account_db
    accounts = {}
    for address in set(case.pre) | set(database._accessed_accounts):
        if state.account_exists(address):
            slots = set(case.pre[address].storage) if address in case.pre else set()
            if address in database._account_stores:
                slots |= database._account_stores[address].get_accessed_slots()
            accounts[address] = After(
                state.get_balance(address),
                state.get_nonce(address),
                state.get_code(address),
                {slot: value for slot in slots if (value := state.get_storage(address, slot))},
            )
    return Outcome(
        success=bool(computation.is_success),
        gas_used=int(vm.finalize_gas_used(transaction, computation)),
        output=bytes(computation.output) if tx["to"] is not None else b"",
        logs=tuple((bytes(a), tuple(topics), bytes(data)) for a, topics, data in computation.get_log_entries()),
        accounts=accounts,
    )


def run_pyevm(case: Case) -> Outcome:
    """Run a case on py-evm.

    Raises
    ------
    CaseRejected
        If the transaction is invalid.
    """
    _check(case)
    return _on_deep_stack(lambda: _pyevm_transact(case, getattr(_pyevm().forks, _PYEVM_VM[case.fork])))


class _Counting(dict[int, Any]):
    """Opcodes of a fork that count each other's calls."""

    def __init__(
        self, opcodes: Mapping[int, Any], stopped: type[BaseException], passed: Counter[int], failed: Counter[int]
    ) -> None:
        def counting(number: int, logic: Any) -> Callable[..., None]:
            def run(computation: Any) -> None:
                try:
                    logic(computation=computation)
                except stopped:
                    passed[number] += 1
                    raise
                except Exception:
                    failed[number] += 1
                    raise
                passed[number] += 1

            return run

        super().__init__({number: counting(number, logic) for number, logic in opcodes.items()})


def executed_opcodes(case: Case) -> tuple[Counter[int], Counter[int]]:
    """How often py-evm executed each opcode of a case to its end, and how often it ended in an exceptional halt.

    A REVERT ends as it should; bytes that are no opcode of the fork are not counted.
    """
    passed: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    lib = _pyevm()
    vm = getattr(lib.forks, _PYEVM_VM[case.fork])
    state_class = vm.get_state_class()
    machine = state_class.computation_class
    from eth.exceptions import Revert

    opcodes = _Counting(machine.opcodes, (lib.halt, Revert), passed, failed)
    counted = type(machine.__name__, (machine,), {"opcodes": MappingProxyType(opcodes)})
    counted_state = type(state_class.__name__, (state_class,), {"computation_class": counted})
    counted_vm = type(vm.__name__, (vm,), {"_state_class": counted_state})
    _on_deep_stack(lambda: _pyevm_transact(case, counted_vm))
    return passed, failed
