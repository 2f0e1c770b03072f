"""The interest page in a real browser: by click, type and slide."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import polars as pl
import pytest

from helpers.browsers import browsing, needs_browser
from helpers.builders_data import draft_of
from helpers.commands import run_small
from helpers.servers import service_of, serving
from reprise.data.dataset import SPLITS, Dataset, open_dataset
from reprise.data.prepare import publish
from reprise.data.sequences import Sequences
from reprise.evaluation.evaluate import evaluate
from reprise.evaluation.metrics import METRICS
from reprise.serving.server.model import Loader, ServedModel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, ViewportSize

ITEMS, N, INTERESTS = 40, 10, 2
SLY = '<img src=x onerror="document.title=\'taken over\'"> & "><script>alert(1)</script>'
DESKTOP: "ViewportSize" = {"width": 1280, "height": 900}
PHONE: "ViewportSize" = {"width": 360, "height": 740}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds "small": 40 items with titles, categories and true interests."""
    rng = np.random.default_rng(3)
    splits = {}
    for split, count in zip(SPLITS, (60, 20, 20), strict=True):
        lengths = rng.integers(5, 15, count)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        splits[split] = Sequences(offsets, rng.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32))
    code = np.arange(-1, ITEMS, dtype=np.int32) % 5
    held = np.array([[n % 5, (n + 1) % 5, -1] for n in range(60)], np.int32)
    titles = [f"Film {n}" for n in range(1, ITEMS)] + [SLY]
    draft = replace(
        draft_of(splits, code),
        about_items=pl.DataFrame({"title": titles, "category": [f"Genre {n}" for n in code[1:]]}),
        truth={
            "item_interest": code,
            **{f"{split}_interests": held[: len(splits[split].lengths)] for split in SPLITS},
        },
    )
    folder = tmp_path_factory.mktemp("page")
    publish(draft, "small", folder / "small")
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, _, folder = run_small(data, tmp_path_factory.mktemp("runs"), num_interest=INTERESTS)
    return folder.path


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return open_dataset(data / "small")


@pytest.fixture(scope="module")
def model(run: Path, data: Path) -> ServedModel:
    loader = Loader(run, "best", print, lambda name: data / name)
    return loader.load(loader.find())


@pytest.fixture(scope="module")
def client(model: ServedModel) -> Iterator[httpx.Client]:
    with serving(service_of(model)) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def page(browser: "Browser", client: httpx.Client) -> Iterator["Page"]:
    with visiting(browser, client) as page:
        page.goto(str(client.base_url))
        settled(page)
        yield page


@contextmanager
def visiting(
    browser: "Browser", client: httpx.Client, *, errors: int = 0, **options: Any
) -> Iterator["Page"]:
    """Yield a page whose requests stay with the server, and that logs `errors` errors in all."""
    context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(20_000)
    yield page
    context.close()
    assert len(said) == errors, said
    assert all(url.startswith(str(client.base_url)) for url in asked)


def settled(page: "Page") -> None:
    """Wait until the page shows what was last asked for."""
    page.locator("#main[aria-busy=false]").wait_for()
    assert page.locator("#problem").is_hidden()


def listed(page: "Page") -> list[str]:
    """Return the names of the list's items."""
    return page.locator("#list .name").all_text_contents()


def names(answer: Any) -> list[str]:
    return [item["title"] for item in answer["lists"][0]["items"]]


def recommended(client: httpx.Client, history: list[str], **body: Any) -> list[str]:
    """Return the names that /v1/recommend lists."""
    asked = {"histories": [history], "n": N, **body}
    answer = client.post("/v1/recommend", json=asked)
    assert answer.status_code == 200, answer.text
    return names(answer.json())


def history_of(client: httpx.Client, user: str) -> list[str]:
    found = client.get(f"/v1/page/users/{user}").json()
    return [item["item_id"] for item in found["history"]]


def slide(slider: "Locator", steps: int) -> None:
    """Move a slider by its keys: to its start, and then so many steps to the right."""
    slider.focus()
    slider.press("Home")
    for _ in range(steps):
        slider.press("ArrowRight")


