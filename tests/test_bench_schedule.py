"""Speed of schedulers: nothing is shown for a wrong result, ours or a library's, and the checks see what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_cli import Command, in_process, one_line

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba._kernels.probe import touch_rows
from pevm_numba.access.sets import AccessSets
from pevm_numba.bench import __main__ as main
from pevm_numba.bench import peers, scheduling, tables
from pevm_numba.bench.graphs import (
    CASES,
    csr_of_pairs,
    first_wave_is_maximal,
    is_colouring,
    is_maximal_independent,
    make_access,
    pairs_of,
)
from pevm_numba.bench.peer_tables import show_peers
from pevm_numba.bench.peers import LIBRARIES, measure_peers
from pevm_numba.bench.rounds import Spread, interleaved, peak_growth
from pevm_numba.bench.scheduling import Request, measure_case
from pevm_numba.bench.tables import check_json, check_range, figure, print_paragraph, print_table
from pevm_numba.errors import BlockError, ExecutionError, FileFormatError, UsageError
from pevm_numba.fields import TABLES
from pevm_numba.schedule.conflicts import adjacency

pytestmark = pytest.mark.skipif(DISABLED, reason="times of kernels, and no kernel is compiled")

SMALL = Request(n_tx=300, repeat=2)


# -------------------------------------------------------------------- cases and checks


@pytest.mark.parametrize("case", CASES)
def test_a_case_is_what_it_says(case):
    access = make_access(case, 2000, seed=1)
    assert access == make_access(case, 2000, seed=1)
    assert access != make_access(case, 2000, seed=2)
    used = np.unique(access.keys)
    assert used.tolist() == list(range(access.n_keys))  # dense
    assert set(access.modes) <= {1, 2, 3}
    touched = np.bincount(access.keys)
    writes = (access.modes & 2 > 0).mean()
    assert 0.38 < writes < 0.5 or case == "many-hot"
    assert 5 < access.n_accesses / 2000 < 6.4 or case == "many-hot"
    if case == "hot30":
        assert 540 < touched.max() < 660
    elif case == "many-hot":
        assert sorted(touched)[-21] < 30
        assert sum(sorted(touched)[-20:]) == 8 * 2000
    elif case == "zipf":
        assert touched.max() > 1000
    else:
        assert touched.max() < 30


def test_keys_are_numbered_by_first_touch_and_bad_numbers_refused():
    access = make_access("mid", 500)
    first = np.full(access.n_keys, 10**9)
    np.minimum.at(first, access.keys, np.repeat(np.arange(500), np.diff(access.indptr)))
    assert (np.diff(first) >= 0).all()
    for case, n_tx in (("cold", 10), ("low", 0), ("low", 1.5)):
        with pytest.raises(BlockError):
            make_access(case, n_tx)


@given(st.integers(1, 25), st.data())
@settings(max_examples=60)
def test_checks_accept_and_refuse_as_a_definition_in_plain_python(n, data):
    possible = [(i, j) for i in range(n) for j in range(i + 1, n)]
    edges = sorted(data.draw(st.sets(st.sampled_from(possible)))) if possible else []
    pairs = np.array(edges, np.int32).reshape(-1, 2)
    indptr, indices = csr_of_pairs(n, pairs)
    rows = [sorted([j for i, j in edges if i == t] + [i for i, j in edges if j == t]) for t in range(n)]
    assert [indices[indptr[t] : indptr[t + 1]].tolist() for t in range(n)] == rows
    assert pairs_of(indptr, indices).tolist() == pairs.tolist()
    members = data.draw(st.sets(st.integers(0, n - 1)))
    independent = not any(i in members and j in members for i, j in edges)
    maximal = all(t in members or any(p in members for p in rows[t]) for t in range(n))
    assert is_maximal_independent(n, pairs, np.array(sorted(members), np.int64)) == (independent and maximal)
    colour = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int64)
    assert is_colouring(pairs, colour) == all(colour[i] != colour[j] for i, j in edges)


@given(st.lists(st.dictionaries(st.integers(0, 5), st.sampled_from([1, 2, 3]), max_size=4), max_size=12), st.data())
@settings(max_examples=60)
def test_the_first_wave_is_judged_without_edges_as_it_is_with_them(sets, data):
    access = AccessSets.from_dicts(sets, n_keys=6)
    members = sorted(data.draw(st.sets(st.integers(0, len(sets) - 1)))) if sets else []
    conflict = pn.conflict_graph(access).toarray()
    want = all(t in members or any(conflict[t, m] for m in members) for t in range(len(sets)))
    assert first_wave_is_maximal(access, np.array(members, np.int32)) == want


def test_the_probe_touches_each_row_as_often_as_it_is_named():
    rows = np.zeros((4, 4), np.int64)
    order = np.array([3, 1, 3, 3], np.int32)
    order.flags.writeable = False
    touch_rows(order, rows)
    assert rows.tolist() == [[0] * 4, [1, 0, 0, 0], [0] * 4, [3, 0, 0, 0]]


def test_rounds_interleave_and_memory_is_seen():
    ran = []
    times = interleaved({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, 2)
    assert ran == ["a", "a", "b", "b"] * 2  # a short job runs untimed first
    assert times["a"].runs == 2
    assert times["a"].low <= times["a"].median <= times["a"].high
    assert Spread.of([2.0]).scaled(3) == Spread(6.0, 6.0, 6.0, 1)
    peak = peak_growth(lambda: np.ones(4_000_000))
    assert peak is None or 30_000_000 < peak < 60_000_000
    assert figure(0) == "0"


# -------------------------------------------------------------------- tables


def terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Print tables as on a terminal of so many columns."""
    monkeypatch.setattr(tables, "_console", lambda: Console(width=width, highlight=False))


