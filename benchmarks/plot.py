"""Draw what the other benchmarks measured: python benchmarks/plot.py

    python benchmarks/step.py --json step.json
    python benchmarks/catalogue.py --json catalogue.json
    python benchmarks/evaluate.py --json evaluate.json
    python benchmarks/plot.py step.json catalogue.json evaluate.json --output docs/performance.svg

A panel for each kind of file that is given: each program's step over ours, on a logarithmic scale;
a step over the floor; a step's time against the size of the catalogue; users evaluated a second.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Rows = list[dict[str, Any]]

OURS, OTHERS, FLOOR = "#2a6f97", "#c1666b", "#8d99ae"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="What the benchmarks wrote by --json.")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = [
        row
        for path in options.files
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]
    ]
    drawn = [(draw, found) for draw, column in PANELS if (found := having(rows, column))]
    mpl.rcParams |= {"svg.hashsalt": "reprise", "font.size": 9}  # the same bytes again
    figure = Figure(figsize=(10, 3.4 * ((len(drawn) + 1) // 2)), layout="constrained")
    for place, (draw, found) in enumerate(drawn):
        draw(figure.add_subplot((len(drawn) + 1) // 2, 2, place + 1), found)
    figure.savefig(options.output, metadata={"Date": None})


def having(rows: Rows, column: str) -> Rows:
    """Return the rows that have the column."""
    return [row for row in rows if column in row]


def draw_peers(axes: Axes, rows: Rows) -> None:
    """Draw how many times as long as ours each program's step takes."""
    names = [f"{row['peer']}\n{row['model']}, {row['shape']}" for row in rows]
    _bars(axes, names, [row["peer/step"] for row in rows], "{:.1f}x")
    axes.set_xscale("log")
    axes.axvline(1, color=OURS)
    axes.set_title("A step over Reprise's")


def draw_floors(axes: Axes, rows: Rows) -> None:
    """Draw each step over the floor of its FLOPs and bytes."""
    names = [f"{row['model']}, {row['shape']}" for row in rows]
    _bars(axes, names, [row["step/floor"] for row in rows], "{:.2f}x", OURS)
    axes.axvline(1, color=FLOOR)
    axes.set_title("Reprise's step over the machine's floor")


def draw_catalogue(axes: Axes, rows: Rows) -> None:
    """Draw a step's time against the number of items."""
    axes.plot([row["items"] for row in rows], [row["ratio"] for row in rows], "o-", color=OURS)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.2 * max(row["ratio"] for row in rows))
    axes.set_xlabel("items")
    axes.set_title("A step's time over the smallest catalogue's")


def draw_evaluation(axes: Axes, rows: Rows) -> None:
    """Draw users a second."""
    names = [f"{row['by']}, {row['shape']}" for row in rows]
    _bars(axes, names, [row["users/s"] for row in rows], "{:.0f}", OURS)
    axes.set_title("Users evaluated a second")


def _bars(
    axes: Axes, names: list[str], values: list[float], form: str, color: str = OTHERS
) -> None:
    bars = axes.barh(names, values, color=color)
    axes.bar_label(bars, [form.format(value) for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.25)


# What draws the rows that have a column.
PANELS: tuple[tuple[Callable[[Axes, Rows], None], str], ...] = (
    (draw_peers, "peer/step"),
    (draw_floors, "step/floor"),
    (draw_catalogue, "ratio"),
    (draw_evaluation, "users/s"),
)


if __name__ == "__main__":
    main()
