"""Options that several commands share, and the configuration values they give."""

import dataclasses
import json
import math
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from reprise.cli.help import Option
from reprise.config.layers import Layer
from reprise.config.schema import (
    DECAYS,
    EMBEDDINGS,
    HISTORIES,
    INTEREST_COUNTS,
    NEG_SCORES,
    OPTIMIZERS,
    PRESETS,
    REPEATS,
    SAMPLERS,
    SELECTIONS,
    TrainConfig,
    read_preset,
    read_toml,
)
from reprise.data import FORMATS
from reprise.errors import UsageError
from reprise.models.registry import REGISTRY
from reprise.text.messages import Phrase
from reprise.tracking import TRACKERS

Command = TypeVar("Command", bound=Callable[..., Any])

_DEFAULTS = {item.name: item.default for item in dataclasses.fields(TrainConfig)}


def common_options(command: Command) -> Command:
    """Add the options every command has."""
    return click.option("--lang")(command)


which_option = click.option("--which", type=click.Choice(["best", "latest"]), default="best")
data_option = click.option("--data-dir", type=click.Path(path_type=Path), default="data")

_RUN_OPTIONS = (
    click.option(
        "--preset",
        type=click.Choice(PRESETS),
        help="Settings that are good together; the file's and the flags' win. [default: none]",
    ),
    click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="TOML file of the run's settings (keys as the flags); flags win. [default: none]",
    ),
    click.option("--dataset", help="A dataset under --data-dir. [required, here or in the file]"),
    click.option(
        "--model",
        "--model-type",
        "model",
        help=f"How interests are made: {' | '.join(REGISTRY)}. [default: {_DEFAULTS['model']}]",
    ),
    click.option(
        "--name",
        help="Name of the experiment, the end of its folder's. [required, here or in the file]",
    ),
    click.option(
        "--max-iter",
        type=float,
        help="Steps in all, in thousands, as ComiRec counts; may grow later. [default: 1000]",
    ),
    click.option(
        "--steps",
        "max_steps",
        type=int,
        help="Steps (updates) in all; may grow later. [default: 1000000]",
    ),
    click.option("--test-iter", type=int, help="Steps between evaluations. [default: 1000]"),
    click.option(
        "--valid-users",
        type=int,
        help="Validation users an evaluation in training is over, drawn once by the seed; the last "
        "one is over all. [default: 0, all]",
    ),
    click.option(
        "--patience",
        type=int,
        help="Evaluations without improvement that end the training; may grow later. [default: 50]",
    ),
    click.option("--learning-rate", type=float, help="Adam's step size. [default: 0.001]"),
    click.option("--warmup", type=int, help="Steps the learning rate climbs for. [default: 0]"),
    click.option(
        "--decay",
        help=f"How the learning rate falls: {' | '.join(DECAYS)}. [default: {DECAYS[0]}]",
    ),
    click.option(
        "--decay-steps",
        type=int,
        help="Step at which the decay ends, at a hundredth of the rate; --decay needs it. "
        "[default: 0]",
    ),
    click.option(
        "--optimizer",
        help=f"Adam of the item rows: {' | '.join(OPTIMIZERS)}. row-adam is dense Adam at the "
        f"batch's cost. [default: {_DEFAULTS['optimizer']}]",
    ),
    click.option(
        "--selection",
        help=f"Which interest learns the target: {' | '.join(SELECTIONS)}. "
        f"[default: {_DEFAULTS['selection']}]",
    ),
    click.option(
        "--temperature",
        type=float,
        help="Score by cosines divided by it, 0.05 to 0.2; 0: by inner products. [default: 0]",
    ),
    click.option(
        "--neg-score",
        help=f"Interest that scores a negative: {' | '.join(NEG_SCORES)}: the one that learns the "
        f"target, or the negative's own best. [default: {_DEFAULTS['neg_score']}]",
    ),
    click.option(
        "--hard-negatives",
        type=float,
        help="REMI's b: negatives weigh exp(b * score); 0: all the same. [default: 0]",
    ),
    click.option(
        "--routing-penalty",
        type=float,
        help="REMI's c, a weight on attention to single items; of ComiRec-SA and Queries. "
        "[default: 0]",
    ),
    click.option("--batch-size", type=int, help="Users a step. [default: 128]"),
    click.option(
        "--maxlen",
        type=int,
        help="Items of a history that the model sees, the last ones. [default: 20]",
    ),
    click.option("--embedding-dim", type=int, help="Numbers of an item's vector. [default: 64]"),
    click.option(
        "--embedding-scale",
        type=float,
        help="Fresh item rows are uniform within it; 0: Glorot's limit. [default: 0]",
    ),
    click.option(
        "--embeddings",
        help=f"{' | '.join(EMBEDDINGS)}: one vector an item, or one in histories and another as a "
        f"candidate. [default: {_DEFAULTS['embeddings']}]",
    ),
    click.option(
        "--history",
        help=f"{' | '.join(HISTORIES)}: a history's items as they are, or all of one length. "
        f"[default: {_DEFAULTS['history']}]",
    ),
    click.option(
        "--hidden-size",
        type=int,
        help="Width of the network, in numbers; most models need --embedding-dim's. [default: 64]",
    ),
    click.option("--num-interest", type=int, help="Interests a user. [default: 4]"),
    click.option(
        "--members",
        type=int,
        help="Models trained side by side, each of its share of the dimensions. [default: 1]",
    ),
    click.option(
        "--interest-count",
        help=f"{' | '.join(INTEREST_COUNTS)}: the same for all, or fewer of short histories. "
        f"[default: {_DEFAULTS['interest_count']}]",
    ),
    click.option(
        "--encoder-layers",
        type=int,
        help="Blocks of causal self-attention over the history, under the model. [default: 0]",
    ),
    click.option("--encoder-heads", type=int, help="Heads of its attention. [default: 1]"),
    click.option(
        "--dropout",
        type=float,
        help="Share of the encoder's numbers that are zero in training, 0 to 1. [default: 0]",
    ),
    click.option(
        "--item-dropout",
        type=float,
        help="Share of a history's items that training leaves out, 0 to 1. [default: 0]",
    ),
    click.option(
        "--repeats",
        help=f"{' | '.join(REPEATS)}: an item of the user's own history scores as any other, or "
        f"more or less by what is learned of it. [default: {_DEFAULTS['repeats']}]",
    ),
    click.option(
        "--first-target", type=int, help="Items a target has before it, at least. [default: 4]"
    ),
    click.option(
        "--targets",
        type=int,
        help="Targets learned of each user in one pass over him. [default: 1]",
    ),
    click.option(
        "--next-n",
        type=int,
        help="A target is one of so many items that follow its history. [default: 1]",
    ),
    click.option(
        "--next-share",
        type=float,
        help="Or one of this share of a user's items, 0 to 1, where that is more. [default: 0]",
    ),
    click.option(
        "--sampler",
        help=f"Where negatives come from: {' | '.join(SAMPLERS)} (mixed: in-batch and uniform; "
        "full: every item). "
        f"[default: {_DEFAULTS['sampler']}]",
    ),
    click.option(
        "--negatives",
        type=int,
        help="Negative items drawn a step, shared by its batch. [default: 10 x batch size]",
    ),
    click.option(
        "--top-n",
        "--topN",
        "top_n",
        type=int,
        help="N of the recall@N that selects the best model. [default: 50]",
    ),
    click.option(
        "--seed",
        "--random-seed",
        "seed",
        type=int,
        help="All that is random follows from it, a whole number from 0. [default: 19]",
    ),
    click.option(
        "--runs-dir",
        type=click.Path(path_type=Path),
        default="runs",
        show_default=True,
        help="Folder of the runs.",
    ),
    data_option,
)


