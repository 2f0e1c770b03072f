"""The help of commands in Chinese, by their names, and the words of the command line itself."""

from collections.abc import Mapping

# By the command's name below `reprise`; "" is `reprise`, "train.py" ComiRec's command line.
COMMANDS: Mapping[str, str] = {
    "": "训练多兴趣推荐模型，可在任何时刻停止，并精确地恢复。",
    "train.py": "训练、测试或导出模型，与 ComiRec 的 src/train.py 相同。",
    "train": "训练模型，或从实验所在之处继续：都是同一条命令。",
    "prepare": """把 SOURCE 变成数据集目录。

    SOURCE 是下列格式之一的文件或目录，由名称识别：
    comirec    <x>_train.txt、<x>_valid.txt、<x>_test.txt，以及（若有）
               <x>_item_cate.txt、<x>_item_map.txt：已经划分，照原样使用
    recbole    <x>.inter，以及（若有）<x>.item
    movielens  ratings.dat 和 movies.dat，或 ratings.csv 和 movies.csv
    taobao     UserBehavior.csv
    sequences  每行一个用户 "user item item ..."，旧的在前；或每行一对
    table      CSV、TSV、Parquet 或 JSON lines（Amazon 评论，及其 meta_<x>），
               一个文件或一个目录的多个部分；列按常见的名称，或按指定的，
               没有表头的文本按位置：--user-col 1
    文本可以是压缩的（.gz、.zst）。

    除 comirec 外，都按 ComiRec 的方式过滤：先是至少有 5 次交互的物品，
    再是至少有 5 个这种物品的用户。

    按协议 comirec，用户按 8:1:1 划分（ComiRec 目录已经划分），
    预测训练中没有的用户的最后五分之一的物品。
    按 leave-one-out，与 SASRec 相同，用所有用户训练；最后一个物品用于测试，
    倒数第二个用于验证。
    按 time-split，用所有用户在某一时刻之前的物品训练，预测此时已知的用户
    其后遇到的一切：先到第二个时刻为止，用于验证，再是其后的，用于测试。
    """,
    "data": "取得著名的数据集，查看已准备好的数据集。",
    "data show": "显示数据集 NAME 有什么，以及其中可能妨碍训练的情况。",
    "data get": """取得著名的数据集 NAME，并说明怎样准备它。

    会显示其条款，须同意后才下载。中断的下载会接着进行；发布者公布了校验和的
    会校验，其余的记录首次下载的校验和（SHA256SUMS），以后与之比对。没有网络时，
    请自己把文件放到 DATA_DIR/raw/NAME，再运行同一命令。

    NAME: ml-100k ml-1m ml-10m ml-20m ml-25m    MovieLens
          amazon-books amazon-beauty amazon-electronics    2014 年的评论，5-core
          taobao    手工下载：其发布者要求登录
    """,
    "demo": "用生成的数据训练，中途杀死训练，恢复，然后比较。",
    "evaluate": """在整个目录上评估实验所存的模型。

    RUN 是实验的目录，或它在 runs 下的名称。
    """,
    "inspect": "显示 checkpoint 的内容，以及它是否完好。",
    "export": """把 RUN 所存模型的向量写到新的 FOLDER。

    manifest.json   如何打分，导出了什么
    items.npy       [物品数 + 1, d] float32，与检索打分所用的相同；第 0 行是填充
    items.parquet   item（行号）、raw_id，以及已知的类别和标题
    interests.npy   [用户数, K, d] float32，若要求导出用户
    users.parquet   row、user（自己的编号）、history（物品编号，旧的在前）

    物品的得分是它与用户各兴趣内积的最大值。若 manifest 的 repeat_worth 不为 0，
    用户历史中的物品还要加上它。
    """,
    "import-tf": """由 TensorFlow 的 checkpoint 建立实验，供 `reprise train` 继续训练。

    PATH 是 checkpoint 的前缀（.../ckpt-11、.../model.ckpt）或其目录，
    此时取最新的。各尺寸（--maxlen、--embedding-dim、--hidden-size、
    --num-interest）由 checkpoint 得到。
    """,
    "report": """写出一个自足的 HTML 文件，含图和表。

    训练过程、兴趣的健康状况、最优模型按用户和物品分组的结果、设置、历史。
    """,
    "runs": """列出实验：各在哪里，最优结果、状态、距今和大小。

    有进程在写的实验为运行中；步数已完成的为已完成；耐心用尽的为提前停止；
    没有完好 checkpoint 的为已损坏；其余为已中断：`reprise train` 会继续训练。
    查看不改变任何内容。
    """,
    "runs show": """显示实验 NAME 的一切：配置、checkpoint、历史、评估。

    NAME 是实验名称、其目录名或路径。checkpoint 的每个字节都会校验。
    """,
    "runs compare": "比较实验：配置有何不同，各达到了什么，逐步对照。",
    "runs prune": """删除实验 NAME（或全部实验）可以不要的内容。

    即既不是最新也不是最优的 checkpoint，以及没有写完的内容。
    保留的会先逐字节校验。正在运行的实验不受影响。
    """,
    "runs export": """把实验 NAME 打包为 FILE（.tar.zst、.tar.gz 或 .tar），附每个文件的 SHA-256。

    会先校验其 checkpoint；已损坏的会说明并略去。
    """,
    "runs import": """解开由 `reprise runs export` 打包的 FILE。

    每个文件都与其 SHA-256 比对；实验要么完整出现，要么不出现。
    """,
    "config": "查看配置。",
    "config show": """显示这些选项得到的完整配置，以及每个值的来源。

    参数优先于文件，文件优先于预设，预设优先于实验 RUN（若指定），
    实验优先于默认值。`reprise train` 的选项都可用。
    """,
    "sweep": """搜索设置：每次试验训练一个实验，以验证用户上的最优 recall 为准。

    同一条命令会继续已停止的搜索；增大 --trials 则增加试验。

    reprise sweep --name s1 --dataset ml-1m --model ComiRec-DR \\
        --steps 20000 --trials 20 \\
        --search learning_rate=1e-4..1e-2:log --search num_interest=2,4,8
    """,
    "sweep show": "显示搜索 NAME 的各次试验，最优的在前，并重新画图。",
}

