"""Every example of docs/criteria.md and docs/cookbook.md is read as it stands there, and judges."""

import re
from pathlib import Path

import pytest

from central.criteria_file import read_criteria
from contracts.criteria import Outcome, judge

PAGE = Path("docs/criteria.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
COOKBOOK = re.findall(r"```yaml\n(.*?)```", Path("docs/cookbook.md").read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("place", range(len(EXAMPLES) + len(COOKBOOK)))
def test_an_example_is_right(place: int, tmp_path: Path) -> None:
    text = [*EXAMPLES, *COOKBOOK][place]
    file = tmp_path / "criteria.yaml"
    file.write_text(
        text if text.startswith("process:") else f"process: P03_SENSOR_INSPECTION\n{text}", encoding="utf-8"
    )
    criteria = read_criteria(file)
    for model in (None, "WR-200"):
        assert judge([], criteria.chosen("1", model, "P03-A", "tester")).outcome is Outcome.ERROR


def test_every_rule_has_an_example() -> None:
    from contracts.criteria import Criterion, Table, Warn

    told = "\n".join(EXAMPLES)
    for model in (Criterion, Table, Warn):
        for key in model.model_fields:
            assert re.search(rf"\b{key}:", told), f"{model.__name__}.{key} has no example"
