"""The page in a real browser: positions of what is drawn, and no console errors."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers.browsers import BROWSER, needs_browser
from helpers.report_pages import make_page
from reprise.runs.folder import RunFolder

pytestmark = needs_browser
DARK = "--blink-settings=preferredColorScheme=0"
# Reads from what is drawn, in pixels, at which step and height each mark stands.
PROBE = """
<script>
const look = () => {
  if (!document.documentElement.dataset.drawn) { setTimeout(look, 50); return; }
  const found = {width: document.documentElement.scrollWidth, screen: window.innerWidth};
  found.ink = getComputedStyle(document.querySelector(".plot .xtick text")).fill;
  found.drawn = document.documentElement.dataset.drawn;
  const places = [...document.querySelectorAll(".plot")];
  found.undrawn = places.filter((place) => !place.closest("details") && !place._fullLayout);
  found.plots = {};
  for (const place of document.querySelectorAll(".plot")) {
    const marks = found.plots[place.id] = {};
    for (const group of place.querySelectorAll("g.trace.scatter")) {
      const trace = group.__data__[0].trace;
      const {xaxis, yaxis} = place._fullLayout;
      marks[trace.meta] = [...group.querySelectorAll("path.point")].map((point) => {
        const [x, y] = point.getAttribute("transform").match(/[-\\d.]+/g).map(Number);
        return [xaxis.p2d(x), yaxis.p2d(y)];
      });
      marks[trace.meta + " text"] = [...group.querySelectorAll("text")].map((t) => t.textContent);
    }
  }
  const told = document.createElement("pre");
  told.id = "probe";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
};
look();
</script>
"""


def browse(page: Path, profile: Path, *flags: str) -> tuple[dict[str, Any], list[str]]:
    """Return what the probe found in the page, and what the browser's console said."""
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    done = subprocess.run(
        [
            *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={profile}", "--enable-logging=stderr", "--window-size=1280,2000"),
            *("--virtual-time-budget=20000", *flags, "--dump-dom", probed.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout)
    assert found is not None, done.stderr
    facts: dict[str, Any] = json.loads(found[1])
    return facts, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def near(places: list[tuple[float, float]]) -> list[Any]:
    return [pytest.approx(place, abs=0.02) for place in places]


def test_page_draws_events_and_best_at_their_steps_without_errors(
    eventful: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    make_page(page, eventful.path, "--data-dir", small_data, "--lambda", 0.5)
    found, console = browse(page, tmp_path / "profile")
    assert console == []
    assert found["ink"] == "rgb(29, 35, 48)"
    assert found["undrawn"] == []
    assert int(found["drawn"]) > 8
    marks = found["plots"]["curve-valid-recall-10"]
    assert marks["resumed"] == near([(8, 0.3), (14, 0.225)])
    assert marks["resumed text"] == ["#2", "#3"]
    assert marks["rewound"] == near([(8, 0.3), (16, 0.4)])
    assert marks["rewound text"] == ["#4", "#5"]
    assert marks["best"] == near([(16, 0.4)])
    assert found["width"] <= found["screen"]

    found, console = browse(page, tmp_path / "profile", DARK)
    assert console == []
    assert found["ink"] == "rgb(228, 232, 239)"