EXIT_CODES = """\b
退出码: 0 完成；2 用法错误；3 数据不可用；4 实验目录中是另一配置的实验；
5 实验正在使用；6 没有可用的 checkpoint；7 磁盘拒绝写入；8 内存不足；
130 由 Ctrl-C 停止；143 由 SIGTERM 停止。"""

# What Click says, by its own English; of two forms, the one for several serves for one, too.
CLICK: Mapping[str, str] = {
    "Usage:": "用法:",
    "[OPTIONS]": "[选项]",
    "COMMAND [ARGS]...": "命令 [参数]...",
    "[COMMAND] [ARGS]...": "[命令] [参数]...",
    "Options": "选项",
    "Commands": "命令",
    "Positional arguments": "参数",
    "default: {default}": "默认: {default}",
    "required": "必填",
    "Show the version and exit.": "显示版本并退出。",
    "Show this message and exit.": "显示本帮助并退出。",
    "%(prog)s, version %(version)s": "%(prog)s，版本 %(version)s",
    "Try '{command} {option}' for help.": "请用 '{command} {option}' 查看帮助。",
    "Error: {message}": "错误: {message}",
    "Error: invalid input": "错误: 输入无效",
    "Aborted!": "已中止！",
    "unknown error": "未知错误",
    "Missing command.": "缺少命令。",
    "Missing argument": "缺少参数",
    "Missing option": "缺少选项",
    "Missing parameter": "缺少参数",
    "Missing parameter: {param_name}": "缺少参数: {param_name}",
    "Missing {param_type}": "缺少{param_type}",
    "No such option {name!r}.": "没有选项 {name!r}。",
    "No such command {name!r}.": "没有命令 {name!r}。",
    "Did you mean {possibility}?": "是否想用 {possibility}？",
    "(Did you mean one of: {possibilities}?)": "（是否想用其中之一: {possibilities}？）",
    "Got unexpected extra argument ({args})": "多余的参数（{args}）",
    "Got unexpected extra arguments ({args})": "多余的参数（{args}）",
    "Invalid value: {message}": "值无效: {message}",
    "Invalid value for {param_hint}: {message}": "{param_hint} 的值无效: {message}",
    "Could not open file {filename!r}: {message}": "无法打开文件 {filename!r}: {message}",
    "Option {name!r} does not take a value.": "选项 {name!r} 不带值。",
    "Option {name!r} requires an argument.": "选项 {name!r} 需要一个值。",
    "Option {name!r} requires {nargs} arguments.": "选项 {name!r} 需要 {nargs} 个值。",
    "Choose from:\n\t{choices}": "可选:\n\t{choices}",
    "{value!r} is not {choice}.": "{value!r} 不是 {choice}。",
    "{value!r} is not one of {choices}.": "{value!r} 不是 {choices} 之一。",
    "{value} is not in the range {range}.": "{value} 不在 {range} 的范围内。",
    "{value!r} is not a valid {number_type}.": "{value!r} 不是有效的{number_type}。",
    "{value!r} is not a valid boolean. Recognized values: {states}": (
        "{value!r} 不是有效的布尔值。可用: {states}"
    ),
    "{name} {filename!r} does not exist.": "{name} {filename!r} 不存在。",
    "{name} {filename!r} is a file.": "{name} {filename!r} 是文件。",
    "{name} {filename!r} is a directory.": "{name} {filename!r} 是目录。",
    "{name} {filename!r} is not readable.": "{name} {filename!r} 不可读。",
    "{name} {filename!r} is not writable.": "{name} {filename!r} 不可写。",
    "file": "文件",
    "directory": "目录",
    "path": "路径",
    "integer": "整数",
    "integer range": "整数",
    "float": "小数",
    "float range": "小数",
    "text": "文本",
}
