"""Type checkers on a user's code: `api.py`, every line of which says what it has to be."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import switchgear

pytestmark = pytest.mark.once

API = Path(__file__).with_name("api.py")
# The package that is tested, which lies in the source tree or is installed.
HOME = Path(switchgear.__file__).parents[1]


def test_mypy(tmp_path: Path) -> None:
    """`mypy --strict` finds every mistake in a user's code, and nothing else."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("SKIPPED: mypy is not installed")
    environment = dict(os.environ)
    if HOME.name != "site-packages":
        environment["MYPYPATH"] = str(HOME)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(API)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (done.stdout.strip(), done.returncode) == ("Success: no issues found in 1 source file", 0), done.stderr


def test_pyright(tmp_path: Path) -> None:
    """pyright, strict, finds every mistake in a user's code, and nothing else."""
    program = shutil.which("basedpyright", path=sysconfig.get_path("scripts")) or shutil.which("pyright")
    if program is None:
        pytest.skip("SKIPPED: neither basedpyright nor pyright is installed")
    shutil.copy(API, tmp_path)
    settings = {
        "include": ["api.py"],
        "extraPaths": [str(HOME)],
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [program, "--project", str(tmp_path), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    found = [
        f"{each['range']['start']['line'] + 1}: {each['message']}"
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] != "information"
    ]
    assert found == []
