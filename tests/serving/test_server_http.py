"""The server as its clients see it: answers, refusals in one form, tokens, the page of metrics."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from helpers.recommenders import SETTINGS
from helpers.servers import loader_of, service_of, serving
from reprise.runs.folder import RunFolder
from reprise.runs.stored import from_checkpoint
from reprise.serving.recommender import Recommender
from reprise.serving.server.direct import Direct
from reprise.serving.server.gate import Message, Receive, Scope, Send
from reprise.serving.server.model import ServedModel
from reprise.serving.server.schemas import bodies_of
from reprise.serving.server.service import Service

JSON = {"content-type": "application/json"}
TOKEN = "of-the-shop-1234"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def loaded(run: Path, **columns: pl.Series) -> ServedModel:
    """Load a run's model; its items have the numbers 1 to 40 for ids, and other columns."""
    loader = loader_of(run)
    stored = from_checkpoint(loader.find())
    numbers = pl.Series(map(str, range(1, 41)))
    vars(stored)["items"] = stored.items.with_columns(raw_id=numbers, **columns)
    return ServedModel(Recommender(stored), "best")


@pytest.fixture(scope="module")
def model(undisturbed: RunFolder) -> ServedModel:
    return loaded(undisturbed.path)


@pytest.fixture(scope="module")
def service(model: ServedModel) -> Service:
    return service_of(model, max_body=20_000, max_history=50, max_histories=8, max_n=30)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with serving(service) as client:
        yield client


def asked_at_random(rng: np.random.Generator, recommender: Recommender) -> dict[str, Any]:
    """Return the body of a request for recommendations."""
    ids = [*recommender.item_ids, "nobody's"]
    histories = [rng.choice(ids, rng.integers(0, 12)).tolist() for _ in range(rng.integers(1, 4))]
    changes: dict[str, Any] = {
        "n": int(rng.integers(1, 30)),
        "diversity": float(rng.random()),
        "exclude": rng.choice(ids, 3).tolist(),
        "allow": rng.choice(ids, 10).tolist(),
        "filter_seen": True,
        "weights": rng.random(recommender.model.num_interest).tolist(),
        "explain": True,
    }
    chosen = {name: value for name, value in changes.items() if rng.random() < 0.3}
    return {"histories": histories, **chosen}


def listed(frame: pl.DataFrame, histories: int) -> list[list[dict[str, Any]]]:
    """Return the rows of a frame of recommendations as the lists of an answer."""
    rows = frame.drop("history", "rank").to_dicts()
    return [
        [row for row, own in zip(rows, frame["history"], strict=True) if own == one]
        for one in range(histories)
    ]


def check_bitwise(recommender: Recommender, client: httpx.Client, count: int) -> None:
    """Compare the answers to random requests, of so many histories, that many clients send at once
    with what the recommender answers.
    """
    rng = np.random.default_rng(0)
    bodies: list[dict[str, Any]] = []
    while sum(len(body["histories"]) for body in bodies) < count:
        bodies.append(asked_at_random(rng, recommender))
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda body: client.post("/v1/recommend", json=body), bodies))
    known = set(recommender.item_ids)
    for body, answer in zip(bodies, answers, strict=True):
        assert answer.status_code == 200, answer.text
        checkpoint = recommender.stored.checkpoint.path.name
        assert answer.headers["reprise-checkpoint"] == checkpoint
        asked = {"n": 10, **body}
        frame = recommender.recommend(asked.pop("histories"), **asked)
        found = answer.json()["lists"]
        assert [one["items"] for one in found] == listed(frame, len(found))
        for one, history in zip(found, body["histories"], strict=True):
            assert one["unknown_items"] == sum(item not in known for item in history)
            assert one["popular"] == (one["unknown_items"] == len(history))


def test_server_answers_bitwise_what_the_recommender_does(
    model: ServedModel, service: Service, client: httpx.Client
) -> None:
    """Whatever requests share a batch."""
    check_bitwise(model.recommender, client, 100)
    size = [
        service.metrics.registry.get_sample_value(f"reprise_batch_size_{part}")
        for part in ("sum", "count")
    ]
    assert size[0] is not None
    assert size[1] is not None
    assert size[0] > size[1]  # some did


