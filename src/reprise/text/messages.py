"""Every user-facing line, in English and Chinese."""

import locale
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

from reprise.text.messages_course import COURSE
from reprise.text.messages_damage import DAMAGE
from reprise.text.messages_demo import DEMO
from reprise.text.messages_export import EXPORT
from reprise.text.messages_refusals import REFUSALS
from reprise.text.messages_report import REPORT
from reprise.text.messages_runs import RUNS
from reprise.text.messages_tf import IMPORT
from reprise.text.messages_values import VALUES
from reprise.text.words import WORDS

Language = Literal["en", "zh"]
# say(key, **values): how one who does something tells of it, in a language that others choose.
Say = Callable[..., None]

# key: (English, Chinese). The Chinese lines of the resume family are the specification's own.
CATALOGUE: Mapping[str, tuple[str, str]] = {
    # ComiRec's command line
    "prompt_name": ("Please input the experiment name: ", "Please input the experiment name: "),
    "no_name": (
        "No experiment name: give --name NAME, or type it at the prompt.",
        "没有实验名称：请用 --name NAME 指定，或在提示处输入。",
    ),
    "found_checkpoint": (
        "✅ Found a checkpoint, resuming: {path}",
        "✅ 发现已有 checkpoint，自动恢复: {path}",
    ),
    "continuing": (
        "   Continuing the last training...",
        "   将从上次训练继续...",
    ),
    "restored_best": (
        "   Restored best recall: {metric:.6f}",
        "   恢复的最优 recall: {metric:.6f}",
    ),
    "training_begin": ("training begin", "training begin"),
    "saved_best": (
        "   💾 Saved a new best model, recall: {metric:.6f}",
        "   💾 保存新的最优模型，recall: {metric:.6f}",
    ),
    "old_checkpoint": (
        "⚠️ This checkpoint was written without a best metric; measuring the restored model "
        "(or give it: --best-metric).",
        "⚠️ 旧 checkpoint 没有 best_metric；正在评估恢复的模型以得到真实值"
        "（也可用 --best-metric 手动指定）。",
    ),
    "old_optimizer": (
        "⚠️ This checkpoint was written by lazy Adam, before the optimizer could be chosen; it "
        "goes on with {optimizer} (--optimizer lazy-adam keeps the old one).",
        "⚠️ 此 checkpoint 由 lazy Adam 写成，当时还不能选择优化器；现以 {optimizer} 继续"
        "（--optimizer lazy-adam 可沿用旧的）。",
    ),
    # warnings
    "quarantined": (
        "⚠️ Checkpoint {path} is damaged ({reason}); set aside as {target}.",
        "⚠️ checkpoint {path} 已损坏（{reason}）；已移至 {target}。",
    ),
    "damaged_ignored": (
        "⚠️ Checkpoint {path} is damaged ({reason}); ignored.",
        "⚠️ checkpoint {path} 已损坏（{reason}）；已忽略。",
    ),
    "nothing_whole": (
        "⚠️ No whole checkpoint is left in {path}: starting at step 0.",
        "⚠️ {path} 中没有完整的 checkpoint：从第 0 步开始。",
    ),
    "best_lost": (
        "⚠️ The weights of the best model (recall {metric:.6f} at step {step}) are gone; "
        "its metric is kept, and the next best stored is {path}.",
        "⚠️ 最优模型（第 {step} 步，recall {metric:.6f}）的权重已丢失；"
        "保留其指标，现存次优为 {path}。",
    ),
    "environment_changed": (
        "⚠️ The run was last saved under another environment ({changes}); it goes on, but its bytes "
        "are no longer promised to be those of an undisturbed run.",
        "⚠️ 上次保存时的运行环境不同（{changes}）；训练将继续，但不再保证与未中断的训练逐字节一致。",
    ),
    "record_damaged": (
        "⚠️ {path} cannot be read ({reason}); it is made anew from the checkpoints.",
        "⚠️ 无法读取 {path}（{reason}）；将根据 checkpoint 重建。",
    ),
    **REFUSALS,
    **COURSE,
    **DAMAGE,
    **DEMO,
    **EXPORT,
    **IMPORT,
    **RUNS,
    **REPORT,
    **VALUES,
    **WORDS,
}


def choose_language(asked: str | None = None) -> Language:
    """Return the language: `asked`, else REPRISE_LANG, else the locale's; English otherwise."""
    name = asked or os.environ.get("REPRISE_LANG") or _locale_name()
    return "zh" if name.lower().startswith("zh") else "en"


def unsaid(key: str, **values: object) -> None:
    """Say nothing, to who need not be told."""


class Phrase:
    """A line, or a part of one, that is said in the user's language; in English as a string.

    `key` names an entry of the catalogue; `values` fill it in.
    """

    def __init__(self, key: str, **values: Any) -> None:
        self.key = key
        self.values = values

    def __str__(self) -> str:
        return self.said_in("en")

    def said_in(self, language: Language) -> str:
        """Return the text in a language."""
        return Messages(language).text(self.key, **self.values)


class Messages:
    """The catalogue in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def text(self, key: str, **values: Any) -> str:
        """Return the line `key` filled in with `values`, of which a Phrase is a line itself."""
        english, chinese = CATALOGUE[key]
        said = {
            name: self.text(value.key, **value.values) if isinstance(value, Phrase) else value
            for name, value in values.items()
        }
        return (chinese if self.language == "zh" else english).format(**said)


def _locale_name() -> str:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(variable):
            return os.environ[variable]
    return locale.getlocale()[0] or "en"
