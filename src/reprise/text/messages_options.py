"""The help of options in Chinese, by the English that stands beside each option."""

from collections.abc import Mapping

OPTIONS: Mapping[str, str] = {
    # of all commands
    "Language of the messages: en or zh. [default: REPRISE_LANG's, or the locale's]": (
        "消息的语言：en 或 zh。[默认: REPRISE_LANG，或 locale 的语言]"
    ),
    "Show the version and exit.": "显示版本并退出。",
    "Show this message and exit.": "显示本帮助并退出。",
    "Print JSON.": "输出 JSON。",
    "Folder of the datasets.": "数据集所在目录。",
    "Folder of the runs.": "实验所在目录。",
    "Where the runs are.": "实验所在目录。",
    "Which checkpoint of the run.": "用该实验的哪个 checkpoint。",
    "Which checkpoint of a run.": "用实验的哪个 checkpoint。",
    # of a run
    "Settings that are good together; the file's and the flags' win. [default: none]": (
        "一组配合良好的设置；文件和参数优先于它。[默认: 无]"
    ),
    "TOML file of the run's settings (keys as the flags); flags win. [default: none]": (
        "含实验设置的 TOML 文件（键与参数同名）；参数优先于它。[默认: 无]"
    ),
    "A dataset under --data-dir. [required, here or in the file]": (
        "--data-dir 下的数据集。[必填，在此或在文件中]"
    ),
    "book | taobao | any dataset under --data_dir.": "book | taobao | --data_dir 下的任何数据集。",
    "How interests are made: ComiRec-DR | ComiRec-SA | MIND | DNN | GRU4REC | Queries | MostPop. "
    "[default: ComiRec-DR]": (
        "怎样得到兴趣：ComiRec-DR | ComiRec-SA | MIND | DNN | GRU4REC | Queries | MostPop。"
        "[默认: ComiRec-DR]"
    ),
    "ComiRec-DR | ComiRec-SA | MIND | DNN | GRU4REC | Queries | MostPop. [required]": (
        "ComiRec-DR | ComiRec-SA | MIND | DNN | GRU4REC | Queries | MostPop。[必填]"
    ),
    "Name of the experiment, the end of its folder's. [required, here or in the file]": (
        "实验名称，即其目录名的末尾。[必填，在此或在文件中]"
    ),
    "Name of the experiment. [default: asked for]": "实验名称。[默认: 询问]",
    "Steps in all, in thousands, as ComiRec counts; may grow later. [default: 1000]": (
        "总步数，以千计，与 ComiRec 相同；以后可以增加。[默认: 1000]"
    ),
    "Steps in all, in thousands; may grow later.": "总步数，以千计；以后可以增加。",
    "Steps (updates) in all; may grow later. [default: 1000000]": (
        "总步数（更新次数）；以后可以增加。[默认: 1000000]"
    ),
    "Steps between evaluations. [default: 1000]": "每隔多少步评估一次。[默认: 1000]",
    "Steps between evaluations. [default: 1000; of taobao 500]": (
        "每隔多少步评估一次。[默认: 1000；taobao 为 500]"
    ),
    "Validation users an evaluation in training is over, drawn once by the seed; the last one is "
    "over all. [default: 0, all]": (
        "训练中的评估所用的验证用户数，按种子抽取一次；最后一次用全部用户。[默认: 0，全部]"
    ),
    "Evaluations without improvement that end the training; may grow later. [default: 50]": (
        "连续多少次评估没有提升就结束训练；以后可以增加。[默认: 50]"
    ),
    "Evaluations without improvement that end the training.": (
        "连续多少次评估没有提升就结束训练。"
    ),
    "Adam's step size. [default: 0.001]": "Adam 的步长（学习率）。[默认: 0.001]",
    "Adam's step size.": "Adam 的步长（学习率）。",
    "Steps the learning rate climbs for. [default: 0]": "学习率上升的步数。[默认: 0]",
    "How the learning rate falls: none | cosine | linear. [default: none]": (
        "学习率怎样下降：none | cosine | linear。[默认: none]"
    ),
    "Step at which the decay ends, at a hundredth of the rate; --decay needs it. [default: 0]": (
        "下降到百分之一时的步数；--decay 需要它。[默认: 0]"
    ),
    "Adam of the item rows: row-adam | adam | lazy-adam. row-adam is dense Adam at the batch's "
    "cost. [default: row-adam]": (
        "物品行所用的 Adam：row-adam | adam | lazy-adam。row-adam 以批次的代价做稠密 Adam。"
        "[默认: row-adam]"
    ),
    "Adam of the item rows: row-adam | adam | lazy-adam.": (
        "物品行所用的 Adam：row-adam | adam | lazy-adam。"
    ),
    "Which interest learns the target: argmax | sample | soft | item0. [default: argmax]": (
        "由哪个兴趣学习目标：argmax | sample | soft | item0。[默认: argmax]"
    ),
    "Which interest learns the target: argmax | sample | soft | item0.": (
        "由哪个兴趣学习目标：argmax | sample | soft | item0。"
    ),
    "Score by cosines divided by it, 0.05 to 0.2; 0: by inner products. [default: 0]": (
        "按余弦除以它打分，0.05 至 0.2；0: 按内积。[默认: 0]"
    ),
    "Interest that scores a negative: selected | max: the one that learns the target, or the "
    "negative's own best. [default: selected]": (
        "给负样本打分的兴趣：selected | max：学习目标的那个，或对该负样本最高的那个。"
        "[默认: selected]"
    ),
    "REMI's b: negatives weigh exp(b * score); 0: all the same. [default: 0]": (
        "REMI 的 b：负样本的权重为 exp(b * 得分)；0: 都相同。[默认: 0]"
    ),
    "REMI's c, a weight on attention to single items; of ComiRec-SA and Queries. [default: 0]": (
        "REMI 的 c，对注意力集中于单个物品的惩罚权重；用于 ComiRec-SA 和 Queries。[默认: 0]"
    ),
    "Users a step. [default: 128]": "每步的用户数。[默认: 128]",
    "Items of a history that the model sees, the last ones. [default: 20]": (
        "模型看到的历史物品数，取最后的。[默认: 20]"
    ),
    "Numbers of an item's vector. [default: 64]": "物品向量的维数。[默认: 64]",
    "Numbers of an item's vector.": "物品向量的维数。",
    "Fresh item rows are uniform within it; 0: Glorot's limit. [default: 0]": (
        "新的物品行在正负此值之间均匀分布；0: Glorot 的界。[默认: 0]"
    ),
    "tied | untied: one vector an item, or one in histories and another as a candidate. "
    "[default: tied]": (
        "tied | untied：每个物品一个向量，或在历史中一个、作为候选另一个。[默认: tied]"
    ),
    "raw | unit: a history's items as they are, or all of one length. [default: raw]": (
        "raw | unit：历史中的物品向量保持原样，或都取同样的长度。[默认: raw]"
    ),
    "Width of the network, in numbers; most models need --embedding-dim's. [default: 64]": (
        "网络的宽度（维数）；多数模型须与 --embedding-dim 相同。[默认: 64]"
    ),
    "Width of the network, in numbers.": "网络的宽度（维数）。",
    "Interests a user. [default: 4]": "每个用户的兴趣数。[默认: 4]",
    "Interests a user.": "每个用户的兴趣数。",
    "Models trained side by side, each of its share of the dimensions. [default: 1]": (
        "并排训练的模型数，各占一份维数。[默认: 1]"
    ),
    "fixed | by-length: the same for all, or fewer of short histories. [default: fixed]": (
        "fixed | by-length：兴趣数对所有用户相同，或历史短则少。[默认: fixed]"
    ),
    "Blocks of causal self-attention over the history, under the model. [default: 0]": (
        "模型之下、对历史做因果自注意力的层数。[默认: 0]"
    ),
    "Heads of its attention. [default: 1]": "其注意力的头数。[默认: 1]",
    "Share of the encoder's numbers that are zero in training, 0 to 1. [default: 0]": (
        "训练中编码器的数置零的比例，0 至 1。[默认: 0]"
    ),
    "Share of a history's items that training leaves out, 0 to 1. [default: 0]": (
        "训练中略去的历史物品的比例，0 至 1。[默认: 0]"
    ),
    "ignored | learned: an item of the user's own history scores as any other, or more or less by "
    "what is learned of it. [default: ignored]": (
        "ignored | learned：用户历史中的物品与其他物品同样打分，或加减学到的分数。[默认: ignored]"
    ),
    "Items a target has before it, at least. [default: 4]": ("目标之前至少有多少个物品。[默认: 4]"),
    "Targets learned of each user in one pass over him. [default: 1]": (
        "一次学习每个用户的多少个目标。[默认: 1]"
    ),
    "A target is one of so many items that follow its history. [default: 1]": (
        "目标是历史之后多少个物品中的一个。[默认: 1]"
    ),
    "Or one of this share of a user's items, 0 to 1, where that is more. [default: 0]": (
        "或用户物品的这一比例（0 至 1）中的一个，取多者。[默认: 0]"
    ),
    "Where negatives come from: log-uniform | uniform | in-batch | mixed | full (mixed: in-batch "
    "and uniform; full: every item). [default: log-uniform]": (
        "负样本从何而来：log-uniform | uniform | in-batch | mixed | full"
        "（mixed: in-batch 加 uniform；full: 所有物品）。[默认: log-uniform]"
    ),
    "Negative items drawn a step, shared by its batch. [default: 10 x batch size]": (
        "每步抽取的负样本数，整个批次共用。[默认: 10 x batch size]"
    ),
    "N of the recall@N that selects the best model. [default: 50]": (
        "选择最优模型所用的 recall@N 的 N。[默认: 50]"
    ),
    "N of the recall@N that selects the best model.": "选择最优模型所用的 recall@N 的 N。",
    "All that is random follows from it, a whole number from 0. [default: 19]": (
        "一切随机都由它决定，不小于 0 的整数。[默认: 19]"
    ),
    "All that is random follows from it, a whole number from 0.": (
        "一切随机都由它决定，不小于 0 的整数。"
    ),
    # of training
    "What an existing run goes on from.": "已有的实验从哪里继续。",
    "Best recall, 0 to 1, of an old checkpoint that does not know it. [default: measured]": (
        "旧 checkpoint 没有记录的最优 recall，0 至 1。[默认: 重新评估]"
    ),
    "Go on with another learning rate; recorded in run.json. [default: as it was]": (
        "以另一学习率继续；记录在 run.json 中。[默认: 不变]"
    ),
    "Show evaluations, warnings and the end only, no live line; train.log has the rest.": (
        "只显示评估、警告和结尾，没有实时进度行；其余见 train.log。"
    ),
    "Hand the numbers to MLflow or Weights & Biases too; may be repeated. [default: neither]": (
        "同时把数字交给 MLflow 或 Weights & Biases；可重复。[默认: 都不]"
    ),
    "Train, measure the best model, or write its item vectors to output/.": (
        "训练、测试最优模型，或把其物品向量写到 output/。"
    ),
    "Category control in -p test: lambda. [default: none]": (
        "-p test 中按类别控制的 lambda。[默认: 无]"
    ),
    # of looking at runs and configurations
    "Print a file for --config.": "输出可供 --config 使用的文件。",
    "Of the curves: recall@50, ndcg@20, ... [default: what selects the best]": (
        "曲线的指标：recall@50、ndcg@20 等。[默认: 选择最优模型的指标]"
    ),
    "Do not ask.": "不询问。",
    "Tell what would be removed, and stop.": "只说明会删除什么，不删除。",
    "What was set aside as damaged, too.": "也删除因损坏而移开的内容。",
    # of evaluating and exporting
    "The users to measure on.": "在哪些用户上评估。",
    "One more cutoff, in items, beside 20 and 50. [default: that of the run]": (
        "除 20 和 50 之外的另一列表长度（物品数）。[默认: 该实验的]"
    ),
    "Choose the lists by category: weight of a repeated one, beside scores that are cosines "
    "(-1 to 1) where the run has a temperature. [default: none]": (
        "按类别选择列表：类别重复的权重；若实验有 temperature，得分是余弦（-1 至 1）。[默认: 无]"
    ),
    "Leave out what a user has interacted with already.": "去掉用户已交互过的物品。",
    "Write these users' interests too, of all their items. [default: no users]": (
        "同时写出这些用户的兴趣，根据其全部物品。[默认: 没有用户]"
    ),
    "Of valid or test: by what `reprise evaluate` knows of each, without what it looks for.": (
        "对 valid 或 test：只根据 `reprise evaluate` 所知的历史，不含待预测的部分。"
    ),
    "Write the interests of these users: .npy of item numbers [users, length], or .parquet with a "
    "column raw_ids or items. [default: no users]": (
        "写出这些用户的兴趣：物品编号的 .npy [用户数, 长度]，或含 raw_ids 或 items 列的 .parquet。"
        "[默认: 没有用户]"
    ),
    "The page. [default: report.html in the run's folder; of several runs, here]": (
        "报告文件。[默认: 实验目录中的 report.html；多个实验时在当前目录]"
    ),
    "Only what the run has logged: the best model is not measured, the data not needed.": (
        "只用实验已记录的内容：不评估最优模型，也不需要数据。"
    ),
    "The users that the best model is measured on.": "在哪些用户上评估最优模型。",
    "A point of the lambda curve, measured by itself; may be repeated. [default: 0.01 to 10]": (
        "lambda 曲线上的一点，单独评估；可重复。[默认: 0.01 至 10]"
    ),
    # of data
    "Name of the dataset folder.": "数据集目录的名称。",
    "Who is trained on and what is to be found: comirec | leave-one-out | time-split.": (
        "用谁训练、预测什么：comirec | leave-one-out | time-split。"
    ),
    "Keep the users and items that have K interactions with each other each. [default: ComiRec's "
    "filter, one pass at 5]": (
        "保留相互之间各有 K 次交互的用户和物品。[默认: ComiRec 的过滤，以 5 为界做一遍]"
    ),
    "Of time-split: when validation and test begin: times as the source's, dates, or shares of the "
    "interactions. [default: 0.8,0.9]": (
        "用于 time-split：验证和测试始于何时：与来源相同的时间、日期，或交互的比例。[默认: 0.8,0.9]"
    ),
    "Of the source: comirec | recbole | movielens | taobao | sequences | table. [default: as the "
    "names tell]": (
        "来源的格式：comirec | recbole | movielens | taobao | sequences | table。"
        "[默认: 由文件名判断]"
    ),
    "Column of the user, in a table; or its place, from 1. [default: by its name]": (
        "表格中用户所在的列；或其位置，从 1 起。[默认: 由列名判断]"
    ),
    "Column of the item. [default: by its name]": "物品所在的列。[默认: 由列名判断]",
    "Column of the time: a number, or a date. [default: by its name]": (
        "时间所在的列：数，或日期。[默认: 由列名判断]"
    ),
    "Column of the item's category. [default: by its name]": (
        "物品类别所在的列。[默认: 由列名判断]"
    ),
    "Column of the item's title. [default: by its name]": "物品标题所在的列。[默认: 由列名判断]",
    "Behaviours of taobao that count, such as pv,buy. [default: pv]": (
        "taobao 中计入的行为，如 pv,buy。[默认: pv]"
    ),
    "Agree to the terms without being asked.": "同意条款，不再询问。",
    "Where to take the files from. [default: their owner]": "从哪里取得文件。[默认: 其发布者]",
    # of the demonstration, imports and sweeps
    "Where the demonstration keeps its data and runs.": "演示的数据和实验所在目录。",
    "Updates made, if the checkpoint does not tell. [default: as it tells]": (
        "已做的更新次数，若 checkpoint 没有记录。[默认: 其记录]"
    ),
    "Best recall, 0 to 1, where the checkpoint has none. [default: measured]": (
        "最优 recall，0 至 1，若 checkpoint 没有记录。[默认: 重新评估]"
    ),
    "Which variable a parameter is (rows: the item table); may be repeated. [default: found by "
    "shape]": "参数对应哪个变量（rows: 物品表）；可重复。[默认: 按形状找到]",
    "A setting to search over, and its values: FIELD=LOW..HIGH, FIELD=LOW..HIGH:log, or "
    "FIELD=A,B,C; may be repeated. [required]": (
        "要搜索的设置及其取值：FIELD=LOW..HIGH、FIELD=LOW..HIGH:log 或 FIELD=A,B,C；可重复。[必填]"
    ),
    "Runs in all.": "实验总数。",
    "Folder of the sweeps.": "搜索所在目录。",
    "Print the results as JSON.": "以 JSON 输出结果。",
}
