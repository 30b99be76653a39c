/** Keep a list at its end while it grows or shrinks, unless its reader has scrolled back. */

const SLACK = 60; // pixels from the end that still count as the end

export function stickToEnd(list) {
  let atEnd = true;
  const follow = () => {
    if (atEnd) list.scrollTop = list.scrollHeight;
  };
  list.addEventListener("scroll", () => {
    atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - SLACK;
  });
  new ResizeObserver(follow).observe(list);
  new MutationObserver(follow).observe(list, { childList: true, subtree: true, characterData: true });
}
