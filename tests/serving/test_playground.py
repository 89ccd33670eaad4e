"""The playground in a real browser: a click on an item visibly changes the list."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import chromium
from tests.serving.conftest import Shop

pytestmark = pytest.mark.platform

WAIT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, shop: Shop) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(WAIT_MS)
    page.goto(shop.service.url)
    yield page
    page.close()
    # A stranger's profile is a 404 by design, and the browser logs it as an error.
    assert [fault for fault in faults if "404" not in fault] == []


def test_a_click_visibly_changes_the_list(page: Page, tmp_path: Path) -> None:
    expect(page.locator("#level")).to_have_text("personal")
    items = page.locator("#items .item")
    expect(items).to_have_count(12)
    expect(page.locator("#profile")).to_contain_text("Loyal Customers")
    expect(page.locator("#live")).to_contain_text("m1")
    before = items.evaluate_all("nodes => nodes.map(node => node.dataset.item)")
    chosen = next(item for item in before if not item.startswith("tea.green"))
    page.locator(f'[data-item="{chosen}"] button[data-action="cart"]').click()
    expect(page.locator("#status")).to_contain_text("after the click", timeout=WAIT_MS)
    expect(page.locator("#status")).to_have_class("status good")
    after = items.evaluate_all("nodes => nodes.map(node => node.dataset.item)")
    assert after != before
    assert page.locator("#items .move.up").count() > 0
    assert page.locator(".reasons li", has_text="put into the cart").count() > 0
    expect(page.locator("#seen li").first).to_contain_text("speed")
    page.screenshot(path=tmp_path / "playground.png", full_page=True)


def test_a_stranger_is_met_and_becomes_known(page: Page) -> None:
    page.locator("#visitor").fill("somebody-new")
    page.locator("#kind").select_option("anonymous")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#profile")).to_contain_text("Neither layer has heard of this visitor")
    expect(page.locator("#level")).to_have_text("trending")
    page.locator('#items button[data-action="view"]').first.click()
    expect(page.locator("#level")).to_have_text("session", timeout=WAIT_MS)


def test_the_page_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("#items .item").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_page_loads_nothing_from_elsewhere(browser: Browser, shop: Shop) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(shop.service.url, wait_until="load")
    expect(page.locator("#items .item").first).to_be_visible(timeout=WAIT_MS)
    page.close()
    assert asked and all(url.startswith((shop.service.url, "data:")) for url in asked)
