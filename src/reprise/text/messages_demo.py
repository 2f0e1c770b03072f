"""What `reprise demo` shows, in both languages: `messages.CATALOGUE` holds it too."""

from collections.abc import Mapping

# key: (English, Chinese)
DEMO: Mapping[str, tuple[str, str]] = {
    "demo_training": ("training, to be killed at step {step}", "训练，将在第 {step} 步被杀死"),
    "demo_again": (
        "SIGKILL; now the same command again",
        "已发送 SIGKILL；现在再次运行同一命令",
    ),
    "demo_undisturbed": ("the same training, undisturbed", "同样的训练，不受打扰"),
    "demo_single": (
        "a single vector instead of four interests, to compare",
        "作为比较：用单个向量代替四个兴趣",
    ),
    "demo_popular": (
        "the most popular items for everyone, to compare",
        "作为比较：给所有人推荐最热门的物品",
    ),
    "demo_title": ("The demo data's validation users", "演示数据的验证用户"),
    "demo_before": ("before the kill (step {step})", "被杀死之前（第 {step} 步）"),
    "demo_after": ("after the resume (step {step})", "恢复之后（第 {step} 步）"),
    "demo_end": ("at the end (step {step})", "训练结束时（第 {step} 步）"),
    "demo_served": ("True interests served by the top 50", "前 50 个物品照顾到的真实兴趣"),
    "demo_four": ("four interests", "四个兴趣"),
    "demo_one": ("a single vector", "单个向量"),
    "demo_digests": (
        "state digest, resumed:     {resumed}\nstate digest, undisturbed: {undisturbed}",
        "状态摘要，恢复的训练:   {resumed}\n状态摘要，未受打扰的:   {undisturbed}",
    ),
    "demo_equal": (
        "The resumed run EQUALS the undisturbed run, bit for bit.",
        "恢复的训练与未受打扰的训练逐比特相同。",
    ),
    "demo_differs": ("The resumed run DIFFERS.", "恢复的训练与未受打扰的训练不同。"),
}
