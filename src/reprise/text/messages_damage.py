"""What is wrong with a file or a folder, within the lines that name it."""

from collections.abc import Mapping

DAMAGE: Mapping[str, tuple[str, str]] = {
    # any file
    "file_reason": ("{name}: {reason}", "{name}: {reason}"),
    "file_content": ("{name}: cannot be read ({error})", "{name}: 无法读取（{error}）"),
    "unexpected_content": ("unexpected content", "内容不符合预期"),
    "not_removed": ("it cannot be removed", "无法删除"),
    # checkpoints
    "damage_step": ("holds step {step}", "内容属于第 {step} 步"),
    "damage_name": (
        "{name} is not a checkpoint's name (ckpt-<step>)",
        "{name} 不是 checkpoint 的名称（ckpt-<步数>）",
    ),
    "damage_manifest": ("{name}: its own SHA-256 differs", "{name}: 自身的 SHA-256 不符"),
    "damage_unlisted": ("{name}: not in the manifest", "{name}: 不在清单中"),
    "damage_size": (
        "{name}: {found} bytes where the manifest has {known}",
        "{name}: {found} 字节，而清单为 {known} 字节",
    ),
    "damage_digest": (
        "{name}: SHA-256 differs from the manifest",
        "{name}: SHA-256 与清单不符",
    ),
    "damage_digest_meta": (
        "{name}: SHA-256 differs from meta.json",
        "{name}: SHA-256 与 meta.json 不符",
    ),
    "damage_array": (
        "{name}: dtype or shape differs from the manifest",
        "{name}: dtype 或形状与清单不符",
    ),
    "damage_schema": (
        "schema {found} is unknown to this version (1 to {known} are known)",
        "本版本不识别 schema {found}，可读 1 至 {known}",
    ),
    "damage_setting": (
        "setting {name} is unknown to this version",
        "本版本不识别配置项 {name}",
    ),
    "damage_other_run": ("of another run, {differences}", "属于另一实验，{differences}"),
    "damage_evaluation": ("not an evaluation: {line!r}", "不是评估记录: {line!r}"),
    "damage_moment": ("{name}: a moment below 0", "{name}: 有小于 0 的动量"),
    # archives
    "archive_no_run": ("holds no run", "其中没有实验"),
    "archive_no_checkpoint": ("holds no checkpoint", "其中没有 checkpoint"),
    "archive_more": ("{member!r} follows its end", "结尾之后还有 {member!r}"),
    "archive_twice": ("{member!r} is there twice", "{member!r} 出现两次"),
    "archive_outside": (
        "{member!r} is no file of the run {run!r}",
        "{member!r} 不是实验 {run!r} 的文件",
    ),
    "archive_cut": ("cut short: no {name}", "不完整: 没有 {name}"),
    "archive_content": ("unexpected content of {name}", "{name} 的内容不符合预期"),
    "archive_schema": (
        "schema {found}; this version reads {known}",
        "schema 为 {found}；本版本可读 {known}",
    ),
    "archive_other": (
        "the digests are those of {found!r}, not {run!r}",
        "校验和属于 {found!r}，而不是 {run!r}",
    ),
    "archive_differs": (
        "{name}: its SHA-256 differs, or it is not there",
        "{name}: SHA-256 不符，或文件不存在",
    ),
    # datasets
    "damage_data_counts": ("{name}: counts differ", "{name}: 数目不符"),
    "damage_data_counts_meta": (
        "{name}: counts differ from meta.json",
        "{name}: 数目与 meta.json 不符",
    ),
    "damage_data_counts_whole": ("counts must be integers", "数目必须为整数"),
    "damage_data_array": (
        "{name}: expected {dtype}, {dimensions}-dimensional",
        "{name}: 应为 {dimensions} 维的 {dtype}",
    ),
    "damage_data_column": ("{name}: no column {column}", "{name}: 没有 {column} 列"),
    "damage_data_offsets": (
        "{split}: offsets are not ascending from 0 to {items}",
        "{split}: offsets 不是从 0 递增到 {items}",
    ),
    "damage_data_item": (
        "{split}: item id {item} at {place} is outside 1..{most}",
        "{split}: 位置 {place} 的物品编号 {item} 超出范围 1..{most}",
    ),
    "damage_data_known": (
        "{split}: known is not from 1 to less than each user's items",
        "{split}: known 应不小于 1，且小于各用户的物品数",
    ),
    "damage_data_fingerprint": ("fingerprint differs", "fingerprint 不符"),
    # histories to export for
    "histories_array": ("an array of {dtype}, {shape}", "数组为 {dtype}，{shape}"),
    "histories_columns": ("its columns are {columns}", "其列为 {columns}"),
    "histories_kind": ("{column} is a column of {kind}", "{column} 列的类型为 {kind}"),
}
