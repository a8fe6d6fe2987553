"""Plots: what the picture holds is what the schedule says, bar by bar; nothing is smoothed, cut or hidden by a legend."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.collections import PolyCollection

import pevm_numba as pn
from pevm_numba import plot
from pevm_numba.access.oracles import access_sets
from pevm_numba.errors import BlockError
from pevm_numba.schedule.dependencies import dependencies
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.timeline import Timeline

ROOT = Path(__file__).resolve().parents[1]
PLAN = Schedule.from_waves("mine", [[0, 1]])
LINE = Timeline(2, [0, 1, 0, 1], [0, 0, 3, 2], [3, 2, 4, 2], 4.5)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def block() -> pn.Block:
    return pn.generate(n_tx=300, key_space=250, conflict_ratio=0.4, seed=3)


def extents(bars: PolyCollection) -> list[tuple[float, float, float]]:
    """Left, right and middle height of each polygon."""
    boxes = [path.get_extents() for path in bars.get_paths()]
    return [(box.x0, box.x1, (box.y0 + box.y1) / 2) for box in boxes]


def drawn(ax: Any) -> bytes:
    """The figure as PNG."""
    out = io.BytesIO()
    ax.figure.savefig(out, format="png")
    return out.getvalue()


def covers_nothing(ax: Any) -> bool:
    """Whether the legend lies below the axes and what is written there, and inside the figure."""
    ax.figure.canvas.draw()
    legend, label, page = (part.get_window_extent() for part in (ax.get_legend(), ax.xaxis.label, ax.figure))
    return bool(legend.y1 <= label.y0 and legend.x1 <= page.x1 + 1 and legend.y0 >= page.y0 - 1)


# -------------------------------------------------------------------- gantt


@pytest.mark.parametrize("policy", ["list", "levels", "mis"])
def test_each_bar_lies_where_the_timeline_says(block: pn.Block, policy: str) -> None:
    line = pn.schedule(block, policy, workers=5, cost="ops").timeline
    assert line is not None
    ax = plot.gantt(line, unit="ops")
    (bars,) = [part for part in ax.collections if isinstance(part, PolyCollection) and len(part.get_paths()) == block.n_tx]
    for i, (left, right, middle) in enumerate(extents(bars)):
        assert (left, right) == (line.start[i], line.end[i])
        assert middle == pytest.approx(line.worker[i] + 0.5)
    assert ax.get_xlim() == (0, line.makespan)
    assert ax.get_ylim() == (5, 0)
    assert ax.get_xlabel() == "time (ops)"


def test_colours_stand_for_position_cost_or_the_critical_path(block: pn.Block) -> None:
    line = pn.schedule(block, "list", workers=5, cost="ops").timeline
    assert line is not None
    assert plot.gantt(line).collections[0].get_array().tolist() == list(range(block.n_tx))
    assert plot.gantt(line, colour_by="cost").collections[0].get_array().tolist() == (line.end - line.start).tolist()
    flags = np.zeros(block.n_tx, bool)
    flags[dependencies(access_sets(block)).critical_path()[1]] = True
    ax = plot.gantt(line, colour_by="critical", critical=flags)
    faces = ax.collections[0].get_facecolor()
    assert len({tuple(face) for face in faces[flags]}) == 1
    assert len({tuple(face) for face in faces}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"transactions on a longest path: {flags.sum()}", f"on none: {300 - flags.sum()}",
    ]  # fmt: skip
    assert covers_nothing(ax)


def test_the_title_states_makespan_and_idle_share() -> None:
    ax = plot.gantt(LINE, unit="gas")
    assert ax.get_title(loc="left") == "makespan 4.5 gas, 33.3% idle"


def test_ten_thousand_transactions_draw_in_seconds() -> None:
    line = pn.schedule(pn.generate(n_tx=10_000, key_space=20_000, conflict_ratio=0.2, seed=1), "list", workers=64).timeline
    assert line is not None
    began = time.perf_counter()
    picture = drawn(plot.gantt(line))
    assert time.perf_counter() - began < 10  # 0.5 s on a quiet core
    assert picture.startswith(b"\x89PNG")


def test_an_empty_timeline_and_many_workers_are_drawn() -> None:
    assert drawn(plot.gantt(Timeline(1, [], [], [], 0)))
    ax = plot.gantt(Timeline(1000, [0, 999], [0, 0], [1, 2], 2))
    assert len(ax.get_yticks()) <= 16
    assert drawn(ax)


# -------------------------------------------------------------------- profiles, waves


def test_the_area_under_a_profile_is_the_work(block: pn.Block) -> None:
    plans = {policy: pn.schedule(block, policy, workers=7, cost="ops").timeline for policy in ("list", "levels")}
    ax = plot.parallelism_profile({name: line for name, line in plans.items() if line is not None}, unit="ops")
    for curve, line in zip(ax.lines, plans.values()):
        assert line is not None
        times, running = curve.get_data()
        assert curve.get_drawstyle() == "steps-post"
        assert (np.diff(times) * running[:-1]).sum() == pytest.approx(line.busy.sum())
        assert running.max() <= 7
        assert (times[0], times[-1], running[-1]) == (0, line.makespan, 0)
    assert ax.get_xlabel() == "time (ops)"
    assert covers_nothing(ax)


def test_a_profile_starts_at_zero_where_nothing_runs_yet_and_ends_with_the_last_barrier() -> None:
    ax = plot.parallelism_profile({"late": Timeline(1, [0], [2], [3], 5), "none": Timeline(1, [], [], [], 0)})
    assert [part.tolist() for part in ax.lines[0].get_data()] == [[0, 2, 3, 5], [0, 1, 0, 0]]
    assert drawn(ax)


def test_wave_sizes_are_those_of_the_schedules(block: pn.Block) -> None:
    plans = {policy: pn.schedule(block, policy) for policy in ("levels", "mis")}
    ax = plot.wave_sizes(plans)
    for patch, plan in zip(ax.patches, plans.values()):
        assert patch.get_data().values.tolist() == np.diff(plan.wave_indptr).tolist()
        assert patch.get_data().edges.tolist() == list(range(1, plan.n_waves + 2))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"{name}: {plan.n_waves} waves" for name, plan in plans.items()
    ]
    assert covers_nothing(ax)
    assert drawn(plot.wave_sizes({"none": Schedule.from_waves("none", [])}))


def test_waves_drawn_on_the_same_axes_stay_in_sight() -> None:
    ax = plot.wave_sizes({"wide": Schedule.from_waves("wide", [list(range(100))])}, ax=plt.figure().subplots())
    plot.wave_sizes({"long": Schedule.from_waves("long", [[0], [1], [2]])}, ax=ax)
    assert (ax.get_xlim(), ax.get_ylim()) == ((1.0, 4.0), (0.8, 125.0))
    assert ax.get_yticks().tolist() == [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]


@pytest.mark.parametrize("turned", [False, True])
def test_a_shared_time_axis_shows_all_of_the_longest_timeline_in_either_order(turned: bool) -> None:
    short, long = Timeline(1, [0], [0], [2], 2), Timeline(1, [0], [0], [9], 9)
    lines = (long, short) if turned else (short, long)
    _, axes = plt.subplots(4, sharex=True)
    plot.gantt(lines[0], ax=axes[0])
    plot.gantt(lines[1], ax=axes[1])
    assert axes[0].get_xlim() == axes[1].get_xlim() == (0, 9)
    plot.parallelism_profile({"a": lines[0]}, ax=axes[2])
    plot.parallelism_profile({"b": lines[1]}, ax=axes[3])
    assert {ax.get_xlim() for ax in axes} == {(0, 9)}
    alone = plt.subplots()[1]
    plot.parallelism_profile({"a": Timeline(1, [0], [0], [0.25], 0.25)}, ax=alone)
    assert alone.get_xlim() == (0, 0.25)  # limits of axes on which nothing is drawn yet are nobody's
    plot.parallelism_profile({"b": Timeline(1, [0], [0], [0.125], 0.125)}, ax=alone)
    assert alone.get_xlim() == (0, 0.25)


# -------------------------------------------------------------------- speed-up curves


def test_curves_hold_one_point_for_each_simulation(block: pn.Block) -> None:
    from pevm_numba.schedule.simulate import simulate

    made = [simulate(block, model, workers=w, cost="ops") for w in (4, 1, 2) for model in ("waves", "list")]
    ax = plot.speedup_curves(made, bound={1: 1.0, 2: 2.0, 4: 3.5})
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["waves", "list", "bound: block order, all conflicts", "linear: as many times as workers"]
    for model in ("waves", "list"):
        found = dict(zip(*(part.tolist() for part in map(np.asarray, lines[model].get_data()))))
        assert found == {one.workers: one.speedup for one in made if one.model == model}
    assert np.asarray(lines["bound: block order, all conflicts"].get_ydata()).tolist() == [1.0, 2.0, 3.5]
    assert covers_nothing(ax)


@pytest.mark.parametrize("counts", [(1, 2, 4, 8, 16), (1, 3, 5, 64), (7,)])
def test_no_curve_rises_above_linear_between_two_numbers_of_workers(block: pn.Block, counts: tuple[int, ...]) -> None:
    made = pn.compare(block, ["waves", "list", "block-stm"], workers=counts, cost="ops")
    limits = {w: pn.bounds(access_sets(block), "ops", w).max_speedup for w in counts}
    ax = plot.speedup_curves(made, bound=limits)
    ax.figure.canvas.draw()
    linear = ax.lines[-1]
    straight = ax.transData.transform(linear.get_xydata())
    assert "linear" in linear.get_label()
    for line in ax.lines[:-1]:
        pixels = ax.transData.transform(line.get_xydata())
        across = np.linspace(pixels[0, 0], pixels[-1, 0], 500)
        height = np.interp(across, pixels[:, 0], pixels[:, 1])
        assert (height <= np.interp(across, straight[:, 0], straight[:, 1]) + 1e-6).all(), line.get_label()


def test_a_line_equal_to_an_earlier_one_leaves_that_one_visible() -> None:
    ax = plot.parallelism_profile(dict.fromkeys("abcd", LINE))
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", ":", "-."]
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 4


def test_simulations_that_cannot_be_compared_are_refused(block: pn.Block) -> None:
    one, other = (pn.simulate(block, "list", workers=2, cost=cost) for cost in ("ops", "unit"))
    with pytest.raises(BlockError, match=r"simulations\[1\]\.serial = 300: must be .* as in simulations\[0\]"):
        plot.speedup_curves([one, other])
    with pytest.raises(BlockError, match=r"simulations\[1\]: a second list on 2 workers"):
        plot.speedup_curves([one, one])


# -------------------------------------------------------------------- all plots


def test_plots_draw_on_the_axes_given_and_return_them() -> None:
    _, axes = plt.subplots(4)
    plan = Schedule.from_waves("mine", [[0, 1], [2]])
    assert plot.gantt(LINE, ax=axes[0]) is axes[0]
    assert plot.parallelism_profile({"mine": LINE}, ax=axes[1]) is axes[1]
    assert plot.wave_sizes({"mine": plan}, ax=axes[2]) is axes[2]
    assert plot.speedup_curves([pn.simulate(pn.generate(n_tx=3))], ax=axes[3]) is axes[3]
    assert len(plt.get_fignums()) == 1


def test_no_two_of_many_lines_look_the_same() -> None:
    ax = plot.parallelism_profile({str(i): LINE for i in range(20)})
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 20


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: plot.gantt(5), "timeline = 5: must be a Timeline"),
        (lambda: plot.gantt(LINE, colour_by="mood"), "colour_by = 'mood': must be one of transaction, cost, critical"),
        (lambda: plot.gantt(LINE, colour_by="critical"), "critical = None: must be given"),
        (lambda: plot.gantt(LINE, colour_by="critical", critical=[True]), "critical has shape"),
        (lambda: plot.gantt(LINE, ax=3), "ax = 3: must be an Axes"),
        (lambda: plot.parallelism_profile(LINE), "must be a mapping of names to Timeline"),
        (lambda: plot.parallelism_profile({"a": None}), "timelines['a'] = None: must be a Timeline"),
        (lambda: plot.wave_sizes({1: None}), "schedules: key 1"),
        (lambda: plot.wave_sizes({}), "schedules: empty: must hold at least one Schedule"),
        (lambda: plot.parallelism_profile({}), "timelines: empty: must hold at least one Timeline"),
        (lambda: plot.speedup_curves([]), "simulations: empty"),
        (lambda: plot.speedup_curves([pn.simulate(pn.generate(n_tx=3))], bound=[1]), "bound = [1]: must be a Mapping"),
        (lambda: plot.gantt(PLAN), "must be a Timeline; this schedule has none: make it for a number of workers"),
        (lambda: plot.gantt(Schedule.from_waves("a", [[0, 1, 2, 3]], timeline=LINE)), "Timeline: give schedule.timeline"),
        (lambda: plot.parallelism_profile({"a": PLAN}), "timelines['a'] = <Schedule"),
        (lambda: plot.speedup_curves([1]), "simulations[0] = 1: must be a Simulation"),
    ],
)
def test_bad_arguments_are_named(call: Any, part: str) -> None:
    with pytest.raises(BlockError) as said:
        call()
    assert part in str(said.value)


def test_without_matplotlib_the_error_names_the_extra_and_the_module_still_imports() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pevm_numba import plot\nfrom pevm_numba.errors import PevmError\n"
        "from pevm_numba.schedule.timeline import Timeline\n"
        "try: plot.gantt(Timeline(1, [0], [0], [1], 1))\nexcept PevmError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == 'plots need matplotlib: pip install "pevm-numba[plot]"\n'
    code = "import sys, pevm_numba.plot; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
