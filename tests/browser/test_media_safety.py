"""What passes as a picture or a document and is a page as well runs nothing in a browser."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Error

from tests import samples

pytestmark = pytest.mark.browser

# RELIABILITY.md M-07: each of them passes the look at its content.
BOTH = {
    "page.png": samples.png(rest=samples.PAGE),
    "script.gif": b"GIF89a/*" + b"\x01" * 8 + b"*/=1;document.title='ran'",
    "page.pdf": b"%PDF-1.4\n" + samples.PAGE + samples.zipped(),
    "page.zip": samples.zipped() + samples.PAGE,
}


async def test_m07_no_script_runs_from_an_upload(house, new_context, watch):
    # Neither the styles of the browser's own page around a picture pass, nor the scripts of a test.
    watch.expected += ["Applying inline style violates", "Blocked script execution", "MIME type"]
    headers = {"Authorization": f"Bearer {house.key('alice')}"}
    context = await new_context()
    page = await context.new_page()
    await page.goto(house.url + "/healthz")
    with httpx.Client(base_url=house.url, headers=headers, trust_env=False, timeout=30) as http:
        for name, content in BOTH.items():
            told = http.post("/v1/media/upload", files={"file": (name, content)}).json()
            link = http.post("/v1/files/sign", json={"path": told["path"]}).json()
            shown = name.endswith((".png", ".gif"))
            try:
                await page.goto(house.url + link["url"])
                assert shown, f"{name} is a download"
                assert "ran" not in await page.title(), name
            except Error as error:
                assert not shown and "Download is starting" in str(error), name
            await page.goto(house.url + "/healthz")
            # Neither as a frame nor as a script of our own pages.
            await page.evaluate(
                """(url) => new Promise((done) => {
                  const script = document.createElement("script");
                  script.src = url;
                  script.onload = script.onerror = done;
                  document.head.append(script);
                })""",
                link["url"],
            )
            assert "ran" not in await page.title(), name
