"""`scripts/bench` measures what it says, on a home of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.edge

ROOT = Path(__file__).resolve().parents[2]


def test_ingest_measures_all_sides_in_turn() -> None:
    """Each side has its turn in each round; the result has a ratio, the machine and the processor time of each part."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benches",
            "ingest",
            "--connections",
            "4",
            "--seconds",
            "0.5",
            "--rounds",
            "2",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "scripts")))},
    )
    assert done.returncode == 0, done.stderr
    *runs, result = map(json.loads, done.stdout.splitlines())

    sides = ["receiver", "answering only", "nginx alone"]
    assert [(run["round"], run["side"]) for run in runs] == [(number, side) for number in (1, 2) for side in sides]
    assert all(run["answered"] > 0 and run["p50_ms"] <= run["p99_ms"] for run in runs)
    assert 0 < result["ratio_to_answering_only"]["median"] < 2
    assert {"receiver", "projector", "nginx", "generator"} <= result["sides"]["receiver"]["cores"].keys()
    assert {"answering only", "nginx", "generator"} <= result["sides"]["answering only"]["cores"].keys()
    assert {"processor", "cores", "nginx", "sqlite", "python"} <= result["machine"].keys()
