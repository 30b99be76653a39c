/** What the size of things on the screen asks for. */

const SLACK = 60; // pixels from the end that still count as the end

/** Keep a list at its end while it grows or shrinks, unless its reader has scrolled back. */
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

/** A panel stands open where there is room; a turned or resized screen is asked again. */
export function openWhen(query, panel) {
  const room = matchMedia(query);
  const follow = () => (panel.open = room.matches);
  room.addEventListener("change", follow);
  follow();
}
