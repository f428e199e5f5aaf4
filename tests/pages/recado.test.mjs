// The client without a browser: its rules, and the whole of it against a server made of plain objects.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Positions } from "../../api/web/recado-positions.js";
import { PendingRequests, RecadoError, afterClose, afterStatus, delay, instant, isTokenGone, read } from "../../api/web/recado-rules.js";

const vectors = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url)));
const { delays, close_codes: closeCodes, http_statuses: statuses } = vectors("reconnecting");
const { instants } = vectors("sent_at");

test("pauses: full jitter up to 0.5 s, 1 s, 2 s … 30 s", () => {
  for (const [attempt, chance, milliseconds] of delays) assert.equal(delay(attempt, chance), milliseconds, attempt);
});

test("close codes and HTTP statuses say whether to come back", () => {
  for (const [next, codes] of Object.entries(closeCodes)) for (const code of codes) assert.equal(afterClose(code), next, code);
  for (const [next, codes] of Object.entries(statuses)) for (const status of codes) assert.equal(afterStatus(status), next, status);
});

const entryOf = (given) => given && { topic: "t", epoch: "e", ...given };

for (const [name, steps] of Object.entries(vectors("positions").cases)) {
  test(name, () => {
    const positions = new Positions();
    for (const { sent, gives, finished, acks, reconnected, removed } of steps) {
      if (sent) assert.deepEqual(positions.receive(entryOf(sent)), entryOf(gives));
      if (finished) positions.ack(entryOf(finished));
      if (acks) assert.deepEqual(positions.takeAcks(), acks);
      if (reconnected) positions.reconnected();
      if (removed) positions.forget(removed);
    }
  });
}

test("for want of a token there is no connection any more: revoked, or there is no other", () => {
  assert.deepEqual([4501, "token_refused", 4503, 4001, "closed", undefined].map(isTokenGone), [true, true, false, false, false, false]);
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

test("times are instants, however they are written", () => {
  for (const [place, same] of instants.entries()) {
    assert.equal(new Set(same.map(instant)).size, 1, same);
    if (place > 0) assert.ok(instant(instants[place - 1][0]) < instant(same[0]), same[0]);
  }
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
