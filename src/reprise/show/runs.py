"""The output of `reprise runs` and `reprise config`; plain text if piped."""

from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from reprise.config.layers import Kind, Value
from reprise.config.load import make_config
from reprise.errors import RepriseError
from reprise.models.registry import UNTRAINED
from reprise.runs.folder import RunFolder
from reprise.runs.manage.table import labels
from reprise.show.commandline import command_to_resume, longer
from reprise.show.terminal import make_console
from reprise.text.messages import Messages
from reprise.text.shown import shown

_GAP = 2  # columns between a table's columns
_NARROWEST = 16  # columns of a table's column that gives way
_OF_ONE_INTEREST = "interest_share"
_LAST_EVALUATIONS, _CURVE_ROWS = 10, 20
_STATES = {
    "running": ("state_running", "bold green"),
    "interrupted": ("state_interrupted", "yellow"),
    "finished": ("state_finished", "green"),
    "stopped early": ("state_stopped_early", "green"),
    "damaged": ("state_damaged", "bold red"),
}
_EVENTS = {
    "created": "event_created",
    "resumed": "event_resumed",
    "imported": "event_imported",
    "environment changed": "event_environment",
    "learning rate changed": "event_rate",
    "renamed": "event_renamed",
}
_SOURCES: dict[Kind, str] = {
    "default": "source_default",
    "data": "source_data",
    "run": "source_run",
    "preset": "source_preset",
    "file": "source_file",
    "flag": "source_flag",
    "derived": "source_derived",
    "needed": "source_needed",
}
_AGES = ((86400, "age_days"), (3600, "age_hours"), (60, "age_minutes"), (1, "age_seconds"))


