"""The catalogue of messages: complete in both languages, and used by key."""

import re
from pathlib import Path
from string import Formatter

import pytest

import reprise
from reprise.messages import CATALOGUE, Messages, choose_language

SOURCES = [
    *Path(reprise.__file__).parent.rglob("*.py"),
    *Path(reprise.__file__).parent.rglob("template/*"),
    Path(reprise.__file__).parents[1] / "train.py",
]


def is_catalogue(path: Path) -> bool:
    return path.name == "words.py" or path.name.startswith("messages")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("key", CATALOGUE)
def test_both_languages_say_it_with_the_same_values(key: str) -> None:
    english, chinese = CATALOGUE[key]
    assert english
    assert chinese
    assert fields(english) == fields(chinese)


def test_every_key_is_used_and_every_used_key_is_there() -> None:
    code = "\n".join(path.read_text() for path in SOURCES if not is_catalogue(path))
    quoted = set(re.findall(r'"([a-z_]+)"', code))
    assert set(CATALOGUE) <= quoted
    spoken = re.findall(r'(?:Error|say|warn|text)\(\s*"([a-z_]+)"', code)
    assert set(spoken) <= set(CATALOGUE)


def test_the_seeds_lines_word_for_word() -> None:
    chinese = Messages("zh")
    assert chinese.text("found_checkpoint", path=".../ckpt-11") == (
        "✅ 发现已有 checkpoint，自动恢复: .../ckpt-11"
    )
    assert chinese.text("continuing") == "   将从上次训练继续..."
    assert chinese.text("restored_best", metric=0.031122) == "   恢复的最优 recall: 0.031122"
    assert chinese.text("saved_best", metric=0.031) == ("   💾 保存新的最优模型，recall: 0.031000")
    assert chinese.text("training_begin") == "training begin"


def test_language_by_flag_then_variable_then_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "REPRISE_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert choose_language() == "zh"
    monkeypatch.setenv("REPRISE_LANG", "en")
    assert choose_language() == "en"
    assert choose_language("zh") == "zh"