@needs_browser
def test_page_shows_a_test_user_as_evaluation_sees_them(
    page: "Page", client: httpx.Client, model: ServedModel, dataset: Dataset
) -> None:
    users = dataset.evaluation_users("test", model.about["history_length"])
    retriever = model.recommender.stored.retriever
    truth = dataset.truth("test")
    found = evaluate(retriever, users, (N,), dataset.known_categories, truth, metrics=METRICS)
    rows, _ = dataset.evaluated("test")
    for row in (0, 1):
        user = dataset.raw_users("test")[int(rows[row])]
        assert page.locator("#user").input_value() == user
        assert page.url.endswith(f"#user={user}")
        titles = [model.catalogue.titles[number - 1] for number in found.ids[row] if number]
        assert listed(page) == titles
        for key in (f"recall@{N}", f"ndcg@{N}", f"diversity@{N}", f"interest_coverage@{N}"):
            shown = page.locator(f"[data-metric='{key}']").text_content()
            assert shown == f"{found.by_user[key][row]:.3f}"
        start, end = users.target_offsets[row : row + 2]
        targets = {model.catalogue.titles[one - 1] for one in users.target_items[start:end]}
        hits = page.locator("#list .hit .name").all_text_contents()
        assert set(hits) == targets & set(titles)
        page.locator("#next-user").click()
        settled(page)


@needs_browser
def test_page_colours_and_numbers_what_belongs_to_an_interest(
    page: "Page", client: httpx.Client, model: ServedModel
) -> None:
    user = page.locator("#user").input_value()
    history = history_of(client, user)
    explained = {"histories": [history], "n": N, "explain": True}
    items = client.post("/v1/recommend", json=explained).json()["lists"][0]["items"]
    badges = page.locator("#list .badge > [aria-hidden]").all_text_contents()
    assert badges == [str(item["interest"]) for item in items]
    title_of = dict(zip(model.catalogue.item_ids, model.catalogue.titles, strict=True))
    why = page.locator("#list .because").all_text_contents()
    for item, shown in zip(items, why, strict=True):
        itself = item["because"] == item["item_id"]
        assert itself or shown.startswith(f"because of {title_of[item['because']]}")
        assert shown.endswith("in the history") == (item["item_id"] in history)
    shares = page.locator("#interests .share").all_text_contents()
    assert len(shares) == INTERESTS
    for k, share in enumerate(shares):
        count = badges.count(str(k))
        assert share == f"{round(100 * count / len(items))}% of the list ({count})"
        alone = recommended(client, history, weights=[float(one == k) for one in range(INTERESTS)])
        row = page.locator("#interests .cards").nth(k).locator(".name").all_text_contents()
        assert row[:N] == alone[: len(row)]
    # An item of the history feeds the interest that it is nearest to.
    (vectors,) = client.post("/v1/users/vectors", json={"histories": [history]}).json()["vectors"]
    known = model.catalogue.numbered(history).items
    scores = np.array(vectors) @ model.recommender.item_vectors()[known - 1].T
    seen = model.about["history_length"]
    fed = page.locator("#history .badge").all_text_contents()[:seen]  # the newest first
    assert [text[0] for text in fed] == [str(one) for one in scores.argmax(axis=0)[::-1][:seen]]
    # True interests stand beside the learned ones.
    own = client.get(f"/v1/page/users/{user}").json()["interests"]
    heads = page.locator("#truth-table thead .truth").all_text_contents()
    assert heads == [f"T{one}" for one in own]
    rows = page.locator("#truth-table tbody tr")
    assert rows.count() == INTERESTS + 2
    counts = [int(text) for text in rows.last.locator("td").all_text_contents()]
    assert sum(counts) == len(items)


