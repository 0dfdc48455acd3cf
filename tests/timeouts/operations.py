"""Operations that the scenarios share."""

import asyncio


class Boom(Exception):
    """A failure of the dependency."""


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def two_steps() -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "done"


async def fail() -> None:
    await asyncio.sleep(0)
    raise Boom
