"""Every notebook runs from top to bottom without an error, and is committed without outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: Runs in a process of its own: Jupyter's warnings are not ours to turn into errors.
EXECUTE = """
import sys
from pathlib import Path
import nbformat
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient


class ThisPython(KernelManager):
    # whatever kernels the user has installed, run with the Python that runs the tests
    @property
    def kernel_spec(self):
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python")


notebook = nbformat.read(sys.argv[1], as_version=4)
folder = str(Path(sys.argv[1]).parent)
client = NotebookClient(notebook, timeout=240, km=ThisPython(), resources={"metadata": {"path": folder}})
client.execute()
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        print(output.get("text", ""), output.get("data", {}).get("text/plain", ""), sep="", end="\\n")
"""


def test_the_notebooks_are_there():
    assert [path.name for path in NOTEBOOKS][:6] == [
        "01_first_block.ipynb", "02_scheduling.ipynb", "03_access_lists.ipynb", "04_executors.ipynb", "05_storage.ipynb",
        "06_study.ipynb",
    ]  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert not cell.get("outputs"), cell.id
        assert cell.get("execution_count") is None, cell.id
        assert not cell.metadata, cell.id
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, request):
    if path.stem == "06_study":
        request.getfixturevalue("shared")  # a study of real blocks
    script = tmp_path / "execute.py"
    script.write_text(EXECUTE)
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    few = {"PEVM_NUMBA_EVERY": "8"}  # the study takes all blocks, and minutes, otherwise
    env = os.environ | few | {"PYTHONPATH": paths, "IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script), str(path)], env=env, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stdout
