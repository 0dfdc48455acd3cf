"""The saboteur's line to the server, beside the services: it tells it how to behave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import httpx2

from switchgear.demo.errors import DemoError

if TYPE_CHECKING:
    from types import TracebackType

    from switchgear.demo.modes import Mode

COMMAND_SECONDS: Final = 5.0


class Control:
    """Set the server's modes: `async with Control(url) as control`."""

    def __init__(self, url: str) -> None:
        # No proxy from the environment: this is loopback.
        self._client = httpx2.AsyncClient(base_url=url, timeout=COMMAND_SECONDS, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def set_mode(self, kind: str, mode: Mode) -> None:
        """Tell the server how to behave to requests of this kind from now on.

        Raises:
            DemoError: It does not take the order.
        """
        try:
            response = await self._client.put("/mode", json={kind: mode})
            response.raise_for_status()
        except httpx2.HTTPError as error:
            raise DemoError(f"the server does not take orders: {error!r}") from error
