"""What all commands have in common: usage, exit codes, one line per error, and the stream that each text goes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import smartremote_cli
from smartremote_cli import cli
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.archives import bare_archive
from tests.support.proxy import Proxy
from tests.support.server import (
    Certificates,
    Patterned,
    Resource,
    Server,
    pattern,
    unused_port,
)
from tests.support.tool import Tool, ended

COMMANDS = ("get", "cat", "zip-ls", "status", "complete", "completion")
ASKING = ("get", "cat", "zip-ls")  # with a URL as their argument

URL = "http://127.0.0.1:1/x"


# --- usage ---


def test_the_version_is_the_packages(tool: Tool) -> None:
    ran = tool("--version")
    assert (ran.code, ran.text) == (0, f"smartremote, version {smartremote_cli.__version__}\n")


@pytest.mark.parametrize("script", ["smartremote", "smartremote-cli"])
def test_the_script_goes_by_both_names(script: str, tool: Tool) -> None:
    path = Path(sys.executable).with_name(script)
    assert subprocess.run([path, "--version"], capture_output=True).stdout.startswith(b"smartremote, version")


@pytest.mark.parametrize("arguments", [("--help",), *((name, "--help") for name in COMMANDS)])
def test_help_goes_to_stdout_and_asks_nobody(tool: Tool, arguments: tuple[str, ...]) -> None:
    ran = tool(*arguments)
    assert ran.code == 0
    assert ran.text.startswith("Usage: smartremote")
    assert ran.err == ""


def test_help_does_not_pay_for_the_engine(tool: Tool) -> None:
    script = (
        "import sys; from smartremote_cli.cli import run\n"
        "for words in [['--help'], ['get', '--help'], ['status'], ['completion', 'bash']]: run(words)\n"
        "dear = {'httpx', 'httpcore', 'ssl', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {dear}' if dear else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WRONG = {
    "no command": ((), 2),
    "an unknown command": (("fetch", URL), 2),
    "an unknown option": (("get", URL, "--fast"), 2),
    "no url": (("get",), 2),
    "two urls": (("get", URL, URL), 2),
    "an option before the command": (("-q", "get", URL), 2),
    "no scheme": (("get", "example.com/file"), 2),
    "another scheme": (("cat", "ftp://example.com/file"), 2),
    "no host": (("zip-ls", "http:///file"), 2),
    "a port that is none": (("get", "http://127.0.0.1:99999/x"), 2),
    "a blank in the url": (("get", "http://127.0.0.1/a b"), 2),
    "stdout as output": (("get", URL, "-o", "-"), 2),
    "a record's name as output": (("get", URL, "-o", "file.part"), 2),
    "no connections": (("get", URL, "-x", "0"), 2),
    "connections that are no number": (("get", URL, "-x", "many"), 2),
    "a length that is no number": (("cat", URL, "--length", "ten"), 2),
    "a negative length": (("cat", URL, "--length", "-1"), 2),
    "an offset that is no number": (("cat", URL, "--offset", "0x"), 2),
    "no rate at all": (("get", URL, "--limit-rate", "0"), 2),
    "a checksum without algorithm": (("get", URL, "--checksum", "abcdef"), 2),
    "a checksum of an unknown kind": (("get", URL, "--checksum", "crc7:00"), 2),
    "a checksum that is too short": (("get", URL, "--checksum", "sha256:00"), 2),
    "a checksum that is no hexadecimal": (("get", URL, "--checksum", "md5:" + "x" * 32), 2),
    "a header without colon": (("get", URL, "-H", "Authorization"), 2),
    "a header with a line break": (("get", URL, "-H", "X: a\r\nY: b"), 2),
    "a header that ranges need": (("get", URL, "-H", "Range: bytes=0-1"), 2),
    "a user without password and terminal": (("get", URL, "--user", "me"), 2),
    "no time at all": (("get", URL, "--timeout", "0"), 2),
    "time without number": (("get", URL, "--timeout", "nan"), 2),
    "a proxy that is none": (("get", URL, "--proxy", "gopher://127.0.0.1:1"), 2),
    "a port of a proxy that is none": (("get", URL, "--proxy", "http://127.0.0.1:99999"), 2),
    "a proxy without host": (("get", URL, "--proxy", "http://"), 2),
    "a host that is spelt wrong": (("get", "http://xn--/x"), 2),
    "negative retries": (("cat", URL, "--retries", "-1"), 2),
    "an unknown answer to changes": (("get", URL, "--on-change", "panic"), 2),
    "an unknown kind of progress": (("get", URL, "--progress", "loud"), 2),
    "offline without cache": (("cat", URL, "--offline", "--no-cache"), 2),
    "complete of nothing": (("complete",), 2),
    "another url for two files": (("complete", "--url", URL, "a", "b"), 2),
    "an unknown shell": (("completion", "tcsh"), 2),
    "certificates that are not there": (("get", "https://127.0.0.1:1/x", "--cacert", "none.pem"), 2),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_line_and_touches_nothing(tool: Tool, case: str) -> None:
    arguments, code = WRONG[case]
    ran = tool(*arguments)
    assert (ran.code, ran.out) == (code, b""), ran.err
    assert ran.complaint
    assert tool.files == []
    assert not tool.cache.exists()


def test_a_misspelt_command_is_answered_with_the_right_one(tool: Tool) -> None:
    assert "'get'" in tool("gett", URL).complaint


def test_a_misspelt_option_is_answered_with_the_right_one(tool: Tool) -> None:
    assert "--offset" in tool("cat", URL, "--ofset", "1").complaint


# --- errors ---


def test_a_host_that_nobody_knows_is_refused_for_good(tool: Tool) -> None:
    ran = tool("get", "http://no-such-host.invalid/file.bin")
    assert ran.code in (3, 4)  # 3 where the resolver itself cannot be reached
    assert "no-such-host.invalid" in ran.complaint
    assert tool.files == []


@pytest.mark.parametrize("command", ASKING)
def test_a_host_that_refuses_connections_is_given_two_tries(tool: Tool, command: str) -> None:
    ran = tool(command, f"http://127.0.0.1:{unused_port()}/file.bin", "--progress", "json")
    assert ran.code == 3
    assert ran.err.count('"event": "retry"') == 1
    assert tool.files == []


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("get", "--help")])
def test_a_page_that_finds_no_room_is_local_trouble(tool: Tool, words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        ran = tool.spawn(*words, stdout=full)
    assert (ran.code, ran.complaint) == (6, "a problem on this machine: No space left on device")


@pytest.mark.parametrize("command", ASKING)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_one_line_with_its_status(tool: Tool, command: str, status: int) -> None:
    with Server(Resource(b"x")) as server:
        server.faults += [faults.status(status)]
        ran = tool(command, server.url())
    assert (ran.code, ran.out) == (4, b"")
    assert str(status) in ran.complaint
    # It may be about the suffix or the range: one plain request tells.
    assert len(server.requests) == 2 if status != 400 else len(server.requests) <= 3
    assert server.ranges[-1] is None
    assert tool.files == []


@pytest.mark.parametrize("command", ASKING)
@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_trouble_of_the_server_is_retried_and_then_incomplete(tool: Tool, command: str, status: int) -> None:
    with Server(Resource(b"x")) as server:
        server.faults += [faults.status(status)]
        ran = tool(command, server.url(), "--retries", "1")
    assert ran.code == 3
    assert str(status) in ran.err
    assert len(server.requests) == 2
    assert tool.files == []


@pytest.mark.parametrize("command", ASKING)
def test_trouble_that_passes_is_not_an_error(tool: Tool, command: str) -> None:
    with Server(Resource(EMPTY_ZIP)) as server:
        server.faults += [faults.status(503, when=faults.first(1))]
        ran = tool(command, server.url(), "-q")
    assert (ran.code, ran.err) == (0, "")


EMPTY_ZIP = b"PK\5\6" + bytes(18)


def test_an_error_shows_neither_password_nor_query(tool: Tool) -> None:
    with Server(Resource(b"x")) as server:
        server.faults += [faults.status(403)]
        url = server.url("/file.bin?signature=geheim").replace("//", "//me:secret@")
        for extra in ([], ["-v"]):
            ran = tool("get", url, *extra)
            assert ran.code == 4
            assert "geheim" not in ran.err
            assert "secret" not in ran.err
    assert server.requests[0].header("Authorization")


def test_control_characters_from_a_server_do_not_reach_the_terminal(tool: Tool) -> None:
    with Server(Resource(b"x")) as server:
        server.faults += [faults.redirect("ftp://evil/\x1b[31m\x9b")]
        ran = tool("get", server.url())
    assert ran.code == 4
    assert ran.complaint.isprintable()


def test_a_defect_is_one_line_and_a_traceback_only_when_asked(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("of a test")

    monkeypatch.setattr(Transport, "send", fail)
    ran = tool("get", URL)
    assert ran.code == 1
    assert "ZeroDivisionError: of a test" in ran.complaint
    ran = tool("get", URL, "-v")
    assert ran.code == 1
    assert "Traceback" in ran.err


def test_a_defect_outside_the_threads_is_one_line_too(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("of a test")

    monkeypatch.setattr("smartremote_cli.library.download.Download.run", fail)
    ran = tool("get", URL)
    assert ran.code == 1
    assert "ZeroDivisionError: of a test" in ran.complaint


# --- streams ---


def test_quiet_says_nothing_at_all(tool: Tool) -> None:
    with Server(pattern(300_000)) as server:
        ran = tool("get", server.url(), "-q")
    assert (ran.code, ran.out, ran.err) == (0, b"", "")


def test_quiet_still_says_errors(tool: Tool) -> None:
    with Server() as server:
        assert "404" in tool("get", server.url(), "--quiet").complaint


def test_get_says_nothing_on_stdout(tool: Tool) -> None:
    with Server(pattern(300_000)) as server:
        ran = tool("get", server.url(), "-v")
    assert (ran.code, ran.out) == (0, b"")
    assert "file.bin" in ran.err


def test_progress_as_json_is_one_object_a_line_on_stderr(tool: Tool) -> None:
    with Server(pattern(300_000)) as server:
        ran = tool("get", server.url(), "--progress", "json")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert ran.code == 0
    assert events[0]["event"] == "start"
    assert events[-1]["event"] == "done"
    assert events[-1]["bytes_present"] == events[-1]["size"] == 300_000
    assert all({"bytes_present", "size", "speed", "eta", "connections"} <= set(event) for event in events)


def test_an_error_among_json_says_its_exit_code(tool: Tool) -> None:
    with Server() as server:
        ran = tool("get", server.url(), "--progress", "json")
    last = [line for line in ran.err.splitlines() if line.startswith("{")][-1]
    assert '"event": "error"' in last
    assert '"exit_code": 4' in last
    assert "404" in last


def test_cat_shows_no_progress_unless_told(tool: Tool) -> None:
    with Server(pattern(300_000)) as server:
        assert tool("cat", server.url()).err == ""
        assert "300" in tool("cat", server.url(), "--progress", "json").err


def test_verbose_tells_of_weak_validators_and_plain_runs_do_not(tool: Tool) -> None:
    with Server(Resource(pattern(300_000), etag=None, last_modified=None)) as server:
        assert "validator" not in tool("get", server.url(), "-o", "a").err
        assert "validator" in tool("get", server.url(), "-o", "b", "-v").err


@pytest.mark.parametrize("command", ["cat", "zip-ls -1"])
def test_a_reader_that_leaves_is_no_error(tool: Tool, command: str) -> None:
    name, *options = command.split()
    content = bare_archive(20_000) if name == "zip-ls" else Patterned(64 << 20)
    with Server(Resource(content)) as server:
        process = tool.start(name, server.url(), *options)
        assert process.stdout is not None
        assert process.stdout.read(1)
        process.stdout.close()
        process.stdout = None
        ran = ended(process)
    assert ran.code in (0, 141)
    assert ran.err == ""


@pytest.mark.parametrize(
    "command", ["status", "status --json", "completion bash", "cat", "zip-ls", "zip-ls --json"]
)
def test_a_full_device_as_stdout_is_a_local_error(tool: Tool, command: str) -> None:
    tool.write("file", b"x")
    name, *options = command.split()
    with Server(bare_archive(3000)) as server, open("/dev/full", "wb") as full:
        words = {"status": ["file"], "completion": []}.get(name, [server.url()])
        ran = tool.spawn(name, *words, *options, stdout=full)
    assert ran.code == 6
    assert "standard output: No space left" in ran.complaint


def in_shell(line: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", line.replace("smartremote", f"{sys.executable} -m smartremote_cli")],
        capture_output=True,
    )


def test_a_closed_stderr_does_not_stop_a_download(tool: Tool) -> None:
    with Server(pattern(300_000)) as server:
        done = in_shell(f"smartremote get {server.url()} 2>&-")
    assert (done.returncode, done.stdout) == (0, b"")
    assert tool.read() == pattern(300_000)


def test_a_closed_stdout_does_not_stop_a_download(tool: Tool) -> None:
    with Server(pattern(300_000)) as server:
        done = in_shell(f"smartremote get {server.url()} >&- <&-")
    assert done.returncode == 0
    assert tool.read() == pattern(300_000)


@pytest.mark.parametrize("command", ["cat", "zip-ls"])
def test_a_closed_stdout_is_a_local_error_where_it_is_needed(tool: Tool, command: str) -> None:
    with Server(pattern(300_000)) as server:
        done = in_shell(f"smartremote {command} {server.url()} >&-")
    assert done.returncode == 6
    assert done.stderr == b"smartremote: standard output: is closed\n"
    assert server.requests == []


# --- options ---


def test_every_option_also_reads_the_environment(tool: Tool) -> None:
    tool.env(
        SMARTREMOTE_GET_OUTPUT="named",
        SMARTREMOTE_GET_HEADER="X-One: 1\nX-Two: 2 2",
        SMARTREMOTE_GET_QUIET="1",
        SMARTREMOTE_GET_USER_AGENT="tests/1",
        SMARTREMOTE_GET_CONNECTIONS="1",
        SMARTREMOTE_GET_NO_SYNC="true",
    )
    with Server(pattern(10 << 20)) as server:
        ran = tool("get", server.url())
    assert (ran.code, ran.err) == (0, "")
    assert tool.files == ["named"]
    assert server.connections == 1
    asked = server.requests[0]
    sent = [asked.header(name) for name in ("X-One", "X-Two", "User-Agent", "Accept-Encoding")]
    assert sent == ["1", "2 2", "tests/1", "identity"]


def test_a_wrong_value_in_the_environment_is_wrong_usage(tool: Tool) -> None:
    tool.env(SMARTREMOTE_GET_CONNECTIONS="all")
    assert tool("get", URL).code == 2


def test_a_command_with_a_hyphen_reads_the_environment_too(tool: Tool) -> None:
    tool.env(SMARTREMOTE_ZIP_LS_NAMES_ONLY="1")
    with Server(bare_archive(1)) as server:
        assert tool("zip-ls", server.url()).text == "folder-0/member-000000.txt\n"


def test_a_wrong_cache_size_in_the_environment_is_wrong_usage(tool: Tool) -> None:
    tool.env(SMARTREMOTE_CACHE_SIZE="huge")
    with Server(b"x") as server:
        assert "SMARTREMOTE_CACHE_SIZE" in tool("cat", server.url()).complaint


@pytest.mark.parametrize("how", ["url", "option", "netrc", "header"])
def test_credentials_go_to_the_first_origin_only(tool: Tool, how: str) -> None:
    with Server(pattern(100)) as other, Server() as server:
        server.faults += [faults.authenticate("me:pa:ss"), faults.redirect(other.url())]
        url, extra = server.url(), []
        match how:
            case "url":
                url = url.replace("//", "//me:pa%3Ass@")
            case "option":
                extra = ["--user", "me:pa:ss"]
            case "netrc":
                (tool.home / ".netrc").write_text("machine 127.0.0.1 login me password pa:ss\n")
                (tool.home / ".netrc").chmod(0o600)
            case "header":
                extra = ["-H", "Authorization: Basic bWU6cGE6c3M=", "-H", "X-Api-Key: k"]
        ran = tool("get", url, "-o", "f", *extra)
    if how == "netrc":  # both origins are the same machine: netrc names machines, not ports
        assert ran.code == 0
        return
    assert ran.code == 0, ran.err
    assert tool.read("f") == pattern(100)
    assert other.requests[0].header("Authorization") is None
    assert other.requests[0].header("X-Api-Key") is None


def test_netrc_is_not_read_when_told_so(tool: Tool) -> None:
    (tool.home / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    with Server(b"x") as server:
        server.faults += [faults.authenticate("me:secret")]
        assert tool("cat", server.url()).code == 0
        assert tool("cat", server.url(), "--no-netrc", "--no-cache").code == 4


def test_a_password_never_reaches_the_disk(tool: Tool) -> None:
    with Server(Patterned(2 << 20)) as server:
        server.faults += [
            faults.reset(after=500_000, when=faults.nth(1)),
            faults.status(404, when=faults.after(1)),
        ]
        url = server.url().replace("//", "//me:secret@")
        assert tool("get", url, "--user", "you:hidden").code == 4
        assert tool("cat", url, "--length", "1").code == 4
    assert tool.files == ["file.bin", "file.bin.part"]
    for path in [*tool.folder.iterdir(), *(tool.cache.iterdir() if tool.cache.exists() else [])]:
        assert b"secret" not in path.read_bytes()
        assert b"hidden" not in path.read_bytes()


@pytest.mark.parametrize("named", ["option", "environment"])
def test_requests_go_through_the_proxy(tool: Tool, named: str) -> None:
    with (
        Server(pattern(2 << 20)) as server,
        Proxy(user="me:secret", hosts={"far.example": ("127.0.0.1", server.port)}) as proxy,
    ):
        extra = ["--proxy", proxy.url("me:secret")] if named == "option" else []
        if named == "environment":
            tool.env(http_proxy=proxy.url("me:secret"))
        ran = tool("get", f"http://far.example:{server.port}/file.bin", *extra)
    assert ran.code == 0, ran.err
    assert tool.read() == pattern(2 << 20)
    assert proxy.requests


def test_a_proxy_that_refuses_is_a_refusal(tool: Tool) -> None:
    with Server(b"x") as server, Proxy(user="me:secret") as proxy:
        ran = tool("get", server.url(), "--proxy", proxy.url("me:wrong"))
    assert ran.code == 4
    assert "407" in ran.complaint
    assert "wrong" not in ran.err


def test_no_proxy_is_honoured(tool: Tool) -> None:
    tool.env(http_proxy=f"http://127.0.0.1:{unused_port()}", no_proxy="127.0.0.1")
    with Server(b"x") as server:
        assert tool("cat", server.url()).out == b"x"


@pytest.mark.parametrize("how", ["option", "SSL_CERT_FILE", "insecure"])
def test_a_certificate_is_trusted_when_told_so(tool: Tool, certificates: Certificates, how: str) -> None:
    with Server(Patterned(3 << 20), tls=certificates.context()) as server:
        assert "certificate" in tool("get", server.url(), "-o", "a").complaint
        extra = {"option": ["--cacert", str(certificates.ca)], "insecure": ["-k"]}.get(how, [])
        if how == "SSL_CERT_FILE":
            tool.env(SSL_CERT_FILE=str(certificates.ca))
        ran = tool("get", server.url(), "-o", "b", *extra)
    assert ran.code == 0, ran.err
    assert tool.read("b") == pattern(3 << 20)
    assert tool.files == ["b"]


@pytest.mark.parametrize("known", ["folder", "bundle", "neither", "neither, and the bundle is damaged"])
def test_the_systems_bundle_is_read_only_for_what_its_folder_lacks(
    tool: Tool, certificates: Certificates, tmp_path: Path, known: str
) -> None:
    """The folder names each issuer by a hash, and is looked into; the bundle is long. Both are the system's store."""
    folder = tmp_path / "certs"
    folder.mkdir()
    bundle = tmp_path / "bundle.pem"
    for place, here in (folder / "issuer.pem", known == "folder"), (bundle, known == "bundle"):
        issuer = certificates.ca if here else certificates.folder / "self-signed.pem"  # nobody's
        place.write_text("# no certificate\n" * 10_000 + issuer.read_text())
    if "damaged" in known:
        bundle.write_text("no certificate\n" * 10_000)
    subprocess.run(["openssl", "rehash", folder], check=True)
    tool.env(SSL_CERT_FILE=str(bundle), SSL_CERT_DIR=str(folder))
    with Server(b"0123456789", tls=certificates.context()) as server:
        ran = tool("cat", server.url())
        assert server.connections == (1 if known == "folder" else 2)
    if "neither" in known:
        assert ran.code == 4
        assert "certificate not trusted" in ran.complaint
    else:
        assert ran.code == 0, ran.err
        assert ran.out == b"0123456789"


