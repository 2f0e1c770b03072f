"""The server keeps to its OpenAPI document whatever it is sent: what schemathesis finds."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from helpers.servers import loader_of, service_of, serving
from reprise.runs.folder import RunFolder

TOKEN = "of-the-shop-1234"
BODIES = ("Recommend", "Histories")  # of the document that have times


@pytest.fixture(scope="module")
def client(undisturbed: RunFolder) -> Iterator[httpx.Client]:
    loader = loader_of(undisturbed.path)
    service = service_of(loader.load(loader.find()), max_history=20, max_n=50)
    with serving(service, (TOKEN,)) as client:
        yield client


# What schemas cannot say: there are as many times as items, in order, by a clock.
UNSAID = ("times", "request_time")


@pytest.mark.parametrize(
    ("examples", "with_times"),
    [
        (5, False),
        pytest.param(500, False, marks=pytest.mark.long),
        pytest.param(500, True, marks=pytest.mark.long),
    ],
)
def test_server_keeps_to_its_openapi_document(
    client: httpx.Client, examples: int, with_times: bool, tmp_path: Path
) -> None:
    """No answer is a 5xx; status, headers and content are as the document says; what it forbids is
    refused, what it allows is answered (but for some times); without a token nothing is.
    """
    told = client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    document = told.json()
    bodies = [document["components"]["schemas"][name]["properties"] for name in BODIES]
    for properties in bodies:
        for name in UNSAID:
            assert name in properties
            if not with_times:
                del properties[name]
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    some = ("--exclude-checks", "positive_data_acceptance") if with_times else ()
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "run", tmp_path / "openapi.json"),
            *("--url", str(client.base_url), *some),
            *("--header", f"Authorization: Bearer {TOKEN}", "--no-color"),
            *("--max-examples", str(examples), "--seed", "1", "--continue-on-failure"),
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=3000,
        cwd=tmp_path,  # it keeps what it finds there
    )
    assert done.returncode == 0, done.stdout
    assert "8/8" in done.stdout
    assert client.get("/readyz").status_code == 200
