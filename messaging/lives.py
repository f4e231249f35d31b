"""Keeping a link alive: one life after another, with back-off and jitter between failures (tenacity)."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from contracts.errors import LinkError

STABLE_S = 5.0
"""A life that lasted this long was a good one: the next failure starts with a short wait again."""


async def live_again_and_again(
    life: Callable[[], Awaitable[None]],
    *,
    lost: Callable[[LinkError], None],
    first_wait_s: float = 0.2,
    longest_wait_s: float = 10.0,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run ``life`` until it returns; when it raises LinkError, call ``lost`` and run it again after a wait.

    ``pause`` does the waiting; it may return early, for an owner who wants to stop.
    Every other exception, and cancellation, goes to the caller.
    """

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, LinkError):
            lost(error)

    ended = False
    while not ended:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(LinkError),
            wait=wait_random_exponential(multiplier=first_wait_s, max=longest_wait_s),
            before_sleep=tell,
            sleep=pause,
        )

        async def one_life() -> bool:
            """True when life ended by itself; False when it was lost after it had been stable."""
            born = time.monotonic()
            try:
                await life()
            except LinkError as error:
                if time.monotonic() - born < STABLE_S:
                    raise
                lost(error)
                return False
            return True

        ended = await retrying(one_life)
