"""The README's transcripts, typed in as a newcomer would: every command in them works."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from product import ROOT, Product

pytest_plugins = ["product_fixture"]
pytestmark = pytest.mark.edge

_TRANSCRIPT: Final = re.compile(r"^```console\n(.+?)^```$", re.DOTALL | re.MULTILINE)
_README: Final = (ROOT / "README.md").read_text("utf-8")
_COMMANDS: Final = [
    line.removeprefix("$ ")
    for transcript in _TRANSCRIPT.findall(_README)
    for line in transcript.splitlines()
    if line.startswith("$ ")
]
# These start a home in the foreground; the fixture has started one, and test_supervisor starts many.
_IN_THE_FOREGROUND: Final = {"scripts/run"}


@pytest.mark.parametrize("command", [each for each in _COMMANDS if each not in _IN_THE_FOREGROUND])
def test_a_command_of_the_readme_works(product: Product, command: str) -> None:
    """With the running home's name and addresses in place of the defaults."""
    port = product.ready["ops_url"].rpartition(":")[2]
    typed = (
        command.replace(":8080", f":{port}").replace(" var/", f" {product.home}/").replace(" var ", f" {product.home} ")
    )
    typed = typed.replace(".venv/bin/", f"{Path(sys.executable).parent}/")

    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert '"status":4' not in done.stdout


def test_the_readme_names_what_there_is() -> None:
    """Every script it names can be run, and every document it links lies there."""
    for script in set(re.findall(r"scripts/[a-z]+", _README)):
        assert os.access(ROOT / script, os.X_OK), script
    for document in re.findall(r"\]\(([^)#:]+)\)", _README):
        assert (ROOT / document).is_file(), document
    assert "scripts/run" in _COMMANDS
