"""A carrier's own CA on the running product: from `receiver trust add` to its first counted callback, and out again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from certificates import Issued, authority, client, crl, crl_pem, now
from product import PATH, Product, encoded, report
from waiting import until

pytest_plugins = ["product_fixture"]
pytestmark = pytest.mark.edge


def receiver(product: Product, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Give a command beside the running receiver."""
    command = [sys.executable, "-m", "receiver", *map(str, arguments), "--home", str(product.home)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def done(product: Product, *arguments: str | Path) -> Any:
    """What a command that must succeed says."""
    result = receiver(product, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def posted(product: Product, leaf: Issued) -> tuple[int, str]:
    """Post a callback; the status, and what it was kept as, or why it was refused."""
    answer = product.anybody(leaf).post(PATH, encoded(report()))
    if answer.status != 200:
        return answer.status, answer.headers["x-receiver-reason"]
    kept = dict(product.rows("select seq, is_held from journal"))
    return answer.status, "held" if kept[int(answer.headers["x-receiver-receipt"])] else "counted"


def warnings(product: Product) -> str:
    """What the operations side says about trust."""
    return " ".join(product.ask("/api/v1/trust").json["warnings"])


def test_a_carriers_own_ca_from_its_file_to_its_removal(product: Product, tmp_path: Path) -> None:
    """Refused, held, counted, blocked, revoked, gone: each as soon as the command has ended, nothing restarted."""
    ca = authority("Carrier's own CA", at=now())
    leaf, stranger = client(ca, "the carrier", at=now()), client(ca, "another customer", at=now())
    ca_file, leaf_file = ca.write(tmp_path, "ca")[0], leaf.write(tmp_path, "leaf")[0]
    assert posted(product, leaf) == (403, "untrusted")

    done(product, "trust", "add", "tencent", ca_file)
    assert receiver(product, "nginx").returncode == 0
    # nginx was told; its old workers may still take a connection or two.
    until(lambda: posted(product, leaf) == (200, "held"))

    done(product, "trust", "pin", "tencent", leaf_file)
    assert (posted(product, leaf), posted(product, stranger)) == ((200, "counted"), (200, "held"))

    number = done(product, "trust", "pin", "tencent", "--accept-unpinned", "a test")["pin"]
    assert posted(product, stranger) == (200, "counted")
    assert "holding is off" in warnings(product)
    done(product, "trust", "unpin", "tencent", str(number))
    assert posted(product, stranger) == (200, "held")
    assert "holding is off" not in warnings(product)

    block = done(product, "trust", "block", "tencent", leaf_file)["block"]
    assert posted(product, leaf) == (403, "blocked")
    done(product, "trust", "unblock", "tencent", str(block))
    assert posted(product, leaf) == (200, "counted")

    (tmp_path / "crl.pem").write_bytes(crl_pem(crl(ca, [leaf], at=now())))
    done(product, "trust", "add", "tencent", tmp_path / "crl.pem")
    assert posted(product, leaf) == (403, "revoked")

    done(product, "trust", "remove", "tencent", ca.sha256[:12])
    assert posted(product, stranger) == (403, "untrusted")
    assert receiver(product, "nginx").returncode == 0
    actions = [row[0] for row in product.rows("select action from audit order by id")]
    names = ["trust_install", "pin_add", "pin_add", "pin_remove", "block_add", "block_remove"]
    assert actions[-8:] == [*names, "trust_install", "trust_remove"]


def test_an_application_is_declared_while_the_receiver_serves(product: Product) -> None:
    """Its address is the one that this receiver answers on, key and all."""
    url = done(product, "app", "add", "tencent", "declared")["url"]
    path = url.removeprefix(product.ready["callbacks_url"].removesuffix(PATH))

    assert path.startswith("/callbacks/tencent/declared/")
    assert product.carrier().post(path, encoded(report())).status == 200
    assert path.rsplit("/", 1)[1] not in (product.home / "log" / "nginx-access.log").read_text()
    assert receiver(product, "app", "add", "tencent", "declared").returncode == 1
    done(product, "app", "remove", "tencent", "declared")
