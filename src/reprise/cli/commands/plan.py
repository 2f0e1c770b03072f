"""`reprise plan`: what a run would need that does not exist yet."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    PATH,
    common_options,
    print_json,
    run_layers,
    run_options,
    say,
    say_unused,
    together,
)
from reprise.config.load import make_config
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, Phrase, choose_language

if TYPE_CHECKING:
    from reprise.config.schema import TrainConfig
    from reprise.planning.description import Description

_NAMELESS = {"dataset": "planned", "name": "planned"}
_USUAL_LENGTH = 10  # interactions of a user
_MOST_DEVICES = 1_000_000


@click.command(cls=Command)
@click.option("--items", metavar="NUMBER")
@click.option("--users", metavar="NUMBER")
@click.option("--interactions", metavar="NUMBER")
@click.option("--features", metavar="KIND:SIZE", multiple=True)
@click.option("--devices", type=int, default=1, show_default=True)
@click.option("--num-processes", type=int, default=1)
@click.option("--interconnect", metavar="RATE")
@click.option("--latency", metavar="TIME")
@click.option("--max-memory", metavar="SIZE")
@click.option("--constants", metavar="FILE", type=PATH)
@run_options
@click.option("--json", "as_json", is_flag=True)
@common_options
def plan(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    constants: Path | None,
    max_memory: str | None,
    runs_dir: Path,
    data_dir: Path | None,
    as_json: bool,
    lang: str | None,
    **values: Any,
) -> None:
    """Tell what a run would need that does not exist yet."""
    end_at_once_on_interrupt()
    names = ("items", "users", "interactions", "features", "devices", "num_processes")
    asked = {name: values.pop(name) for name in (*names, "interconnect", "latency")}
    layers = run_layers(preset, config_file, max_iter, max_steps, values)
    given = together(layers)
    config = make_config(_NAMELESS | given)
    say_unused(layers, config)

    from reprise.planning.numbers import size_of
    from reprise.planning.plan import plan as planned_facts
    from reprise.show.plan import show_plan
    from reprise.show.runs import Page

    limit = None if max_memory is None else size_of("max-memory", max_memory)
    described = _described(config, "dataset" in given, data_dir or Path("data"), asked)
    facts = planned_facts(described, limit, constants, say)
    if as_json:
        print_json(facts)
    else:
        messages = Messages(choose_language(lang))
        show_plan(facts, Page(messages), messages)


def _described(
    config: "TrainConfig", has_data: bool, data_dir: Path, asked: dict[str, Any]
) -> "Description":
    """Return the description of a run that the options give."""
    from reprise.planning import description

    placed = {
        "devices": _within(asked, "devices"),
        "processes": _within(asked, "num_processes"),
        "interconnect": _interconnect(asked["interconnect"], asked["latency"]),
    }
    counts = ("items", "users", "interactions")
    if has_data:
        if any(asked[name] is not None for name in counts) or asked["features"]:
            raise UsageError("only_one", options="--dataset, --items")
        return description.of_dataset(config, data_dir, **placed)
    items = _whole(asked, "items", description.MOST_ITEMS)
    users = _whole(asked, "users", description.MOST_OTHERS)
    interactions = _USUAL_LENGTH * users
    if asked["interactions"] is not None:
        interactions = _whole(asked, "interactions", description.MOST_OTHERS)
    config, features = description.with_features(config, _parts(asked["features"]), items)
    return description.Description(config, items, users, interactions, features=features, **placed)


def _parts(given: Sequence[str]) -> list[str]:
    return [part.strip() for one in given for part in one.split(",") if part.strip()]


def _whole(asked: dict[str, Any], name: str, most: int) -> int:
    from reprise.planning.numbers import whole_of

    if asked[name] is None:
        raise UsageError("missing_value", option=name)
    return whole_of(name, asked[name], most)


def _within(asked: dict[str, Any], name: str) -> int:
    number: int = asked[name]
    if not 1 <= number <= _MOST_DEVICES:
        expected = Phrase("good_whole_within", low=1, high=_MOST_DEVICES)
        raise UsageError("bad_value", option=name, value=number, expected=expected)
    return number


def _interconnect(rate: str | None, latency: str | None) -> Any:
    from reprise.planning.description import USUAL_LATENCY, Interconnect
    from reprise.planning.numbers import rate_of, seconds_of

    if rate is None:
        if latency is not None:
            raise UsageError("missing_value", option="interconnect")
        return None
    seconds = USUAL_LATENCY if latency is None else seconds_of("latency", latency)
    return Interconnect(rate_of("interconnect", rate), seconds)
