"""The wheel: its content and its name."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from helpers.commands import ROOT

# What is not code, and is read where it lies.
DATA = ("*.toml", "*.html", "*.css", "*.js", "*.svg", "*.mo", "py.typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_whole_package(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    package = {
        path.relative_to(source).as_posix()
        for pattern in ("*.py", *DATA)
        for path in (source / "reprise").rglob(pattern)
    }
    assert {"reprise/config/shipped/book/ComiRec-DR.toml", "reprise/py.typed"} <= package
    assert package <= held
    assert {name.split("/")[0].partition("-")[0] for name in held} == {"reprise", "reprise_rec"}


def test_wheel_is_called_reprise_rec_and_brings_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(info).decode()
        commands = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert "\nName: reprise-rec\n" in metadata
    assert "reprise = reprise.__main__:main" in commands
    for extra in ("cuda", "dev", "mlflow", "sweep", "tf", "wandb"):
        assert f"\nProvides-Extra: {extra}\n" in metadata


def test_extras_name_this_distribution() -> None:
    """Another project is called `reprise`: its extras would be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [one for extra in project["optional-dependencies"].values() for one in extra]
    assert not [one for one in needed if one.startswith("reprise[")]
    assert "reprise-rec[database,export,serve,sweep]" in needed
