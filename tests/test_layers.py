"""Imports point to lower layers only, without cycles."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import reprise
from helpers.commands import ENVIRONMENT

PACKAGE = Path(reprise.__file__).parent
# Each package may import itself and what stands on a line above its own.
FLOORS = (
    ("text",),
    ("errors",),
    ("durable", "runtime"),
    ("data",),
    ("memory",),
    ("models",),
    ("config",),
    ("training",),
    ("retrieval",),
    ("evaluation", "checkpoints"),
    ("runs",),
    ("serving", "report", "sweeps", "tracking", "importers", "planning", "views"),
    ("show", "arguments"),
    ("api",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    "reprise." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
}
# What answers a query; of training it may know what a state and an item row are, and no more.
QUERY = ("checkpoints", "retrieval", "serving")
OF_TRAINING = {"reprise.training.state", "reprise.training.item_table"}


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            of_names = [f"{node.module}.{name.name}" for name in node.names]
            yield from (name for name in [node.module, *of_names] if name in MODULES)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)


def room(module: str) -> str:
    return module.split(".")[1]


def test_package_has_few_modules_at_its_top() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    assert {room(module) for module in MODULES} == {*FLOOR, "__init__"}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "reprise.__init__"])
def test_imports_point_to_lower_layers_only(name: str) -> None:
    own = room(name)
    above = {
        other
        for other in imported(MODULES[name])
        if room(other) != own and FLOOR[room(other)] >= FLOOR[own]
    }
    assert not above, f"{name} imports {above}"


def test_imports_form_no_circle() -> None:
    order = TopologicalSorter({name: set(imported(path)) for name, path in MODULES.items()})
    assert set(order.static_order()) >= set(MODULES)  # CycleError names the modules of a circle


@pytest.mark.parametrize("part", QUERY)
def test_serving_imports_only_states_and_item_rows_of_training(part: str) -> None:
    for path in sorted((PACKAGE / part).rglob("*.py")):
        of_training = {other for other in imported(path) if room(other) == "training"}
        assert of_training <= OF_TRAINING, path


def test_functions_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 70, f"{path}: {node.name}"


def test_train_does_not_import_what_only_tables_need() -> None:
    """It starts quicker by half a second."""
    loaded = "import reprise.show.run, reprise.data.prepare, reprise.runs.session, sys"
    code = f"{loaded}; print(sorted({{'polars', 'scipy', 'pandas', 'plotly'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_import_of_the_package_changes_nothing() -> None:
    code = (
        "import os, sys; before = dict(os.environ), set(sys.modules)\n"
        "import reprise\n"
        "assert dict(os.environ) == before[0]\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before[1]}\n"
        "print(sorted(loaded - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['reprise']\n"  # and of it, this one file
