"""Settings for an accelerator, and that a CPU does not get them."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from helpers.commands import ENVIRONMENT
from reprise.runtime import device

FLAG = "--xla_gpu_deterministic_ops"


@pytest.mark.parametrize(
    ("installed", "given", "expected"),
    [
        (None, "", ""),
        (None, "--xla_a=1", "--xla_a=1"),
        ("jax_cuda12_plugin", "", f"{FLAG}=true"),
        ("jax_cuda13_plugin", "--xla_a=1", f"--xla_a=1 {FLAG}=true"),
        ("jax_cuda12_plugin", f"{FLAG}=false", f"{FLAG}=false"),
    ],
)
def test_setup_asks_a_gpu_for_sums_in_a_fixed_order(
    tmp_path: Path, installed: str | None, given: str, expected: str
) -> None:
    if installed is not None:
        (tmp_path / f"{installed}.py").touch()
    script = (
        f"import os, sys; sys.path.append({str(tmp_path)!r});"
        " from reprise.runtime.setup import setup; setup();"
        " print(os.environ.get('XLA_FLAGS', ''))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env={**ENVIRONMENT, "XLA_FLAGS": given},
        check=True,
        capture_output=True,
        text=True,
    )
    assert printed.stdout.strip() == expected


def test_setup_flag_is_known_to_xla() -> None:
    subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env={**ENVIRONMENT, "XLA_FLAGS": f"{FLAG}=true"},
        check=True,
    )


def test_device_runs_single_steps_with_default_products_on_a_cpu() -> None:
    before = jax.config.values["jax_default_matmul_precision"]
    device.multiply_in_float32()
    assert jax.config.values["jax_default_matmul_precision"] == before
    assert device.steps_at_once() == 1


def test_device_runs_many_steps_with_float32_products_on_an_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    asked = dict[str, str]()
    monkeypatch.setattr(jax.config, "update", asked.__setitem__)
    device.multiply_in_float32()
    assert asked == {"jax_default_matmul_precision": "highest"}
    assert device.steps_at_once() > 1
