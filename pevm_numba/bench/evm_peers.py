"""Other machines on the same blocks: pyrevm (revm behind Python, message calls) and py-evm (Python, whole transactions).

Neither figure is one for its engine alone. A pyrevm loop has some microseconds of glue a call, charges no transaction against
others' rules of order, and finds all keys warm; what it costs is therefore a lower bound for what a script with it takes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from ..evm.block import EvmBlock
from ..evm.charges import charges
from ..evm.forks import Fork

__all__ = ["PEERS", "PeerRun", "peer_missing", "run_pyevm", "run_pyrevm"]

_REVM_SPEC: Final = {fork: fork.name.capitalize() for fork in Fork} | {Fork.PARIS: "Merge"}
#: Python frames and bytes of stack for calls within calls of py-evm.
_FRAMES, _STACK = 20_000, 512 << 20

#: Nanoseconds of the loop, and how many transactions ended as ours did.
PeerRun = tuple[int, int]


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def _revm(lib: Any, block: EvmBlock) -> Any:
    """An EVM with the state before the block; senders own more, as their fees are not given back."""
    env = block.env
    evm = lib.EVM(env=lib.Env(cfg=lib.CfgEnv(chain_id=env.chain_id)), gas_limit=env.gas_limit, spec_id=_REVM_SPEC[env.fork])
    most: dict[bytes, int] = {}
    for tx in block.transactions:
        most[tx.sender or b""] = most.get(tx.sender or b"", 0) + 2 * charges(tx, env).most
    for address, account in block.state.items():
        info: dict[str, Any] = {"balance": account.balance + most.get(address, 0), "nonce": account.nonce}
        if account.code:
            info["code"] = account.code
        evm.insert_account_info(_hex(address), lib.AccountInfo(**info))
        for slot, value in account.storage.items():
            mark = evm.snapshot()
            evm.insert_account_storage(_hex(address), slot, value)
            evm.revert(mark)
    about = lib.BlockEnv(
        number=env.number, coinbase=_hex(env.fee_recipient), timestamp=env.timestamp,
        difficulty=0 if env.fork >= Fork.PARIS else env.prev_randao, prevrandao=env.prev_randao.to_bytes(32, "big"),
        basefee=0, gas_limit=env.gas_limit, excess_blob_gas=env.excess_blob_gas or 0,
    )  # fmt: skip
    evm.set_block_env(about)
    return evm


def run_pyrevm(block: EvmBlock, expected: list[bool]) -> PeerRun:
    """Call after call on one pyrevm machine; only the loop is timed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyrevm as lib
    evm = _revm(lib, block)
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
    for tx in block.transactions:
        sender, price = _hex(tx.sender or b""), charges(tx, block.env).fee
        if tx.to is None:
            calls.append((evm.deploy, (sender, tx.data, tx.value, tx.gas_limit)))
        else:
            calls.append((evm.message_call, (sender, _hex(tx.to), tx.data, tx.value, tx.gas_limit, price)))
    same, taken = 0, 0
    for (call, arguments), wanted in zip(calls, expected):
        start = perf_counter_ns()
        try:
            call(*arguments)
            ok = True
        except (RuntimeError, OverflowError):
            ok = False
        taken += perf_counter_ns() - start
        same += ok == wanted
    return taken, same


def _vm_class(fork: Fork) -> Any:
    import eth.vm.forks as forks

    names = {Fork.TANGERINE: "TangerineWhistleVM", Fork.SPURIOUS: "SpuriousDragonVM"}
    return getattr(forks, names.get(fork, fork.name.capitalize() + "VM"))


