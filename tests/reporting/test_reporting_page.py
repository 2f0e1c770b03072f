"""The page of `reprise report`: embedded data, notes on missing data, and bad input."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from helpers.builders_data import draft_of, split_of
from helpers.commands import ENVIRONMENT, check_refusal, reprise, run_small, stopping_at
from helpers.report_pages import embedded, invoke, make_page, own_markup, points, traces
from reprise.data.dataset import SPLITS
from reprise.data.prepare import publish
from reprise.errors import RepriseError
from reprise.evaluation.metrics import METRICS
from reprise.runs import results
from reprise.runs.evaluation import evaluate_run, evaluation_facts
from reprise.runs.folder import RunFolder
from reprise.text.messages import Messages

RECALL = "curve-valid-recall-10"
LAMBDAS = ["--lambda", "0", "--lambda", "0.5"]


@pytest.fixture(scope="module")
def page(eventful: RunFolder, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("page") / "page.html"
    return make_page(output, eventful.path, "--data-dir", small_data, *LAMBDAS, "--lang", "en")


def logged(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


def test_report_embeds_what_the_run_has(page: str, eventful: RunFolder) -> None:
    (run,) = embedded(page, "facts")["runs"]
    assert run["evaluations"] == logged(eventful)
    assert run["best"] == {"metric": 0.4, "step": 16, "branch": 1}
    record = json.loads(eventful.record.read_text())
    assert run["config"] == record["config"]
    assert run["environment"] == record["environment"]
    assert [(start["at"], start["step"], start["branch"]) for start in run["starts"]] == [
        (event["at"], event["step"], event["branch"]) for event in record["events"]
    ]


def test_report_curves_equal_the_log_with_best_and_events(page: str, eventful: RunFolder) -> None:
    figures, lines = embedded(page, "figures"), logged(eventful)
    keys = [key for key in lines[0] if key == "train_loss" or key.startswith("valid_")]
    for key in keys:
        name = f"curve-{key.replace('@', '-').replace('_', '-')}"
        if "interest_" in key or "interests_" in key:
            assert name not in figures
            continue
        value = {(line["branch"], line["step"]): line[key] for line in lines}
        kept, left = (traces(figures[name], kind)[0] for kind in ("kept", "left"))
        way = [(0, 4), (0, 8), (1, 12), (1, 16), (2, 20), (2, 24)]
        assert points(kept) == [(step, value[branch, step]) for branch, step in way]
        assert points(left) == [
            *((step, value[0, step]) for step in (8, 12, 16)),
            (None, None),
            *((step, value[1, step]) for step in (16, 20)),
        ]
        (best,), (resumed,), (rewound,) = (
            traces(figures[name], kind) for kind in ("best", "resumed", "rewound")
        )
        assert points(best) == [(16, value[1, 16])]
        assert resumed["text"] == ["#2", "#3"]
        between = (value[0, 12] + value[0, 16]) / 2
        assert points(resumed) == [(8, value[0, 8]), (14, pytest.approx(between))]
        assert rewound["text"] == ["#4", "#5"]
        assert points(rewound) == [(8, value[0, 8]), (16, value[1, 16])]


def test_report_health_follows_the_current_path(page: str, eventful: RunFolder) -> None:
    figures, lines = embedded(page, "figures"), logged(eventful)
    way = [line for line in lines if (line["branch"], line["step"]) in {(0, 4), (0, 8)}]
    way += [line for line in lines if line["branch"] == 1 and line["step"] <= 16]
    way += [line for line in lines if line["branch"] == 2]
    for name, key in {
        "cosine": "valid_interest_cosine",
        "dead": "valid_interest_dead@10",
        "used": "valid_interests_used@10",
    }.items():
        (trace,) = figures[f"interest-{name}"]["data"]
        assert points(trace) == [(line["step"], line[key]) for line in way]
    shares = figures["interest-shares-0"]["data"]
    assert len(shares) == 2
    for number, trace in enumerate(shares, start=1):
        key = f"valid_interest_share_{number}@10"
        assert points(trace) == [(line["step"], line[key]) for line in way]


def test_report_results_equal_those_of_evaluate(
    page: str, eventful: RunFolder, small_data: Path
) -> None:
    def measure(coef: float | None) -> dict[str, Any]:
        measured = evaluate_run(
            eventful.path, lambda name: small_data / name, "test", "best", print, coef=coef
        )
        return evaluation_facts(measured, "test", coef)

    plain = measure(None)
    (measured,), figures = embedded(page, "facts")["measured"], embedded(page, "figures")
    assert measured["evaluation"] == plain | {"checkpoint": "ckpt-16-b1"}
    for kind, name in (("history_length", "history-length"), ("popularity", "popularity")):
        (bars,) = figures[f"groups-{name}"]["data"]
        groups = plain["groups"][kind]
        assert points(bars) == [(name, group["recall@10"]) for name, group in groups.items()]
    all_chosen = [measure(coef) for coef in (None, 0.0, 0.5)]
    (curve,) = figures["lambda"]["data"]
    assert points(curve) == [(one["recall@10"], one["diversity@10"]) for one in all_chosen]
    assert curve["text"] == ["-", "0", "0.5"]
    low, high = plain["confidence"]["intervals"]["recall@10"]
    assert f"{plain['recall@10']:.4f} [{low:.4f}, {high:.4f}]" in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_report_explains_each_of_its_metrics(
    language: Literal["en", "zh"], eventful: RunFolder, tmp_path: Path, page: str
) -> None:
    if language == "zh":
        where = ("--no-evaluation", "--lang", "zh")
        page = make_page(tmp_path / "page.html", eventful.path, *where)
    messages = Messages(language)
    explained = dict(re.findall(r"<dt>(.+)</dt><dd>(.+)</dd>", own_markup(page)))
    heads = set(re.findall(r'<(?:figcaption|th scope="row")>(.+)@\d+</', own_markup(page)))
    assert heads & {"Recall", "NDCG"}
    labels = {messages.metric(metric.name, metric.label): metric for metric in METRICS}
    assert heads & labels.keys() <= explained.keys()
    for name, meaning in explained.items():
        assert html.unescape(meaning) == messages.text(labels[html.unescape(name)].about)


def test_report_is_deterministic_and_self_contained(
    page: str, eventful: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    again = make_page(
        tmp_path / "again.html", eventful.path, "--data-dir", small_data, *LAMBDAS, "--lang", "en"
    )
    assert again == page
    own = own_markup(page)
    assert not re.search(r"\b(?:src|href)=|https?:|@import|url\(", own)
    assert "default-src 'none'" in own
    assert str(eventful.path.parent) not in page
    assert str(small_data) not in page


def test_report_overlays_runs_and_marks_their_differences(
    harmed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    _, _, other = run_small(small_data, tmp_path, max_steps=8, seed=3, name="<b>o&'\"")
    for run in (harmed, other):
        (run.path / results.FILE).unlink()
    page = make_page(
        tmp_path / "page.html", harmed.path, other.path, "--no-evaluation", "--lang", "zh"
    )
    figure = embedded(page, "figures")[RECALL]
    first, second = traces(figure, "kept")
    assert (first["name"], second["name"]) == ("t", "&lt;b&gt;o&amp;&#x27;&quot;")
    assert first["line"]["color"] != second["line"]["color"]
    assert points(second) == [(line["step"], line["valid_recall@10"]) for line in logged(other)]
    differing = re.findall(r'<tr class="differs"><th scope="row">≠ (\w+)</th>', page)
    assert differing == ["name", "max_steps", "seed"]
    own = own_markup(page)
    assert "<b>o" not in own
    assert "&lt;b&gt;o&amp;&#39;&#34;" in own
    assert embedded(page, "facts")["runs"][1]["config"]["name"] == "<b>o&'\""
    assert '<html lang="zh-CN">' in own
    assert "已略去（--no-evaluation）" in own
    assert embedded(page, "facts")["measured"] == []


def test_report_states_what_an_evaluation_lacks(eventful: RunFolder, tmp_path: Path) -> None:
    page = make_page(tmp_path / "1.html", eventful.path, "--data-dir", tmp_path, "--lang", "en")
    assert '<p class="note">The dataset &#39;small&#39; that small_t was' in page
    assert str(tmp_path.parent) not in page
    assert "groups-popularity" not in embedded(page, "figures")
    assert RECALL in embedded(page, "figures")


def test_report_names_a_lost_best_and_evaluates_the_next(
    harmed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    (harmed.checkpoints / "ckpt-16-b1" / "MANIFEST.json").unlink()
    page = make_page(tmp_path / "1.html", harmed.path, "--data-dir", small_data, "--lang", "en")
    assert "recall 0.400000 at step 16) are lost" in page
    (measured,) = embedded(page, "facts")["measured"]
    assert measured["evaluation"]["checkpoint"] == "ckpt-20-b2"
    assert embedded(page, "facts")["runs"][0]["best"]["step"] == 16


def test_report_without_categories_has_all_but_the_lambda_curve(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lists = {split: [rng.integers(1, 41, 9).tolist() for _ in range(30)] for split in SPLITS}
    splits = {split: split_of(own) for split, own in lists.items()}
    publish(draft_of(splits, np.full(41, -1, np.int32)), "small", tmp_path / "small")
    _, _, folder = run_small(tmp_path, tmp_path / "runs", max_steps=4)
    page = make_page(tmp_path / "1.html", folder.path, "--data-dir", tmp_path, "--lang", "en")
    assert "The dataset small has no item categories" in page
    figures = embedded(page, "figures")
    assert "lambda" not in figures
    assert "groups-popularity" in figures
    assert "groups-mixture" not in figures


def test_report_states_that_a_run_has_no_evaluation(small_data: Path, tmp_path: Path) -> None:
    run_small(small_data, tmp_path, stopping_at(2), max_steps=4)
    _, _, folder = run_small(small_data, tmp_path, stopping_at(3), max_steps=4)
    page = make_page(tmp_path / "1.html", folder.path, "--no-evaluation", "--lang", "en")
    assert "No run has been evaluated yet" in page
    assert embedded(page, "figures") == {}
    assert embedded(page, "facts")["runs"][0]["best"] is None


def test_report_without_evaluation_uses_stored_results(small_data: Path, tmp_path: Path) -> None:
    _, _, folder = run_small(small_data, tmp_path, max_steps=2)  # before the first evaluation
    page = make_page(tmp_path / "1.html", folder.path, "--no-evaluation", "--lang", "en")
    facts = embedded(page, "facts")
    assert facts["runs"][0]["best"]["step"] == 2
    (entry,) = [one for one in results.read(folder.path).entries if one["split"] == "test"]
    assert facts["measured"][0]["evaluation"] == entry
    assert f"{entry['recall@10']:.4f} [" in page


def test_report_refuses_bad_input_before_evaluating(eventful: RunFolder, tmp_path: Path) -> None:
    for options, key, code in (
        ([tmp_path / "none"], "run_missing", 6),
        ([eventful.path, "--output", tmp_path], "page_is_folder", 2),
        ([eventful.path, "--output", tmp_path / "a" / "b.html"], "page_no_folder", 2),
        ([eventful.path, "--lambda", "-1"], "bad_value", 2),
        ([eventful.path, "--lambda", "nan"], "bad_value", 2),
    ):
        done = invoke(*options)
        assert isinstance(done.exception, RepriseError)
        assert (done.exception.key, done.exception.exit_code) == (key, code)
        assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_report_is_written_to_the_run_or_for_several_to_the_current_folder(
    harmed: RunFolder, undisturbed: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = reprise("report", harmed.path, "--no-evaluation")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Report: {harmed.path / 'report.html'}\n"
    assert (harmed.path / "report.html").is_file()
    monkeypatch.chdir(tmp_path)
    assert invoke(harmed.path, undisturbed.path, "--no-evaluation").exit_code == 0
    assert (tmp_path / "report.html").is_file()
    check_refusal(reprise("report", tmp_path / "none"), 6, "No run at")


def test_report_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['reprise', 'report', '--help']\n"
        "from reprise.cli.main import main\n"
        "try: main()\n"
        "finally: print({'jax', 'plotly', 'jinja2', 'polars'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("set()\n")
