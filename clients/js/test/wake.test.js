/** What the page's own events do to a socket. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { ResilientSocket } from "../transport.js";
import { FakeClock, FakePage, fakeSockets, settle } from "./fakes.js";

let clock, page, Socket, doubts, losses, transport;

async function open(options = {}) {
  const handlers = {
    opened: () => {},
    received: () => {},
    lost: (loss) => losses.push(loss),
    doubted: () => (doubts += 1),
  };
  const fakes = { url: "ws://here/ws", WebSocket: Socket, timers: clock, page, random: () => 1 };
  transport = new ResilientSocket(handlers, { ...fakes, permanent: [4003], ...options });
  transport.start();
  await settle();
  await Socket.last.open();
}

beforeEach(() => {
  clock = new FakeClock();
  page = new FakePage();
  Socket = fakeSockets();
  doubts = 0;
  losses = [];
});

for (const [name, wake] of [
  ["the network comes back", () => page.online()],
  ["the page becomes visible", () => page.show()],
  ["the page is thawed", () => page.resume()],
  ["somebody nudges", () => transport.nudge()],
]) {
  test(`when ${name}, a waiting transport dials at once`, async () => {
    await open();
    await Socket.last.drop();
    await wake();
    await settle();
    assert.equal(Socket.sockets.length, 2);
    await clock.advance(1000);
    assert.equal(Socket.sockets.length, 2);
  });
}

test("hiding, freezing and losing the network tear nothing down and dial nothing", async () => {
  await open();
  await page.offline();
  await page.hide();
  await page.freeze();
  assert.equal(Socket.last.closedWith, null);
  await Socket.last.drop();
  await page.offline();
  await page.hide();
  await page.freeze();
  assert.equal(Socket.sockets.length, 1);
});

test("an attempt under way is not begun anew", async () => {
  await open();
  await Socket.last.drop();
  await page.online();
  await page.online();
  await page.show();
  assert.equal(Socket.sockets.length, 2);
});

test("an open socket is doubted when the network comes back", async () => {
  await open();
  await page.online();
  assert.equal(doubts, 1);
  assert.equal(Socket.last.closedWith, null);
});

for (const [name, leave, comeBack] of [
  ["hidden", () => page.hide(), () => page.show()],
  ["frozen", () => page.freeze(), () => page.resume()],
]) {
  test(`an open socket is doubted after being ${name} for long, and only then`, async () => {
    await open({ doubtMs: 30_000 });
    await leave();
    await clock.advance(29_999);
    await comeBack();
    assert.equal(doubts, 0);
    await leave();
    await clock.advance(30_000);
    await comeBack();
    assert.equal(doubts, 1);
    await comeBack();
    assert.equal(doubts, 1);
  });
}

test("a page thawed in the background is doubted for each long absence once", async () => {
  await open();
  await page.hide();
  await page.freeze();
  await clock.advance(40_000);
  await page.resume();
  assert.equal(doubts, 1);
  await clock.advance(10_000);
  await page.show();
  assert.equal(doubts, 1);
});

test("the page is listened to while it runs, and not after", async () => {
  await open();
  const listening = page.listening;
  transport.start();
  assert.equal(page.listening, listening);
  transport.stop();
  assert.equal(page.listening, 0);
  await page.online();
  transport.nudge();
  assert.equal(Socket.sockets.length, 2);

  await open();
  assert.equal(page.listening, listening);
  await Socket.last.drop(4003);
  assert.equal(page.listening, 0);
});

test("without a page it works as well", async () => {
  await open({ page: null });
  await Socket.last.drop();
  await clock.advance(1000);
  assert.equal(Socket.sockets.length, 2);
});
