"""Number of examples and cases: few in `make test`, more in `make test-long`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import settings

_PER_HUNDRED = 100
_BRIEFLY, _LONG = 50, 2000


def make_profiles() -> None:
    """Register Hypothesis's profiles, and load the first.

    "brief" tries what is a function of the test, so that a failure is of the change that it comes
    with. "long" (`--hypothesis-profile`) tries forty times as much, and other examples each time.
    """
    settings.register_profile("brief", derandomize=True, deadline=None, max_examples=_BRIEFLY)
    settings.register_profile(
        "long", database=None, deadline=None, max_examples=_LONG, print_blob=True
    )
    settings.load_profile("brief")


def examples(count: int) -> settings:
    """Return the settings that try so many examples in a hundred of the profile's."""
    return settings(max_examples=count * settings().max_examples // _PER_HUNDRED)


def some_at_length(cases: Iterable[Any], briefly: Collection[Any]) -> list[Any]:
    """Return the cases of a parametrized test, marked `long` but for those to be tried `briefly`,
    too. A case of several values is a tuple.
    """
    return [case if case in briefly else _at_length(case) for case in cases]


def _at_length(case: Any) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)
