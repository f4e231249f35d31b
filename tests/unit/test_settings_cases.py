"""Mistakes a technician makes, each a folder: the file, and what is said of it, to the letter.

Where one line alone is wrong it says so by a comment ``# wrong``; the first message has to name that line.
"""

from pathlib import Path

import pytest

from agent.settings import SettingsError, load

CASES = Path(__file__).parents[1] / "cases" / "config"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_a_mistake_is_told(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / case)
    options = Path("overrides.txt")
    overrides = options.read_text(encoding="utf-8").splitlines() if options.exists() else []

    with pytest.raises(SettingsError) as refused:
        load(Path("station.yaml"), overrides)

    assert str(refused.value) + "\n" == Path("expected.txt").read_text(encoding="utf-8")
    text = Path("station.yaml").read_bytes().decode("utf-8", "replace")
    marked = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")]
    assert marked in ([], [refused.value.issues[0].line])


def test_there_are_many_cases() -> None:
    assert len(list(CASES.iterdir())) >= 120
