"""Messages: only in en.toml and zh.toml, complete in both, and all used."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import reprise
from reprise.errors import UsageError
from reprise.evaluation.metrics import METRICS
from reprise.text.messages import Messages, Phrase, catalogue, choose_language

PACKAGE = Path(reprise.__file__).parent
MODULES = [*PACKAGE.rglob("*.py"), PACKAGE.parent / "train.py"]
SOURCES = [*MODULES, *PACKAGE.rglob("template/*")]
PAGE = [*PACKAGE.joinpath("serving/page/static").glob("*.[hj]*")]
ENGLISH, CHINESE = catalogue("en"), catalogue("zh")
BOTH = [(table, key) for table in ENGLISH for key in ENGLISH[table]]
# English that a user reads elsewhere: of a run's settings, and the page of all commands.
SETTINGS = {"config/schema.py", "config/setting.py"}
ELSEWHERE = {
    *SETTINGS,
    "cli/reference.py",
    "data/build.py",  # what meta.json keeps of how a dataset was made
    "data/readers/columns.py",  # names of columns
    # The OpenAPI document and Prometheus' help, which programs read.
    "serving/server/metrics.py",
    "serving/server/routes.py",
    "serving/server/schemas.py",
    "serving/readme.py",  # Python, as a README.md shows it
    "runs/manage/archive.py",  # what tarfile says of a file, to know it by
}
# The same in both languages, as in the original.
ALIKE = {
    "iter: {}, train loss: {}, valid recall: {}, valid ndcg: {}, valid hitrate: {}",
}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_messages_have_the_same_keys_in_both_languages() -> None:
    assert set(ENGLISH) == {"messages", "commands", "options", "page"}
    assert set(CHINESE) == {*ENGLISH, "settings", "metrics", "click"}
    assert set(CHINESE["metrics"]) <= {metric.name for metric in METRICS}
    for table in ENGLISH:
        assert set(ENGLISH[table]) == set(CHINESE[table])


@pytest.mark.parametrize(("table", "key"), BOTH)
def test_messages_have_the_same_fields_in_both_languages(table: str, key: str) -> None:
    english, chinese = ENGLISH[table][key], CHINESE[table][key]
    assert english
    assert chinese
    if table != "commands":  # whose braces are braces
        assert fields(english) == fields(chinese)


def test_messages_are_all_used_and_all_used_ones_exist() -> None:
    code = "\n".join(path.read_text() for path in SOURCES)
    quoted = set(re.findall(r'"([a-z_]+)"', code))
    assert set(ENGLISH["messages"]) <= quoted
    spoken = re.findall(r'(?:Error|Phrase|say|warn|text)\(\s*"([a-z_]+)"', code)
    assert set(spoken) <= set(ENGLISH["messages"])


def test_messages_of_the_page_are_all_used_and_all_used_ones_exist() -> None:
    code = "\n".join(path.read_text() for path in PAGE)
    words, metrics = set(ENGLISH["page"]), {metric.name for metric in METRICS}
    assert not words & metrics  # which the page is given with them
    assert words <= set(re.findall(r'"([a-z_]+)"', code))
    said = re.findall(r'data-say="(\w+)"|\bsay\(\s*"(\w+)"', code)
    assert {one for pair in said for one in pair if one} <= words


def test_messages_of_comirecs_output_are_the_original_ones() -> None:
    chinese = Messages("zh")
    assert chinese.text("found_checkpoint", path=".../ckpt-11") == (
        "✅ 发现已有 checkpoint，自动恢复: .../ckpt-11"
    )
    assert chinese.text("continuing") == "   将从上次训练继续..."
    assert chinese.text("restored_best", metric=0.031122) == "   恢复的最优 recall: 0.031122"
    assert chinese.text("saved_best", metric=0.031) == ("   💾 保存新的最优模型，recall: 0.031000")


def test_choose_language_prefers_flag_then_variable_then_locale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "REPRISE_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert choose_language() == "zh"
    monkeypatch.setenv("REPRISE_LANG", "en")
    assert choose_language() == "en"
    assert choose_language("zh") == "zh"


def test_messages_in_chinese_are_chinese() -> None:
    for key, chinese in CHINESE["messages"].items():
        if not re.search(r"[一-鿿]", chinese):  # names, and words the original leaves as they are
            words = re.findall("[A-Za-z]{2,}", re.sub("{[^}]*}", "", chinese))
            assert len(words) <= 2 or key == "prompt_name", key


def test_printed_text_comes_from_the_messages() -> None:
    """No words of a sentence stand where something is printed or put into a table."""
    printing = {"print", "echo", "add_row", "add_column", "Table", "Panel", "line"}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            name = getattr(function, "id", getattr(function, "attr", ""))
            for argument in node.args if name in printing else ():
                if said := words_of(argument):
                    assert said in ALIKE, f"{path}, line {node.lineno}: {said}"


def test_option_help_comes_from_the_messages() -> None:
    for path in (PACKAGE / "cli").rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix() in SETTINGS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "help":
                assert not words_of(node.value), f"{path}, line {node.value.lineno}"


def test_modules_hold_no_sentences() -> None:
    """Four words in a row, outside docstrings and assertions of the code about itself."""
    for path in MODULES:
        if path.relative_to(PACKAGE.parent).as_posix().removeprefix("reprise/") in ELSEWHERE:
            continue
        for line, text in texts_of(path):
            assert not re.search(r"[A-Za-z]{2,}(?: [A-Za-z]{2,}){3}", text), f"{path}, line {line}"


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a file that a user may see, with their lines."""
    tree = ast.parse(path.read_text())
    aside: set[ast.AST] = set()
    for node in ast.walk(tree):
        bare = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if bare or (isinstance(node, ast.Call) and ast.unparse(node.func) == "AssertionError"):
            aside.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in aside:
            yield node.lineno, node.value


def test_error_reasons_come_from_the_messages() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            said: list[ast.expr] = []
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                said = node.exc.args
            elif isinstance(node, ast.keyword | ast.Assign) and "reason" in ast.unparse(node):
                said = [node.value]
            if not re.search("AssertionError|AttributeError", ast.unparse(node)):
                assert not any(map(words_of, said)), f"{path}: {ast.unparse(node)}"


def test_expected_values_come_from_the_messages() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "expected":
                said = words_of(node.value)
            elif isinstance(node, ast.Assign) and "expected" in ast.unparse(node.targets[0]):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                said = "".join(map(words_of, values))
            else:
                continue
            assert not said, f"{path}: {said}"


def test_phrase_within_a_message_is_translated() -> None:
    refusal = UsageError("bad_value", option="seed", value=-1, expected=Phrase("good_whole", low=0))
    assert str(refusal) == "seed = -1 is invalid: expected an integer >= 0."
    chinese = Messages("zh").text(refusal.key, **refusal.values)
    assert chinese == "seed = -1 无效: 应为 不小于 0 的整数。"


def words_of(argument: ast.expr) -> str:
    """Return the text in an argument, what is computed as {}, if two words of it stand together."""
    parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
    texts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts]
    text = "".join(texts)
    return text if re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", text) else ""
