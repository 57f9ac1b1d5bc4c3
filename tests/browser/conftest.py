"""A browser for the tests in this folder; without Chromium they are skipped, and required they fail."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from chromium import Browser, browsing
from servers import ServerMissing


@pytest.fixture(scope="module")
def open_browser() -> Iterator[Callable[[str], Browser]]:
    """Opens a browser on a running Muster."""
    with ExitStack() as stack:

        def opened(url: str) -> Browser:
            try:
                return stack.enter_context(browsing(url))
            except ServerMissing as reason:
                if "browser" in os.environ.get("MUSTER_REQUIRE", ""):
                    pytest.fail(f"MUSTER_REQUIRE asks for a browser: {reason}", pytrace=False)
                pytest.skip(str(reason))

        yield opened