@needs_browser
def test_page_steers_by_sliders_and_keeps_all_in_its_address(
    page: "Page", browser: "Browser", client: httpx.Client
) -> None:
    history = history_of(client, page.locator("#user").input_value())
    most = client.get("/v1/page").json()["most_diversity"]
    plain = listed(page)
    slide(page.locator("#diversity"), 3)
    slide(page.locator("#weight-0"), 0)
    page.locator("#seen").uncheck()
    settled(page)
    diversity = float(f"{3 * most / 50:.3g}")
    body = {"diversity": diversity, "weights": [0.0, 1.0], "filter_seen": True}
    steered = listed(page)
    assert steered == recommended(client, history, **body)
    assert steered != plain
    assert page.locator("#interests .interest.off").count() == 1
    page.locator("#copy").click()
    page.locator("#copy:has-text('Link copied')").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url

    with visiting(browser, client, color_scheme="dark") as other:
        other.goto(link)
        settled(other)
        assert listed(other) == steered
        assert other.locator("#diversity").input_value() == "3"
        assert other.locator("#weight-0").input_value() == "0"
        assert not other.locator("#seen").is_checked()
        other.locator("#reset").click()
        settled(other)
        assert listed(other) == plain
        slide(other.locator("#weight-0"), 0)
        slide(other.locator("#weight-1"), 0)
        settled(other)
        assert listed(other) == []
        assert "switch an interest on" in (other.locator("#about-list").text_content() or "")


@needs_browser
def test_page_builds_a_history_by_searching_titles(page: "Page", client: httpx.Client) -> None:
    page.locator("#clear").click()
    settled(page)
    assert "Popular items" in (page.locator("#list-title").text_content() or "")
    assert listed(page) == recommended(client, [])
    assert page.locator("#found").is_hidden()
    search = page.locator("#search")
    search.press_sequentially("film 1")
    options = page.locator("#search-options li")
    # 1, 10 to 19, 21 and 31.
    page.locator(".options-note:has-text('12 of 13')").wait_for()
    search.press("ArrowDown")
    assert search.get_attribute("aria-activedescendant") == "search-options-0"
    search.press("ArrowDown")
    search.press("Enter")
    search.press_sequentially("script")
    page.locator("#search-options li:has-text('script')").click()
    settled(page)
    chips = page.locator("#history .name")
    # A title is text, whatever is in it.
    assert chips.all_text_contents() == [SLY, "Film 10"]
    assert page.title() == "Reprise"
    assert page.locator("img").count() == 0
    assert listed(page) == recommended(client, ["i10", "i40"])
    page.locator("#list .add").first.click()
    settled(page)
    assert chips.count() == 3
    page.get_by_role("button", name="Remove Film 10", exact=True).first.click()
    settled(page)
    assert SLY in chips.all_text_contents()
    assert page.evaluate("document.activeElement.closest('#history') !== null")
    assert "item=i40" in page.url
    kept = chips.all_text_contents()
    page.reload()
    settled(page)
    assert chips.all_text_contents() == kept
    search.press_sequentially("film 1")
    options.first.wait_for()
    search.press("Escape")
    assert options.count() == 0


@needs_browser
def test_page_speaks_chinese_and_english(page: "Page") -> None:
    assert page.evaluate("document.documentElement.lang") == "en"
    page.locator("#language").click()
    page.locator("h1:has-text('兴趣')").wait_for()
    settled_zh = page.locator("#list-title:has-text('列表')")
    settled_zh.wait_for()
    text = page.locator("body").inner_text().replace("small_t", "")  # the run
    assert not re.search(r"\b[a-z]+_[a-z_]+\b|\{\w+\}", text)  # keys, fields
    assert page.url.endswith("lang=zh")
    page.locator("#language").click()
    page.locator("h1:has-text('Interests')").wait_for()


