"""What the documents show is what the code does."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TREES = "benches|build_backend|docs|python|src|tests|\\.ci"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def snippets() -> list[object]:
    return [
        pytest.param(match[1], id=f"{document.stem}:{document.read_text()[: match.start()].count(chr(10)) + 1}")
        for document in DOCUMENTS
        for match in BLOCK.finditer(document.read_text())
    ]


@pytest.mark.parametrize("source", snippets())
def test_a_snippet_runs_as_it_stands(source: str) -> None:
    """Every Python block of the documents is a whole program that ends well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("module", ["switchgear.breaker", "switchgear.cli"])
def test_a_docstrings_example_is_what_happens(module: str) -> None:
    """What help() shows was typed and answered just so."""
    result = doctest.testmod(importlib.import_module(module))
    assert 0 < result.attempted
    assert 0 == result.failed


def test_the_readme_is_short() -> None:
    """A README is read, so it has at most 150 lines."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_documents_name_files_that_exist() -> None:
    """A link into the repository leads somewhere."""
    missing = [
        (document.name, target)
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)#]+)", document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert [] == missing


def test_the_documents_name_paths_that_exist() -> None:
    """A path in backticks is the path of a file, or of a folder with one in it: git keeps no empty ones."""
    named = [
        (document.name, path)
        for document in DOCUMENTS
        for path in re.findall(rf"`((?:{TREES})/[^`\s]*)`", document.read_text())
    ]
    assert named
    there = {path for _, path in named if (ROOT / path).is_file() or any(map(Path.is_file, (ROOT / path).rglob("*")))}
    assert [] == [(document, path) for document, path in named if path not in there]
