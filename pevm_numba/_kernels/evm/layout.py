"""The records that the EVM works on. What belongs to one worker and what all share is said here, once.

A *context* belongs to one worker. Accounts and slots are a transaction's own copies of what it has touched: made at the first
touch, thrown away at its end, so that reads, writes, original values and warmth are in one place.
A transaction's writes reach the state, or those who come after it, only when it is finished.
"""

from __future__ import annotations

from ...evm.forks import Fork
from ...evm.prices import prices
from .records import record

__all__ = [
    "ACCESSED",
    "ACCOUNT",
    "ADDS",
    "APART",
    "ASKS_KEY",
    "ASKS_NOTHING",
    "ASKS_PRECOMPILE",
    "ASKS_STEP",
    "ASKS_STORAGE",
    "AUTHORIZATION",
    "BALANCE_LOADED",
    "BLOCK",
    "BLOCK_HASH",
    "CELL",
    "CODE",
    "CODE_LOADED",
    "CONTEXT",
    "CREDIT",
    "DEAD",
    "DECLARED_BITS",
    "ESTIMATE",
    "FRAME",
    "FULL",
    "FUNDS",
    "HOST",
    "HOST_CANNOT",
    "HOST_DONE",
    "HOST_FAILED",
    "JOURNAL",
    "J_ACCOUNT_FLAGS",
    "J_BALANCE",
    "J_CODE",
    "J_NONCE",
    "J_SLOT",
    "J_SLOT_WARM",
    "KEY",
    "KNOWN",
    "LIST_ENTRY",
    "LOG",
    "MET",
    "NONCE",
    "NONCE_LOADED",
    "NOTE",
    "OK",
    "OPEN",
    "QUIET",
    "READS",
    "REJECTED",
    "RESULT",
    "SENDER_CODE",
    "SLOT",
    "SURE",
    "SUSPENDED",
    "TX",
    "UNFETCHED",
    "UNKNOWN",
    "WHOLE",
    "WRITE",
]  # fmt: skip

#: Status of a context: going on; a table is full (its owner enlarges it and begins anew); the transaction is not valid; an
#: account has code of which nobody knows more than the hash, as a wrong access list may say; the kernels have left in the
#: midst of a transaction, for the host to do what `asks` says, and go on when they are called again.
OK, FULL, REJECTED, UNKNOWN, SUSPENDED = 0, 1, 2, 5, 6

#: What the host is asked for: nothing; to run a precompile; to look at the step that comes next; to fetch the key `wanted`,
#: or all storage of the account that it is.
ASKS_NOTHING, ASKS_PRECOMPILE, ASKS_STEP, ASKS_KEY, ASKS_STORAGE = 0, 1, 2, 3, 4

#: Which fields of an account have been fetched from the state; whether the transaction has come so far as to look at it, and
#: that must be paid for first (EIP-7928): it may only have been listed, or been too expensive.
BALANCE_LOADED, NONCE_LOADED, CODE_LOADED, ACCESSED = 1, 2, 4, 8

#: Kinds of journal entries.
J_BALANCE, J_NONCE, J_CODE, J_ACCOUNT_FLAGS, J_SLOT, J_SLOT_WARM = 1, 2, 3, 4, 5, 6

#: A transaction, as the host encodes it. `to` is unused where `creates`; a fee is a word for one unit of gas. A `system` call
#: pays nothing and is by nobody (EIP-4788).
TX = record(
    "TX",
    "creates system nonce gas_limit intrinsic floor data data_size list list_end blob_hashes n_blobs "
    "authorizations authorizations_end",
    "sender to value fee tip most_upfront blob_fee",
)

#: Why a transaction is refused, as far as the state decides it; the last two: a block hash that it asks for is not given; the
#: host cannot run a precompile.
NONCE, FUNDS, SENDER_CODE, BLOCK_HASH, HOST = 1, 2, 3, 4, 5

#: What came of a precompile (`host_ok`): the host cannot run it; it has failed; it has succeeded.
HOST_CANNOT, HOST_FAILED, HOST_DONE = -1, 0, 1

#: One entry of a transaction's access list: an address, or a slot of it.
LIST_ENTRY = record("LIST_ENTRY", "has_slot", "address slot")

#: A key of the block's state: a storage slot of the account whose first key is `owner`, or, with owner -1, an account, which
#: has three keys in a row: balance, nonce, code hash. Where the state is elsewhere (`lazy`), `fetched` tells what is here of
#: a slot or, with its first key, of an account: nothing; it; also all of its storage.
KEY = record("KEY", "owner fetched", "word")
UNFETCHED, KNOWN, WHOLE = 0, 1, 2

#: A piece of code: its bytes, followed by what `frames.prepare_code` puts there. Number 0 is the empty code.
CODE = record("CODE", "start size", "hash")

#: An account that the transaction has met. A balance that is not loaded is a sum of credits. `code_hash` is 0 for an account
#: without code, but the hash of nothing for one that exists and is empty: what an account is that merely exists, before
#: Spurious Dragon and where a state has one left over from then.
ACCOUNT = record(
    "ACCOUNT",
    "key nonce nonce_before loaded warm created destroyed touched code saved",
    "address balance balance_before code_hash code_before",
)

