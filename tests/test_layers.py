"""Imports point one way: cli -> commands -> runs -> retrieval and training -> models and data."""

import ast
import subprocess
import sys
from pathlib import Path

import reprise
from commands import ENVIRONMENT

PACKAGE = Path(reprise.__file__).parent
# Each part may import itself, its neighbours on the line, and what stands below.
LAYERS = [
    {"__init__", "accelerator", "allocator", "errors", "files", "scoring"}
    | {"words", *(path.stem for path in PACKAGE.glob("messages*.py"))},
    {"models", "data"},
    {"config"},
    {"provenance"},
    {"options", "help_language"},
    {"training", "retrieval"},
    {"runs"},
    {"searches"},
    {
        "console",
        "demo",
        "exporting",
        "listing",
        "live",
        "overview",
        "plan",
        "report",
        "reporting",
        "sweeps",
        "sweeps_picture",
        "terminal",
        "tracking",
        "waiting",
    },
    {"commands"},
    {"cli"},
    {"__main__", "reference"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def part_of(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def imported_parts(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    parts = {part_of(module) for module in modules if module and module.startswith("reprise.")}
    for node in ast.walk(tree):  # from reprise import files
        if isinstance(node, ast.ImportFrom) and node.module == "reprise":
            parts |= {name.name for name in node.names if name.name in LEVEL}
    return parts


def test_every_module_imports_only_its_layer_and_below() -> None:
    seen = set()
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        seen.add(part)
        above = {other for other in imported_parts(path) if LEVEL[other] > LEVEL[part]}
        assert not above, f"{path.relative_to(PACKAGE)} imports {above}"
    assert seen == set(LEVEL)


def test_files_and_functions_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 70, f"{path}: {node.name}"


def test_training_loads_nothing_that_only_tables_need() -> None:
    """It starts quicker by half a second."""
    loaded = "import reprise.console, reprise.data.locate, reprise.runs.session, sys"
    code = f"{loaded}; print(sorted({{'polars', 'scipy', 'pandas', 'plotly'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
