"""The watch over every test: what a test leaves running fails that test."""

from pathlib import Path

import pytest

from tests.support.processes import ROOT


@pytest.fixture
def watched(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A pytest of its own with our conftest."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(
        (Path(__file__).parents[1] / "conftest.py").read_text().replace("GRACE_S = 2.0", "GRACE_S = 0.1")
    )
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    return pytester


def test_a_task_left_running_fails_the_test(watched: pytest.Pytester) -> None:
    watched.makepyfile(
        """
        import asyncio

        async def test_leaves():
            asyncio.create_task(asyncio.sleep(60), name="forgotten")

        async def test_awaits():
            await asyncio.create_task(asyncio.sleep(0))
        """
    )
    result = watched.runpytest_subprocess()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*tasks left running*forgotten*", "ERROR *::test_leaves*"])


def test_a_thread_left_running_fails_the_test(watched: pytest.Pytester) -> None:
    watched.makepyfile(
        """
        import asyncio, threading, time

        def test_leaves():
            threading.Thread(target=time.sleep, args=(3,), name="forgotten", daemon=True).start()

        def test_joins():
            thread = threading.Thread(target=time.sleep, args=(0.01,))
            thread.start()
            thread.join()

        async def test_borrows_a_thread_of_the_loop():
            await asyncio.to_thread(time.sleep, 0)
        """
    )
    result = watched.runpytest_subprocess()
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*threads left running: [[]'forgotten'[]]*", "ERROR *::test_leaves*"])


def test_a_fixture_that_cleans_up_after_the_test_is_waited_for(watched: pytest.Pytester) -> None:
    watched.makepyfile(
        """
        import asyncio, contextlib
        import pytest

        @pytest.fixture
        async def worker():
            task = asyncio.create_task(asyncio.sleep(60))
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        async def test_uses(worker):
            pass
        """
    )
    watched.runpytest_subprocess().assert_outcomes(passed=1)
