"""Data sets by name: where files are looked for, and downloading, from a server on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.data import load, names, registry
from harness.data.graph import SPLITS
from harness.data.registry import SOURCES, Source, find, identify, search_path
from harness.errors import UserError

Write = Callable[..., Path]
IDS = {
    "train": ["0\t0\t10\t1990\t1991", "2\t1\t1\t1990\t1991"],
    "valid": ["3\t0\t4\t1990\t1991"],
    "test": ["5\t0\t6\t1990\t1991"],
}


def test_the_table_of_sources_is_whole() -> None:
    assert names() == ["lahman", "yago", "wiki", "icews14", "icews05-15"]
    for source in SOURCES.values():
        assert source.url.startswith("https://raw.githubusercontent.com/")
        assert "{split}" in source.url
        digests = source.sha256 | source.sorted_sha256
        assert set(digests) == set(SPLITS)
        assert all(len(digest) == 64 and int(digest, 16) for digest in digests.values())


# --- where files are looked for -------------------------------------------------------------------------------------


def test_places_in_their_order(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert find("wiki") is None
    (tmp_path / "shared/data").mkdir(parents=True)
    write("shared/data/wikidata12k")
    assert find("wiki") == Path("../shared/data/wikidata12k")
    (work / "data").mkdir()
    write("work/data/wiki")  # the data set's own name will do, too
    assert find("wiki") == Path("data/wiki")
    (tmp_path / "env").mkdir()
    configured = write("env/wikidata12k")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "env"))
    assert find("wiki") == configured
    (tmp_path / "option").mkdir()
    option = write("option/wikidata12k")
    assert find("wiki", tmp_path / "option") == option
    assert find("yago", tmp_path / "option") is None
    assert search_path() == [tmp_path / "env", Path("data"), Path("../shared/data")]
    assert search_path(tmp_path / "option") == [tmp_path / "option"]
    assert load("wiki", tmp_path / "option").name == "wiki"


# --- data are what they hold ------------------------------------------------------------------------------------------


def test_data_are_known_by_their_digest_wherever_they_lie(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    here, there, other = write("mine"), write("there/moved"), write("there/mine", test=["bob\tlives in\tRome\t1999"])
    (tmp_path / "link").symlink_to(here)
    name = load(str(here)).name
    monkeypatch.chdir(here)
    same = [load(path).name for path in (".", "../mine/", "../link")]
    assert same == [name] * 3
    assert name.startswith("mine@")
    label, digest = load(str(there)).name.split("@")
    assert (label, digest) == ("moved", name.split("@")[1])
    assert load(str(other)).name not in {name, load(str(there)).name}

    known = [name, load(str(other)).name, "wiki"]
    assert identify("../there/moved", known) == name
    assert identify(str(other), known) == known[1]
    assert identify("wiki", known) == "wiki"
    assert identify("mine", known[:1]) == name
    assert identify("lahman", known) == "lahman"
    with pytest.raises(UserError, match=r"data set 'mine': there are several of that name; give one of mine@"):
        identify("mine", known)

    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))  # as on another machine
    assert load(name).digest == load(".").digest
    with pytest.raises(UserError, match=r"data set 'mine@00000000': is in none of the usual places; give its folder"):
        load("mine@00000000")


def test_a_folder_with_the_files_of_a_public_data_set_is_that_one(cache: Path, write: Write) -> None:
    assert load(str(write("copied", **IDS))).name == "fake"
    assert load(str(write("other", **IDS | {"test": IDS["valid"]}))).name.startswith("other@")


# --- downloading ----------------------------------------------------------------------------------------------------


class Server:
    """A web server of a folder; ``asked`` lists the files that were asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: object) -> None:
                asked.append(self.path)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def public(write: Write) -> Path:
    """The folder that the server shows: ids without entities.tsv, as in the public repositories."""
    return write("public", **IDS)


@pytest.fixture
def server(public: Path) -> Iterator[Server]:
    running = Server(public)
    yield running
    running.stop()


