// The parts of the inbox page that need no page: conversations, what may be acknowledged, rows, links, languages.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ConversationStore, Log } from "../../api/web/inbox/conversation-store.js";
import { linked, matches } from "../../api/web/inbox/message-text.js";
import { personName, readable } from "../../api/web/inbox/names.js";
import { dayOf, rowsOf } from "../../api/web/inbox/timeline.js";
import { EN } from "../../api/web/inbox/texts-en.js";
import { ES } from "../../api/web/inbox/texts-es.js";
import { IT } from "../../api/web/inbox/texts-it.js";
import { chosen } from "../../api/web/shared/language.js";

const at = (minute) => new Date(2026, 0, 1, 12, minute).toISOString();
const message = (topic, seq, sender, minute = seq) => ({ topic, seq, sender, content: `${seq}`, sentAt: at(minute) });
const seqs = (conversation) => conversation.log.entries.map((entry) => entry.seq);

test("a log is in order, whatever comes first, and has each entry once", () => {
  const log = new Log();
  for (const place of [5, 1, 3, 3, 2, 4]) log.add({ key: `${place}`, at: place, tie: 0 });
  assert.deepEqual(log.entries.map((entry) => entry.at), [1, 2, 3, 4, 5]);
  log.remove("3");
  log.remove("3");
  assert.deepEqual(log.entries.map((entry) => entry.at), [1, 2, 4, 5]);
});

test("what is acknowledged ends before the first message that was not shown", () => {
  const store = new ConversationStore("ana");
  const entries = [1, 2, 3, 4].map((seq) => store.receive(message("news", seq, "eva")));
  assert.deepEqual(store.show([entries[1], entries[2]]), []);
  assert.equal(store.unread(store.topic("news")), 2);
  assert.deepEqual(store.show([entries[0]]).map((entry) => entry.seq), [3]);
  assert.deepEqual(store.show([entries[0], entries[2]]), [], "nothing is acknowledged twice");
  assert.deepEqual(store.show([entries[3]]).map((entry) => entry.seq), [4]);
});

test("one's own messages are not unread, but are acknowledged like all", () => {
  const store = new ConversationStore("ana");
  const own = store.receive(message("news", 1, "ana"));
  assert.equal(store.unread(store.topic("news")), 0);
  assert.deepEqual(store.show([own]).map((entry) => entry.seq), [1]);
});

test("an inbox is one log, and a conversation with each sender", () => {
  const store = new ConversationStore("ana");
  const [eva, shop] = [store.receive(message("@ana", 1, "eva")), store.receive(message("@ana", 2, "shop"))];
  assert.deepEqual([seqs(store.inbox), seqs(store.person("eva")), seqs(store.person("shop"))], [[1, 2], [1], [2]]);
  assert.deepEqual(store.show([shop]), [], "eva's comes first");
  assert.deepEqual([store.unread(store.person("eva")), store.unread(store.person("shop")), store.unreadAll], [1, 0, 1]);
  assert.deepEqual(store.show([eva]).map((entry) => entry.seq), [2]);
});

test("what this device has kept is there, but neither unread nor to be acknowledged", () => {
  const store = new ConversationStore("ana");
  store.recall(message("@ana", 1, "eva"));
  assert.equal(store.unreadAll, 0);
  assert.deepEqual(store.show(store.inbox.log.entries), []);
  const [again] = [store.receive(message("@ana", 1, "eva"))]; // it was kept, and then the page ended
  assert.deepEqual([seqs(store.inbox), seqs(store.person("eva")), store.unreadAll], [[1], [1], 1]);
  store.recall(message("@ana", 1, "eva"));
  assert.deepEqual(store.show([again]).map((entry) => entry.seq), [1]);
});

test("a gap is acknowledged when it was shown", () => {
  const store = new ConversationStore("ana");
  const gap = store.receive({ topic: "news", from: 1, to: 7, reason: "expired" });
  assert.deepEqual(store.show([gap]).map((entry) => entry.to), [7]);
});

test("a message on its way stands at the end, then in its place, once", () => {
  const store = new ConversationStore("ana");
  const topic = store.topic("news");
  const entry = store.post(topic, "hello", "k");
  store.receive(message("news", 1, "eva"));
  assert.equal(topic.log.entries.at(-1), entry);
  store.receive({ ...message("news", 2, "ana"), content: "hello" });
  store.posted(topic, entry, 2, at(3));
  assert.deepEqual(seqs(topic), [1, 2]);
  const other = store.post(topic, "again", "l");
  store.posted(topic, other, 3, at(4));
  store.receive({ ...message("news", 3, "ana"), content: "again" });
  assert.deepEqual(seqs(topic), [1, 2, 3]);
});

test("what was sent to a person stands between what came from there", () => {
  const store = new ConversationStore("ana");
  store.receive(message("@ana", 1, "eva", 1));
  const entry = store.post(store.person("eva"), "yes", "k");
  const kept = store.posted(store.person("eva"), entry, 77, at(2));
  store.receive(message("@ana", 2, "eva", 3));
  assert.deepEqual(store.person("eva").log.entries.map((each) => each.content), ["1", "yes", "2"]);
  assert.deepEqual(seqs(store.inbox), [1, 2]);
  const later = new ConversationStore("ana");
  later.recall(kept);
  assert.deepEqual(later.person("eva").log.entries.map((each) => each.mine), [true]);
});

test("history goes before, and does not replace what waits to be acknowledged", () => {
  const store = new ConversationStore("ana");
  const live = store.receive(message("news", 3, "eva"));
  store.prepend("news", [message("news", 2, "eva"), message("news", 3, "eva")], true);
  assert.deepEqual([seqs(store.topic("news")), store.topic("news").isWhole], [[2, 3], false]);
  assert.equal(store.topic("news").log.entries[1], live);
});

