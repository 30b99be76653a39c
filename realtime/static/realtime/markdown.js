/**
 * Markdown as elements. What a model says is never markup: elements are made here, and its words are
 * their text. Links lead to web pages and mail alone, and no picture is fetched.
 */

// Each takes a time that grows with the line, not faster: no two parts of one may take the same characters.
import { copyButton } from "./copying.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const LANGUAGE = /^[ \t]*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const ITEM = /^([ \t]*)([-*+]|\d{1,9}[.)])(?:[ \t]+(.*)|)$/;
const QUOTE = /^ {0,3}>[ \t]?(.*)$/;
const TASK = /^\[([ xX])\] /;
const COLUMN = /^:?-+:?$/;
const ADDRESS = /https?:\/\/[^\s<>"`]+/y;
const SAFE = /^(?:https?:\/\/|mailto:)/i;
const WORD = /[\p{L}\p{N}]/u;
const MOST_NESTED = 8;
const LONGEST_LINE = 10_000; // characters of a paragraph that are looked at for emphasis and links
const LONGEST_TARGET = 2000; // of a link
const MOST_COLUMNS = 100;
const LONGEST = 200_000; // characters that are looked at at all; what follows is shown as it is

const shown = new WeakMap(); // element -> what its blocks were made of

/** Show `text` in `root`. Of what grows only the blocks that have changed are built again. */
export function markdown(root, text) {
  const before = shown.get(root) ?? [];
  const now = blocksOf(text.slice(0, LONGEST).split(/\r?\n/));
  if (text.length > LONGEST) now.push({ kind: "rest", text: text.slice(LONGEST) });
  const sources = now.map((block) => JSON.stringify(block));
  let same = 0;
  while (same < before.length && before[same] === sources[same]) same += 1;
  while (root.childElementCount > same) root.lastElementChild.remove();
  for (const block of now.slice(same)) root.append(built(block, 0));
  shown.set(root, sources);
}

// ------------------------------------------------------------------------------------ blocks

function blocksOf(lines, depth = 0) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const taken = lines[at].trim() === "" ? { next: at + 1 } : blockAt(lines, at, depth);
    if (taken.block) blocks.push(taken.block);
    at = taken.next;
  }
  return blocks;
}

function blockAt(lines, at, depth) {
  const line = lines[at];
  const deep = depth >= MOST_NESTED;
  let match;
  if ((match = fenceOf(line))) return fenced(lines, at, match);
  if ((match = HEADING.exec(line))) return { block: { kind: "heading", level: match[1].length, text: withoutClosing(match[2]) }, next: at + 1 };
  if (RULE.test(line)) return { block: { kind: "rule" }, next: at + 1 };
  if (!deep && QUOTE.test(line)) return quoted(lines, at, depth);
  if (!deep && ITEM.test(line)) return listed(lines, at, depth);
  if (line.includes("|") && areColumns(lines[at + 1] ?? "", cellsOf(line).length)) return tabled(lines, at);
  let next = at + 1;
  while (next < lines.length && lines[next].trim() !== "" && !begins(lines[next], deep)) next += 1;
  return { block: { kind: "paragraph", text: lines.slice(at, next).join("\n").trim() }, next };
}

/** Whether a line ends the paragraph before it. */
function begins(line, deep) {
  if (fenceOf(line) || HEADING.test(line) || RULE.test(line)) return true;
  return !deep && (QUOTE.test(line) || ITEM.test(line));
}

/** What opens a block of code; a backtick behind it makes it something within a line. */
function fenceOf(line) {
  const [, marks, rest] = FENCE.exec(line) ?? [];
  if (!marks || (marks[0] === "`" && rest.includes("`"))) return null;
  return { marks, language: LANGUAGE.exec(rest)[1] };
}

/** A heading may end in as many signs as it likes. */
function withoutClosing(text) {
  const whole = text.trim();
  let end = whole.length;
  while (whole[end - 1] === "#") end -= 1;
  return end === 0 || /[ \t]/.test(whole[end - 1]) ? whole.slice(0, end).trim() : whole;
}

function fenced(lines, at, { marks, language }) {
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(marks) && line.trim().replaceAll(marks[0], "") === "";
  while (end < lines.length && !closes(lines[end])) end += 1;
  return { block: { kind: "code", language, text: lines.slice(at + 1, end).join("\n") }, next: end + 1 };
}

