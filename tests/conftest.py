"""What holds for every test: a real end (no task, no thread left behind) and an end in time."""

import asyncio
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Generator

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester", "tests.support.postgres"]

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), max_examples=300, print_blob=True)
settings.register_profile("proof", settings.get_profile("ci"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

GRACE_S = 2.0
_THREADS = pytest.StashKey[set[threading.Thread]]()


@pytest.fixture(autouse=True)
def ends_its_tasks(request: pytest.FixtureRequest) -> None:
    """Every coroutine test is watched for tasks it leaves; set up before its other fixtures, looked at after them."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_task_left")


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command run inside a test sets no logging for those after it: its stream is closed by then."""
    monkeypatch.setattr(structlog, "configure", lambda **_settings: None)


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fails the test whose tasks still run after it: an owner forgot to cancel or await them."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, pending = await asyncio.wait(left, timeout=GRACE_S)
        assert not pending, f"tasks left running: {sorted(repr(task) for task in pending)}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    item.stash[_THREADS] = set(threading.enumerate())
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fails the test whose threads still run after its fixtures and its event loop have ended."""
    yield
    before = item.stash[_THREADS]
    deadline = time.monotonic() + GRACE_S
    while left := set(threading.enumerate()) - before:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left running: {sorted(thread.name for thread in left)}", pytrace=False)
        next(iter(left)).join(0.05)