@pytest.mark.long
@pytest.mark.parametrize("name", SETTINGS)
def test_server_answers_bitwise_what_each_model_does(
    name: str, recommender: Callable[[str], Recommender]
) -> None:
    own = recommender(name)
    with serving(service_of(ServedModel(own, "latest"))) as client:
        check_bitwise(own, client, 1000)


def test_server_answers_directly_what_the_framework_does(
    model: ServedModel, client: httpx.Client
) -> None:
    """A type that only the framework takes for JSON leads past the direct way."""
    rng = np.random.default_rng(1)
    bodies: list[Any] = [asked_at_random(rng, model.recommender) for _ in range(20)]
    bodies += [{"histories": [[5, 7.0, None, True, "\ud800"]], "n": 3.0}, {"histories": []}]
    bodies += [{"histories": [["5"]], "times": [[3]], "request_time": "2001-01-01"}]
    bodies += [{"histories": [], "n": 31}, {"histories": [], "weights": [0, 0]}, None, {}]
    bodies += [b"{", b"", b'{"histories": [], "histories": [["5"]]}', b'{"histories": [[1e400]]}']
    for body in bodies:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        both = [
            client.post("/v1/recommend", content=sent, headers={"content-type": kind})
            for kind in ("application/json", "application/vnd.own+json")
        ]
        first, second = ((one.status_code, one.content, dict(one.headers)) for one in both)
        assert all(one.pop("date") for one in (first[2], second[2]))
        assert first == second


def test_server_takes_the_direct_way_for_what_is_valid(service: Service) -> None:
    given: list[tuple[str, bytes]] = []

    async def framework(scope: Scope, receive: Receive, send: Send) -> None:
        given.append((scope["path"], (await receive())["body"]))

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    bodies = bodies_of(service.limits, service.model.about["interests"])
    direct = Direct(framework, service, bodies.recommend)

    async def ask(path: str, body: bytes, *kinds: bytes) -> None:
        headers = [(b"content-type", kind) for kind in kinds]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await direct(scope, receive, send)

    async def run() -> None:
        valid, json_kind = b'{"histories": []}', b"application/json"
        await ask("/v1/recommend", valid, json_kind)
        assert not given
        assert sent[0]["status"] == 200
        await ask("/v1/recommend", b"{", json_kind)
        await ask("/v1/recommend", valid, json_kind, json_kind)
        await ask("/v1/recommend", valid, b"text/plain")
        await ask("/v1/users/vectors", valid, json_kind)

    asyncio.run(run())
    bodies_given = [b"{", *[b'{"histories": []}'] * 3]
    paths = [*["/v1/recommend"] * 3, "/v1/users/vectors"]
    assert given == list(zip(paths, bodies_given, strict=True))
    assert len(sent) == 2


def test_server_spells_ids_as_data_does(client: httpx.Client) -> None:
    spelled = [["5", "7", "31"], [5, 7, 31], [5.0, 7.0, 31.0], [" 5", 7.0, "31\n"]]
    lists = client.post("/v1/recommend", json={"histories": spelled}).json()["lists"]
    assert all(one == lists[0] for one in lists)
    assert lists[0]["unknown_items"] == 0
    three = client.post("/v1/recommend", json={"histories": spelled, "n": 3.0}).json()["lists"]
    assert [one["items"] for one in three] == [one["items"][:3] for one in lists]
    strange = [None, True, 5.5, 10**400, "", "5.0", "\ud800"]
    (answer,) = client.post(
        "/v1/recommend", content=json.dumps({"histories": [strange]}), headers=JSON
    ).json()["lists"]
    assert answer["unknown_items"] == len(strange)


def test_server_returns_the_vectors_of_the_recommender(
    model: ServedModel, client: httpx.Client
) -> None:
    histories = [["5", "7"], [], ["nobody's"], ["1"] * 20]
    answer = client.post("/v1/users/vectors", json={"histories": histories}).json()["vectors"]
    expected = model.recommender.user_vectors(histories)
    assert np.array_equal(np.array(answer, np.float32), expected)
    assert client.post("/v1/users/vectors", json={"histories": []}).json() == {"vectors": []}


