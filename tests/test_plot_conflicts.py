"""Pictures of conflicts: matrix, network, hot keys and critical path show what the analysis says, pair by pair."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
from hypothesis import given, settings
from strategies import access_dicts

import pevm_numba as pn
from pevm_numba import plot
from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError
from pevm_numba.plot.graphs import MOST_NODES, _pairs_by_kind
from pevm_numba.plot.keytext import short_names, shortened
from pevm_numba.plot.layout import force_layout
from pevm_numba.schedule.conflicts import key_heat


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def block() -> pn.Block:
    return pn.generate(n_tx=200, pattern="zipf", conflict_ratio=0.4, seed=5)


@pytest.fixture(scope="module")
def access(block: pn.Block) -> AccessSets:
    return pn.access_sets(block)


def cells(ax: Any) -> np.ndarray:
    """What the image of a matrix holds, 0 where it is empty."""
    return ax.images[0].get_array().filled(0.0)


# -------------------------------------------------------------------- the matrix


def test_each_cell_of_a_small_matrix_is_a_pair(access: AccessSets) -> None:
    graph = pn.conflict_graph(access)
    assert np.array_equal(cells(plot.conflict_spy(access)), graph.toarray().astype(float))
    assert np.array_equal(cells(plot.conflict_spy(graph)), graph.toarray().astype(float))


@pytest.mark.parametrize("n_cells", [2, 7, 64])
def test_a_cell_of_many_is_the_share_of_its_pairs_that_conflict(access: AccessSets, n_cells: int) -> None:
    graph = pn.conflict_graph(access).toarray()
    found = cells(plot.conflict_spy(access, cells=n_cells))
    width = -(-len(graph) // n_cells)
    for row, column in np.ndindex(found.shape):
        mine = np.ix_(*(np.arange(k * width, min((k + 1) * width, len(graph))) for k in (row, column)))
        pairs = graph[mine].size - (len(graph[mine]) if row == column else 0)
        assert found[row, column] == pytest.approx(graph[mine].sum() / max(pairs, 1))


def test_ten_thousand_transactions_are_a_matrix_within_seconds() -> None:
    graph = pn.conflict_graph(pn.access_sets(pn.generate(n_tx=10_000, pattern="zipf", conflict_ratio=0.2, seed=1)))
    began = time.perf_counter()
    ax = plot.conflict_spy(graph)
    ax.figure.canvas.draw()
    assert time.perf_counter() - began < 10  # 0.3 s on a quiet core
    assert cells(ax).shape == (250, 250)
    assert f"{graph.nnz // 2:,} conflicting pairs" in ax.get_title(loc="left")


def test_blocks_without_transactions_or_conflicts_are_drawn() -> None:
    for sets in (AccessSets.from_dicts([], n_keys=0), AccessSets.from_dicts([{0: 2}, {1: 2}], n_keys=2)):
        for draw in (plot.conflict_spy, plot.conflict_network):
            draw(sets).figure.canvas.draw()


# -------------------------------------------------------------------- the network


@given(drawn=access_dicts())
@settings(max_examples=60, deadline=None)
def test_the_kinds_of_pairs_are_those_that_are_counted(drawn: tuple[list[dict[int, int]], int]) -> None:
    sets = AccessSets.from_dicts(*drawn)
    counts, kinds = pn.conflict_counts(sets), _pairs_by_kind(sets)
    assert {kind: len(pairs) for kind, pairs in kinds.items()} == {"WW": counts.ww, "WR": counts.wr, "RW": counts.rw}
    assert len(np.unique(np.concatenate(list(kinds.values())), axis=0)) == counts.pairs


def test_lines_of_a_network_join_the_nodes_that_conflict(access: AccessSets) -> None:
    ax = plot.conflict_network(access)
    *lines, nodes = ax.collections[:4]
    at = np.asarray(nodes.get_offsets())
    kinds = _pairs_by_kind(access)
    assert [line.get_label().split(",")[0] for line in lines] == list(kinds)
    for line, pairs in zip(lines, kinds.values(), strict=True):
        assert np.allclose(np.array(line.get_segments()), at[pairs])
    assert len({(tuple(line.get_linewidths()), str(line.get_linestyles())) for line in lines}) == 3  # told apart in grey


def test_nodes_are_coloured_by_wave_or_degree(access: AccessSets) -> None:
    degree = np.diff(pn.conflict_graph(access).indptr)
    by_degree, by_level = (
        plot.conflict_network(access, colour_by=name).collections[-1].get_array() for name in ("degree", "level")
    )
    assert by_degree.tolist() == degree.tolist()
    waves = pn.schedule(access, "levels").waves()
    assert by_level.tolist() == [next(w for w, some in enumerate(waves, 1) if tx in some) for tx in range(access.n_tx)]


def test_a_layout_repeats_itself_and_brings_neighbours_together() -> None:
    ends = np.array([[i, i + 1] for i in range(19)] + [[20 + i, 21 + i] for i in range(19)])
    at = force_layout(40, ends, seed=1)
    assert np.array_equal(at, force_layout(40, ends, seed=1))
    assert not np.array_equal(at, force_layout(40, ends, seed=2))
    assert np.abs(at).max() == pytest.approx(1.0)
    every = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))
    assert every[tuple(ends.T)].max() < np.median(every)
    assert every[~np.eye(40, dtype=bool)].min() > 0.01


def test_nodes_without_conflicts_stand_below_all_others() -> None:
    sets = AccessSets.from_dicts([{0: 2}, {9: 2}, {0: 2}, *({k: 2} for k in range(1, 9)), {0: 1}], n_keys=10)
    at = np.asarray(plot.conflict_network(sets).collections[-1].get_offsets())
    tied = [0, 2, 11]
    assert at[np.setdiff1d(np.arange(12), tied), 1].max() < at[tied, 1].min()
    assert len(np.unique(at, axis=0)) == 12


# -------------------------------------------------------------------- keys and chains


def test_bars_of_hot_keys_are_the_counted_transactions_most_first(block: pn.Block, access: AccessSets) -> None:
    ax, heat = plot.hot_keys(access, top=9, block=block), key_heat(access)
    widths = np.array([[bar.get_width() for bar in part] for part in ax.containers])
    totals = widths.sum(axis=0)
    assert totals.tolist() == sorted(heat.accessors.tolist(), reverse=True)[:9]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert len(set(names)) == 9
    for k in np.flatnonzero(heat.accessors > totals[-1]):
        place = names.index(short_names(access, [int(k)], block)[0])
        assert widths[:, place].tolist() == [heat.writers[k], heat.crediters[k], heat.readers[k]]


def test_names_of_keys_are_short_and_different() -> None:
    assert shortened("0x" + "0123456789" * 4 + " slot 0x" + "f" * 64) == "0x0123…6789 slot 0xffff…ffff"
    assert shortened("0xabc slot 0x12345678") == "0xabc slot 0x12345678"
    like = [(bytes([1, 1, k, *[0] * 17]), 1, 0) for k in range(3)]
    sets = AccessSets.from_names([dict.fromkeys(like, 2)])
    assert short_names(sets, [0, 1, 2], None) == [f"0x0101…0000 balance (key {k})" for k in range(3)]
    assert short_names(AccessSets.from_dicts([{4: 1}], n_keys=5), [4], None) == ["key 4"]


def test_bars_of_a_chain_lie_end_to_end_along_a_longest_path(block: pn.Block, access: AccessSets) -> None:
    gas = pn.transaction_costs(block, "gas")
    length, path = pn.dependencies(access).critical_path(gas)
    ax = plot.dependency_chain(access, gas, unit="gas")
    boxes = sorted(
        ((box.y0 + box.y1) / 2, box.x0, box.x1)
        for part in ax.collections[:-1]
        for box in (bar.get_extents() for bar in part.get_paths())
    )
    assert [round(y) for y, _, _ in boxes] == list(range(len(path)))
    assert [x1 - x0 for _, x0, x1 in boxes] == pytest.approx(gas[path].tolist())
    assert [x0 for _, x0, _ in boxes[1:]] == pytest.approx([x1 for _, _, x1 in boxes[:-1]])
    assert boxes[-1][2] == pytest.approx(float(length))
    links = [int(text.get_text().rsplit(": ", 1)[1]) for text in ax.get_legend().get_texts()[1:]]
    assert sum(links) == len(path) - 1


def test_the_key_of_a_link_is_one_on_which_the_two_conflict() -> None:
    sets = AccessSets.from_dicts([{0: 1, 1: 2, 2: 4}, {0: 1, 1: 1, 2: 4}, {0: 2}], n_keys=3)  # T0-T1 share reads and credits
    labels = [text.get_text() for text in plot.dependency_chain(sets).get_legend().get_texts()]
    assert labels == ["first of the chain", "by key 0: 1", "by key 1: 1"]


# -------------------------------------------------------------------- the door


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda a: plot.conflict_spy(5), "access = 5: must be AccessSets, or a square sparse matrix"),
        (lambda a: plot.conflict_spy(pn.conflict_graph(a)[:5]), "must be AccessSets, or a square sparse matrix"),
        (lambda a: plot.conflict_spy(a, cells=1), "cells = 1: must be in [2, 2000]"),
        (lambda a: plot.conflict_spy(a, ax=3), "ax = 3: must be an Axes"),
        (lambda a: plot.conflict_network(3), "access = 3: must be an AccessSets"),
        (lambda a: plot.conflict_network(a, colour_by="mood"), "colour_by = 'mood': must be one of level, degree"),
        (lambda a: plot.conflict_network(a, seed=-1), "seed = -1"),
        (lambda a: plot.conflict_network(a.reordered([0] * (MOST_NODES + 1))), "access has 301 transactions: must be at"),
        (lambda a: plot.hot_keys(a, top=0), "top = 0: must be in [1, 60]"),
        (lambda a: plot.hot_keys(a, block=1), "block = 1"),
        (lambda a: plot.hot_keys(AccessSets.from_dicts([{}], n_keys=1)), "must access at least one key"),
        (lambda a: plot.dependency_chain(AccessSets.from_dicts([], n_keys=0)), "access has no transaction"),
        (lambda a: plot.dependency_chain(a, [1, 2]), "cost"),
        (lambda a: plot.dependency_chain(a, block="b"), "block = 'b'"),
    ],
)
def test_bad_arguments_are_named(access: AccessSets, call: Any, part: str) -> None:
    with pytest.raises(BlockError) as said:
        call(access)
    assert part in str(said.value)
    assert not plt.get_fignums()  # nothing is left half drawn