function quoted(lines, at, depth) {
  let next = at;
  while (next < lines.length && QUOTE.test(lines[next])) next += 1;
  const inner = lines.slice(at, next).map((line) => QUOTE.exec(line)[1]);
  return { block: { kind: "quote", blocks: blocksOf(inner, depth + 1) }, next };
}

function listed(lines, at, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const items = [];
  let next = at;
  while (next < lines.length) {
    const line = lines[next];
    const item = ITEM.exec(line);
    const blank = line.trim() === "";
    const inside = /^[ \t]*/.exec(line)[0].length > indent.length + 1;
    if (item && !inside && /\d/.test(item[2]) === ordered && !RULE.test(line)) items.push([item[3] ?? ""]);
    else if (blank || inside) items.at(-1).push(blank ? "" : dedented(line, indent.length + mark.length + 1));
    else if (lines[next - 1].trim() === "" || begins(line, false)) break;
    else items.at(-1).push(line); // it goes on, though it is not indented
    next += 1;
  }
  const start = ordered ? Number.parseInt(mark, 10) : 1;
  return { block: { kind: "list", ordered, start, items: items.map((item) => blocksOf(item, depth + 1)) }, next };
}

const dedented = (line, by) => line.slice(Math.min(by, /^[ \t]*/.exec(line)[0].length));

function tabled(lines, at) {
  let next = at + 2;
  while (next < lines.length && lines[next].includes("|")) next += 1;
  const [head, , ...rows] = lines.slice(at, next).map(cellsOf);
  return { block: { kind: "table", head, rows: rows.map((row) => row.slice(0, head.length)) }, next };
}

const areColumns = (line, count) => {
  const cells = line.includes("-") ? cellsOf(line) : [];
  return cells.length === count && count <= MOST_COLUMNS && cells.every((cell) => COLUMN.test(cell));
};

const cellsOf = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

// ------------------------------------------------------------------------------------ elements

function built(block, depth) {
  switch (block.kind) {
    case "heading":
      return worded(`h${Math.min(block.level + 2, 6)}`, block.text); // below the page's own
    case "rest":
      return made("p", block.text);
    case "rule":
      return made("hr");
    case "code":
      return code(block);
    case "quote":
      return filled("blockquote", block.blocks.map((one) => built(one, depth + 1)));
    case "list":
      return list(block, depth);
    case "table":
      return table(block);
    default:
      return worded("p", block.text);
  }
}

function code({ language, text }) {
  const words = made("code", text);
  const lines = made("pre", words);
  lines.tabIndex = 0; // it may be wider than the screen
  lines.setAttribute("role", "region");
  lines.setAttribute("aria-label", language ? `Code, ${language}` : "Code");
  const whole = made("div", copyButton("Copy the code", () => text, () => words), lines);
  whole.className = "listing";
  return whole;
}

function list({ ordered, start, items }, depth) {
  const element = made(ordered ? "ol" : "ul");
  if (ordered && start !== 1) element.start = start;
  for (const blocks of items) {
    const [first, ...rest] = blocks;
    const item = first?.kind === "paragraph" ? worded("li", first.text.replace(TASK, ticked)) : made("li");
    for (const one of first?.kind === "paragraph" ? rest : blocks) item.append(built(one, depth + 1));
    element.append(item);
  }
  return element;
}

const ticked = (_, sign) => (sign === " " ? "☐ " : "☑ ");

function table({ head, rows }) {
  const row = (cells, tag) => {
    const found = cells.map((cell) => worded(tag, cell));
    // Cells that are not there are no elements: a wide head would make many of short rows.
    if (found.length < head.length) found.at(-1).colSpan = head.length - found.length + 1;
    return filled("tr", found);
  };
  const whole = made("div", made("table", made("thead", row(head, "th")), filled("tbody", rows.map((cells) => row(cells, "td")))));
  whole.className = "wide";
  whole.tabIndex = 0;
  whole.setAttribute("role", "region");
  whole.setAttribute("aria-label", "Table");
  return whole;
}

const made = (tag, ...content) => filled(tag, content);

/** `content` may be longer than the arguments of a call. */
function filled(tag, content) {
  const element = document.createElement(tag);
  for (const one of content) element.append(one);
  return element;
}

