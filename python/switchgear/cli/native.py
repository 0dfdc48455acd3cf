"""What became of the native module: loaded, broken, built for another interpreter, or never built, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

import switchgear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "switchgear._native"


@dataclass(frozen=True, slots=True)
class NativeModule:
    """The native module as this interpreter sees it."""

    build: Mapping[str, str] | None
    """How it was built, when it loads: version, rustc, profile, pyo3."""
    error: str | None
    """Why it does not load, when a module for this interpreter is there."""
    files: tuple[str, ...]
    """Every native module in the package, those for other interpreters included."""


def look() -> NativeModule:
    """Load the native module if it is there, also where the pure backend was asked for: would the native one do?"""
    found = Path(switchgear.__path__[0]).glob("_native.*")
    files = tuple(sorted(path.name for path in found if path.suffix != ".pyi"))
    try:
        module = import_module(NAME)
    except ModuleNotFoundError as error:
        return NativeModule(None, None if error.name == NAME else str(error), files)
    except ImportError as error:
        return NativeModule(None, str(error), files)
    return NativeModule(dict(module.BUILD_INFO), None, files)


def reason(module: NativeModule) -> str:
    """Say why the backend in use is not the native one."""
    if os.environ.get("SWITCHGEAR_BACKEND") == "pure":
        return "SWITCHGEAR_BACKEND=pure asks for the pure one"
    if module.error is not None:
        return f"the native module does not load: {module.error}"
    if module.files:
        return f"the native module is built for another interpreter: {', '.join(module.files)}"
    built = build_reason()
    return f"this is the pure wheel, built without Rust: {built}" if built else "no native module was built"


def build_reason() -> str | None:
    """Return why the installed wheel is the pure one, in the words of the build; None for one that is not."""
    try:
        text = metadata.distribution("switchgear").read_text("extra_metadata/pure.txt")
    except metadata.PackageNotFoundError:
        return None
    return text.strip() if text else None


def problems(module: NativeModule, version: str) -> Iterator[str]:
    """Name what nobody can have wanted of a native module."""
    if module.error is not None:
        yield f"the native module does not load: {module.error}"
    if module.build is None:
        return
    if module.build["profile"] != "release":
        yield f"the native module is a {module.build['profile']} build: right, and many times slower"
    if module.build["version"] != version:
        yield f"the native module is of version {module.build['version']} and the package of {version}: build it again"
