"""Mistakes a technician makes, each a folder: the file, and what is said of it, to the letter."""

from pathlib import Path

import pytest

from agent.settings import SettingsError, load

CASES = Path(__file__).parents[1] / "cases" / "settings"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_a_mistake_is_told(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / case)
    options = Path("overrides.txt")
    overrides = options.read_text(encoding="utf-8").splitlines() if options.exists() else []

    with pytest.raises(SettingsError) as refused:
        load(Path("station.yaml"), overrides)

    assert str(refused.value) + "\n" == Path("expected.txt").read_text(encoding="utf-8")


def test_there_are_many_cases() -> None:
    assert len(list(CASES.iterdir())) >= 30
