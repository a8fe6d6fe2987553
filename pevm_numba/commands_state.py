"""Bodies of the commands under `state`: stores made, looked at, compared, and blocks executed on them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import console as con
from .access.pattern_library import built_in_patterns
from .access.prediction import predict
from .errors import BlockError, ExecutionError, FileFormatError, StoreError, UsageError
from .evm.block import EvmBlock
from .execute.chain import ChainStep, run_chain
from .execute.machine import EXECUTORS
from .io.any_block import any_block_numbers, read_any_blocks
from .io.paths import check_target
from .io.pattern_file import read_patterns
from .io.state_file import is_state_file, load_state, write_state
from .keys import KeyTable
from .machine.ops import Field
from .screens import print_pairs, print_table
from .storage.base import StateStore
from .storage.checking import compare_stores, verify_store
from .storage.delayed import DelayedStore
from .storage.opening import BACKENDS, open_store
from .storage.places import being_made
from .storage.store import Last
from .storage.world import put_before, read_account

__all__ = ["Chain", "run_blocks", "run_compare", "run_dump", "run_get", "run_load", "run_snapshot", "run_verify"]

#: What a store of the command line can be: one that is still there afterwards.
_LASTING: Final = tuple(name for name in BACKENDS if name != "memory")


def _block_text(last: Last) -> str:
    return "none committed yet" if last is None else f"{last[0]:,}, digest 0x{last[1].hex()}"


def run_load(
    input: Path, output: Path, backend: str, number: int | None, prestate: Path | None, fork: str | None
) -> None:
    """Make a store; whatever goes wrong, nothing is left."""
    con.check_choice("--backend", backend, _LASTING)
    block = None
    if not is_state_file(input):
        block = con.read_input(input, number, prestate, fork)
    elif number is not None or prestate is not None or fork is not None:
        raise UsageError(f"--number, --prestate, --fork: {input} is a file of state, of no block")
    with being_made(output) as made:
        with open_store(made, "x", backend=backend) as store, con.status("loading"):
            if block is None:
                load_state(input, store)
            else:
                put_before(store, block)
        with open_store(made, "r") as store, con.status("verifying"):
            try:
                found = verify_store(store)
            except BlockError as cause:
                if block is None or isinstance(block, EvmBlock):
                    raise
                needed = "a folder of tables with state, or a node's block with --prestate"
                raise FileFormatError(f"{input}: says hashes of codes only ({cause}): --input must be {needed}") from cause
    size = sum(item.stat().st_size for item in ([output] if output.is_file() else output.rglob("*")))
    print_pairs([
        ("store", f"{output}: {backend}, {size:,} bytes"),
        ("of", f"{input}" + ("" if block is None else f", before block {block.number:,}")),
        ("keys", f"{found.keys:,}, {found.slots:,} of them storage"), ("accounts", f"{found.accounts:,}"),
        ("codes", f"{found.codes:,}, {found.code_bytes:,} bytes"), ("last block", _block_text(found.last)),
    ])  # fmt: skip


def run_dump(path: Path, output: Path) -> None:
    """Write all that a store has."""
    check_target("--output", output, [path], (".parquet",))
    with open_store(path, "r") as store, con.status("writing"):
        last, rows = store.last_block(), write_state(output, store)
    print(f"{output}: {rows:,} keys, last block {_block_text(last)}")


def _address(text: str) -> bytes:
    try:
        address = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        address = b""
    if len(address) != 20:
        raise UsageError(f"address {text[:80]!r}: must be 20 bytes in hexadecimal")
    return address


def _slot(text: str) -> int:
    try:
        slot = int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        slot = -1
    if not 0 <= slot < 2**256:
        raise UsageError(f"--slot {text[:80]!r}: must be a number below 2**256, decimal or 0x…")
    return slot


def run_get(path: Path, text: str, wanted: list[str], rows: int) -> None:
    """Show an account, or some of its slots."""
    address, slots = _address(text), list(dict.fromkeys(map(_slot, wanted)))
    with open_store(path, "r") as store:
        account, total = read_account(store, address), 0
        if not slots:
            with con.status("looking for its storage"):
                held = store.slots_of(address)
            total, slots = len(held), [slot for _, _, slot in islice(held, rows)]
        keys = KeyTable.from_keys([(address, Field.STORAGE, slot) for slot in slots])
        words = store.get_many(keys)
    if account is None:
        print_pairs([("account", f"0x{address.hex()}: not there")])
    else:
        balance, nonce, code = account
        print_pairs([
            ("account", f"0x{address.hex()}"), ("balance", f"{balance:,} wei"), ("nonce", f"{nonce:,}"),
            ("code", f"{len(code):,} bytes"),
        ])  # fmt: skip
    if not wanted:
        print_pairs([("storage", f"{total:,} slots")])
    for slot, word in zip(slots, words, strict=True):
        print(f"slot 0x{slot:x} = 0x{int.from_bytes(word.tobytes(), 'big'):x}")
    if not wanted and total > rows:
        print(f"and {total - rows:,} more")


def run_verify(path: Path) -> None:
    """Read everything."""
    with open_store(path, "r") as store, con.status("verifying"):
        found = verify_store(store)
    print_pairs([
        ("store", f"{path}: {store.backend}"), ("keys", f"{found.keys:,}, {found.slots:,} of them storage"),
        ("accounts", f"{found.accounts:,}"), ("codes", f"{found.codes:,}, {found.code_bytes:,} bytes"),
        ("last block", _block_text(found.last)), ("whole", "yes: every key found again, checksums and codes right"),
    ])  # fmt: skip


def run_compare(left: Path, right: Path, rows: int) -> None:
    """Name what two stores differ in.

    Raises
    ------
    ExecutionError
        If they do.
    """
    with open_store(left, "r") as one, open_store(right, "r") as other, con.status("comparing"):
        lasts, shown, n = (one.last_block(), other.last_block()), list[Any](), 0
        for unlike in compare_stores(one, other):
            n += 1
            if len(shown) < rows:
                shown.append(unlike)
        if lasts != (one.last_block(), other.last_block()):
            raise StoreError(f"{left}, {right}: somebody commits to one of them meanwhile: compare a snapshot")
    for unlike in shown:
        print(unlike)
    if n > len(shown):
        print(f"and {n - len(shown):,} more")
    if n or lasts[0] != lasts[1]:
        blocks = "" if lasts[0] == lasts[1] else f"; last blocks {_block_text(lasts[0])} and {_block_text(lasts[1])}"
        raise ExecutionError(f"{left} and {right}: {n:,} keys are unlike{blocks}")
    print_pairs([("equal", "yes, every key"), ("last block", _block_text(lasts[0]))])


def run_snapshot(path: Path, output: Path) -> None:
    """Copy a store."""
    with open_store(path, "r") as store, con.status("copying"):
        store.snapshot(output)
    with open_store(output, "r") as copy:
        print(f"{output}: {copy.backend}, last block {_block_text(copy.last_block())}")


# -------------------------------------------------------------------- blocks on a store


class Chain(NamedTuple):
    """What `run_blocks` is asked for; fields as the options of the command."""

    input: Path
    numbers: tuple[int, ...]
    executor: str
    workers: int | None
    prefetch: bool
    patterns: Path | None
    delay: int
    rows: int


def _lists(asked: Chain) -> Any:
    """What blocks are thought to need, as `run_chain` takes it."""
    if asked.patterns is None:
        return None
    known = built_in_patterns() if str(asked.patterns) == "built-in" else read_patterns(asked.patterns)
    return lambda block: predict(block, known) if isinstance(block, EvmBlock) else None


def run_blocks(path: Path, asked: Chain) -> None:
    """Execute blocks on a store and show each as it is committed."""
    con.check_choice("--executor", asked.executor, EXECUTORS)
    if asked.workers is not None:
        con.check_range("--workers", asked.workers, 1, 1024)
    if asked.patterns is not None and not asked.prefetch:
        raise UsageError("--patterns: with --no-prefetch nothing is read ahead")
    numbers = sorted(asked.numbers) or any_block_numbers(asked.input)
    lists = _lists(asked)
    with open_store(path, "w") as store:
        last = store.last_block()
        left = [number for number in numbers if last is None or number > last[0]]
        behind: StateStore = store if not asked.delay else DelayedStore(store, 1000 * asked.delay)
        shown = con.Ticks("executing", len(left))
        with shown:
            steps = run_chain(
                read_any_blocks(asked.input, left), behind, asked.executor, lists=lists, prefetch=asked.prefetch,
                workers=asked.workers, progress=lambda step: shown.tick(f"block {step.number:,}"),
            )  # fmt: skip
        _show(steps, len(numbers) - len(left), store.last_block(), asked.rows)


def _show(steps: list[ChainStep], before: int, last: Last, rows: int) -> None:
    ns, met = sum(step.ns for step in steps), [sum(step.fetches[i] for step in steps) for i in range(4)]
    ahead, waited = sum(step.prefetched for step in steps), sum(step.waited_ns for step in steps)
    had = f", {before:,} not after the last block of the store" if before else ""
    lines = [("blocks", f"{len(steps):,} executed and committed{had}")]
    if steps:
        lines += [
            ("time", f"{ns / 1e6:,.1f} ms, {sum(step.gas_used for step in steps) / max(1, ns) * 1e3:,.1f} Mgas/s"),
            ("read ahead", f"{ahead:,} keys; waited {waited / 1e6:,.1f} ms for them"),
            ("when met", f"{met[0]:,} accounts, {met[1]:,} slots, {met[2]:,} whole storages in {met[3] / 1e6:,.1f} ms"),
        ]  # fmt: skip
    print_pairs([*lines, ("last block", _block_text(last))])
    body = [
        (
            f"{step.number:,}", f"{step.n_tx:,}", f"{step.gas_used:,}", step.executor, f"{step.ns / 1e6:,.2f}",
            f"{step.prefetched:,}", f"{step.waited_ns / 1e6:,.2f}", f"{sum(step.fetches[:3]):,}",
            f"{step.fetches.ns / 1e6:,.2f}",
        ) for step in steps[len(steps) - min(rows, len(steps)) :]
    ]  # fmt: skip
    if body:
        headings = ("block", "txs", "gas", "executor", "ms", "read ahead", "waited ms", "when met", "in ms")
        print_table(headings, body, 1, 5, left=(0, 3))
        if len(steps) > rows:
            print(f"the last {rows:,} of {len(steps):,}")
