"""The command line: the seed system's commands with their flags, and a few of ours; --help imports nothing heavy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from . import console as con
from .cli_access import access
from .cli_blobs import blobs
from .cli_dispute import dispute
from .cli_options import Compile, EngineName, Fork, Group, Input, Number, Prestate, Verbose, hinting
from .cli_state import state
from .cli_survey import survey
from .errors import UsageError

#: The name of the console script, the only one that shells can complete.
PROGRAM: Final = "pevm-numba"



def _hint(word: str) -> str | None:
    return "no command of these, but a command line of its own: python -m pevm_numba.bench" if word == "bench" else None


app = typer.Typer(
    cls=hinting(_hint), add_completion=Path(sys.argv[0]).name == PROGRAM, pretty_exceptions_enable=False,
    rich_markup_mode=None, no_args_is_help=True, help="A laboratory for parallel EVM execution.",
)  # fmt: skip

_Cost = Annotated[
    str,
    typer.Option(
        help="unit, accesses (+ 1), ops (+ 1), gas (charged in execution), chain-gas (the chain's) or ns (measured here); "
        "all of running in block order. pn.schedule and pn.simulate, which see access sets alone, take unit if not told."
    ),
]
_Oracle = Annotated[
    str | None,
    typer.Option(help="Access sets: static, declared, eip2930, union, degraded, observed; default the exact ones."),
]
_MissRate = Annotated[float, typer.Option(help="With --oracle degraded: share of accesses missed.")]
_Seed = Annotated[int, typer.Option(help="Of --oracle degraded and --priority random, from 0 on.")]
_Fields = Annotated[str, typer.Option(help="all, or some of storage,balance,nonce,code: for analysis only.")]
_Granularity = Annotated[str, typer.Option(help="slot, or account: all keys of an account count as one, for analysis only.")]
_FeeRecipient = Annotated[
    str, typer.Option(help="Credits: commutative; for analysis only: plain (as writes), ignored (the fee recipient's).")
]


@app.command()
def generate(
    output: Annotated[Path, typer.Option(help="NAME.parquet, or seed JSON NAME.json or NAME.json.gz.")],
    preset: Annotated[str | None, typer.Option(help="Named workload; other options override it.")] = None,
    n_tx: Annotated[int | None, typer.Option(help="Number of transactions.")] = None,
    key_space: Annotated[int | None, typer.Option(help="Keys in the shared pool.")] = None,
    conflict_ratio: Annotated[float | None, typer.Option(help="Chance that a key is drawn from the pool.")] = None,
    cold_ratio: Annotated[float | None, typer.Option(help="Share of keys that access lists leave cold.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same block.")] = 42,
    pattern: Annotated[str, typer.Option(help="uniform, zipf, chain, star, clique or independent.")] = "uniform",
    exponent: Annotated[float, typer.Option(help="Of the zipf pattern.")] = 1.1,
    dependency_ratio: Annotated[float | None, typer.Option(help="Share of transactions that read an earlier one's.")] = None,
    dependency_distance: Annotated[int, typer.Option(help="How much earlier, in transactions.")] = 1,
    blob_ratio: Annotated[float, typer.Option(help="Share of transactions with blobs, one to six each.")] = 0.0,
    number: Annotated[int, typer.Option(help="Block number.")] = 0,
    verbose: Verbose = 0,
) -> None:
    """Make a synthetic block and write it."""
    con.log_to_stderr(verbose)
    from .generate import OpMix
    from .generate import generate as make
    from .io.files import write_blocks

    plain = output.name.endswith((".json", ".json.gz"))
    if plain and blob_ratio:
        raise UsageError(f"--blob-ratio with --output {output}: seed JSON has no blob count: take NAME.parquet")
    mix = OpMix(top_share=0, filled_share=0) if plain else None  # the JSON knows no stack top and no state before
    with con.status("generating"):
        block = make(
            preset, n_tx=n_tx, key_space=key_space, conflict_ratio=conflict_ratio, cold_ratio=cold_ratio, seed=seed,
            pattern=pattern, exponent=exponent, dependency_ratio=dependency_ratio,
            dependency_distance=dependency_distance, number=number, mix=mix, blob_ratio=blob_ratio,
        )  # fmt: skip
        write_blocks(output, [block])
    print(f"{output}: {block.n_tx:,} transactions, {block.n_ops:,} ops, {block.n_keys:,} keys, digest {block.digest()}")


@app.command()
def execute(
    input: Input,
    mode: Annotated[str | None, typer.Option(help="Short for --executor: serial, or parallel for dataflow.")] = None,
    executor: Annotated[
        str | None, typer.Option(help="auto (default), serial, waves, dataflow, optimistic or bal; checked against serial.")
    ] = None,
    schedule: Annotated[
        Path | None, typer.Option(help="Schedule file: the serial order that counts, and a plan to follow.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Threads; default all that Numba has.")] = None,
    gantt: Annotated[
        Path | None, typer.Option(help="Draw when each transaction ran, measured, as .png, .svg or .pdf (extra plot).")
    ] = None,
    engine: EngineName = "interpreter",
    compile: Compile = "paying",
    group: Group = False,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Execute a block, compare with serial execution, and show what was done."""
    con.log_to_stderr(verbose)
    from .commands_execute import engine_option, executor_of, run_execute

    name, inputs = executor_of(mode, executor), [input, *([] if prestate is None else [prestate])]
    block = con.read_input(input, number, prestate, fork)
    run_execute(block, inputs, name, schedule, workers, gantt, engine_option(engine, compile, group))


