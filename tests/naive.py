"""Slow twins of the schedulers in plain dicts and sets: obvious enough to be believed, and no kernel is imported."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

READ, WRITE, CREDIT = 1, 2, 4

Sets = Sequence[dict[int, int]]


def conflict(a: int, b: int) -> bool:
    """Whether two accesses of one key conflict, given their mode bits."""
    return not (a == b == READ or a == b == CREDIT)


def kinds(earlier: int, later: int) -> set[str]:
    """WW, RW, WR of two accesses of one key in block order; a CREDIT is a write, except to another mere CREDIT."""
    if not conflict(earlier, later):
        return set()
    writes = WRITE | CREDIT
    found = set()
    if earlier & writes and later & writes:
        found.add("ww")
    if earlier & READ and later & writes:
        found.add("rw")
    if earlier & writes and later & READ:
        found.add("wr")
    return found


def pair_kinds(sets: Sets) -> dict[tuple[int, int], set[str]]:
    """Every conflicting pair i < j, with its kinds on all keys together: all pairs are tried."""
    out = {}
    for i, j in combinations(range(len(sets)), 2):
        shared = sets[i].keys() & sets[j].keys()
        if any(conflict(sets[i][k], sets[j][k]) for k in shared):
            out[i, j] = set().union(*(kinds(sets[i][k], sets[j][k]) for k in shared))
    return out


def neighbours(sets: Sets) -> list[set[int]]:
    """The conflict graph as adjacency sets."""
    out: list[set[int]] = [set() for _ in sets]
    for i, j in pair_kinds(sets):
        out[i].add(j)
        out[j].add(i)
    return out


def levels(sets: Sets) -> list[list[int]]:
    """Block order, fewest waves: each transaction just after the last earlier one that it conflicts with."""
    graph = neighbours(sets)
    level: list[int] = []
    for t in range(len(sets)):
        level.append(1 + max((level[u] for u in graph[t] if u < t), default=-1))
    return [[t for t in range(len(sets)) if level[t] == w] for w in range(max(level, default=-1) + 1)]


def eligible(left: set[int], sender: Sequence[object], nonce: Sequence[int]) -> set[int]:
    """Of each sender's remaining transactions the lowest (nonce, index)."""
    return {min((nonce[t], t) for t in left if sender[t] == who)[1] for who in {sender[t] for t in left}}


def mis(sets: Sets, sender: Sequence[object] | None = None, nonce: Sequence[int] | None = None) -> list[list[int]]:
    """Waves by minimum dynamic degree, by the definition: degrees are counted anew before every single pick."""
    graph = neighbours(sets)
    sender = range(len(sets)) if sender is None else sender
    nonce = [0] * len(sets) if nonce is None else nonce
    left = set(range(len(sets)))
    waves = []
    while left:
        candidates = eligible(left, sender, nonce)
        unscheduled = set(left)
        wave = []
        while candidates:
            t = min(candidates, key=lambda u: (len(graph[u] & unscheduled), u))
            wave.append(t)
            unscheduled.discard(t)
            candidates -= graph[t] | {t}
        left = unscheduled
        waves.append(sorted(wave))
    return waves


def first_violation(waves: list[list[int]], order: list[int], sets: Sets) -> tuple[int, int, int] | None:
    """(later, key, earlier) of the first violated pair as `check_schedule` defines it, by trying all of them."""
    wave = {t: w for w, part in enumerate(waves) for t in part}
    for position, later in enumerate(order):
        for key in sorted(sets[later]):
            bad = [
                (-wave[u], p, u)
                for p, u in enumerate(order[:position])
                if key in sets[u] and conflict(sets[u][key], sets[later][key]) and wave[u] >= wave[later]
            ]
            if bad:
                return later, key, min(bad)[2]
    return None


def raw_sources(sets: Sets) -> list[set[int]]:
    """For each transaction the earlier ones whose writes make a value that it reads: last writer and credits since."""
    out = []
    for t, entry in enumerate(sets):
        sources = set()
        for key, mode in entry.items():
            if not mode & READ:
                continue
            for u in range(t - 1, -1, -1):
                if sets[u].get(key, 0) & (WRITE | CREDIT):
                    sources.add(u)
                if sets[u].get(key, 0) & WRITE:
                    break
        out.append(sources)
    return out


def longest(predecessors: Sequence[set[int]], cost: Sequence[float]) -> list[float]:
    """Finish time of each transaction on unlimited workers."""
    finish: list[float] = []
    for before, own in zip(predecessors, cost):
        finish.append(own + max((finish[p] for p in before), default=0))
    return finish


def run_predecessors(sets: Sets) -> list[list[int]]:
    """Whom each transaction waits for, with repeats: a key's accesses are runs of readers, of crediters, or one writer.

    All of a run come after all of the run before. Where that has several members, only the first of the run waits for all
    of them, and the others wait for that first.
    """
    runs: dict[int, list[list[int]]] = {}
    kind: dict[int, int] = {}
    out = []
    for t, entry in enumerate(sets):
        before: list[int] = []
        for key, mode in entry.items():
            mine = runs.setdefault(key, [])
            together = bool(mine) and not conflict(kind[key], mode)
            if not together:
                mine.append([])
            mine[-1].append(t)
            kind[key] = mode
            if len(mine) < 2:
                continue
            if together:
                before.append(mine[-2][0] if len(mine[-2]) == 1 else mine[-1][0])
            else:
                before += mine[-2]
        out.append(sorted(before))
    return out