#: A storage slot of the account `owner` that the transaction has touched; `account` 0 marks transient storage, and what an
#: access list has named and nobody asked for. `saved`, here and of accounts, is gas that an access list would have saved by
#: having it (EIP-2930): what cold accesses cost more than warm ones.
SLOT = record("SLOT", "owner account key warm saved", "word value before")

JOURNAL = record("JOURNAL", "kind item extra", "old")

LOG = record("LOG", "n_topics data size", "address topic0 topic1 topic2 topic3")

#: An authorization (EIP-7702) whose signature and chain are right.
AUTHORIZATION = record("AUTHORIZATION", "nonce", "authority target")

#: What a transaction of a block has left behind: `state` is one of `scheduling`'s, its reads are `notes` and its
#: changes `cells`. Whether it stands is SURE if all before it did when it began; OPEN if it went through all slots of an
#: account, which no plan can declare; else what the block's `doubt` says. `checked` is the block's `version` when it was last
#: looked at; before there is doubt, if it is OPEN, 1 + which was so before it (`opened` of the block is 1 + the last), or 0.
RESULT = record(
    "RESULT",
    # what others look at is in the first cache line
    "state runs stands checked refusal success gas_used worker logs n_logs notes n_notes cells n_cells begin end",
)
SURE, OPEN = 1, 2

#: A key that was read, and what was found; -1 - the first key of an account whose slots were gone through, how many there
#: were, and as `saved` how many are known; MET - the first key of an account that was cold, or was accessed although nothing
#: of it was read or changed. Otherwise `saved` is that of a slot, or in the last case of the account.
NOTE = record("NOTE", "key saved", "value")
MET = -(1 << 40)

#: What a transaction makes of a key, in a chain of these with the last position first: a new value, or an amount to add to
#: what is before it. An ESTIMATE is about to be made anew; what is DEAD does not count; `next` of what is in no chain: APART.
CELL = record("CELL", "next position kind key", "value")
WRITE, CREDIT, ESTIMATE, DEAD = 1, 2, 3, 4
APART = -1

#: What a plan has taken for known of a transaction and a key, in the last bits of what it declares: it READS, it credits
#: (ADDS), or both, which stands for writing, too. Those who only read may run side by side, and those who only add. QUIET:
#: nobody will look for what it makes of the key, as nobody else accesses it, or all only add to the one that is `credited`.
READS, ADDS, QUIET, DECLARED_BITS = 1, 2, 4, 3

#: A block in execution, which all workers share; see `blocks`. Pads keep what changes often in cache lines of its own, eight
#: numbers each: what every transaction changes is in one or two of them, as each costs another core's worker a fetch.
#: `next` is a place in `order`, or, where there is none, in `firsts`; `finals` are addresses of the
#: last cell of each key of an access list.
BLOCK = record(
    "BLOCK",
    "mode n_tx n_workers txs results records chains order "
    # who may run when
    "starts queue ranks awaited followers_at followers listed_at listed "
    "n_queue queue_lock next window firsts n_firsts finals n_finals "
    "done pad0 pad1 pad2 pad3 pad4 pad5 pad6 "
    # which results stand
    "frontier frontier_lock good version validations aborts pad7 pad8 "
    "stop failed away apart doubt declared_at declared credited opened",
)

#: A call in progress.
FRAME = record(
    "FRAME",
    "pc sp gas stack memory memory_size code code_size jumps account caller static data data_size return_at return_size "
    "journal refund logs creates",
    "value",
)

#: What a worker has: tables, arenas with their ends, prices, and where it is.
CONTEXT = record(
    "CONTEXT",
    # the block's state, shared
    "keys key_table key_mask n_keys key_room values codes code_table code_mask n_codes code_room code_top code_end "
    # the transaction's own
    "accounts n_accounts account_room account_table account_mask slots n_slots slot_room slot_table slot_mask epoch "
    "journal n_journal journal_room logs n_logs log_room log_data log_end "
    # the machine
    "frames depth stack memory memory_end returned returned_size returned_room scratch sponge opcodes environment refund "
    "block position chains listed fingers marks mark first_cell cells cell_end notes note_end lock worker "
    "runner interpreter server stepper cpu status asks fork n_precompiles high_precompile host_address host_gas "
    "host_input host_size host_ok host_used held n_held executions untold old_cells n_old_cells stepping entry steps shows "
    "lazy wanted native "
    "secp256k1 parse_signature recover_key write_key sha256 ripemd160 "
    "curve fp_read fp_write fp_multiply fp_add fp_equal fp2_multiply fp2_add fp2_equal fr_read "
    "g1_zero g1_add g1_multiply g1_normalize g2_order miller_loop final_power gt_multiply gt_one "
    "block_hashes transaction success gas_left gas_used refusal bare_storage "
    # prices, by their names in `evm.prices`
    + " ".join(prices(Fork.FRONTIER)),
    "coinbase earned",
)