@app.command()
def benchmark(
    output: Annotated[Path, typer.Option(help="JSON file for the metrics.")],
    preset: Annotated[str | None, typer.Option(help="Generated block.")] = None,
    input: Annotated[Path | None, typer.Option(help="Block file, folder or seed JSON with one block.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads; default all that Numba has.")] = None,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Measure one block, parallel against serial, and write its metrics (one JSON object)."""
    con.log_to_stderr(verbose)
    if (preset is None) == (input is None):
        raise UsageError("benchmark: give either --preset or --input")
    from .bench.report import write_json
    from .bench.session import Request, measure_all, run
    from .io.paths import check_target

    given = [path for path in (input, prestate) if path is not None]
    check_target("--output", output, given, (".json",))
    if input is None:
        if number is not None or prestate is not None or fork is not None:
            raise UsageError("--number, --prestate, --fork: only with --input")
        rows = run(Request((preset or "",), workers=workers))
    else:
        rows = measure_all(Request(workers=workers), [con.read_input(input, number, prestate, fork)], input)
    write_json(output, rows[0])


@app.command()
def inspect(
    input: Input,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    top: Annotated[int, typer.Option(help="Hot keys to show.")] = 5,
    verbose: Verbose = 0,
) -> None:
    """Show size, ops, conflicts, hot keys and critical path of a block."""
    con.log_to_stderr(verbose)
    from .inspection import inspect_lines

    if top < 0:
        raise UsageError(f"--top {top}: must be at least 0")
    block = con.read_input(input, number, prestate, fork)
    with con.status("analysing"):
        lines = inspect_lines(block, top)
    _print_pairs(lines)


@app.command()
def schedule(
    input: Input,
    policy: Annotated[
        str, typer.Option(help="levels, list; order free: mis, mis-parallel, first-fit, largest-first.")
    ] = "levels",
    workers: Annotated[int | None, typer.Option(help="Virtual workers; default all threads that Numba has.")] = None,
    cost: _Cost = "gas",
    priority: Annotated[
        str | None,
        typer.Option(
            help="list: longest-path, block, largest. first-fit: block, random. largest-first: degree, estimated-degree."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write a schedule file, NAME.json or NAME.parquet, instead of a table.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Transactions to show, by start.")] = 10,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    oracle: _Oracle = None,
    miss_rate: _MissRate = 0.0,
    seed: _Seed = 0,
    fields: _Fields = "all",
    granularity: _Granularity = "slot",
    fee_recipient: _FeeRecipient = "commutative",
    verbose: Verbose = 0,
) -> None:
    """Schedule a block on virtual workers, check the schedule against all conflicts, and show or write it."""
    con.log_to_stderr(verbose)
    from .commands import View, run_schedule

    view = View(input, number, oracle, miss_rate, seed, fields, granularity, fee_recipient, prestate, fork)
    run_schedule(view, policy, workers, cost, priority, output, rows)


@app.command()
def simulate(
    input: Input,
    models: Annotated[str, typer.Option(help="all, or some of serial,waves,list,two-bin,two-pass,block-stm,bal.")] = "all",
    workers: Annotated[str, typer.Option(help="Numbers of virtual workers.")] = "1,2,4,8,16",
    cost: _Cost = "gas",
    priority: Annotated[str | None, typer.Option(help="list, two-pass: longest-path, block or largest.")] = None,
    barrier: Annotated[float, typer.Option(help="After each wave, in the unit of --cost, as all below.")] = 0.0,
    dispatch: Annotated[float, typer.Option(help="For each execution.")] = 0.0,
    validation: Annotated[float, typer.Option(help="Of one validation.")] = 0.0,
    cold_read: Annotated[float, typer.Option(help="Latency of the first touch of each storage key.")] = 0.0,
    prefetch: Annotated[int, typer.Option(help="Cold keys fetched at a time, ahead of execution.")] = 0,
    prefetch_list: Annotated[
        str | None,
        typer.Option(help="Keys known to prefetch: static, declared, eip2930, union, observed; default the exact ones."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    fields: _Fields = "all",
    granularity: _Granularity = "slot",
    fee_recipient: _FeeRecipient = "commutative",
    verbose: Verbose = 0,
) -> None:
    """Simulate ways of running a block on virtual workers, by what it really touches: nothing here is a measured time."""
    con.log_to_stderr(verbose)
    from .commands import View, run_simulate

    view = View(
        input, number, fields=fields, granularity=granularity, fee_recipient=fee_recipient, prestate=prestate, fork=fork
    )
    over = {
        "barrier": barrier, "dispatch": dispatch, "validation": validation, "cold_read": cold_read, "prefetch": prefetch,
    }  # fmt: skip
    run_simulate(view, models, workers, cost, priority, over, json, prefetch_list)


@app.command()
def convert(
    input: Annotated[Path, typer.Option(help="Anything that can be read.")],
    output: Annotated[Path, typer.Option(help="Block file: .parquet, .json or .json.gz.")],
    number: Number = None,
    verbose: Verbose = 0,
) -> None:
    """Read blocks in any known form and write them as block file (or one as seed JSON)."""
    con.log_to_stderr(verbose)
    from .io.evm_tables import is_evm_folder
    from .io.files import block_numbers, read_blocks, write_blocks
    from .io.paths import check_target

    check_target("--output", output, [input])
    if is_evm_folder(input):
        raise UsageError(f"{input}: holds blocks of the EVM with state, which are no block file")
    wanted = block_numbers(input) if number is None else [number]
    write_blocks(output, con.progress(read_blocks(input, wanted), "converting", len(wanted)))
    print(f"{output}: blocks: {len(wanted):,}")


@app.command()
def versions(
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Versions of packages, machine, threads and the folder of compiled kernels, for a report of a problem."""
    from .versions import show_versions
    from .versions import versions as found

    if json:
        from json import dumps

        print(dumps(found(), indent=2))
    else:
        show_versions()


evm = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True,
    help="Real blocks on the EVM.",
)  # fmt: skip
app.command()(survey)
app.command()(dispute)
app.add_typer(evm, name="evm")
app.add_typer(access, name="access")
app.add_typer(blobs, name="blobs")
app.add_typer(state, name="state")

