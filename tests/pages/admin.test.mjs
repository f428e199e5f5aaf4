// The pure parts of the operator's page.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as texts from "../../api/web/admin/texts.js";
import { STALE, age, rates, pageState } from "../../api/web/admin/rates.js";
import { bytes, duration, measure } from "../../api/web/shared/format.js";

const answer = (second, appended, deliveries = 0, name = "host:1") => ({
  at: `2026-11-22T10:00:0${second}.000Z`, appended, process: { name, deliveries, sessions: 0 },
});

test("rates are what happened between two answers, by the server's clock", () => {
  assert.deepEqual(rates(answer(0, 100, 10), answer(2, 110, 50)), { messages: 5, deliveries: 20 });
});

test("where two answers do not tell, there is no rate", () => {
  assert.deepEqual(rates(null, answer(0, 5)), { messages: null, deliveries: null });
  assert.deepEqual(rates(answer(1, 5), answer(1, 9)), { messages: null, deliveries: null });
  assert.deepEqual(rates(answer(0, 9), answer(1, 5)), { messages: null, deliveries: 0 });
  assert.equal(rates(answer(0, 5, 9), answer(1, 6, 12, "host:2")).deliveries, null);
});

test("ages are by the server's clock, and never negative", () => {
  assert.equal(age("2026-11-22T10:00:00Z", "2026-11-22T10:01:00Z"), 60);
  assert.equal(age("2026-11-22T10:02:00Z", "2026-11-22T10:01:00Z"), 0);
  assert.equal(age(null, "2026-11-22T10:01:00Z"), null);
});

test("how it stands", () => {
  const at = (error, answeredAt, now = 100) => pageState({ error, answeredAt, now });
  assert.equal(at(null, null), "loading");
  assert.equal(at(null, 99), "live");
  assert.equal(at(null, 100 - STALE - 1), "stale");
  assert.equal(at({ code: "unavailable" }, 99), "stale");
  assert.equal(at({ code: "unavailable" }, null), "refused");
  assert.equal(at({ code: "unreachable" }, 99), "unreachable");
  for (const code of ["unauthorized", "forbidden"]) assert.equal(at({ code }, 99), "locked");
});

test("numbers as people read them", () => {
  assert.deepEqual([0, 999, 1500, 2_000_000, 3.2e12].map(bytes), ["0 B", "999 B", "1.5 kB", "2 MB", "3.2 TB"]);
  assert.deepEqual([0, 59, 60, 7200, 200_000].map(duration), ["0 seconds", "59 seconds", "1 minute", "2 hours", "2 days"]);
  assert.deepEqual([0.123, 12.34, 1234.5].map(measure), ["0.12", "12.3", "1,235"]);
});

test("every language says the same things", () => {
  const shape = (text) => (typeof text === "string" ? [text] : Object.values(text)).map((each) => (each.match(/\{\w+\}/g) ?? []).sort().join());
  for (const each of [texts.ES, texts.IT]) {
    assert.deepEqual(Object.keys(each), Object.keys(texts.EN));
    for (const [name, text] of Object.entries(texts.EN)) assert.deepEqual(shape(each[name]), shape(text), name);
  }
});
