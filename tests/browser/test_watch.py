"""The watch over the pages is not blind."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import House, NewContext, Watch
from tests.doubles import until

pytestmark = [pytest.mark.browser, pytest.mark.live]

INLINE_SCRIPT = """
() => {
  const script = document.createElement("script");
  script.textContent = "document.title = 'ran'";
  document.body.append(script);
}
"""


async def test_an_inline_script_does_not_run_and_is_noticed(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected += ["CSP script-src-elem inline", "Content Security Policy"]
    page = await (await new_context()).new_page()
    await page.goto(house.url)
    async with page.expect_console_message(lambda line: line.text.startswith("CSP ")):
        await page.evaluate(INLINE_SCRIPT)
    await expect(page).to_have_title("Console · Trunkline")
    await until(lambda: len(watch.problems) >= 2)
    assert len(watch.problems) == 2  # the browser's own words, and the page's event
    assert watch.unexpected() == []
