// recado.js as a whole, with a WebSocket and an API made of plain objects, and a clock that is turned by hand.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { connect } from "../../api/web/recado.js";

let sockets;
let asked;
let statuses; // of the next tickets, where they are refused

class FakeSocket {
  sent = [];

  constructor(url) {
    this.url = url;
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {}

  push(...frames) {
    for (const frame of frames) this.onmessage({ data: JSON.stringify(frame) });
  }

  open() {
    this.push({ action: "connected", username: "ana", topics: 1, pending: 0 });
  }

  end(code, reason = "") {
    this.onclose({ code, reason });
  }
}

async function fakeFetch(url, { method, headers }) {
  asked.push([method, new URL(url).pathname, headers.Authorization]);
  const status = url.pathname.endsWith("/tickets") ? statuses.shift() ?? 201 : 200;
  if (status === 0) throw new TypeError("no network");
  const body = status >= 400 ? { code: "refused", message: "no" } : { ws_url: "ws://recado.test", ticket: `t.${asked.length}` };
  return { ok: status < 400, status, json: async () => body };
}

beforeEach(() => {
  [sockets, asked, statuses] = [[], [], []];
  mock.method(globalThis, "fetch", fakeFetch);
  globalThis.WebSocket = FakeSocket;
  mock.method(Math, "random", () => 1);
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const settled = async () => { for (let turn = 0; turn < 30; turn += 1) await null; };

async function connected(options = {}) {
  const states = [];
  const recado = connect({ api: "http://recado.test", token: "secret", onstate: (state) => states.push(state), ...options });
  await settled();
  return { recado, states };
}

const names = (states) => states.map((state) => state.name);
const told = (seq, content = seq) => ({ action: "message", topic_name: "t", content, user_source: "eva", seq, sent_at: "2026-01-01T00:00:00Z" });

test("a ticket, and never the token, stands in the address", async () => {
  await connected({ device: "d" });
  assert.deepEqual(asked.map((each) => each.slice(0, 2)), [["GET", "/api/v1/about"], ["POST", "/api/v1/tickets"]]);
  assert.equal(asked[1][2], "Bearer secret");
  const url = new URL(sockets[0].url);
  assert.match(url.pathname, /^\/t\./);
  assert.deepEqual(Object.fromEntries(url.searchParams), { ack: "explicit", heartbeat: "1", epoch: "1", device: "d" });
});

test("what was asked before there was a connection, and what was not answered, is sent again with the same id", async () => {
  const { recado } = await connected();
  const seq = recado.publish("t", "hello");
  assert.deepEqual(sockets[0].sent, []);
  sockets[0].open();
  const [first] = sockets[0].sent;
  sockets[0].end(1006);
  mock.timers.tick(500);
  await settled();
  sockets[1].open();
  assert.deepEqual(sockets[1].sent, [first]);
  sockets[1].push({ action: "message", result: "ok", topic_name: "t", id: first.id, seq: 9 });
  assert.equal(await seq, 9);
});

test("pauses grow, the server may ask for longer ones, and a connection ends their growth", async () => {
  const { states } = await connected();
  sockets[0].end(1006);
  mock.timers.tick(500);
  await settled();
  sockets[1].end(1006);
  mock.timers.tick(1000);
  await settled();
  sockets[2].open();
  sockets[2].push({ action: "closing", code: 4029, reason: "too fast", reconnect: true, retry_after: 7 });
  sockets[2].end(4029);
  assert.deepEqual(states.filter((state) => state.name === "waiting").map((state) => state.retryIn), [500, 1000, 7500]);
});

test("all topics are asked for, page by page behind the last name", async () => {
  const { recado } = await connected();
  sockets[0].open();
  const topics = recado.topics();
  const state = (topic_name) => ({ topic_name, kind: "public", role: "member", last_seq: 7, cursor: 5, pending: 2 });
  sockets[0].push({ action: "topics", topics: [state("a"), state("b")], more: true, ref: sockets[0].sent[0].ref });
  await settled();
  sockets[0].push({ action: "topics", topics: [state("c")], more: false, ref: sockets[0].sent[1].ref });
  assert.deepEqual((await topics).map((each) => [each.topic, each.lastSeq]), [["a", 7], ["b", 7], ["c", 7]]);
  assert.deepEqual(sockets[0].sent.map((each) => each.after), [undefined, "b"]);
});

test("it stays away when it is sent away", async () => {
  const { recado, states } = await connected();
  sockets[0].open();
  const waiting = recado.topics();
  sockets[0].push({ action: "closing", code: 4503, reason: "forbidden", reconnect: false });
  sockets[0].end(4503);
  await assert.rejects(waiting, { code: 4503 });
  assert.deepEqual([names(states).at(-1), states.at(-1).reason], ["ended", "forbidden"]);
  mock.timers.tick(60_000);
  await settled();
  assert.equal(sockets.length, 1);
  await assert.rejects(recado.publish("t", 1), { code: "closed" });
});

test("an expired token is replaced, once without a pause", async () => {
  const given = [];
  const token = async ({ refused }) => { given.push(refused); return `token ${given.length}`; };
  await connected({ token });
  sockets[0].open();
  sockets[0].end(4001);
  await settled();
  assert.deepEqual(given, [false, true]);
  assert.equal(asked.at(-1)[2], "Bearer token 2");
  statuses = [401];
  sockets[1].end(4001);
  await settled();
  assert.equal(sockets.length, 2, "a new token that is refused at once waits for its turn");
});

test("a token that nobody can replace is the end", async () => {
  statuses = [401];
  const { states } = await connected();
  assert.deepEqual([names(states), states.at(-1).code], [["connecting", "ended"], "token_refused"]);
});

test("an API that is away is asked again", async () => {
  statuses = [0, 503];
  const { states } = await connected();
  mock.timers.tick(500);
  await settled();
  mock.timers.tick(1000);
  await settled();
  sockets[0].open();
  assert.deepEqual(names(states), ["connecting", "waiting", "connecting", "waiting", "connecting", "online"]);
});

test("what onmessage returned from is acknowledged, but nothing from where it failed on", async () => {
  globalThis.reportError = () => {};
  const got = [];
  const { recado } = await connected({ onmessage: ({ seq }) => { got.push(seq); if (seq === 3) throw new Error("no"); } });
  sockets[0].open();
  sockets[0].push(told(1), told(2));
  mock.timers.tick(50);
  assert.deepEqual(sockets[0].sent, [{ action: "ack", topic_name: "t", seq: 2 }]);
  sockets[0].push(told(3), told(4), told(4));
  mock.timers.tick(50);
  assert.deepEqual([got, sockets[0].sent.length], [[1, 2, 3, 4], 1]);
  recado.close();
});

test("explicit: only what ack names; it survives the connection, and goes no further than what that was sent", async () => {
  const { recado } = await connected({ ack: "explicit" });
  sockets[0].open();
  sockets[0].push(told(1), told(2));
  mock.timers.tick(1000);
  assert.deepEqual(sockets[0].sent, []);
  recado.ack({ topic: "t", seq: 2 });
  sockets[0].end(1006);
  mock.timers.tick(500);
  await settled();
  sockets[1].open();
  for (const seq of [1, 2]) {
    assert.deepEqual(sockets[1].sent.length, seq - 1);
    sockets[1].push(told(seq));
    mock.timers.tick(50);
    assert.deepEqual(sockets[1].sent.at(-1), { action: "ack", topic_name: "t", seq });
  }
});

test("a server that is overloaded is asked again, with the same id", async () => {
  const { recado } = await connected();
  sockets[0].open();
  const seq = recado.publish("t", 1, { id: "k", ttl: 60 });
  sockets[0].push({ action: "error", topic: "error", code: "unavailable", message: "later", id: "k" });
  mock.timers.tick(1000);
  assert.deepEqual(sockets[0].sent.map((frame) => [frame.id, frame.ttl]), [["k", 60], ["k", 60]]);
  sockets[0].push({ action: "error", topic: "error", code: "not_a_member", message: "no", id: "k" });
  await assert.rejects(seq, { code: "not_a_member" });
});

test("the second answer to what was sent twice is no message", async () => {
  const got = [];
  const { recado } = await connected({ onmessage: (message) => got.push(message) });
  sockets[0].open();
  const seq = recado.publish("t", 1, { id: "k" });
  const receipt = { action: "message", result: "ok", topic_name: "t", id: "k", seq: 3 };
  sockets[0].push(receipt, receipt);
  assert.deepEqual([await seq, got], [3, []]);
});

test("a frame that is too large is refused, and the connection comes back without it", async () => {
  const { recado } = await connected();
  sockets[0].open();
  const large = recado.publish("t", "x".repeat(100_000));
  sockets[0].end(1009);
  await assert.rejects(large, { code: "too_large" });
  mock.timers.tick(500);
  await settled();
  sockets[1].open();
  assert.deepEqual(sockets[1].sent, []);
});

test("a connection on which nothing is heard is given up", async () => {
  const { states } = await connected();
  sockets[0].open();
  mock.timers.tick(60_000);
  sockets[0].push({ action: "heartbeat" });
  mock.timers.tick(60_000);
  assert.equal(names(states).at(-1), "online");
  mock.timers.tick(20_000);
  await settled();
  assert.ok(names(states).includes("waiting"));
});

test("closed while a ticket or a token is awaited, it stays closed, however that ends", async () => {
  statuses = [0];
  const seen = [];
  const early = connect({ api: "http://recado.test", token: "secret", onstate: (state) => seen.push(state.name) });
  await null;
  early.close();
  let refuse;
  const renewed = new Promise((_, reject) => { refuse = reject; });
  const { recado, states } = await connected({ token: ({ refused }) => (refused ? renewed : "secret") });
  sockets[0].open();
  sockets[0].end(4001);
  await settled();
  recado.close();
  refuse(Object.assign(new Error("no network"), { next: "return" }));
  await settled();
  assert.deepEqual([seen.at(-1), names(states).at(-1)], ["ended", "ended"]);
});

test("the last acknowledgements go out before it is closed", async () => {
  const { recado } = await connected({ ack: "explicit" });
  sockets[0].open();
  sockets[0].push(told(1));
  recado.ack({ topic: "t", seq: 1 });
  recado.close();
  assert.deepEqual(sockets[0].sent, [{ action: "ack", topic_name: "t", seq: 1 }]);
});

test("of another log, seqs that were there come again, and are acknowledged with its epoch", async () => {
  const got = [];
  await connected({ onmessage: ({ epoch, seq }) => got.push([epoch, seq]) });
  const log = (epoch) => ({ action: "topic", topic_name: "t", epoch, last_seq: 2 });
  sockets[0].open();
  sockets[0].push(log("old"), told(1), told(2));
  sockets[0].end(4012);
  mock.timers.tick(500);
  await settled();
  sockets[1].open();
  sockets[1].push(log("new"), told(1), told(1));
  mock.timers.tick(50);
  assert.deepEqual(got, [["old", 1], ["old", 2], ["new", 1]]);
  assert.deepEqual(sockets[1].sent.at(-1), { action: "ack", topic_name: "t", epoch: "new", seq: 1 });
});
