"""What the tests of files share."""

import pytest
from tests.checkpoints.web import serving


@pytest.fixture
def web(monkeypatch):
    """A web server, which no proxy of the environment is asked instead of."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as found:
        yield found
