"""What is told of errors that a user can mend: what, where, and how."""

from collections.abc import Mapping

REFUSALS: Mapping[str, tuple[str, str]] = {
    "error_line": ("Error: {mistake}", "错误: {mistake}"),
    "run_exists": (
        "{path} has checkpoints already. Choose another --name.",
        "{path} 中已有 checkpoint。请换一个 --name。",
    ),
    "unknown_model": (
        "Unknown model {name!r}. Did you mean {suggestion!r}? Known: {known}.",
        "未知模型 {name!r}。是否想用 {suggestion!r}？可用模型: {known}。",
    ),
    "no_attention": (
        "{model} has no attention that learns: leave --routing-penalty at 0, or use"
        " ComiRec-SA or Queries.",
        "{model} 没有可学习的注意力：请将 --routing-penalty 设为 0，或使用 ComiRec-SA、Queries。",
    ),
    "hidden_size_must_match": (
        "This model needs --hidden-size ({hidden}) equal to --embedding-dim ({embedding}).",
        "该模型要求 --hidden-size（{hidden}）等于 --embedding-dim（{embedding}）。",
    ),
    "bad_name": (
        "{option} {value!r} cannot name a folder: use printable characters, no '/', no leading "
        "'.', at most 100 bytes.",
        "{option} {value!r} 不能用作目录名："
        "请使用可打印字符，不含 '/'，不以 '.' 开头，不超过 100 字节。",
    ),
    "bad_value": (
        "{option} = {value!r} is not possible: {expected}.",
        "{option} = {value!r} 无效: 应为 {expected}。",
    ),
    "unknown_key": (
        "Unknown configuration key {option!r}. Did you mean {suggestion!r}?",
        "未知配置项 {option!r}。是否想用 {suggestion!r}？",
    ),
    "missing_value": ("Missing: --{option}.", "缺少: --{option}。"),
    "only_one": ("Give only one of {options}.", "{options} 只能给出一个。"),
    "unreadable_config": (
        "Cannot read the configuration {path}: {reason}",
        "无法读取配置 {path}: {reason}",
    ),
    "setting_renamed": (
        "⚠️ The setting {old} is called {new} now; the old name still works.",
        "⚠️ 配置项 {old} 现名为 {new}；旧名仍可使用。",
    ),
    "key_twice": ("{name} is set twice.", "{name} 设置了两次。"),
    "source_missing": (
        "No such file or folder: {path}",
        "文件或目录不存在: {path}",
    ),
    "unknown_format": (
        "{path}: no known format. `reprise prepare --help` tells what is read; name it with "
        "--format: {formats}.",
        "{path}: 无法识别的格式。`reprise prepare --help` 列出了可读的格式；"
        "请用 --format 指定: {formats}。",
    ),
    "no_column": (
        "{path}: no column of the {what}; the columns are {columns}. Name it: --{what}-col NAME.",
        "{path}: 找不到 {what} 列；已有的列为 {columns}。请指定: --{what}-col NAME。",
    ),
    "column_missing": (
        "--{option} {column}: {path} has no such column; it has {columns}. "
        "Did you mean {suggestion!r}?",
        "--{option} {column}: {path} 没有该列；已有的列为 {columns}。是否想用 {suggestion!r}？",
    ),
    "one_column_for_two": (
        "--{first} and --{second} both name the column {column!r}. Give each its own.",
        "--{first} 和 --{second} 都指定了列 {column!r}。请各给一列。",
    ),
    "option_unused": (
        "--{option} says nothing of the format {layout}: it is for {used}. Leave it out, or name "
        "another format: --format NAME.",
        "--{option} 对格式 {layout} 不起作用，只用于 {used}。"
        "请去掉它，或用 --format NAME 指定其他格式。",
    ),
    "times_not_listed": (
        "{path}: the column {item} has a list of items a row, the column {time} one time. Give the "
        "times as lists as long, or name another column: --time-col NAME.",
        "{path}: 列 {item} 每行是物品列表，列 {time} 却只有一个时间。请给出同样长的时间列表，"
        "或另行指定: --time-col NAME。",
    ),
    "lists_differ": (
        "{path}, row {line}: the lists in the columns {item} and {time} have {items} and {times} "
        "entries; expected equally many. Mend or remove the row.",
        "{path} 第 {line} 行: 列 {item} 与 {time} 的列表长度为 {items} 和 {times}；两者应相同。"
        "请修正或删除该行。",
    ),
    "bad_value_in_row": (
        "{path}, row {line}: the {column} is {value!r}; expected {expected}. "
        "Mend or remove the row.",
        "{path} 第 {line} 行: {column} 为 {value!r}；应为 {expected}。请修正或删除该行。",
    ),
    "parts_differ": (
        "{path}: the parts of a table must be of one kind, found {files}. "
        "Keep one data set a folder.",
        "{path}: 同一张表的各部分必须为同一种文件，实际为 {files}。每个目录只放一个数据集。",
    ),
    "texts_and_tables": (
        "{path}: which of {files} is to be read? Give that file, "
        "or --format table for all of the tables.",
        "{path}: 应读取 {files} 中的哪一个？请给出该文件；要读取全部表格，请用 --format table。",
    ),
    "one_text_needed": (
        "{path}: sequences are read from one text, a line a user; found here: {files}. "
        "Give that file.",
        "{path}: 序列应来自一个文本文件（每行一个用户），此处找到: {files}。请给出该文件。",
    ),
    "no_behaviour": (
        "{path}: no row of the behaviour {asked}; there are {behaviours}. "
        "Name what counts: --behaviours A,B.",
        "{path}: 没有行为 {asked} 的行；已有的行为是 {behaviours}。请指定: --behaviours A,B。",
    ),
    "several_train_files": (
        "{path}: expected one *_train.txt, found {files}. Keep one data set a folder.",
        "{path}: 应只有一个 *_train.txt，实际为 {files}。每个目录只放一个数据集。",
    ),
    "file_missing": ("{path}: file is missing.", "{path}: 文件不存在。"),
    "unreadable": ("{path}: cannot be read as text: {reason}", "{path}: 无法读取: {reason}"),
    "unreadable_parquet": (
        "{path}: cannot be read as Parquet: {reason}",
        "{path}: 无法作为 Parquet 读取: {reason}",
    ),
    "bad_line": (
        "{path}, line {line}: expected {expected}, found {text!r}. Mend or remove the line.",
        "{path} 第 {line} 行: 应为 {expected}，实际为 {text!r}。请修正或删除该行。",
    ),
    "item_out_of_range": (
        "{path}, line {line}: item id {item} is outside the catalogue 1..{most}. "
        "Item ids are popularity ranks from 1.",
        "{path} 第 {line} 行: 物品编号 {item} 超出范围 1..{most}。物品编号应为从 1 起的热度排名。",
    ),
    "item_map_ids": (
        "{path}, line {line}: item ids must be 1..{items}, each once.",
        "{path} 第 {line} 行: 物品编号必须为 1..{items}，且不重复。",
    ),
    "inter_columns": (
        "{path}, line 1: missing column(s) {missing}; the header has {header}.",
        "{path} 第 1 行: 缺少列 {missing}；表头为 {header}。",
    ),
    "no_core": (
        "{path}: no users and items are left that have {size} interactions with each other each. "
        "Give a smaller --k-core.",
        "{path}: 没有彼此交互都不少于 {size} 次的用户和物品。请减小 --k-core。",
    ),
    "core_of_split": (
        "--k-core: {path} is filtered and numbered already (ComiRec's files). Leave --k-core out, "
        "or prepare from the raw interactions.",
        "--k-core: {path} 已过滤并编号（ComiRec 文件）。请去掉 --k-core，或由原始交互准备。",
    ),
    "cut_at_one_time": (
        "--cut {cut}: both fall on the time {time}; validation would be empty. Give two times.",
        "--cut {cut}: 两者均落在时间 {time}，验证集将为空。请给出两个时间。",
    ),
    "no_times": (
        "{path} tells the order of items, not their times: it has no time to be split at. Take "
        "--protocol leave-one-out, or prepare from interactions with times.",
        "{path} 只有物品的先后顺序，没有时间，无法按时间划分。"
        "请用 --protocol leave-one-out，或由带时间的交互准备。",
    ),
    "unknown_set": (
        "Unknown data set {name!r}. Did you mean {suggestion!r}? Known: {known}.",
        "未知数据集 {name!r}。是否想用 {suggestion!r}？可用: {known}。",
    ),
    "licence_unaccepted": (
        "{name} is fetched for those who agree to its terms: add --accept-licence.",
        "须同意条款后才会获取 {name}：请加上 --accept-licence。",
    ),
    "get_by_hand": (
        "This set cannot be fetched without a login. Take it from {page}, put it at {path}, "
        "then run: {command}",
        "该数据集须登录后才能下载。请从 {page} 取得，放到 {path}，然后运行: {command}",
    ),
    "get_failed": (
        "Cannot fetch {url}: {reason}. What has arrived is kept; to go on, or once you have put "
        "the file at {path} yourself, run: {command}",
        "无法下载 {url}: {reason}。已到的部分会保留；要继续，或自行将文件放到 {path} 后，"
        "请运行: {command}",
    ),
    "get_differs": (
        "{path} is not the file it should be ({checksum}). Remove it and fetch it again: {url}",
        "{path} 与应有的文件不同（{checksum}）。请删除后重新从 {url} 获取。",
    ),
    "get_changed": (
        "{path} is not the file that was met first ({checksum}). Remove it and fetch it again: "
        "{url}; or, if it is the right one, remove its line from {sums}.",
        "{path} 与首次获取的文件不同（{checksum}）。请删除后重新从 {url} 获取；"
        "若此文件无误，请从 {sums} 中删除对应的行。",
    ),
    "get_broken": (
        "{path} cannot be unpacked: {reason}. Remove it and fetch it again: {url}",
        "{path} 无法解压: {reason}。请删除后重新从 {url} 获取。",
    ),
    "no_interactions": ("{path}: no interactions.", "{path}: 没有任何交互。"),
    "empty_split": (
        "The {split} split is empty: {where}. Each of train, valid and test needs users "
        "with enough items.",
        "{split} 集为空: {where}。train、valid、test 都需要有足够交互的用户。",
    ),
    "user_in_two_files": (
        "{path}, line {line}: user {user} is in {other} too. Leave-one-out puts the users of all "
        "files together: each must be in one file only.",
        "{path} 第 {line} 行: 用户 {user} 也在 {other} 中。leave-one-out 会合并所有文件的用户："
        "每个用户只能在一个文件中。",
    ),
    "no_categories": (
        "--lambda (--coef) needs item categories, and this dataset has none (<x>_item_cate.txt).",
        "--lambda（--coef）需要物品类别，而该数据集没有（<x>_item_cate.txt）。",
    ),
    "dataset_exists": (
        "{folder} exists already. Choose another --name, or remove it.",
        "{folder} 已存在。请换一个 --name，或先删除它。",
    ),
    "dataset_missing": (
        "{folder} is not a prepared dataset. Make it with: reprise prepare SOURCE --name NAME",
        "{folder} 不是已准备的数据集。请先运行: reprise prepare SOURCE --name NAME",
    ),
    "dataset_not_found": (
        "Dataset {dataset!r} not found: neither {data_dir}/{dataset} (prepared) nor "
        "{data_dir}/{dataset}_data/{dataset}_train.txt (ComiRec's files) is there. "
        "Make it with: reprise prepare SOURCE --name {dataset} --data-dir {data_dir}",
        "找不到数据集 {dataset!r}：{data_dir}/{dataset}（已准备）和 "
        "{data_dir}/{dataset}_data/{dataset}_train.txt（ComiRec 文件）都不存在。"
        "请先运行: reprise prepare SOURCE --name {dataset} --data-dir {data_dir}",
    ),
    "dataset_damaged": (
        "{folder} is damaged ({reason}). Prepare it again.",
        "{folder} 已损坏（{reason}）。请重新准备。",
    ),
    "dataset_schema": (
        "{folder} has schema {found}; this version reads {known}. Prepare it again.",
        "{folder} 的 schema 为 {found}；本版本可读 {known}。请重新准备。",
    ),
    "dataset_evaluation": (
        "{folder} is to be evaluated by {found!r}; this version knows {known}. Prepare it again.",
        "{folder} 的评估规则为 {found!r}；本版本可用 {known}。请重新准备。",
    ),
    "too_few_users": (
        "Only {users} training users have {needed} items or more; a batch needs {batch_size}. "
        "Give a smaller --batch-size, or more data.",
        "只有 {users} 个训练用户有不少于 {needed} 个物品；一个 batch 需要 {batch_size} 个。"
        "请减小 --batch-size 或增加数据。",
    ),
    "config_differs": (
        "{path} holds another configuration (stored -> asked for):\n{differences}\n"
        "Use the stored values, or another --name.",
        "{path} 中的实验配置不同（已存 -> 本次）:\n{differences}\n"
        "请使用已存的配置，或换一个 --name。",
    ),
    "run_in_use": (
        "{path} is in use by process {pid}. Wait for it or stop it, or choose another --name.",
        "{path} 正被进程 {pid} 使用。请等待或停止该进程，或换一个 --name。",
    ),
    "run_missing": (
        "No run at {path}. A run is a folder, under runs where no --runs-dir was given:"
        " `reprise runs` lists them.",
        "{path} 处没有实验。实验是一个目录，未指定 --runs-dir 时在 runs 下:"
        " `reprise runs` 可列出。",
    ),
    "no_checkpoint": (
        "{path} holds no whole checkpoint. Train the run first.",
        "{path} 中没有完整的 checkpoint。请先训练。",
    ),
    "checkpoint_damaged": (
        "Checkpoint {path} is damaged: {reason}. Starting its run again sets it aside and goes "
        "on from a whole one.",
        "checkpoint {path} 已损坏: {reason}。"
        "重新启动该实验会将其移开，并从完好的 checkpoint 继续。",
    ),
    "checkpoint_unreadable": (
        "Cannot read {path}: {reason}. It may be whole: mend that and try again.",
        "无法读取 {path}: {reason}。文件可能完好，请处理后重试。",
    ),
    "dataset_changed": (
        "{dataset} is not what {path} was trained on: its content has changed. "
        "Prepare the original data again.",
        "{dataset} 的内容与 {path} 训练时不同。请重新准备原来的数据。",
    ),
    "items_relabelled": (
        "The data set's items have other ids of their own than when {path} was trained: it would "
        "answer with the wrong items. Prepare the original data again.",
        "数据集中物品的原始编号与 {path} 训练时不同：结果会指向错误的物品。请重新准备原来的数据。",
    ),
    "items_missing": (
        "{path} keeps no ids of its items: it is of an older version. Take it up once with "
        "`reprise train`, beside its data.",
        "{path} 没有保存其物品的原始编号：它来自旧版本。"
        "请在其数据所在处用 `reprise train` 继续一次。",
    ),
    "items_unusable": (
        "{path} cannot be used ({reason}). Take the run up with `reprise train`, beside its data: "
        "it is made anew.",
        "{path} 无法使用（{reason}）。请在其数据所在处用 `reprise train` 继续该实验：会重新生成。",
    ),
    "items_damaged": (
        "⚠️ {path} is damaged ({reason}); it is made anew from the data set.",
        "⚠️ {path} 已损坏（{reason}）；将根据数据集重建。",
    ),
    "best_metric_unused": (
        "Note: --best-metric is for old checkpoints that do not know their best; not used.",
        "提示：--best-metric 仅用于没有最优值的旧 checkpoint；此处未使用。",
    ),
    "tracker_off": (
        "⚠️ {tracker} takes no numbers ({reason}); going on without it. The next start fills in "
        "what is missing.",
        "⚠️ {tracker} 无法记录（{reason}）；将继续训练但不再记录。下次启动会补上缺失的部分。",
    ),
    "extra_missing": (
        "{what} needs a package that is not installed ({reason}): pip install 'reprise[{extra}]'",
        "{what} 需要未安装的软件包（{reason}）: pip install 'reprise[{extra}]'",
    ),
    "out_of_memory": (
        "Out of memory: {reason}. Use smaller sizes or a smaller batch.",
        "内存不足: {reason}。请减小各项尺寸或 batch。",
    ),
    "write_refused": (
        "Cannot write {path}: {reason}. What was saved before is whole; "
        "mend that and give the same command.",
        "无法写入 {path}: {reason}。之前保存的内容完好；请处理后重新运行同一命令。",
    ),
    "os_refused": ("Cannot use {path}: {reason}.", "无法使用 {path}: {reason}。"),
}