class Page:
    """Lines and tables of plain text: names are not interpreted as markup."""

    def __init__(self, messages: Messages) -> None:
        self.text = messages.text
        self._console = make_console()
        self._width = self._console.width

    def line(self, text: str | Text = "", style: str = "") -> None:
        """Print a line without wrapping it, since programs may search for it."""
        line = shown(text, keep="\n") if isinstance(text, str) else text
        self._console.print(line, style=style, soft_wrap=True)

    def title(self, text: str) -> None:
        """Print a heading."""
        self.line(f"\n{text}", style="bold")

    def table(
        self,
        heads: Iterable[str],
        rows: Iterable[Iterable[str | Text]],
        left: int,
        folded: Container[int] = (0,),
    ) -> None:
        """Print a table whose first `left` columns are text, the others numbers. If it is wider
        than the terminal, only the `folded` columns are wrapped.
        """
        heads = list(map(shown, heads))
        cells = [
            [Text(shown(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows
        ]
        table = Table(box=None, pad_edge=False, show_header=any(heads))
        needed = 0
        for number, (head, *column) in enumerate(zip(heads, *cells, strict=True)):
            justify: Any = "left" if number < left else "right"
            gives = number in folded
            longest = max((cell.cell_len for cell in [Text(head), *column]), default=0)
            width = min(longest, _NARROWEST) if gives else longest
            needed += width + _GAP
            table.add_column(
                Text(head), justify=justify, overflow="fold", no_wrap=not gives, min_width=width
            )
        for row in cells:
            table.add_row(*row)
        self._console.width = max(self._width, needed)
        self._console.print(table)


def show_runs(runs: list[dict[str, Any]], page: Page) -> None:
    """Print the table of runs from their summaries."""
    text = page.text
    metrics = {run["metric"] for run in runs if run["metric"]}
    shared = metrics.pop() if len(metrics) == 1 else None
    heads = [
        *(text(key) for key in ("runs_name", "runs_state", "runs_dataset", "runs_model")),
        text("runs_step"),
        text("runs_best", metric=(shared or "recall@N").capitalize()),
        text("runs_test"),
        *(text(key) for key in ("runs_patience", "runs_age", "runs_size")),
    ]
    names = labels(runs)
    rows = [
        (
            name,
            _state(run["state"], page),
            run["dataset"] or "-",
            run["model"] or "-",
            _of(run["step"], run["max_steps"]),
            _best(run, named=shared is None),
            _number((run["results"]["test"] or {}).get(run["metric"])),
            _of(run["patience_used"], run["patience"]),
            age(run["updated"], page.text),
            decimal(run["size"]),
        )
        for name, run in zip(names, runs, strict=True)
    ]
    page.table(heads, rows, left=4)
    for name, run in zip(names, runs, strict=True):
        if run["damaged_checkpoints"]:
            page.line(text("damaged_there", name=name, count=run["damaged_checkpoints"]))


def show_run(run: dict[str, Any], page: Page) -> None:
    """Print a run's details."""
    text = page.text
    page.line(shown(run["folder"]), style="bold")
    _show_standing(run, page)
    if run["environment"]:
        facts = ", ".join(f"{key} {value}" for key, value in run["environment"].items())
        page.line(text("show_environment", facts=facts))
    if run["config"]:
        page.title(text("show_config"))
        page.table(("", "", ""), _config_rows(run["config"]), left=3, folded=(1,))
    if run["checkpoints"]:
        page.title(text("show_checkpoints"))
        _show_checkpoints(run, page)
    if run["best_lost"]:
        best = run["best"]
        stored = next(entry["path"] for entry in run["checkpoints"] if entry["best"])
        page.line(text("best_lost", metric=best["metric"], step=best["step"], path=stored))
    if run["set_aside"]:
        names = ", ".join(Path(path).name for path in run["set_aside"])
        page.line(text("show_set_aside", names=names))
    if run["evaluated"]:
        page.title(text("show_results"))
        _show_results(run, page)
    if run["events"]:
        page.title(text("show_history"))
        heads = (text("word_time"), text("word_event"))
        page.table(heads, _event_rows(run["events"], page), left=2, folded=(1,))
    if run["evaluations"]:
        page.title(text("show_evaluations", count=len(run["evaluations"])))
        _show_evaluations(run, page)
    if run["evaluations_lost"]:
        lines = len(run["evaluations"]) + run["evaluations_lost"]
        page.line(text("page_log_damaged", kept=len(run["evaluations"]), lines=lines))


def show_comparison(facts: dict[str, Any], page: Page) -> None:
    """Print the result of `compare.compare`."""
    text, runs = page.text, facts["runs"]
    heads = ["", *labels(runs)]
    for warning in facts["warnings"]:
        page.line(text(warning), style="yellow")
    page.line(text("compare_standing"), style="bold")
    standing: list[tuple[str | Text, ...]] = [
        (text("runs_state"), *(_state(run["state"], page) for run in runs)),
        (text("runs_step"), *(_of(run["step"], run["max_steps"]) for run in runs)),
        (text("runs_best", metric="").strip(), *(_best(run, named=True) for run in runs)),
        (text("runs_patience"), *(_of(run["patience_used"], run["patience"]) for run in runs)),
        (text("compare_seconds"), *(_number(run["seconds"], 1) for run in runs)),
    ]
    names = range(1, len(heads))  # long, where runs share a name
    page.table(heads, standing, left=1, folded=names)
    page.title(text("compare_config"))
    if differences := facts["differences"]:
        page.table(
            heads, ((key, *map(_plain, v)) for key, v in differences.items()), left=1, folded=names
        )
    else:
        page.line(text("compare_no_difference"))
    if facts["metrics"]:
        page.title(text("compare_metrics"))
        # An interest's share says nothing beside that of another run's.
        rows = [row for row in facts["metrics"].items() if not row[0].startswith(_OF_ONE_INTEREST)]
        page.table(heads, (_highest(*row) for row in rows), left=1, folded=names)
    if "groups" in facts:
        _show_groups(facts["groups"], page)
    if "paired" in facts:
        _show_paired(facts["paired"], page)
    steps = facts["curve"]["steps"]
    if shown := thinned(steps):
        metric = facts["curve"]["metric"]
        page.title(text("compare_curve", metric=metric, shown=len(shown), count=len(steps)))
        curve = (_highest(str(line["step"]), line["values"]) for line in shown)
        page.table([text("runs_step"), *heads[1:]], curve, left=1, folded=names)


def _show_groups(groups: list[dict[str, Any]], page: Page) -> None:
    """Print the mean and deviation of each group's validation metrics."""
    text = page.text
    page.title(text("compare_groups"))
    heads = ["", *(group["name"] for group in groups)]
    counts = (text("compare_seeds"), *(str(len(group["runs"])) for group in groups))
    known = dict.fromkeys(key for group in groups for key in group["metrics"])
    rows = [
        (key, *(_mean(group["metrics"].get(key)) for group in groups))
        for key in known
        if not key.startswith(_OF_ONE_INTEREST)
    ]
    page.table(heads, [counts, *rows], left=1, folded=range(1, len(heads)))


def _mean(found: dict[str, float | None] | None) -> str:
    if found is None:
        return "-"
    deviation = found["deviation"]
    return _number(found["mean"]) + ("" if deviation is None else f" ± {deviation:.6f}")


def _show_paired(facts: dict[str, Any], page: Page) -> None:
    """Print the result of `paired.compare_paired`, with differences in bold whose interval excludes
    zero.
    """
    text, subjects = page.text, facts["subjects"]
    first, *others = (subject["name"] for subject in subjects)
    percent, resamples = round(100 * facts["level"]), facts["resamples"]
    page.title(
        text("paired_title", **{key: facts[key] for key in ("split", "users")})
        + " "
        + text("paired_how", percent=percent, resamples=resamples)
    )
    heads = ["", first, *(head for name in others for head in (name, f"{name} - {first}"))]
    seeds = [str(len(subject["runs"])) for subject in subjects]
    rows: list[tuple[str | Text, ...]] = [
        (text("compare_seeds"), seeds[0], *(cell for own in seeds[1:] for cell in (own, "")))
    ]
    for key, found in facts["metrics"].items():
        cells: list[str | Text] = [_number(found["values"][0])]
        for value, one in zip(found["values"][1:], found["differences"], strict=True):
            low, high = one["interval"]
            apart = low is not None and (low > 0 or high < 0)
            shown = f"{_number(one['difference'])} [{_number(low)}, {_number(high)}]"
            cells += [_number(value), Text(shown, style="bold" if apart else "")]
        rows.append((key, *cells))
    page.table(heads, rows, left=1, folded=range(1, len(heads)))


def show_datasets(found: list[dict[str, Any]], page: Page) -> None:
    """Print the table of prepared datasets, from `runs.manage.datasets.found_in`."""
    heads = map(page.text, ("runs_dataset", "users", "word_items", "runs_size", "page_runs"))
    rows = [
        (
            one["name"],
            str(sum(one["users"].values())),
            str(one["items"]),
            decimal(one["size"]),
            ", ".join(one["runs"]) or "-",
        )
        for one in found
    ]
    page.table(heads, rows, left=1, folded=(0, 4))


def show_settings(settings: list[Value], page: Page) -> None:
    """Print a configuration with the source of each value."""
    text = page.text
    rows = [
        (setting.key, _plain(setting.value), text(_SOURCES[setting.source], name=setting.name))
        for setting in settings
    ]
    page.table(
        map(text, ("config_key", "config_value", "config_source")), rows, left=3, folded=(1, 2)
    )


def thinned(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most _CURVE_ROWS evenly spaced steps, if possible of those that two runs share."""
    common = [line for line in steps if sum(value is not None for value in line["values"]) > 1]
    chosen = common or steps
    if len(chosen) <= _CURVE_ROWS:
        return chosen
    last = len(chosen) - 1
    return [chosen[round(place * last / (_CURVE_ROWS - 1))] for place in range(_CURVE_ROWS)]


def age(time: str, text: Callable[..., str]) -> str:
    """Return the age of an ISO timestamp in its largest unit."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()))
    length, key = next(unit for unit in _AGES if seconds >= unit[0] or unit[0] == 1)
    return text(key, n=seconds // length)


def _show_standing(run: dict[str, Any], page: Page) -> None:
    text, best = page.text, run["best"]
    if run["dataset"]:
        page.line(text("show_model", model=run["model"], dataset=run["dataset"]))
    if run["state"] == "running":
        page.line(text("show_running", pid=run["pid"] or "?"))
    else:
        page.line(text("show_state", state=text(_STATES[run["state"]][0])))
    final_fit = run.get("config", {}).get("train_users") == "all"
    page.line(
        text(
            "show_step_only" if final_fit else "show_step",
            step=run["step"],
            steps=_plain(run["max_steps"]),
            branch=run["branch"],
            used=run["patience_used"],
            patience=_plain(run["patience"]),
        )
    )
    if final_fit:
        page.line(text("show_final_fit"))
    elif best is None:
        page.line(text("show_no_best_of_any" if run["evaluations"] else "show_no_best"))
    else:
        place = {key: best[key] for key in ("step", "branch")}
        metric = run["metric"] or "recall"
        page.line(text("show_best", metric=metric, value=f"{best['metric']:.6f}", **place))
    if run["seconds"] is not None:
        seconds, rate = _number(run["seconds"], 1), run["learning_rate"]
        page.line(text("show_trained", seconds=seconds, rate=rate))
    times = {"created": run["created"] or "?", "updated": run["updated"]}
    passed = age(run["updated"], text)
    page.line(text("show_times", **times, age=passed, size=decimal(run["size"])))
    command = command_to_resume(RunFolder(Path(run["folder"])), run["name"])
    if run["state"] == "interrupted":
        page.line(text("show_resume", command=command))
    elif run["state"] in ("finished", "stopped early") and run["model"] not in UNTRAINED:
        key = "show_longer_unmeasured" if final_fit else "show_longer"
        page.line(text(key, command=longer(command, run["state"], run)))


def _config_rows(config: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (key, _plain(value), "*" if _is_chosen(config, key) else "")
        for key, value in config.items()
    ]


def _is_chosen(config: dict[str, Any], key: str) -> bool:
    """Return whether a setting differs from the value it would have if not given."""
    others = {name: value for name, value in config.items() if name != key}
    try:
        return bool(getattr(make_config(others), key) != config[key])
    except (RepriseError, AttributeError):  # nothing goes without it, or it is a later version's
        return True


def _show_checkpoints(run: dict[str, Any], page: Page) -> None:
    text = page.text
    words = ("word_checkpoint", "word_role", "runs_state", "runs_step", "word_branch")
    heads = [*map(text, words), run["metric"] or "", text("runs_size")]
    rows = []
    for entry in run["checkpoints"]:
        roles = [
            text(key) for key in ("word_latest", "word_best") if entry[key.removeprefix("word_")]
        ]
        whole = (
            text("word_whole") if entry["whole"] else text("word_damaged", reason=entry["damage"])
        )
        rows.append(
            (
                Path(entry["path"]).name,
                ", ".join(roles),
                Text(whole, style="" if entry["whole"] else "bold red"),
                _plain(entry["step"]),
                _plain(entry["branch"]),
                _number(entry["metric"]),
                decimal(entry["size"]),
            )
        )
    page.table(heads, rows, left=3, folded=(2,))


def _show_results(run: dict[str, Any], page: Page) -> None:
    """Print the stored results of evaluations, newest last."""
    text, n = page.text, (run["metric"] or "recall@50").partition("@")[2]
    metrics = (f"recall@{n}", f"ndcg@{n}", f"hitrate@{n}")
    words = ("word_checkpoint", "word_split", "word_seen", "word_lambda")
    heads = [*map(text, words), *metrics, text("users"), text("word_time")]
    rows = [
        (
            entry["checkpoint"],
            entry["split"],
            entry["seen_items"],
            _plain(entry["lambda"]),
            *(_bounded(entry, metric) for metric in metrics),
            str(entry["users"]),
            entry["at"],
        )
        for entry in run["evaluated"][-_LAST_EVALUATIONS:]
    ]
    page.table(heads, rows, left=3, folded=(0,))


def _bounded(entry: dict[str, Any], metric: str) -> str:
    """Return a value with its interval."""
    low, high = entry["confidence"]["intervals"].get(metric, (None, None))
    shown = _number(entry.get(metric))
    return shown if low is None else f"{shown} [{_number(low, 4)}, {_number(high, 4)}]"


def _event_rows(events: list[dict[str, Any]], page: Page) -> list[tuple[str, str]]:
    rows, branch = [], 0
    for event in events:
        key = _EVENTS.get(event.get("event", ""))
        rewound = event.get("event") == "resumed" and event.get("branch", 0) > branch
        branch = event.get("branch", branch)
        values = {"source": event.get("from"), **event}
        values["changes"] = "; ".join(event.get("changes", []))
        if isinstance(fit := event.get("final_fit_of"), dict):
            key, values = (
                "event_final_fit",
                {**values, "run": fit.get("run"), "at": fit.get("step")},
            )
        try:
            said = page.text("event_rewound" if rewound else key or "", **values)
        except KeyError:  # of a later version
            said = ", ".join(f"{name} {value}" for name, value in event.items() if name != "at")
        rows.append((event.get("at", "?"), said))
    return rows


def _show_evaluations(run: dict[str, Any], page: Page) -> None:
    text, best = page.text, run["best"] or {}
    n = (run["metric"] or "recall@50").partition("@")[2]
    metrics = (f"recall@{n}", f"ndcg@{n}", f"hitrate@{n}")
    heads = (text("runs_step"), text("word_branch"), text("word_loss"), *metrics, "")
    rows = [
        (
            str(line["step"]),
            str(line["branch"]),
            _number(line.get("train_loss"), 4),
            *(_number(line.get(f"valid_{metric}")) for metric in metrics),
            text("word_best")
            if (line["step"], line["branch"]) == (best.get("step"), best.get("branch"))
            else "",
        )
        for line in run["evaluations"][-_LAST_EVALUATIONS:]
    ]
    page.table(heads, rows, left=0, folded=())


def _state(state: str, page: Page) -> Text:
    key, style = _STATES[state]
    return Text(page.text(key), style=style)


def _best(run: dict[str, Any], named: bool) -> str:
    best = run["best"]
    if best is None:
        return "-"
    name = f"{run['metric'].capitalize()} " if named and run["metric"] else ""
    return f"{name}{best['metric']:.6f} @ {best['step']}"


def _highest(name: str, values: list[float | None]) -> tuple[str | Text, ...]:
    """Return a row with its highest value in bold."""
    known = [value for value in values if value is not None]
    most = max(known, default=None) if len(known) > 1 else None
    cells = (Text(_number(v), style="bold" if v is not None and v == most else "") for v in values)
    return name, *cells


def _of(used: int, most: int | None) -> str:
    return f"{used}/{_plain(most)}"


def _plain(value: Any) -> str:
    return "-" if value is None else str(value)


def _number(value: float | None, digits: int = 6) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
