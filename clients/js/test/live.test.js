/** What topics and groups have in common: coming back, waiting, signs of life. PROTOCOLS.md 0.2, 4, 5. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { settle } from "./fakes.js";
import { Groups, Topics } from "./live.js";

const REFUSED = "the handshake was refused, or nobody is there";
const AGAIN = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 1015, 4000, 4001, 4008, 4009];

for (const [name, Kind] of [["topics", Topics], ["groups", Groups]]) {
  const says = (words, run) => test(`${name}: ${words}`, () => run(new Kind()));
  const states = (it) => it.heard("state").map(({ state }) => state);

  says("it is ready when its first proof is answered", async (it) => {
    await it.dialled();
    assert.deepEqual(states(it), ["connecting"]);
    await it.answered();
    assert.deepEqual(states(it), ["connecting", "ready"]);
  });

  for (const code of AGAIN) {
    says(`after ${code} it comes back`, async (it) => {
      await it.ready();
      await it.socket.drop(code, "why");
      assert.deepEqual(it.heard("retry"), [{ delayMs: 1000, code, reason: "why" }]);
      await it.back();
      assert.equal(it.client.state, "ready");
    });
  }

  says("1012 and the one attempt after 4003 come soon, whatever failed before", async (it) => {
    await it.ready(it.renewable(() => "new"));
    for (const code of [1006, 1006, 1006, 1012, 4003, 1006]) {
      await it.socket.drop(code);
      await it.clock.advance(it.clock.next);
    }
    assert.deepEqual(it.heard("retry").map(({ delayMs }) => delayMs), [1000, 2000, 4000, 1000, 1000, 30_000]);
  });

  says("4003 ends it when the credentials stay the same, and says why", async (it) => {
    await it.ready();
    await it.socket.drop(4003, "revoked");
    const { state, code, reason, error } = it.heard("state").at(-1);
    assert.deepEqual([state, code, reason, error.message], ["stopped", 4003, "revoked", "revoked"]);
    assert.equal(it.clock.waiting, 0);
    await it.page.online();
    assert.equal(it.Socket.sockets.length, 1);
  });

  says("4003 is answered with other credentials once, until the connection has lasted", async (it) => {
    let asked = 0;
    await it.ready(it.renewable(() => `secret ${(asked += 1)}`));
    await it.socket.drop(4003, "expired");
    assert.equal(it.client.state, "reconnecting");
    await it.back();
    assert.equal(it.shown(), "secret 2");
    await it.clock.advance(30_000);
    await it.answered();
    await it.socket.drop(4003, "expired");
    await it.back();
    assert.equal(it.shown(), "secret 3");
    await it.socket.drop(4003, "expired");
    assert.equal(it.client.state, "stopped");
  });

  says("credentials are asked for at each attempt; a function that fails costs one", async (it) => {
    const answers = ["one", new Error("no network"), "two"];
    const next = async () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    };
    await it.ready(it.renewable(next));
    assert.equal(it.shown(), "one");
    await it.socket.drop();
    await it.clock.advance(1000);
    assert.equal(it.heard("retry").at(-1).reason, "no network");
    await it.back();
    assert.equal(it.shown(), "two");
  });

  says("a refused handshake is a close without an open: it says so, and comes slower each time", async (it) => {
    it.make().start();
    for (const delay of [1000, 2000, 4000]) {
      await settle();
      await it.socket.drop(1006);
      assert.deepEqual(it.heard("retry").at(-1), { delayMs: delay, code: 1006, reason: REFUSED });
      await it.clock.advance(delay);
    }
    await it.socket.open();
    await it.socket.drop(1006);
    assert.equal(it.heard("retry").at(-1).reason, "the connection was lost");
    await it.clock.advance(it.clock.next);
    await it.socket.drop(1006);
    assert.equal(it.heard("retry").at(-1).reason, REFUSED);
  });

  says("what is said while nobody hears waits in order, and goes before what a page says on becoming ready", async (it) => {
    await it.dialled();
    it.client.on("state", ({ state }) => state === "ready" && it.say("late"));
    assert.equal(it.say("early"), true);
    assert.deepEqual([it.said(), it.client.queued], [[], 1]);
    await it.answered();
    assert.deepEqual([it.said(), it.client.queued], [["early", "late"], 0]);
    it.socket.readyState = 2;
    it.say("to a closing socket");
    await it.away();
    assert.deepEqual(it.said(), ["to a closing socket", "late"]);
  });

  says("what waits is bounded: the newest is dropped with a word", async (it) => {
    await it.dialled({ queueMax: 2 });
    assert.deepEqual(["one", "two", "three"].map(it.say), [true, true, false]);
    assert.deepEqual(it.heard("dropped").map(({ reason }) => reason), ["2 messages are waiting already"]);
    await it.answered();
    assert.deepEqual(it.said(), ["one", "two"]);
  });

  says("before the start and after the end nothing waits, and what waited is dropped with a word", async (it) => {
    it.make();
    assert.equal(it.say("too early"), false);
    it.client.start();
    await settle();
    it.say("waiting");
    it.client.stop();
    assert.equal(it.say("too late"), false);
    const reasons = it.heard("dropped").map(({ reason }) => reason);
    assert.deepEqual(reasons, ["not connected", "stopped by the page", "not connected"]);
    assert.equal(it.clock.waiting, 0);
    assert.equal(it.heard("state").at(-1).error, null);
  });

  says("it proves every half minute that it lives, and tells the round-trip time", async (it) => {
    await it.ready();
    assert.equal(it.proofs(), 1);
    await it.clock.advance(30_000);
    assert.equal(it.proofs(), 2);
    await it.clock.advance(40);
    await it.answered();
    assert.deepEqual(it.heard("rtt"), [{ ms: 0 }, { ms: 40 }]);
  });

  says("a dead socket is found five seconds later", async (it) => {
    await it.ready();
    await it.clock.advance(34_999);
    assert.equal(it.client.state, "ready");
    await it.clock.advance(1);
    assert.equal(it.heard("retry")[0].reason, "no sign of life");
  });

  says("a socket that opens and says nothing is given up, too", async (it) => {
    await it.dialled();
    await it.clock.advance(5000);
    assert.equal(it.client.state, "reconnecting");
  });

  says("whatever is heard is a sign of life, and the proof is asked for again", async (it) => {
    await it.ready();
    for (const proofs of [3, 5]) {
      await it.clock.advance(30_000);
      await it.socket.deliver("not even JSON");
      await it.clock.advance(5000);
      assert.deepEqual([it.client.state, it.proofs()], ["ready", proofs]);
      if (proofs === 3) await it.answered();
    }
    assert.deepEqual(it.heard("rtt").at(-1), { ms: 5000 });
    await it.clock.advance(5000);
    assert.equal(it.client.state, "reconnecting");
  });

  says("an answer that nobody waits for says nothing", async (it) => {
    await it.ready();
    await it.answered();
    assert.equal(it.heard("rtt").length, 1);
  });

  says("back from the network's absence it has to prove that it lives", async (it) => {
    await it.ready();
    await it.page.online();
    assert.equal(it.proofs(), 2);
    await it.clock.advance(5000);
    assert.equal(it.client.state, "reconnecting");
  });

  says("ping tells the round-trip time, of the proof that is under way if there is one", async (it) => {
    await it.ready();
    const first = it.client.ping();
    await it.clock.advance(7);
    const second = it.client.ping();
    assert.equal(it.proofs(), 2);
    await it.answered();
    assert.deepEqual(await Promise.all([first, second]), [7, 7]);
  });

  says("ping is null without a connection, and when it goes meanwhile", async (it) => {
    it.make();
    assert.equal(await it.client.ping(), null);
    await it.ready();
    const asked = it.client.ping();
    await it.socket.drop();
    assert.equal(await asked, null);
  });

  says("start while it waits dials at once; a socket that was not ready is given up with its deadline", async (it) => {
    await it.ready();
    await it.socket.drop();
    await it.dialledAgain();
    await it.clock.advance(3000);
    it.client.start();
    await it.clock.advance(3000);
    assert.equal(it.Socket.sockets.length, 3);
    await it.socket.open();
    await it.answered();
    assert.equal(it.client.state, "ready");
    it.client.start();
    assert.equal(it.Socket.sockets.length, 3);
  });

  says("an unset option is its default", async (it) => {
    await it.ready({ pingMs: undefined, queueMax: undefined });
    assert.equal(it.clock.next, 5000); // the transport's; the proof is asked for later
    await it.clock.advance(30_000);
    assert.equal(it.proofs(), 2);
  });

  says("its address is the page's own when none is given, never the page's query", async (it) => {
    globalThis.location = { protocol: "https:", host: "here:8443", search: "?url=wss://evil" };
    try {
      it.make({ url: undefined }).start();
      await settle();
      assert.match(it.socket.url, /^wss:\/\/here:8443\/(nexus\/ws\?token=secret|v3\/ws\/group\/team\/client\/alice\?api_key=secret&)/);
    } finally {
      delete globalThis.location;
    }
    assert.throws(() => it.make({ url: undefined }), TypeError);
  });
}
