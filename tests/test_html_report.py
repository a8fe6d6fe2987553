"""The page of a benchmark: whole, escaped, self-contained, defined to the last column; and as a browser has it."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import PROGRAM, Tab, browser
from hypothesis import given
from hypothesis import strategies as st
from test_cli import Command, in_process, one_line

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench import __main__ as main
from pevm_numba.bench import corpus, html_page, session
from pevm_numba.bench.html_figures import Timed, pictures_of, running_in
from pevm_numba.bench.html_page import page_of
from pevm_numba.bench.html_specs import MAIN, definitions_of, meaning_of, spec_of
from pevm_numba.bench.html_table import columns_of, flat
from pevm_numba.bench.html_target import Page
from pevm_numba.bench.outputs import check_outputs
from pevm_numba.bench.storage_load import DISTRIBUTIONS
from pevm_numba.errors import BlockError, ExecutionError, FileFormatError, PevmError, UsageError
from pevm_numba.fields import FIELDS, TABLES
from pevm_numba.generate import generate
from pevm_numba.io.files import write_blocks
from pevm_numba.schedule.timeline import Timeline

COMMAND = "python -m pevm_numba.bench"
EVIL = "<script>alert('\"&amp;')</script>"
#: Elements without an end tag.
VOID = {"meta", "wbr", "br"}


class Document(HTMLParser):
    """What a page holds; raises where its tags do not balance."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self._open, f"<{tag}/> outside of a figure is a start tag"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def said(self, *inside: str) -> str:
        """All text within elements of these names, in their order."""
        return "".join(text for path, text in self.texts if all(name in path for name in inside))

    def values(self) -> set[str]:
        """Exact values of all numbers in tables."""
        return {about["data-value"] or "" for _, about in self.tags if "data-value" in about}


def row_of(**fields: Any) -> dict[str, Any]:
    """A measurement with all fields; those not given are plausible."""
    made: dict[str, Any] = dict.fromkeys(FIELDS, 1)
    made |= {
        "scenario": "block 3", "executor": "dataflow", "fork": "london", "policy": None, "oracle": "static",
        "verified": True, "reason": "", "conflict_rate_exact": True, "chain_gas_exact": None, "serial_time_ms": 2.0,
        "parallel_time_ms": 1.6, "execute_time_ms": 1.0, "speedup": 1.25, "speedup_execute": 2.0, "bound": 2.0,
        "bound_share": 1.0, "speedup_execute_low": 1.9, "speedup_execute_high": 2.1, "versions": {"numba": "0.6"},
        "machine": {"cpu": "one", "cores": 2}, "graph_ms": None,
    }  # fmt: skip
    assert set(fields) <= set(made)
    return made | fields


def three() -> list[dict[str, Any]]:
    """Three measurements, the second slower than serial."""
    return [
        row_of(n_tx=1000),
        row_of(scenario="block 20", n_tx=9, speedup=0.5, parallel_time_ms=4.0, speedup_execute=0.8, bound=1.5),
        row_of(scenario="block 100", n_tx=80, speedup=1.5, conflict_rate=None),
    ]


def timed() -> Timed:
    """Forty transactions on two workers."""
    start = np.arange(40.0) * 10
    return Timed("block 3", "dataflow", Timeline(2, np.arange(40) % 2, start, start + 15, 405.0))


# -------------------------------------------------------------------- what it says


def test_tags_balance_and_every_id_is_there_once():
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    page = Document(page_of(three(), COMMAND, notes=["All is well."], timed=timed(), written=moment))
    ids = Counter(about["id"] for _, about in page.tags if "id" in about)
    assert max(ids.values()) == 1
    pointers = [about["href"] for _, about in page.tags if (about.get("href") or "").startswith("#")]
    pointers += [f"#{about['popovertarget']}" for _, about in page.tags if "popovertarget" in about]
    clips = [about["clip-path"] for _, about in page.tags if "clip-path" in about]
    assert {pointer[1:] for pointer in pointers} | {clip[5:-1] for clip in clips} <= set(ids)
    assert clips
    assert "Written 2026-01-02 00:00 UTC." in page.said("header")
    assert "All is well." in page.said("main")


