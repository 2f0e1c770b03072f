"""What an import from TensorFlow says, in both languages: `messages.CATALOGUE` holds it too."""

from collections.abc import Mapping

# key: (English, Chinese)
IMPORT: Mapping[str, tuple[str, str]] = {
    "tf_learning_rate": (
        "Learning rate {rate}, as the checkpoint has it (--learning-rate sets another).",
        "学习率 {rate}，取自 checkpoint（可用 --learning-rate 另行指定）。",
    ),
    "tf_moments_missing": (
        "⚠️ Adam's moments of {names} are not in the checkpoint, or not clear: they start at "
        "zero, and the first updates are larger than those of the training so far.",
        "⚠️ checkpoint 中没有（或无法确定）{names} 的 Adam 动量：从零开始，最初几步的更新会偏大。",
    ),
    "tf_imported": (
        "Imported {source} -> {path}\n{variables}",
        "已导入 {source} -> {path}\n{variables}",
    ),
    "tf_unused": ("Not used: {names}", "未使用: {names}"),
    "tf_standing": (
        "Step {step}, best recall {metric}. Go on with:\n  {command}",
        "第 {step} 步，最优 recall {metric}。继续训练请运行:\n  {command}",
    ),
    # errors: what, where, how to mend it
    "tf_not_installed": (
        "Reading TensorFlow's checkpoints needs TensorFlow ({reason}): pip install 'reprise[tf]'",
        "读取 TensorFlow checkpoint 需要 TensorFlow（{reason}）: pip install 'reprise[tf]'",
    ),
    "tf_missing_checkpoint": (
        "No TensorFlow checkpoint at {path}. Give a folder that holds one, or its prefix: "
        ".../ckpt-11 where ckpt-11.index is.",
        "{path} 处没有 TensorFlow checkpoint。请给出其所在目录，或其前缀："
        "如 ckpt-11.index 对应 .../ckpt-11。",
    ),
    "tf_several": (
        "{path} holds several checkpoints, and no `checkpoint` file that tells the latest: "
        "{names}. Give one: {path}/NAME",
        "{path} 中有多个 checkpoint，且没有指明最新者的 `checkpoint` 文件: {names}。"
        "请指定其一: {path}/名称",
    ),
    "tf_damaged": (
        "TensorFlow checkpoint {path} is damaged: {reason}. Nothing was imported; take another.",
        "TensorFlow checkpoint {path} 已损坏: {reason}。未导入任何内容；请换用其他 checkpoint。",
    ),
    "tf_not_finite": (
        "{path}: {name} holds values that are not finite (NaN). Nothing was imported; "
        "take an earlier checkpoint.",
        "{path}: {name} 含有非有限值（NaN）。未导入任何内容；请换用更早的 checkpoint。",
    ),
    "tf_table_differs": (
        "The dataset has {items} items, so the item table must have {rows} rows (padding first); "
        "the checkpoint's largest table is {found}. Give the --dataset it was trained on.",
        "数据集有 {items} 个物品，物品表应有 {rows} 行（首行为填充）；"
        "而 checkpoint 中最大的表是 {found}。请指定其训练所用的 --dataset。",
    ),
    "tf_no_reading": (
        "The checkpoint's variables do not fit this --model (no variable fits: {parameters}):\n"
        "{variables}",
        "checkpoint 的变量与该 --model 不符（没有变量适合: {parameters}）:\n{variables}",
    ),
    "tf_sizes_differ": (
        "The checkpoint has other sizes (its own -> asked for):\n{differences}\n"
        "Leave these options out.",
        "checkpoint 的尺寸不同（其自身 -> 本次）:\n{differences}\n请去掉这些选项。",
    ),
    "tf_ambiguous": (
        "The checkpoint can be read in several ways; choose with:\n{choices}",
        "checkpoint 有多种读法；请用以下选项指定:\n{choices}",
    ),
    "tf_unknown_parameter": (
        "--map: no parameter {name!r}. Known: {known}.",
        "--map: 没有参数 {name!r}。可用: {known}。",
    ),
    "tf_unknown_variable": (
        "--map: no single variable {name!r} in the checkpoint:\n{variables}",
        "--map: checkpoint 中没有唯一的变量 {name!r}:\n{variables}",
    ),
    "tf_step_unknown": (
        "{path} does not tell how many updates its model has had (TensorFlow 1's Adam cannot, "
        "past about 87,000). Give it: --step N",
        "{path} 没有记录模型已更新的步数（TensorFlow 1 的 Adam 超过约 87,000 步后无法得知）。"
        "请指定: --step N",
    ),
}
