"""The words that errors suggest."""

import pytest

from reprise.text.suggest import suggest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clik"], " Did you mean 'click'?"),
        (["CLICK"], " Did you mean 'click'?"),
        (["purchace"], " Did you mean 'Purchase'?"),
        (["veiw", "clicks"], " Did you mean 'view', 'click'?"),
        (["refund", "clicks"], " Did you mean 'click'?"),
        (["refund"], ""),  # like none of them
        ([""], ""),
    ],
)
def test_suggest_names_only_close_words(words: list[str], said: str) -> None:
    assert str(suggest(["view", "click", "Purchase"], *words)) == said
    assert suggest([], *words) == ""


def test_suggest_is_translated() -> None:
    found = suggest(["click"], "clik")
    assert not isinstance(found, str)
    assert found.said_in("zh") == "是否想用 'click'？"