def test_every_figure_of_the_rows_is_in_a_cell_with_its_exact_value():
    rows = three()
    page = Document(page_of(rows, COMMAND))
    for row in rows:
        for name in ("n_tx", "serial_time_ms", "parallel_time_ms", "speedup", "speedup_execute", "bound"):
            assert repr(row[name]) in page.values(), name
    shown_once = page.said("th", "span") + page.said("dl", "dt")
    assert all(name in shown_once for name in FIELDS if name not in ("versions", "machine"))


def test_a_number_of_numpy_has_the_digits_of_one_of_python():
    rows = [missed("x", share=np.float64(0.1), keys=7), missed("y", share=0.25, keys=8)]
    assert Document(page_of(rows, COMMAND)).values() == {"0.1", "7", "0.25", "8"}


def test_every_column_of_every_table_has_its_own_definition():
    for table in [MAIN, *TABLES]:
        fields = definitions_of(table)
        given = {name: name == "verified" or 1 for name in fields}
        rows = [row_of()] if table == MAIN else [{"table": table} | given]
        page = Document(page_of(rows, COMMAND))
        heads = [about for tag, about in page.tags if tag == "th" and about.get("scope") == "col"]
        buttons = [about for _, about in page.tags if "popovertarget" in about]
        assert len(buttons) >= len(heads) > 0
        popups = {about["id"]: about["aria-label"] for _, about in page.tags if "popover" in about}
        for button in buttons:
            assert button["aria-label"] == f"definition of {popups[button['popovertarget']]}"
        assert {name for name in fields if name not in ("versions", "machine", "table")} <= set(popups.values()), table
        for name, (_, text) in fields.items():
            assert (text[0].upper() + text[1:]) in page.said("dd"), name


def test_a_definition_that_refers_to_another_field_brings_its_definition_along():
    speedup = "speedup: serial / execution time, median over the rounds"
    assert meaning_of("executors", "high") == f"upper quartile of the same ({speedup})"
    assert meaning_of("store against", "ratio_high").startswith("its upper quartile (ratio: time of the store")
    assert FIELDS["requeued"][1] in meaning_of("misses", "requeued")
    assert meaning_of("chain", "ms_low") == "least"
    for table in [MAIN, *TABLES]:
        for name, (_, text) in definitions_of(table).items():
            refers = text.startswith("the same") or text.endswith("of the same") or "likewise" in text
            assert (meaning_of(table, name) != text) >= refers, (table, name)
    assert meaning_of("executors", "regret") == TABLES["executors"][1]["regret"][1], "the same of another is no reference"


def test_specs_name_fields_that_there_are():
    for table in [MAIN, *TABLES]:
        spec, fields = spec_of(table), set(definitions_of(table))
        names = {*spec.keys, *spec.costs, *(name for _, part in spec.parts for name in part)}
        if spec.chart is not None:
            names |= {*spec.chart.labels, spec.chart.series} | ({spec.chart.bound} - {""})
            names |= {spec.chart.value} if table != "evm" else set()
        assert names <= fields, table
        assert spec.compared or "verified" in fields, table
        assert table == "evm" or set(spec.gains) <= fields
    shown_apart = {"versions", "machine"}
    in_parts = [name for _, part in spec_of(MAIN).parts for name in part]
    assert sorted([*in_parts, *spec_of(MAIN).keys]) == sorted(set(FIELDS) - shown_apart)


def test_what_is_slower_than_serial_has_a_mark_and_words_beside_its_colour():
    page = page_of(three(), COMMAND)
    slow = re.findall(r'data-value="([^"]*)"><span class="slower"><span aria-hidden="true">&#9660;</span>', page)
    assert sorted(set(slow)) == ["0.5", "0.8"]
    assert page.count("slower than serial</span>") == len(slow)
    miss = {"table": "misses"} | dict.fromkeys(TABLES["misses"][1], 1) | {"verified": True}
    costs = [miss | {"to_serial": ratio} for ratio in (0.9, 1.1)]
    assert re.findall(r'data-value="([^"]*)"><span class="slower">', page_of(costs, COMMAND)) == ["1.1"]


