"""Synthetic blocks of real transactions: tokens, collections and exchanges, whose storage is laid out as the real ones' is.

The same arguments give the same block on any machine: see `market`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from .. import door
from ..errors import BlockError
from .block import EvmBlock
from .contracts import ROUTER, call_data, erc20, erc721, pair, router
from .forks import Fork, fork_named
from .header import BlockEnv
from .market import Collection, Contracts, Draws, Pool, Token, mapping_slot, named, zipf_sums
from .transaction import Transaction
from .world import AccountState

__all__ = ["MIXES", "RECIPIENTS", "generate_evm"]

#: What transactions of a mix do, and how often, in hundredths.
MIXES: Final = {
    "transfers": {"pay": 100},
    "erc20": {"transfer": 60, "transfer_from": 15, "approve": 15, "mint": 10},
    "erc721": {"give": 50, "mint_one": 30, "approve_one": 10, "approve_all": 10},
    "amm": {"swap": 100},
    "mixed": {
        "pay": 28, "transfer": 22, "transfer_from": 5, "approve": 5, "mint": 3, "give": 5, "mint_one": 3, "approve_one": 2,
        "approve_all": 2, "swap": 25,
    },
}  # fmt: skip

#: Who is paid: another user, somebody who has nothing yet, or one account by all, as an exchange is.
RECIPIENTS: Final = ("users", "fresh", "one")

#: Gas of a payment, and more than any other call takes on any fork.
_PAY_GAS, _TOKEN_GAS, _SWAP_GAS = 21_000, 150_000, 400_000
_BASE_FEE, _GAS_PRICE = 10**9, 2 * 10**9
_START, _BLOCK_TIME = 1_800_000_000, 12

#: What users have of ether and of each token, and the most of these that is moved at a time: in no block do they run out.
_ETHER, _HELD, _PAID, _MOVED = 10**24, 10**27, 10**15, 10**20

_MOST_TX, _MOST_CONTRACTS = 2**16, 256


@dataclass(frozen=True)
class _Recipe:
    """Checked parameters of one block."""

    mix: str
    n_tx: int
    seed: int
    world: int
    n_users: int
    n_tokens: int
    n_pools: int
    n_collections: int
    popularity: float
    recipients: str
    number: int
    fork: Fork

    @property
    def timestamp(self) -> int:
        return _START + _BLOCK_TIME * self.number


class _Call(NamedTuple):
    """What a transaction says."""

    to: bytes
    data: bytes
    gas: int
    value: int = 0


class _Maker:
    """Makes calls, and puts into the state what they need to succeed, in whatever order they run."""

    def __init__(self, recipe: _Recipe) -> None:
        self.recipe = recipe
        self.contracts = Contracts(recipe.world, recipe.n_tokens, recipe.n_pools, recipe.n_collections)
        self.users: dict[int, bytes] = {}
        self.storage: dict[bytes, dict[int, int]] = {ROUTER: {}}
        self.code = {ROUTER: router()}
        sizes = (recipe.n_tokens, recipe.n_pools, recipe.n_collections)
        self._tokens, self._pools, self._collections = (zipf_sums(n, recipe.popularity) for n in sizes)
        for token in self.contracts.tokens:
            self._deploy(token.address, erc20(*token[1:]))
        for collection in self.contracts.collections:
            self._deploy(collection.address, erc721(*collection[1:]))
        for pool in self.contracts.pools:
            self._open(pool)

    def _deploy(self, address: bytes, code: bytes) -> None:
        self.code[address], self.storage[address] = code, {}

    def _open(self, pool: Pool) -> None:
        """A pair with its reserves, last traded in the block before."""
        self._deploy(pool.address, pair())
        one, other = (int.from_bytes(token.address, "big") for token in pool.tokens)
        packed = pool.reserves[0] | pool.reserves[1] << 112 | (self.recipe.timestamp - _BLOCK_TIME) % 2**32 << 224
        self.storage[pool.address] |= {6: one, 7: other, 8: packed, 12: 1}
        for token, reserve in zip(pool.tokens, pool.reserves):
            self._endow(token, pool.address, reserve)

    def _endow(self, token: Token, owner: bytes, amount: int) -> None:
        """Give some of a token to who has none."""
        storage, slot = self.storage[token.address], mapping_slot(token.balances, owner)
        if slot not in storage:
            storage[slot] = amount
            storage[token.supply] = storage.get(token.supply, 0) + amount

    def _allow(self, token: Token, owner: bytes, spender: bytes) -> None:
        self.storage[token.address][mapping_slot(token.allowances, owner, spender)] = _HELD

    # ---------------------------------------------------------------- who and what

    def user(self, number: int) -> bytes:
        """Address of a user."""
        if number not in self.users:
            self.users[number] = named("user", self.recipe.world, number)
        return self.users[number]

    def other(self, draws: Draws, number: int) -> bytes:
        """Another user, or the same one if there is no other."""
        n = self.recipe.n_users
        return self.user((number + 1 + draws.below(n - 1)) % n if n > 1 else number)

    def recipient(self, draws: Draws, number: int) -> bytes:
        """Who is paid by a user."""
        if self.recipe.recipients == "users":
            return self.other(draws, number)
        if self.recipe.recipients == "one":
            return named("exchange", self.recipe.world)
        return draws.bits().to_bytes(32, "big")[12:]

    def token(self, draws: Draws) -> tuple[Token, int]:
        """A token, and how much of it is moved."""
        return self.contracts.tokens[draws.rank(self._tokens)], 1 + draws.below(_MOVED)

    def holding(self, draws: Draws, owner: bytes) -> tuple[Token, int]:
        """As `token`, one that an owner has."""
        token, amount = self.token(draws)
        self._endow(token, owner, _HELD)
        return token, amount

    def piece(self, draws: Draws, place: int) -> tuple[Collection, int]:
        """A collection, and a number in it that no other transaction of the block has."""
        begin = Draws("pieces", self.recipe.seed).below(2**32)
        return self.contracts.collections[draws.rank(self._collections)], (begin << 16) + place + 1

    def owned(self, draws: Draws, place: int, owner: bytes) -> tuple[Collection, int]:
        """A collection, and a number in it that an owner has."""
        collection, number = self.piece(draws, place)
        storage, slot = self.storage[collection.address], mapping_slot(collection.balances, owner)
        storage[mapping_slot(collection.owners, number)] = int.from_bytes(owner, "big")
        storage[slot] = storage.get(slot, 0) + 1
        return collection, number

    # ---------------------------------------------------------------- calls

    def pay(self, draws: Draws, place: int, who: int) -> _Call:
        """Ether to a recipient."""
        return _Call(self.recipient(draws, who), b"", _PAY_GAS, 1 + draws.below(_PAID))

    def transfer(self, draws: Draws, place: int, who: int) -> _Call:
        """Some of a token to a recipient."""
        token, amount = self.holding(draws, self.user(who))
        return _Call(token.address, call_data("transfer", self.recipient(draws, who), amount), _TOKEN_GAS)

    def transfer_from(self, draws: Draws, place: int, who: int) -> _Call:
        """Some of another user's token to a recipient."""
        owner = self.other(draws, who)
        token, amount = self.holding(draws, owner)
        self._allow(token, owner, self.user(who))
        return _Call(token.address, call_data("transferFrom", owner, self.recipient(draws, who), amount), _TOKEN_GAS)

    def approve(self, draws: Draws, place: int, who: int) -> _Call:
        """Leave to spend some of a token, for the router or another user: more than is spent in the block."""
        token, amount = self.token(draws)
        spender = ROUTER if draws.below(2) else self.other(draws, who)
        return _Call(token.address, call_data("approve", spender, _HELD + amount), _TOKEN_GAS)

    def mint(self, draws: Draws, place: int, who: int) -> _Call:
        """New tokens for a recipient."""
        token, amount = self.token(draws)
        return _Call(token.address, call_data("mint", self.recipient(draws, who), amount), _TOKEN_GAS)

    def give(self, draws: Draws, place: int, who: int) -> _Call:
        """A piece of a collection to a recipient."""
        collection, number = self.owned(draws, place, self.user(who))
        words = self.user(who), self.recipient(draws, who), number
        return _Call(collection.address, call_data("transferFrom", *words), _TOKEN_GAS)

    def mint_one(self, draws: Draws, place: int, who: int) -> _Call:
        """A new piece for the sender."""
        collection, number = self.piece(draws, place)
        return _Call(collection.address, call_data("mint", self.user(who), number), _TOKEN_GAS)

    def approve_one(self, draws: Draws, place: int, who: int) -> _Call:
        """Leave to take a piece, for another user."""
        collection, number = self.owned(draws, place, self.user(who))
        return _Call(collection.address, call_data("approve", self.other(draws, who), number), _TOKEN_GAS)

    def approve_all(self, draws: Draws, place: int, who: int) -> _Call:
        """Leave to take any piece, for another user."""
        collection, _ = self.piece(draws, place)
        return _Call(collection.address, call_data("setApprovalForAll", self.other(draws, who), 1), _TOKEN_GAS)

    def swap(self, draws: Draws, place: int, who: int) -> _Call:
        """One token of a pair for the other, at any price, mostly for the sender, one in sixteen for a recipient."""
        pool = self.contracts.pools[draws.rank(self._pools)]
        into, out = pool.tokens if draws.below(2) else pool.tokens[::-1]
        sender = self.user(who)
        self._endow(into, sender, _HELD)
        self._allow(into, sender, ROUTER)
        to = sender if draws.below(16) else self.recipient(draws, who)
        path = 2, into.address, out.address
        words = 10**15 + draws.below(_MOVED), 1, 0xA0, to, self.recipe.timestamp + 1200, *path
        return _Call(ROUTER, call_data("swapExactTokensForTokens", *words), _SWAP_GAS)

    # ---------------------------------------------------------------- blocks

    def transactions(self) -> list[Transaction]:
        """All of them, in block order; a sender's nonces count up from 0."""
        shares = MIXES[self.recipe.mix]
        makers: list[Callable[[Draws, int, int], _Call]] = [getattr(self, name) for name in shares]
        sums, nonces, made = list(accumulate(shares.values())), dict[int, int](), []
        for place in range(self.recipe.n_tx):
            draws = Draws("transaction", self.recipe.seed, place)
            who = draws.below(self.recipe.n_users)
            call = makers[draws.rank(sums)](draws, place, who)
            nonces[who] = nonces.get(who, -1) + 1
            made.append(Transaction(
                nonce=nonces[who], gas_price=_GAS_PRICE, gas_limit=call.gas, to=call.to, value=call.value, data=call.data,
                sender=self.user(who),
            ))  # fmt: skip
        return made

    def state(self) -> dict[bytes, AccountState]:
        """Users, and contracts with what they keep."""
        state = {user: AccountState(_ETHER, 0, b"", {}) for user in self.users.values()}
        return state | {one: AccountState(0, 1, code, self.storage[one]) for one, code in self.code.items()}


