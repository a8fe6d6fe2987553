"""What many blocks touch, as one set of arrays; keys are numbered block by block, so that blocks share none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import block as _block_k
from .._kernels import survey as _k
from .._kernels.jit import inputs
from ..access.oracles import exact_sets
from ..access.sets import AccessSets
from ..evm.block import AnyBlock, EvmBlock
from ..execute.run import execute
from ..io.parquet_access import Accesses
from ..keys import Keys
from ..machine.ops import Field
from .definitions import chain_gas

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """Access sets of several blocks.

    Parameters
    ----------
    numbers : (n_blocks,) list of int
    tx_start, key_start : (n_blocks + 1,) int64
        Offsets of blocks into transactions and keys.
    indptr : (n_tx + 1,) int64
        Offsets of transactions into accesses.
    keys, modes : (n_accesses,) int32, uint8
        Keys ascend within a transaction, and lie within the range of their block; modes are `Mode` bits.
    fields : (n_keys,) uint8
        `Field` of each key.
    accounts : (n_keys,) int32
        Number of its account within the block.
    fee : (n_keys,) bool
        Whether it is the balance of the block's fee recipient.
    gas : (n_tx,) float64
        Gas used by the chain (of EVM blocks, by their execution here); 0 in blocks where it is not known.
    has_gas : (n_blocks,) bool
        Whether it is known of every transaction of a block; a block without any used none.
    has_fee : (n_blocks,) bool
        Whether the fee recipient is known.
    """

    numbers: list[int]
    tx_start: NDArray[np.int64]
    key_start: NDArray[np.int64]
    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    modes: NDArray[np.uint8]
    fields: NDArray[np.uint8]
    accounts: NDArray[np.int32]
    fee: NDArray[np.bool_]
    gas: NDArray[np.float64]
    has_gas: NDArray[np.bool_]
    has_fee: NDArray[np.bool_]

    @property
    def n_tx(self) -> NDArray[np.int64]:
        """(n_blocks,) transactions."""
        return np.diff(self.tx_start)

    @property
    def n_accesses(self) -> NDArray[np.int64]:
        """(n_blocks,) distinct keys summed over transactions."""
        return np.diff(self.indptr[self.tx_start])

    @property
    def n_keys(self) -> NDArray[np.int64]:
        """(n_blocks,) distinct keys that transactions access."""
        touched = np.zeros(len(self.fields) + 1, np.int64)
        touched[1 + self.keys] = 1
        return np.diff(np.cumsum(touched)[self.key_start])

    def access(self, i: int) -> AccessSets:
        """The sets of block i alone, with keys from 0."""
        first, last = self.tx_start[i], self.tx_start[i + 1]
        part = slice(self.indptr[first], self.indptr[last])
        keys = (self.keys[part] - self.key_start[i]).astype(np.int32)
        n_keys = int(self.key_start[i + 1] - self.key_start[i])
        return AccessSets.from_arrays(n_keys, self.indptr[first : last + 1] - part.start, keys, self.modes[part])

    @classmethod
    def of_accesses(cls, given: Accesses) -> Batch:
        """From the columns of a block file."""
        starts, n = given.op_indptr[given.tx_start], int(np.count_nonzero(given.has_key))
        words = given.op_address.view(np.uint32), given.op_slot.view(np.uint64)
        address, slot = (np.require(part, requirements=["C", "A"]) for part in words)
        payee, has_fee = _payees(given.fee_recipients)
        op_key, key_start = np.empty(len(given.op_code), np.int32), np.empty(len(starts), np.int64)
        first, accounts, fee = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.bool_)
        n_keys = _k.number_keys(
            *inputs(starts, given.has_key, address, given.op_field, slot, payee.view(np.uint32), has_fee), door.HASH_SEED,
            op_key, key_start, first, accounts, fee,
        )  # fmt: skip
        indptr = np.empty(len(given.op_indptr), np.int64)
        keys, modes = np.empty(n, np.int32), np.empty(n, np.uint8)
        total = _block_k.static_sets(*inputs(given.op_indptr, given.op_code, op_key), n_keys, indptr, keys, modes)
        known = np.concatenate([[0], np.cumsum(given.gas >= 0)])[given.tx_start]
        has_gas = np.diff(known) == np.diff(given.tx_start)
        gas = np.where(np.repeat(has_gas, np.diff(given.tx_start)), given.gas, 0).astype(np.float64)
        return cls(
            given.numbers, given.tx_start, key_start, indptr, keys[:total], modes[:total],
            given.op_field[first[:n_keys]], accounts[:n_keys], fee[:n_keys], gas, has_gas, has_fee,
        )  # fmt: skip

    @classmethod
    def of_blocks(cls, blocks: Sequence[AnyBlock]) -> Batch:
        """From whole blocks; those of the EVM are executed serially to learn what they touch."""
        parts = [_one(block) for block in blocks]
        sizes = np.array([[access.n_tx, access.n_accesses, names.n_keys] for access, names, _, _ in parts]).reshape(-1, 3)
        tx_start, starts, key_start = np.vstack([np.zeros((1, 3), np.int64), np.cumsum(sizes, axis=0)]).T.copy()
        nothing = [np.zeros(0, np.int64)]
        indptr = np.concatenate([*nothing, *(one[0].indptr[:-1] + at for one, at in zip(parts, starts)), starts[-1:]])
        keys = np.concatenate([*nothing, *(one[0].keys + at for one, at in zip(parts, key_start))]).astype(np.int32)
        modes = np.concatenate([np.zeros(0, np.uint8), *(one[0].modes for one in parts)])
        address = np.concatenate([np.zeros((0, 20), np.uint8), *(one[1].key_address for one in parts)])
        fields = np.concatenate([np.zeros(0, np.uint8), *(one[1].key_field for one in parts)])
        gas = np.concatenate([np.zeros(0), *(np.zeros(one[0].n_tx) if one[2] is None else one[2] for one in parts)])
        return cls._named(
            [block.number for block in blocks], tx_start, key_start, indptr, keys, modes, address, fields, gas,
            np.array([one[2] is not None or not one[0].n_tx for one in parts], bool), [one[3] for one in parts],
        )  # fmt: skip

    @classmethod
    def _named(
        cls, numbers: list[int], tx_start: NDArray[np.int64], key_start: NDArray[np.int64], indptr: NDArray[np.int64],
        keys: NDArray[np.int32], modes: NDArray[np.uint8], address: NDArray[np.uint8], fields: NDArray[np.uint8],
        gas: NDArray[np.float64], has_gas: NDArray[np.bool_], recipients: Sequence[bytes | None],
    ) -> Batch:  # fmt: skip
        """With the numbers of accounts, and the fee recipients' balances."""
        nothing = np.zeros(len(fields), np.uint8), np.zeros((len(fields), 32), np.uint8)
        ids, first = door.intern_rows(address, *nothing)
        named, account_start, _ = _split(key_start, ids, len(first))
        n_keys = np.diff(key_start)
        accounts = (named - np.repeat(account_start[:-1], n_keys)).astype(np.int32)
        payee, has_fee = _payees(recipients)
        whose = np.repeat(np.arange(len(numbers)), n_keys)
        fee = (fields == Field.BALANCE) & (address == payee[whose]).all(axis=1) & has_fee[whose]
        return cls(numbers, tx_start, key_start, indptr, keys, modes, fields, accounts, fee, gas, has_gas, has_fee)