@pytest.mark.parametrize("name", ["expired", "other-name", "self-signed"])
def test_a_certificate_that_is_wrong_is_a_refusal(tool: Tool, certificates: Certificates, name: str) -> None:
    with Server(b"x", tls=certificates.context(name)) as server:
        ran = tool("cat", server.url(), "--cacert", certificates.ca)
        assert ran.code == 4
        assert "certificate" in ran.complaint
        assert server.requests == []


def test_the_rate_holds_for_all_connections_together(tool: Tool) -> None:
    """Bytes per second are promised, so that seconds have to be measured; they are only bounded from below."""
    with Server(Patterned(3 << 20)) as server:
        began = time.monotonic()
        assert tool("get", server.url(), "--limit-rate", "4M").code == 0
    assert time.monotonic() - began > 0.4


def test_a_server_that_says_nothing_is_left_after_the_timeout(tool: Tool) -> None:
    with Server(b"x") as server:
        server.faults += [faults.stall(where="before")]
        ran = tool("cat", server.url(), "--timeout", "0.1", "--retries", "1")
    assert ran.code == 3
    assert len(server.requests) == 2


def test_the_exit_code_is_that_of_the_process(tool: Tool) -> None:
    assert tool.spawn("get", "nonsense").code == 2
    with Server() as server:
        assert tool.spawn("get", server.url()).code == 4
    assert os.listdir() == []
    assert cli.run(["status", "-q"]) == 0
