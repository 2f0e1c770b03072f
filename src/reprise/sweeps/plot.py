"""Plot a sweep as a self-contained HTML file, with Optuna and Plotly."""

from html import escape
from pathlib import Path
from typing import Any

from optuna import visualization

from reprise import durable
from reprise.sweeps.study import opened_study
from reprise.text.messages import Messages

_PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font-family: sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem; }}
</style>
</head><body><h1>{title}</h1>{figures}</body></html>
"""


def draw(folder: Path, facts: dict[str, Any], messages: Messages) -> Path | None:
    """Write sweep.html and return its path; None if no trial has a result.

    It shows the best so far by trial, the recall by each setting, and all settings together.
    """
    if facts["best"] is None:
        return None
    name, text = facts["metric"], messages.text
    with opened_study(folder) as study:
        figures = {
            "picture_history": visualization.plot_optimization_history(study, target_name=name),
            "picture_slice": visualization.plot_slice(study, target_name=name),
            "picture_parallel": visualization.plot_parallel_coordinate(study, target_name=name),
        }
    parts = []
    for number, (title, figure) in enumerate(figures.items()):
        figure.update_layout(title=text(title), template="plotly_white")
        # The first plot includes the script.
        plain = {"displaylogo": False, "responsive": True}
        parts.append(figure.to_html(plain, full_html=False, include_plotlyjs=number == 0))
    title = escape(text("sweep_title", name=facts["sweep"], dataset=facts["dataset"]))
    page = _PAGE.format(lang=messages.language, title=title, figures="\n".join(parts))
    path = folder / "sweep.html"
    durable.replace_file(path, page.encode())
    return path
