"""Kill -9 under load: whatever was answered with success is in the journal, and in its call, once."""

import json
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from product import PATH, Product, encoded, report, running
from waiting import until
from wire import read, request

pytestmark = pytest.mark.edge

_ROUNDS = 4
_CARRIERS = 6


def _post_until_it_breaks(product: Product) -> list[str]:
    """Post calls over one kept-alive connection; the ids of those that were answered with success."""
    acknowledged: list[str] = []
    with suppress(OSError, HTTPException), product.carrier().connected() as connection:
        while len(acknowledged) < 20_000:
            document = report()
            connection.sendall(request("POST", PATH, encoded(document)))
            answer = read(connection)
            if answer.status == 200:
                acknowledged.append(document["voiceprompt_callback"]["callid"])
            elif answer.status in {502, 503}:
                break
    return acknowledged


@pytest.mark.parametrize("victim", ["receiver", "projector", "supervisor"])
def test_nothing_acknowledged_is_lost(tmp_path: Path, victim: str) -> None:
    """Killed at a random moment and started again, it has every acknowledged call exactly once."""
    ledger: set[str] = set()
    moment = random.Random(victim)  # noqa: S311 -- no secret
    for _ in range(_ROUNDS):
        with running(tmp_path / "home") as product, ThreadPoolExecutor(_CARRIERS) as carriers:
            posting = [carriers.submit(_post_until_it_breaks, product) for _ in range(_CARRIERS)]
            before = product.rows("select count(*) from journal")[0][0]
            wanted = moment.randint(50, 600)
            until(lambda: product.rows("select count(*) from journal")[0][0] >= before + wanted)  # noqa: B023 -- at once
            _kill(product, victim)
            ledger.update(call_id for each in posting for call_id in each.result())
            product.process.wait(timeout=60)

    with running(tmp_path / "home") as product:
        kept = [row[0] for row in product.rows("select body from journal")]
        figures = product.summary()

    assert len(ledger) > _ROUNDS * 50
    assert ledger <= {_call_id(body) for body in kept}
    assert figures["calls"] == len({_call_id(body) for body in kept})
    assert figures["deliveries"] == len(kept)


def _kill(product: Product, victim: str) -> None:
    if victim == "supervisor":
        product.process.kill()
        product.process.wait(timeout=60)
        (product.home / "ready.json").unlink()
        return
    pid = product.child("receiver")
    if victim == "projector":
        (pid,) = [
            child
            for child in product.descendants()
            if "receiver\0projector" in Path(f"/proc/{child}/cmdline").read_text("utf-8")
        ]
    os.kill(pid, signal.SIGKILL)


def _call_id(body: bytes) -> str:
    return str(json.loads(body)["voiceprompt_callback"]["callid"])
