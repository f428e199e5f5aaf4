// The pure parts of the live view.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as texts from "../../api/web/watch/texts.js";
import { Columns, cellsOf, isTime, textOf } from "../../api/web/shared/columns.js";
import { areaPath, ceilingOf, linePath, means } from "../../api/web/shared/plot.js";
import { filterOf } from "../../api/web/watch/filter.js";
import { RowBuffer } from "../../api/web/watch/row-buffer.js";
import { PAGE, Source, stateAfter } from "../../api/web/watch/source.js";
import { EventParser } from "../../api/web/watch/event-stream.js";
import { placeAfter, windowOf } from "../../api/web/watch/virtual-table.js";
import { Moving, SPAN, Sums } from "../../api/web/watch/totals.js";

const CHECKOUT = {
  session_id: "s", shop_id: "h", shopper_id: "p", action_id: 2, create_time: "2026-11-22 10:00:00+00:00", action: "add",
  product_name: "mug", product_id: 4, product_price: 9.5, UPC: "0004", category_id: "c", basket_total: 19,
};

const row = (seq, content = {}, at = 0) => ({ seq, sender: "shop", content, at, cells: cellsOf(content) });
const rowsOf = (first, last, content) => Array.from({ length: last - first + 1 }, (_, n) => row(first + n, content));
const seqs = (rows) => rows.map((each) => each.seq);

// Columns

test("an object's fields are columns, inner objects to a depth of two", () => {
  const cells = cellsOf({ a: 1, b: { c: 2, d: { e: 3 } }, f: [1], g: {} });
  assert.deepEqual([...cells], [["a", 1], ["b.c", 2], ["b.d", { e: 3 }], ["f", [1]], ["g", {}]]);
});

test("what is no object is one column", () => {
  for (const content of ["hello", 7, null, [1, 2], {}, true]) assert.deepEqual([...cellsOf(content)], [["content", content]]);
});

test("however many fields there are, the columns are bounded", () => {
  const fields = (from) => Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`f${from + n}`, n]));
  const columns = new Columns();
  for (const from of [0, 1000]) columns.add(cellsOf(fields(from)));
  assert.equal(cellsOf(fields(0)).size, 200);
  assert.equal(columns.all.length, 200);
});

test("names of fields are names, whatever they are", () => {
  const cells = cellsOf(JSON.parse('{"__proto__": 1, "constructor": 2}'));
  assert.deepEqual([...cells.keys()], ["__proto__", "constructor"]);
});

test("of a checkout, identifiers are hidden at first, and not summed up", () => {
  const columns = new Columns();
  assert.equal(columns.add(cellsOf(CHECKOUT)), true);
  assert.equal(columns.add(cellsOf(CHECKOUT)), false);
  assert.deepEqual(columns.shown, ["create_time", "action", "product_name", "product_price", "UPC", "basket_total"]);
  assert.deepEqual(columns.numeric, ["product_price", "basket_total"]);
});

test("few columns are all shown, also identifiers", () => {
  const columns = new Columns();
  columns.add(cellsOf({ id: 1, name: "x" }));
  assert.deepEqual(columns.shown, ["id", "name"]);
});

test("a choice holds when further columns come", () => {
  const columns = new Columns();
  columns.add(cellsOf(CHECKOUT));
  columns.choose(["action", "shop_id"]);
  columns.add(cellsOf({ another: 1 }));
  assert.deepEqual(columns.shown, ["shop_id", "action"]);
});

test("one value that is no number makes a column none of numbers; null does not", () => {
  const columns = new Columns();
  columns.add(cellsOf({ a: 1, b: 1 }));
  columns.add(cellsOf({ a: null, b: "1" }));
  assert.deepEqual(columns.numeric, ["a"]);
});

test("a cell has text as it is, other values as JSON, and an end", () => {
  assert.deepEqual(["x", 1, false, null, undefined, [1]].map(textOf), ["x", "1", "false", "", "", "[1]"]);
  assert.equal(textOf("x".repeat(1000)).length, 301);
});

test("a moment is one that says where it is", () => {
  assert.deepEqual(["2026-11-22 10:00:00+00:00", "2026-11-22T10:00:00.5Z", "2026-11-22", "2026-99-99T10:00:00Z", 5].map(isTime),
    [true, true, false, false, false]);
});

// The filter

test("every word is looked for, in all cells and the sender, whatever its case", () => {
  const passes = (text) => filterOf(text)(row(1, CHECKOUT));
  assert.deepEqual(["MUG add", "mug sold", "shop", "9.5"].map(passes), [true, false, true, true]);
  assert.equal(filterOf("  "), null);
});

test("words do not match across cells", () => {
  assert.equal(filterOf("ab")(row(1, { x: "a", y: "b" })), false);
});

