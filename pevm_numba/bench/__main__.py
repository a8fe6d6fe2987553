"""Command line of the benchmark. A result that differs from serial execution ends the run without a figure, exit code 3."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import console as con
from ..cli_options import Compile, EngineName, Group, hinting
from ..errors import UsageError
from .html_target import Page, command_line

_Html = Annotated[Path | None, typer.Option(help="Write all figures, and charts of them, as a page (.html; extra plot).")]


def _hint(word: str) -> str | None:
    if not Path(word).exists() and not Path(word).suffix:
        return None
    return f"no command; blocks to measure are an option: python -m pevm_numba.bench --input {word}"


app = typer.Typer(cls=hinting(_hint), add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    preset: Annotated[list[str] | None, typer.Option(help="Generated block; may be repeated.")] = None,
    input: Annotated[
        list[Path] | None, typer.Option(help="Block file, folder of block, cryo, op_trace files, tables with state, or JSON.")
    ] = None,
    executor: Annotated[
        str, typer.Option(help="serial, waves, dataflow, optimistic, bal, auto, or all.")
    ] = "dataflow",
    policy: Annotated[
        str, typer.Option(help="levels and list keep block order; the others of schedule() do not.")
    ] = "levels",
    oracle: Annotated[
        str | None,
        typer.Option(help="static, declared, eip2930, union, degraded, observed; default exact, for optimistic none."),
    ] = None,
    miss_rate: Annotated[float, typer.Option(help="With --oracle degraded: share of accesses missed.")] = 0.0,
    workers: Annotated[int | None, typer.Option(help="Threads; default all that Numba has.")] = None,
    work: Annotated[float, typer.Option(help="Microseconds of work to add to every transaction.")] = 0.0,
    repeat: Annotated[int, typer.Option(help="Rounds of serial, parallel, serial.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the presets.")] = 42,
    engine: EngineName = "interpreter",
    compile: Compile = "paying",
    group: Group = False,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Measure parallel against serial execution; without arguments on the presets small, medium and large."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    con.log_to_stderr(verbose)
    from ..commands_execute import engine_option
    from .session import Request, run

    chosen = engine_option(engine, compile, group)
    asked = tuple(preset or ()), tuple(input or ())
    run(Request(*asked, executor, policy, oracle, miss_rate, workers, work, repeat, seed, chosen), json, _page(html))


def _page(path: Path | None) -> Page | None:
    """The page that --html asks for, with the command that this process was started by."""
    return None if path is None else Page(path, command_line(sys.argv[1:]))


def _refuse_options(context: typer.Context) -> None:
    """Options of the benchmark of execution mean nothing to a subcommand."""
    given = [name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        rule = f"must come after {context.invoked_subcommand}, if that has it"
        raise UsageError(f"--{given[0].replace('_', '-')} before {context.invoked_subcommand}: {rule}")


@app.command("schedule")
def schedule_command(
    n: Annotated[int, typer.Option("--n", "--n-tx", help="Transactions of each case.")] = 10_000,
    repeat: Annotated[int, typer.Option(help="Rounds; in each, every job runs once.")] = 5,
    peers: Annotated[bool, typer.Option(help="Compare with networkx, rustworkx, igraph, networkit.")] = True,
    large: Annotated[bool, typer.Option(help="Also 100,000 and 1,000,000 transactions, without peers.")] = False,
    slow: Annotated[bool, typer.Option(help="Peers also where one takes minutes and gigabytes.")] = False,
    seed: Annotated[int, typer.Option(help="Of the cases.")] = 42,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Measure schedulers by the access, beside a memory probe, and against other graph libraries; 2 to 4 minutes."""
    con.log_to_stderr(verbose)
    from .scheduling import Request, run

    run(Request(n, repeat, peers, large, slow, seed), json, _page(html))


@app.command("corpus")
def corpus_command(
    path: Annotated[Path, typer.Argument(help="Blocks (as a folder of cryo files), or a folder with op_trace or bal.")],
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Every block, and log.")] = 0,
) -> None:
    """Tables on real blocks: critical paths by definition of dependencies, waves, simulated workers."""
    con.log_to_stderr(max(0, verbose - 1))
    from .corpus import run

    run(path, json, _page(html), verbose=verbose > 0)