CELL = st.text("0123456789,.", min_size=1, max_size=12)


@given(st.integers(40, 120), st.lists(st.lists(CELL, min_size=9, max_size=9), min_size=1, max_size=4), st.integers(1, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_of_any_width_shows_every_cell_whole_and_no_line_is_too_wide(capsys, width, rows, cut):
    with pytest.MonkeyPatch.context() as patch:
        terminal(patch, width)
        print_table("a title " * 20, ["first", *(f"h{i}" for i in range(8))], [*rows, [], ["short"]], [cut, 8 - cut])
    out = capsys.readouterr().out
    assert "…" not in out
    assert max(len(line) for line in out.splitlines()) <= width
    words = out.split()
    for cell in {cell for row in rows for cell in row} | {f"h{i}" for i in range(8)}:
        assert cell in words


def test_groups_of_columns_stay_together_and_sentences_are_one_wrapped_paragraph(monkeypatch, capsys):
    terminal(monkeypatch, 40)
    print_table("t", ["name", "a", "b", "c"], [["x" * 20, "1" * 5, "2" * 5, "3" * 5]], [1, 2])
    heads = [line.split() for line in capsys.readouterr().out.splitlines() if "name" in line]
    assert heads == [["name", "a"], ["name", "b", "c"]]
    print_paragraph("One two three.", "Four five six seven eight nine.")
    print_paragraph()
    assert capsys.readouterr().out == "One two three. Four five six seven eight\nnine.\n\n"


def test_a_json_file_must_be_named_so_and_lie_outside_of_the_input(tmp_path):
    inside = tmp_path / "input"
    inside.mkdir()
    (inside / "a.json").write_text("[]")
    (inside / "deep").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(inside / "a.json")
    check_json(None, [inside])
    check_json(tmp_path / "x.json", [inside])
    for path, said in (
        (tmp_path / "x.parquet", r"must be NAME\.json"), (inside / "x.json", "is inside .*input"),
        (link, "is inside"), (inside / "deep" / "y.json", "lies inside the input"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            check_json(path, [inside])
    with pytest.raises(UsageError, match="is the input"):
        check_json(link, [inside / "a.json"])
    with pytest.raises(FileFormatError, match="no folder"):
        check_json(tmp_path / "no" / "x.json")
    with pytest.raises(UsageError, match=r"--n 3000000: must be in \[1, 2000000\]"):
        check_range("--n", 3_000_000, 1, 2_000_000)


# -------------------------------------------------------------------- our jobs


@pytest.mark.parametrize("case", ["mid", "many-hot"])  # the command, below, has all
def test_every_job_is_measured_beside_the_probe(case):
    rows = measure_case(case, 300, SMALL)
    names = [row["job"] for row in rows]
    assert len(set(names)) == len(names) == 11
    for row in rows:
        assert row["n_accesses"] == make_access(case, 300).n_accesses
        assert 0 < row["low"] <= row["ns_per_access"] <= row["high"]
        assert row["probes"] == row["ns_per_access"] / row["probe_ns"]


def test_a_graph_over_the_limit_is_named_and_the_rest_still_measured(monkeypatch, capsys):
    monkeypatch.setattr(scheduling, "BENCH_GRAPH_LIMIT", 100)
    monkeypatch.setattr(peers, "BENCH_GRAPH_LIMIT", 100)
    rows = measure_case("hot30", 300, SMALL)
    (left,) = (row for row in rows if "skipped" in row)
    assert left["job"] == "conflict graph"
    assert "more than 100" in left["skipped"]
    assert len(rows) == 9
    found = measure_peers("hot30", SMALL)
    assert {row["job"] for row in found if "skipped" in row} >= {"greedy colouring", "maximal independent set"}
    show_peers(found)
    assert "no conflict graph: over 100 entries" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["levels", "critical path", "mis", "first-fit", "dag"])
def test_no_time_is_shown_for_a_wrong_result(monkeypatch, broken):
    access = make_access("hot30", 200)
    jobs, _ = scheduling._jobs(access)
    results = {name: job() for name, job in jobs.items()}
    scheduling._verify(access, results)
    other = pn.schedule(make_access("low", 200))
    if broken == "levels":
        results["levels"] = other
    elif broken == "critical path":
        results["critical path"] += 1
    elif broken == "mis":
        starts, tx = results["mis, graph given"]
        results["mis, graph given"] = starts, tx[::-1].copy()
    elif broken == "first-fit":
        results["first-fit, no edges"] = pn.Schedule.from_waves("one each", [[t] for t in range(200)])
    else:
        results["dependency DAG"] = pn.dependencies(make_access("low", 200))
    with pytest.raises(ExecutionError, match="no time is shown"):
        scheduling._verify(access, results)


# -------------------------------------------------------------------- peers


@pytest.fixture(scope="module")
def compared() -> list[dict[str, object]]:
    """Peers on a small case."""
    for library in LIBRARIES:
        pytest.importorskip(library)
    return measure_peers("mid", SMALL)


def test_peers_agree_with_us_and_every_ratio_follows_from_the_times(compared):
    by = {(row["job"], row["library"]): row for row in compared if row["library"] != "ours"}
    assert {library for _, library in by} == set(LIBRARIES)
    path = pn.schedule(make_access("mid", 300)).n_waves
    assert {row["edges_given"] for row in by.values()} == {True}
    for (job, _), row in by.items():
        ours = [other for other in compared if (other["job"], other["library"]) == (job, "ours")]
        assert row["ratio_total"] == row["total_ms"] / ours[0]["total_ms"]
        assert row["ratio_run"] == row["run_ms"] / ours[0]["run_ms"]
        if "DAG" in job:
            assert row["result"] == ours[0]["result"] == ours[1]["result"] == path


def test_the_edges_given_to_peers_are_the_conflicts(compared):
    access = make_access("mid", 300)
    assert compared[0]["n_edges"] == len(adjacency(access)[1]) // 2 == pn.conflict_counts(access).pairs


def test_a_library_that_is_wrong_ends_the_run(monkeypatch):
    networkx = pytest.importorskip("networkx")
    monkeypatch.setattr(networkx, "maximal_independent_set", lambda *_, **__: [0])
    with pytest.raises(ExecutionError, match="networkx: not a maximal independent set"):
        measure_peers("mid", SMALL)


def test_missing_libraries_are_named_and_large_graphs_wait_to_be_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    rows = measure_peers("mid", SMALL)
    assert {row["skipped"] for row in rows if row["library"] != "ours"} == {"not installed"}
    show_peers(rows)
    assert "No library to compare with is installed." in capsys.readouterr().out
    monkeypatch.setattr(peers, "find_spec", lambda name: name)
    assert peers._reason("networkx", 10**8, False) == "100,000,000 edges: --slow"
    assert peers._reason("networkx", 10**8, True) == peers._reason("networkit", 10**8, False) == ""


def told(capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]]) -> str:
    """What is said of the rows, as one line."""
    show_peers(rows)
    return " ".join(capsys.readouterr().out.split())


def test_ways_from_the_accesses_are_marked_and_those_that_lose_are_named(compared, capsys):
    rows = [dict(row) for row in compared if row["job"] == "longest path of the DAG"]
    first, found, *others = rows
    assert (first["edges_given"], found["edges_given"]) == (True, False)
    for row in others:
        row |= {"total_ms": 5.0, "ratio_run": 2.0, "ratio_total": 2.0}
    found["total_ms"] = 4.0
    said = told(capsys, rows)
    assert "ours: critical path * " in said
    assert "Our first way is faster in all 2, by run and in total." in said
    assert "From the accesses, which includes finding the conflicts, faster in all 1 too." in said
    found["total_ms"] = 7.0
    others[-1] |= {"total_ms": 4.5, "ratio_total": 0.9}
    said = told(capsys, rows)
    assert "ours: critical path ** " in said
    assert "Our first way is slower in 1 of 2 (run x, total x): rustworkx, longest path of the DAG, mid: 2.00, 0.90." in said
    assert "slower in 1 of 1: longest path of the DAG, mid, critical path (7.00 ms, rustworkx 4.50)." in said


# -------------------------------------------------------------------- the command


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m pevm_numba.bench WORDS` in this process."""
    return in_process(main.main, monkeypatch, capsys)


def test_the_command_prints_a_table_a_case_and_writes_what_it_shows(bench, tmp_path, monkeypatch, capsys):
    for library in LIBRARIES:
        pytest.importorskip(library)
    said = bench("schedule", "--n-tx", 100, "--repeat", 1, "--json", tmp_path / "x.json")
    assert (said.code, said.err) == (0, "")
    for text in (*CASES, "probe, random order", "largest-first, no edges", "topological_generations", "Luby"):
        assert text in said.out
    assert max(map(len, said.out.splitlines())) <= 200
    rows = json.loads((tmp_path / "x.json").read_text())
    assert {(row["table"], row["case"]) for row in rows} == {(t, c) for t in ("ours", "peers") for c in CASES}
    for name in ("ours", "peers"):
        written = {field for row in rows if row["table"] == name for field in row} - {"table"}
        assert written | {"skipped"} == set(TABLES[name][1])
    for width in (80, 100):
        terminal(monkeypatch, width)
        for case in CASES:
            scheduling._show_case(case, [row for row in rows if (row["table"], row["case"]) == ("ours", case)])
        show_peers([row for row in rows if row["table"] == "peers"])
        narrow = capsys.readouterr().out
        assert "many-hot" in narrow
        assert "…" not in narrow
        assert max(map(len, narrow.splitlines())) <= width


def test_bad_numbers_are_misuse_and_nothing_is_measured(bench, tmp_path):
    one_line(bench("schedule", "--n", 3), 2, "--n 3: must be in [10, 10000000]")
    one_line(bench("schedule", "--repeat", 0), 2, "--repeat 0")
    one_line(bench("schedule", "--json", tmp_path / "no" / "x.json"), 1, "no")
    one_line(bench("schedule", "--json", tmp_path / "x.parquet"), 2, "must be NAME.json")
    assert bench("schedule", "extra").code == 2
    said = bench("schedule", "--help")
    assert said.code == 0
    assert "2 to 4 minutes" in " ".join(said.out.split())
    assert all(word in said.out for word in ("--n", "--n-tx", "--repeat", "--peers", "--large", "--slow", "--json"))
