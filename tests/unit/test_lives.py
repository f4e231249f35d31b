"""One life of a link after another: what is waited, what is told, and what is not survived."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from contracts.errors import LinkError, SetupError
from messaging import lives
from messaging.lives import STABLE_S, live_again_and_again


@dataclass
class Link:
    """Ends of its lives in order: an error after so many seconds, or None for an end by itself."""

    ends: list[tuple[float, Exception | None]]
    now: float = 1000.0
    lived: int = 0
    waits: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def life(self) -> None:
        lasted, error = self.ends[self.lived]
        self.lived += 1
        self.now += lasted
        if error is not None:
            raise error

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def lost(self, error: LinkError) -> None:
        self.told.append(str(error))

    async def run(self, **wishes: float) -> None:
        await live_again_and_again(self.life, lost=self.lost, pause=self.pause, **wishes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Link], Link]:
    def use(link: Link) -> Link:
        monkeypatch.setattr(lives.time, "monotonic", lambda: link.now)
        return link

    return use


def failing(number: int, lasted: float = 0.0) -> list[tuple[float, Exception | None]]:
    return [(lasted, LinkError(f"lost {n}")) for n in range(number)]


async def test_it_lives_until_a_life_ends_by_itself(clock: Callable[[Link], Link]) -> None:
    link = clock(Link([*failing(5), (0.0, None), (0.0, None)]))
    await link.run()
    assert link.lived == 6
    assert link.told == [f"lost {n}" for n in range(5)]


async def test_waits_grow_with_jitter_and_have_an_end(clock: Callable[[Link], Link]) -> None:
    """Stations that lost their broker together must not come back together, nor wait for ever."""
    link = clock(Link([*failing(200), (0.0, None)]))
    await link.run(first_wait_s=0.2, longest_wait_s=10.0)
    assert len(link.waits) == 200
    assert all(wait <= min(0.2 * 2**n, 10.0) for n, wait in enumerate(link.waits))
    assert max(link.waits[20:]) > 5.0
    assert len(set(link.waits)) > 190


async def test_after_a_good_life_the_waits_begin_again(clock: Callable[[Link], Link]) -> None:
    link = clock(Link([*failing(30), *failing(1, lasted=STABLE_S), *failing(1), (0.0, None)]))
    await link.run(first_wait_s=0.2, longest_wait_s=10.0)
    assert link.lived == 33
    assert len(link.told) == 32
    assert link.waits[30] <= 0.2


@pytest.mark.parametrize("error", [SetupError("certificate"), ValueError("bug"), KeyError("bug")])
async def test_what_trying_again_cannot_help_goes_to_the_owner(clock: Callable[[Link], Link], error: Exception) -> None:
    link = clock(Link([*failing(2), (0.0, error)]))
    with pytest.raises(type(error)):
        await link.run()
    assert link.lived == 3
    assert len(link.told) == 2


async def test_cancelling_ends_it_in_a_life_and_in_a_wait() -> None:
    begun = asyncio.Event()

    async def for_ever(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def lose() -> None:
        raise LinkError("lost")

    for life, pause in ((for_ever, asyncio.sleep), (lose, for_ever)):
        begun.clear()
        living = asyncio.create_task(live_again_and_again(life, lost=lambda _: None, pause=pause))
        await begun.wait()
        living.cancel()
        with pytest.raises(asyncio.CancelledError):
            await living
