"""Bodies of the commands under `access`: lists exported, compared, made cheap, validated."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import console as con
from .access.asking import ask_layouts
from .access.eip2930 import (
    EIP_7981,
    Entries,
    encode_lists,
    expected_lists,
    list_difference,
    list_prices,
)
from .access.eip2930_tried import AccessedList, accessed_lists, optimal_access_lists
from .access.eip7928 import Eip7928List
from .access.eip7928_compare import check_reach, differences
from .access.eip7928_rules import ITEM_COST
from .access.oracles import access_sets
from .access.pattern_library import built_in_patterns
from .access.prediction import learn_block, predict, predicted_storage, touched_storage
from .access.quality import storage_quality
from .access.wire import library
from .errors import ExecutionError, FileFormatError, UsageError
from .evm.block import AnyBlock, EvmBlock
from .evm.forks import Fork
from .evm.transaction import Transaction
from .execute.evm_result import EvmExecution
from .execute.run import execute
from .io.access_lists import access_list_json, block_list_json, naming, read_block_list
from .io.evm_tables import evm_numbers, read_evm_blocks
from .io.paths import check_target, replacing, target_of
from .io.pattern_file import read_patterns, write_patterns
from .screens import print_pairs, print_table

__all__ = ["Prophecy", "run_diff", "run_export", "run_optimal", "run_predict", "run_validate"]

#: Suffixes of what lists can be written as.
_WRITTEN: Final = (".json", ".rlp")

#: By what lists can be expected.
_ORACLES: Final = {
    "the EVM": ("static", "eip2930", "union", "observed"), "micro-ops": ("static", "declared", "eip2930", "union"),
}  # fmt: skip


def _executed(block: AnyBlock) -> EvmExecution:
    if not isinstance(block, EvmBlock):
        raise UsageError("--input: must be a block of the EVM, with state: what a transaction pays for is known of those")
    done = execute(block, "serial")
    assert isinstance(done, EvmExecution)
    return done


def _block_list(block: AnyBlock) -> Eip7928List:
    """The list of a block, of either machine."""
    if isinstance(block, EvmBlock):
        return _executed(block).eip7928_list()
    return execute(block, "serial", record="changes").eip7928_list()


def _write(output: Path, text: Any) -> None:
    with replacing(output) as (temporary,):
        if isinstance(text, bytes):
            temporary.write_bytes(text)
        else:
            temporary.write_text(json.dumps(text, indent=1) + "\n")


def run_export(block: AnyBlock, inputs: list[Path], form: str, oracle: str | None, output: Path) -> None:
    """Write the lists of a block's transactions (EIP-2930), or that of the block (EIP-7928)."""
    con.check_choice("--form", form, ("eip2930", "eip7928"))
    check_target("--output", output, inputs, _WRITTEN)
    plain = output.suffix == ".rlp"
    if plain or form == "eip7928":  # whose hash is told
        library()
    if form == "eip7928":
        if oracle is not None:
            raise UsageError(f"--oracle {oracle!r}: a block's list has what was executed")
        with con.status("executing"):
            listed = _block_list(block)
        _write(output, listed.encode() if plain else block_list_json(listed))
        print(f"{output}: {listed!r}, {len(listed.encode()):,} bytes, hash 0x{listed.hash().hex()}")
        return
    kind = "the EVM" if isinstance(block, EvmBlock) else "micro-ops"
    if oracle is None:
        if not isinstance(block, EvmBlock):
            raise UsageError("--form eip2930: of a block of micro-ops with --oracle only, as it has no gas of entries")
        done = _executed(block)
        with con.status("trying lists"):
            lists = list(accessed_lists(done.block))
    else:
        if oracle not in _ORACLES[kind]:
            raise UsageError(f"--oracle {oracle!r}: not of a block of {kind}: one of {', '.join(_ORACLES[kind])}")
        lists = [AccessedList(one, None) for one in expected_lists(access_sets(block, oracle), block)]
    _write(output, encode_lists(one.entries for one in lists) if plain else [access_list_json(*one) for one in lists])
    entries = sum(len(one.entries) for one in lists), sum(len(slots) for one in lists for _, slots in one.entries)
    print(f"{output}: {len(lists):,} lists, {entries[0]:,} addresses, {entries[1]:,} slots")


def _named(address: bytes, slot: int | None) -> str:
    text, place = f"0x{address.hex()}", "" if slot is None else f"{slot:x}"
    if slot is None:
        return text
    return f"{text} slot 0x{place if len(place) <= 12 else f'{place[:6]}…{place[-4:]}'}"


