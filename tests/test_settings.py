"""A setting is declared in one place, and all else follows from it.

An imaginary setting, and one that has been renamed, are declared in a copy of the package's
`config/schema.py`; nothing else in the copy is changed.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import rewrite_state
from helpers.commands import ENVIRONMENT, ROOT
from reprise.config.load import make_config
from reprise.config.schema import IDENTITY, SETTINGS, TrainConfig
from reprise.config.setting import Former, Meaning, Setting
from reprise.errors import UsageError

DECLARED = """
    label_smoothing: float = setting(
        0.25, "Share of the target's weight for all others.", at_least=0, below=1, absent=0.0
    )
    order: str = choice(("time", "chance"), "Order of a history: {choices}.")
    unit_norm: bool = setting(
        False,
        "Scale the items of a history to one norm.",
        formerly=(Former("norm", (("raw", False), ("unit", True))),),
    )
    wide: int = setting(64, "Width.", formerly=(Former("breadth"),))
"""
BEFORE = "    # Negatives: `training.negatives`\n"
OLD = ROOT / "tests" / "runs" / "samples" / "schema-9" / "ckpt-8"
RUN = ("--dataset", "d", "--name", "n")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with more settings."""
    copy = tmp_path_factory.mktemp("src")
    shutil.copytree(
        ROOT / "src" / "reprise", copy / "reprise", ignore=shutil.ignore_patterns("__pycache__")
    )
    schema = copy / "reprise" / "config" / "schema.py"
    text = schema.read_text(encoding="utf-8")
    assert text.count(BEFORE) == 1
    text = text.replace(BEFORE, DECLARED + "\n" + BEFORE)
    text = text.replace("setting import LARGEST,", "setting import Former, LARGEST,")
    schema.write_text(text, encoding="utf-8")
    return copy


