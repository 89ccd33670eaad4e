"""The browser that tests look at pages with."""

import os
import shutil

import pytest


def chromium() -> str:
    """Debian's browser; without it the test says what it needs."""
    found = os.environ.get("DOVETAIL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("needs a browser: apt-get install chromium, or set DOVETAIL_CHROMIUM to one")
    return found
