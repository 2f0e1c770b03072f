"""Control characters in text from files are escaped wherever it is shown."""

import csv
import io
import json
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import RUN, Done, reprise, train
from reprise.report.page import _finalized
from reprise.text.messages import Messages, Phrase
from reprise.text.shown import shown, shown_in_csv, shown_json

HOSTILE = "a\x1b[31m\x07\x9b2J\x1b]0;title\x07\n✅ faked\r\u202egnp.exe\x7f\u2028"


def is_unsafe(character: str) -> bool:
    """As the Unicode database has it: controls, separators, halves, marks of direction."""
    kind, turns = unicodedata.category(character), unicodedata.bidirectional(character)
    marks = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    return kind in ("Cc", "Cs", "Zl", "Zp") or turns in marks or character in "\u200e\u200f\u061c"


@given(st.text(st.characters(exclude_categories=())))
def test_shown_escapes_each_unsafe_character_and_no_other(text: str) -> None:
    safe = shown(text)
    assert not any(map(is_unsafe, safe))
    if not any(map(is_unsafe, text)) and "\ufeff" not in text:
        assert safe == text
    assert shown(safe) == safe
    assert json.loads(shown_json(json.dumps(text, ensure_ascii=False))) == text


def test_shown_keeps_words_of_any_language_and_emoji() -> None:
    text = "⚠️ 数据 “naïve” עברית 👩‍💻"
    assert shown(text) == text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_shown_in_csv_is_no_formula(text: str) -> None:
    assert shown_in_csv(text)[0] == "'"
    assert shown_in_csv("plain") == "plain"


def test_messages_escape_values_but_no_lines_of_their_own() -> None:
    messages = Messages("en")
    assert (
        messages.text("run_folder", path=Path(f"runs/{HOSTILE}")) == f"Run: runs/{shown(HOSTILE)}"
    )
    mistake = Phrase("config_differs", path="\x1b", differences="  a\n  \x1bb")
    lines = messages.text("error_line", mistake=mistake).splitlines()
    assert lines[:3] == [
        r"Error: \x1b holds a run with other settings (stored -> asked for):",
        "  a",
        r"  \x1bb",
    ]


def test_finalized_escapes_texts() -> None:
    assert _finalized(HOSTILE) == shown(HOSTILE, keep="\n")
    assert _finalized(3) == 3


@pytest.fixture(scope="module")
def hostile_run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a run whose run.json came from elsewhere, its name and all."""
    runs = tmp_path_factory.mktemp("runs")
    assert train(small_data, runs, "--steps", 5).returncode == 0
    shutil.copytree(runs / RUN, runs / "other")
    path = runs / "other" / "run.json"
    record = json.loads(path.read_text())
    record["config"] |= {"name": f"={HOSTILE}", "dataset": HOSTILE, "preset": HOSTILE}
    record["environment"][HOSTILE] = HOSTILE
    record["events"][0] |= {"event": HOSTILE, "at": HOSTILE, "changes": [HOSTILE]}
    path.write_text(json.dumps(record))
    return runs


def check_safe(done: Done) -> None:
    assert done.returncode == 0, done.stderr
    assert not any(map(is_unsafe, (done.stdout + done.stderr).replace("\n", "")))
    assert not any(line.lstrip().startswith("✅") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ("runs",),
        ("runs", "--json"),
        ("runs", "show", "other"),
        ("runs", "show", "other", "--json"),
        ("runs", "compare", "other", RUN),
        ("runs", "compare", "other", RUN, "--split", "valid"),
        ("runs", "compare", "other", RUN, "--split", "valid", "--markdown"),
        ("runs", "compare", "other", RUN, "--split", "valid", "--latex"),
        ("runs", "compare", "other", RUN, "--split", "valid", "--csv"),
        ("inspect", "other"),
    ],
)
def test_commands_escape_a_hostile_run(words: tuple[str, ...], hostile_run: Path) -> None:
    check_safe(reprise(*words, "--runs-dir", hostile_run))


def test_csv_has_no_formula_of_a_hostile_run(hostile_run: Path) -> None:
    words = ("runs", "compare", "other", RUN, "--split", "valid", "--csv")
    done = reprise(*words, "--runs-dir", hostile_run)
    names = {row["run"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert names == {"t", f"'={shown(HOSTILE)}"}


def test_report_escapes_a_hostile_run(hostile_run: Path, small_data: Path) -> None:
    page = hostile_run / "page.html"
    done = reprise(
        *("report", hostile_run / "other", hostile_run / RUN, "--output", page),
        *("--no-evaluation", "--runs-dir", hostile_run),
    )
    check_safe(done)
    text = page.read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31m" in text
