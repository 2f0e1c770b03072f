"""The system's Chromium, headless, which tests of pages drive."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)
# .ci/run installs the browser: there, tests that need it fail without it.
needs_browser = pytest.mark.skipif(
    BROWSER is None and os.environ.get("REPRISE_BROWSER") != "required",
    reason="no Chromium here (apt install chromium)",
)


@contextmanager
def browsing() -> Iterator["Browser"]:
    """Yield a browser."""
    from playwright.sync_api import sync_playwright

    assert BROWSER is not None, "no Chromium here, and REPRISE_BROWSER is required"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