def _payees(recipients: Sequence[bytes | None]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Fee recipients (n_blocks, 20), zero where not known, and which are known."""
    payee = np.frombuffer(b"".join(bytes(20) if one is None else one for one in recipients), np.uint8).reshape(-1, 20)
    return payee, np.array([one is not None for one in recipients], bool)


def _split(
    starts: NDArray[np.int64], keys: NDArray[np.int32], n_given: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Keys numbered anew in each block, where the numbers of each begin, and what each new number was."""
    new, origin = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    key_start = np.empty(len(starts), np.int64)
    seen = np.full(n_given, -1, np.int32)
    total = _k.split_keys(*inputs(starts, keys), seen, new, origin, key_start)
    return new, key_start, origin[:total]


def _one(block: AnyBlock) -> tuple[AccessSets, Keys, NDArray[np.float64] | None, bytes | None]:
    """Access sets, what their keys are, gas, fee recipient."""
    if isinstance(block, EvmBlock):
        done = execute(block, "serial")
        access = done.observed
        names = access.names(block)
        assert names is not None  # what an execution observed has a table
        return access, names, done.gas_used.astype(np.float64), block.env.fee_recipient
    gas = chain_gas(block)
    known = None if gas is None else gas.astype(np.float64)
    return exact_sets(block), block, known, block.header.fee_recipient