_EvmInput = Annotated[Path, typer.Option(help="Folder of tables with state, or a block as a node gives it, NAME.json.")]


@evm.command("generate")
def evm_generate(
    output: Annotated[Path, typer.Option(help="The block, as a node gives it: NAME.json or NAME.json.gz.")],
    prestate: Annotated[Path, typer.Option(help="The state before it, as prestateTracer gives it: the same.")],
    mix: Annotated[str, typer.Option(help="transfers, erc20, erc721, amm or mixed.")] = "mixed",
    n_tx: Annotated[int, typer.Option(help="Number of transactions.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same block.")] = 42,
    world: Annotated[int, typer.Option(help="Blocks of one world have the same contracts and users.")] = 0,
    n_users: Annotated[int | None, typer.Option(help="Senders; default four a transaction.")] = None,
    n_tokens: Annotated[int, typer.Option(help="Contracts of ERC-20.")] = 8,
    n_pools: Annotated[int, typer.Option(help="Markets, each of two tokens.")] = 4,
    n_collections: Annotated[int, typer.Option(help="Contracts of ERC-721.")] = 4,
    popularity: Annotated[float, typer.Option(help="Zipf exponent: 0, all alike, to 4, most meet in one.")] = 1.0,
    recipients: Annotated[str, typer.Option(help="users, fresh (nobody yet), or one (the same of all).")] = "users",
    number: Annotated[int, typer.Option(help="Block number.")] = 1,
    fork: Annotated[str, typer.Option(help="Rules, from petersburg on.")] = "cancun",
    verbose: Verbose = 0,
) -> None:
    """Make a block of tokens, collections and markets in real bytecode, and write it with the state before it."""
    con.log_to_stderr(verbose)
    from .evm.workloads import generate_evm
    from .io.node_json_write import write_node_block
    from .io.paths import check_target

    for option, path in ("--output", output), ("--prestate", prestate):
        check_target(option, path, [], (".json", ".json.gz"))
    with con.status("generating"):
        block = generate_evm(
            mix, n_tx=n_tx, seed=seed, world=world, n_users=n_users, n_tokens=n_tokens, n_pools=n_pools,
            n_collections=n_collections, popularity=popularity, recipients=recipients, number=number, fork=fork,
        )  # fmt: skip
        write_node_block(output, prestate, block)
    told = f"{block.n_tx:,} transactions; {prestate}: {len(block.state):,} accounts"
    print(f"{output}: {told}; read with --prestate and --fork {block.fork}")


