"""The output of `reprise plan`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rich.filesize import decimal

from reprise.show.runs import Page
from reprise.text.messages import Messages

_PARTS = {
    "items": "planned_items",
    "optimizer": "planned_optimizer",
    "network": "planned_network",
    "averages": "planned_averages",
    "features": "planned_features",
    "total": "planned_total",
}
_DAYS = 100  # from which on hours do not matter
_BEYOND = {
    "devices": "planned_beyond_devices",
    "processes": "planned_beyond_processes",
    "interconnect": "planned_beyond_interconnect",
    "constants": "planned_beyond_constants",
    "features": "planned_beyond_features",
}


def show_plan(facts: Mapping[str, Any], page: Page, messages: Messages) -> None:
    """Print the facts of `planning.plan.plan`."""
    text = messages.text
    counts = {name: facts[name] for name in ("items", "users", "interactions", "model")}
    sizes = {"dim": facts["embedding_dim"], "batch": facts["batch_size"]}
    page.line(text("planned_run", **counts, **sizes))
    placed = {name: facts[name] for name in ("devices", "processes")}
    page.line(text("planned_on", **placed), style="bold")
    page.line()
    _show_bytes(facts, page, messages)
    page.line()
    _show_times(facts, page, messages)


def _show_bytes(facts: Mapping[str, Any], page: Page, messages: Messages) -> None:
    text, held = messages.text, facts["bytes"]
    rows = [
        (text(key), *(decimal(held[each][part]) for each in ("device", "process")))
        for part, key in _PARTS.items()
        if held["device"][part]
    ]
    page.table(
        (text("planned_held"), text("planned_device"), text("planned_process")), rows, left=1
    )
    peak, limit = (facts["memory"][name] for name in ("process", "limit"))
    if limit is None:
        page.line(text("planned_memory", memory=decimal(peak)))
    else:
        page.line(text("planned_limit", memory=decimal(peak), limit=decimal(limit)))
    if not facts["memory"]["copied"]:
        page.line(text("planned_waits"))
    stored = held["checkpoint"]
    exact = {name: stored[name] for name in ("arrays", "described")}
    own, kept = (decimal(stored[name]) for name in ("written_by_process", "kept"))
    page.line(text("planned_checkpoint", **exact, own=own, kept=kept))
    traffic = facts["traffic"]
    if not traffic["rounds"]:
        page.line(text("planned_alone"))
        return
    summed, most, sent = (
        decimal(traffic[name]) for name in ("summed", "at_most", "sent_by_process")
    )
    about = {"rounds": traffic["rounds"], "rows": traffic["unique_rows"]}
    page.line(text("planned_traffic", summed=summed, most=most, sent=sent, **about))


def _show_times(facts: Mapping[str, Any], page: Page, messages: Messages) -> None:
    text = messages.text
    took = {name: _duration(seconds) for name, seconds in facts["seconds"].items()}
    rates = {"steps": facts["steps_per_second"], "users": facts["users_per_second"]}
    page.line(text("planned_step", step=took["step"], exchange=took["exchange"], **rates))
    about = {name: took[name] for name in ("evaluation", "training")}
    page.line(text("planned_evaluation", **about))
    used = facts["constants"]
    page.line(
        text(
            "planned_constants",
            **{name: used[name] for name in ("machine", "of", "devices", "processes")},
            gflops=used["flops"] / 1e9,
            memory=used["memory_rate"] / 1e9,
            step=_duration(used["step_seconds"]),
            floors=used["step_seconds"] / used["floor_seconds"],
        )
    )
    if used["exchange_rate"]:
        seconds, rate = _duration(used["exchange_seconds"]), used["exchange_rate"] / 1e9
        page.line(text("planned_exchange", seconds=seconds, rate=rate))
    if beyond := facts["extrapolated"]:
        what = [text(_BEYOND[one], of=used["of"]) for one in beyond]
        page.line(text("planned_extrapolated", what="; ".join(what)), style="yellow")


def _duration(seconds: float) -> str:
    """Format seconds, however many."""
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < _DAYS * 86_400:
        return str(timedelta(seconds=round(seconds)))
    return f"{seconds / 86_400:,.0f} d"