def python(package: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=ENVIRONMENT | {"PYTHONPATH": str(package), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def shown(package: Path, *options: object) -> tuple[dict[str, Any], str]:
    """Return each setting that `reprise config show` tells, and what it said beside."""
    done = python(package, "-m", "reprise", "config", "show", *RUN, *options, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_setting_declares_a_flag_with_its_help_and_default(package: Path) -> None:
    told = " ".join(python(package, "-m", "reprise", "train", "--help").stdout.split())
    text = "Share of the target's weight for all others. [default: 0.25]"
    assert f"--label-smoothing FLOAT {text}" in told
    assert "--order TEXT Order of a history: time | chance. [default: time]" in told
    assert "--norm " not in told
    page = python(package, "-m", "reprise.cli.reference").stdout
    assert f"- `--label-smoothing FLOAT`: {text}\n" in page
    assert "- `--unit-norm / --no-unit-norm`: Scale the items of a history to one norm.\n" in page


def test_setting_value_comes_from_flags_and_files_and_is_checked(
    package: Path, tmp_path: Path
) -> None:
    values, said = shown(package)
    assert values["label_smoothing"] == {"value": 0.25, "source": "default", "name": None}
    assert said == ""
    values, _ = shown(package, "--label-smoothing", 0.5, "--unit-norm", "--order", "chance")
    found = [values[name]["value"] for name in ("label_smoothing", "unit_norm", "order")]
    assert found == [0.5, True, "chance"]
    file = tmp_path / "run.toml"
    file.write_text("label-smoothing = 0\nunit_norm = true\n")
    values, _ = shown(package, "--config", file, "--no-unit-norm")
    found = [values[name]["value"] for name in ("label_smoothing", "unit_norm", "order")]
    assert found == [0.0, False, "time"]
    asked = (
        ("--label-smoothing=1", "--label-smoothing = 1.0 is invalid: expected a number >= 0 and <"),
        ("--order=none", "--order = 'none' is invalid: expected time | chance"),
    )
    for flag, expected in asked:
        done = python(package, "-m", "reprise", "config", "show", *RUN, flag)
        assert done.returncode == 2
        assert expected in done.stderr


def test_setting_declares_its_value_for_older_checkpoints_and_may_be_searched(
    package: Path, tmp_path: Path
) -> None:
    old = tmp_path / "ckpt-8"
    shutil.copytree(OLD, old)
    rewrite_state(old, lambda state: state | {"identity": state["identity"] | {"norm": "unit"}})
    code = f"""
from pathlib import Path
from reprise.checkpoints import store
from reprise.errors import RepriseError
from reprise.sweeps.space import parse_search
identity = store.read(Path({str(old)!r})).identity
print([identity[name] for name in ("label_smoothing", "order", "unit_norm", "wide")])
print("norm" in identity, "breadth" in identity)
for text in ("label_smoothing=0..0.5", "order=time,chance", "norm=raw,unit", "unit-norm=true,false",
             "breadth=8..16", "label_smoothing=0..2", "norm=raw,long"):
    try:
        print(parse_search(text))
    except RepriseError as error:
        print(error.key)
"""
    done = python(package, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[0.0, 'time', True, 64]",
        "False False",
        "label_smoothing=0.0..0.5",
        "order=time,chance",
        "unit_norm=False,True",
        "unit_norm=True,False",
        "wide=8..16",
        "bad_value",
        "bad_value",
    ]


def test_setting_former_name_is_accepted_with_a_note(package: Path, tmp_path: Path) -> None:
    values, said = shown(package, "--norm", "unit", "--breadth", 5)
    assert (values["unit_norm"]["value"], values["wide"]["value"]) == (True, 5)
    assert said.splitlines() == [
        "⚠️ The setting norm is now called unit_norm; the old name still works.",
        "⚠️ The setting breadth is now called wide; the old name still works.",
    ]
    file = tmp_path / "run.toml"
    file.write_text('norm = "raw"\nbreadth = 7\n')
    values, said = shown(package, "--config", file, "--lang", "zh")
    assert (values["unit_norm"]["value"], values["wide"]["value"]) == (False, 7)
    assert said.splitlines()[0] == "⚠️ 配置项 norm 现名为 unit_norm；旧名仍可使用。"
    file.write_text("norm = 3\n")
    done = python(package, "-m", "reprise", "config", "show", *RUN, "--config", file)
    assert done.returncode == 2
    assert "unit_norm = 3 is invalid: expected true | false" in done.stderr
    file.write_text('norm = "raw"\nunit-norm = true\n')
    done = python(package, "-m", "reprise", "config", "show", *RUN, "--config", file)
    assert done.returncode == 2
    assert "Give only one of norm, unit_norm." in done.stderr


def test_setting_former_names_in_stored_runs_are_converted(package: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    (run / "checkpoints").mkdir(parents=True)
    record = {"identity": {"norm": "unit"}, "config": {"name": "r", "breadth": 3}, "events": []}
    (run / "run.json").write_text(json.dumps(record))
    code = (
        "import sys; from pathlib import Path; from reprise.runs.folder import *\n"
        "record = read_record(RunFolder(Path(sys.argv[1])), print)\n"
        "print(record['identity']['unit_norm'], record['config'])"
    )
    done = python(package, "-c", code, run)
    assert done.stdout == "True {'name': 'r', 'wide': 3}\n", done.stderr


def test_setting_names_flags_and_former_names_are_distinct() -> None:
    flags = [flag for setting in SETTINGS.values() for flag in setting.flags]
    former = [one.name for setting in SETTINGS.values() for one in setting.formerly]
    assert len(set(flags)) == len(flags)
    assert len({*former, *SETTINGS}) == len(former) + len(SETTINGS)


def test_setting_defaults_and_absent_values_are_valid() -> None:
    for name, setting in SETTINGS.items():
        assert setting.name == name
        for value in (setting.default, setting.absent, setting.untrained):
            if not isinstance(value, Meaning):
                setting.check(value)
    assert set(SETTINGS) - set(IDENTITY) == {"name", "max_steps", "patience"}


def test_read_toml_suggests_the_nearest_setting() -> None:
    with pytest.raises(UsageError, match="Did you mean 'learning_rate'"):
        make_config({"dataset": "d", "name": "n", "Learning_rat": 1})


def test_setting_bool_is_not_a_number_nor_a_number_a_bool() -> None:
    number = Setting(help="", default=1, name="n", kind=int)
    truth = Setting(help="", default=False, name="t", kind=bool)
    for setting, value in ((number, True), (truth, 1), (truth, "true")):
        with pytest.raises(UsageError):
            setting.check(value)
    assert [truth.parse(text) for text in ("true", "False")] == [True, False]
    with pytest.raises(ValueError, match="yes"):
        truth.parse("yes")


def test_setting_former_values_match_the_text_of_flags() -> None:
    former = Former("old", ((1, "one"), (True, "yes")))
    assert [former.today(value) for value in (1, "1", True, "TRUE", 2)] == [
        *("one", "one", "yes", "yes", 2)
    ]


def test_config_is_frozen() -> None:
    with pytest.raises(AttributeError):
        TrainConfig("d", "n").seed = 3  # type: ignore[misc]