@needs_browser
def test_page_asks_for_the_token_of_a_server_that_has_one(
    browser: "Browser", model: ServedModel
) -> None:
    token = "of-the-shop-1234"
    with (
        serving(service_of(model), tokens=(token,)) as client,
        visiting(browser, client, errors=2) as page,  # the browser logs each 401
    ):
        page.goto(str(client.base_url))
        page.locator("#token").fill("wrong")
        with page.expect_response("**/v1/page"):
            page.locator("#token-form button").click()
        page.locator("#token").fill(token)
        page.locator("#token-form button").click()
        settled(page)
        assert len(listed(page)) == N
        assert page.locator("#token-form").is_hidden()
        assert token not in page.url


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_page_fits_its_width_and_can_be_read(
    browser: "Browser", client: httpx.Client, size: "ViewportSize", scheme: Any
) -> None:
    with visiting(browser, client, viewport=size, color_scheme=scheme) as page:
        page.goto(f"{client.base_url}#weights=1+0&item=i40&item=i1")
        settled(page)
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1]
        texts = "h1, h2, .faint, .badge, .name, .found, .truth, label, button, output, td, th"
        contrasts = page.locator(texts).evaluate_all(CONTRAST)
        assert len(contrasts) > 50
        assert min(contrasts)[0] >= 4.5, min(contrasts)
        # All that can be operated has a name.
        for one in page.locator("button, input, [role=combobox]").all():
            if one.is_visible():
                named = "(one) => one.ariaLabel || one.labels?.[0]?.textContent || one.textContent"
                assert one.evaluate(named).strip()


# The contrast of each visible element's text with what is behind it, as WCAG counts it.
CONTRAST = """(all) => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (colour, under) => {
    canvas.fillStyle = `rgb(${under.join(",")})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (parts) => {
    const [r, g, b] = parts.map((one) => {
      const c = one / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => one === null ? [255, 255, 255]
    : rgb(getComputedStyle(one).backgroundColor, behind(one.parentElement));
  return all.filter((one) => one.checkVisibility() && !one.closest(".off") && one.innerText.trim())
    .map((one) => {
      const under = behind(one);
      const [a, b] = [light(rgb(getComputedStyle(one).color, under)), light(under)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return [ratio, one.className + ": " + one.innerText];
    });
}"""


@needs_browser
def test_page_says_what_a_link_has_that_is_not_there(
    browser: "Browser", client: httpx.Client
) -> None:
    with visiting(browser, client) as page:
        page.goto(f"{client.base_url}#item=i1&item=none&weights=1+1+1+1")
        settled(page)
        assert "1 that the model does not know" in page.locator("#about-history").inner_text()
        assert listed(page) == recommended(client, ["i1"])
        assert "weights of 4 interests" in page.locator("#notice").inner_text()
        page.locator("#seen").click()
        settled(page)
        assert page.locator("#notice").is_hidden()
    with visiting(browser, client, errors=1) as page:  # the browser logs the 404
        page.goto(f"{client.base_url}#user=nobody")
        page.locator("#problem:has-text('nobody')").wait_for()
        page.locator("#user").click()
        page.locator("#user-options li").first.click()
        settled(page)
        assert len(listed(page)) == N


@needs_browser
@pytest.mark.long
def test_page_lists_what_the_server_recommends_whatever_is_clicked(
    browser: "Browser", client: httpx.Client
) -> None:
    rng = np.random.default_rng(11)
    with visiting(browser, client) as page:
        page.goto(str(client.base_url))
        settled(page)
        for _ in range(100):
            click_something(page, rng)
            settled(page)
            parts = parse_qs(urlsplit(page.url).fragment)
            history = parts.get("item", [])
            if "item" not in parts and "user" in parts:
                history = history_of(client, parts["user"][0])
            weights = [float(one) for one in parts.get("weights", ["1 1"])[0].split()]
            body = {
                "diversity": float(parts.get("diversity", ["0"])[0]),
                "weights": weights,
                "filter_seen": "seen" in parts,
            }
            if any(weights) or not history:
                body["weights"] = weights if any(weights) else None
                assert listed(page) == recommended(client, history, **body)
            else:
                assert listed(page) == []


