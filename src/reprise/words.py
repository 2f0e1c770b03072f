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
    "seen_kept": (
        "Seen items: kept in the lists, as in ComiRec (--filter-seen leaves them out)",
        "已交互物品: 保留在列表中，与 ComiRec 相同（--filter-seen 可将其过滤）",
    ),
    "seen_filtered": (
        "Seen items: filtered; a target that a user has seen before cannot be found",
        "已交互物品: 已过滤；若目标物品此前出现过，则无法命中",
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
}
