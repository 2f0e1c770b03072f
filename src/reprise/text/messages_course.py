"""What is told of the course of a run, in both languages: `messages.CATALOGUE` holds it too."""

from collections.abc import Mapping

# key: (English, Chinese)
COURSE: Mapping[str, tuple[str, str]] = {
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
        "A larger --max-iter (--steps of `reprise train`) trains on.",
        "训练已在第 {step} 步（共 {steps} 步）完成，无需继续。"
        "增大 --max-iter（或 `reprise train` 的 --steps）可继续训练。",
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
    "stopping": (
        "Stopping at step {step}, which is being saved. "
        "A second interrupt leaves at once, without what the last checkpoint does not hold.",
        "正在第 {step} 步停止并保存。再次中断会立即退出，最近一个 checkpoint 之后的训练不再保存。",
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
    "no_best_of_any": (
        "No best model: no evaluation gave a number. The training diverged: start it anew with a"
        " smaller --learning-rate.",
        "没有最优模型: 各次评估的结果都不是数值。训练已发散，请用更小的 --learning-rate 重新开始。",
    ),
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
}
