"""Every scenario of the list has a test, and every test names the scenario's source."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# 40 is in no list: the numbering of the collected scenarios goes from 39 to 41.
SCENARIOS = {*range(1, 46)} - {40}
# "Scenario 3 (transformers#28544, lightning#1463): ..." or "Scenarios 20, 24 (...): ...".
HEADING = re.compile(r"Scenarios? (\d+(?:, \d+)*) \(([^()]*(?:\(\)[^()]*)*)\): \S", re.DOTALL)
# The upstream issue of each scenario that has one.
ISSUES = {
    1: "keras#17012",
    3: "lightning#1463",
    4: "lightning#1464",
    5: "transformers#10290",
    6: "keras#9462",
    7: "lightning#2636",
    10: "transformers#48315",
    11: "lightning#19549",
    12: "transformers#15089",
    14: "lightning#1150",
    15: "lightning#18687",
    16: "lightning#11379",
    18: "transformers#17265",
    20: "lightning#688",
    21: "transformers#35782",
    25: "torchtitan#930",
    32: "nanoGPT#467",
    34: "transformers PR46628",
    37: "lightning#19367",
    41: "transformers#43708",
    43: "tensorboard#3732",
    45: "lightning#21623",
}


def headings() -> Iterator[tuple[str, str]]:
    """The name and docstring of each test under this folder whose docstring names a scenario."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.get_docstring(node) or ""
                if text.startswith("Scenario"):
                    yield f"{path.name}::{node.name}", text


def test_accounting_has_a_test_with_its_source_for_each_scenario() -> None:
    tests: Counter[int] = Counter()
    for name, text in headings():
        heading = HEADING.match(text)
        assert heading is not None, f"{name}: begin with 'Scenario N (upstream source): '"
        numbers = [int(number) for number in heading[1].split(", ")]
        assert set(numbers) <= SCENARIOS, name
        named = [ISSUES[number] in heading[2] for number in numbers if number in ISSUES]
        assert all(named), f"{name}: name the upstream issue"
        tests.update(numbers)
    print(f"{len(tests)} scenarios, {sum(tests.values())} tests: {dict(sorted(tests.items()))}")
    assert set(tests) == SCENARIOS
    assert len(tests) == 44


def test_accounting_heading_requires_a_source() -> None:
    assert HEADING.match("Scenario 1 (keras#17012): the best is kept.")
    assert HEADING.match("Scenarios 19, 20 (Orbax `save()` returning False, x#1): kept.")
    for wrong in ("Scenario 1: kept.", "Scenario 1 (): ", "Scenario (x#1): kept."):
        assert not HEADING.match(wrong)
