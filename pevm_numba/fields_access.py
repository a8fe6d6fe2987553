"""Definitions of what `python -m pevm_numba.bench access` writes."""

from __future__ import annotations

from typing import Final

__all__ = ["ACCESS_TABLES"]

_BLOCK: Final = {"block_number": ("", "number of the block"), "n_tx": ("transactions", "transactions in the block")}

#: As `fields.TABLES`.
ACCESS_TABLES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    "block list": (
        "access",
        _BLOCK
        | {
            "fork": ("", "rules"),
            "gas": ("gas", "gas used, refunds taken off"),
            "accesses": ("accesses", "(transaction, key) pairs observed"),
            "accounts": ("accounts", "in the list (EIP-7928)"),
            "slots": ("slots", "listed as changed"),
            "reads": ("slots", "listed as read"),
            "changes": ("", "values of storage, balances, nonces and code"),
            "items": ("", "accounts and slots"),
            "items_bound": ("", "most that the block's gas limit would allow"),
            "bytes": ("bytes", "of the encoding"),
            "code_bytes": ("bytes", "code in the list"),
            "hash": ("", "of the encoding"),
            "build_ns": ("ns", "from what was observed to the list, median"),
            "validate_ns": ("ns", "checking a list's order, and comparing it with one made of what was observed, median"),
            "encode_ns": ("ns", "from the list to RLP, median"),
            "decode_ns": ("ns", "from RLP to the list, by all rules, median"),
            "unlike_trace": ("", "entries in which the list of another machine's trace differs; null without a trace"),
            "verified": ("", "the list comes back from its encoding as it was"),
        },
    ),
    "transaction list": (
        "access",
        {
            "block_number": ("", "number of the block"),
            "tx": ("", "position in the block"),
            "runs_code": ("", "whether it creates a contract or calls one"),
            "gas": ("gas", "gas used as it is"),
            "gas_without": ("gas", "gas used without an access list (EIP-2930)"),
            "gas_best": ("gas", "gas used with the best list tried, its own one too; gas_without where none is cheaper"),
            "expected": ("gas", "what the prices say that the list saves"),
            "addresses": ("", "in the best list"),
            "slots": ("", "in the best list"),
            "saved_eip7981": ("gas", "what the best list would save by the prices of EIP-7981"),
            "carries": ("", "whether it carries a list; the fields below only if it does"),
            "missing": ("", "entries that would save gas and are not in it, an address settled with its slots"),
            "surplus": ("", "entries in it that cost more than they save, an address settled with its slots"),
            "lost": ("gas", "gas - gas_best"),
            "worse_than_none": ("", "whether it costs more than no list"),
            "verified": ("", "gas_best is of a run with that list; gas_without, of those that carry none, is gas"),
        },
    ),
    "dependencies": (
        "access",
        _BLOCK
        | {
            "sets": ("", "observed, or whom a block's list is read to charge with reads: nobody, writer, account, everybody"),
            "fields": ("", "all keys, or those of storage"),
            "edges": ("", "all conflicts, or only from where a value is made to where it is read: raw"),
            "path": ("gas", "longest chain of dependent transactions"),
            "gas": ("gas", "of the block"),
            "verified": ("", "the list changes the slots that were observed to change; true paths are within bounds"),
        },
    ),
    "prediction": (
        "predict",
        {
            "patterns": ("", "built in; learned from the blocks before; or the union of both"),
            "kind": ("", "of calls: tokens (transfer, transferFrom, approve, mint), swaps, others, all"),
            "seen": ("", "only calls of a contract and selector that were seen before"),
            "threshold": ("", "chance from which on a key counts as predicted, in [0, 1]"),
            "calls": ("calls", "that touch storage or are predicted to"),
            "keys": ("slots", "predicted"),
            "touched": ("slots", "touched"),
            "hits": ("slots", "both"),
            "precision": ("", "hits / keys, in [0, 1]"),
            "recall": ("", "hits / touched, in [0, 1]"),
            "whole": ("calls", "of which all that they touched was predicted"),
            "verified": ("", "what is touched was observed in an execution"),
        },
    ),
    "prediction in a block": (
        "predict",
        _BLOCK
        | {
            "precision": ("", "of predicted access sets, all keys, in [0, 1]"),
            "recall": ("", "of predicted access sets, all keys, in [0, 1]"),
            "waves": ("", "by exact access sets, in block order"),
            "waves_predicted": ("", "by predicted ones"),
            "aborts_predicted": ("transactions", "run again by optimistic execution that is given predicted sets"),
            "aborts_none": ("transactions", "run again without sets"),
            "speedup_exact": ("", "serial time / that of dataflow with exact sets on 2 workers; of blocks of 1 ms or more"),
            "speedup_predicted": ("", "the same, of optimistic execution with predicted sets"),
            "speedup_none": ("", "the same, of optimistic execution without"),
            "verified": ("", "each run gave the state of serial execution"),
        },
    ),
    "missed keys": (
        "predict",
        {
            "cause": ("", "why keys of calls seen before were not predicted by what was learned"),
            "keys": ("slots", "missed for that"),
            "share": ("", "of all missed, in [0, 1]"),
            "verified": ("", "what is touched was observed in an execution"),
        },
    ),
    "prediction of a mix": (
        "predict",
        {
            "mix": ("", "of generated transactions: erc20, erc721, amm, mixed"),
            "patterns": ("", "learned from the blocks before; or the union of those and the ones built in"),
            "learned_blocks": ("blocks", "before this one, of the same contracts"),
            "n_tx": ("transactions", "in each block"),
            "keys": ("slots", "predicted, with a chance of 0.5 or more"),
            "touched": ("slots", "touched"),
            "hits": ("slots", "both"),
            "precision": ("", "hits / keys, in [0, 1]"),
            "recall": ("", "hits / touched, in [0, 1]"),
            "whole": ("calls", "of which all that they touched was predicted"),
            "verified": ("", "what is touched was observed in an execution"),
        },
    ),
    "prediction speed": (
        "predict",
        {
            "n_tx": ("transactions", "transfers of a token"),
            "keys": ("slots", "predicted"),
            "ns": ("ns", "for all of them, median"),
            "tx_per_s": ("1/s", "transactions a second, on one core"),
            "verified": ("", "keys are balances of sender and recipient, by a hash made apart"),
        },
    ),
}