test("a column is looked at alone; numbers are compared", () => {
  const passes = (text, column) => filterOf(text, column)(row(1, CHECKOUT));
  assert.deepEqual([passes("mug", "product_name"), passes("mug", "action"), passes("mug", "nowhere")], [true, false, false]);
  const compared = ["> 9", ">9.5", ">= 9,5", "<10", "<= 9", "= 9.5", "9.5"].map((text) => passes(text, "product_price"));
  assert.deepEqual(compared, [true, false, true, true, false, true, true]);
  assert.equal(passes("> 1", "action"), false);
});

// Totals

test("sums forget what is taken away, with what rounding leaves", () => {
  const sums = new Sums();
  for (const value of [0.1, 0.2]) sums.add(row(1, { value }));
  assert.equal(sums.of("value").mean.toFixed(3), "0.150");
  for (const value of [0.1, 0.2]) sums.add(row(1, { value }), -1);
  assert.equal(sums.of("value"), null);
  assert.equal(sums.count, 0);
});

test("the last minute moves", () => {
  const moving = new Moving();
  for (const at of [100, 130, 161]) moving.add(row(1, { value: at }), at, 161);
  assert.equal(moving.lastMinute(161).count, 2);
  assert.deepEqual(moving.lastMinute(161).of("value"), { sum: 291, mean: 145.5 });
  assert.equal(moving.lastMinute(222).count, 0);
});

test("per second, the oldest first, without the second that is not over", () => {
  const moving = new Moving();
  for (const at of [998.2, 999.1, 999.9, 1000.1]) moving.add(row(1), at, 1000.5);
  assert.deepEqual(moving.perSecond(1000.5).slice(-3), [0, 1, 2]);
  assert.equal(moving.perSecond(1000.5).length, SPAN);
});

test("a clock that is ahead counts as now; what is too old not at all", () => {
  const moving = new Moving();
  moving.add(row(1), 5000, 1000);
  moving.add(row(1), 1000 - SPAN - 2, 1000);
  assert.equal(moving.lastMinute(1000).count, 1);
});

test("the seconds kept are bounded", () => {
  const moving = new Moving();
  for (let at = 0; at < 10_000; at++) moving.add(row(1), at, at);
  assert.deepEqual(moving.perSecond(10_000), Array(SPAN).fill(1));
});

// The plot

test("the upper edge is a round number", () => {
  assert.deepEqual([[], [0], [1], [3], [20], [21], [450]].map(ceilingOf), [1, 1, 1, 5, 20, 50, 500]);
});

test("paths fill their box", () => {
  assert.equal(linePath([0, 5, 10], 100, 50, 10), "M0 50L50 25L100 0");
  assert.equal(areaPath([0, 10], 100, 50, 10), "M0 50L100 0L100 50L0 50Z");
  assert.equal(areaPath([], 100, 50, 10), "");
  assert.deepEqual(means([1, 3, 5], 2), [2, 5]);
});

// Rows

test("rows are kept up to a limit, the oldest go", () => {
  const rows = new RowBuffer(1000);
  for (let n = 0; n < 5000; n += 100) rows.append(rowsOf(n + 1, n + 100, { value: 2 }), 0);
  assert.ok(rows.all.length >= 1000 && rows.all.length <= 1500);
  assert.equal(rows.all.at(-1).seq, 5000);
  assert.equal(rows.received, 5000);
  assert.equal(rows.sums.of("value").sum, 2 * rows.shown.length);
});

