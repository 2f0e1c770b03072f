"""Every user-facing line, in English and Chinese."""

import locale
import os
from collections.abc import Mapping
from typing import Any, Literal

from reprise.messages_refusals import REFUSALS
from reprise.messages_report import REPORT
from reprise.messages_runs import RUNS
from reprise.messages_tf import IMPORT
from reprise.words import WORDS

Language = Literal["en", "zh"]

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
    # the course of a run
    "run_folder": ("Run: {path}", "实验目录: {path}"),
    "plan_data": (
        "Data: {dataset}: {users} training users, {items} items, {interactions} interactions to "
        "learn from; {valid} valid and {test} test users",
        "数据: {dataset}：{users} 个训练用户，{items} 个物品，{interactions} 条训练交互；"
        "valid {valid}、test {test} 个用户",
    ),
    "plan_model": (
        "Model: {model}: {parameters:,} parameters, {network:,} of them the network's; "
        "a checkpoint takes {state}, the training about {memory} of memory",
        "模型: {model}：{parameters:,} 个参数，其中网络 {network:,} 个；"
        "每个 checkpoint {state}，训练约需内存 {memory}",
    ),
    "plan_steps": (
        "Plan: {steps} steps of {batch} examples, evaluation every {every}, patience {patience}",
        "计划: 共 {steps} 步，每步 {batch} 个样本，每 {every} 步评估一次，patience {patience}",
    ),
    "valid_sample": (
        "Evaluations while training are over {users} of the {every} validation users "
        "(--valid-users); the last one is over all.",
        "训练中的评估只用 {every} 个验证用户中的 {users} 个（--valid-users）；"
        "最后一次评估使用全部。",
    ),
    "fresh_start": ("No checkpoint yet: starting at step 0.", "没有 checkpoint：从第 0 步开始。"),
    "resumed": (
        "Resumed at step {step} (branch {branch}): {path}",
        "已恢复，第 {step} 步（分支 {branch}）: {path}",
    ),
    "rewound": (
        "Rewound to the best model at step {step}, with its learning rate ({rate}); "
        "training goes on as branch {branch}.",
        "已回到第 {step} 步的最优模型及其学习率（{rate}）；以分支 {branch} 继续训练。",
    ),
    "finished_already": (
        "Finished already at step {step} of {steps}: nothing to do. "
        "A larger --max-iter or --steps trains on.",
        "训练已在第 {step} 步（共 {steps} 步）完成，无需继续。"
        "增大 --max-iter 或 --steps 可继续训练。",
    ),
    "stopped_early_already": (
        "Stopped early already at step {step}: {trials} evaluations without improvement "
        "(patience {patience}). A larger --patience trains on.",
        "训练已在第 {step} 步早停：连续 {trials} 次评估没有提升（patience {patience}）。"
        "增大 --patience 可继续训练。",
    ),
    "stopped_early": (
        "Stopped early at step {step}: {trials} evaluations without improvement.",
        "在第 {step} 步早停：连续 {trials} 次评估没有提升。",
    ),
    "interrupted": (
        "Stopped at step {step}; everything is saved. Go on with:\n  {command}",
        "已在第 {step} 步停止，全部状态已保存。继续训练请运行:\n  {command}",
    ),
    "best_so_far": (
        "Best Recall@{n} {metric:.6f} at step {step}: {path}",
        "最优 Recall@{n} {metric:.6f}，第 {step} 步: {path}",
    ),
    "no_best": ("No evaluation yet, so no best model.", "尚未评估，没有最优模型。"),
    "trains_on": ("To train on:\n  {command}", "若要继续训练:\n  {command}"),
    # the progress line
    "live_step": ("step {step}/{total} {percent}%", "第 {step}/{total} 步 {percent}%"),
    "live_evaluating": ("evaluating", "评估中"),
    "live_loss": ("loss {loss:.4f}", "loss {loss:.4f}"),
    "live_speed": ("{speed:,.0f} examples/s", "{speed:,.0f} 样本/秒"),
    "live_recall": (
        "Recall@{n} {metric} (best {best:.4f} @ {step})",
        "Recall@{n} {metric}（最优 {best:.4f} @ {step}）",
    ),
    "live_patience": ("patience {used}/{patience}", "patience {used}/{patience}"),
    "live_evaluation": ("evaluation {percent:.0f}%", "评估占 {percent:.0f}%"),
    "live_left": ("{time} left", "剩余 {time}"),
    "learning_rate_changed": (
        "Learning rate changed from {old} to {new} at step {step}.",
        "学习率在第 {step} 步由 {old} 改为 {new}。",
    ),
    "no_evaluation": (
        "Note: {steps} steps end before the first evaluation (every {every}); "
        "no best model will be chosen.",
        "提示：{steps} 步之内没有评估（每 {every} 步一次），不会选出最优模型。",
    ),
    "prepared": (
        "Prepared {name}: {users} users, {items} items, {interactions} interactions -> {folder}",
        "已准备 {name}：{users} 个用户，{items} 个物品，{interactions} 条交互 -> {folder}",
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
    **IMPORT,
    **RUNS,
    **REPORT,
    **WORDS,
}


def choose_language(asked: str | None = None) -> Language:
    """Return the language: `asked`, else REPRISE_LANG, else the locale's; English otherwise."""
    name = asked or os.environ.get("REPRISE_LANG") or _locale_name()
    return "zh" if name.lower().startswith("zh") else "en"


class Messages:
    """The catalogue in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def text(self, key: str, **values: Any) -> str:
        """Return the line `key` filled in with `values`."""
        english, chinese = CATALOGUE[key]
        return (chinese if self.language == "zh" else english).format(**values)


def _locale_name() -> str:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(variable):
            return os.environ[variable]
    return locale.getlocale()[0] or "en"
