"""The pages of the documentation: their blocks run as printed, and their links lead somewhere."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
BLOCK = r"^```python\n(.*?)^```"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def run_blocks(page, directory):
    """Runs a page's blocks in one namespace, in a directory of their own, warnings being errors."""
    text = page.read_text()
    # Blank lines in front keep the page's own line numbers in a traceback.
    lines = [""] * len(text.splitlines())
    for block in re.finditer(BLOCK, text, re.S | re.M):
        first = text[: block.start(1)].count("\n")
        body = block[1].splitlines()
        lines[first : first + len(body)] = body
    (directory / "page.py").write_text("\n".join(lines) + "\n")
    return subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page.name not in ("README.md", "evaluation.md")
        and re.search(BLOCK, page.read_text(), re.S | re.M)
    ],
    ids=lambda page: page.name,
)
def test_a_pages_blocks_run_in_order(page, tmp_path):
    done = run_blocks(page, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_evaluation_pages_blocks_run_in_order(tmp_path):
    page = (ROOT / "docs" / "evaluation.md").read_text()
    blocks = re.findall(BLOCK, page, re.S | re.M)
    done = run_blocks(ROOT / "docs" / "evaluation.md", tmp_path)
    assert len(blocks) > 20
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^classification 240 \('news', 'sport', 'tech'\) \['length'\]$", done.stdout, re.M
    )
    assert "auroc_ovr_macro undefined: " in done.stdout
    assert "cannot be compared" in done.stdout
    command = re.search(r"`jaxtransfer (evaluate foreign\.csv)`", page)[1].split()
    printed = subprocess.run(
        [sys.executable, "-m", "jaxtransfer", *command, "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert printed.returncode == 0, printed.stderr
    (measured,) = json.loads(printed.stdout).values()
    assert {"value", "ci", "n", "definition"} <= measured["macro_f1"].keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_are_there(page):
    """A file that a page names, in a link or as a path of the repository, exists."""
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:tests|experiments|configs)/[\w/]+\.py)`", text):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert (ROOT / "tests" / "evaluation" / name).exists(), name
