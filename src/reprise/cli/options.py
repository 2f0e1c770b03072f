"""Options shared by several commands, and the configuration values given with them."""

import json
import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from reprise.cli.help import Option
from reprise.config.effect import say_without_effect
from reprise.config.layers import Layer
from reprise.config.load import PRESETS, in_todays_names, read_preset, read_toml
from reprise.config.schema import SETTINGS, TrainConfig
from reprise.config.setting import AUTO, Setting
from reprise.data import TIES
from reprise.data.readers import FORMATS
from reprise.errors import UsageError
from reprise.text.messages import Messages, Phrase, choose_language
from reprise.text.shown import shown_json
from reprise.tracking import TRACKERS

Command = TypeVar("Command", bound=Callable[..., Any])


class _Path(click.Path):
    """A path; an empty one, which `pathlib` takes for the current folder, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            asked = "PATH" if param is None else param.human_readable_name
            raise UsageError("bad_value", option=asked, value=value, expected=Phrase("good_path"))
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)


def common_options(command: Command) -> Command:
    """Add the options of every command."""
    return click.option("--lang")(command)


which_option = click.option("--which", type=click.Choice(["best", "latest"]), default="best")
runs_option = click.option("--runs-dir", type=PATH, default="runs")
# For a run's data; if not given, run.json's data folder is used.
data_option = click.option("--data-dir", type=PATH)
sets_option = click.option("--data-dir", type=PATH, default="data")
# One weight or several, "0,0.05,0.1" or by repeating the option: see `numbers_of`.
lambda_option = click.option("--lambda", "coefs", metavar="X,...", multiple=True)

_MAX_ITER = click.option("--max-iter", type=float)


def setting_option(name: str, *flags: str, default: Any = None) -> Callable[[Command], Command]:
    """Return the Click option of a setting, built from its declaration.

    Args:
        name: The setting, and the name of the option's parameter.
        flags: Flags that replace the declared ones.
        default: The option's default. If None, the option has no default, so that a value from a
            file or a preset is kept.
    """
    setting = SETTINGS[name]
    names = flags or setting.flags
    if setting.kind is bool:
        names = tuple(f"{flag}/--no-{flag.removeprefix('--')}" for flag in names)
    text = setting.help if default is not None else f"{setting.help} {setting.default_help}"
    return click.option(
        *names,
        name,
        type=_type_of(setting),
        metavar="NAMES" if setting.listed else None,
        default=default,
        show_default=default is not None,
        help=text.strip(),
    )


class _NumberOrAuto(click.ParamType[Any]):
    """A number of a setting, or AUTO."""

    def __init__(self, kind: type[Any]) -> None:
        self._number = click.types.convert_type(kind)
        self.name = self._number.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.casefold() == AUTO:
            return AUTO
        return self._number.convert(value, param, ctx)


def _type_of(setting: Setting) -> Any:
    return _NumberOrAuto(setting.kind) if setting.by_data else setting.kind


def _options_of(setting: Setting) -> Iterator[Callable[[Any], Any]]:
    """Yield the options of a setting, with hidden ones for its former names."""
    if setting.name == "max_steps":
        yield _MAX_ITER
    yield setting_option(setting.name)
    for former in setting.formerly:
        kind = str if former.values else setting.kind
        flag = f"--{former.name.replace('_', '-')}"
        yield click.option(flag, former.name, type=kind, hidden=True)


_RUN_OPTIONS = (
    click.option("--preset", type=click.Choice(PRESETS)),
    click.option("--config", "config_file", type=PATH),
    *(option for setting in SETTINGS.values() for option in _options_of(setting)),
    runs_option,
    data_option,
)


_WATCH_OPTIONS = (
    click.option("--quiet", is_flag=True),
    click.option("--track", type=click.Choice(TRACKERS), multiple=True),
)


_LONGER_OPTIONS = tuple(
    option for setting in SETTINGS.values() if setting.extendable for option in _options_of(setting)
)


_SOURCE_OPTIONS = (
    click.option("--format", "format_name", cls=Option, fields={"choices": " | ".join(FORMATS)}),
    *(
        click.option(f"--{what}-col", metavar="NAME")
        for what in ("user", "item", "time", "category", "title", "event", "rating")
    ),
    click.option("--events", metavar="LIST"),
    click.option("--target-events", metavar="LIST"),
    click.option("--min-rating", type=float, metavar="X"),
    click.option("--behaviours"),
    click.option("--separator", metavar="SIGN"),
    click.option("--quote", metavar="SIGN"),
    click.option("--encoding", metavar="NAME"),
    click.option("--null-values", metavar="LIST"),
    click.option("--drop-invalid", is_flag=True),
    click.option("--ties", cls=Option, metavar="RULE", fields={"choices": " | ".join(TIES)}),
)


def source_options(command: Command) -> Command:
    """Add the options that describe the format of a source of interactions."""
    for option in reversed(_SOURCE_OPTIONS):
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """Add the options of a run's configuration, and of its folder and its data's."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


