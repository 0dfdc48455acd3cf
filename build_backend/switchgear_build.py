"""The PEP 517 and PEP 660 backend of switchgear: a choice between two real ones.

`SWITCHGEAR_BUILD` says which. `native` is maturin, `pure` is hatchling (`py3-none-any`, the same package without the
native module), and `auto`, the default, is `native` where cargo and rustc are there and new enough, else `pure`.
`auto` chooses before it builds: a toolchain that is there and fails is an error, because a wheel that is silently
slower would be found out in production.

A frontend hides what a build prints, so the pure wheel carries the reason for the choice in its metadata
(`extra_metadata/pure.txt`), where `python -m switchgear doctor` reads it. The metadata and not the package: an
editable install has it too, and the source tree stays clean.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRES = {"native": ["maturin>=1.9.4,<2"], "pure": ["hatchling>=1.27"]}
ROOT = Path(__file__).resolve().parent.parent


def choose() -> tuple[str, str]:
    """Return the build, `native` or `pure`, and the reason for it in words that follow "because"."""
    asked = os.environ.get("SWITCHGEAR_BUILD", "") or "auto"
    # SystemExit: its text is all that the frontend then shows, where a traceback would bury it.
    if asked not in ("native", "pure", "auto"):
        raise SystemExit(f"switchgear: SWITCHGEAR_BUILD must be native, pure or auto, not {asked!r}")
    if asked == "pure":
        return "pure", "SWITCHGEAR_BUILD=pure"
    problem = toolchain_problem()
    if asked == "native":
        if problem:  # now, and not when maturin, without a toolchain, tries to download one
            raise SystemExit(f"switchgear: SWITCHGEAR_BUILD=native, but {problem}; pure or auto builds without Rust")
        return "native", "SWITCHGEAR_BUILD=native"
    return ("pure", problem) if problem else ("native", "cargo and rustc are usable")


def toolchain_problem() -> str | None:
    """Say what keeps the Rust toolchain of this machine from building the core; None when nothing does."""
    minimum = _minimum_rust()
    for tool in ("cargo", "rustc"):
        try:
            # Run and not only looked up: a rustup shim is on PATH even where no toolchain stands behind it.
            answer = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True, cwd=ROOT)
        except FileNotFoundError:
            return f"no {tool} on PATH"
        except (OSError, subprocess.SubprocessError) as error:
            return f"`{tool} --version` failed: {_last_line(error)}"
        found = re.search(r"\d+(?:\.\d+)+", answer.stdout)
        if found and _numbers(found[0]) < _numbers(minimum):
            return f"{tool} {found[0]} is older than {minimum}, which the core needs"
    return None


def _minimum_rust() -> str:
    # A regular expression and not tomllib: on Python 3.10 this must live long enough for requires-python to be read.
    found = re.search(r'^rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "0"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _last_line(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    return str(text).strip().splitlines()[-1]


@contextmanager
def _way_out() -> Iterator[None]:
    """Name the way out when the native build fails: whoever reads the log may want no Rust at all."""
    try:
        yield
    except (Exception, SystemExit):
        sys.stderr.write(
            "\nswitchgear: the native build failed, see above. SWITCHGEAR_BUILD=pure in the environment builds it"
            " without Rust: the same answers, slower.\n"
        )
        raise


def _requires(_settings: dict[str, Any] | None = None) -> list[str]:
    return REQUIRES[choose()[0]]


get_requires_for_build_wheel = get_requires_for_build_editable = _requires


def get_requires_for_build_sdist(_settings: dict[str, Any] | None = None) -> list[str]:
    """Return hatchling, always: one sdist, the same with and without Rust, serves both builds."""
    return REQUIRES["pure"]


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Pack the sources that either wheel can be built from."""
    from hatchling import build

    return str(build.build_sdist(sdist_directory, config_settings))


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel that was chosen."""
    return _build("build_wheel", wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build an editable wheel; the native one leaves its module in the source tree."""
    return _build("build_editable", wheel_directory, config_settings, metadata_directory)


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Write the metadata that the wheel will have."""
    return _prepare("build_wheel", metadata_directory, config_settings)


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Write the metadata that the editable wheel will have."""
    return _prepare("build_editable", metadata_directory, config_settings)


def _build(hook: str, directory: str, settings: dict[str, Any] | None, metadata: str | None) -> str:
    build, reason = choose()
    print(f"switchgear: the {build} build, because: {reason}")  # noqa: T201
    if build == "pure":
        from hatchling import build as hatchling

        return str(getattr(hatchling, hook)(directory, settings, metadata))
    import maturin

    with _way_out():
        return str(getattr(maturin, hook)(directory, settings, metadata))


def _prepare(hook: str, directory: str, settings: dict[str, Any] | None) -> str:
    if choose()[0] == "native":
        import maturin

        with _way_out():
            return str(maturin.prepare_metadata_for_build_wheel(directory, settings))
    # hatchling has no such hook under pip. Its wheel is built in milliseconds, and its own metadata cannot disagree.
    with tempfile.TemporaryDirectory() as scratch:
        name = _build(hook, scratch, settings, None)
        with zipfile.ZipFile(Path(scratch, name)) as wheel:
            members = [member for member in wheel.namelist() if ".dist-info/" in member]
            wheel.extractall(directory, members)
    return members[0].split("/")[0]


def get_build_hook() -> type:
    """Return hatchling's build hook, made here because hatchling is installed only where it was chosen."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class ReasonHook(BuildHookInterface):  # type: ignore[type-arg]
        """Put the reason for the pure build into the wheel's metadata."""

        def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
            self.scratch = tempfile.TemporaryDirectory()
            reason = Path(self.scratch.name, "pure.txt")
            reason.write_text(choose()[1] + "\n", "utf-8")
            build_data["extra_metadata"][str(reason)] = reason.name

        def finalize(self, _version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
            self.scratch.cleanup()

    return ReasonHook