def test_what_all_rows_share_is_said_once():
    page = page_of(three(), COMMAND)
    shared = page[page.index("The same in all 3 rows") :]
    shared = shared[: shared.index("</dl>")]
    assert "london" in shared
    assert "<td>london" not in page
    alone = page_of(three()[:1], COMMAND)
    assert "The same in all" not in alone
    assert 'class="text">london' in alone


def test_the_machine_the_versions_and_the_command_are_named():
    page = Document(page_of(three(), "python -m pevm_numba.bench --input 'a b'"))
    assert page.said("header", "code") == "python -m pevm_numba.bench --input 'a b'"
    assert "0.6" in page.said("dl")
    assert "one" in page.said("dl")
    other = Document(page_of([missed("x")], COMMAND))
    assert np.__version__ in other.said("dl")


def missed(cause: str, **fields: Any) -> dict[str, Any]:
    """A row of the table `missed keys`."""
    return {"table": "missed keys", "cause": cause, "keys": 3, "share": 1.0, "verified": True} | fields


def test_what_was_compared_is_what_the_field_says():
    page = Document(page_of([missed("x")], COMMAND))
    assert "Missed keys: What is touched was observed in an execution." in page.said("li")
    page = Document(page_of(three(), COMMAND))
    assert "eceipts, observed sets and state equal to serial execution in the promised order" in page.said("li")


@pytest.mark.parametrize("said", [False, None, "yes"])
def test_a_result_that_was_not_verified_gets_no_page(said, tmp_path):
    target = tmp_path / "x.html"
    target.write_text("old")
    with pytest.raises(ExecutionError, match=r"rows\[1\]\.verified = .*verified results only"):
        html_page.write_page(target, [row_of(), row_of(verified=said)], COMMAND)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_no_rows_are_no_page():
    with pytest.raises(BlockError, match="rows: empty"):
        page_of([], COMMAND)


# -------------------------------------------------------------------- safe and self-contained


def test_text_from_data_is_escaped_wherever_it_goes():
    rows = [row_of(scenario=EVIL, executor=EVIL, reason=EVIL), row_of(scenario="$x^$ {y}", reason=EVIL, fork=EVIL)]
    rows[0]["machine"] = {EVIL: EVIL}
    line = Timed(EVIL, EVIL, timed().timeline)
    text = page_of(rows, f"x {EVIL}", notes=[EVIL], timed=line)
    page = Document(text)
    assert Counter(tag for tag, _ in page.tags)["script"] == 1
    assert "alert" not in page.said("script")
    for inside in (("header", "code"), ("main", "li"), ("th",), ("dd",), ("dt",), ("figure", "h3"), ("svg", "text")):
        assert EVIL in page.said(*inside), inside
    assert "$x^$ {y}" in page.said("svg", "text")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n"), max_size=20))
def test_any_text_comes_back_as_it_was(cause):
    page = Document(page_of([missed(cause)], COMMAND))
    assert page.said("tbody", "th") == cause


@given(st.text(alphabet=st.characters(categories=["Cs", "Cc"], exclude_characters="\t\n"), min_size=1, max_size=5))
def test_what_html_cannot_hold_is_written_as_python_writes_it(bad):
    rows = [row_of(scenario=f"{bad} x", executor=f"{bad} y")]
    page = page_of(rows, f"x {bad}", notes=[f"{bad} note"])
    page.encode()
    assert not any(one in page for one in bad)
    said = ascii(bad)[1:-1]
    where = {" x": ("tbody", "th"), " note": ("main", "li")}
    assert all(f"{said}{name}" in Document(page).said(*inside) for name, inside in where.items())
    assert f"{said} y" in Document(page).said("svg", "text")