const { instants } = JSON.parse(readFileSync(new URL("../vectors/sent_at.json", import.meta.url)));

test("direct messages stand in the order of their instants, in a page and in its archive", () => {
  const times = instants.map((same) => same.at(-1));
  const store = new ConversationStore("ana");
  for (const [place, sentAt] of [...times.entries()].reverse()) store.receive({ topic: "@ana", seq: 900 - place, sender: "eva", content: 1, sentAt });
  const { entries } = store.inbox.log;
  assert.deepEqual(entries.map((entry) => entry.sentAt), times);
  assert.deepEqual(entries.map((entry) => entry.key).sort(), entries.map((entry) => entry.key));
});

test("one message is one entry, however its time is written", () => {
  for (const same of instants) {
    const store = new ConversationStore("ana");
    for (const sentAt of same) store.receive({ topic: "@ana", seq: 1, sender: "eva", content: 1, sentAt });
    assert.equal(store.inbox.log.entries.length, 1, same);
  }
});

test("another epoch is another log: what was there goes, and a page of the old one that comes late is let go", () => {
  const store = new ConversationStore("ana");
  const of = (epoch, ...numbers) => numbers.map((seq) => ({ ...message("news", seq, "eva"), epoch }));
  for (const each of of("old", 3, 4)) store.receive(each);
  store.prepend("news", of("old", 1, 2), false);
  assert.deepEqual(seqs(store.topic("news")), [1, 2, 3, 4]);
  for (const each of of("new", 1, 2)) store.receive(each);
  store.prepend("news", of("old", 3), true);
  assert.deepEqual([seqs(store.topic("news")), store.unread(store.topic("news"))], [[1, 2], 2]);
});

test("one belongs to the topics that the server names, and to no others", () => {
  const store = new ConversationStore("ana");
  store.receive(message("gone", 1, "eva"));
  store.belong([{ topic: "news", kind: "private", role: "owner" }, { topic: "@ana", kind: "direct", role: "owner" }]);
  assert.deepEqual([...store.topics.values()].map((each) => [each.id, each.kind, each.role]), [["news", "private", "owner"]]);
  assert.equal(store.find("gone"), null);
  assert.equal(store.find("@eva").name, "eva");
});

test("rows: days, the mark of what is new, one name for what belongs together", () => {
  const entries = [["a", "eva", at(1)], ["b", "eva", at(2)], ["c", "eva", at(20)], ["d", "omar", at(21)], ["e", "omar", new Date(2026, 0, 2).toISOString()]]
    .map(([key, sender, sentAt]) => ({ key, sender, sentAt }));
  const rows = rowsOf(entries, "d");
  assert.deepEqual(rows.map((row) => row.kind), ["day", "message", "message", "message", "new", "message", "day", "message"]);
  assert.deepEqual(rows.filter((row) => row.kind === "message").map((row) => row.isFirst), [true, false, true, true, true]);
  assert.equal(new Set(rows.map((row) => row.key)).size, rows.length);
});

test("two days are one only where they are the same", () => {
  assert.notEqual(dayOf(new Date(2026, 0, 31)), dayOf(new Date(2026, 1, 1)));
  assert.notEqual(dayOf(new Date(2025, 11, 31)), dayOf(new Date(2026, 0, 1)));
  assert.equal(dayOf(new Date(2026, 0, 1, 0, 1)), dayOf(new Date(2026, 0, 1, 23, 59)));
});

test("only http and https become addresses, without what ends a sentence", () => {
  const long = "http://x.example" + ")".repeat(1_000_000); // in linear time, or this takes hours
  assert.deepEqual(linked(`${long}y`)[0][1], `${long}y`);
  assert.deepEqual(linked("a https://x.example/y?z=1, b"), [["a ", null], ["https://x.example/y?z=1", "https://x.example/y?z=1"], [", b", null]]);
  for (const text of ["javascript:alert(1)", "data:text/html,x", "https://", "xhttps://", ""]) {
    assert.ok(linked(text).every(([, address]) => address === null), text);
  }
});

test("what is searched is found whatever its case, in objects too", () => {
  const entries = [{ sender: "eva", content: "Hello" }, { sender: "omar", content: { text: "HELLO" } }, { from: 1, to: 2 }];
  assert.equal(matches(entries, "hello").length, 2);
  assert.equal(matches(entries, "EVA").length, 1);
  assert.equal(matches(entries, "  ").length, 0);
});

test("every language says everything, with the same places", () => {
  const places = (text) => (typeof text === "string" ? [text] : Object.values(text)).map((each) => (each.match(/\{\w+\}/g) ?? []).sort().join());
  for (const texts of [ES, IT]) {
    assert.deepEqual(Object.keys(texts), Object.keys(EN));
    for (const [name, text] of Object.entries(texts)) assert.deepEqual(places(text), places(EN[name]), name);
  }
  assert.deepEqual([chosen(["de-DE", "it-CH", "en"]), chosen(["fr"]), chosen([])], ["it", "en", "en"]);
});

test("names from other systems are shown as they are called there", () => {
  assert.equal(readable("Fourth%3Alobby"), "Fourth:lobby");
  assert.equal(readable("net%20core%2F17"), "net core/17");
  assert.equal(readable("ana"), "ana");
  assert.equal(readable("100%"), "100%");
});

test("people are named as the server names them", () => {
  const people = { ana: "ana", "Mario Rossi": "Mario%20Rossi", "José~": "Jos%C3%A9%7E", "100%": "100%25", "%41": "%2541", "a b/c:d": "a%20b/c:d" };
  for (const [text, name] of Object.entries(people)) {
    assert.equal(personName(text), name);
    assert.equal(personName(name), name);
    assert.equal(readable(name), text);
  }
});