def click_something(page: "Page", rng: np.random.Generator) -> None:
    """Do one thing that a person could do."""
    adds = page.locator("#list .add")
    removes = page.locator("#history button")
    match int(rng.integers(8)):
        case 0:
            page.locator("#next-user").click()
        case 1:
            slide(page.locator("#diversity"), int(rng.integers(8)))
        case 2 | 3:
            slide(page.locator(f"#weight-{rng.integers(INTERESTS)}"), int(rng.integers(12)))
        case 4:
            page.locator("#seen").click()
        case 5 if adds.count():
            adds.nth(int(rng.integers(adds.count()))).click()
        case 6 if removes.count():
            removes.nth(int(rng.integers(removes.count()))).click()
        case 7:
            page.locator("#clear" if removes.count() else "#reset").click()
        case _:
            page.locator("#language").click()


def test_page_view_gives_the_interest_that_each_item_feeds(
    client: httpx.Client, model: ServedModel
) -> None:
    rng = np.random.default_rng(5)
    lengths = (0, 1, 6, 2 * model.about["history_length"])
    histories = [[f"i{n}" for n in rng.integers(1, ITEMS + 1, length)] for length in lengths]
    asked = {"histories": histories, "explain": True}
    views = client.post("/v1/page/view", json={"request": asked}).json()["views"]
    vectors = client.post("/v1/users/vectors", json={"histories": histories}).json()["vectors"]
    items = model.recommender.item_vectors()
    for history, view, own in zip(histories, views, vectors, strict=True):
        assert [item["item_id"] for item in view["history"]] == history
        assert view["popular"] == (not history)
        unseen = max(0, len(history) - model.about["history_length"])
        fed = [item["interest"] for item in view["history"]]
        assert fed[:unseen] == [None] * unseen
        for item, interest in zip(history[unseen:], fed[unseen:], strict=True):
            scores = np.array(own) @ items[model.catalogue.number(item) - 1]
            assert scores[interest] == pytest.approx(scores.max())


def test_page_is_served_with_a_policy_that_lets_nothing_in_from_outside(
    client: httpx.Client,
) -> None:
    for path in ("/", "/page/main.js", "/page/page.css", "/page/icon.svg", "/page/words.zh.json"):
        answer = client.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        addresses = re.findall(r"\w+://[^\s\"']+", answer.text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}
    for path in ("/page/none.js", "/page/../routes.py", "/page/index.html"):
        assert client.get(path).status_code == 404


def test_page_finds_test_users(client: httpx.Client, dataset: Dataset) -> None:
    rows, _ = dataset.evaluated("test")
    raw_ids = dataset.raw_users("test").gather(rows).to_list()
    found = client.get("/v1/page/users").json()
    assert [one["user_id"] for one in found["users"]] == raw_ids[:20]
    assert found["matches"] == len(raw_ids)
    some = client.get("/v1/page/users", params={"query": "u1"}).json()
    assert [one["user_id"] for one in some["users"]] == [one for one in raw_ids if "u1" in one]
    after = client.get("/v1/page/next-user", params={"after": raw_ids[-1]}).json()
    assert after == {"user_id": raw_ids[0]}
    missing = client.get("/v1/page/users/nobody")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "user_unknown"
    body = {"request": {"histories": [["i1"]]}, "user": "nobody"}
    assert client.post("/v1/page/view", json=body).status_code == 404
    assert client.post("/v1/page/view", json={"request": {}}).status_code == 422


def test_page_does_without_the_data_set(run: Path, data: Path, tmp_path: Path) -> None:
    loader = Loader(run, "best", print, lambda name: tmp_path / name)
    with serving(service_of(loader.load(loader.find()))) as client:
        about = client.get("/v1/page").json()
        assert about["users"] is None
        assert "small" in about["users_missing"]
        assert client.get("/v1/page/users").json() == {"users": [], "matches": 0}
        assert client.get("/v1/page/next-user").status_code == 404
        (view,) = client.post(
            "/v1/page/view", json={"request": {"histories": [["i1", "i2"]], "n": 5}}
        ).json()["views"]
        assert len(view["items"]) == 5
        assert view["metrics"] is None
        assert "truth" not in json.dumps(view)