def test_server_returns_similar_items(model: ServedModel, client: httpx.Client) -> None:
    answer = client.get("/v1/items/5/similar", params={"n": 7}).json()
    frame = model.recommender.similar_items("5", n=7)
    assert answer["items"] == frame.drop("rank").to_dicts()
    missing = client.get("/v1/items/a%2Fb/similar")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "item_unknown")
    assert "'a/b'" in missing.json()["error"]["message"]


def test_server_finds_items_by_title_and_id(undisturbed: RunFolder) -> None:
    titles = [None, "The Blue Train", "blue", "A train in Blue", "TRAIN", "5", *[None] * 34]
    own = loaded(undisturbed.path, title=pl.Series(titles))

    def found(text: str, n: int = 10) -> tuple[list[str], int]:
        (answer,) = own.titles([(text, n)])
        return [item["item_id"] for item in answer["items"]], answer["matches"]

    assert found("blue TRAIN") == (["2", "4"], 2)
    assert found("blue") == (["2", "3", "4"], 3)
    assert found("blue", 2) == (["2", "3"], 3)
    assert found("5") == (["5", "6"], 2)  # the item with this id first
    assert found("b.ue") == ([], 0)


def test_server_finds_items_without_titles_by_id(client: httpx.Client) -> None:
    answer = client.get("/v1/items", params={"query": "5", "n": 3}).json()
    assert answer["matches"] == 4
    assert [item["item_id"] for item in answer["items"]] == ["5", "15", "25"]


def test_server_says_what_it_serves(model: ServedModel, client: httpx.Client) -> None:
    about = client.get("/v1/model").json()
    assert about["checkpoint"] == model.checkpoint.path.name
    assert (about["items"], about["interests"], about["dim"]) == (40, 2, 8)
    assert about["limits"]["max_n"] == 30


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"{", 400, "bad_json", "character 1"),
        (b"[" * 100_00, 400, "bad_json", ""),
        (b'{"histories": [[' + b"9" * 5000 + b"]]}", 400, "bad_json", ""),
        (b"\xff\xfe", 400, "bad_json", ""),
        ([], 422, "field_bad", "the body: expected a JSON object"),
        (None, 422, "field_bad", "the body: expected a JSON object"),
        ({}, 422, "field_missing", "histories"),
        ({"histories": None}, 422, "field_bad", "histories: expected a list of histories"),
        ({"histories": "57"}, 422, "field_bad", "histories: expected a list of histories"),
        ({"histories": ["57"]}, 422, "field_bad", "histories[0]: expected a history"),
        ({"histories": [[], [1, {}]]}, 422, "field_bad", "histories[1][1]: expected an item id"),
        (b'{"histories": [[NaN]]}', 422, "field_bad", "histories[0][0]: expected an item id"),
        ({"histories": [[]] * 9}, 422, "too_many_histories", "9 histories, more than 8"),
        ({"histories": [[], [1] * 51]}, 422, "history_too_long", "histories[1] has 51 items"),
        ({"histories": [], "n": 0}, 422, "field_bad", "n: expected a whole number from 1 to 30"),
        ({"histories": [], "n": 31}, 422, "field_bad", "from 1 to 30"),
        ({"histories": [], "n": "3"}, 422, "field_bad", "from 1 to 30"),
        ({"histories": [], "n": 10**400}, 422, "field_bad", "from 1 to 30"),
        ({"histories": [], "diversity": -1}, 422, "field_bad", "diversity: expected a number"),
        (b'{"histories": [], "diversity": NaN}', 422, "field_bad", "diversity"),
        (b'{"histories": [], "diversity": 1e999}', 422, "field_bad", "diversity"),
        ({"histories": [], "weights": [1]}, 422, "field_bad", "each of the 2 interests"),
        (b'{"histories": [], "weights": [1, NaN]}', 422, "field_bad", "weights[1]: expected"),
        ({"histories": [], "weights": [1, -1]}, 422, "field_bad", "weights[1]: expected"),
        ({"histories": [], "weights": [0, 0]}, 422, "bad_value", "not all 0"),
        ({"histories": [], "filter_seen": 1}, 422, "field_bad", "filter_seen: expected true"),
        ({"histories": [], "allow": 5}, 422, "field_bad", "allow: expected a list of item ids"),
        ({"histories": [], "exclude": [[]]}, 422, "field_bad", "exclude[0]: expected an item"),
        ({"histories": [], "categories": ["no"]}, 404, "category_unknown", "'no'"),
        ({"histories": [], "filterseen": 1}, 422, "field_unknown", "mean 'filter_seen'?"),
        (b'{"histories": [' + b" " * 20_000 + b"]}", 413, "body_too_large", "20,000 bytes"),
    ],
)
def test_server_refuses_in_a_sentence(
    body: Any, status: int, code: str, said: str, client: httpx.Client
) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post("/v1/recommend", content=sent, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["code"] == code
    assert said in error["message"]
    assert error["message"].endswith((".", "?"))


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "no_such_path"),
        ("GET", "/v1/recommend", 405, "no_such_method"),
        ("GET", "/v1/items", 422, "field_missing"),
        ("GET", "/v1/items?query=", 422, "field_bad"),
        ("GET", "/v1/items?query=a&n=x", 422, "field_bad"),
        ("GET", "/v1/items/5/similar?n=31", 422, "field_bad"),
        ("POST", "/v1/recommend", 422, "field_missing"),
    ],
)
def test_server_has_one_form_of_errors(
    method: str, path: str, status: int, code: str, client: httpx.Client
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_server_reads_json_only(client: httpx.Client) -> None:
    """A page of another site cannot ask: a browser sends JSON there only if it may."""
    sent = {"content": b'{"histories": []}', "headers": {"content-type": "text/plain"}}
    answer = client.post("/v1/recommend", **sent)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "field_bad")


