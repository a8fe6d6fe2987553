"""The layout: imports go one way, sizes stay readable, importing is cheap and compiles nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pevm_numba as pn

PACKAGE = Path(pn.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))

#: Stages of DESIGN §1, first to last; a module imports from its own stage or an earlier one.
STAGES = [
    ("errors", "deprecation"),
    ("machine", "evm/forks", "evm/opcodes", "evm/prices"),
    ("_kernels",),
    (
        "html", "tabular", "door", "patience", "keys", "parts", "metadata", "joining", "programs", "block", "blobs/market",
        "blobs/rules",
    ),
    ("evm",),
    ("workload", "generate"),
    ("access",),
    ("schedule",),
    ("storage",),
    ("engines",),
    ("execute",),
    ("blobs",),
    ("io",),
    (
        "fields_access", "fields_dispute", "fields_engines", "fields_storage", "fields_survey", "fields", "metrics",
        "versions", "plot", "inspection", "console", "screens",
    ),
    ("survey",),
    ("dispute",),
    (
        "bench", "commands", "commands_execute", "commands_evm", "commands_access", "commands_blobs", "commands_state",
        "cli_options", "cli_access", "cli_blobs", "cli_state", "cli_survey", "commands_survey", "cli_dispute",
        "commands_dispute", "cli", "__main__",
        "plot/pictures", "plot/gallery",
    ),
]


def stage_of(module: str) -> int:
    """Position of a module (with slashes) in STAGES."""
    top = module if any(module in names for names in STAGES) else module.split("/")[0]
    return next(i for i, names in enumerate(STAGES) if top in names)


def imports_of(module: str, *, runtime_only: bool = True) -> set[str]:
    """Modules of the package (with slashes) that a module imports; imports for type checkers left out."""
    path = PACKAGE / f"{module}.py"
    tree = ast.parse(path.read_text())
    package = module.split("/")[:-1]
    found = set()
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and runtime_only:
            skipped.update(n for child in node.body for n in ast.walk(child))
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            parts = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                target = "/".join([*parts, alias.name])
                found.add(target if (PACKAGE / f"{target}.py").exists() or (PACKAGE / target).is_dir() else "/".join(parts))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not any(name.split(".")[0] == "pevm_numba" for name in names), f"{module}: use relative imports"
    return {name for name in found if name}


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__"])
def test_imports_go_one_way(module: str) -> None:
    for target in imports_of(module):
        assert stage_of(target) <= stage_of(module), f"{module} imports {target}"


@pytest.mark.parametrize("module", ["machine/spec", "machine/ops", "machine/gas"])
def test_the_authority_imports_no_kernel(module: str) -> None:
    assert not any(target.startswith("_kernels") for target in imports_of(module))
    naive = (Path(__file__).parent / "naive.py").read_text()
    assert "_kernels" not in naive


def test_only_jit_names_numba_options() -> None:
    for module in MODULES:
        text = (PACKAGE / f"{module}.py").read_text()
        if module != "_kernels/jit":
            assert "njit" not in text, module
        if not module.startswith("_kernels"):
            assert "import prange" not in text, module


def test_only_the_machine_its_kernels_and_makers_of_blocks_know_opcodes() -> None:
    allowed = (
        "machine", "_kernels", "io", "generate", "door", "joining", "programs", "parts", "block", "inspection", "__init__",
        "workload", "bench", "dispute",
    )  # fmt: skip
    for module in MODULES:
        text = (PACKAGE / f"{module}.py").read_text()
        knows = "import MAX_COUNT, Op" in text or ".SLOAD" in text or ".SSTORE" in text
        assert not knows or module.startswith(allowed), module


def test_modules_and_functions_stay_readable() -> None:
    for module in MODULES:
        text = (PACKAGE / f"{module}.py").read_text()
        assert text.count("\n") <= 420, f"{module} has {text.count(chr(10))} lines"
        assert not module.endswith(("utils", "core", "helpers")), module
        if module.startswith("_kernels"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert length <= 45, f"{module}.{node.name} has {length} lines"


def test_every_module_and_public_function_says_what_it_is_for() -> None:
    for module in MODULES:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text())
        assert ast.get_docstring(tree), module
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(ast.unparse(one) == "overload" for one in node.decorator_list):
                continue
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module}.{node.name}"


def run_python(code: str, **environment: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout


def test_importing_is_light_and_compiles_nothing() -> None:
    heavy = ["numba", "scipy", "pyarrow", "rich", "typer", "matplotlib", "rlp"]
    code = "import sys, pevm_numba; print([m for m in {!r} if m in sys.modules])"
    assert run_python(code.format(heavy)).strip() == "[]"
    code = (
        "import pevm_numba as pn\nfor name in pn.__all__: getattr(pn, name)\n"
        "import pevm_numba.bench.session\nfrom pevm_numba._kernels import jit\nprint(jit.dispatchers_with_code())\n"
        "import sys; print([m for m in ['rlp', 'ortools', 'coincurve', 'matplotlib'] if m in sys.modules])"
    )
    assert run_python(code).split() == ["[]", "[]"]  # what extras bring is imported when it is used


def test_public_names_are_what_they_say_even_after_submodules_of_that_name_are_imported() -> None:
    code = (
        "import pevm_numba.generate, pevm_numba.schedule.policies, pevm_numba as pn\n"
        "print(callable(pn.generate), callable(pn.schedule), sorted(dir(pn)) == sorted(pn.__all__))\n"
        "from pevm_numba import generate, schedule\nprint(callable(generate), callable(schedule))"
    )
    assert run_python(code).split() == ["True"] * 5
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pn.nothing  # noqa: B018  # the access is the test
