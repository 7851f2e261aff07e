"""Every notebook runs from its first cell to its last, and is kept without outputs."""

import json
import pathlib

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "colab").glob("*.ipynb"))
INSTALL = "install"
"""Tag of the cells that make the package available, which it is here."""


def code_cells(notebook: pathlib.Path) -> list[dict]:
    document = json.loads(notebook.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def test_there_is_a_notebook():
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook):
    for cell in code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    ran = 0
    for number, cell in enumerate(code_cells(notebook)):
        if INSTALL in cell["metadata"].get("tags", ()):
            continue
        source = "".join(cell["source"])
        exec(compile(source, f"{notebook.name}, code cell {number}", "exec"), namespace)
        ran += 1
    assert ran > 0
