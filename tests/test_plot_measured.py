"""Pictures of measurements: rows of benchmarks and recorded times are drawn as they are, and told apart without colour."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import pevm_numba as pn
from pevm_numba import plot
from pevm_numba.access.sets import AccessSets
from pevm_numba.bench import executors
from pevm_numba.errors import BlockError, PevmError
from pevm_numba.plot import style
from pevm_numba.schedule.timeline import Timeline

LINE = Timeline(2, [0, 1, 0], [0, 0, 3], [3, 2, 4], 4)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def block() -> pn.Block:
    return pn.generate(n_tx=300, pattern="zipf", conflict_ratio=0.4, seed=5)


def cell(case: str, executor: str, us: float, gain: float, **more: Any) -> dict[str, Any]:
    """A row of `bench executors`, as far as it is drawn."""
    ways = {"speedup_given": gain, "speedup_computed": gain / 2, "path_bound": 2.0}
    return {"table": "executors", "case": case, "executor": executor, "n_tx": 50, "workers": 2,
            "serial_ns_per_tx": 1000 * us, "work_us": us, "speedup": gain, **ways, **more}  # fmt: skip


CELLS = [cell(c, e, us, us + k) for c in ("low", "mid") for k, e in enumerate(("waves", "dataflow")) for us in (0.5, 5.0)]
LOADS = [
    {"table": "store workload", "backend": b, "keys": n, "distribution": d, "operation": o, "keys_per_s": n * 100.0 + k}
    for k, b in enumerate(("memory", "mmap")) for n in (1000, 4000) for d in ("uniform", "zipf") for o in ("read", "write")
]  # fmt: skip
CHAINS = [
    {"table": "chain", "backend": "memory", "chain": c, "delay_us": delay, "kind": kind, "ms": ms * (1 + delay)}
    for c in ("1", "2") for delay in (0, 10) for kind, ms in (("on demand", 8.0), ("named", 2.0))
]  # fmt: skip


# -------------------------------------------------------------------- plans and bounds


def test_a_measured_timeline_is_drawn_below_the_plan(block: pn.Block) -> None:
    plan = pn.schedule(block, "list", workers=2, cost=pn.transaction_costs(block, "gas"))
    run = pn.execute(block, "dataflow", schedule=plan, workers=2, record="times")
    assert plan.timeline is not None
    assert run.times is not None
    line = run.times.timeline()
    above, below = plot.gantt_pair(plan.timeline, line, planned_unit="gas")
    for ax, drawn, unit, head in ((above, plan.timeline, "gas", "planned"), (below, line, "ns", "measured")):
        boxes = [path.get_extents() for path in ax.collections[0].get_paths()]
        assert [box.x0 for box in boxes] == drawn.start.tolist()
        assert [box.x1 for box in boxes] == drawn.end.tolist()
        assert ax.get_xlabel() == f"time ({unit})"
        assert ax.get_title(loc="left").startswith(f"{head}: makespan")
        assert ax.collections[0].get_array().tolist() == list(range(block.n_tx))  # the same colours
    assert above.get_xlim() != below.get_xlim()


def test_a_plan_and_its_measurement_in_one_unit_share_a_time_axis() -> None:
    above, below = plot.gantt_pair(LINE, Timeline(1, [0] * 3, [0, 3, 5], [3, 5, 9], 9), planned_unit="ns")
    assert above.get_xlim() == below.get_xlim() == (0.0, 9.0)


def test_the_bound_of_a_profile_is_the_same_work_in_the_least_time(block: pn.Block) -> None:
    access, gas = pn.access_sets(block), pn.transaction_costs(block, "gas")
    limit = pn.bounds(access, gas, workers=8)
    line = pn.schedule(block, "levels", workers=8, cost=gas).timeline
    assert line is not None
    ax = plot.parallelism_profile({"levels": line}, unit="gas", bound=limit)
    x, y = ax.lines[-1].get_xdata(), ax.lines[-1].get_ydata()
    assert np.trapezoid(y, x) == pytest.approx(float(gas.sum()))
    assert x[-1] == limit.makespan <= line.makespan
    assert "bound" in ax.get_legend().get_texts()[-1].get_text()


# -------------------------------------------------------------------- speed-up


def test_lines_of_speedup_are_medians_of_the_rows() -> None:
    rows = [cell("a", "waves", 1.0, gain) for gain in (1.0, 1.5, 9.0)] + [cell("a", "waves", 5.0, 1.8)]
    ax = plot.speedup_lines(rows)
    assert ax.lines[0].get_xydata().tolist() == [[1.0, 1.5], [5.0, 1.8]]
    assert ax.lines[1].get_ydata()[0] == 1.0
    ax = plot.speedup_lines([{**row, "conflict_rate": 0.25} for row in rows], over="conflict_rate", value="speedup_given")
    assert ax.lines[0].get_xydata().tolist() == [[0.25, 1.65]]
    assert ax.get_xscale() == "linear"


def test_the_heavy_line_of_a_surface_parts_what_pays_from_what_does_not() -> None:
    ax = plot.speedup_surface({(1, 0.1): 0.5, (2, 0.1): 1.5, (1, 0.2): 0.4, (2, 0.2): 1.0, (3, 0.2): 0.9})
    sides = {tuple(map(tuple, side.astype(int).tolist())) for side in ax.collections[-1].get_segments()}
    assert sides == {((1, 0), (1, 1)), ((1, 1), (1, 2)), ((2, 1), (2, 2))}
    assert sorted(text.get_text() for text in ax.texts) == ["0.4", "0.5", "0.9", "1", "1.5"]


def test_break_even_has_two_panels_a_case_and_draws_the_most_workers_but_no_picker() -> None:
    more = [cell("low", "auto", 0.5, 1.0), cell("low", "waves", 0.5, 9.0, workers=1), {"table": "misses"}]
    axes = plot.break_even(CELLS + more)
    assert [ax.get_title(loc="left") for ax in axes] == [
        f"{case}: access sets {way}" for case in ("low", "mid") for way in ("given", "worked out first")
    ]
    for ax, share in zip(axes, (1, 2, 1, 2), strict=True):
        assert [line.get_label() for line in ax.lines[:3]] == ["waves", "dataflow", "bound"]
        assert ax.lines[0].get_xydata().tolist() == [[0.5, 0.5 / share], [5.0, 5.0 / share]]
    slow = plot.break_even([cell("low", "waves", us, gain) for us, gain in ((0.1, 0.001), (9.0, 1.9))])[0]
    assert "1" in [text.get_text() for text in slow.get_yticklabels()]  # where a line crosses is what the picture is for


# -------------------------------------------------------------------- latencies, predictions, stores


def test_marks_of_latencies_lie_on_the_curve_at_the_percentiles(block: pn.Block) -> None:
    times = pn.execute(block, "serial", record="times").times
    assert times is not None
    ax = plot.latency_distribution({"serial": times, "other": [3, 5, 900]})
    curve, marks = ax.lines[0], ax.lines[1]
    assert marks.get_xdata().tolist() == [max(1.0, times.latency(p)) for p in (50, 95, 99)]
    took = times.end - times.start
    for at, share in zip(marks.get_xdata(), marks.get_ydata(), strict=True):
        assert share == pytest.approx(np.mean(took <= at))
    assert curve.get_ydata()[0] == 0.0
    assert curve.get_ydata()[-1] == 1.0


def test_a_histogram_of_latencies_counts_every_transaction() -> None:
    ax = plot.latency_distribution({"a": [0, 10, 20, 20, 4000], "b": np.arange(1.0, 8.0)}, kind="histogram")
    assert [int(line.get_ydata().sum()) for line in ax.lines[::2]] == [5, 7]
    assert ax.get_xlim()[0] > 0


def test_predictions_are_drawn_in_order_of_blocks_with_gaps_where_nothing_is_known() -> None:
    rows = [
        {"table": "prediction in a block", "block_number": n, "precision": p, "recall": r}
        for n, p, r in ((20, 1.0, 0.5), (10, None, 0.25))
    ]
    given = {20: (1.0, 0.5), 10: (None, 0.25)}
    for ax in (plot.prediction_quality([*rows, {"table": "prediction"}]), plot.prediction_quality(given)):
        assert np.array_equal(ax.lines[0].get_ydata(), [np.nan, 1.0], equal_nan=True)
        assert ax.lines[1].get_ydata().tolist() == [0.25, 0.5]
        assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "20"]
        assert "mean 0.375" in ax.lines[1].get_label()


def test_stores_have_a_panel_for_each_distribution_and_operation_and_two_for_chains() -> None:
    axes = plot.storage_comparison([*LOADS, *CHAINS, {"table": "store"}])
    heads = [ax.get_title(loc="left") for ax in axes]
    assert heads[:4] == ["read, uniform", "write, uniform", "read, zipf", "write, zipf"]
    assert heads[4:] == ["a chain, milliseconds", "times as fast as on demand"]
    assert axes[0].lines[1].get_xydata().tolist() == [[1000, 100001], [4000, 400001]]
    assert axes[4].lines[0].get_ydata().tolist() == [8.0, 88.0]
    assert axes[5].lines[1].get_ydata().tolist() == [4.0, 4.0]
    assert len(plot.storage_comparison([*LOADS, *CHAINS[:2]])) == 4  # one delay: nothing to draw over


# -------------------------------------------------------------------- looks


def test_a_chain_that_lacks_a_way_of_reading_at_a_delay_leaves_a_gap() -> None:
    whole = plot.storage_comparison([*LOADS, *CHAINS], figure=Figure())[-2]
    lacking = max((row["delay_us"], row["kind"]) for row in CHAINS if row["kind"] != CHAINS[0]["kind"])
    given = [row for row in CHAINS if (row["delay_us"], row["kind"]) != lacking]
    times = plot.storage_comparison([*LOADS, *given], figure=Figure())[-2]
    points = [sum(len(line.get_xydata()) for line in ax.lines) for ax in (whole, times)]
    assert points[1] == points[0] - 1
    assert all(np.isfinite(line.get_xydata()).all() for line in times.lines)


def test_names_that_no_font_can_show_are_written_out() -> None:
    ax = plot.latency_distribution({"a\udc80\0": [1, 2]}, ax=Figure().subplots())
    ax.figure.savefig(io.BytesIO(), format="png")
    assert ax.lines[0].get_label().startswith("a\\udc80\\x00: p50")


def test_what_is_black_on_white_is_white_on_black() -> None:
    for sheet, ink in (("default", 0.0), ("dark_background", 1.0)):
        with plt.style.context(sheet):
            ax = plot.parallelism_profile({str(i): LINE for i in range(7)})
            assert to_rgb(ax.lines[6].get_color()) == (ink,) * 3
            assert to_rgb(plot.speedup_lines({"a": {1.0: 2.0}}).lines[-1].get_color()) == (ink,) * 3


@pytest.mark.parametrize("sheet", ["default", "dark_background"])
def test_no_shade_vanishes_into_the_background(sheet: str) -> None:
    with plt.style.context(sheet):
        ax = plt.subplots()[1]
        back = np.dot(to_rgb(ax.get_facecolor()), (0.2126, 0.7152, 0.0722))
        for stands_out in (False, True):
            shades = style.shades(ax, most_stands_out=stands_out)(np.linspace(0, 1, 50))[:, :3] @ (0.2126, 0.7152, 0.0722)
            assert np.abs(shades - back).min() > 0.15
            assert (np.diff(shades) > 0).all() or (np.diff(shades) < 0).all()  # even in grey
        assert abs(shades[-1] - back) > abs(shades[0] - back)


def test_series_are_told_apart_without_colour() -> None:
    quality = plot.prediction_quality({1: (1, 1)}).lines
    lines = [*plot.break_even(CELLS)[0].lines[:2], *plot.storage_comparison(LOADS)[0].lines, *quality]
    for pair in zip(lines[::2], lines[1::2], strict=True):
        assert pair[0].get_marker() != pair[1].get_marker()
        assert pair[0].get_linestyle() != pair[1].get_linestyle()


NAME = "_a $x^2$ for $y$"
MINE = {NAME: LINE}
SIMULATION = pn.simulate(AccessSets.from_dicts([{0: 2}, {0: 2}], n_keys=1), "waves", workers=2)


@pytest.mark.parametrize(
    ("call", "texts"),
    [
        (lambda: plot.gantt(LINE, unit=NAME, colour_by="cost"), 3),  # axis, title, bar of colours
        (lambda: plot.gantt_pair(LINE, LINE, planned_unit=NAME)[0], 2),
        (lambda: plot.parallelism_profile(MINE, unit=NAME), 2),
        (lambda: plot.wave_sizes({NAME: pn.Schedule.from_waves("mine", [[0, 2], [1]])}), 1),
        (lambda: plot.dependency_chain(AccessSets.from_dicts([{0: 2}, {0: 2}], n_keys=1), unit=NAME), 2),
        (lambda: plot.hot_keys(AccessSets.from_dicts([{0: 2}], n_keys=1)), 1),
        (lambda: plot.speedup_curves([dataclasses.replace(SIMULATION, model=NAME)]), 1),
        (lambda: plot.speedup_lines({NAME: {1.0: 2.0}}), 1),
        (lambda: plot.latency_distribution({NAME: [100, 200]}), 1),
        (lambda: plot.break_even([cell(NAME, NAME, us, us) for us in (0.5, 5.0)])[0], 3),  # two panels, legend
        (lambda: plot.storage_comparison([{**LOADS[0], "backend": NAME, "operation": NAME}])[0], 2),
        (lambda: plot.storage_comparison([*LOADS, *({**row, "kind": NAME} for row in CHAINS)])[0], 2),
    ],
)
def test_names_are_shown_as_they_are_given(call: Any, texts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pevm_numba.plot.hotkeys.short_names", lambda access, keys, block: [NAME] * len(keys))
    with mpl.rc_context({"svg.fonttype": "none"}):
        out = io.StringIO()
        call().figure.savefig(out, format="svg")
    shown = "".join(part.split("<!--")[0] for part in out.getvalue().split("-->"))  # comments repeat texts
    assert shown.count(NAME) == texts


def test_pictures_of_several_panels_are_drawn_in_the_figure_given() -> None:
    for draw in (
        lambda f: plot.gantt_pair(LINE, LINE, figure=f), lambda f: plot.break_even(CELLS, figure=f),
        lambda f: plot.storage_comparison(LOADS, figure=f),
    ):  # fmt: skip
        mine = Figure()
        assert all(ax.figure is mine for ax in draw(mine))
    assert not plt.get_fignums()


def test_pictures_of_several_panels_take_the_place_of_the_axes_given() -> None:
    for draw in (
        lambda ax: plot.gantt_pair(LINE, LINE, ax=ax), lambda ax: plot.break_even(CELLS, ax=ax),
        lambda ax: plot.storage_comparison(LOADS, ax=ax),
        lambda ax: plot.blob_market({"full": pn.simulate_blobs([30.0] * 20)}, ax=ax),
    ):  # fmt: skip
        mine = Figure(layout="constrained")
        left, right = mine.subplots(1, 2)
        drawn = draw(right)
        assert all(ax.figure.figure is mine for ax in (left, *drawn))
        assert right not in mine.axes
        mine.canvas.draw()
        edge = left.get_window_extent().x1
        assert all(ax.get_window_extent().x0 > edge for ax in drawn)
    assert not plt.get_fignums()


def test_without_matplotlib_every_picture_names_the_extra(monkeypatch: pytest.MonkeyPatch, block: pn.Block) -> None:
    access = pn.access_sets(block)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (
        lambda: plot.gantt_pair(LINE, LINE), lambda: plot.break_even(CELLS), lambda: plot.storage_comparison(LOADS),
        lambda: plot.conflict_spy(access), lambda: plot.conflict_network(access), lambda: plot.hot_keys(access),
        lambda: plot.dependency_chain(access), lambda: plot.speedup_lines(CELLS), lambda: plot.speedup_surface({(1, 0): 1}),
        lambda: plot.latency_distribution({"a": [1]}), lambda: plot.prediction_quality({1: (1, 1)}),
    ):  # fmt: skip
        with pytest.raises(PevmError, match=r'pip install "pevm-numba\[plot\]"'):
            draw()


def test_a_chart_is_refused_before_anything_is_measured_without_matplotlib(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PevmError, match="plots need matplotlib"):
        executors.Request.parse(None, 50, "1", "low", chart=tmp_path / "even.png").check()


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: plot.gantt_pair(LINE, 3), "measured = 3: must be a Timeline"),
        (lambda: plot.gantt_pair(LINE, Timeline(1, [0], [0], [1], 1)), "measured has 1 transactions: must be the 3"),
        (lambda: plot.gantt_pair(LINE, LINE, figure=3), "figure = 3: must be a Figure"),
        (lambda: plot.gantt_pair(LINE, LINE, ax=3), "ax = 3: must be an Axes"),
        (lambda: plot.gantt_pair(LINE, LINE, ax=Figure().add_axes((0, 0, 1, 1))), "must be of a grid"),
        (lambda: plot.gantt_pair(LINE, LINE, ax=Figure().subplots(), figure=Figure()), "with figure: one of the two"),
        (lambda: plot.parallelism_profile({"a": LINE}, bound=4), "bound = 4: must be a Bounds"),
        (lambda: plot.speedup_lines([]), "rows: none has table 'executors'"),
        (lambda: plot.speedup_lines({}), "rows: empty"),
        (lambda: plot.speedup_lines({"a": {}}), "rows: empty"),
        (lambda: plot.speedup_lines({"a": {1.0: -1.0}}), "rows['a'][1.0] = -1.0"),
        (lambda: plot.speedup_lines(CELLS, over="luck"), "over = 'luck': must be one of work_us, conflict_rate"),
        (lambda: plot.speedup_lines(CELLS, value="luck"), "luck of row 0 = None"),
        (lambda: plot.speedup_lines([{"executor": 3, "work_us": 1, "speedup": 1}]), "executor of row 0 = 3: must be a str"),
        (lambda: plot.speedup_surface({}), "speedups: empty"),
        (lambda: plot.speedup_surface({5: 1.0}), "speedups: key 5: must be (work in microseconds, conflict rate)"),
        (lambda: plot.speedup_surface({(1.0, 2.0): 1.0}), "speedups: conflict rate = 2.0"),
        (lambda: plot.break_even([{"table": "misses"}]), "rows: none has table 'executors'"),
        (lambda: plot.break_even([cell("a", "waves", 1.0, 0.0)]), "speedup_given of row 0 = 0.0"),
        (lambda: plot.break_even([3]), "rows[0] = 3: must be a Mapping"),
        (lambda: plot.break_even([cell("a", "auto", 1.0, 1.0)]), "rows: all are of executor 'auto'"),
        (lambda: plot.latency_distribution({}), "must be a mapping of names to TxTimes or nanoseconds, not empty"),
        (lambda: plot.latency_distribution({"a": [1, -1]}), "times['a'][1] = -1: must be finite and not negative"),
        (lambda: plot.latency_distribution({"a": []}), "times['a'] has shape (0,)"),
        (lambda: plot.latency_distribution({"a": [1, [2]]}), "times['a']: not an array of numbers"),
        (lambda: plot.latency_distribution({"a": [1]}, kind="pie"), "kind = 'pie': must be one of ecdf, histogram"),
        (lambda: plot.prediction_quality({}), "rows: empty"),
        (lambda: plot.prediction_quality({1: 0.5}), "rows[1] = 0.5: must be (precision, recall)"),
        (lambda: plot.prediction_quality({1: (0.5, 1.5)}), "precision, recall of block 1 = (0.5, 1.5): must be at most 1"),
        (lambda: plot.prediction_quality({1: (None, 1.5)}), "precision, recall of block 1 = (nan, 1.5): must be at most 1"),
        (lambda: plot.prediction_quality([{"block_number": 1}] * 2), "block_number of row 1 = 1: a second row"),
        (lambda: plot.storage_comparison(CHAINS), "rows: none has table 'store workload'"),
        (lambda: plot.storage_comparison([{**LOADS[0], "keys": None}]), "keys of row 0 = None"),
        (lambda: plot.storage_comparison({"a": 1}), "must be a list of rows"),
        (lambda: plot.storage_comparison([*LOADS, *({**row, "chain": None} for row in CHAINS)]), "chain of row 0 = None"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named_before_anything_is_drawn(call: Any, part: str) -> None:
    with pytest.raises(BlockError) as said:
        call()
    assert part in str(said.value)
    assert not plt.get_fignums()