_WATCH_OPTIONS = (
    click.option("--quiet", is_flag=True),
    click.option("--track", type=click.Choice(TRACKERS), multiple=True),
)


_SOURCE_OPTIONS = (
    click.option("--format", "layout", cls=Option, fields={"choices": " | ".join(FORMATS)}),
    *(
        click.option(f"--{what}-col", metavar="NAME")
        for what in ("user", "item", "time", "category", "title")
    ),
    click.option("--behaviours"),
)


def source_options(command: Command) -> Command:
    """Add the options that tell what a source of interactions looks like."""
    for option in reversed(_SOURCE_OPTIONS):
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """Add the options that make up a run's configuration, and where it and its data are."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


def watch_options(command: Command) -> Command:
    """Add the options on how a run is watched."""
    for option in reversed(_WATCH_OPTIONS):
        command = option(command)
    return command


def preset_name(preset: str | None, config_file: Path | None) -> str | None:
    """Return the preset that a flag or the file names."""
    return preset or (read_toml(config_file).get("preset") if config_file is not None else None)


def run_layers(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    values: dict[str, Any],
) -> list[Layer]:
    """Return the configuration's given values by field name, the stronger last: the preset's, the
    file's, the flags'. A file may name its preset.
    """
    if max_iter is not None and max_steps is not None:
        raise UsageError("only_one", options="--max-iter, --steps")
    from_file = read_toml(config_file) if config_file is not None else {}
    named = from_file.pop("preset", None)
    from_preset = read_preset(preset or named) if preset or named else {}
    given = {key: value for key, value in values.items() if value is not None}
    steps = steps_of(max_iter) if max_iter is not None else max_steps
    return [
        Layer("preset", from_preset, preset or named),
        Layer("file", from_file, str(config_file)),
        Layer("flag", given | ({} if steps is None else {"max_steps": steps})),
    ]


def run_values(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    values: dict[str, Any],
) -> dict[str, Any]:
    """Return the values that the layers of `run_layers` make together."""
    layers = run_layers(preset, config_file, max_iter, max_steps, values)
    return dict(ChainMap(*(dict(layer.values) for layer in reversed(layers))))


def print_json(facts: Any) -> None:
    """Print facts for programs."""
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False))


def steps_of(thousands: float) -> int:
    """Return the steps that --max-iter means; UsageError where it is not finite."""
    if not math.isfinite(thousands):
        raise UsageError(
            "bad_value", option="max_iter", value=thousands, expected=Phrase("good_positive")
        )
    return round(thousands * 1000)


def without_options(words: list[str], flags: tuple[str, ...]) -> list[str]:
    """Return a command line's words without these options and their values."""
    kept: list[str] = []
    skipped = False
    for word in words:
        flag = word.split("=")[0].replace("_", "-")
        if flag not in flags and not skipped:
            kept.append(word)
        skipped = flag in flags and "=" not in word
    return kept
