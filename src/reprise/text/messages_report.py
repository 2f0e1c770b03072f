"""The words of `reprise report`'s page, in English and Chinese: `messages.CATALOGUE` holds them."""

from collections.abc import Mapping

# key: (English, Chinese)
REPORT: Mapping[str, tuple[str, str]] = {
    # while it is made
    "page_measuring": (
        "Measuring the best model of {run} on the {split} users...",
        "正在用 {split} 用户评估 {run} 的最优模型...",
    ),
    "page_measuring_lambda": (
        "   {run}: lists chosen with lambda {coef}",
        "   {run}: 以 lambda {coef} 选择列表",
    ),
    "page_written": ("Report: {path}", "报告: {path}"),
    "page_no_folder": (
        "--output {path}: its folder does not exist. Make it first, or choose another place.",
        "--output {path}: 所在目录不存在。请先创建，或换一个位置。",
    ),
    "page_is_folder": (
        "--output {path} is a folder. Give the name of a file in it.",
        "--output {path} 是目录。请给出其中的文件名。",
    ),
    # what is missing
    "page_record_damaged": (
        "⚠️ run.json cannot be read ({reason}): configuration and history are those that the "
        "checkpoints know.",
        "⚠️ 无法读取 run.json（{reason}）：配置与历史仅取自 checkpoint。",
    ),
    "page_metrics_damaged": (
        "⚠️ metrics.jsonl cannot be read ({reason}): the evaluations are those that the latest "
        "checkpoint keeps.",
        "⚠️ 无法读取 metrics.jsonl（{reason}）：评估记录取自最新的 checkpoint。",
    ),
    "page_no_categories": (
        "The data set {dataset} has no item categories, so that there is no lambda curve: lists "
        "cannot be chosen by category (<x>_item_cate.txt, or --category-col of `reprise prepare`).",
        "数据集 {dataset} 没有物品类别，因此没有 lambda 曲线：无法按类别选择列表"
        "（<x>_item_cate.txt，或 `reprise prepare` 的 --category-col）。",
    ),
    "page_no_evaluations": (
        "No run has been evaluated yet: there are no curves.",
        "尚无任何评估：没有曲线。",
    ),
    "page_no_health": (
        "No run with several interests has logged their health.",
        "没有记录了多兴趣健康状况的实验。",
    ),
    "page_left_out": (
        "Left out (--no-evaluation).",
        "已略去（--no-evaluation）。",
    ),
    "page_no_script": (
        "The pictures need JavaScript; the tables do not. Nothing is fetched from anywhere.",
        "图表需要 JavaScript；表格不需要。本页不从任何地方加载内容。",
    ),
    # headings
    "page_title": ("Reprise report", "Reprise 报告"),
    "page_runs": ("Runs", "实验"),
    "page_curves": ("Course of the training", "训练过程"),
    "page_others": ("Other validation metrics", "其他验证指标"),
    "page_health": ("Health of the interests", "兴趣健康状况"),
    "page_model": ("The best model, on the {split} users", "最优模型（{split} 用户）"),
    "page_configuration": ("Configuration", "配置"),
    "page_environment": ("Versions and machine", "版本与机器"),
    "page_history": ("History of starts", "启动历史"),
    # the table of runs
    "page_run": ("Run", "实验"),
    "page_folder": ("Folder", "目录"),
    "page_trained": ("Model and data set", "模型与数据集"),
    "page_trained_on": ("{model} on {dataset}", "{model}，数据集 {dataset}"),
    "page_step": ("Step", "步数"),
    "page_of_steps": ("{step} of {steps}", "{step} / {steps}"),
    "page_best": ("Best", "最优"),
    "page_best_at": (
        "Recall@{n} {metric} at step {step} of branch {branch}",
        "Recall@{n} {metric}，分支 {branch} 第 {step} 步",
    ),
    "page_patience": ("Evaluations without improvement", "未提升的评估次数"),
    "page_starts": ("Starts", "启动次数"),
    "page_starts_counted": (
        "{starts} (resumed {resumed}, rewound {rewound})",
        "{starts}（恢复 {resumed}，回到最优 {rewound}）",
    ),
    "page_time": ("Time spent training", "训练用时"),
    # the curves
    "page_reading": (
        "Drag to zoom, double-click to go back; a click on a run's name hides it.",
        "拖动可放大，双击复原；点击实验名可隐藏该实验。",
    ),
    "page_numbers": (
        "Metrics are of the validation users; # numbers are those of the history of starts.",
        "指标基于验证用户；# 编号即启动历史中的编号。",
    ),
    "page_key_best": ("best model", "最优模型"),
    "page_key_resumed": ("resumed", "恢复"),
    "page_key_rewound": ("rewound to the best: a new branch", "回到最优：新分支"),
    "page_key_begun": ("begun anew, or imported", "重新开始或导入"),
    "page_key_rate": ("learning rate changed", "学习率改变"),
    "page_key_left": ("left behind by a rewind", "回退后舍弃的部分"),
    "page_best_mark": ("best: {metric} at step {step}", "最优: {metric}，第 {step} 步"),
    "page_event_mark": ("#{number} {event}", "#{number} {event}"),
    "page_loss": ("Training loss", "训练损失"),
    "page_recall": ("Recall", "Recall"),
    "page_ndcg": ("NDCG", "NDCG"),
    "page_ndcg_comirec": ("NDCG (ComiRec's)", "NDCG（ComiRec）"),
    "page_hitrate": ("Hit rate", "命中率"),
    "page_mrr": ("MRR", "MRR"),
    "page_catalogue": ("Catalogue coverage", "目录覆盖率"),
    "page_diversity": ("Diversity", "多样性"),
    "page_interest_coverage": ("Interest coverage", "兴趣覆盖率"),
    # health
    "page_health_means": (
        "On the validation users, along the branches that led to where each run stands. A dead "
        "interest brings less than a tenth of its equal share of the lists; interests whose cosine "
        "nears 1 have become one.",
        "基于验证用户，沿通向各实验当前状态的分支。失效的兴趣在列表中的占比不足均等份额的十分之一；"
        "余弦接近 1 的兴趣已合而为一。",
    ),
    "page_shares": ("{run}: share of the top {n} from each interest", "{run}: 前 {n} 中各兴趣占比"),
    "page_interest": ("interest {number}", "兴趣 {number}"),
    "page_cosine": ("Mean pairwise cosine of a user's interests", "用户各兴趣两两余弦均值"),
    "page_dead": ("Dead interests", "失效的兴趣数"),
    "page_used": ("Interests in a user's list", "每个用户列表中的兴趣数"),
    # the best model
    "page_measured": (
        "{run}: {checkpoint}, step {step}; {users} users",
        "{run}: {checkpoint}，第 {step} 步；{users} 个用户",
    ),
    "page_metric": ("Metric", "指标"),
    "page_by_history": ("Recall@{n} by length of the history", "Recall@{n} 按历史长度"),
    "page_by_popularity": ("Recall@{n} by popularity of the target", "Recall@{n} 按目标物品热度"),
    "page_by_mixture": (
        "Recall@{n} by how mixed the history's categories are",
        "Recall@{n} 按历史类别的混杂程度",
    ),
    "page_unknown": ("unknown", "未知"),
    "page_trade": (
        "Diversity against recall, lists chosen by category at several lambda",
        "多样性与召回：以若干 lambda 按类别选择列表",
    ),
    "page_trade_reading": (
        "Each point is a lambda, the weight of a repeated category; -: by score alone. Up and to "
        "the right is better.",
        "每点为一个 lambda（重复类别的权重）；-: 仅按得分。越靠右上越好。",
    ),
    "page_as_numbers": ("The same in numbers", "对应数值"),
    "page_lambda": ("Lambda: recall, diversity @{n}", "Lambda: 召回, 多样性 @{n}"),
    # configuration and history
    "page_setting": ("Setting", "配置项"),
    "page_differs": ("≠ differs between the runs", "≠ 各实验不同"),
    "page_number": ("#", "#"),
    "page_when": ("Time", "时间"),
    "page_what": ("What", "事件"),
    "page_created": ("begun at step {step}", "从第 {step} 步开始"),
    "page_resumed": (
        "resumed at step {step} (branch {branch}) from {source}",
        "在第 {step} 步恢复（分支 {branch}），来自 {source}",
    ),
    "page_rewound": (
        "rewound to the best at step {step} ({source}): branch {branch} goes out from branch "
        "{parent}",
        "回到第 {step} 步的最优模型（{source}）：分支 {branch} 由分支 {parent} 分出",
    ),
    "page_imported": ("imported {source} at step {step}", "导入 {source}，第 {step} 步"),
    "page_rate_changed": (
        "learning rate changed at step {step}: {detail}",
        "第 {step} 步学习率改变: {detail}",
    ),
    "page_environment_changed": (
        "another environment from step {step}: {detail}",
        "自第 {step} 步起运行环境改变: {detail}",
    ),
    "page_made_by": ("Made by Reprise {version}", "由 Reprise {version} 生成"),
}
