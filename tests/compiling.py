"""How XLA compiles what a test runs: as it does for users, or quickly where a tolerance is left."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
from jax._src import compiler

# The same program, translated with next to no effort spent on its speed: that effort was nine
# tenths of what tests of values took.
_QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


class Compiling:
    """Which of the two ways this process compiles in; at first, as it does for users."""

    def __init__(self) -> None:
        self._usual: Callable[..., Any] = compiler.get_compile_options
        self._is_quick = False

    def switch(self, quick: bool) -> None:
        """Compile the one way or the other from now on, and keep nothing compiled otherwise."""
        if quick == self._is_quick:
            return
        options = _known_options() if quick else {}

        def quickly(
            *arguments: Any, env_options_overrides: dict[str, Any] | None = None, **more: Any
        ) -> Any:
            overrides = options | (env_options_overrides or {})
            return self._usual(*arguments, env_options_overrides=overrides, **more)

        self._is_quick = quick
        # There is no public way to say this of what is compiled operation by operation.
        compiler.get_compile_options = quickly if quick else self._usual
        jax.clear_caches()  # type: ignore[no-untyped-call]


@cache
def _known_options() -> dict[str, Any]:
    """Return those options that this version of XLA has."""
    known = {}
    for name, value in _QUICK.items():
        try:
            jax.jit(lambda: 0, compiler_options={name: value})()
        except jax.errors.JaxRuntimeError:
            continue
        known[name] = value
    return known
