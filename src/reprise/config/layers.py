"""Resolve the layers of a configuration, and record each value's source (`reprise config show`)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reprise.config.by_data import Facts, by_data, open_in
from reprise.config.load import NEEDED, make_config
from reprise.config.schema import SETTINGS
from reprise.config.setting import joined

Kind = Literal["default", "run", "preset", "file", "flag", "derived", "data", "needed"]


@dataclass(frozen=True)
class Layer:
    """Values by field name, and their source: the preset, file or run `name`; None for flags."""

    kind: Kind
    values: Mapping[str, Any]
    name: str | None = None


@dataclass(frozen=True)
class Value:
    """A resolved value and its source: a layer, the default, other values ("derived"), the data set
    `name` ("data"), or none yet ("needed").
    """

    key: str
    value: Any
    source: Kind
    name: str | None = None


def resolve(layers: Iterable[Layer]) -> list[Value]:
    """Return all values of the configuration that results from the layers.

    Args:
        layers: In increasing order of precedence. Data set and name may be missing.

    Raises:
        UsageError: The values are invalid.
    """
    given: dict[str, Any] = {}
    origin: dict[str, Layer] = {}
    for layer in layers:
        given |= layer.values
        origin |= dict.fromkeys(layer.values, layer)
    needed = [key for key in NEEDED if given.get(key) is None]
    config = make_config(given | dict.fromkeys(needed, "open"))
    settings = []
    for key, declared in SETTINGS.items():
        value = getattr(config, key)
        if key in needed:
            settings.append(Value(key, None, "needed"))
        elif key not in origin:
            settings.append(
                Value(key, value, "default" if value == declared.default else "derived")
            )
        elif is_as_given(value, given[key]):
            settings.append(Value(key, value, origin[key].kind, origin[key].name))
        else:
            settings.append(Value(key, value, "derived"))
    return settings


def settled_by(settings: Iterable[Value], facts: Facts, name: str) -> list[Value]:
    """Return values with those that follow from the data set `name`."""
    own = {one.key: one.value for one in settings if one.source != "needed"}
    needed = {one.key: "open" for one in settings if one.source == "needed"}
    config = make_config(own | needed)
    known = by_data(config, facts)
    found = {key: getattr(known, key) for key in open_in(config)}
    return [
        Value(one.key, found[one.key], "data", name) if one.key in found else one
        for one in settings
    ]


def as_toml(settings: list[Value]) -> str:
    """Return the TOML text of a file that `--config` reads back to the same configuration."""
    # JSON strings of printable characters, numbers and booleans are valid TOML.
    return "".join(
        f"{setting.key} = {json.dumps(setting.value, ensure_ascii=False)}\n"
        for setting in settings
        if setting.value is not None
    )


def is_as_given(value: Any, given: Any) -> bool:
    """Return whether a value equals the given one, ignoring case, with 0 equal to None, and names
    in any order.
    """
    same = value == given or str(value).casefold() == str(given).casefold()
    return same or (not given if value is None else value == joined(given))
