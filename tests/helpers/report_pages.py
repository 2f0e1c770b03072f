"""Make a report in this process, and read the data embedded in its page."""

import json
import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from reprise.cli.commands.report import report


def invoke(*arguments: object) -> Result:
    """Run `reprise report ARGUMENTS` in English."""
    return CliRunner().invoke(report, [*map(str, arguments), "--lang", "en"])


def make_page(output: Path, *arguments: object) -> str:
    """Return the page that `reprise report ARGUMENTS` writes to `output`."""
    done = CliRunner().invoke(report, [*map(str, arguments), "--output", str(output)])
    assert done.exit_code == 0, done.exception
    assert str(output) in done.stdout
    return output.read_text(encoding="utf-8")


def embedded(page: str, name: str) -> Any:
    """Return the page's JSON of that id: "facts" or "figures"."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def traces(figure: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the traces of a kind: kept, left, best, or an event's name."""
    return [trace for trace in figure["data"] if trace.get("meta") == kind]


def points(trace: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return a trace's points."""
    return list(zip(trace["x"], trace["y"], strict=True))


def own_markup(page: str) -> str:
    """Return the page without plotly's script, which has addresses of its own that it never uses
    for what is drawn here.
    """
    start = page.index("/**\n* plotly.js")
    return page[:start] + page[page.index("</script>", start) :]
