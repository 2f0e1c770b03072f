"""The words of reports, in English and Chinese: `messages.CATALOGUE` holds them too."""

from collections.abc import Mapping

# key: (English, Chinese)
WORDS: Mapping[str, tuple[str, str]] = {
    "report_model": ("Model: {path} (step {step})", "模型: {path}（第 {step} 步）"),
    "report_users": ("Users: {users} of the {split} split", "用户: {split} 集的 {users} 个用户"),
    "hidden_share": (
        "To be found: what follows the first 80% of each user's items, as in ComiRec",
        "待预测: 每个用户前 80% 之后的物品，与 ComiRec 相同",
    ),
    "hidden_last": (
        "To be found: the last item of each user (leave-one-out)",
        "待预测: 每个用户的最后一个物品（留一法）",
    ),
    "hidden_later": (
        "To be found: all that each user meets from the split's time on (time split)",
        "待预测: 每个用户自分割时间起交互的所有物品（按时间划分）",
    ),
    "seen_kept": (
        "Seen items: kept in the lists, as in ComiRec (--filter-seen leaves them out)",
        "已交互物品: 保留在列表中，与 ComiRec 相同（--filter-seen 可将其过滤）",
    ),
    "seen_filtered": (
        "Seen items: filtered; a target that a user has seen before cannot be found",
        "已交互物品: 已过滤；若目标物品此前出现过，则无法命中",
    ),
    "seen_learned": (
        "Seen items: kept in the lists, with {worth} added to their scores, as learned",
        "已交互物品: 保留在列表中，其得分加上学到的 {worth}",
    ),
    "lists_by_score": ("Lists: by score (no lambda)", "列表: 按得分排序（无 lambda）"),
    "lists_by_category": (
        "Lists: chosen by category, lambda {coef}",
        "列表: 按类别选择，lambda {coef}",
    ),
    "report_metrics": (
        "Mean over users [{percent}% interval, {resamples} bootstrap resamples]",
        "用户均值 [{percent}% 区间，{resamples} 次自助重采样]",
    ),
    "report_catalogue": ("Catalogue coverage", "目录覆盖率"),
    "report_groups": ("Group", "分组"),
    "report_history": ("History of {group} items", "历史长度 {group}"),
    "report_mixture": (
        "Categories of the history: {group} ({low} to {high} bits)",
        "历史类别: {group}（{low} 至 {high} 比特）",
    ),
    "report_mixture_unknown": ("Categories of the history: unknown", "历史类别: 未知"),
    "focused": ("focused", "集中"),
    "mixed": ("mixed", "多样"),
    "report_popularity": ("Targets: {group} ({items} items)", "目标物品: {group}（{items} 个）"),
    "head": ("head", "热门"),
    "middle": ("middle", "中间"),
    "tail": ("tail", "长尾"),
    "users": ("Users", "用户"),
    "report_interests": (
        "Interests (mean cosine of a user's: {cosine})",
        "兴趣（用户各兴趣的平均余弦: {cosine}）",
    ),
    "report_shares": ("Share of the list from each", "各兴趣在列表中的占比"),
    "report_dead": ("Dead", "失效"),
    "report_used": ("Used by a user", "每用户使用"),
    # `reprise inspect`
    "shown_checkpoint": ("checkpoint", "checkpoint"),
    "shown_manifest": ("manifest", "清单"),
    "shown_whole": ("holds: every file matches its SHA-256", "完好: 每个文件都与其 SHA-256 一致"),
    "shown_step": ("step", "步数"),
    "shown_branch": ("branch", "分支"),
    "shown_best": ("best", "最优"),
    "shown_best_at": (
        "{metric:.6f} at step {step} of branch {branch}",
        "{metric:.6f}（分支 {branch} 第 {step} 步）",
    ),
    "shown_unknown": ("unknown", "未知"),
    "shown_trials": ("evaluations without improvement", "连续没有提升的评估次数"),
    "shown_rate": ("learning rate", "学习率"),
    "shown_seconds": ("seconds trained", "训练秒数"),
    "shown_environment": ("environment", "运行环境"),
    "shown_array": ("array", "数组"),
    "shown_shape": ("shape", "形状"),
    "shown_bytes": ("bytes", "字节"),
    "shown_scalar": ("scalar", "标量"),
    # `reprise data show`
    "data_counts": (
        "{name}: {users} users, {items} items, {interactions} interactions",
        "{name}：{users} 个用户，{items} 个物品，{interactions} 条交互",
    ),
    "data_splits": (
        "Users by split: train {train}, valid {valid}, test {test}",
        "各集用户数: train {train}，valid {valid}，test {test}",
    ),
    "data_source": ("Source: {format}; {protocol}", "来源: {format}；{protocol}"),
    "done_as_split": ("as split in the source", "按来源的划分"),
    "done_together": ("users of the three files together", "三个文件的用户合在一起"),
    "done_unfiltered": ("not filtered", "未过滤"),
    "done_items": ("items >= 5", "物品 >= 5 次"),
    "done_users": ("users >= 5", "用户 >= 5 次"),
    "done_in_ten": ("users 8:1:1 (seed 1230)", "用户 8:1:1（种子 1230）"),
    "done_generated": ("generated", "生成的数据"),
    "data_kept": (
        "Kept by the filter: {users} of {users_read} users, {items} of {items_read} items, "
        "{interactions} of {interactions_read} interactions",
        "过滤后保留: {users}/{users_read} 个用户，{items}/{items_read} 个物品，"
        "{interactions}/{interactions_read} 条交互",
    ),
    "data_times": ("Times: {first} to {last}", "时间: {first} 至 {last}"),
    "data_cut": (
        "Validation begins at {first}, test at {last}",
        "验证集始于 {first}，测试集始于 {last}",
    ),
    "data_categories": (
        "Categories: {categories}; known of {items} of the items, {interactions} of the "
        "interactions",
        "类别: {categories} 个；覆盖 {items} 的物品、{interactions} 的交互",
    ),
    "data_concentration": (
        "Of all interactions: {top} with the most popular item, {hundredth} with the most popular "
        "1%; Gini {gini}",
        "交互占比: 最热门物品 {top}，最热门的 1% 物品 {hundredth}；基尼系数 {gini}",
    ),
    "data_repeats": (
        "Repeats: {interactions} of the interactions; users with a target they met before: "
        "valid {valid}, test {test}",
        "重复: {interactions} 的交互；目标物品此前出现过的用户: valid {valid}，test {test}",
    ),
    "data_lengths": (
        "Users by number of items (mean {mean}, least {least}, median {median}, 95% {high}, "
        "most {most})",
        "用户按物品数（均值 {mean}，最少 {least}，中位数 {median}，95% {high}，最多 {most}）",
    ),
    "data_popularity": (
        "Items by number of interactions (mean {mean}, least {least}, median {median}, "
        "95% {high}, most {most})",
        "物品按交互数（均值 {mean}，最少 {least}，中位数 {median}，95% {high}，最多 {most}）",
    ),
    "short_histories": (
        "⚠️ Half of the users have {median} items or fewer: short histories tell little of several "
        "interests; ComiRec keeps users with {least} or more.",
        "⚠️ 半数用户的物品数不超过 {median}：历史过短，难以体现多个兴趣；"
        "ComiRec 保留至少有 {least} 个物品的用户。",
    ),
    "dominating_item": (
        "⚠️ Item {item} alone has {percent}% of the interactions: look whether it is a real one "
        "(items.parquet has its own id).",
        "⚠️ 仅物品 {item} 就占 {percent}% 的交互：请确认它是真实物品"
        "（其原始编号见 items.parquet）。",
    ),
    "ids_out_of_order": (
        "⚠️ Item ids are no popularity ranks (rank correlation {correlation}): negatives drawn by "
        "log-uniform ranks are not the popular items. Prepare from the raw interactions.",
        "⚠️ 物品编号不是热度排名（秩相关 {correlation}）："
        "按对数均匀排名抽取的负样本并非热门物品。请由原始交互重新准备。",
    ),
    # `reprise sweep`
    "trial_began": (
        "Trial {number} ({trials} in all): {params}",
        "试验 {number}（共 {trials} 个）: {params}",
    ),
    "trial_ended": (
        "Trial {number}: best recall {metric:.6f} at step {step}: {run}",
        "试验 {number}: 最优 recall {metric:.6f}，第 {step} 步: {run}",
    ),
    "trial_failed": (
        "⚠️ Trial {number} has no result: {reason}",
        "⚠️ 试验 {number} 没有结果: {reason}",
    ),
    "sweep_interrupted": (
        "Stopped; everything is saved. Go on with:\n  {command}",
        "已停止，全部状态已保存。继续请运行:\n  {command}",
    ),
    "sweep_title": (
        "Sweep {name} on {dataset}, by the validation users",
        "搜索 {name}，数据集 {dataset}，按验证用户排序",
    ),
    "sweep_best": (
        "Best: trial {number}, {name} {metric:.6f}: {run}",
        "最优: 试验 {number}，{name} {metric:.6f}: {run}",
    ),
    "sweep_picture": ("Picture: {path}", "图: {path}"),
    "trial": ("Trial", "试验"),
    "best_step": ("Best step", "最优步"),
    "run": ("Run", "实验"),
    "picture_history": ("The best so far, by trial", "至今最优（按试验）"),
    "picture_slice": ("Recall by each setting", "各设置与 recall"),
    "picture_parallel": ("All settings at once", "全部设置"),
    "sweep_missing": (
        "No sweep at {path}. Sweeps are folders under --sweeps-dir (sweeps by default).",
        "{path} 处没有搜索。搜索是 --sweeps-dir（默认 sweeps）下的目录。",
    ),
    "sweep_damaged": (
        "{path} is damaged ({reason}). Remove it, and give the sweep's command: the runs of its "
        "trials are as they were, and their results are read from there.",
        "{path} 已损坏（{reason}）。请删除它并重新运行该搜索的命令："
        "各试验的实验目录完好，结果会从中读取。",
    ),
    # `reprise prepare`, while it works
    "stage_read": ("Reading: {rows} rows", "读取: {rows} 行"),
    "stage_filter": ("Filtering {rows} rows", "过滤: {rows} 行"),
    "stage_order": ("Ordering {rows} rows", "排序: {rows} 行"),
    "stage_write": ("Writing {rows} items", "写入: {rows} 个物品"),
    # `reprise data get`
    "licence_movielens": (
        "{name} is GroupLens's. It may be used for research, acknowledged in publications, not "
        "redistributed without permission, and not used commercially without permission. The terms "
        "in full: {page}",
        "{name} 属于 GroupLens。可用于研究，发表时须注明来源；未经许可不得再分发，"
        "也不得用于商业用途。完整条款: {page}",
    ),
    "licence_amazon": (
        "{name} holds Amazon's reviews and products, collected by Julian McAuley's group at UCSD "
        "for research; cite their papers. No licence to redistribute comes with it. See {page}",
        "{name} 为 UCSD 的 Julian McAuley 团队为研究收集的亚马逊评论与商品；请引用其论文。"
        "不附带再分发许可。见 {page}",
    ),
    "licence_taobao": (
        "{name} is Alibaba's, given out on Tianchi for research, under the terms shown there after "
        "login: {page}",
        "{name} 属于阿里巴巴，在天池发布供研究使用，登录后可见其条款: {page}",
    ),
    "accept_licence": ("Do you agree to the terms?", "是否同意上述条款？"),
    "got": (
        "{folder} holds the set, as its owner's checksums say. Prepare it with:\n  {command}",
        "数据集已在 {folder}，与发布者的校验和一致。接下来请运行:\n  {command}",
    ),
    "got_unverified": (
        "{folder} holds the set. Its owner publishes no checksums: those of the first download are "
        "in SHA256SUMS, and later ones are compared with them. Prepare it with:\n  {command}",
        "数据集已在 {folder}。发布者未公布校验和：首次下载的校验和记录于 SHA256SUMS，"
        "以后均与之比对。接下来请运行:\n  {command}",
    ),
}
