"""smartremote for fsspec, and so for pandas and pyarrow: read-only, through our blocks, at the cost of what is read."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smartremote_cli import RemoteFile
from tests.support import faults
from tests.support.requests import blocks_sent
from tests.support.server import Resource, Server, pattern, unused_port
from tests.support.threads import in_threads

fsspec = pytest.importorskip("fsspec", reason="FSSPEC IS MISSING: pip install smartremote-cli[fsspec]")

from fsspec.tests import abstract  # noqa: E402

from smartremote_cli.library import filesystem  # noqa: E402

MIB = 1 << 20
SIZE = 5 * MIB + 12_345
DATA = pattern(SIZE)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(DATA) as server:
        yield server


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[Any]:
    yield fsspec.filesystem("smartremote", tmp_dir=str(tmp_path / "cache"))
    filesystem.close_managers()
    filesystem.SmartRemoteFileSystem.clear_instance_cache()


def test_a_chained_url_is_opened(server: Server, fs: Any, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="AIOHTTP IS MISSING: fsspec looks for its own http first")
    for url in (f"smartremote::{server.url()}", f"smartremote://{server.url()}"):
        with fsspec.open(url, tmp_dir=str(tmp_path / "cache")) as f:
            assert isinstance(f, RemoteFile)
            f.seek(MIB)
            assert f.read(10) == DATA[MIB : MIB + 10]
    assert set(blocks_sent(server)) == {
        0,
        MIB // (64 * 1024),
    }  # the first block says at `open` that it is there


def test_text_and_compression_go_on_top(server: Server, fs: Any) -> None:
    import gzip

    server.resources = {
        "/a.txt": Resource("äöü\nzwei\n".encode()),
        "/a.gz": Resource(gzip.compress(b"packed")),
    }
    with fs.open(server.url("/a.txt"), "r", encoding="utf-8") as f:
        assert list(f) == ["äöü\n", "zwei\n"]
    with fs.open(server.url("/a.gz")) as packed, gzip.open(packed) as f:
        assert f.read() == b"packed"
    with fsspec.core.OpenFile(fs, server.url("/a.gz"), compression="gzip") as f:
        assert f.read() == b"packed"


def test_parts_are_read_and_cost_their_blocks(server: Server, fs: Any) -> None:
    url = server.url()
    assert fs.cat_file(url, 100, 200) == DATA[100:200]
    assert fs.cat_file(url, -100) == DATA[-100:]
    assert fs.cat_file(url, MIB, -SIZE + MIB + 5) == DATA[MIB : MIB + 5]
    assert fs.cat_ranges([url, url], [0, 2 * MIB], [10, 2 * MIB + 10]) == [
        DATA[:10],
        DATA[2 * MIB : 2 * MIB + 10],
    ]
    assert fs.read_block(url, 3 * MIB, 10) == DATA[3 * MIB : 3 * MIB + 10]
    assert fs.head(url, 5) == DATA[:5] and fs.tail(url, 5) == DATA[-5:]
    assert server.body_bytes < 10 * 65_536
    assert fs.cat(url) == DATA
    assert fs.cat([url, url + "?"]) == {url: DATA, url + "?": DATA}


def test_what_is_known_of_a_file(server: Server, fs: Any) -> None:
    url = server.url()
    assert fs.info(url) == {"name": url, "size": SIZE, "type": "file"}
    assert fs.size(url) == SIZE and fs.du(url) == SIZE
    assert fs.exists(url) and fs.isfile(url) and not fs.isdir(url)
    assert fs.ls(url, detail=False) == fs.glob(url) == [url]
    assert not fs.exists(server.url("/missing")) and not fs.isfile(server.url("/missing"))
    with pytest.raises(FileNotFoundError):
        fs.info(server.url("/missing"))
    with pytest.raises(FileNotFoundError):
        fs.cat_file(server.url("/missing"))
    with pytest.raises(ConnectionError):
        fs.exists(f"http://127.0.0.1:{unused_port()}/")


def test_nothing_can_be_written(server: Server, fs: Any) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: fs.open(server.url(), "wb"),
        lambda: fs.open(server.url(), "ab"),
        lambda: fs.pipe_file(server.url(), b"x"),
        lambda: fs.rm_file(server.url()),
        lambda: fs.touch(server.url()),
    ]
    for attempt in attempts:
        with pytest.raises(NotImplementedError):
            attempt()
    assert not server.requests


def test_a_changed_resource_is_read_anew(server: Server, fs: Any) -> None:
    assert fs.cat_file(server.url(), 0, 10) == DATA[:10]
    server.resources["/file.bin"] = Resource(pattern(SIZE, seed=1), etag='"two"')
    assert fs.cat_file(server.url(), 0, 10) == pattern(10, seed=1)


def test_file_systems_of_all_threads_share_their_connections(server: Server, fs: Any, tmp_path: Path) -> None:
    def work() -> object:
        return fsspec.filesystem("smartremote", tmp_dir=str(tmp_path / "cache")).manager

    assert len({id(manager) for manager in in_threads(*[work] * 4)}) == 1


def test_it_travels_to_another_process(server: Server, fs: Any) -> None:
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file(server.url(), 0, 10) == DATA[:10]
    opened = pickle.loads(pickle.dumps(fsspec.core.OpenFile(fs, server.url())))
    with opened as f:
        assert f.read(10) == DATA[:10]


def test_headers_and_user_are_sent(server: Server, fs: Any, tmp_path: Path) -> None:
    server.faults.append(faults.authenticate("me:pw"))
    with pytest.raises(PermissionError):
        fs.info(server.url())
    known = fsspec.filesystem(
        "smartremote", tmp_dir=str(tmp_path / "x"), user=("me", "pw"), headers={"X-Key": "yes"}
    )
    assert known.size(server.url()) == SIZE
    assert server.requests[-1].header("X-Key") == "yes"


def test_the_package_does_not_need_fsspec() -> None:
    code = (
        "import sys, smartremote_cli as s; s.DownloadManager, s.RemoteFile; from smartremote_cli import cli; "
        "sys.exit('fsspec' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


# --- fsspec's own tests, as far as they apply ---


class Fixtures(abstract.AbstractFixtures):
    """Their scenarios, on a server instead of in a file system that can be written to."""

    @pytest.fixture
    def fs(self, tmp_path: Path) -> Iterator[Any]:
        yield fsspec.filesystem("smartremote", tmp_dir=str(tmp_path / "cache"))
        filesystem.close_managers()
        filesystem.SmartRemoteFileSystem.clear_instance_cache()

    @pytest.fixture
    def fs_path(self, server: Server) -> str:
        return server.url("")

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, server: Server) -> str:
        for name in ("file1", "file2", "subdir/subfile1", "subdir/subfile2"):
            server.resources[f"/source/{name}"] = Resource(b"")
        return server.url("/source")

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, server: Server) -> str:
        from hashlib import md5

        for number in range(10):
            name = md5(str(number).encode()).hexdigest()
            server.resources[f"/source/{name}.txt"] = Resource(str(number).encode())
        return server.url("/source")


class TestFsspecsOwnTestsOfGet(Fixtures):
    """The others write (copy, put, pipe, open for writing) or list folders (directories, globs), which HTTP has not."""

    test_get_file_to_existing_directory = abstract.AbstractGetTests.test_get_file_to_existing_directory
    test_get_file_to_new_directory = abstract.AbstractGetTests.test_get_file_to_new_directory
    test_get_file_to_file_in_existing_directory = (
        abstract.AbstractGetTests.test_get_file_to_file_in_existing_directory
    )
    test_get_file_to_file_in_new_directory = abstract.AbstractGetTests.test_get_file_to_file_in_new_directory
    test_get_list_of_files_to_existing_directory = (
        abstract.AbstractGetTests.test_get_list_of_files_to_existing_directory
    )
    test_get_list_of_files_to_new_directory = (
        abstract.AbstractGetTests.test_get_list_of_files_to_new_directory
    )
    test_get_with_source_and_destination_as_list = (
        abstract.AbstractGetTests.test_get_with_source_and_destination_as_list
    )


# --- tables ---


@pytest.fixture
def table() -> bytes:
    """Return a Parquet file of 8 columns and 16 row groups, about 4 MB."""
    pa = pytest.importorskip("pyarrow", reason="PYARROW IS MISSING: Parquet is not tried")
    import pyarrow.parquet as pq

    columns = {f"c{number}": range(number, number + 64_000) for number in range(8)}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=4_000, compression="none", use_dictionary=False)
    return out.getvalue()


def test_pyarrow_reads_a_column_at_the_cost_of_its_blocks(server: Server, fs: Any, table: bytes) -> None:
    import pyarrow.parquet as pq

    server.resources["/table.parquet"] = Resource(table)
    group = pq.ParquetFile(fs.open(server.url("/table.parquet"))).read_row_group(3, ["c5"])
    assert group.equals(pq.ParquetFile(io.BytesIO(table)).read_row_group(3, ["c5"]))
    assert server.body_bytes < len(table) / 8
    assert max(blocks_sent(server).values()) == 1
    whole = pq.read_table(server.url("/table.parquet"), filesystem=fs, columns=["c1"])
    assert whole.equals(pq.read_table(io.BytesIO(table), columns=["c1"]))


def test_pandas_reads_through_a_chained_url(server: Server, fs: Any, table: bytes, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas", reason="PANDAS IS MISSING")
    pytest.importorskip("aiohttp", reason="AIOHTTP IS MISSING: fsspec looks for its own http first")
    server.resources = {"/table.parquet": Resource(table), "/a.csv": Resource(b"x,y\n1,2\n3,4\n")}
    options = {"tmp_dir": str(tmp_path / "cache")}
    read = pd.read_parquet(
        f"smartremote::{server.url('/table.parquet')}",
        columns=["c2"],
        engine="pyarrow",
        storage_options=options,
    )
    assert read.equals(pd.read_parquet(io.BytesIO(table), columns=["c2"]))
    assert pd.read_csv(f"smartremote::{server.url('/a.csv')}", storage_options=options)["y"].tolist() == [
        2,
        4,
    ]


def test_duckdb_reads_from_many_threads(server: Server, fs: Any, table: bytes) -> None:
    """It finds a file system by PROTOCOL://, and asks when a file was modified."""
    duckdb = pytest.importorskip("duckdb", reason="DUCKDB IS MISSING")
    import pyarrow.parquet as pq

    server.resources["/table.parquet"] = Resource(table)
    connection = duckdb.connect()
    connection.register_filesystem(fs)
    query = f"select count(*), sum(c1), sum(c5) from '{fs.unstrip_protocol(server.url('/table.parquet'))}'"
    columns = pq.read_table(io.BytesIO(table), columns=["c1", "c5"])
    there = (columns.num_rows, *(sum(columns[name].to_pylist()) for name in ("c1", "c5")))

    def ask(own: Any) -> Any:
        return own.execute(query).fetchone()

    assert in_threads(*(partial(ask, connection.cursor()) for _ in range(6))) == [there] * 6


def test_when_it_was_modified_is_what_the_server_says(server: Server, fs: Any) -> None:
    assert fs.modified(server.url()) == datetime(2025, 1, 1, tzinfo=UTC)
    before = datetime.now(UTC)
    for date in (None, "yesterday"):
        server.resources["/undated.bin"] = Resource(DATA, etag=f'"{date}"', last_modified=date)
        assert fs.modified(server.url("/undated.bin")) >= before


def test_an_image_is_read(server: Server, fs: Any) -> None:
    image = pytest.importorskip("PIL.Image", reason="PILLOW IS MISSING")
    out = io.BytesIO()
    image.effect_noise((300, 200), 50).save(out, "png")
    server.resources["/a.png"] = Resource(out.getvalue())
    with fs.open(server.url("/a.png")) as f, image.open(f) as found:
        assert found.tobytes() == image.open(io.BytesIO(out.getvalue())).tobytes()


def test_json_of_it_can_be_kept(fs: Any) -> None:
    kept = json.loads(fs.to_json())
    assert kept["protocol"] == "smartremote" and os.fspath(kept["tmp_dir"])