def longer_options(command: Command) -> Command:
    """Add the options of the settings that may change between starts."""
    for option in reversed(_LONGER_OPTIONS):
        command = option(command)
    return command


def watch_options(command: Command) -> Command:
    """Add the options on progress output and trackers."""
    for option in reversed(_WATCH_OPTIONS):
        command = option(command)
    return command


def device_options(command: Command) -> Command:
    """Add the options on the devices and processes that do something together."""
    for option in (
        click.option("--devices", type=int, default=1, show_default=True),
        click.option("--coordinator", metavar="HOST:PORT"),
        click.option("--num-processes", type=int),
        click.option("--process-id", type=int),
    ):
        command = option(command)
    return command


def resume_options(command: Command) -> Command:
    """Add the options of a start: the state that a run resumes from, and its devices."""
    for option in (
        device_options,
        click.option("--change-learning-rate", type=float),
        click.option("--best-metric", type=float),
        click.option("--resume-from", type=click.Choice(["latest", "best"]), default="latest"),
    ):
        command = option(command)
    return command


def preset_name(preset: str | None, config_file: Path | None) -> str | None:
    """Return the name of the preset given by flag or in the file; None if there is none."""
    return preset or (read_toml(config_file).get("preset") if config_file is not None else None)


def run_layers(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    values: dict[str, Any],
) -> list[Layer]:
    """Return the given configuration values by field name, in increasing order of precedence:
    preset, file, flags. A file may name its preset.
    """
    if max_iter is not None and max_steps is not None:
        raise UsageError("only_one", options="--max-iter, --steps")
    from_file = read_toml(config_file, say) if config_file is not None else {}
    named = from_file.pop("preset", None)
    from_preset = read_preset(preset or named) if preset or named else {}
    flags = {key: value for key, value in values.items() if value is not None}
    given = in_todays_names(flags, say)
    steps = steps_of(max_iter) if max_iter is not None else max_steps
    return [
        Layer("preset", from_preset, preset or named),
        Layer("file", from_file, str(config_file)),
        Layer("flag", given | ({} if steps is None else {"max_steps": steps})),
    ]


def say(key: str, **values: object) -> None:
    """Print a message to stderr in the language of the running command."""
    context = click.get_current_context(silent=True)
    asked = context.params.get("lang") if context is not None else None
    click.echo(Messages(choose_language(asked)).text(key, **values), err=True)


def run_values(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    values: dict[str, Any],
) -> dict[str, Any]:
    """Return the merged values of the layers of `run_layers`."""
    return together(run_layers(preset, config_file, max_iter, max_steps, values))


def together(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the values of layers, the later ones stronger."""
    return dict(ChainMap(*(dict(layer.values) for layer in reversed(layers))))


def agreed(question: str, unasked: str) -> bool:
    """Ask a yes/no question; raise UsageError(`unasked`) if stdin is at its end."""
    try:
        return click.confirm(question)
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise UsageError(unasked) from None
        raise


def parts(text: str) -> list[str]:
    """Return what stands between the commas of an option's value."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers_of(option: str, texts: Sequence[str]) -> tuple[float, ...]:
    """Return the numbers of an option's values, each one or several between commas."""
    try:
        return tuple(float(part) for text in texts for part in parts(text))
    except ValueError:
        expected = Phrase("good_from", low=0)
        raise UsageError(
            "bad_value", option=option, value=",".join(texts), expected=expected
        ) from None


def whole_numbers_of(option: str, text: str) -> list[int]:
    """Return the whole numbers of an option's value, between commas."""
    found = []
    for part in parts(text):
        try:
            found.append(int(part))
        except ValueError:
            expected = Phrase("good_whole", low=1)
            raise UsageError("bad_value", option=option, value=part, expected=expected) from None
    return found


def print_json(facts: Any) -> None:
    """Print facts as JSON."""
    click.echo(shown_json(json.dumps(facts, indent=2, ensure_ascii=False)))


def steps_of(thousands: float) -> int:
    """Return the steps that --max-iter means; UsageError where they are no possible number."""
    low, high = SETTINGS["max_steps"].at_least, SETTINGS["max_steps"].at_most
    steps = round(thousands * 1000) if math.isfinite(thousands) else 0
    if not low <= steps <= high:
        expected = Phrase("good_within", low=low / 1000, high=int(high) // 1000)
        raise UsageError("bad_value", option="max_iter", value=thousands, expected=expected)
    return steps


def say_unused(layers: Sequence[Layer], config: TrainConfig) -> None:
    """Say which values of flags and file, the later ones stronger, have no effect."""
    own = [layer for layer in layers if layer.kind in ("file", "flag")]
    say_without_effect(together(own), config, say)
