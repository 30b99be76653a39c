"""axe-core over a page as it stands: put in by the debugger, so that the page's CSP stays on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import Page

SCRIPT = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
# Colours are those after every transition; `preload` would copy style sheets into the page, which
# its CSP refuses.
FINDINGS = """
async (rules) => {
  const moving = document.getAnimations().filter((one) => one instanceof CSSTransition);
  await Promise.allSettled(moving.map((one) => one.finished));
  const chosen = rules.length ? { runOnly: { type: "rule", values: rules } } : {};
  const options = { ...chosen, preload: false, resultTypes: ["violations"] };
  const { violations } = await axe.run(document, options);
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(" ")}`));
}
"""


@cache
def _source() -> str:
    assert SCRIPT.is_file(), "axe-core is missing: `make setup` installs the tools of tests/"
    return SCRIPT.read_text()


async def findings(page: Page, *rules: str) -> list[str]:
    """What is serious or critical, as `rule: selector`; of these rules only, if any are named."""
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(f"{{{_source()}\n}}")
    found: Any = await page.evaluate(FINDINGS, list(rules))
    return list(found)