def _pyevm_state(block: EvmBlock, vm: Any) -> Any:
    from eth.constants import BLANK_ROOT_HASH
    from eth.db.atomic import AtomicDB
    from eth.vm.execution_context import ExecutionContext

    env = block.env
    hashes = (env.block_hashes.get(n, bytes(32)) for n in range(env.number - 1, max(-1, env.number - 257), -1))
    make: Any = ExecutionContext
    context = make(
        coinbase=env.fee_recipient, timestamp=env.timestamp, block_number=env.number, gas_limit=env.gas_limit,
        difficulty=0 if env.fork >= Fork.PARIS else env.prev_randao, mix_hash=env.prev_randao.to_bytes(32, "big"),
        prev_hashes=hashes, chain_id=env.chain_id, base_fee_per_gas=env.base_fee, excess_blob_gas=env.excess_blob_gas,
    )  # fmt: skip
    state = vm.get_state_class()(AtomicDB(), context, BLANK_ROOT_HASH)
    for address, account in block.state.items():
        state.touch_account(address)
        state.set_balance(address, account.balance)
        state.set_nonce(address, account.nonce)
        if account.code:
            state.set_code(address, account.code)
        for slot, value in account.storage.items():
            state.set_storage(address, slot, value)
    state.lock_changes()
    return state


def _pyevm_transactions(block: EvmBlock, vm: Any) -> list[Any]:
    from eth.vm.forks.berlin.transactions import UnsignedAccessListTransaction
    from eth.vm.forks.cancun.transactions import UnsignedBlobTransaction
    from eth.vm.spoof import SpoofTransaction

    made = []
    for tx in block.transactions:
        price = charges(tx, block.env).fee
        common = {"nonce": tx.nonce, "gas": tx.gas_limit, "to": tx.to or b"", "value": tx.value, "data": tx.data}
        lists = [[address, list(slots)] for address, slots in tx.access_list]
        if tx.blob_versioned_hashes:
            unsigned = UnsignedBlobTransaction(
                chain_id=1, max_priority_fee_per_gas=price, max_fee_per_gas=price, access_list=lists,
                max_fee_per_blob_gas=tx.max_fee_per_blob_gas, blob_versioned_hashes=list(tx.blob_versioned_hashes), **common,
            )  # fmt: skip
            made.append(SpoofTransaction(unsigned, from_=tx.sender, gas_price=price))
            continue
        if lists:
            unsigned = UnsignedAccessListTransaction(chain_id=1, gas_price=price, access_list=lists, **common)
        else:
            unsigned = vm.get_transaction_builder().create_unsigned_transaction(gas_price=price, **common)
        made.append(SpoofTransaction(unsigned, from_=tx.sender))
    return made


def _pyevm(block: EvmBlock, expected: list[bool]) -> PeerRun:
    vm = _vm_class(block.env.fork)
    state, transactions = _pyevm_state(block, vm), _pyevm_transactions(block, vm)
    executor, same, taken = state.get_transaction_executor(), 0, 0
    for transaction, wanted in zip(transactions, expected):
        start = perf_counter_ns()
        computation = executor(transaction)
        taken += perf_counter_ns() - start
        same += bool(computation.is_success) == wanted
    return taken, same


def run_pyevm(block: EvmBlock, expected: list[bool]) -> PeerRun:
    """Transaction after transaction on py-evm, on a thread with room for calls within calls."""
    done: list[PeerRun] = []
    failed: list[BaseException] = []

    def body() -> None:
        try:
            done.append(_pyevm(block, expected))
        except BaseException as error:  # whatever it is, it belongs to the caller
            failed.append(error)

    limit, size = sys.getrecursionlimit(), threading.stack_size(_STACK)
    sys.setrecursionlimit(max(limit, _FRAMES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            thread = threading.Thread(target=body)
            thread.start()
            thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    if failed:
        raise failed[0]
    return done[0]


#: Name, module and function of each.
PEERS: Final[dict[str, tuple[str, Callable[[EvmBlock, list[bool]], PeerRun]]]] = {
    "pyrevm": ("pyrevm", run_pyrevm),
    "py-evm": ("eth", run_pyevm),
}


def peer_missing(name: str) -> bool:
    """Whether a peer's library is not installed."""
    with contextlib.suppress(ImportError):
        return importlib.util.find_spec(PEERS[name][0]) is None
    return True
