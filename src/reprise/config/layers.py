"""Where each value of a configuration comes from: `reprise config show`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reprise.config.load import NEEDED, make_config
from reprise.config.schema import SETTINGS

Kind = Literal["default", "run", "preset", "file", "flag", "derived", "needed"]


@dataclass(frozen=True)
class Layer:
    """Values by field name, and whose they are: the preset, file or run `name`; flags have none."""

    kind: Kind
    values: Mapping[str, Any]
    name: str | None = None


@dataclass(frozen=True)
class Value:
    """A value in force and its source: a layer, the default, what follows from other values
    ("derived"), or nobody yet ("needed").
    """

    key: str
    value: Any
    source: Kind
    name: str | None = None


def resolve(layers: Iterable[Layer]) -> list[Value]:
    """Return the whole configuration that the layers make, the stronger last; UsageError for what
    is no configuration. Data set and name may be open yet.
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


def as_toml(settings: list[Value]) -> str:
    """Return the lines of a file that `--config` reads back to the same configuration."""
    # A JSON text, number or truth value is TOML's too: names hold printable characters only.
    return "".join(
        f"{setting.key} = {json.dumps(setting.value, ensure_ascii=False)}\n"
        for setting in settings
        if setting.value is not None
    )


def is_as_given(value: Any, given: Any) -> bool:
    """Whether a value is what was asked for: names in any case, and 0 for none."""
    same = value == given or str(value).casefold() == str(given).casefold()
    return same or (value is None and not given)
