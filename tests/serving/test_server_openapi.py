"""The server keeps to its OpenAPI document whatever it is sent: what schemathesis finds."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from helpers.servers import loader_of, service_of, serving
from reprise.runs.folder import RunFolder

TOKEN = "of-the-shop-1234"


@pytest.fixture(scope="module")
def client(undisturbed: RunFolder) -> Iterator[httpx.Client]:
    loader = loader_of(undisturbed.path)
    service = service_of(loader.load(loader.find()), max_history=20, max_n=50)
    with serving(service, (TOKEN,)) as client:
        yield client


@pytest.mark.parametrize("examples", [5, pytest.param(500, marks=pytest.mark.long)])
def test_server_keeps_to_its_openapi_document(
    client: httpx.Client, examples: int, tmp_path: Path
) -> None:
    """No answer is a 5xx; status, headers and content are as the document says; what it forbids is
    refused, what it allows is answered; without a token nothing is.
    """
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "run", f"{client.base_url}/openapi.json"),
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