test("older rows go before the others, and only where there is room", () => {
  const rows = new RowBuffer(10);
  rows.append(rowsOf(8, 12), 0);
  rows.prepend(rowsOf(1, 7), 0);
  assert.deepEqual(seqs(rows.all), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  assert.equal(rows.isFull, true);
  assert.equal(rows.received, 5);
});

test("a pause holds and counts; going on shows what was held", () => {
  const rows = new RowBuffer();
  rows.pause();
  rows.append(rowsOf(1, 3), 50);
  assert.deepEqual([rows.shown.length, rows.held.length, rows.received, rows.moving.lastMinute(50).count], [0, 3, 3, 3]);
  rows.append(rowsOf(4, 4), 0);
  rows.resume();
  assert.deepEqual([seqs(rows.shown), rows.held.length], [[1, 2, 3, 4], 0]);
});

test("a pause is bounded, too", () => {
  const rows = new RowBuffer(1000);
  rows.pause();
  for (let n = 0; n < 5000; n += 100) rows.append(rowsOf(n + 1, n + 100), 0);
  assert.ok(rows.held.length <= 1500);
  assert.equal(rows.held.at(-1).seq, 5000);
  assert.equal(rows.received, 5000);
});

test("a filter is for what there is, what comes, and all figures", () => {
  const rows = new RowBuffer(10);
  rows.append([row(1, { value: 1, who: "ana" }), row(2, { value: 2, who: "eva" })], 10);
  rows.filter(filterOf("eva"), 10);
  rows.append([row(3, { value: 3, who: "ana" }), row(4, { value: 4, who: "eva" })], 10);
  rows.prepend([row(0, { value: 9, who: "ana" })], 10);
  assert.deepEqual([seqs(rows.shown), rows.sums.of("value").sum, rows.moving.lastMinute(10).count], [[2, 4], 6, 2]);
  rows.filter(null, 10);
  assert.deepEqual([seqs(rows.shown), rows.sums.of("value").sum, rows.moving.lastMinute(10).count], [[0, 1, 2, 3, 4], 19, 5]);
});

// The window onto the rows

test("only rows in sight are drawn, and some around them", () => {
  assert.deepEqual(windowOf(20_000, 0, 320, 32), { first: 0, end: 18 });
  assert.deepEqual(windowOf(20_000, 3200, 320, 32), { first: 92, end: 118 });
  assert.deepEqual(windowOf(5, 3200, 320, 32), { first: 5, end: 5 });
});

test("the place behind a seq", () => {
  const rows = [2, 4, 6].map((seq) => row(seq));
  assert.deepEqual([1, 2, 3, 6, 7].map((seq) => placeAfter(rows, seq)), [0, 1, 1, 3, 3]);
});

// Events

test("events are put together from pieces, cut anywhere", () => {
  const text = "retry: 5\nid: 7\n\n: still here\n\nevent: message\nid: 8\ndata: {\"a\":\ndata: 1}\n\nevent: gap\r\ndata: {}\r\n\r\n";
  for (const size of [1, 3, 1000]) {
    const events = new EventParser();
    const found = [];
    for (let at = 0; at < text.length; at += size) found.push(...events.take(text.slice(at, at + size)));
    assert.deepEqual([found, events.lastId], [[["message", "{\"a\":\n1}"], ["gap", "{}"]], "8"]);
  }
});

// Reading the log

class Log {
  messages = [];
  asked = [];
  fails = []; // errors to answer with, one after the other
  streams = 0;
  epoch = "e";

  add(count) {
    for (let n = 0; n < count; n++) this.messages.push({ seq: this.messages.length + 1, content: "x" });
  }

  ask = async (method, path) => {
    this.asked.push(`${method} ${path}`);
    if (this.fails.length) throw this.fails.shift();
    if (!path.includes("/messages?")) return { last_seq: this.messages.length, epoch: this.epoch };
    const before = Number(new URLSearchParams(path.split("?")[1]).get("before"));
    const found = this.messages.filter(({ seq }) => seq < before);
    return { messages: found.slice(-PAGE), more: found.length > PAGE };
  };

  /** Each stream ends at once, with what there is. */
  stream = async function* (path) {
    this.asked.push(path);
    if (this.fails.length) throw this.fails.shift();
    const asked = new URLSearchParams(path.split("?")[1]);
    if (asked.has("epoch") && asked.get("epoch") !== this.epoch) throw refusal("conflict");
    const after = Number(asked.get("after") ?? this.messages.length);
    yield { id: `${this.epoch}:${after}`, events: [], clock: 0 };
    const events = this.messages.filter(({ seq }) => seq > after).map((each) => ["message", JSON.stringify(each)]);
    if (events.length) yield { id: "", events, clock: 0 };
  }.bind(this);
}

const refusal = (code) => ({ code, next: "stop" });

/** A source over a log; before each next stream one of `steps` is taken, and behind the last it ends. */
function reading(log, steps, options = {}) {
  const seen = { seqs: [], states: [], restarts: 0, pauses: [] };
  const source = new Source({
    topic: "a/b+c", ask: log.ask, stream: log.stream, me: () => null, most: 20_000,
    onmessages: (messages) => seen.seqs.push(...seqs(messages)),
    onstate: ({ name }) => seen.states.at(-1) === name || seen.states.push(name),
    onrestart: () => { seen.restarts++; seen.seqs.length = 0; },
    sleep: async (time) => { seen.pauses.push(time); (steps.shift() ?? (() => source.end()))(); },
    ...options,
  });
  return { source, seen, done: source.run() };
}

test("it attaches, reads the newest, goes on with what comes, and reads back", async () => {
  const log = new Log();
  log.add(250);
  const { source, seen, done } = reading(log, [() => log.add(230)]);
  await done;
  assert.deepEqual(seen.seqs, Array.from({ length: 330 }, (_, n) => n + 151));
  assert.deepEqual(log.asked, [
    "api/v1/topics/a%2Fb%2Bc/stream", "GET api/v1/topics/a%2Fb%2Bc/messages?limit=100&before=251",
    "GET api/v1/topics/a%2Fb%2Bc", "api/v1/topics/a%2Fb%2Bc/stream?after=250&epoch=e",
  ]);
  assert.deepEqual(seqs(await source.older()), Array.from({ length: 100 }, (_, n) => n + 51));
  assert.equal(source.hasOlder, true);
  assert.equal((await source.older()).length, 50);
  assert.equal(source.hasOlder, false);
});

test("where it could not read the newest, it begins again", async () => {
  const log = new Log();
  log.add(3);
  let asked = 0;
  const ask = async (...args) => { if (asked++ === 0) throw { code: "unreachable", next: "return" }; return log.ask(...args); };
  const { seen, done } = reading(log, [() => log.add(1)], { ask });
  await done;
  assert.deepEqual([seen.seqs, seen.states], [[1, 2, 3, 4], ["unreachable", "live"]]);
});

test("what is too far behind to be shown is skipped", async () => {
  const log = new Log();
  const { seen, done } = reading(log, [() => log.add(10_000)], { most: 1000 });
  await done;
  assert.deepEqual([seen.seqs.at(-1), seen.seqs.length], [10_000, 1000]);
});

test("a gap moves on, too", async () => {
  const log = new Log();
  const gap = async function* (path) {
    log.asked.push(path);
    yield { id: "e:0", events: [["gap", '{"from":1,"to":40}'], ["closing", '{"code":4012}']], clock: 0 };
  };
  log.add(40);
  await reading(log, [() => {}], { stream: gap }).done;
  assert.match(log.asked.at(-1), /after=40&epoch=e$/);
});

test("a topic that is not there yet is waited for; one made again is read from its begin", async () => {
  const log = new Log();
  log.fails.push(refusal("unknown_topic"));
  const gone = () => { log.messages = []; log.epoch = "again"; log.add(2); log.fails.push(refusal("unknown_topic")); };
  const { seen, done } = reading(log, [() => log.add(3), gone, () => {}]);
  await done;
  assert.deepEqual([seen.seqs, seen.restarts], [[1, 2], 1]);
  assert.deepEqual(seen.states, ["missing", "live", "missing", "live"]);
});

test("a public topic that only members read is joined by who is logged in", async () => {
  const log = new Log();
  log.add(1);
  log.fails.push(refusal("not_a_member"));
  const { source, seen, done } = reading(log, [() => {}], { me: () => "ana" });
  await done;
  assert.equal(log.asked[1], "PUT api/v1/topics/a%2Fb%2Bc/members/ana");
  assert.deepEqual([source.joined, seen.seqs, seen.states], [true, [1], ["live"]]);
});

test("who is nobody is told so, and waits for a login", async () => {
  const log = new Log();
  log.fails.push(refusal("not_a_member"));
  const { seen, done } = reading(log, []);
  await done;
  assert.deepEqual([seen.states, seen.pauses], [["outside"], [Infinity]]);
});

test("while nobody looks it rests, and then goes on where it was", async () => {
  const log = new Log();
  log.add(1);
  const { source, seen, done } = reading(log, [
    () => source.rest(), () => { log.add(1); source.hurry(); },
  ]);
  await done;
  assert.deepEqual([seen.pauses[1], seen.seqs], [Infinity, [1, 2]]);
});

test("what a failure means", () => {
  const names = [
    { code: "unauthorized", next: "renew" }, { code: "unreachable", next: "return" }, { code: "rate_limited", next: "return" },
    refusal("forbidden"), refusal("unknown_topic"),
  ].map((error) => stateAfter(error).name);
  assert.deepEqual(names, ["login", "unreachable", "unreachable", "refused", "missing"]);
});

test("every language says the same things", () => {
  const shape = (text) => (typeof text === "string" ? [text] : Object.values(text)).map((each) => (each.match(/\{\w+\}/g) ?? []).sort().join());
  for (const each of [texts.ES, texts.IT]) {
    assert.deepEqual(Object.keys(each), Object.keys(texts.EN));
    for (const [name, text] of Object.entries(texts.EN)) assert.deepEqual(shape(each[name]), shape(text), name);
  }
});

test("another log under the same name is read from its newest, whenever it is found out", async () => {
  for (const when of ["asking", "following", "reading"]) {
    const log = new Log();
    log.add(5);
    const anew = () => { log.messages = []; log.add(7); log.epoch = "again"; };
    const { ask, stream } = log;
    if (when === "following") log.ask = async (...args) => ask(...args).finally(() => args[1].includes("?") || log.epoch === "again" || anew());
    if (when === "reading") {
      log.stream = async function* (path) {
        yield* stream(path);
        if (log.epoch === "again") return;
        anew();
        yield { id: "again:5", events: [["epoch", '{"action":"topic"}']], clock: 0 };
      };
    }
    const { seen, done } = reading(log, [when === "asking" ? anew : () => {}, () => {}]);
    await done;
    assert.deepEqual([seen.seqs, seen.restarts], [[1, 2, 3, 4, 5, 6, 7], 1], when);
  }
});