@pytest.fixture
def cache(server: Server, public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set ``fake`` of that server, nowhere to be found locally; the folder that downloads go to."""
    sha256 = {split: hashlib.sha256((public / f"{split}.txt").read_bytes()).hexdigest() for split in SPLITS}
    source = Source("fake-folder", "fake", f"{server.url}/{{split}}.txt", sha256)
    monkeypatch.setitem(SOURCES, "fake", source)
    monkeypatch.setattr(registry.pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cache" / "tkg-distill-harness" / "fake-folder"


def test_files_are_downloaded_once(
    cache: Path, server: Server, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = load("fake")
    assert server.asked == ["/train.txt", "/valid.txt", "/test.txt"]
    assert f"downloading fake from {server.url}/*.txt to {cache}" in capsys.readouterr().err
    server.stop()
    again = load("fake")
    assert again.digest == graph.digest == load(str(write("local", **IDS))).digest
    assert capsys.readouterr().err == ""


def test_a_download_has_numbers_for_names(cache: Path) -> None:
    graph = load("fake")
    assert graph.entities.names == ("0", "1", "2", "3", "4", "5", "6", "10")
    assert set(graph.entities.labels) == set(graph.relations.labels) == {None}
    assert cache.is_dir()


def test_what_an_interrupted_download_left_out_is_fetched(cache: Path, server: Server) -> None:
    load("fake")
    server.asked.clear()
    (cache / "test.txt").unlink()
    load("fake")
    assert server.asked == ["/test.txt"]


def test_a_damaged_copy_is_fetched_again(cache: Path, server: Server) -> None:
    digest = load("fake").digest
    server.asked.clear()
    (cache / "valid.txt").write_text("9\t0\t9\t1990\t1991\n")
    assert load("fake").digest == digest
    assert server.asked == ["/valid.txt"]


def test_a_file_that_is_not_the_published_one_is_refused(cache: Path, public: Path) -> None:
    (public / "test.txt").write_text("9\t0\t9\t1990\t1991\n")
    with pytest.raises(
        UserError, match=r"download failed \(a file is not the published one: SHA256 hash of .*test.txt"
    ):
        load("fake")
    assert not (cache / "test.txt").exists()


def test_the_order_of_lines_may_differ_where_the_table_says_so(
    cache: Path, public: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = load("fake").digest
    fake = SOURCES["fake"]
    known = {split: fake.sha256[split] for split in ("valid", "test")}
    in_order = hashlib.sha256("".join(f"{line}\n" for line in sorted(IDS["train"])).encode()).hexdigest()
    monkeypatch.setitem(SOURCES, "fake", Source(fake.folder, "fake", fake.url, known, {"train": in_order}))
    (cache / "train.txt").unlink()
    (public / "train.txt").write_text("".join(f"{line}\n" for line in reversed(IDS["train"])))
    assert load("fake").digest == digest
    (cache / "train.txt").unlink()
    (public / "train.txt").write_text("9\t0\t9\t1990\t1991\n")
    with pytest.raises(UserError, match=r"the lines of .*train.txt are not those with the known SHA-256"):
        load("fake")
    assert not (cache / "train.txt").exists()


def test_a_file_that_is_gone(cache: Path, public: Path, server: Server) -> None:
    (public / "train.txt").unlink()
    with pytest.raises(UserError, match=r"download failed \(404 .*train.txt\)"):
        load("fake")


def test_offline_the_error_names_every_way_out(
    cache: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "env"))
    with pytest.raises(UserError) as caught:
        load("fake")
    message = str(caught.value)
    assert message == (
        f"data set 'fake': not found in {tmp_path}/env/fake-folder, data/fake-folder, ../shared/data/fake-folder, and "
        "the download failed (no connection); put its files into one of these folders, name the folder above it with "
        "--data-dir or HARNESS_DATA, or use the data set 'lahman', which needs no download"
    )
    with pytest.raises(UserError, match=rf"not found in {tmp_path}/option/fake-folder, and the download failed"):
        load("fake", tmp_path / "option")


def test_a_cache_that_cannot_be_written(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"download failed \(.*cache"):
        load("fake")


def test_local_files_are_not_downloaded(
    cache: Path, server: Server, write: Write, tmp_path: Path, lines: Mapping[str, list[str]]
) -> None:
    (tmp_path / "option").mkdir()
    write("option/fake-folder")
    assert len(load("fake", tmp_path / "option").train) == len(lines["train"])
    assert server.asked == []
    assert not cache.exists()
