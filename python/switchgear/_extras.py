"""The one place that says what to install when a library of an extra is missing."""

import importlib
from types import ModuleType


def need(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a third-party module, or say which extra brings it.

    Args:
        module: What to import: ``httpx2``.
        extra: The extra of switchgear that brings it: ``http``.
        purpose: Who needs it, for the message: ``ApiCircuitBreaker``.

    Raises:
        ImportError: It is not installed, or does not import; the text says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module!r}, which does not import here: pip install 'switchgear[{extra}]'", name=module
        ) from error
