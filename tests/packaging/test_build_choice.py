"""SWITCHGEAR_BUILD and the toolchain choose the build, before it begins, and the choice has a reason."""

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

Machine = Callable[..., None]

RUSTC = "echo 'rustc 1.99.0 (0123abcd 2027-01-01)'"
CARGO = "echo 'cargo 1.99.0 (0123abcd 2027-01-01)'"


@pytest.mark.parametrize("build", ["native", "pure"])
def test_asked_for(backend: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    """What is asked for is built, whatever `auto` would have chosen."""
    machine(**({"cargo": CARGO, "rustc": RUSTC} if build == "native" else {}))
    monkeypatch.setenv("SWITCHGEAR_BUILD", build)
    assert backend.choose() == (build, f"SWITCHGEAR_BUILD={build}")


@pytest.mark.parametrize("hook", ["_requires", "choose"])
def test_unknown(backend: ModuleType, monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    """Another value is refused at the first hook, and the message names the three that there are."""
    monkeypatch.setenv("SWITCHGEAR_BUILD", "rust")
    with pytest.raises(SystemExit, match="SWITCHGEAR_BUILD must be native, pure or auto, not 'rust'"):
        getattr(backend, hook)()


@pytest.mark.parametrize("value", ["", "auto"])
def test_toolchain(backend: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """`auto`, which is also what an empty value means, is native where cargo and rustc are new enough."""
    machine(cargo=CARGO, rustc=RUSTC)
    monkeypatch.setenv("SWITCHGEAR_BUILD", value)
    assert backend.choose()[0] == "native"


NO_TOOLCHAIN = pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({}, "no cargo on PATH"),
        ({"cargo": CARGO}, "no rustc on PATH"),
        (
            {"cargo": "echo 'warning: x' >&2; echo 'error: no toolchain is installed' >&2; exit 1", "rustc": RUSTC},
            "`cargo --version` failed: error: no toolchain is installed",
        ),
        ({"cargo": "echo 'cargo 1.9.0 (0123abcd 2016-01-01)'", "rustc": RUSTC}, "cargo 1.9.0 is older than "),
        ({"cargo": CARGO, "rustc": "echo 'rustc 1.9.0'"}, "rustc 1.9.0 is older than "),
    ],
    ids=["none", "no rustc", "a shim that stands for nothing", "old cargo", "old rustc"],
)


@NO_TOOLCHAIN
def test_no_toolchain(backend: ModuleType, machine: Machine, programs: dict[str, str], reason: str) -> None:
    """`auto` is pure where the toolchain cannot build the core, and says what is wrong with it."""
    machine(**programs)
    build, because = backend.choose()
    assert (build, because[: len(reason)]) == ("pure", reason)


@NO_TOOLCHAIN
@pytest.mark.parametrize("hook", ["_requires", "choose"])
def test_native_without_toolchain(
    backend: ModuleType,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    programs: dict[str, str],
    reason: str,
    hook: str,
) -> None:
    """`native` is refused at the first hook where nothing can build it, in one line that names what is missing."""
    machine(**programs)
    monkeypatch.setenv("SWITCHGEAR_BUILD", "native")
    with pytest.raises(SystemExit) as caught:
        getattr(backend, hook)()
    assert str(caught.value).startswith(f"switchgear: SWITCHGEAR_BUILD=native, but {reason}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("build", "requirement"), [("native", "maturin"), ("pure", "hatchling")])
def test_requirements(
    backend: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, build: str, requirement: str
) -> None:
    """A wheel requires what its build needs and no more; the sdist is hatchling's on every machine."""
    machine(cargo=CARGO, rustc=RUSTC)
    monkeypatch.setenv("SWITCHGEAR_BUILD", build)
    for hook in (backend.get_requires_for_build_wheel, backend.get_requires_for_build_editable):
        assert [name.startswith(requirement) for name in hook()] == [True]
    assert [name.startswith("hatchling") for name in backend.get_requires_for_build_sdist()] == [True]


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable", "prepare_metadata_for_build_wheel"])
@pytest.mark.parametrize("failure", [SystemExit(1), RuntimeError("boom")], ids=repr)
def test_native_build_fails(
    backend: ModuleType,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hook: str,
    failure: BaseException,
) -> None:
    """A toolchain that is there and fails is an error that names the way out, never a pure wheel."""

    def fail(*_arguments: object) -> str:
        raise failure

    machine(cargo=CARGO, rustc=RUSTC)
    monkeypatch.setitem(sys.modules, "maturin", SimpleNamespace(**{hook: fail}))
    with pytest.raises(type(failure)) as caught:
        getattr(backend, hook)("unused")
    assert caught.value is failure
    assert "SWITCHGEAR_BUILD=pure" in capsys.readouterr().err