@evm.command("run")
def evm_run(
    input: _EvmInput,
    prestate: Prestate = None,
    number: Number = None,
    fork: Fork = None,
    executor: Annotated[str, typer.Option(help="auto, serial, waves, dataflow, optimistic or bal.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Threads; default all that Numba has.")] = None,
    verbose: Verbose = 0,
) -> None:
    """Execute a real block, compare it with its header and with serial execution, and show what was done."""
    con.log_to_stderr(verbose)
    from .commands_execute import executor_of, run_execute

    name = executor_of(None, executor)
    run_execute(con.read_input(input, number, prestate, fork, evm=True), [input], name, workers=workers)


@evm.command("trace")
def evm_trace(
    input: _EvmInput,
    index: Annotated[int, typer.Option(help="Of the transaction in its block, from 0.")],
    prestate: Prestate = None,
    number: Number = None,
    fork: Fork = None,
    output: Annotated[Path | None, typer.Option(help="Write to this .jsonl file instead.")] = None,
    verbose: Verbose = 0,
) -> None:
    """Every step of one transaction, after those before it, as JSON lines of EIP-3155."""
    con.log_to_stderr(verbose)
    from .commands_evm import run_trace

    run_trace(input, prestate, number, fork, index, output)


@evm.command("state-test")
def evm_state_test(
    input: Annotated[Path, typer.Argument(help="State tests: a JSON file, a folder of them, or a .zip.")],
    forks: Annotated[str, typer.Option(help="With commas between.")] = "berlin,london,paris,shanghai,cancun",
    every: Annotated[int, typer.Option(help="Of the files only every so many.")] = 1,
    verbose: Verbose = 0,
) -> None:
    """Run official state tests; all failures are named with -v, else the first 20."""
    con.log_to_stderr(max(0, verbose - 1))
    from .commands_evm import run_state_tests

    run_state_tests(input, forks, every, verbose > 0)


@evm.command("bench")
def evm_bench(
    input: Annotated[Path, typer.Option(help="Folder of tables with state.")],
    blocks: Annotated[str, typer.Option(help="Numbers with commas between; default all.")] = "",
    workers: Annotated[int | None, typer.Option(help="Threads; default all that Numba has.")] = None,
    verbose: Verbose = 0,
) -> None:
    """Measure real blocks: the same as ``python -m pevm_numba.bench evm``, which has more options."""
    con.log_to_stderr(verbose)
    from .bench.evm import Request, run

    run(Request(input, con.block_numbers(blocks), workers))


def _print_pairs(lines: list[tuple[str, Any]]) -> None:
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:<{width}}  {text}".rstrip())


def main() -> None:
    """Entry point."""
    con.run_app(app)
