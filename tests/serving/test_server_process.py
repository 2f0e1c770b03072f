"""`reprise serve` as a process: what it refuses to start with, SIGTERM, and being killed."""

import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from helpers.commands import check_refusal, reprise
from helpers.servers import serving_process
from reprise.runs.folder import RunFolder

BODY = b'{"histories": [["i5", "i7"]], "n": 3}'
HEAD = (
    b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "--token-file FILE, or say --no-token"),
        (["--host", "::"], 2, "--token-file"),
        (["--token-file", "FILE", "--no-token"], 2, "only one"),
        (["--token-file", "missing"], 3, "missing"),
        (["--host", "256.1.2.3", "--no-token"], 2, "Cannot listen on 256.1.2.3 port 8000"),
        (["--queue", "9", "--max-histories", "10"], 2, "--queue 9"),
        (["--port", "65536"], 2, "65536"),
        (["--timeout", "nan"], 2, "nan"),
    ],
)
def test_serve_refuses_before_it_loads(
    words: list[str], code: int, said: str, undisturbed: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("t" * 20)
    given = [str(tmp_path / "tokens") if word == "FILE" else word for word in words]
    check_refusal(reprise("serve", undisturbed.path, *given), code, said)


def test_serve_refuses_what_it_cannot_serve(undisturbed: RunFolder, tmp_path: Path) -> None:
    check_refusal(reprise("serve", tmp_path / "none", "--port", 0), 6, "No run at")
    (checkpoint, *_) = sorted(undisturbed.checkpoints.glob("ckpt-*"))
    check_refusal(reprise("serve", checkpoint, "--watch", "--port", 0), 2, "--watch follows a run")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = reprise("serve", undisturbed.path, "--port", port)
        check_refusal(done, 2, f"Cannot listen on 127.0.0.1 port {port}")


def test_serve_answers_what_has_begun_at_sigterm_and_exits_with_0(undisturbed: RunFolder) -> None:
    with serving_process(undisturbed.path) as (process, url):
        port = httpx.URL(url).port
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as begun,
            socket.create_connection(("127.0.0.1", port), timeout=60) as idle,
        ):
            begun.sendall(HEAD + BODY[:5])
            assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}  # the head has come
            process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""  # unused connections are closed
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=60)
            begun.sendall(BODY[5:])
            answer = begun.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "all requests that had begun are answered" in process.stderr.read()


def test_serve_is_back_on_its_port_after_it_was_killed(undisturbed: RunFolder) -> None:
    with serving_process(undisturbed.path) as (process, url):
        port = httpx.URL(url).port
        with socket.create_connection(("127.0.0.1", port), timeout=60) as begun:
            begun.sendall(HEAD + BODY[:5])
            process.kill()
            process.wait()
            began = time.monotonic()
            with serving_process(undisturbed.path, "--port", port) as (_, again):
                assert again == url
                answer = httpx.post(f"{url}/v1/recommend", json={"histories": [["i5"]]})
                assert answer.status_code == 200
                assert time.monotonic() - began < 60
