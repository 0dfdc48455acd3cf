"""The pure build: one wheel for every interpreter, that knows why it is pure, and an sdist that serves both builds."""

import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def asked_for(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the pure build, after `backend` has taken back what the environment asks for."""
    monkeypatch.setenv("SWITCHGEAR_BUILD", "pure")


def sources() -> set[Path]:
    # By the folder, not the suffix: a .pyc that another process is just writing has a suffix of its own.
    paths = (path for path in (ROOT / "python").rglob("*") if "__pycache__" not in path.parts)
    return {path for path in paths if path.suffix != ".so" and path.is_file()}


def test_wheel(backend: ModuleType, tmp_path: Path) -> None:
    """It holds every source of the package and no native module, whatever an earlier build left in the tree."""
    name = backend.build_wheel(str(tmp_path))
    assert name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(tmp_path / name) as wheel:
        packed = {member for member in wheel.namelist() if member.startswith("switchgear/")}
    assert packed == {path.relative_to(ROOT / "python").as_posix() for path in sources()}


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
def test_reason(backend: ModuleType, tmp_path: Path, hook: str) -> None:
    """The reason for the choice lies in the metadata of the wheel, and nothing of it in the source tree."""
    before = sources()
    name = getattr(backend, hook)(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as wheel:
        (reason,) = (member for member in wheel.namelist() if member.endswith(".dist-info/extra_metadata/pure.txt"))
        assert wheel.read(reason) == b"SWITCHGEAR_BUILD=pure\n"
    assert sources() == before


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_metadata(backend: ModuleType, tmp_path: Path, kind: str) -> None:
    """The metadata that is prepared is the metadata that is installed."""
    folder = getattr(backend, f"prepare_metadata_for_build_{kind}")(str(tmp_path))
    name = getattr(backend, f"build_{kind}")(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as wheel:
        assert wheel.read(f"{folder}/METADATA") == (tmp_path / folder / "METADATA").read_bytes()


def test_editable(backend: ModuleType, tmp_path: Path) -> None:
    """An editable install is a path to the sources."""
    with zipfile.ZipFile(tmp_path / backend.build_editable(str(tmp_path))) as wheel:
        (path,) = (member for member in wheel.namelist() if member.endswith(".pth"))
        assert wheel.read(path).decode().split() == [str(ROOT / "python")]


def test_sdist(backend: ModuleType, tmp_path: Path) -> None:
    """The sdist has what either build and the tests read, and no product of a build."""
    with tarfile.open(tmp_path / backend.build_sdist(str(tmp_path))) as sdist:
        packed = {name.split("/", 1)[1] for name in sdist.getnames()}
    rust = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.rs")}
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    needed = {"Cargo.toml", "Cargo.lock", "pyproject.toml", "build_backend/switchgear_build.py"}
    tested = {"README.md", "CONTRIBUTING.md", "Makefile", "benches/RESULTS.md", "tests/test_docs.py"}
    assert needed | tested | rust | documents <= packed
    assert not [name for name in packed if name.endswith((".so", ".pyd")) or name.startswith("target/")]
