"""docs/python.md is followed literally, as a script and in a notebook's kernel."""

import ast
import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import reprise
from helpers.commands import ENVIRONMENT
from helpers.pages import DOCS, fenced, session

PAGE = DOCS / "python.md"


def run(code: str, names: dict[str, Any]) -> str:
    """Run a block as a notebook does, and return what it shows: lines, or the value at its end."""
    body = ast.parse(code).body
    ending = body.pop() if isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), PAGE.name, "exec"), names)
        if isinstance(ending, ast.Expr):
            value = eval(compile(ast.Expression(ending.value), PAGE.name, "eval"), names)
    return printed.getvalue().rstrip("\n") if value is None else repr(value)


@pytest.mark.users_bits
def test_python_page_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = session(PAGE)
    assert len(blocks) == len(fenced(PAGE, "python")) > 10
    assert sum(shown is not None for _, shown in blocks) == len(fenced(PAGE, "text")) > 3
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code, shown in blocks:
        found = run(code, names)
        assert shown is None or found == shown
    trained, model = names["run"], names["model"]
    assert trained.history["step"].to_list() == [100, 200, 300, 400, 500]
    liked = {f"sku-{n}" for n in range(20)}  # of the category that the history is of
    assert len(liked & set(names["best"])) >= 8
    assert repr(model).startswith("Recommender(ComiRec-DR on clicks, step ")
    assert names["facts"]["cutoffs"] == [20, 50]


def test_python_page_names_what_there_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in reprise.__all__:
        assert f"{name}" in text or name == "__version__", name


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of the notebook's own libraries
def test_python_page_runs_in_a_notebook(tmp_path: Path) -> None:
    """Its displays are those of the page, and a run is shown as a table."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    blocks = session(PAGE)
    cells = [nbformat.v4.new_code_cell(code) for code, _ in blocks]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute(env=dict(os.environ) | ENVIRONMENT)
    for cell, (_, shown) in zip(notebook.cells, blocks, strict=True):
        if shown is not None:
            assert displayed(cell.outputs) == shown
    tables = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert any("<caption>first</caption>" in table for table in tables)


def displayed(outputs: list[Mapping[str, Any]]) -> str:
    """Return what a cell shows as text."""
    parts = [
        output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
        for output in outputs
    ]
    return "".join(parts).rstrip("\n")
