/**
 * Bring a page up to date from another copy of it: a changelist's rows, and whole parts marked
 * `data-live`.
 *
 * Rows are known by their check box. A row that stays is the same element, so that what is chosen,
 * focused or half written is still there; an open form is not touched.
 */

const KEY = "input.action-select";

/** @param {Document} page The same page, read again. */
export function update(page) {
  const [form, fresh] = [document, page].map((one) => one.querySelector("#changelist-form"));
  const [body, freshBody] = [form, fresh].map((one) => one?.querySelector("#result_list tbody"));
  if (body && freshBody) {
    const focused = document.activeElement;
    updateRows(body, [...freshBody.rows]);
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  } else if (form && fresh && (body || freshBody)) {
    form.replaceChildren(...fresh.childNodes); // from none to some, or back: nothing to be kept
  }
  updateForms(page);
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(part.id);
    if (now && !part.isEqualNode(now)) replace(part, now, null);
  }
  for (const part of [".paginator", "#toolbar .quiet"]) {
    const [old, now] = [document, page].map((one) => one.querySelector(part));
    if (old && now && !old.isEqualNode(now)) old.replaceWith(now);
  }
  const counters = [document, page].map((one) => one.querySelector(".action-counter"));
  if (counters[0] && counters[1]) counters[0].dataset.actionsIcnt = counters[1].dataset.actionsIcnt;
  count();
}

function updateRows(body, fresh) {
  const known = new Map([...body.rows].map((row) => [key(row), row]));
  const staying = new Set(fresh.map(key));
  for (const [name, row] of known) {
    if (staying.has(name)) row.classList.remove("gone");
    else if (isOpen(row)) row.classList.add("gone");
    else row.remove();
  }
  let place = body.firstElementChild;
  for (const now of fresh) {
    const old = known.get(key(now));
    while (place?.classList.contains("gone")) place = place.nextElementSibling;
    if (old) updateCells(old, now);
    if (old && old === place) place = place.nextElementSibling;
    else body.insertBefore(old ?? now, place);
  }
}

/** The rows' own forms, which stand outside of the table's. */
function updateForms(page) {
  const [forms, fresh] = [document, page].map((one) => one.querySelector("#say-forms"));
  if (!forms || !fresh) return;
  for (const form of [...fresh.children]) {
    if (!document.getElementById(form.id)) forms.append(form);
  }
  for (const form of [...forms.children]) {
    if (!document.querySelector(`#result_list [form="${form.id}"]`)) form.remove();
  }
}

function updateCells(old, now) {
  const cells = [...now.cells]; // they leave their row while we go
  [...old.cells].forEach((cell, index) => {
    const fresh = cells[index];
    if (!fresh || cell.isEqualNode(fresh) || isOpen(cell)) return;
    replace(cell, fresh, old.querySelector(KEY));
  });
}

/** What was focused stays so, by its name; if it is no longer there, `other` is. */
function replace(part, fresh, other) {
  const focus = part.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  part.replaceWith(fresh);
  if (focus === null) return;
  const same = [...fresh.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === focus);
  (same ?? other)?.focus({ preventScroll: true });
}

function isOpen(part) {
  return part.querySelector("details[open]") !== null;
}

function key(row) {
  return row.querySelector(KEY)?.value;
}

/** What Django's own script counts are the rows that were there when the page was opened. */
function count() {
  const counter = document.querySelector(".action-counter");
  if (!counter) return;
  const boxes = [...document.querySelectorAll(KEY)];
  const chosen = boxes.filter((box) => box.checked);
  counter.textContent = `${chosen.length} of ${counter.dataset.actionsIcnt} selected`;
  const all = document.getElementById("action-toggle");
  if (all) all.checked = boxes.length > 0 && chosen.length === boxes.length;
}

/** Choosing works for rows that came later, too. */
export function watchChoices() {
  document.querySelector("#changelist-form")?.addEventListener("change", ({ target }) => {
    if (target.id === "action-toggle") {
      for (const box of document.querySelectorAll(KEY)) {
        box.checked = target.checked;
        box.closest("tr").classList.toggle("selected", target.checked);
      }
    }
    if (target.id === "action-toggle" || target.matches(KEY)) count();
  });
}
