"""Load configurations from flags, TOML files, presets and runs of older versions."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reprise.config.schema import IDENTITY, SETTINGS, TrainConfig
from reprise.config.setting import Meaning
from reprise.errors import ContentError, UsageError
from reprise.text.messages import Phrase, Say, unsaid
from reprise.text.suggest import suggest

_LARGEST_FILE = 2**20  # bytes of a configuration
_PRESETS = Path(__file__).parent / "presets"
SHIPPED = Path(__file__).parent / "shipped"  # one folder per data set, one file per model
PRESETS = tuple(sorted(path.stem for path in _PRESETS.glob("*.toml")))
NEEDED = tuple(name for name, declared in SETTINGS.items() if declared.default is Meaning.REQUIRED)
_BY_FLAG = {
    flag.removeprefix("--").replace("-", "_"): name
    for name, declared in SETTINGS.items()
    for flag in declared.flags
}
_FORMER = {
    former.name: (name, former)
    for name, declared in SETTINGS.items()
    for former in declared.formerly
}


def make_config(values: Mapping[str, Any]) -> TrainConfig:
    """Build a config from values by field name; None means not given.

    Raises:
        UsageError: A name is unknown, a required value is missing, or a value is invalid.
    """
    for key in values:
        if key not in SETTINGS:
            raise UsageError("unknown_key", option=key, suggestion=suggest(SETTINGS, key))
    given = {key: value for key, value in values.items() if value is not None}
    for required in NEEDED:
        if required not in given:
            raise UsageError("missing_value", option=required)
    return TrainConfig(**given)


def read_toml(path: Path, say: Say = unsaid) -> dict[str, Any]:
    """Read configuration values from a TOML file.

    A key is a setting's name or its flag's (max_steps or steps; not max-iter), with - or _. Former
    names are accepted.

    Args:
        path: A file, or the name of a shipped one, such as book/ComiRec-DR.
        say: Called with "setting_renamed" for each former name.

    Raises:
        UsageError: The file cannot be read, or gives a setting twice.
    """
    try:
        with _file_of(path).open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)  # of a device or a pipe, too, but not for ever
        if len(content) > _LARGEST_FILE:
            raise ContentError("config_too_large", most=_LARGEST_FILE)
        table = tomllib.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError("unreadable_config", path=path, reason=error) from error
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = field_of(key)
        if name in values:
            raise UsageError("unreadable_config", path=path, reason=Phrase("key_twice", name=name))
        values[name] = value
    return in_todays_names(values, say)


def _file_of(path: Path) -> Path:
    """Return the file of a --config value: a path, or the name of a shipped file."""
    if path.exists():
        return path
    shipped = {f"{file.parent.name}/{file.stem}": file for file in SHIPPED.glob("*/*.toml")}
    if path.as_posix() not in shipped:
        raise UsageError("config_missing", path=path, suggestion=suggest(shipped, str(path)))
    return shipped[path.as_posix()]


def read_preset(name: str) -> dict[str, Any]:
    """Read the configuration values of a preset, over those of the preset that it names, if any;
    raise UsageError if it is not in PRESETS.
    """
    if name not in PRESETS:
        raise UsageError("bad_value", option="preset", value=name, expected=" | ".join(PRESETS))
    values = read_toml(_PRESETS / f"{name}.toml")
    base = values.pop("preset", None)
    return values if base is None else read_preset(base) | values


def field_of(key: str) -> str:
    """Return the field of TrainConfig for a flag's name without its leading dashes."""
    name = key.replace("-", "_")
    return _BY_FLAG.get(name, name)


def in_todays_names(values: Mapping[str, Any], say: Say = unsaid) -> dict[str, Any]:
    """Convert settings given by former names, and their former values, to the current ones.

    Args:
        values: Values by name; unknown names are returned unchanged.
        say: Called with "setting_renamed" for each former name.

    Raises:
        UsageError: A setting is given under two names.
    """
    lifted: dict[str, Any] = {}
    for given, value in values.items():
        name = given
        if given in _FORMER:
            name, former = _FORMER[given]
            value = former.today(value)
            if name in values:
                raise UsageError("only_one", options=f"{given}, {name}")
            say("setting_renamed", old=given, new=name)
        lifted[name] = value
    return lifted


def lift_identity(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a stored identity to the current version: current names, and for each missing
    setting the value that checkpoints older than the setting imply (`Setting.absent`).
    """
    absent = {name: SETTINGS[name].absent for name in IDENTITY}
    known = {name: value for name, value in absent.items() if value is not Meaning.OPEN}
    return known | in_todays_names(stored)
