"""One running product for all edge tests that do not stop it. For `pytest_plugins = ["product_fixture"]`."""

from collections.abc import Iterator

import pytest
from nginx_lab import NGINX
from product import Product, running

# Short enough to test slow senders, long enough for a busy machine.
SETTINGS = "[limits]\nclient_seconds = 2\nanswer_seconds = 5\n"


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    with running(tmp_path_factory.mktemp("edge") / "home", settings=SETTINGS) as running_product:
        yield running_product
