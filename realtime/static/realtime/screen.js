/** What the size of things on the screen asks for. */

const SLACK = 60; // pixels from the end that still count as the end

/** Keep a list at its end while it grows or shrinks, unless its reader has scrolled back. */
export function stickToEnd(list) {
  let atEnd = true;
  let top = 0; // where it was last
  let due = 0;
  const follow = () => {
    due = 0;
    if (!atEnd) return;
    list.scrollTop = list.scrollHeight;
    top = list.scrollTop;
  };
  list.addEventListener("scroll", () => {
    const near = list.scrollTop + list.clientHeight >= list.scrollHeight - SLACK;
    if (near || list.scrollTop < top) atEnd = near; // what has come below it since is not the reader's doing
    top = list.scrollTop;
  });
  new ResizeObserver(follow).observe(list);
  // Once a frame: its height is asked for, and a long list that comes at once has many changes.
  const changes = new MutationObserver(() => (due ||= requestAnimationFrame(follow)));
  changes.observe(list, { childList: true, subtree: true, characterData: true });
}

/** A panel stands open where there is room; a turned or resized screen is asked again. */
export function openWhen(query, panel) {
  const room = matchMedia(query);
  const follow = () => (panel.open = room.matches);
  room.addEventListener("change", follow);
  follow();
}
