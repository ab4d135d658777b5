"""What every refusal of the product has in common: its shape, and what it leaves behind, which is nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from product import Product, encoded
from waiting import until
from wire import Answer

OK = b'{"result":0,"errmsg":"OK"}'


@contextmanager
def nothing_counted(product: Product, reason: str | None, *, quarantined: list[bytes] | None = None) -> Iterator[None]:
    """What happens inside is refused for this reason, and leaves no call and no delivery behind."""
    counted = ("calls", "pending", "deliveries", "duplicates", "held", "unknown_kind")
    before, refused, kept = product.summary(), product.refused(), product.quarantined()

    yield

    if reason:
        until(lambda: product.refused().get(reason, 0) > refused.get(reason, 0))
    after = product.summary()
    assert {name: after[name] for name in counted} == {name: before[name] for name in counted}
    assert product.quarantined() == kept + (quarantined or [])
    assert product.process.poll() is None
    assert product.carrier().post("/callbacks/tencent/alive", encoded({})).body == OK


def said(answer: Answer, *, status: int, reason: str) -> str:
    """Check the shape of a refusal; returns what it says."""
    assert answer.status == status, answer
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers.get("x-receiver-reason") == reason
    assert "x-receiver-receipt" not in answer.headers
    document = answer.json
    assert set(document) == {"result", "errmsg"}
    assert isinstance(document["result"], int)
    assert document["result"] != 0
    assert document["errmsg"]
    return str(document["errmsg"])
