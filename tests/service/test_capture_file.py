"""A capture's file: what was answered with success is in it, whole; what was not is not."""

import errno
import json
import os
from pathlib import Path

import pytest

from receiver.errors import QuotaError, StoreError, UsageError
from receiver.web.capture_file import CaptureFile


async def test_it_is_bounded_in_number(tmp_path: Path) -> None:
    file = CaptureFile(tmp_path / "c" / "a.jsonl", most_records=1, most_bytes=1000)
    await file.keep({"n": 1})
    with pytest.raises(QuotaError):
        await file.keep({"n": 2})
    file.close()
    assert file.path.read_text() == '{"n":1}\n'


async def test_it_is_bounded_in_bytes(tmp_path: Path) -> None:
    file = CaptureFile(tmp_path / "c" / "a.jsonl", most_records=10, most_bytes=20)
    await file.keep({"n": 1})
    with pytest.raises(QuotaError):
        await file.keep({"n": "x" * 20})
    await file.keep({"n": 2})
    file.close()
    assert [json.loads(line)["n"] for line in file.path.read_text().splitlines()] == [1, 2]


async def test_what_cannot_be_written_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that was written but did not reach the disk was not answered with success, so it goes again."""
    file = CaptureFile(tmp_path / "c" / "a.jsonl", most_records=10, most_bytes=1000)
    await file.keep({"n": 1})

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match="Input/output error"):
            await file.keep({"n": 2})
    assert file.path.read_text() == '{"n":1}\n'
    await file.keep({"n": 3})
    file.close()
    assert file.path.read_text() == '{"n":1}\n{"n":3}\n'
    assert [record["n"] for record in file.records] == [1, 3]


async def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"a\.jsonl"):
        CaptureFile(path, most_records=1, most_bytes=1)
    assert path.read_text() == "mine"