/** An element with emphasis, code and links in its text. */
function worded(tag, text, depth = 0) {
  const element = made(tag);
  if (text.length > LONGEST_LINE || depth > MOST_NESTED) {
    element.append(text);
    return element;
  }
  const open = new Set(); // marks that nothing closes from here on: they are not looked for again
  let plain = 0;
  for (let at = 0; at < text.length; ) {
    const found = SIGNS[text[at]]?.(text, at, depth, open);
    if (!found) {
      at += 1;
      continue;
    }
    element.append(text.slice(plain, at), found.node);
    plain = at = found.end;
  }
  element.append(text.slice(plain));
  return element;
}

// ------------------------------------------------------------------------------------ within a line

const SIGNS = {
  "\\": (text, at) => (/[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? { node: text[at + 1], end: at + 2 } : null),
  "`": span,
  "*": (...here) => stressed(...here, "**", "strong") ?? stressed(...here, "*", "em"),
  _: (...here) => stressed(...here, "__", "strong") ?? stressed(...here, "_", "em"),
  "~": (...here) => stressed(...here, "~~", "del"),
  "[": link,
  "!": (text, at, depth) => (text[at + 1] === "[" ? link(text, at + 1, depth) : null), // a picture: as a link
  h: address,
};

function span(text, at) {
  let length = 1;
  while (text[at + length] === "`") length += 1;
  const marks = "`".repeat(length);
  let end = text.indexOf(marks, at + length);
  while (end >= 0 && (text[end + length] === "`" || text[end - 1] === "`")) end = text.indexOf(marks, end + 1);
  if (end < 0) return { node: marks, end: at + length };
  return { node: made("code", text.slice(at + length, end).replace(/^ (.*\S.*) $/s, "$1")), end: end + length };
}

function stressed(text, at, depth, open, mark, tag) {
  const from = at + mark.length;
  const inWord = (index) => mark[0] === "_" && WORD.test(text[index] ?? "");
  if (open.has(mark) || !text.startsWith(mark, at) || /\s/.test(text[from] ?? " ") || inWord(at - 1)) return null;
  for (let end = text.indexOf(mark, from + 1); end >= 0; end = text.indexOf(mark, end + 1)) {
    const single = mark.length === 1 && (text[end + 1] === mark || text[end - 1] === mark);
    if (/\s/.test(text[end - 1]) || single || inWord(end + mark.length)) continue;
    if (mark.length === 2 && text[end + 2] === mark[0]) continue; // the inner of three
    return { node: worded(tag, text.slice(from, end), depth + 1), end: end + mark.length };
  }
  open.add(mark);
  return null;
}

function link(text, at, depth) {
  const middle = text.indexOf("](", at);
  const end = middle < 0 ? -1 : closing(text, middle + 1);
  if (end < 0 || text.slice(at + 1, middle).includes("[")) return null;
  const [target] = text.slice(middle + 2, end).trim().split(/\s/); // without its title
  const label = text.slice(at + 1, middle) || target;
  if (!SAFE.test(target)) return { node: worded("span", label, depth + 1), end: end + 1 };
  const to = anchor(target);
  to.append(...worded("span", label, MOST_NESTED).childNodes);
  return { node: to, end: end + 1 };
}

/** Where the bracket at `at` is closed, or -1. */
function closing(text, at) {
  let open = 0;
  const last = Math.min(text.length, at + LONGEST_TARGET);
  for (let end = at; end < last && text[end] !== "\n"; end += 1) {
    if (text[end] === "(") open += 1;
    if (text[end] === ")" && (open -= 1) === 0) return end;
  }
  return -1;
}

function address(text, at, depth) {
  if (depth >= MOST_NESTED || WORD.test(text[at - 1] ?? "")) return null;
  ADDRESS.lastIndex = at;
  const [found] = ADDRESS.exec(text) ?? [];
  if (!found) return null;
  let end = found.length;
  while (".,;:!?'\")]*_".includes(found[end - 1])) end -= 1; // they end the sentence
  const to = anchor(found.slice(0, end));
  to.append(found.slice(0, end));
  return { node: to, end: at + end };
}

function anchor(target) {
  const to = made("a");
  to.href = to.title = target;
  to.target = "_blank";
  to.rel = "noopener noreferrer nofollow";
  return to;
}