def test_server_counts_what_it_answers(model: ServedModel) -> None:
    with serving(service_of(model)) as client:
        client.post("/v1/recommend", json={"histories": [["5", "no"], ["no"], []]})
        client.get("/nowhere")
        lines = client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    expected = {
        "reprise_histories_total": 3,
        "reprise_histories_empty_total": 2,
        "reprise_history_items_total": 3,
        "reprise_history_items_unknown_total": 2,
        "reprise_batch_size_sum": 3,
        "reprise_queue": 0,
        'reprise_requests_total{route="/v1/recommend",status="200"}': 1,
        'reprise_requests_total{route="other",status="404"}': 1,
        "reprise_model_step": model.about["step"],
    }
    assert {name: float(values[name]) for name in expected} == expected
    assert float(values["reprise_model_age_seconds"]) > 0


def test_server_asks_for_a_token(model: ServedModel) -> None:
    with serving(service_of(model), tokens=(TOKEN,)) as client:
        shown = {"authorization": f"Bearer {TOKEN}"}
        for path in ("/v1/model", "/metrics", "/openapi.json"):
            refused = client.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "no_token")
            assert refused.headers["www-authenticate"] == "Bearer"
            assert client.get(path, headers=shown).status_code == 200
        for path in ("/healthz", "/readyz"):
            assert client.get(path).json() == {"status": "ok"}
        stated = client.get("/openapi.json", headers=shown).json()
    assert stated["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


def test_server_refuses_the_names_of_others(model: ServedModel) -> None:
    with serving(service_of(model), local_only=True) as client:
        assert client.get("/v1/model").status_code == 200
        refused = client.get("/v1/model", headers={"host": "evil.example"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (421, "other_host")


def test_server_is_not_held_up_by_clients_that_go_or_send_slowly(client: httpx.Client) -> None:
    """Half a request, one half closed, one that never reads: the next client is answered."""
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = b'{"histories": [["5", "7"]], "n": 30}'
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    port = client.base_url.port
    opened = []
    for sent, half in [(head, False), (whole[:-5], False), (whole[:-5], True), (whole, True)]:
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=30))
        opened[-1].sendall(sent)
        if half:
            opened[-1].shutdown(socket.SHUT_WR)
    assert client.post("/v1/recommend", json={"histories": [["5"]]}).status_code == 200
    for one in opened:
        one.close()


def test_server_answers_before_it_has_read_a_body_of_100_mb(client: httpx.Client) -> None:
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=30) as opened:
        opened.sendall(head + b"Content-Length: 100000000\r\n\r\n" + b" " * 1000)
        answer = opened.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer
