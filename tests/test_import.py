"""What `import switchgear` loads: the standard library and itself."""

import json
import subprocess
import sys

import pytest

# The answers of a fresh interpreter, which the modules of this one's tests would falsify.
PROGRAM = """
import json, sys
{before}
before = set(sys.modules)
import switchgear
{after}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(before: str = "", after: str = "") -> list[str]:
    """The modules that an import adds to an interpreter that has only run `before`."""
    program = PROGRAM.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    modules: list[str] = json.loads(done.stdout)
    return modules


@pytest.mark.parametrize("after", ["", "import switchgear.testing", "switchgear.CircuitBreaker('x').call_sync(int)"])
def test_only_the_standard_library_and_itself(after: str) -> None:
    """Importing and using switchgear loads no third-party module."""
    foreign = {name.partition(".")[0] for name in loaded(after=after)} - sys.stdlib_module_names - {"switchgear"}
    assert foreign == set()


def test_neither_asyncio_nor_trio() -> None:
    """A program without asyncio does not pay for it: importing, and sync calls, load neither asyncio nor trio."""
    sync = """
breaker = switchgear.CircuitBreaker('x')
assert breaker(lambda: 1)() == breaker.call_sync(int, 1) == 1
with breaker.guard():
    pass
breaker.force_open()
"""
    heavy = {"asyncio", "trio", "anyio", "uvloop", "ssl", "socket", "datetime", "typing_extensions"}
    silent = "import logging; logging.disable()"
    assert heavy & set(loaded(silent, sync)) == set()


def test_little_beside_asyncio() -> None:
    """In an interpreter that has asyncio next to nothing but switchgear's own modules is added."""
    others = [name for name in loaded("import asyncio") if name.partition(".")[0] != "switchgear"]
    assert len(others) <= 5, others


@pytest.mark.parametrize("module", ["cli", "demo", "testing"])
def test_what_is_not_needed_is_not_loaded(module: str) -> None:
    """The command line, the demo and the tools for tests are loaded by those who use them."""
    assert not [name for name in loaded() if name.startswith(f"switchgear.{module}")]


def test_every_public_name_is_there() -> None:
    """`__all__` is sorted, complete and importable."""
    import switchgear

    assert switchgear.__all__ == sorted(switchgear.__all__)
    assert all(hasattr(switchgear, name) for name in switchgear.__all__)
    public = {name for name, value in vars(switchgear).items() if not name.startswith("_") and callable(value)}
    assert public <= set(switchgear.__all__)
