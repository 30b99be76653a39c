"""What a model says, as elements: its words are never markup. Source: issue 6, Console."""

from __future__ import annotations

import pytest

from tests.browser.conftest import House, NewContext

pytestmark = [pytest.mark.browser, pytest.mark.live]

SHOW = """
async (texts) => {
  const { markdown } = await import("/static/realtime/markdown.js");
  return texts.map((text) => {
    const root = document.createElement("div");
    markdown(root, text);
    for (const one of root.querySelectorAll("*")) {
      for (const name of one.getAttributeNames()) {
        if (name !== "href" && name !== "start") one.removeAttribute(name);
      }
    }
    return root.innerHTML;
  });
}
"""
CODE = "<div><button></button><pre><code>"  # beside a button that copies it
CASES = {
    "plain": "<p>plain</p>",
    "one\ntwo\n\nthree": "<p>one\ntwo</p><p>three</p>",
    "# A\n### B ##": "<h3>A</h3><h5>B</h5>",
    "**b** *i* __b__ _i_ ~~d~~ `c`": "<p><strong>b</strong> <em>i</em> <strong>b</strong>"
    " <em>i</em> <del>d</del> <code>c</code></p>",
    "***both***": "<p><strong><em>both</em></strong></p>",
    "snake_case_name 2 * 3 * 4 **": "<p>snake_case_name 2 * 3 * 4 **</p>",
    r"\*not\* \# `a\b`": r"<p>*not* # <code>a\b</code></p>",
    "``a ` b`` `open": "<p><code>a ` b</code> `open</p>",
    "```js\n<b>\n\n# x\n```\nafter": f"{CODE}&lt;b&gt;\n\n# x</code></pre></div><p>after</p>",
    "```\nnot yet closed": f"{CODE}not yet closed</code></pre></div>",
    "- a\n- b\n  1. c\n  2. d\n\n  more\n- e": "<ul><li>a</li><li>b<ol><li>c</li><li>d</li></ol>"
    "<p>more</p></li><li>e</li></ul>",
    "3. c\n4. d": '<ol start="3"><li>c</li><li>d</li></ol>',
    "- [x] a\n- [ ] b": "<ul><li>☑ a</li><li>☐ b</li></ul>",
    "text\n- a\nend": "<p>text</p><ul><li>a\nend</li></ul>",
    "> a\n> - b": "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>",
    "a\n\n---\n\nb": "<p>a</p><hr><p>b</p>",
    "|a|b|\n|-|:-:|\n|1|\n": "<div><table><thead><tr><th>a</th><th>b</th></tr></thead>"
    "<tbody><tr><td>1</td></tr></tbody></table></div>",
    "a|b\n---": "<p>a|b</p><hr>",
    "```a`b": "<p>```a`b</p>",
    "# a#b ## #\n# ##": "<h3>a#b ##</h3><h3></h3>",
    "[a](https://x.example/(1) 'title')": '<p><a href="https://x.example/(1)">a</a></p>',
    "see https://x.example/a?b=1.": '<p>see <a href="https://x.example/a?b=1">'
    "https://x.example/a?b=1</a>.</p>",
    "![p](https://x.example/p.png)": '<p><a href="https://x.example/p.png">p</a></p>',
    "": "",
}
HOSTILE = [
    "<script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d](//x.example)",
    "[a](java\nscript:alert(1)) [b](vbscript:x) ![c](javascript:alert(1))",
    '[a](https://x.example/"onmouseover="alert(1))',
    "```<img src=x onerror=alert(1)>\n</code></pre><script>alert(1)</script>\n```",
    "|<script>alert(1)</script>|b|\n|-|-|\n|<img src=x onerror=alert(1)>|`<b>`|",
    "[**<img src=x onerror=alert(1)>**](https://x.example)",
]
FOUND = """
async (texts) => {
  const { markdown } = await import("/static/realtime/markdown.js");
  const found = [];
  for (const text of texts) {
    const root = document.body.appendChild(document.createElement("div"));
    markdown(root, text);
    for (const one of root.querySelectorAll("*")) {
      const bad = ["SCRIPT", "IMG", "IFRAME", "STYLE", "FORM"].includes(one.tagName);
      const acts = one.getAttributeNames().some((name) => name.startsWith("on"));
      const leads = one.tagName === "A" && !["https:", "http:"].includes(one.protocol);
      if (bad || acts || leads) found.push(one.outerHTML);
    }
  }
  return found;
}
"""
SPEED = """
async ([kinds, size, most]) => {
  const { markdown } = await import("/static/realtime/markdown.js");
  const slow = [];
  for (const [first, kind, last] of kinds) {
    const text = first + kind.repeat(size / kind.length) + last;
    const root = document.createElement("div");
    let took = Infinity;
    for (let turn = 0; turn < 3 && took > most; turn++) { // the machine may have paused
      const begun = performance.now();
      markdown(root, text);
      took = Math.min(took, performance.now() - begun);
    }
    if (took > most) slow.push(`${first}${kind}${last}: ${took}`);
  }
  return slow;
}
"""
# What an expression could take in many ways, or look for again and again: first, repeated, last.
LINES = [
    ("```", "a", "`"), ("```", " ", "`"), ("|\n", " ", "x"), ("|\n-", " ", "x"), ("# a", " ", "x"),
    ("# a", " #", "x"), ("", "- ", "x"), ("http://", ".", "a"), ("", "`a", ""), ("`", " ``", ""),
    ("", "*a ", ""), ("", "**a ", ""), ("", "**a*", ""), ("", "_a ", ""), ("", "_", ""),
    ("", "~~a ", ""), ("", "[a](", ""), ("", "[", "]("), ("", "(", ""), ("", "\\*", ""),
]  # fmt: skip
TEXTS = [
    ("", "> ", "x"), ("", "- a\n  ", ""), ("", "> - > - > - x\n", ""), ("", "-\n", ""),
    ("", "a\n\n", ""), ("", "a\n|-", ""), ("", "|a", "\n"), ("|a|\n|-|\n", "|\n", ""),
    ("|" + "a|" * 20_000 + "\n|" + "-|" * 20_000 + "\n", "|\n", ""),
    ("", "*a " * 3000 + "\n\n", ""), ("", "**a*" * 2000 + "\n\n", ""),
]  # fmt: skip
WHOLE = """
async () => {
  const { markdown } = await import("/static/realtime/markdown.js");
  const root = document.createElement("div");
  const text = "word and **more**\\n".repeat(60_000);
  markdown(root, text);
  const shown = root.textContent.replaceAll("*", "").replace(/\\s/g, "");
  return [shown.length, text.replace(/[*\\s]/g, "").length];
}
"""
KEPT = """
async () => {
  const { markdown } = await import("/static/realtime/markdown.js");
  const root = document.createElement("div");
  markdown(root, "# One\\n\\ntwo");
  const [first, second] = root.children;
  markdown(root, "# One\\n\\ntwo and more\\n\\nthree");
  return [root.children[0] === first, root.children[1] === second, root.textContent];
}
"""


async def test_markdown_becomes_the_elements_that_it_names(
    house: House, new_context: NewContext
) -> None:
    page = await (await new_context()).new_page()
    await page.goto(f"{house.url}/sessions/")
    shown = await page.evaluate(SHOW, list(CASES))
    assert dict(zip(CASES, shown, strict=True)) == CASES

    # Nothing that it says is run, fetched or led to: the fixture `watch` sees violations, too.
    assert await page.evaluate(FOUND, HOSTILE) == []
    assert await page.title() == "Sessions · Trunkline"
    # What grows keeps the blocks that have not changed, and whoever reads or selects them.
    assert await page.evaluate(KEPT) == [True, False, "Onetwo and morethree"]
    # Nonsense of any length takes no long time, and none of it is left out.
    assert await page.evaluate(SPEED, [LINES, 9_900, 600]) == []
    assert await page.evaluate(SPEED, [LINES[:6], 150_000, 1500]) == []
    assert await page.evaluate(SPEED, [TEXTS, 1_000_000, 6000]) == []
    shown, said = await page.evaluate(WHOLE)
    assert shown == said
