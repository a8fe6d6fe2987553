"""Results that users carry on with: pages for notebooks, tables for pyarrow and pandas, all that two executions differ in."""

from __future__ import annotations

import builtins
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import pevm_numba as pn
from pevm_numba import html, programs
from pevm_numba.errors import BlockError, PevmError
from pevm_numba.tabular import Tabular, arrow_table

A, B, C = ((i, 0, 0) for i in (1, 2, 3))
HOSTILE = "<script>alert('x')</script>&\"" + "long " * 100


def three(**options: Any) -> pn.Block:
    """Two transactions that conflict and one that fails, for want of anything on the stack."""
    one, two = [("SSTORE", A, 5)], [("SLOAD", A), ("ADD", 2), ("SSTORE", B, "TOP")]
    return pn.Block.from_programs([one, two, [("SLOAD", C), *[("SSTORE", C, "TOP")] * 2]], **options)


class Reader(HTMLParser):
    """Elements and cells of a page; complains of tags that are closed in another order than they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def read(result: Any) -> Reader:
    """The page of a result, parsed."""
    text = result._repr_html_()
    assert text.startswith("<table>")
    assert text.endswith("</table>")
    found = Reader(text)
    assert found.tags <= {"table", "caption", "tr", "th", "td"}
    return found


# -------------------------------------------------------------------- notebooks


@pytest.fixture(scope="module")
def large() -> list[Any]:
    """One of each, of a large block and of one of the EVM."""
    block = pn.generate("large", seed=3)
    evm = pn.generate_evm("mixed", n_tx=40, seed=1)
    access = pn.access_sets(block)
    plan = pn.schedule(pn.generate(n_tx=50, pattern="chain"), "list", workers=4)
    executions = [pn.execute(block, "serial", record="times"), pn.execute(evm, "serial")]
    return [block, evm, access, executions[1].observed, plan, *executions]


def test_pages_have_ten_rows_at_most_and_say_how_many_more_there_are(large: list[Any]) -> None:
    for result in large:
        page = read(result)
        assert len(page.rows) <= 32, result
        assert page.rows[-1][0].startswith("… and "), result
        assert len(result._repr_html_()) < 12_000, result


def test_pages_take_no_noticeable_time(large: list[Any]) -> None:
    for result in large:
        start = time.perf_counter()
        result._repr_html_()
        assert time.perf_counter() - start < 0.5, result


def test_pages_show_what_the_result_holds() -> None:
    block = three()
    done = pn.execute(block, "serial")
    rows = {row[0]: row[1:] for row in read(done).rows}
    assert rows["gas used"] == [f"{int(done.gas_used.sum()):,}"]
    assert rows["0"] == ["SUCCESS", f"{int(done.gas_used[0]):,}", "0", "0x0"]
    assert rows["2"][0] == "STACK_UNDERFLOW"
    sets = {row[0]: row[1:] for row in read(pn.access_sets(block)).rows}
    assert sets[f"0 ({block.key_name(0)})"] == ["2", "1", "1", "0"]
    assert read(pn.schedule(block, "levels")).rows[-2] == ["0", "2", "0, 2"]
    assert ["hottest key", f"{block.key_name(0)}: 2 transactions"] in read(block).rows


def test_what_comes_from_data_is_escaped_and_cut() -> None:
    block = three()
    plan = pn.Schedule.from_waves(HOSTILE, [[0, 1, 2]])
    done = replace(pn.execute(block, "serial"), executor=HOSTILE, reason=HOSTILE, counters={HOSTILE: 1})
    evm = replace(pn.execute(pn.generate_evm("transfers", n_tx=2), "serial"), reason=HOSTILE, counters={HOSTILE: 1})
    other = replace(done, gas_used=done.gas_used + 1)
    for result in (plan, done, evm, done.diff(other)):
        assert "<script" not in result._repr_html_()
        cells = [cell for row in read(result).rows for cell in row]
        assert any(cell.startswith("<script>alert('x')</script>&\"") for cell in cells), result
        assert max(map(len, cells)) <= 160
    assert html.table(HOSTILE, [(HOSTILE, HOSTILE)], [HOSTILE], [[HOSTILE]], 3, HOSTILE).count("<script") == 0


def test_empty_results_have_pages() -> None:
    block = pn.Block.from_programs([])
    evm = pn.generate_evm("transfers", n_tx=2)
    empty = pn.EvmBlock(evm.env, [], {})
    for made in (block, empty):
        done = pn.execute(made, "serial")
        for result in (made, done, pn.access_sets(made), pn.schedule(made, "levels"), done.diff(done)):
            assert not any(row[0].startswith("…") for row in read(result).rows)


def test_the_page_of_sets_over_many_keys_needs_no_array_of_all_keys() -> None:
    sets = pn.AccessSets.from_dicts([{2**31 - 2: 1}], n_keys=2**31 - 1)
    assert ["2147483646", "1", "1", "0", "0"] in read(sets).rows


# -------------------------------------------------------------------- tables


def test_an_execution_is_a_table_of_receipts_and_times() -> None:
    done = pn.execute(three(), "serial", record="times")
    table = done.to_arrow()
    assert table.column_names == [
        "tx_index", "status", "success", "gas_used", "refund", "output", "digest", "worker", "start_ns", "end_ns", "runs",
    ]  # fmt: skip
    assert [int.from_bytes(word, "big") for word in table["output"].to_pylist()] == programs.integers(done.output)
    for name in ("status", "gas_used", "refund", "digest"):
        assert table[name].to_pylist() == getattr(done, name).tolist(), name
    assert table["end_ns"].to_pylist() == done.times.end.tolist()
    assert "worker" not in pn.execute(three(), "serial").to_arrow().column_names


def test_an_evm_execution_is_a_table_of_receipts_and_times() -> None:
    done = pn.execute(pn.generate_evm("mixed", n_tx=12), "serial")
    table = done.to_arrow()
    assert table["gas_used"].to_pylist() == done.gas_used.tolist()
    assert table["n_logs"].to_pylist() == [len(logs) for logs in done.logs]
    assert sum(table["n_logs"].to_pylist()) > 0
    assert table["runs"].to_pylist() == [1] * 12


def test_a_schedule_is_a_table_under_the_names_of_its_file(tmp_path: Any) -> None:
    block = pn.generate("small", seed=1)
    plan = pn.schedule(block, "list", workers=3)
    pn.write_schedule(tmp_path / "plan.parquet", plan)
    stored = pa.parquet.read_table(tmp_path / "plan.parquet")
    table = plan.to_arrow()
    for name in table.column_names:
        assert table[name].to_pylist() == stored[name].to_pylist(), name
    assert set(table.column_names) == {"tx_index", "wave", "serial_position", "worker", "start", "end"}
    own = pn.schedule(block, "mis")
    assert own.serial_order[own.to_arrow()["serial_position"].to_numpy()].tolist() == list(range(block.n_tx))
    assert own.to_arrow().column_names == ["tx_index", "wave", "serial_position"]
    assert plan.timeline.to_arrow()["start"].to_pylist() == plan.timeline.start.tolist()


def test_access_sets_are_a_table_of_accesses_with_names_where_they_are_known() -> None:
    block = three()
    sets = pn.access_sets(block)
    rows = sets.to_arrow().to_pylist()
    assert len(rows) == sets.n_accesses
    for row in rows:
        mode = sets[row["tx_index"]][row["key"]]
        assert [row["read"], row["write"], row["credit"]] == [bool(mode & one) for one in pn.Mode]
        assert (row["address"], row["field"], row["slot"]) == block.key(row["key"])
    assert pn.AccessSets.from_dicts([{0: 1}], 1).to_arrow().column_names == ["tx_index", "key", "read", "write", "credit"]
    evm = pn.generate_evm("mixed", n_tx=4)
    seen = pn.access_sets(evm)
    for row in seen.to_arrow().to_pylist():
        assert (row["address"], row["field"], int.from_bytes(row["slot"], "big")) == seen.table[row["key"]]
    coarse = pn.access_sets(evm, granularity="account").to_arrow()
    assert "address" in coarse.column_names
    assert "slot" not in coarse.column_names


def test_simulations_and_bounds_become_one_table() -> None:
    block = pn.generate("small", seed=1)
    made = pn.compare(block, ["waves", "list"], workers=[1, 4])
    table = pn.to_arrow(made)
    assert table["model"].to_pylist() == ["waves", "waves", "list", "list"]
    assert table["makespan"].to_pylist() == [one.makespan for one in made]
    limits = [pn.bounds(pn.access_sets(block), workers=workers) for workers in (1, 4)]
    assert pn.to_arrow(limits)["max_speedup"].to_pylist() == [one.max_speedup for one in limits]
    assert len(pn.to_arrow([])) == 0
    with pytest.raises(BlockError, match=r"results\[1\] = .*: must be a Simulation, as results\[0\] is"):
        pn.to_arrow([made[0], limits[0]])
    with pytest.raises(BlockError, match=r"results\[0\] = 5: must have a row"):
        pn.to_arrow([5])


def test_frames_have_the_rows_of_the_tables() -> None:
    pytest.importorskip("pandas")
    block = three()
    done = pn.execute(block, "serial")
    frame = done.to_pandas()
    assert frame["gas_used"].tolist() == done.gas_used.tolist()
    assert frame["output"].map(type).eq(bytes).all()
    assert pn.access_sets(block).to_pandas().groupby("key").size().to_dict() == {0: 2, 1: 1, 2: 1}
    assert pn.to_pandas(pn.compare(block, ["list"], workers=[1, 2]))["workers"].tolist() == [1, 2]


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *args: Any, original: Any = builtins.__import__) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return original(name, *args)

    done = pn.execute(three(), "serial")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PevmError, match="pip install pandas"):
        done.to_pandas()


def test_a_table_has_to_say_its_columns() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Tabular()  # type: ignore[abstract]  # the point of the test
    assert arrow_table({"a": np.array([], object), "b": np.zeros((0, 32), np.uint8)}).schema.types == [
        pa.string(), pa.binary(32),
    ]  # fmt: skip


# -------------------------------------------------------------------- differences


def test_executions_that_are_equal_have_no_differences() -> None:
    block = pn.generate("medium", seed=2)
    one, two = pn.execute(block, "serial"), pn.execute(block, "dataflow", workers=2)
    found = one.diff(two)
    assert not found
    assert len(found) == len(found.to_arrow()) == 0
    assert str(found) == "block 0, serial and dataflow: no difference"
    evm = pn.generate_evm("mixed", n_tx=12)
    assert not pn.execute(evm, "serial").diff(pn.execute(evm, "waves", workers=2))


def test_every_transaction_and_key_that_differs_is_named_with_both_values() -> None:
    block = three()
    one = pn.execute(block, "serial")
    values = one.values.copy()
    values[1], values[2] = [9, 0, 0, 0], [0, 0, 0, 1]
    output = one.output.copy()
    output[2] = [0, 1, 0, 0]
    spoilt = {"gas_used": one.gas_used + np.array([0, 4, 5]), "status": one.status ^ np.uint8([1, 0, 0])}
    two = replace(one, values=values, output=output, **spoilt)
    found = one.diff(two)
    receipts = [(e.tx, e.field, e.mine, e.theirs) for e in found if e.kind == "receipt"]
    gas = one.gas_used.tolist()
    assert receipts == [
        (0, "status", 0, 1), (1, "gas_used", gas[1], gas[1] + 4), (2, "gas_used", gas[2], gas[2] + 5),
        (2, "output", programs.integers(one.output)[2], 2**64),
    ]  # fmt: skip
    state = [(e.key, e.mine, e.theirs) for e in found if e.kind == "state"]
    assert state == [(block.key_name(1), 7, 9), (block.key_name(2), 0, 2**192)]
    assert found.keys == [block.key_name(1), block.key_name(2)]
    assert found.transactions == [0, 1, 2]
    accesses = [(e.tx, e.key, e.mine, e.theirs) for e in found if e.kind == "access"]
    assert accesses == [(0, block.key_name(0), pn.Mode.WRITE, pn.Mode.READ)]  # of a failure only reads count
    assert [e.field for e in found.of(1)] == ["gas_used"]
    back = two.diff(one)
    assert [(e.mine, e.theirs) for e in back] == [(e.theirs, e.mine) for e in found]


def test_what_diff_finds_first_difference_finds_too() -> None:
    block = pn.generate("small", seed=5)
    one = pn.execute(block, "serial")
    rng = np.random.default_rng(7)
    for name in ("status", "gas_used", "refund", "output", "digest", "values"):
        spoilt = getattr(one, name).copy()
        at = int(rng.integers(len(spoilt)))
        spoilt[at] ^= spoilt.dtype.type(1)
        two = replace(one, **{name: spoilt})
        assert one.difference(two) is not None
        found = one.diff(two)
        assert found
        kinds = {(entry.kind, entry.field) for entry in found}
        assert (("state", "") if name == "values" else ("receipt", name)) in kinds, name
        assert found.keys == ([block.key_name(at)] if name == "values" else [])


def test_differences_of_many_are_counted_not_listed_in_words() -> None:
    one = pn.execute(pn.generate("small", seed=5), "serial")
    found = one.diff(replace(one, gas_used=one.gas_used + 1))
    lines = str(found).splitlines()
    assert len(found) == one.block.n_tx
    assert len(lines) == 22
    assert lines[0].endswith(f"{one.block.n_tx:,} differences, in {one.block.n_tx:,} transactions and 0 keys of the state")
    assert lines[-1] == f"  … and {one.block.n_tx - 20:,} more"
    assert found.to_arrow()["field"].unique().to_pylist() == ["gas_used"]
    assert repr(found) == f"<ExecutionDiff of {lines[0]}>"


def test_differences_of_evm_executions_name_receipts_accesses_lists_and_keys() -> None:
    block = pn.generate_evm("mixed", n_tx=12, seed=4)
    one = pn.execute(block, "serial")
    t = next(t for t, logs in enumerate(one.logs) if logs)
    logs = tuple(() if i == t else each for i, each in enumerate(one.logs))
    address = next(a for a, account in one.state.items() if account.storage)
    slot = next(iter(one.state[address].storage))
    account = one.state[address]
    state = {**one.state, address: account._replace(balance=account.balance + 1, storage={**account.storage, slot: 99})}
    gone = next(iter(state.keys() - {address}))
    del state[gone]
    modes = one.seen.modes.copy()
    modes[0] ^= 1 if modes[0] != 1 else 3
    two = replace(one, logs=logs, state=state, seen=one.seen._replace(modes=modes), gas_used=one.gas_used + 1)
    found = one.diff(two)
    assert [e.tx for e in found if e.field == "gas_used"] == list(range(12))
    assert [(e.tx, e.theirs) for e in found if e.field == "logs"] == [(t, ())]
    (access,) = [e for e in found if e.kind == "access"]
    assert (access.tx, access.key) == (0, one.keys.key_name(int(one.seen.key[0])))
    changed = {e.key: (e.mine, e.theirs) for e in found if e.kind == "state"}
    assert changed.pop(f"0x{address.hex()} balance") == (account.balance, account.balance + 1)
    assert changed.pop(f"0x{address.hex()} slot 0x{slot:x}") == (account.storage[slot], 99)
    assert all(key.startswith(f"0x{gone.hex()}") and values[1] is None for key, values in changed.items())
    assert f"0x{gone.hex()} nonce" in changed
    value = one.accesses.change_value.copy()
    value[0, -1] ^= 1
    (entry,) = one.diff(replace(one, accesses=one.accesses._replace(change_value=value)))
    assert (entry.kind, entry.mine ^ entry.theirs) == ("list", 1)


def test_executions_of_other_blocks_are_not_compared() -> None:
    one, two = (pn.execute(three(number=number), "serial") for number in (1, 2))
    with pytest.raises(BlockError, match=r"other: an execution of <Block 2.*must be of the same block, <Block 1"):
        one.diff(two)
    with pytest.raises(BlockError, match="other = 5: must be an Execution"):
        one.diff(5)  # type: ignore[arg-type]  # the point of the test
    first, second = (pn.execute(pn.generate_evm("mixed", n_tx=3, seed=seed), "serial") for seed in (1, 2))
    with pytest.raises(BlockError, match="must be of the same block"):
        first.diff(second)
