"""Our own failures, through real nginx: 503 with Retry-After, nothing acknowledged that is not kept, and recovery."""

import resource
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from certificates import client, now
from product import PATH, Product, encoded, report, running
from refusals import OK, said
from waiting import until

pytestmark = pytest.mark.edge


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextmanager
def no_room(product: Product) -> Iterator[None]:
    """The receiver's files cannot grow, as on a full disk."""
    receiver = product.child("receiver")
    before = resource.prlimit(receiver, resource.RLIMIT_FSIZE)
    resource.prlimit(receiver, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(receiver, resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_is_not_acknowledged(home: Path) -> None:
    """A full disk is 503 to be tried again, readiness goes off, reading goes on, and it recovers without a restart."""
    with running(home) as product:
        assert product.carrier().post(PATH, encoded(report())).body == OK
        before = product.summary()

        with no_room(product):
            answer = product.carrier().post(PATH, encoded(report()))
            undecodable = product.carrier().post(PATH, b"[")
            readiness = product.ask("/readyz", token="")
            figures = product.ask("/api/v1/summary?range=24h").json

        assert said(answer, status=503, reason="store")
        assert said(undecodable, status=503, reason="store")
        assert int(answer.headers["retry-after"]) > 0
        assert (readiness.status, readiness.json["reasons"] != []) == (503, True)
        assert figures["deliveries"] == before["deliveries"]
        assert product.carrier().post(PATH, encoded(report())).body == OK
        assert product.ask("/readyz", token="").status == 200
        assert product.summary()["deliveries"] == before["deliveries"] + 1
        assert product.quarantined() == []


def test_a_full_queue_is_refused_and_what_is_in_it_is_kept(home: Path) -> None:
    """Nobody waits for ever behind a disk that stands still: the queue has an end, and behind it is 503."""
    with running(home, settings="[limits]\nqueue_deliveries = 2\n") as product, ThreadPoolExecutor(8) as carriers:
        posts = [encoded(report()) for _ in range(8)]
        with closing(sqlite3.connect(home / "store" / "journal.db", isolation_level=None)) as stranger:
            stranger.execute("begin immediate")
            answers = [carriers.submit(product.carrier().post, PATH, body) for body in posts]
            until(lambda: any(answer.done() for answer in answers))
            stranger.execute("rollback")
        settled = [answer.result() for answer in answers]

        refused = [answer for answer in settled if answer.status != 200]
        assert refused
        for answer in refused:
            assert said(answer, status=503, reason="overloaded")
            assert int(answer.headers["retry-after"]) > 0
        assert len(product.rows("select 1 from journal")) == len(settled) - len(refused)


def test_quotas_bound_what_strange_traffic_leaves_behind(home: Path) -> None:
    """Past its quota, unknown kinds and undecodable bodies are 503 `quota`, unpinned peers 403; callbacks go on."""
    settings = "[limits]\nunknown_kind_per_day = 1\nquarantine_per_day = 1\nheld_per_day = 1\n"
    with running(home, settings=settings) as product:
        carrier = product.carrier()
        unpinned = product.anybody(client(product.client_ca(), "another.tencent.test", at=now()))
        assert [carrier.post(PATH, body).status for body in (b"{}", b"[")] == [200, 400]
        assert unpinned.post(PATH, encoded(report())).body == OK

        unknown, undecodable = carrier.post(PATH, b'{"a":1}'), carrier.post(PATH, b"]")
        held = unpinned.post(PATH, encoded(report()))

        assert said(unknown, status=503, reason="quota")
        assert said(undecodable, status=503, reason="quota")
        assert said(held, status=403, reason="held_quota")
        # A stranger's undecodable bodies come out of the same allowance, not out of the carrier's.
        assert said(unpinned.post(PATH, b"{"), status=403, reason="held_quota")
        # The same bytes again need no new row.
        assert carrier.post(PATH, b"[").status == 400
        assert carrier.post(PATH, encoded(report())).body == OK
        assert carrier.post("/callbacks/tencent/another-app", b"{}").body == OK
        figures = product.summary()
        assert {name: figures[name] for name in ("held", "unknown_kind", "quarantined", "calls")} == {
            "held": 1, "unknown_kind": 2, "quarantined": 2, "calls": 1,
        }  # fmt: skip
