"""The build backend as a module, and machines with and without a Rust toolchain."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The backend, called as a frontend calls it: in the root of the source tree, nothing asked for."""
    spec = importlib.util.spec_from_file_location("switchgear_build", ROOT / "build_backend" / "switchgear_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SWITCHGEAR_BUILD", raising=False)
    return module


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put these programs, and no others, on PATH: `machine(cargo="echo cargo 1.99.0")`."""

    def install(**programs: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, script in programs.items():
            program = folder / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return install
