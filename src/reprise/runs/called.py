"""The names of runs' folders, and a run's name where only its folder's tells it."""

from collections.abc import Mapping
from typing import Any

from reprise.config.load import make_config
from reprise.config.schema import SETTINGS
from reprise.errors import RepriseError


def folder_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names that the folder of a run with these settings can have: the one of today, and
    the one that contains settings, of ComiRec's command line. None where they are no settings.
    """
    try:
        config = make_config(values)
    except RepriseError:
        return ()
    return config.folder_name, config.run_name


def name_in(folder_name: str, values: Mapping[str, Any]) -> str:
    """Return a run's name by its folder's and what is stored with its settings; the folder's name
    where it has not been formed of them.
    """
    settings = {key: values[key] for key in SETTINGS if key in values}
    for prefix in reversed(folder_names({**settings, "name": "-"})):
        if folder_name.startswith(prefix[:-1]) and folder_name != prefix[:-1]:
            return folder_name.removeprefix(prefix[:-1])
    return folder_name
