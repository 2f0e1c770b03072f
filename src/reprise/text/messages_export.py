"""What `reprise export` says, in both languages: `messages.CATALOGUE` holds it too."""

from collections.abc import Mapping

# key: (English, Chinese)
EXPORT: Mapping[str, tuple[str, str]] = {
    "exported_items": (
        "Exported {checkpoint} (step {step}) -> {folder}: {items} items of {dim} numbers",
        "已导出 {checkpoint}（第 {step} 步）-> {folder}：{items} 个物品，每个 {dim} 维",
    ),
    "exported_users": (
        "Users: {users}, each with {interests} vectors",
        "用户: {users} 个，每个 {interests} 个向量",
    ),
    "histories_unknown": (
        "⚠️ {path}: {unknown} of {items} items are not in the catalogue; left out of the histories.",
        "⚠️ {path}: {items} 个物品中有 {unknown} 个不在目录中；已从历史中去掉。",
    ),
    "histories_empty": (
        "⚠️ {path}: {users} users have no item of the catalogue; their vectors are zero.",
        "⚠️ {path}: {users} 个用户没有目录中的物品；其向量为零。",
    ),
    # errors: what, where, how to mend it
    "export_exists": (
        "{folder} exists already. Choose another FOLDER, or remove it.",
        "{folder} 已存在。请换一个 FOLDER，或先删除它。",
    ),
    "export_not_finite": (
        "{checkpoint} holds vectors that are not finite: its training has diverged. Export another "
        "checkpoint (--which), or train again with a smaller --learning-rate.",
        "{checkpoint} 含有非有限的向量：训练已发散。请导出其他 checkpoint（--which），"
        "或减小 --learning-rate 重新训练。",
    ),
    "evaluated_of_what": (
        "--as-evaluated needs --split valid or --split test: no others are evaluated.",
        "--as-evaluated 需要 --split valid 或 --split test：其他用户不参与评估。",
    ),
    "histories_unreadable": (
        "{path} is no file of histories: {reason}. Give .npy, item numbers [users, length] padded "
        "with 0, or .parquet with a column raw_ids (lists of the items' own ids) or items (lists "
        "of numbers), oldest first.",
        "{path} 不是历史文件: {reason}。请给出 .npy（物品编号 [用户, 长度]，以 0 填充），"
        "或 .parquet（含 raw_ids 列: 物品原始编号的列表，或 items 列: 物品编号的列表），由旧到新。",
    ),
    "histories_bad_item": (
        "{path}, row {row}: item {item} is outside the catalogue 1..{most}. "
        "Take the numbers of items.parquet.",
        "{path} 第 {row} 行: 物品 {item} 超出目录 1..{most}。请使用 items.parquet 中的编号。",
    ),
}
