// The client without a browser: its rules, and the whole of it against a server made of plain objects.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Positions } from "../../api/web/recado-positions.js";
import { PendingRequests, RecadoError, afterClose, afterStatus, delay, instant, isTokenGone, read } from "../../api/web/recado-rules.js";

test("pauses: full jitter up to 0.5 s, 1 s, 2 s … 30 s", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 1000].map((attempt) => delay(attempt, 1)), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  assert.equal(delay(5, 0), 0);
  assert.equal(delay(5, 0.5), 8000);
});

test("close codes say whether to come back", () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4008, 4012, 4029, 4499]) assert.equal(afterClose(code), "return", code);
  for (const code of [1002, 1003, 1007, 1008, 3000, 4500, 4501, 4503, 4529]) assert.equal(afterClose(code), "stop", code);
  assert.equal(afterClose(4001), "renew");
  assert.equal(afterClose(1009), "shrink");
});

test("for want of a token there is no connection any more: revoked, or there is no other", () => {
  assert.deepEqual([4501, "token_refused", 4503, 4001, "closed", undefined].map(isTokenGone), [true, true, false, false, false, false]);
});

test("HTTP statuses, too", () => {
  for (const status of [408, 425, 429, 500, 502, 503]) assert.equal(afterStatus(status), "return");
  for (const status of [400, 403, 404, 421]) assert.equal(afterStatus(status), "stop");
  assert.equal(afterStatus(401), "renew");
});

test("frames: replies by their key, pushes, and what is neither", () => {
  assert.equal(read("no JSON"), null);
  for (const text of ["1", "null", "[]", "{}", '{"action":7}']) assert.equal(read(text), null);
  assert.equal(read('{"action":"message","topic_name":"t","content":1,"user_source":"a","seq":1}').key, null);
  assert.equal(read('{"action":"message","result":"ok","id":"k","seq":1}').key, "k");
  assert.equal(read('{"action":"subscribe","result":"ok","ref":"r"}').error, null);
  const refused = read('{"action":"error","topic":"error","code":"forbidden","message":"no","id":"k"}');
  assert.deepEqual([refused.key, refused.error.code, refused.error.message], ["k", "forbidden", "no"]);
  assert.equal(read('{"action":"subscribe","result":"error","code":"unknown_topic","ref":"r"}').error.code, "unknown_topic");
});

const message = (seq, epoch = "e") => ({ topic: "t", epoch, seq });

test("nothing is received twice", () => {
  const positions = new Positions();
  const got = [1, 2, 2, 1, 3].map((seq) => positions.receive(message(seq))?.seq ?? null);
  assert.deepEqual(got, [1, 2, null, null, 3]);
});

test("of a gap, only what is new", () => {
  const positions = new Positions();
  positions.receive(message(3));
  const gap = { topic: "t", epoch: "e", reason: "seen" };
  assert.equal(positions.receive({ ...gap, from: 1, to: 3 }), null);
  assert.deepEqual(positions.receive({ ...gap, from: 2, to: 5 }), { ...gap, from: 4, to: 5 });
  assert.equal(positions.receive(message(5)), null);
});

const { instants } = JSON.parse(readFileSync(new URL("../vectors/sent_at.json", import.meta.url)));

test("times are instants, however they are written", () => {
  for (const [place, same] of instants.entries()) {
    assert.equal(new Set(same.map(instant)).size, 1, same);
    if (place > 0) assert.ok(instant(instants[place - 1][0]) < instant(same[0]), same[0]);
  }
});

test("a topic that was made again, or restored, begins anew; what is finished of the old log is not acknowledged", () => {
  const positions = new Positions();
  positions.receive(message(7));
  positions.ack(message(7));
  positions.takeAcks();
  assert.equal(positions.receive(message(1, "again")).seq, 1);
  assert.equal(positions.receive(message(1, "again")), null);
  assert.equal(positions.ack(message(9)), false);
  assert.equal(positions.ack(message(1, "again")), true);
  assert.deepEqual(positions.takeAcks(), [{ topic: "t", epoch: "again", seq: 1 }]);
  assert.equal(positions.receive({ topic: "t", epoch: "third", from: 1, to: 1 }).from, 1);
});

test("an acknowledgement goes out once, and again when what it covers comes again", () => {
  const positions = new Positions();
  positions.receive(message(1));
  assert.deepEqual([positions.ack(message(1)), positions.ack(message(1))], [true, false]);
  assert.deepEqual([positions.takeAcks(), positions.takeAcks()], [[{ topic: "t", epoch: "e", seq: 1 }], []]);
  assert.equal(positions.receive(message(1)), null);
  assert.deepEqual(positions.takeAcks(), [{ topic: "t", epoch: "e", seq: 1 }]);
  positions.receive(message(2));
  assert.equal(positions.receive(message(2)), null);
  assert.deepEqual(positions.takeAcks(), [], "what was never acknowledged is not acknowledged by coming again");
});

test("requests wait in order; the largest goes when one was too large", async () => {
  const calls = new PendingRequests();
  const small = calls.make("a", "x");
  const large = calls.make("b", "x".repeat(100));
  assert.deepEqual(calls.texts.map((text) => text.length), [1, 100]);
  calls.refuseLargest();
  await assert.rejects(large, { code: "too_large" });
  calls.answer("a", { seq: 5 });
  assert.deepEqual(await small, { seq: 5 });
  const last = calls.make("c", "x");
  calls.refuseAll(new RecadoError("closed", ""));
  await assert.rejects(last, { code: "closed" });
  assert.deepEqual(calls.texts, []);
});
