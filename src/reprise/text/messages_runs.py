"""The lines and words of `reprise runs` and `reprise config`, in English and Chinese."""

from collections.abc import Mapping

# key: (English, Chinese)
RUNS: Mapping[str, tuple[str, str]] = {
    # errors
    "run_unknown": (
        "No run {name!r} in {folder}. Did you mean {suggestion!r}?",
        "{folder} 中没有实验 {name!r}。是否想用 {suggestion!r}？",
    ),
    "not_looked_into": (
        "{path} cannot be looked into, and is left out: {reason}.",
        "无法查看 {path}，已略过: {reason}。",
    ),
    "run_ambiguous": (
        "Several runs are named {name!r}. Give the folder's name: {known}.",
        "有多个名为 {name!r} 的实验。请给出目录名: {known}。",
    ),
    "compare_two": (
        "Give two runs or more to compare.",
        "请给出两个或更多实验进行比较。",
    ),
    "json_decides": (
        "--json cannot ask: add --yes to remove, or --dry-run to see what would be.",
        "--json 无法询问：加 --yes 以删除，或加 --dry-run 查看将删除的内容。",
    ),
    "file_exists": (
        "{path} exists already. Give another name, or remove it.",
        "{path} 已存在。请换一个名称，或先删除它。",
    ),
    "import_exists": (
        "{path} exists already. Give another --runs-dir, or remove that run.",
        "{path} 已存在。请换一个 --runs-dir，或先删除该实验。",
    ),
    "archive_damaged": (
        "{path} cannot be imported: {reason}. Export the run again.",
        "无法导入 {path}: {reason}。请重新导出该实验。",
    ),
    "run_changing": (
        "{path} changed while it was read: the run is being trained. Try again.",
        "{path} 在读取时发生了变化：该实验正在训练。请重试。",
    ),
    # `reprise runs`
    "no_runs": (
        "No runs in {folder}. `reprise train` makes one.",
        "{folder} 中没有实验。用 `reprise train` 开始一个。",
    ),
    "runs_name": ("Name", "名称"),
    "runs_state": ("State", "状态"),
    "runs_dataset": ("Data set", "数据集"),
    "runs_model": ("Model", "模型"),
    "runs_step": ("Step", "步数"),
    "runs_best": ("Best {metric}", "最优 {metric}"),
    "runs_patience": ("Patience", "耐心"),
    "runs_age": ("Age", "距今"),
    "runs_size": ("Size", "大小"),
    "state_running": ("running", "运行中"),
    "state_interrupted": ("interrupted", "已中断"),
    "state_finished": ("finished", "已完成"),
    "state_stopped_early": ("stopped early", "已早停"),
    "state_damaged": ("damaged", "已损坏"),
    "age_seconds": ("{n} s", "{n} 秒"),
    "age_minutes": ("{n} min", "{n} 分钟"),
    "age_hours": ("{n} h", "{n} 小时"),
    "age_days": ("{n} d", "{n} 天"),
    "damaged_there": (
        "⚠️ {name}: {count} damaged checkpoint(s); `reprise runs show {name}` tells which.",
        "⚠️ {name}: 有 {count} 个损坏的 checkpoint；`reprise runs show {name}` 可查看。",
    ),
    # `reprise runs show`
    "show_state": ("State: {state}", "状态: {state}"),
    "show_running": (
        "State: running, in process {pid}",
        "状态: 运行中，进程 {pid}",
    ),
    "show_model": ("{model} on {dataset}", "{model}，数据集 {dataset}"),
    "show_step": (
        "Step {step} of {steps}, branch {branch}; patience used: {used} of {patience}",
        "第 {step} 步（共 {steps} 步），分支 {branch}；已用耐心: {used}/{patience}",
    ),
    "show_best": (
        "Best {metric}: {value} at step {step} of branch {branch}",
        "最优 {metric}: {value}，第 {step} 步，分支 {branch}",
    ),
    "show_no_best": ("No best yet: nothing was evaluated.", "尚无最优模型：还没有评估。"),
    "show_no_best_of_any": (
        "No best: no evaluation gave a number. The training diverged.",
        "没有最优模型：各次评估的结果都不是数值，训练已发散。",
    ),
    "show_times": (
        "Created {created}, last written {updated} ({age} ago); {size}",
        "创建于 {created}，最后写入于 {updated}（{age}前）；{size}",
    ),
    "show_trained": (
        "Trained {seconds} s in all; learning rate {rate}",
        "共训练 {seconds} 秒；学习率 {rate}",
    ),
    "show_environment": ("Environment: {facts}", "环境: {facts}"),
    "show_config": (
        "Configuration (what is not the default is marked *)",
        "配置（非默认值标有 *）",
    ),
    "show_checkpoints": ("Checkpoints", "checkpoint"),
    "show_history": ("History", "历史"),
    "show_evaluations": ("Evaluations ({count} in all)", "评估（共 {count} 次）"),
    "show_set_aside": (
        "Set aside as damaged: {names}",
        "已作为损坏移开: {names}",
    ),
    "word_checkpoint": ("Checkpoint", "checkpoint"),
    "word_branch": ("Branch", "分支"),
    "word_role": ("Role", "角色"),
    "word_whole": ("whole", "完好"),
    "word_damaged": ("damaged: {reason}", "已损坏: {reason}"),
    "word_latest": ("latest", "最新"),
    "word_best": ("best", "最优"),
    "word_loss": ("Loss", "损失"),
    "word_time": ("Time", "时间"),
    "word_event": ("Event", "事件"),
    "event_created": ("started at step {step}", "从第 {step} 步开始"),
    "event_resumed": (
        "resumed at step {step} of branch {branch}, from {source}",
        "从 {source} 恢复，第 {step} 步，分支 {branch}",
    ),
    "event_rewound": (
        "rewound to step {step}, from {source}: branch {branch} begins",
        "从 {source} 回到第 {step} 步：分支 {branch} 开始",
    ),
    "event_imported": (
        "imported at step {step}, from {source}",
        "从 {source} 导入，第 {step} 步",
    ),
    "event_environment": (
        "environment changed at step {step}: {changes}",
        "第 {step} 步环境改变: {changes}",
    ),
    "event_rate": (
        "learning rate changed from {old} to {new} at step {step}",
        "第 {step} 步学习率由 {old} 改为 {new}",
    ),
    # `reprise runs compare`
    "compare_other_data": (
        "⚠️ These runs were not trained on the same data: their metrics do not compare.",
        "⚠️ 这些实验的训练数据不同：其指标不可比较。",
    ),
    "compare_standing": ("Where they stand", "现状"),
    "compare_config": ("Configuration: what differs", "配置差异"),
    "compare_no_difference": ("none", "无"),
    "compare_metrics": (
        "Validation metrics of each one's best model",
        "各自最优模型的验证指标",
    ),
    "compare_curve": (
        "{metric} step by step ({shown} of {count} steps; --json has all)",
        "各步的 {metric}（显示 {shown}/{count} 步；--json 给出全部）",
    ),
    "compare_seconds": ("Seconds trained", "训练秒数"),
    # `reprise runs prune`
    "prune_nothing": ("Nothing to remove.", "没有可删除的内容。"),
    "prune_running": (
        "{name} is running (process {pid}): left alone.",
        "{name} 正在运行（进程 {pid}）：不作改动。",
    ),
    "prune_run": ("{name}: {size}", "{name}: {size}"),
    "prune_beside": (
        "Imports that were cut short: {size}",
        "中断的导入: {size}",
    ),
    "prune_checkpoint": (
        "  checkpoint {path}, neither latest nor best: {size}",
        "  checkpoint {path}，既非最新也非最优: {size}",
    ),
    "prune_leftover": (
        "  leftover {path}: {size}",
        "  残留 {path}: {size}",
    ),
    "prune_quarantine": (
        "  damaged, set aside: {path}: {size}",
        "  已移开的损坏内容 {path}: {size}",
    ),
    "prune_ask": ("Remove {size}?", "删除 {size}？"),
    "prune_unasked": (
        "Nobody can answer here: give --yes to remove, or --dry-run to see what would be.",
        "此处无法回答：请用 --yes 直接删除，或用 --dry-run 查看将删除的内容。",
    ),
    "prune_done": ("Removed {size}.", "已删除 {size}。"),
    "prune_kept": ("Nothing was removed.", "未删除任何内容。"),
    # `reprise runs export` and `import`
    "exported": (
        "Exported {run} -> {file}: {files} files, {size}; checkpoints {checkpoints}",
        "已导出 {run} -> {file}：{files} 个文件，{size}；checkpoint {checkpoints}",
    ),
    "imported": (
        "Imported {file} -> {path}: every file matches its SHA-256.",
        "已导入 {file} -> {path}：所有文件与 SHA-256 相符。",
    ),
    # `reprise config show`
    "config_key": ("Setting", "配置项"),
    "config_value": ("Value", "值"),
    "config_source": ("From", "来源"),
    "source_default": ("default", "默认"),
    "source_preset": ("preset {name}", "预设 {name}"),
    "source_file": ("file {name}", "文件 {name}"),
    "source_flag": ("flag", "命令行"),
    "source_run": ("run {name}", "实验 {name}"),
    "source_derived": ("follows from the others", "由其他配置得出"),
    "source_needed": ("to be given", "待给出"),
}