def run_diff(block: AnyBlock, oracle: str, rows: int) -> None:
    """Compare lists that are made before execution, or that transactions carry, with what would be cheapest."""
    done = _executed(block)
    cost = list_prices(done.block.env.fork)
    if oracle == "carried":
        before: list[Entries] = [tx.access_list for tx in done.block.transactions]
    else:
        before = expected_lists(access_sets(block, oracle), block)
    with con.status("running each transaction without a list"):
        bare = [one.accessed for one in optimal_access_lists(done.block)]
    listed = [t for t, one in enumerate(before) if one]
    found = {t: list_difference(before[t], bare[t], cost) for t in listed}
    entries = [
        (t, kind, one) for t, unlike in found.items() for kind, part in zip(("missing", "surplus"), unlike) for one in part
    ]  # fmt: skip
    print_pairs([
        ("block", f"{block.number}: {block.n_tx:,} transactions"),
        ("lists", f"{len(listed):,}, {'carried by transactions' if oracle == 'carried' else f'of {oracle} access sets'}"),
        ("missing", f"{sum(len(one.missing) for one in found.values()):,} entries that would save gas"),
        ("surplus", f"{sum(len(one.surplus) for one in found.values()):,} entries that cost more than they save"),
        ("they cost", f"{sum(one.gas for one in found.values()):,} gas by prices, each address with its slots"),
    ])  # fmt: skip
    table = [(f"{t}", kind, f"{gas:,}", _named(address, slot)) for t, kind, (address, slot, gas) in islice(entries, rows)]
    if table:
        print()
        print_table(("tx", "entry", "gas", "of"), table, 3, 3, left=(1, 3))
        if len(entries) > rows:
            print(f"and {len(entries) - rows:,} more")


def run_optimal(block: AnyBlock, output: Path | None, inputs: list[Path], rows: int, surcharge: bool) -> None:
    """The cheapest list of each transaction of those tried, by running it."""
    if output is not None:
        check_target("--output", output, inputs, (".json",))
    done = _executed(block)
    with con.status("trying lists"):
        found = list(optimal_access_lists(done.block, EIP_7981 if surcharge else None))
    gains = [one for one in found if one.saved > 0]
    carried = [(t, one) for t, one in enumerate(found) if done.block.transactions[t].access_list]
    real = done.gas_used.tolist()
    imperfect = [(t, one) for t, one in carried if real[t] > one.gas_used]
    total, saved = sum(one.gas_without for one in found), sum(one.saved for one in found)
    lines = [
        ("block", f"{block.number}, {done.block.fork}: {block.n_tx:,} transactions"),
        ("gain", f"{len(gains):,} transactions by a list, {saved:,} gas of {total:,} ({saved / max(1, total):.2%})"),
        ("verified", "by its prices only: EIP-7981 is in no fork here" if surcharge else "each list by running it"),
    ]
    if carried and not surcharge:
        lost = sum(real[t] - one.gas_used for t, one in imperfect)
        lines.append(("carried", f"{len(carried):,} lists, {len(imperfect):,} of them imperfect, which cost {lost:,} gas"))
    print_pairs(lines)
    best = sorted(enumerate(found), key=lambda one: -one[1].saved)[:rows]
    table = [
        (
            f"{t}", f"{len(one.entries)}", f"{sum(len(slots) for _, slots in one.entries)}", f"{one.gas_without:,}",
            f"{one.saved:,}",
        ) for t, one in best if one.saved > 0
    ]  # fmt: skip
    if table:
        print()
        print_table(("tx", "addresses", "slots", "gas without", "saved"), table, 1, 2)
    if output is not None:
        _write(output, [access_list_json(one.entries, one.gas_used) for one in found])


class Prophecy(NamedTuple):
    """What `run_predict` is asked for; fields as the options of the command."""

    input: Path
    number: int
    patterns: Path | None
    learn: int | None
    threshold: float
    output: Path | None
    save: Path | None
    rows: int


