"""Definitions of what `python -m pevm_numba.bench dispute` writes."""

from __future__ import annotations

from typing import Final

__all__ = ["DISPUTE_TABLES"]

#: As `fields.TABLES`.
DISPUTE_TABLES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    "commitment": (
        "dispute",
        {
            "source": ("", "preset, or the path of a block and its number"),
            "n_tx": ("transactions", "transactions in the block"),
            "n_ops": ("ops", "micro-ops in it"),
            "n_keys": ("keys", "distinct state keys"),
            "written": ("keys", "changed by transactions, a key once for each"),
            "rounds": ("", "measured"),
            "agreement_ms": ("ms", "roots of all programs, access lists, transactions and of the state before, median"),
            "state_ms": ("ms", "of these, the tree of the state before"),
            "claims_ms": ("ms", "state root after each transaction, and the chain of claims, median"),
            "agreement_us_per_tx": ("us", "agreement_ms / n_tx"),
            "claims_us_per_tx": ("us", "claims_ms / n_tx"),
            "claims_us_per_key": ("us", "claims_ms / written; null if nothing is written"),
            "verified": ("", "the last root is that of a tree made anew, in plain Python, of the state after the block"),
        },
    ),
    "game": (
        "dispute",
        {
            "source": ("", "preset, or the path of a block and its number"),
            "n_tx": ("transactions", "transactions in the block"),
            "kind": ("", "what one party does wrong"),
            "games": ("", "played, the honest party on either side in turn"),
            "won": ("", "of these, by the honest party"),
            "rounds_high": ("rounds", "most that a game took"),
            "rounds_spare": ("rounds", "least by which a game stayed below ceil(log2 n_tx) + ceil(log2 n_ops) + 2"),
            "seconds": ("s", "from the last claims to the verdict, both parties' answers included, median"),
            "seconds_high": ("s", "most"),
            "proof_bytes": ("bytes", "longest proof of a step; null if no game came to one"),
            "verified": ("", "the honest party won every game, within the bound; each was judged anew from its transcript"),
        },
    ),
}
