"""`reprise data get` and a local server: resuming, checksums, licences, files placed by hand."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reprise.cli.main import cli
from reprise.data import download, known
from reprise.data.download import SUMS
from reprise.data.known import KNOWN, UNPACKED, KnownSet, RemoteFile
from reprise.errors import DataError, RepriseError, UsageError

RATINGS = b"".join(
    b"%d::%d::5::%d\n" % (user, item, 5 * user + item) for user in range(1, 41) for item in range(9)
)


def zipped(**entries: bytes) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"tiny/{name}.dat", content)
    return packed.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `content`; breaks off the answers after so many bytes that `cuts` lists."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.version = "1"
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.content.get(self.path.strip("/"))
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if content is None:
            return self.send_error(404)
        tag = f'"{self.server.version}"'
        start = 0
        if asked and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.wfile.write(content[start : start + end])
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny(server: Server, monkeypatch: pytest.MonkeyPatch) -> KnownSet:
    """A set of one archive, with its checksum."""
    server.content["tiny.zip"] = zipped(ratings=RATINGS)
    checksum = f"md5:{hashlib.md5(server.content['tiny.zip']).hexdigest()}"
    file = RemoteFile("tiny.zip", f"{server.url}/tiny.zip", checksum)
    made = KnownSet("tiny", "http://owner", "licence_movielens", (file,), f"{UNPACKED}/tiny")
    monkeypatch.setitem(KNOWN, "tiny", made)
    return made


def get(folder: Path, *options: str, name: str = "tiny", agreed: bool = True) -> Result:
    agree = ["--accept-licence"] if agreed else []
    given = ["data", "get", name, "--data-dir", str(folder), "--lang", "en"]
    return CliRunner().invoke(cli, [*given, *agree, *options])


def refusal(result: Result) -> RepriseError:
    assert isinstance(result.exception, RepriseError), result.exception
    return result.exception


def test_data_get_downloads_a_set_and_prints_a_command_that_works(
    tmp_path: Path, server: Server, tiny: KnownSet
) -> None:
    done = get(tmp_path)
    assert done.exit_code == 0, done.exception
    assert "tiny belongs to GroupLens" in done.output
    assert "http://owner" in done.output
    command = done.output.splitlines()[-1].split()
    assert command[:2] == ["reprise", "prepare"]
    prepared = CliRunner().invoke(cli, command[1:])
    assert "Prepared tiny: 40 users, 9 items, 360 interactions" in prepared.output
    assert get(tmp_path).exit_code == 0
    assert len(server.ranges) == 1  # it is there: not fetched again


def test_data_get_resumes_an_interrupted_download(
    tmp_path: Path, server: Server, tiny: KnownSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK", 10)  # what is read at once, and lost by a cut
    server.cuts = [100, 50]
    for _ in range(2):
        error = refusal(get(tmp_path))
        assert error.key == "get_failed"
        assert f"run: reprise data get tiny --data-dir {tmp_path}" in str(error)
        assert not (tmp_path / "raw" / "tiny" / "tiny.zip").exists()
    assert get(tmp_path).exit_code == 0
    assert server.ranges == [None, "bytes=100-", "bytes=150-"]
    names = {path.name for path in (tmp_path / "raw" / "tiny").iterdir()}
    assert names == {"tiny.zip", UNPACKED}
    assert (tmp_path / "raw" / "tiny" / tiny.source / "ratings.dat").read_bytes() == RATINGS


def test_data_get_restarts_if_the_file_changed_meanwhile(
    tmp_path: Path, server: Server, tiny: KnownSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK", 10)
    server.cuts = [100]
    whole = server.content["tiny.zip"]
    server.content["tiny.zip"] = zipped(ratings=b"other\n" * 100)
    refusal(get(tmp_path))
    server.content["tiny.zip"], server.version = whole, "2"
    assert get(tmp_path).exit_code == 0
    assert server.ranges == [None, "bytes=100-"]


def test_data_get_refuses_a_file_with_another_checksum(
    tmp_path: Path, server: Server, tiny: KnownSet
) -> None:
    server.content["tiny.zip"] = zipped(ratings=b"other")
    error = refusal(get(tmp_path))
    assert error.key == "get_differs"
    assert list((tmp_path / "raw" / "tiny").iterdir()) == []
    path = tmp_path / "raw" / "tiny" / "tiny.zip"
    path.write_bytes(b"put there by hand")
    assert refusal(get(tmp_path)).key == "get_differs"
    assert path.read_bytes() == b"put there by hand"  # the user's to remove


def test_data_get_records_the_first_checksum_if_none_is_published(
    tmp_path: Path, server: Server, tiny: KnownSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = RemoteFile("tiny.zip", f"{server.url}/tiny.zip")
    both = (bare, RemoteFile("more.json", f"{server.url}/more.json"))
    server.content["more.json"] = b"{}"
    monkeypatch.setitem(KNOWN, "tiny", KnownSet("tiny", "", "licence_amazon", both, tiny.source))
    done = get(tmp_path)
    assert "The publisher gives no checksums" in done.output
    folder = tmp_path / "raw" / "tiny"
    digests = [
        hashlib.sha256(server.content[name]).hexdigest() for name in ("tiny.zip", "more.json")
    ]
    assert (folder / SUMS).read_text() == f"{digests[0]}  tiny.zip\n{digests[1]}  more.json\n"
    (folder / "more.json").write_bytes(b"[]")
    error = refusal(get(tmp_path))
    assert error.key == "get_changed"
    assert digests[1] in str(error)
    assert str(folder / SUMS) in str(error)


def test_data_get_uses_a_file_placed_by_hand(
    tmp_path: Path, server: Server, tiny: KnownSet
) -> None:
    folder = tmp_path / "raw" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.zip").write_bytes(server.content["tiny.zip"])
    server.content.clear()
    assert get(tmp_path).exit_code == 0
    assert server.ranges == []


def test_data_get_without_a_network_states_which_file_to_put_where(
    tmp_path: Path, server: Server, tiny: KnownSet
) -> None:
    for options in ((), ("--mirror", "http://127.0.0.1:9")):  # not found; nobody listens
        server.content.clear()
        error = refusal(get(tmp_path, *options))
        assert error.exit_code == DataError.exit_code
        assert str(tmp_path / "raw" / "tiny" / "tiny.zip") in str(error)
        assert "reprise data get tiny" in str(error)
    error = refusal(get(tmp_path, name="taobao"))
    assert error.key == "get_by_hand"
    assert "https://tianchi.aliyun.com/dataset/649" in str(error)
    assert str(tmp_path / "raw" / "taobao" / "UserBehavior.csv.zip") in str(error)


def test_data_get_takes_the_published_file_from_a_mirror(
    tmp_path: Path, server: Server, tiny: KnownSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RemoteFile("tiny.zip", "http://127.0.0.1:9/tiny.zip", tiny.files[0].checksum)
    monkeypatch.setitem(KNOWN, "tiny", KnownSet("tiny", "", "licence_amazon", (file,), tiny.source))
    assert get(tmp_path, "--mirror", f"{server.url}/").exit_code == 0


@pytest.fixture
def by_hand(tiny: KnownSet, monkeypatch: pytest.MonkeyPatch) -> KnownSet:
    """The set as one that its owner hands out by himself, without a checksum."""
    made = replace(tiny, files=(RemoteFile("tiny.zip", None),))
    monkeypatch.setitem(KNOWN, "tiny", made)
    return made


@pytest.mark.parametrize("kept", [0, 300, -30])
def test_data_get_leaves_nothing_of_a_broken_archive_nor_its_checksum(
    kept: int, tmp_path: Path, server: Server, by_hand: KnownSet
) -> None:
    whole = server.content["tiny.zip"]
    folder = tmp_path / "raw" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.zip").write_bytes(whole[:kept])
    error = refusal(get(tmp_path))
    assert error.key == "get_broken"
    assert str(folder / "tiny.zip") in str(error)
    assert str(error).endswith("download it again: http://owner")
    assert [path.name for path in folder.iterdir()] == ["tiny.zip"]
    (folder / "tiny.zip").write_bytes(whole)
    assert get(tmp_path).exit_code == 0


def test_data_get_reports_a_damaged_compressed_entry(tmp_path: Path, by_hand: KnownSet) -> None:
    folder = tmp_path / "raw" / "tiny"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "tiny.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/ratings.dat", RATINGS)
    content = bytearray((folder / "tiny.zip").read_bytes())
    content[60:80] = b"\xff" * 20
    (folder / "tiny.zip").write_bytes(content)
    assert refusal(get(tmp_path)).key == "get_broken"


def test_data_get_names_the_page_if_a_file_placed_by_hand_changed(
    tmp_path: Path, server: Server, by_hand: KnownSet
) -> None:
    folder = tmp_path / "raw" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.zip").write_bytes(server.content["tiny.zip"])
    assert get(tmp_path).exit_code == 0
    (folder / "tiny.zip").write_bytes(zipped(ratings=b"other"))
    error = refusal(get(tmp_path))
    assert error.key == "get_changed"
    assert "http://owner" in str(error)
    assert "None" not in str(error)


@pytest.mark.parametrize("torn", [b"0123abc", b"\n", b"0123abc  tin", b"one two three\n\xff"])
def test_data_get_ignores_a_torn_line_of_recorded_checksums(
    torn: bytes, tmp_path: Path, server: Server, by_hand: KnownSet
) -> None:
    folder = tmp_path / "raw" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.zip").write_bytes(server.content["tiny.zip"])
    line = f"{'0' * 64}  other.zip\n".encode()
    (folder / SUMS).write_bytes(line + torn)
    assert get(tmp_path).exit_code == 0
    digest = hashlib.sha256(server.content["tiny.zip"]).hexdigest()
    assert (folder / SUMS).read_bytes() == line + f"{digest}  tiny.zip\n".encode()


def test_data_get_requires_accepting_the_licence(
    tmp_path: Path, server: Server, tiny: KnownSet
) -> None:
    done = get(tmp_path, agreed=False)
    error = refusal(done)
    assert isinstance(error, UsageError)
    assert error.key == "licence_unaccepted"
    assert "tiny belongs to GroupLens" in done.output  # shown before
    assert server.ranges == []
    assert not (tmp_path / "raw").exists()


def test_data_get_suggests_a_name_for_an_unknown_set(tmp_path: Path) -> None:
    error = refusal(get(tmp_path, name="ml-1n"))
    assert "Did you mean 'ml-1m'?" in str(error)


@pytest.mark.parametrize("name", known.KNOWN)
def test_known_sets_are_complete(name: str) -> None:
    """It has a page, its files' addresses are the owner's, over TLS, its name is in the help."""
    one = known.KNOWN[name]
    assert one.name == name
    assert one.page.startswith("https://")
    for file in one.files:
        assert file.url is None or (
            file.url.startswith("https://") and file.url.endswith(file.name)
        )
        assert file.checksum is None or len(file.checksum) == len("md5:") + 32
    help_text = CliRunner().invoke(cli, ["data", "get", "--help"]).output
    assert name in help_text
