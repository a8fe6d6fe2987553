"""What is said about us beside other libraries: a way that finds the conflicts itself is not beaten fairly, but is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .tables import figure, print_paragraph, print_table

__all__ = ["show_peers"]

_EXPLAINED: Final = (
    "Results were compared before any time was taken: colourings valid, sets independent and maximal, generations equal to",
    "the levels, longest paths equal. Libraries get the edges ready-made in the form they read fastest, and so does our",
    "first way, which run x and total x are against (theirs / ours).",
    "*: from the accesses, which includes finding the conflicts.",
    "**: the same, and slower in total than a library that got the edges for nothing.",
)


def show_peers(rows: Sequence[dict[str, Any]]) -> None:
    """One table for each job: every case, every way."""
    headings = ["", "result", "build", "run", "total", "run x", "total x", "min..max", "runs"]
    for job in dict.fromkeys(row["job"] for row in rows):
        body: list[list[str]] = []
        here = [row for row in rows if row["job"] == job]
        for case in dict.fromkeys(row["case"] for row in here):
            chosen = [row for row in here if row["case"] == case and "skipped" not in row]
            marked = {row["way"] for row, _ in _slower_from_accesses(chosen)}
            if chosen:
                body += [[], [f"{case}, {chosen[0]['n_edges']:,} edges"], *(_cells(row, marked) for row in chosen)]
        print_table(f"{job}, {rows[0]['n_tx']:,} transactions, milliseconds", headings, body[1:], [6, 2])
        left = [f"{row['library']}, {row['case']} ({row['skipped']})" for row in here if "skipped" in row]
        print_paragraph(*([f"Left out: {'; '.join(left)}."] if left else []))
        called = {row["library"]: row["way"] for row in here if row["library"] not in ("ours", "all")}
        more = ["ours: all waves, the libraries one set."] if "set" in job.split() else []
        print_paragraph(*(f"{library}: {way}." for library, way in called.items()), *more)
    print_paragraph(*_EXPLAINED)
    for paragraph in _verdict(rows):
        print_paragraph(paragraph)


def _cells(row: dict[str, Any], marked: set[str]) -> list[str]:
    name = f"  {row['library']}"
    if row["library"] == "ours":
        mark = "" if row["edges_given"] else " **" if row["way"] in marked else " *"
        name = f"  ours: {row['way']}{mark}"
    return [
        name, f"{row['result']:,}", figure(row["build_ms"]), figure(row["run_ms"]), figure(row["total_ms"]),
        figure(row["ratio_run"]), figure(row["ratio_total"]), f"{figure(row['total_low'])}..{figure(row['total_high'])}",
        f"{row['runs']}",
    ]  # fmt: skip


def _slower_from_accesses(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of one job and case that start from the accesses and lose to a library, with the fastest library."""
    measured = [row for row in rows if "skipped" not in row]
    libraries = [row for row in measured if row["library"] != "ours"]
    if not libraries:
        return []
    best = min(libraries, key=lambda row: row["total_ms"])
    return [(row, best) for row in measured if not row["edges_given"] and row["total_ms"] > best["total_ms"]]


def _verdict(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Where our first way loses, and where the ways that start from the accesses do: two paragraphs."""
    compared = [row for row in rows if row.get("ratio_total") is not None]
    if not compared:
        return ["No library to compare with is installed."]
    worst = min(compared, key=lambda row: row["ratio_total"])
    least = f"Least total x: {worst['ratio_total']:.2f} ({worst['library']}, {worst['job']}, {worst['case']})."
    slower = [row for row in compared if row["ratio_total"] < 1 or row["ratio_run"] < 1]
    names = [f"{r['library']}, {r['job']}, {r['case']}: {r['ratio_run']:.2f}, {r['ratio_total']:.2f}" for r in slower]
    first = f"Our first way is faster in all {len(compared)}, by run and in total."
    if slower:
        first = f"Our first way is slower in {len(slower)} of {len(compared)} (run x, total x): {'; '.join(names)}."
    places = dict.fromkeys((row["job"], row["case"]) for row in compared)
    here = [[row for row in rows if (row["job"], row["case"]) == place] for place in places]
    lost = [pair for chosen in here for pair in _slower_from_accesses(chosen)]
    tried = sum(not row["edges_given"] for chosen in here for row in chosen)
    second = f"From the accesses, which includes finding the conflicts, faster in all {tried} too."
    if lost:
        times = [
            f"{row['job']}, {row['case']}, {row['way']} ({figure(row['total_ms'])} ms, {best['library']} "
            f"{figure(best['total_ms'])})"
            for row, best in lost
        ]
        where = f"slower in {len(lost)} of {tried}: {'; '.join(times)}"
        second = f"From the accesses, which includes finding the conflicts, {where}."
    return [f"{first} {least}", second]
