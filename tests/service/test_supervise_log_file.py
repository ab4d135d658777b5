"""What a child's log keeps, and what it must not."""

import errno
import os
from pathlib import Path

import pytest

from receiver.supervise import log_file
from receiver.supervise.log_file import LogFile, redacted

KEY = b"0123456789abcdef0123456789abcdef"
HEAD = b"2026/11/22 10:00:00 [error] 7#7: *1 client intended to send too large body: 70000 bytes, client: 127.0.0.1"


@pytest.mark.parametrize(
    ("request_line", "kept"),
    [
        (b"POST /callbacks/tencent/demo/%b HTTP/1.1" % KEY, b"/callbacks/tencent/demo"),
        (b"POST /callbacks/tencent/demo HTTP/1.1", b"/callbacks/tencent/demo"),
        (b"POST //callbacks/tencent/demo/%b HTTP/1.1" % KEY, b"(withheld)"),
        (b'POST /x"/callbacks/tencent/demo/%b HTTP/1.1' % KEY, b"(withheld)"),
        (b"POST /callbacks/tencent/%b" % (KEY * 4), b"(withheld)"),
        (KEY, b"(withheld)"),
        (b"", b"(withheld)"),
    ],
)
def test_error_lines_keep_no_url_key(request_line: bytes, kept: bytes) -> None:
    """Of what nginx writes about a request, only carrier and application remain."""
    rest = b'", upstream: "http://unix:/run/edge.sock/callbacks/tencent/demo/%b", host: "localhost"' % KEY

    line = redacted(HEAD + b', server: localhost, request: "' + request_line + rest)

    assert line == HEAD + b', server: localhost, request: "' + kept + b'"'


def test_lines_without_a_request_stay() -> None:
    line = b"2026/11/22 10:00:00 [emerg] 7#7: bind() to 127.0.0.1:8443 failed (98: Address already in use)"

    assert redacted(line) == line


def test_a_key_split_over_two_chunks_is_still_found(tmp_path: Path) -> None:
    """A pipe gives bytes as it likes; redaction sees whole lines."""
    log = LogFile(tmp_path / "a.log")
    for byte in HEAD + b', request: "POST /callbacks/tencent/demo/' + KEY + b' HTTP/1.1"\nnext':
        log.write(bytes([byte]))
    log.close()

    text = (tmp_path / "a.log").read_bytes()
    assert KEY not in text
    assert text.endswith(b'request: "/callbacks/tencent/demo"\nnext\n')


def test_logs_are_private_and_rotated_at_start(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for number in range(6):
        log = LogFile(path)
        log.write(b"start %d\n" % number)
        log.close()

    assert path.read_bytes() == b"start 5\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    assert (tmp_path / "a.log.3").read_bytes() == b"start 2\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_flood_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log has a bounded number of bounded files, also while the child runs, also for a line without an end."""
    monkeypatch.setattr(log_file, "_MOST_BYTES", 1000)
    log = LogFile(tmp_path / "a.log")
    for _ in range(100):
        log.write(b"x" * 99 + b"\n")
    log.write(b"y" * 200_000)
    log.close()

    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 4
    assert max(sizes) <= 200_001 + 1000
    assert log.last[-1].startswith("y")


def test_a_full_disk_costs_lines_but_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would empty the child's pipe any more, and the child would come to a halt at its next line."""
    log = LogFile(tmp_path / "a.log")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.write(b"lost\n")
    log.write(b"kept\n")
    log.close()

    assert (tmp_path / "a.log").read_bytes() == b"kept\n"
    assert list(log.last) == ["lost", "kept"]