def test_nothing_is_fetched_and_the_page_forbids_it():
    text = page_of(three(), COMMAND, timed=timed())
    page = Document(text)
    assert not re.search(r"https?:|//[a-z]", re.sub(r"data:image/png;base64,[\w+/=\s]*", "", text.split("<script>")[0]))
    assert "@import" not in text
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", text))
    for tag, about in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert "src" not in about
        assert (about.get("href") or "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in about)
    (policy,) = (about["content"] for _, about in page.tags if "http-equiv" in about)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_the_same_rows_give_the_same_bytes():
    assert page_of(three(), COMMAND, timed=timed()) == page_of(three(), COMMAND, timed=timed())


# -------------------------------------------------------------------- figures


def test_figures_hold_their_texts_as_text_in_the_page_s_colours():
    found = pictures_of({MAIN: three()}, timed())
    assert [one.title for one in found] == [
        "Speed-up by execution alone, beside the bound", "Serial and parallel time",
        "When each transaction ran: block 3 by dataflow", "How many ran at once: block 3 by dataflow",
    ]  # fmt: skip
    for one in found:
        assert 'role="img" aria-label="' in one.svg
        assert "<text" in one.svg
        assert "var(--ink)" in one.svg
        assert "#010203" not in one.svg
        assert "DejaVu" not in one.svg
    assert ">block 20<" in found[0].svg
    assert "1 of 3 are slower" in found[1].caption
    assert ">worker<" in found[2].svg


def test_serial_rows_and_empty_blocks_are_no_dots():
    rows = [row_of(executor="serial"), row_of(n_tx=0, speedup_execute=None)]
    assert pictures_of({MAIN: rows}) == []


def test_one_value_far_off_does_not_press_the_others_together():
    near = [row_of(scenario=f"block {n}", speedup_execute=1.0 + n / 10) for n in range(5)]
    (picture, _) = pictures_of({MAIN: [*near, row_of(speedup_execute=500.0)]})
    dots = re.findall(r'<use href="#f0-m\w+" x="([\d.]+)" y="[\d.]+" style="fill: var\(--c0\)', picture.svg)
    places = sorted({float(dot) for dot in dots})
    assert places[-2] - places[0] > 10, "of 360 units"


def test_a_chart_of_very_many_blocks_stays_a_picture():
    rows = [row_of(scenario=f"block {n}") for n in range(400)]
    svg = pictures_of({MAIN: rows})[0].svg
    box = re.match(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box is not None
    assert float(box[2]) <= 8 * float(box[1])
    assert "block 7<" not in svg
    assert "400 values" in svg


def test_models_are_drawn_block_by_block_only_while_the_blocks_are_few():
    row = dict.fromkeys(TABLES["models"][1], 1) | {"table": "models", "model": "list", "speedup": 1.5}
    rows = [row | {"block_number": 19_000_000 + n, "workers": p} for n in range(12) for p in (8, 16)]
    (picture,) = pictures_of({"models": rows})
    assert ">19000011, 16 workers<" in picture.svg
    assert picture.caption == "One line for each block and number of workers."
    assert pictures_of({"models": [*rows, row | {"block_number": 20_000_000}]}) == []


def test_figures_leave_matplotlib_as_it_was():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    pictures_of({MAIN: three()}, timed())
    assert dict(mpl.rcParams) == before


def test_the_parallelism_of_slices_adds_up_to_the_work():
    line = timed().timeline
    running, edges = running_in(line, 7)
    assert (running * np.diff(edges)).sum() == pytest.approx((line.end - line.start).sum())
    one, _ = running_in(Timeline(3, [0, 1, 2], [0, 0, 5], [10, 5, 10], 10.0), 2)
    assert one.tolist() == [2.0, 2.0]


def test_charts_of_nested_tables_have_a_dot_for_each_executor_and_its_own_bound():
    inner = {"speedup": 1.5, "low": 1.4, "high": 0.9, "share": 0.75, "cpu_ratio": 1.0}
    row = dict.fromkeys(TABLES["evm"][1], 1) | {
        "table": "evm", "block": "7", "verified": True, "bound": 2.0, "executors": {"waves": inner, "bal": inner},
        "alone": [], "peers": {},
    }  # fmt: skip
    (picture,) = pictures_of({"evm": [row]})
    assert "2 values" in picture.svg
    assert ">waves<" in picture.svg
    names = [column.name for column in columns_of("evm", [row])]
    assert "executors.bal.share" in names
    assert "slower than serial" in page_of([row], COMMAND)  # its higher quartile is below 1


def test_an_empty_object_is_no_column_where_other_rows_have_fields_in_it():
    rows: list[dict[str, Any]] = [{"table": "evm", "peers": {}}, {"table": "evm", "peers": {"x": {"ns": 5}}}]
    assert [(c.name, c.values) for c in columns_of("evm", rows)] == [("peers.x.ns", (None, 5))]
    spread = [{"table": "definitions summary", "pairs": 1, "work_span_gas": value} for value in (None, {"mean": 2.0})]
    assert [c.name for c in columns_of("definitions summary", spread)] == ["work_span_gas.mean", "pairs"]
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


# -------------------------------------------------------------------- where it is written


@pytest.mark.parametrize(
    ("name", "message"),
    [("x.htm", r"must be NAME\.html"), ("no/x.html", "there is no folder"), ("in/x.html", "is inside|lies inside")],
)
def test_bad_targets_are_refused_before_anything_is_measured(tmp_path, name, message):
    (tmp_path / "in").mkdir()
    with pytest.raises((UsageError, FileFormatError), match=message):
        check_outputs(None, Page(tmp_path / name, COMMAND), [tmp_path / "in"])
    with pytest.raises((UsageError, FileFormatError), match=message):
        session.run(session.Request(inputs=(tmp_path / "in",)), None, Page(tmp_path / name, COMMAND))
    with pytest.raises((UsageError, FileFormatError), match=message):
        corpus.run(tmp_path / "in", None, Page(tmp_path / name, COMMAND))


def test_a_page_over_the_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b.html").symlink_to(tmp_path / "a.json")
    with pytest.raises(UsageError, match="is the file of --json, too"):
        check_outputs(tmp_path / "a.json", Page(tmp_path / "b.html", COMMAND))


def test_without_matplotlib_the_extra_is_named_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PevmError, match=r'pip install "pevm-numba\[plot\]"'):
        check_outputs(None, Page(tmp_path / "x.html", COMMAND))
    check_outputs(tmp_path / "x.json", None)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m pevm_numba.bench WORDS` in this process."""
    return in_process(main.main, monkeypatch, capsys)


@pytest.mark.skipif(DISABLED, reason="times of kernels, and no kernel is compiled")
def test_the_command_writes_rows_and_page_of_a_file_with_a_hostile_name(bench, tmp_path):
    folder = tmp_path / "<script>alert(1)<"
    folder.mkdir()
    source = folder / "script>\" onload='x' &lt;.parquet"
    write_blocks(source, [generate(n_tx=60, key_space=20, conflict_ratio=0.6, number=n, seed=n) for n in (3, 4)])
    words = ["--input", source, "--repeat", 3, "--executor", "all", "--workers", 2]
    said = bench(*words, "--json", tmp_path / "x.json", "--html", tmp_path / "x.html")
    assert (said.code, said.err) == (0, ""), said
    rows = json.loads((tmp_path / "x.json").read_text())
    page = Document((tmp_path / "x.html").read_text())
    assert "<script>alert(1)</script>\" onload=" in page.said("header", "code")
    assert Counter(tag for tag, _ in page.tags)["script"] == 1
    assert {repr(row["speedup_execute"]) for row in rows} <= page.values()
    assert {about.get("id") for _, about in page.tags} >= {"compared", "summary", "figures", "table0", "machine"}
    assert page.said("figure").count("When each transaction ran: block ") == 1
    assert "10 results verified" in page.said("li")


@pytest.mark.skipif(DISABLED, reason="times of kernels, and no kernel is compiled")
def test_other_benchmarks_write_their_rows_as_pages(bench, tmp_path):
    target = tmp_path / "x.html"
    words = ["--sizes", 2000, "--rounds", 2, "--backends", "memory", "--html", target, "--json", tmp_path / "x.json"]
    said = bench("storage", *words)
    assert said.code == 0, said
    page = Document(target.read_text())
    assert "Benchmark: storage" in page.said("h1")
    rows = json.loads((tmp_path / "x.json").read_text())
    assert {repr(row["keys_per_s"]) for row in rows if row["table"] == "store workload"} <= page.values()
    assert all(f"read, {one}, 2,000 keys" in page.said("svg") for one in DISTRIBUTIONS)
    one_line(bench("storage", "--html", tmp_path / "x.txt"), 2, "must be NAME.html")


# -------------------------------------------------------------------- in a browser

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """A tab of a headless browser."""
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three measurements, one with a hostile name."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    rows = [*three(), row_of(scenario=EVIL, n_tx=5, speedup=None)]
    html_page.write_page(path, rows, f"x {EVIL}", notes=[EVIL], timed=timed())
    return path


def column(tab: Tab, name: str) -> list[str]:
    """Texts of a column of the table that has it."""
    found: list[str] = tab.value(
        "(() => { for (const t of document.querySelectorAll('table.sortable')) {"
        " const heads = [...t.tHead.rows[0].cells];"
        f" const place = heads.findIndex((h) => h.querySelector('.sort, .name').textContent === {json.dumps(name)});"
        " if (place >= 0) return [...t.tBodies[0].rows].map((r) => r.cells[place].textContent); } })()"
    )
    return found


def column_beside(tab: Tab, name: str) -> list[str]:
    """What names the rows of the table that has a column, in the order that they are in."""
    found: list[str] = tab.value(f"[...{head(name)}.closest('table').tBodies[0].rows].map((r) => r.cells[0].textContent)")
    return found


def head(name: str) -> str:
    """Expression for a column's heading."""
    return f"[...document.querySelectorAll('thead th')].find((h) => h.textContent.startsWith({json.dumps(name)}))"


@needs_browser
def test_a_browser_shows_the_page_without_complaint_and_asks_the_network_for_nothing(tab, written, tmp_path):
    for width, scheme in ((1400, "light"), (400, "light"), (1400, "dark"), (400, "dark")):
        tab.look(width, scheme=scheme)
        tab.open(written)
        assert tab.value("document.title") == "Parallel against serial execution"
        assert tab.complaints() == []
        assert [url for url in tab.requests() if not url.startswith("data:image/png;base64,")] == [written.as_uri()]
        assert tab.value("document.documentElement.scrollWidth") == width, "tables scroll, the page does not"
        assert tab.value("[...document.querySelectorAll('svg')].every((s) => s.getBoundingClientRect().height > 80)")
        light = tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert light == (scheme == "light")
        tab.picture(tmp_path / "shot.png")
        assert (tmp_path / "shot.png").read_bytes()[:4] == b"\x89PNG"
    assert tab.printed().startswith(b"%PDF")
    assert tab.complaints() == []


@needs_browser
def test_a_click_sorts_numbers_by_value_and_again_the_other_way(tab, written):
    tab.look(1400)
    tab.open(written)
    assert column(tab, "n_tx") == ["1,000", "9", "80", "5"]
    tab.click(f"{head('n_tx')}.querySelector('.sort')")
    assert column(tab, "n_tx") == ["5", "9", "80", "1,000"]
    assert tab.value(f"{head('n_tx')}.ariaSort") == "ascending"
    tab.click(f"{head('n_tx')}.querySelector('.sort')")
    assert column(tab, "n_tx") == ["1,000", "80", "9", "5"]
    assert tab.value(f"{head('n_tx')}.ariaSort") == "descending"
    for wanted in (["0.5000", "1.250", "1.500", "-"], ["1.500", "1.250", "0.5000", "-"]):
        tab.click(f"{head('speedup')}.querySelector('.sort')")
        assert [text.removeprefix("▼").split()[0] for text in column(tab, "speedup")] == wanted
    assert tab.value(f"{head('n_tx')}.ariaSort") == "none"
    assert tab.complaints() == []


@needs_browser
def test_infinities_are_sorted_at_the_ends_and_what_is_no_number_last(tab, tmp_path):
    inf, nan = float("inf"), float("nan")
    gains = [inf, 2.0, nan, -inf, None, inf, 0.5, -inf]
    rows = [row_of(scenario=f"block\0{i}", n_tx=i, bound_share=gain) for i, gain in enumerate(gains)]
    html_page.write_page(tmp_path / "page.html", rows, COMMAND)
    tab.look(1400)
    tab.open(tmp_path / "page.html")
    assert column(tab, "scenario") == [f"block\\x00{i}" for i in range(8)]
    for wanted in ([3, 7, 6, 1, 0, 5, 2, 4], [0, 5, 1, 6, 3, 7, 2, 4]):
        tab.click(f"{head('bound_share')}.querySelector('.sort')")
        assert [int(name[-1]) for name in column_beside(tab, "bound_share")] == wanted
    assert tab.complaints() == []


@needs_browser
def test_the_keyboard_sorts_names_with_numbers_in_them_as_people_do(tab, written):
    tab.look(1400)
    tab.open(written)
    tab.value(f"{head('scenario')}.querySelector('.sort').focus()")
    tab.press("Enter", 13, "\r")
    assert column(tab, "scenario")[1:] == ["block 3", "block 20", "block 100"]
    assert tab.value(f"{head('scenario')}.ariaSort") == "ascending"


@needs_browser
@pytest.mark.parametrize("scripts", [True, False])
def test_a_definition_opens_by_mouse_and_by_keyboard_also_without_scripts(tab, written, scripts, tmp_path):
    tab.look(400, scripts=scripts)
    tab.open(written)
    what, popup = f"{head('speedup')}.querySelector('.what')", "document.querySelector(':popover-open')"
    assert tab.value(f"{popup} === null")
    tab.click(what)
    assert "serial_time_ms / parallel_time_ms" in tab.value(f"{popup}.textContent")
    tab.press("Escape", 27)
    assert tab.value(f"{popup} === null")
    tab.value(f"{what}.focus()")
    tab.press("Enter", 13, "\r")
    assert "serial_time_ms / parallel_time_ms" in tab.value(f"{popup}.textContent")
    box = tab.value(f"(() => {{ const r = {popup}.getBoundingClientRect(); return [r.left, r.right]; }})()")
    assert 0 <= box[0] < box[1] <= 400
    tab.picture(tmp_path / "open.png")
    assert (tmp_path / "open.png").stat().st_size > 1000
    assert tab.value("document.querySelectorAll('button.sort').length > 0") == scripts
    assert column(tab, "n_tx") == ["1,000", "9", "80", "5"]
    tab.look(400)


@needs_browser
def test_the_test_of_the_network_sees_a_page_that_asks_and_one_that_complains(tab, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<!DOCTYPE html><title>x</title><img src='other.png'><script>throw new Error('no')</script>")
    tab.look(400)
    tab.open(path)
    assert (tmp_path / "other.png").as_uri() in tab.requests()
    assert any("exceptionDetails" in one for one in tab.complaints())


@needs_browser
def test_the_policy_of_the_page_stops_what_escaping_would_let_through(tab, written, tmp_path):
    path = tmp_path / "broken.html"
    evil = "<script>document.title = 'taken'</script><img src='other.png'>"
    path.write_text(written.read_text().replace("<main>", f"<main>{evil}"))
    tab.look(400)
    tab.picture(tmp_path / "other.png")
    tab.open(path)
    assert tab.value("document.title") == "Parallel against serial execution"
    assert tab.value("document.images[0].naturalWidth") == 0
    assert sum("Content Security Policy" in json.dumps(one) for one in tab.complaints()) >= 2
