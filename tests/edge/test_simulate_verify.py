"""`receiver simulate` against the whole product: `--verify` passes when every figure is right, and only then."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.edge

RECEIVER = (sys.executable, "-m", "receiver")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A development home that runs."""
    directory = tmp_path_factory.mktemp("simulate") / "home"
    with subprocess.Popen(
        [*RECEIVER, "run", "--home", str(directory), "--https-port", free_port(), "--ops-port", free_port()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        patience_ends = time.monotonic() + 60
        while not (directory / "ready.json").exists():
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < patience_ends
            time.sleep(0.1)
        yield directory
        running.terminate()
        running.communicate(timeout=30)
    assert running.returncode == 0


def start(home: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*RECEIVER, "simulate", "--home", str(home), "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(simulation: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    out, err = simulation.communicate(timeout=100)
    assert out, err
    return simulation.returncode, json.loads(out)


def simulate(home: Path, *options: str) -> tuple[int, dict[str, Any]]:
    return finish(start(home, *options))


def callbacks(home: Path) -> Iterator[dict[str, Any]]:
    """The whole journal, page by page."""
    ready = json.loads((home / "ready.json").read_text())
    token = Path(ready["token_file"]).read_text().strip()
    after = 0
    while True:
        url = f"{ready['ops_url']}/api/v1/callbacks?after={after}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as response:  # noqa: S310 - the same
            page = json.load(response)["callbacks"]
        if not page:
            return
        yield from page
        after = page[-1]["cursor"]


def test_a_stormy_plan_is_counted_exactly(home: Path) -> None:
    """Duplicates, disorder, late calls and bad bodies of three applications end in the figures that were expected."""
    storm = ("--duplicates", "0.2", "--disorder", "0.5", "--late", "0.3", "--malformed", "0.3")
    status, result = simulate(home, "--calls", "1500", "--apps", "3", "--seed", "4", *storm, "--verify")

    assert result["differences"] == []
    assert status == 0
    assert result["verified"]
    assert result["refused"] == {"400": result["expected"]["all"]["quarantined"]}
    assert result["accepted"] == result["expected"]["all"]["deliveries"]


def test_a_second_run_adds_to_the_first(home: Path) -> None:
    """Figures are compared by how they changed, and the same seed a moment later makes other calls."""
    for _ in range(2):
        status, result = simulate(home, "--calls", "40", "--verify")

        assert (status, result["differences"]) == (0, [])
        time.sleep(1.1)  # plans differ when they start in different seconds


def test_one_callback_too_many_is_found(home: Path) -> None:
    """A single call that the plan does not know makes the command fail, and is named."""
    slow = start(home, "--calls", "30", "--rate", "10", "--duplicates", "0", "--malformed", "0", "--verify")
    time.sleep(2)
    _, extra = simulate(home, "--calls", "1", "--seed", "99", "--duplicates", "0", "--malformed", "0")
    status, result = finish(slow)
    differing = {(each["app"], each["figure"]): each["actual"] - each["expected"] for each in result["differences"]}

    assert status == 1
    assert not result["verified"]
    assert differing["all", "calls"] == differing["demo", "calls"] == 1
    assert differing["all", "deliveries"] == extra["accepted"]


def test_every_acknowledgement_is_in_the_journal(home: Path, tmp_path: Path) -> None:
    """What the ledger says was acknowledged stands in the journal under that receipt, with those bytes."""
    ledger = tmp_path / "ledger"
    _, result = simulate(home, "--calls", "200", "--seed", "5", "--ledger", str(ledger))
    acknowledged = [json.loads(line) for line in ledger.read_text().splitlines()]
    journal = {each["cursor"]: each for each in callbacks(home)}

    assert len(acknowledged) == result["accepted"] > 200
    for each in acknowledged:
        row = journal[each["receipt"]]
        assert (row["carrier"], row["app"], row["sha256"]) == (each["carrier"], each["app"], each["sha256"])


def test_an_interrupted_plan_ends_cleanly(home: Path) -> None:
    """A signal ends the plan at once, with its figures so far and a status that says it is not whole."""
    slow = start(home, "--calls", "1000", "--rate", "5", "--verify")
    time.sleep(3)
    slow.send_signal(signal.SIGTERM)
    began = time.monotonic()
    status, result = finish(slow)

    assert time.monotonic() - began < 3
    assert status == 1
    assert not result["is_complete"]
    assert 0 < result["sent"] < 60
    assert "verified" not in result