@app.command("executors")
def executors_command(
    path: Annotated[Path | None, typer.Argument(help="Real blocks for the case corpus, which is left out without.")] = None,
    n: Annotated[int, typer.Option("--n", "--n-tx", help="Transactions of each synthetic case.")] = 10_000,
    work: Annotated[str, typer.Option(help="Microseconds of serial work in a transaction.")] = "0.1,0.5,5,50",
    cases: Annotated[str, typer.Option(help="all, or some of the cases, with commas between.")] = "all",
    rounds: Annotated[int, typer.Option(help="Quiet rounds; at most three times as many are tried.")] = 9,
    workers: Annotated[int | None, typer.Option(help="Default all threads that Numba has.")] = None,
    break_even: Annotated[bool, typer.Option(help="Also the work from which on each executor beats serial.")] = True,
    chart: Annotated[Path | None, typer.Option(help="Draw break-even as .png, .svg or .pdf (extra plot).")] = None,
    seed: Annotated[int, typer.Option(help="Of the cases.")] = 42,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Measure every executor on cases of all kinds, beside the bound; some 8 minutes on two quiet cores."""
    con.log_to_stderr(verbose)
    from .executors import Request, run

    made = Request.parse(
        path, n, work, cases, rounds=rounds, workers=workers, break_even=break_even, chart=chart, seed=seed
    )
    run(made, json, _page(html))


@app.command("scaling")
def scaling_command(
    path: Annotated[Path | None, typer.Argument(help="Real blocks for the case corpus, which is left out without.")] = None,
    n: Annotated[int, typer.Option("--n", "--n-tx", help="Transactions of each synthetic case.")] = 10_000,
    work: Annotated[str, typer.Option(help="Microseconds of serial work in a transaction.")] = "0.5,5",
    cases: Annotated[str, typer.Option(help="all, or some of the cases, with commas between.")] = "all",
    workers: Annotated[str, typer.Option(help="Numbers of workers.")] = "1,2,4,8,16",
    rounds: Annotated[int, typer.Option(help="Quiet rounds; at most three times as many are tried.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the cases.")] = 42,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Speed-up over workers: measured as far as there are cores, predicted by simulation beyond."""
    con.log_to_stderr(verbose)
    from .executors import Request
    from .scaling import run

    made = Request.parse(path, n, work, cases, rounds=rounds, break_even=False, seed=seed)
    run(made, con.worker_counts(workers), json, _page(html))


@app.command("evm")
def evm_command(
    path: Annotated[Path, typer.Argument(help="Folder of blocks with state, such as ../shared/corpus.")],
    blocks: Annotated[str, typer.Option(help="Numbers with commas between; default all.")] = "",
    workers: Annotated[int | None, typer.Option(help="Default all threads that Numba has.")] = None,
    rounds: Annotated[int, typer.Option(help="Quiet rounds; at most three times as many are tried.")] = 9,
    peers: Annotated[bool, typer.Option(help="Compare with pyrevm, if it is installed.")] = True,
    slow: Annotated[bool, typer.Option(help="And with py-evm, which takes seconds a block.")] = False,
    mega: Annotated[bool, typer.Option(help="Also blocks made of four neighbours of one fork.")] = True,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Real blocks on the EVM: serial beside other machines, every executor beside the bound; some 3 minutes for 65 blocks."""
    con.log_to_stderr(verbose)
    from .evm import Request, run

    run(Request(path, con.block_numbers(blocks), workers, rounds, peers, slow, mega), json, _page(html))


@app.command("access")
def access_command(
    path: Annotated[Path, typer.Argument(help="Folder of blocks with state, such as ../shared/corpus.")],
    blocks: Annotated[str, typer.Option(help="Numbers with commas between; default all.")] = "",
    rounds: Annotated[int, typer.Option(help="Times are medians of so many.")] = 7,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Access lists of real blocks: size and speed, the best list of each transaction, dependencies from lists alone."""
    con.log_to_stderr(verbose)
    from .access import run

    con.check_range("--rounds", rounds, 1, 10_000)
    run(path, con.block_numbers(blocks), rounds, json, _page(html))


@app.command("predict")
def predict_command(
    path: Annotated[Path, typer.Argument(help="Folder of blocks with state, such as ../shared/corpus.")],
    blocks: Annotated[str, typer.Option(help="Numbers with commas between; default all.")] = "",
    rounds: Annotated[int, typer.Option(help="Times are medians of so many.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Storage predicted by patterns, each block by those before it: how much is right, and what execution gains by it."""
    con.log_to_stderr(verbose)
    from .prediction import run

    con.check_range("--rounds", rounds, 1, 10_000)
    run(path, con.block_numbers(blocks), rounds, json, _page(html))


@app.command("storage")
def storage_command(
    path: Annotated[Path | None, typer.Argument(help="Folder of blocks with state, for chains, left out without.")] = None,
    sizes: Annotated[str, typer.Option(help="Keys in the stores, such as 1e5,1e6,1e7 (which takes gigabytes).")] = "1e5,1e6",
    backends: Annotated[str, typer.Option(help="all, or some of memory,mmap,rocksdb,lmdb,sqlite.")] = "all",
    batch: Annotated[int, typer.Option(help="Keys that are read or written together.")] = 1000,
    rounds: Annotated[int, typer.Option(help="Batches of each operation.")] = 30,
    blocks: Annotated[str, typer.Option(help="Numbers with commas between; default those with most transactions.")] = "",
    chain_rounds: Annotated[int, typer.Option(help="Runs of each chain.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where stores are made, and removed; default the system's.")] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw all as .png, .svg or .pdf (extra plot).")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Stores by backend, size, distribution and operation; beside their libraries; chains of blocks on slow reads."""
    con.log_to_stderr(verbose)
    from .storage import Request, run

    made = Request.parse(
        path, sizes, backends, batch=batch, rounds=rounds, blocks=con.block_numbers(blocks), chain_rounds=chain_rounds,
        folder=folder, chart=chart,
    )  # fmt: skip
    run(made, json, _page(html))


@app.command("survey")
def survey_command(
    path: Annotated[Path | None, typer.Argument(help="Also the blocks of this file or folder.")] = None,
    n_blocks: Annotated[int, typer.Option(help="Synthetic blocks to make.")] = 5000,
    n: Annotated[int, typer.Option("--n", "--n-tx", help="Transactions of each.")] = 200,
    metrics: Annotated[str, typer.Option(help="As of the command survey.")] = "size,conflicts,dependencies",
    workers: Annotated[int, typer.Option(help="Threads, and Dask workers; one thread is measured, too.")] = 2,
    rounds: Annotated[int, typer.Option(help="Times are medians of so many.")] = 3,
    cluster: Annotated[bool, typer.Option(help="Also on Dask, and with a worker killed (extra distributed).")] = True,
    seed: Annotated[int, typer.Option(help="Of the blocks.")] = 42,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """A survey of many blocks by threads, by Dask workers, with one of these killed: the same rows, and how fast."""
    con.log_to_stderr(verbose)
    from .survey import Request, run

    run(Request(path, n_blocks, n, metrics, workers, rounds, cluster, seed), json, _page(html))


@app.command("engines")
def engines_command(
    path: Annotated[Path | None, typer.Argument(help="Real blocks: the two largest of them, too.")] = None,
    ceiling: Annotated[Path | None, typer.Option(help="Folder of the C reference, to be beside it.")] = None,
    n: Annotated[int, typer.Option("--n", "--n-tx", help="Transactions of each block that is made.")] = 5_000,
    rounds: Annotated[int, typer.Option(help="Times are medians of so many; all ways run in each.")] = 51,
    wasm: Annotated[bool, typer.Option(help="Also WebAssembly (extra wasm).")] = True,
    seed: Annotated[int, typer.Option(help="Of the blocks.")] = 42,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Compiled shapes beside the interpreter, what compiling costs, and when it has paid; half a minute."""
    con.log_to_stderr(verbose)
    from .engines import Request, run

    run(Request(path, ceiling, n, rounds, wasm, seed), json, _page(html))


@app.command("dispute")
def dispute_command(
    path: Annotated[Path | None, typer.Argument(help="A block, instead of the preset.")] = None,
    number: Annotated[int | None, typer.Option(help="Which, if there are several.")] = None,
    preset: Annotated[str, typer.Option(help="Generated block.")] = "large",
    games: Annotated[int, typer.Option(help="Games about each kind of fault.")] = 4,
    rounds: Annotated[int, typer.Option(help="Times of committing are medians of so many.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the block, and of the faults.")] = 42,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Commitments to a block: what they cost; and disputes about it, each won by the honest party: rounds, time, bytes."""
    con.log_to_stderr(verbose)
    from .dispute import Request, run

    run(Request(path, number, preset, games, rounds, seed), json, _page(html))


@app.command("optimum")
def optimum_command(
    path: Annotated[Path | None, typer.Argument(help="Also the blocks of this file or folder.")] = None,
    workers: Annotated[int, typer.Option(help="Of the makespans.")] = 8,
    time_limit: Annotated[float, typer.Option(help="Seconds for each exact optimum.")] = 10.0,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this .json file.")] = None,
    html: _Html = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Ratio of each heuristic to the exact optimum (needs the extra `exact`), and built blocks beside their bound."""
    con.log_to_stderr(verbose)
    from .optimum import run

    run(path, workers, time_limit, json, _page(html))


def main() -> None:
    """Entry point."""
    con.run_app(app)


if __name__ == "__main__":
    main()
