/** Where a history was last seen, and every kind of gap. docs/decisions/0010-recovery.md. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Trail } from "../trail.js";

let gaps, trail;

const at = (offset, epoch = "e") => ({ epoch, offset });
const hear = (...offsets) => offsets.map((offset) => trail.heard({ offset }));

beforeEach(() => {
  gaps = [];
  trail = new Trail((reason) => gaps.push(reason));
});

function begin(offset = 4) {
  assert.equal(trail.ask(), null);
  trail.answered({ recovered: true, ...at(offset) });
  trail.settle();
}

test("the first question is from now on, the next from the last number", () => {
  begin();
  assert.deepEqual(trail.ask(), at(4));
  assert.deepEqual(hear(5, 6), [true, true]);
  assert.deepEqual(trail.ask(), at(6));
  assert.deepEqual(gaps, []);
});

test("what was seen already is dropped", () => {
  begin();
  assert.deepEqual(hear(5, 5, 4, 6), [true, false, false, true]);
  assert.deepEqual(gaps, []);
});

test("what was missed comes after the answer, and is new although the answer's number is higher", () => {
  begin();
  trail.ask();
  trail.answered({ recovered: true, ...at(7) });
  assert.deepEqual(hear(5, 6, 7), [true, true, true]);
  trail.settle();
  assert.deepEqual(hear(7, 8), [false, true]);
  assert.deepEqual(gaps, []);
});

test("with a filter numbers skip, and the answer's number counts when the replay has come", () => {
  begin();
  trail.ask(false);
  trail.answered({ recovered: true, ...at(90) });
  assert.deepEqual(hear(7), [true]);
  trail.settle();
  assert.deepEqual(trail.ask(false), at(90));
  hear(200);
  assert.deepEqual(gaps, []);
});

test("a replay that broke off is asked for again from where it broke", () => {
  begin();
  trail.ask();
  trail.answered({ recovered: true, ...at(9) });
  hear(5, 6);
  assert.deepEqual(trail.ask(), at(6));
  trail.answered({ recovered: true, ...at(10) });
  hear(7, 8, 9, 10);
  assert.deepEqual(gaps, []);
});

test("a jump is a gap, told once, and it goes on from there", () => {
  begin();
  assert.deepEqual(hear(7, 8), [true, true]);
  assert.deepEqual(gaps, ["jump"]);
});

test("another epoch is a gap, and its numbers count from then on", () => {
  begin();
  assert.equal(trail.heard(at(1, "f")), true);
  assert.deepEqual(hear(2), [true]);
  assert.deepEqual(trail.ask(), at(2, "f"));
  assert.deepEqual(gaps, ["epoch"]);
});

test("messages without a number are one gap, until numbers come back", () => {
  begin();
  assert.deepEqual([trail.heard({}), trail.heard({})], [true, true]);
  assert.deepEqual(gaps, ["unnumbered"]);
  trail.heard(at(1, "f"));
  trail.heard({});
  assert.deepEqual(gaps, ["unnumbered", "epoch", "unnumbered"]);
});

test("not recovered is a gap with the server's reason, and its place counts", () => {
  begin();
  trail.ask();
  trail.answered({ recovered: false, reason: "trimmed", ...at(50) });
  trail.settle();
  assert.deepEqual(gaps, ["trimmed"]);
  assert.deepEqual(hear(50, 51), [false, true]);
  assert.deepEqual(gaps, ["trimmed"]);
});

test("not recovered and no place: numbers are taken up as they come", () => {
  begin();
  trail.ask();
  trail.answered({ recovered: false, reason: "away" });
  assert.equal(trail.heard({}), true);
  assert.equal(trail.heard(at(1, "f")), true);
  assert.deepEqual(hear(2), [true]);
  assert.deepEqual(gaps, ["away"]);
});

test("at the very first nothing can have been missed", () => {
  trail.ask();
  trail.answered({ recovered: false, reason: "off" });
  trail.settle();
  trail.heard({});
  assert.deepEqual(gaps, []);
});

test("whoever had no number cannot know what it missed", () => {
  trail.ask();
  trail.answered({ recovered: false, reason: "away" });
  assert.equal(trail.ask(), null);
  trail.answered({ recovered: true, ...at(3) });
  assert.deepEqual(gaps, ["unnumbered"]);
  hear(4);
  assert.deepEqual(gaps, ["unnumbered"]);
});

test("a server that knows no numbers: each return is a gap, the messages are not", () => {
  for (const expected of [[], ["unnumbered"], ["unnumbered", "unnumbered"]]) {
    trail.ask();
    trail.settle();
    trail.heard({});
    assert.deepEqual(gaps, expected);
  }
});

test("the server may look again by itself: whole, it goes on; not whole, it is a gap", () => {
  begin();
  trail.answered({ recovered: true, ...at(6) });
  hear(5, 6, 7);
  assert.deepEqual(gaps, []);
  trail.answered({ recovered: false, reason: "overrun", ...at(30) });
  hear(31);
  assert.deepEqual(gaps, ["overrun"]);
});
