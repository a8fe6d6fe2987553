"""Places for the nodes of a graph by Fruchterman and Reingold's forces: all pairs at once, so for hundreds of nodes only."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["force_layout"]

_STEPS: Final = 300
#: Pull towards the middle, which keeps parts that nothing ties together in the picture.
_GRAVITY: Final = 0.6


def force_layout(n: int, ends: NDArray[np.int64], seed: int = 0) -> NDArray[np.float64]:
    """Places of n nodes such that edges are short and nodes apart; the same for the same seed.

    Parameters
    ----------
    n : int
        Nodes.
    ends : (n_edges, 2) int64
        Each edge once.
    seed : int
        Of the first places, which are random.

    Returns
    -------
    (n, 2) float64
        In [-1, 1], centred.

    Notes
    -----
    Nodes push each other apart by 1 / distance, edges pull by distance squared, and all are drawn to the middle; a step is
    limited by a temperature that falls to 0 [1]_. An edge pulls less the more edges its nodes have: cliques would collapse.
    O(n²) time and memory a step.

    References
    ----------
    .. [1] T. M. J. Fruchterman, E. M. Reingold: Graph drawing by force-directed placement, Software: Practice and
       Experience 21, 1991.

    Examples
    --------
    >>> at = force_layout(3, np.array([[0, 1]]))
    >>> bool(np.hypot(*(at[0] - at[1])) < np.hypot(*(at[0] - at[2])))
    True
    """
    at = np.random.default_rng(seed).uniform(-1.0, 1.0, (n, 2))
    tied = np.zeros((n, n))
    degree = np.maximum(np.bincount(ends.ravel(), minlength=n), 1)
    pull = 1.0 / np.sqrt(degree[ends[:, 0]] * degree[ends[:, 1]])
    tied[ends[:, 0], ends[:, 1]] = tied[ends[:, 1], ends[:, 0]] = pull
    apart = np.sqrt(4.0 / max(n, 1))  # the distance that a lone edge comes to have
    for heat in np.linspace(0.2, 0.0, _STEPS, endpoint=False):
        way = at[:, None] - at[None]
        distance = np.maximum(np.hypot(way[..., 0], way[..., 1]), 1e-3)
        strength = apart**2 / distance**2 - tied * distance / apart
        force = (way * strength[..., None]).sum(axis=1) - _GRAVITY * at
        length = np.maximum(np.hypot(force[:, 0], force[:, 1]), 1e-9)
        at += force * (np.minimum(length, heat) / length)[:, None]
    at -= (at.max(axis=0, initial=-1.0) + at.min(axis=0, initial=1.0)) / 2 if n else 0.0
    return at / max(1e-9, float(np.abs(at).max(initial=0.0)))
