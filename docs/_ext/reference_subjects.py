"""Subjects of the reference: public names go to the subject that has the module in which they are defined."""

from __future__ import annotations

from typing import Final, NamedTuple

import pevm_numba as pn

__all__ = ["MODULES", "SUBJECTS", "Subject", "names_of"]


class Subject(NamedTuple):
    """A page of the reference."""

    slug: str
    title: str
    text: str
    #: Modules and packages, without ``pevm_numba.``; of subjects that fit a name, the one with the longest entry has it.
    homes: tuple[str, ...]


SUBJECTS: Final = (
    Subject(
        "blocks", "Blocks", "What is executed, and how to make some. The words are in the [glossary](../../glossary.md).",
        ("block", "metadata", "keys", "generate", "workload", "machine", "errors"),
    ),
    Subject("files", "Files", "Reading and writing. What each form has, and lacks, is in the README.", ("io",)),
    Subject(
        "evm", "Blocks of the EVM", "Real bytecode; see [The EVM](../../evm.md).",
        ("evm", "execute.evm_result", "io.evm_tables", "io.node_json", "io.node_json_write"),
    ),
    Subject(
        "access_sets", "Access sets", "What each transaction reads, writes and credits: known, estimated, observed.",
        ("access.sets", "access.oracles", "access.quality", "access.view"),
    ),
    Subject(
        "conflicts", "Conflicts, dependencies, bounds", "What must wait for what, and the least time that leaves; see "
        "[Schedules](../../scheduling.md).", ("schedule.conflicts", "schedule.dependencies", "schedule.bounds"),
    ),
    Subject(
        "schedules", "Schedules", "When each transaction runs; see [Schedules](../../scheduling.md).",
        ("schedule", "io.schedule_file"),
    ),
    Subject(
        "simulation", "Simulation and optima", "What schedules and executors would take, and how near to the best that is.",
        ("schedule.simulate", "schedule.models", "schedule.exact", "schedule.optimality"),
    ),
    Subject(
        "blobs", "Blobs", "Prices, markets over many blocks, blocks built with them; see [Blobs](../../blobs.md).",
        ("blobs", "evm.forks"),
    ),
    Subject(
        "executing", "Executing", "Running blocks for real; see [Executors](../../executors.md) and [Compiled "
        "programs](../../engines.md).", ("execute", "engines"),
    ),
    Subject(
        "access_lists", "Access lists", "Of transactions (EIP-2930) and blocks (EIP-7928); see "
        "[Access lists](../../access_lists.md).", ("access", "io.access_lists"),
    ),
    Subject(
        "prediction", "Prediction", "Accesses told before executing; see [Access lists](../../access_lists.md).",
        ("access.asking", "access.pattern_library", "access.patterns", "access.prediction", "io.pattern_file"),
    ),
    Subject("survey", "Many blocks", "One analysis over thousands; see [Thousands of blocks](../../survey.md).", ("survey",)),
    Subject(
        "disputes", "Disputes", "Commitments to an execution, games about it; see [Disputes](../../dispute.md).", ("dispute",)
    ),
    Subject("results", "Tables, versions", "Results for other tools, and what there is to run on.", ("tabular", "versions")),
    Subject("state", "State", "Stores of state; see [State that lasts](../../storage.md).", ("storage", "io.state_file")),
)  # fmt: skip

#: Modules that pages and the README name, without ``pevm_numba.``, each with what one comes for.
MODULES: Final = {
    "plot": "Pictures, with the extra `plot`.",
    "survey.metrics": "What a survey tells of each block.",
    "errors": "Every error that the package raises on purpose.",
    "dispute.proofs": "Merkle proofs: of a value, or that there is none.",
    "dispute.steps": "One step of the machine, as both parties and the referee take it.",
    "machine.spec": "The micro-op machine in plain Python: what all kernels are tested against.",
    "blobs.market": "Prices of blob gas, from block to block.",
    "blobs.rules": "When a block may have a blob transaction.",
    "blobs.work": "What verifying blobs costs, measured or as a constant.",
    "evm.forks": "Names and beginnings of Ethereum's rules.",
    "evm.header": "What a block of the EVM needs from its header.",
    "evm.transaction": "Transactions of types 0 to 4.",
    "evm.machine": "Single transactions on the EVM.",
    "access.eip7928_rules": "The rules of EIP-7928 by name, as errors have them.",
    "access.eip7928_compare": "What two block access lists do not agree on.",
}


def names_of() -> dict[str, list[str]]:
    """Public names of each subject, by its slug, functions first.

    Raises
    ------
    ValueError
        If no subject has the module of a name.
    """
    found: dict[str, list[str]] = {subject.slug: [] for subject in SUBJECTS}
    for name in sorted(set(pn.__all__) - {"__version__"}, key=lambda name: (isinstance(getattr(pn, name), type), name)):
        home = getattr(pn, name).__module__.removeprefix("pevm_numba.")
        fits = [(len(h), s.slug) for s in SUBJECTS for h in s.homes if home == h or home.startswith(f"{h}.")]
        if not fits:
            raise ValueError(f"pevm_numba.{name} is defined in {home}: no subject of the reference has that module")
        found[max(fits)[1]].append(name)
    return found
