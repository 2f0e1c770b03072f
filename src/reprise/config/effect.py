"""Report settings that have no effect, such as those of an encoder without layers."""

from collections.abc import Mapping
from typing import Any

from reprise.config.layers import is_as_given
from reprise.config.schema import SETTINGS, TrainConfig
from reprise.config.setting import Meaning
from reprise.models.registry import SINGLE, UNTRAINED
from reprise.text.messages import Say


def say_without_effect(given: Mapping[str, Any], config: TrainConfig, say: Say) -> None:
    """Report the given values, by setting, that a run with `config` does not use, and why."""
    for name, value in given.items():
        setting = SETTINGS[name]
        if setting.default is Meaning.REQUIRED or value in (None, setting.default):
            continue
        flag = setting.flags[0]
        ignored = not is_as_given(getattr(config, name), value)
        if setting.of_several and config.model in SINGLE:
            say("setting_unused", flag=flag, value=value, used=config.model)
        elif ignored and setting.needs and config.model not in UNTRAINED:
            say("setting_without", flag=flag, value=value, needs=SETTINGS[setting.needs].flags[0])
        elif ignored:
            full = config.sampler == "full" and name == "negatives"
            used = "--sampler full" if full else config.model
            say("setting_unused", flag=flag, value=value, used=used)
