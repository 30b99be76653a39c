/** What this browser remembers, where its reader allows it. No secret is among it. */

export const USER = "trunkline.user"; // who was here last
export const PAIRED = "trunkline.paired"; // an administrator has let this browser in
export const ENDED = "trunkline.ended"; // why the pairing is over, until somebody acts on it
export const CODE = "trunkline.code"; // the code shown and since when, for its countdown
export const SESSION = "trunkline.session"; // of the tab: the chat on the screen
export const ASK = "trunkline.ask"; // of the tab: the reader pressed "Pair this browser"

const stores = { local: () => localStorage, tab: () => sessionStorage };

export function kept(where, key) {
  try {
    return stores[where]().getItem(key) ?? "";
  } catch {
    return "";
  }
}

/** An empty value forgets; false when the reader forbids storage: the page works, and forgets. */
export function keep(where, key, value) {
  try {
    if (value === "") stores[where]().removeItem(key);
    else stores[where]().setItem(key, value);
    return true;
  } catch {
    return false;
  }
}
