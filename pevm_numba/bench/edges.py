"""Edges as each library reads them fastest; making that form is never part of a time, building its graph from it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EdgeList"]


def _networkx(n: int, listed: list[tuple[int, int]], directed: bool) -> Any:
    import networkx

    graph = networkx.DiGraph() if directed else networkx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(listed)
    return graph


def _rustworkx(n: int, listed: list[tuple[int, int]], directed: bool) -> Any:
    import rustworkx

    graph = rustworkx.PyDiGraph() if directed else rustworkx.PyGraph()
    graph.add_nodes_from(range(n))
    graph.extend_from_edge_list(listed)
    return graph


def _igraph(n: int, edges: Any) -> Any:
    import igraph

    return igraph.Graph(n=n, edges=memoryview(edges))


def _networkit(n: int, ends: tuple[NDArray[np.uint64], ...]) -> Any:
    import networkit

    return networkit.GraphFromCoo(ends, n=n)


def _listed(edges: NDArray[np.int32]) -> list[tuple[int, int]]:
    return list(zip(edges[:, 0].tolist(), edges[:, 1].tolist()))


class EdgeList:
    """The edges in each library's form, made when first asked for: never part of a time."""

    def __init__(self, n: int, edges: NDArray[np.int32]) -> None:
        self.n, self.edges = n, edges
        self._list: list[tuple[int, int]] | None = None

    def listed(self) -> list[tuple[int, int]]:
        """A list of pairs of ints."""
        if self._list is None:
            self._list = _listed(self.edges)
        return self._list

    def builder(self, library: str, directed: bool = False) -> Callable[[], Any]:
        """A function that makes the library's graph of these edges."""
        if library in ("networkx", "rustworkx"):
            make = _networkx if library == "networkx" else _rustworkx
            return partial(make, self.n, self.listed(), directed)
        if library == "igraph":
            return partial(_igraph, self.n, np.ascontiguousarray(self.edges, np.int64))
        ends = tuple(np.ascontiguousarray(self.edges[:, side]).astype(np.uint64) for side in (0, 1))
        return partial(_networkit, self.n, ends)