def generate_evm(
    mix: str = "mixed",
    *,
    n_tx: int = 200,
    seed: int = 42,
    world: int = 0,
    n_users: int | None = None,
    n_tokens: int = 8,
    n_pools: int = 4,
    n_collections: int = 4,
    popularity: float = 1.0,
    recipients: str = "users",
    number: int = 1,
    fork: str | Fork = "cancun",
) -> EvmBlock:
    """Make a block of real transactions, all of which succeed, the same for the same arguments everywhere.

    Parameters
    ----------
    mix : str
        One of `MIXES`. "transfers": ether. "erc20": transfers of tokens, by the owner or another, approvals, mints. "erc721":
        the same of collections. "amm": swaps by a router on pairs of tokens, as on Uniswap V2. "mixed": of all.
    n_tx : int in [0, 2**16]
        Number of transactions.
    seed : int in [0, 2**64)
    world : int in [0, 2**64)
        Decides about contracts, their layout and users, and nothing else does: blocks of one world differ in what happens.
    n_users : int in [1, 2**32), optional
        Senders are drawn from so many, and recipients that are users; default four a transaction.
    n_tokens : int in [2, 256]
    n_pools : int in [1, 256]
        Pairs of tokens that have a market, those of the first tokens first; at most as many as there are.
    n_collections : int in [1, 256]
    popularity : float in [0, 4]
        Zipf exponent: the k-th token, pool or collection is taken with a chance in proportion to ``k ** -popularity``. At 0
        all are alike, the higher the more transactions meet in one. Rounded to a multiple of 2**-16.
    recipients : str
        "users": another user is paid. "fresh": somebody who has nothing yet. "one": the same account by all, so that payers
        of one token conflict; those of ether do not, as it is only added.
    number : int in [0, 2**31)
        Height; time goes by it.
    fork : str or Fork
        From Petersburg on.

    Returns
    -------
    EvmBlock
        The state before it is of contracts and those users that occur; nobody else has anything of a token.

    Raises
    ------
    BlockError
        Naming parameter, value and rule.

    Notes
    -----
    Layouts differ from token to token and from collection to collection, and are where a real one's might be: balances in a
    mapping by owner, allowances in one by owner and spender, pairs with tokens in slots 6 and 7, reserves in 8, prices in 9
    and 10, a lock in 12, at the addresses that Uniswap V2's factory would give them. Gas limits never bind. O(n_tx), about
    100 microseconds each.

    References
    ----------
    ERC-20, ERC-721; Uniswap v2-core and v2-periphery.

    Examples
    --------
    >>> generate_evm("amm", n_tx=50)
    <EvmBlock 1: cancun, 50 txs, 63 accounts>
    >>> generate_evm(n_tx=3, seed=7) == generate_evm(n_tx=3, seed=7)
    True
    """
    door.choice("mix", mix, MIXES)
    door.choice("recipients", recipients, RECIPIENTS)
    n_tx = door.integer("n_tx", n_tx, 0, _MOST_TX)
    n_tokens = door.integer("n_tokens", n_tokens, 2, _MOST_CONTRACTS)
    recipe = _Recipe(
        mix=mix,
        n_tx=n_tx,
        seed=door.integer("seed", seed, 0, 2**64 - 1),
        world=door.integer("world", world, 0, 2**64 - 1),
        n_users=max(1, 4 * n_tx) if n_users is None else door.integer("n_users", n_users, 1, 2**32 - 1),
        n_tokens=n_tokens,
        n_pools=door.integer("n_pools", n_pools, 1, min(_MOST_CONTRACTS, math.comb(n_tokens, 2))),
        n_collections=door.integer("n_collections", n_collections, 1, _MOST_CONTRACTS),
        popularity=door.real("popularity", popularity, 0.0, 4.0),
        recipients=recipients,
        number=door.integer("number", number, 0, 2**31 - 1),
        fork=_checked_fork(fork),
    )
    maker = _Maker(recipe)
    txs = maker.transactions()
    return EvmBlock(_env(recipe, sum(tx.gas_limit for tx in txs)), txs, maker.state())


def _checked_fork(name: str | Fork) -> Fork:
    fork = fork_named(name)
    if fork < Fork.PETERSBURG:
        raise BlockError(f"fork = {fork.name.lower()}: must be petersburg or later, which have what the contracts use")
    return fork


def _env(recipe: _Recipe, gas: int) -> BlockEnv:
    """The block around transactions that may use so much gas."""
    return BlockEnv(
        number=recipe.number, timestamp=recipe.timestamp, fork=recipe.fork, fee_recipient=named("fee recipient"),
        gas_limit=max(30_000_000, gas), base_fee=_BASE_FEE if recipe.fork >= Fork.LONDON else None,
        excess_blob_gas=0 if recipe.fork >= Fork.CANCUN else None,
    )  # fmt: skip
