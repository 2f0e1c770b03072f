"""Reprise: train multi-interest recommenders, stop at any instant, resume exactly.

Importing it is fast and changes nothing in the process; the names of the Python API (`reprise.api`)
are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reprise.api import baselines, evaluate, evaluate_lists, load, open_dataset, prepare, train
    from reprise.errors import RepriseError
    from reprise.views import Baselines, Group, Run

__version__ = "0.2.0"
__all__ = [
    "Baselines",
    "Group",
    "RepriseError",
    "Run",
    "__version__",
    "baselines",
    "evaluate",
    "evaluate_lists",
    "load",
    "open_dataset",
    "prepare",
    "train",
]
_HOME = {
    "RepriseError": "reprise.errors",
    "Baselines": "reprise.views",
    "Group": "reprise.views",
    "Run": "reprise.views",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_HOME.get(name, "reprise.api")), name)
    raise AttributeError(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return __all__
