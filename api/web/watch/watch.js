// The live view: the messages of one topic as they come, filtered, summed up, plotted.

import { ask } from "../recado.js";
import { Columns, TEXT, cellsOf } from "../shared/columns.js";
import { $, el, write } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { language } from "../shared/language.js";
import { API, about, byTicket, byToken, keep, restore, takeTicket } from "../shared/session.js";
import { stream } from "./event-stream.js";
import { drawFigures } from "./figures.js";
import { drawJoined, drawState } from "./notice.js";
import { KEPT, RowBuffer } from "./row-buffer.js";
import { say } from "./say.js";
import { Source } from "./source.js";
import { columnChooser, drawPause, filterTools, offerColumns, openableMenu } from "./tools.js";
import { VirtualTable } from "./virtual-table.js";

const META = ["sent", "from"]; // columns that every message has
const CLOCK = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
const DATE = new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium" });
const DAY = 86_400; // seconds
const UNSEEN = 30_000; // milliseconds
const now = () => Date.now() / 1000;

class Watch {
  #topic = decodeURIComponent(location.pathname.replace(/^.*\/watch\//, ""));
  #rows = new RowBuffer();
  #columns = new Columns();
  #meta = /** @type {string[] | null} */ (null); // of META, those to show, once the reader has chosen
  #layout = ""; // the columns that the table was made for
  #offered = 0; // how many columns the reader may choose from
  #isDirty = false;
  #clock = 0; // milliseconds that the server's is ahead
  #resting = 0; // the timer that ends the reading while nobody looks
  #state = { name: "connecting" };
  #session = /** @type {import("../shared/session.js").Session | null} */ (null);
  #isOpen = false;
  #source;
  #table = new VirtualTable($("scroller"), {
    label: (column) => nameOf(column), isNumeric: (column) => this.#columns.isNumeric(column.slice(1)),
    onopen: openDetail, time: timeOf,
  });

  async run() {
    this.#write();
    this.#listen();
    this.#draw();
    await this.#begin().catch((error) => this.#tell({ name: "unreachable", message: error.message }));
    setInterval(() => document.hidden || this.#drawFigures(), 1000);
    await this.#source.run();
  }

  async #begin() {
    this.#source = new Source({
      topic: this.#topic, most: KEPT, ask: (method, path, body) => ask(API, method, path, { token: this.#token(), body }),
      stream: (path, signal) => stream(API + path, this.#token(), signal),
      me: () => (this.#isOpen ? null : this.#session?.user ?? null),
      onmessages: (messages, isFirst, clock) => this.#take(messages, isFirst, clock),
      onstate: (state) => this.#tell(state), onrestart: () => this.#restart(),
    });
    this.#isOpen = (await about()).auth_mode === "open";
    const [living, ticket] = [restore(), takeTicket()];
    this.#session = ticket ? await byTicket(ticket) : living;
    if (this.#session && living === null) keep(this.#session); // else it is for this view alone: nobody is logged out by a link
  }

  // In open mode whoever reaches the server reads every topic: nobody has to log in, or to become a member.
  #token() {
    return this.#isOpen ? undefined : this.#session?.token;
  }

  async #login(token) {
    this.#session = await byToken(token, false);
    keep(this.#session);
    this.#source.hurry();
  }

  // What comes

  #take(messages, isFirst, clock) {
    this.#clock = clock;
    const rows = messages.map((message) => this.#row(message));
    if (isFirst) this.#rows.prepend(rows, now());
    else this.#rows.append(rows, now());
    if (isFirst) this.#drawFigures();
    this.#touch();
  }

  async #older() {
    if (!this.#source?.hasOlder || this.#rows.isFull) return;
    const messages = await this.#source.older().catch(() => []); // the source says itself what is wrong
    this.#rows.prepend(messages.map((message) => this.#row(message)), now());
    this.#touch();
  }

  // `at`: when it was sent, in seconds of this clock.
  #row({ seq, content, user_source: sender, sent_at: sentAt }) {
    const row = { seq, sender, sentAt, content, cells: cellsOf(content), at: (Date.parse(sentAt) - this.#clock) / 1000 };
    this.#columns.add(row.cells);
    return row;
  }

  #restart() {
    this.#rows = new RowBuffer();
    this.#columns = new Columns();
    this.#offered = 0;
    this.#touch();
  }

  #tell(state) {
    if (state.name === this.#state.name && state.message === this.#state.message) return;
    this.#state = state;
    this.#drawState();
  }

  // What is drawn: at most once for every frame of the screen, and only what is in sight

  #touch() {
    if (this.#isDirty) return;
    this.#isDirty = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isDirty = false;
    this.#layOut();
    this.#table.draw(this.#rows.shown);
    drawPause(this.#rows.isPaused, this.#rows.held.length);
    $("to-top").hidden = this.#table.isAtTop;
    this.#drawEmpty();
    const counts = { shown: this.#rows.shown.length, all: this.#rows.all.length, kept: KEPT };
    $("about").textContent = say("about", Object.fromEntries(Object.entries(counts).map(([key, value]) => [key, number(value)])));
    if (this.#table.isNearEnd) this.#older();
  }

  #drawEmpty() {
    $("empty").hidden = this.#rows.shown.length > 0 || this.#state.name !== "live";
    $("empty").textContent = say(this.#rows.all.length ? "emptyFilter" : "empty");
  }

  #drawFigures() {
    drawFigures(this.#rows, this.#columns, now());
  }

  #drawState() {
    const isPaused = this.#state.name === "live" && this.#rows.isPaused;
    drawState(isPaused ? { name: "paused" } : this.#state, this.#topic, (token) => this.#login(token));
    if (this.#state.name === "live" && this.#source.joined) drawJoined(() => this.#leave());
    this.#touch();
  }

  #layOut() {
    const shown = this.#shown();
    const all = [...META, ...this.#columns.all.map((column) => `.${column}`)];
    const layout = JSON.stringify([shown, all, this.#columns.numeric]);
    if (layout === this.#layout) return;
    this.#layout = layout;
    this.#table.show(shown);
    this.#offer(all, shown);
  }

  #offer(all, shown) {
    if (all.length === this.#offered) return;
    this.#offered = all.length;
    offerColumns(this.#columns.all.map((column) => [column, nameOf(`.${column}`)]));
    columnChooser(all.map((column) => [column, nameOf(column), shown.includes(column)]), (chosen) => this.#choose(chosen));
  }

  #shown() {
    const plain = this.#columns.all.every((column) => column === TEXT);
    const meta = this.#meta ?? (plain ? META : META.slice(0, 1));
    const shown = [...meta, ...this.#columns.shown.map((column) => `.${column}`)];
    return shown.length ? shown : ["sent"];
  }

  // What the reader does

  #choose(columns) {
    this.#meta = META.filter((column) => columns.includes(column));
    this.#columns.choose(columns.filter((column) => column.startsWith(".")).map((column) => column.slice(1)));
    this.#touch();
  }

  #pause() {
    if (this.#rows.isPaused) this.#rows.resume();
    else this.#rows.pause();
    this.#drawState();
  }

  async #leave() {
    this.#source.end();
    await ask(API, "DELETE", `api/v1/topics/${encodeURIComponent(this.#topic)}/members/${encodeURIComponent(this.#session?.user ?? "")}`, { token: this.#token() });
    this.#tell({ name: "left" });
  }

  #listen() {
    filterTools((test) => { this.#rows.filter(test, now()); this.#table.toTop(); this.#drawFigures(); this.#touch(); });
    openableMenu();
    $("pause").addEventListener("click", () => this.#pause());
    $("scroller").addEventListener("scroll", () => this.#touch(), { passive: true });
    $("to-top").addEventListener("click", () => { this.#table.toTop(); $("scroller").focus(); });
    $("detail-close").addEventListener("click", () => $("detail").close());
    new ResizeObserver(() => this.#touch()).observe($("scroller"));
    document.addEventListener("visibilitychange", () => this.#seen(!document.hidden));
  }

  // Browsers have few connections for one host, and a stream takes one: no tab keeps it that nobody looks at.
  #seen(isSeen) {
    clearTimeout(this.#resting);
    if (isSeen) this.#source?.hurry();
    else this.#resting = setTimeout(() => this.#source?.rest(), UNSEEN);
  }

  #write() {
    document.documentElement.lang = language;
    document.title = say("title", { topic: this.#topic });
    write({
      topic: this.#topic, state: say("connecting"), "figures-title": say("figures"), "rate-label": say("rate"),
      "received-label": say("received"), "plot-label": say("plot"), "to-top": say("toTop"), "detail-close": say("close"),
    });
    $("scroller").setAttribute("aria-label", say("table"));
    $("home").title = say("home");
    $("totals").setAttribute("aria-label", say("totals"));
  }
}

function nameOf(column) {
  if (META.includes(column)) return say(column);
  return column === `.${TEXT}` ? say("content") : column.slice(1);
}

function timeOf(text) {
  const time = new Date(text);
  return (now() - time.getTime() / 1000 < DAY / 2 ? CLOCK : DATE).format(time);
}

function openDetail(row) {
  $("detail-title").textContent = say("message", { seq: row.seq });
  const facts = [[say("sent"), DATE.format(new Date(row.sentAt))], [say("from"), row.sender]];
  $("detail").querySelector("dl").replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  $("detail").querySelector("pre").textContent = typeof row.content === "string" ? row.content : JSON.stringify(row.content, null, 2);
  $("detail").showModal();
}

new Watch().run();
