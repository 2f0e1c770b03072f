"""What a value should have been, within the lines that refuse it."""

from collections.abc import Mapping

VALUES: Mapping[str, tuple[str, str]] = {
    "good_text": ("a text", "一段文本"),
    "good_positive": ("a positive number", "正数"),
    "good_optional": (
        "a number from {low} to {high}, or 0 for none",
        "{low} 至 {high} 的数，或以 0 表示不用",
    ),
    "good_from": ("a number from {low}", "不小于 {low} 的数"),
    "good_within": ("a number from {low} to {high}", "{low} 至 {high} 的数"),
    "good_below": ("a number from {low} to below {high}", "不小于 {low} 且小于 {high} 的数"),
    "good_whole": ("a whole number from {low}", "不小于 {low} 的整数"),
    "good_whole_within": ("a whole number from {low} to {high}", "{low} 至 {high} 的整数"),
    "good_logarithm": (
        "above 0, where it is drawn by its logarithm",
        "大于 0 的数（按对数抽取）",
    ),
    "good_heads": (
        "a divisor of the embedding dimension, {dim}",
        "嵌入维度 {dim} 的约数",
    ),
    "good_members": (
        "a divisor of the embedding dimension and of the hidden size, {size}",
        "嵌入维度与隐藏层大小 {size} 的约数",
    ),
    "good_selection": (
        "{selection}, as neg_score max has every item choose",
        "{selection}，因为 neg_score max 让每个物品各自选择兴趣",
    ),
    "good_maxlen": (
        "at least {first}, the first target, of several a user",
        "至少 {first}，即每用户多个目标时的首个目标位置",
    ),
    "good_negatives": (
        "{learned}, as many as targets: in-batch, they are the negatives",
        "{learned}，与目标数相同：in-batch 以它们为负样本",
    ),
    "good_cut_protocol": (
        "given with --protocol time-split alone",
        "仅与 --protocol time-split 一起给出",
    ),
    "good_cut": (
        "two times or two shares, the earlier first: 0.8,0.9 or 2017-12-01,2017-12-02",
        "两个时间或两个比例，较早者在前: 0.8,0.9 或 2017-12-01,2017-12-02",
    ),
    "good_time": (
        "a time: a number from 0, or a date such as 2026-11-27 08:30:00",
        "时间：不小于 0 的数，或日期如 2026-11-27 08:30:00",
    ),
    "good_time_number": (
        "a number from 0, as other rows have: numbers and dates cannot be compared",
        "不小于 0 的数，与其他行一致：数与日期无法比较",
    ),
    "good_time_date": (
        "a date, as other rows have: numbers and dates cannot be compared",
        "日期，与其他行一致：数与日期无法比较",
    ),
    "good_time_since_epoch": (
        "a date from 1970-01-01 on; for earlier ones, give all times as numbers from 0",
        "1970-01-01 起的日期；若有更早的日期，请将全部时间改为不小于 0 的数",
    ),
    "good_id": ("an id", "编号"),
    "good_sequence": (
        "a user and his items, parted by blanks",
        "用户及其物品，以空白分隔",
    ),
    "good_text_or_number": ("a text or a number", "文本或数"),
    "good_json": ("a JSON object", "JSON 对象"),
    "good_amazon_item": (
        "a record with a text 'asin' and, where known, a text 'title' and lists of 'categories'",
        "含文本 'asin' 的记录，以及（若已知）文本 'title' 和 'categories' 列表",
    ),
    "good_fields": (
        "as many fields as line {line}, separated by {separator!r}",
        "与第 {line} 行相同数目的字段，以 {separator!r} 分隔",
    ),
}