def run_predict(asked: Prophecy) -> None:
    """Predict a block by those before it, compare with what it does, write lists and patterns."""
    inputs = [asked.input, *([] if asked.patterns is None else [asked.patterns])]
    for option, target in (("--output", asked.output), ("--save", asked.save)):
        if target is not None:
            check_target(option, target, inputs, (".json",))
    if asked.output is not None and asked.save is not None and target_of(asked.output) == target_of(asked.save):
        raise UsageError(f"--save {asked.save}: is that of --output, too")
    known = evm_numbers(asked.input)
    if asked.number not in known:
        raise FileFormatError(f"{asked.input}: has no block {asked.number}, only {', '.join(map(str, known))}")
    patterns = built_in_patterns() if asked.patterns is None else read_patterns(asked.patterns)
    earlier = [number for number in known if number < asked.number]
    earlier = earlier if asked.learn is None else earlier[len(earlier) - min(asked.learn, len(earlier)) :]
    for block in con.progress(read_evm_blocks(asked.input, earlier), "learning", len(earlier)):
        ask_layouts(patterns, block)
        learn_block(patterns, block, execute(block, "serial").observed)
    (block,) = read_evm_blocks(asked.input, [asked.number])
    new = ask_layouts(patterns, block)
    predicted = predicted_storage(block, patterns)
    touched = touched_storage(block, execute(block, "serial").observed)
    likely = [{key for key, (chance, _) in one.items() if chance >= asked.threshold} for one in predicted]
    hits = [len(keys & one.keys()) for keys, one in zip(likely, touched)]
    quality = storage_quality(predicted, touched, asked.threshold)
    whole = sum(one.keys() <= keys for keys, one in zip(likely, touched) if one)
    print_pairs([
        ("block", f"{block.number}, {block.fork}: {block.n_tx:,} transactions"),
        ("patterns", f"{len(patterns):,}, learned from {len(earlier):,} blocks; {new:,} contracts told their layout"),
        ("predicted", f"{quality.keys:,} slots, of chance {asked.threshold:g} or more; {quality.touched:,} are accessed"),
        ("precision", f"{quality.precision:.3f}"), ("recall", f"{quality.recall:.3f}"),
        ("whole", f"{whole:,} of {sum(map(bool, touched)):,} transactions that access storage"),
    ])  # fmt: skip
    worst = sorted(range(block.n_tx), key=lambda t: hits[t] - len(touched[t]))[: asked.rows]
    table = [
        (f"{t}", f"{len(likely[t])}", f"{len(touched[t])}", f"{hits[t]}", _called(block.transactions[t]))
        for t in worst if len(touched[t]) > hits[t]
    ]  # fmt: skip
    if table:
        print("\nmost missed")
        print_table(("tx", "predicted", "accessed", "both", "call"), table, 1, 4, left=(4,))
    if asked.output is not None:
        lists = expected_lists(predict(block, patterns, asked.threshold))
        _write(asked.output, [access_list_json(one, None) for one in lists])
    if asked.save is not None:
        write_patterns(asked.save, patterns)


def _called(tx: Transaction) -> str:
    return "a new contract" if tx.to is None else f"0x{tx.to.hex()} {tx.data[:4].hex()}"


def run_validate(block: AnyBlock, path: Path, gas_limit: bool, rows: int) -> None:
    """Check a block's list: its rules, and against what the block does; an error if it is not the block's."""
    listed = read_block_list(path)
    digest = listed.hash().hex()  # before the work, as it may lack its library
    limit = block.env.gas_limit if isinstance(block, EvmBlock) else None
    with naming(path):
        listed.check(n_tx=block.n_tx, gas_limit=limit if gas_limit else None)
    with con.status("executing"):
        done = _executed(block) if isinstance(block, EvmBlock) else None
        mine = _block_list(block) if done is None else done.eip7928_list()
    if done is not None and gas_limit and done.block.env.fork >= Fork.BERLIN:  # since then a first read costs so much
        with naming(path):
            check_reach(listed, done.accesses, done.gas_used, done.block.env.gas_limit)
    found = list(differences(listed, mine))
    for one in found[:rows]:
        print(one)
    if found:
        more = f", {len(found) - rows:,} more than shown" if len(found) > rows else ""
        raise ExecutionError(f"{path}: not the list of block {block.number}: {len(found):,} entries are unlike{more}")
    room = "" if limit is None else f" of {limit // ITEM_COST:,} that its gas limit allows"
    print_pairs([
        ("block", f"{block.number}: {block.n_tx:,} transactions"),
        ("list", f"{repr(listed).strip('<>').partition(': ')[2]}, {len(listed.encode()):,} bytes"),
        ("hash", f"0x{digest}"), ("items", f"{listed.n_items:,}{room}"),
        ("valid", "yes: just what the block does"),
    ])  # fmt: skip
