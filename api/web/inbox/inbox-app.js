// One user's inbox: the store, the connection that fills it, the archive that outlives it, and what shows it.

/** @import {Gap, Message} from "../recado-rules.js" */
import { connect, newKey } from "../recado.js";
import { isTokenGone } from "../recado-rules.js";
import { el } from "../shared/dom.js";
import { device, keep, tokenSource } from "../shared/session.js";
import { ConversationStore, INBOX, directEntry } from "./conversation-store.js";
import { ConversationView } from "./conversation-view.js";
import { askGuest, askLeave, askLogOut, askPerson, askTopic } from "./dialogs.js";
import { textOf } from "./message-text.js";
import { personName, readable } from "./names.js";
import { say } from "./say.js";
import { Sidebar, addressOf, idIn } from "./sidebar.js";
import { Topbar } from "./topbar.js";

const PAGE = 100; // messages of the history at once

export class InboxApp {
  #session;
  #archive;
  #leave;
  /** @type {ReturnType<typeof connect>} */
  #recado;
  /** @type {ConversationStore} */
  #store; // none before it is known whose
  #topbar;
  #sidebar;
  #view;
  #wanted = INBOX; // the conversation in the address
  #arrived = []; // direct messages on their way into the archive
  #away = 0; // how many of the next came while nobody was here
  #isKeeping = false;
  #isWriting = false; // to the conversation that the address turns to
  #isDrawing = false;
  #listeners = new AbortController();

  /** `leave(why)` is called when this user is logged out, or no longer let in. */
  constructor(session, archive, leave) {
    this.#session = session;
    this.#archive = archive;
    this.#leave = leave;
  }

  start() {
    if (!location.hash.startsWith("#/")) history.replaceState(null, "", addressOf(INBOX));
    this.#recado = connect({
      token: tokenSource(this.#session), device: device(this.#session), ack: "explicit",
      onmessage: (message) => this.#received(message),
      ongap: (gap) => this.#received(gap),
      oninvited: ({ topic, by }) => this.#refresh(say("invitedBy", { user: readable(by), topic })),
      onremoved: ({ topic }) => this.#refresh(say("removedFrom", { topic })),
      onstate: (state) => this.#told(state),
    });
    if (this.#session.user) this.#showFor(this.#session.user);
    const options = { signal: this.#listeners.signal };
    addEventListener("hashchange", () => this.#route(), options);
    addEventListener("beforeunload", (event) => this.#hasUnsent() && event.preventDefault(), options);
  }

  close() {
    this.#listeners.abort();
    this.#topbar?.close();
    this.#recado.close();
  }

  /** Say something to the reader, for a while. */
  tell(text) {
    this.#topbar?.notice(text);
  }

  // Everything that is shown, for a user.
  #showFor(user) {
    this.#store = new ConversationStore(user);
    this.#topbar?.close();
    this.#topbar = new Topbar({ retry: () => this.#recado.retry(), logOut: () => this.#logOut(), skip: () => this.#view.focus() });
    this.#sidebar = new Sidebar(this.#store, { write: () => this.#write(), addTopic: () => this.#addTopic() });
    this.#view = new ConversationView(this.#store, {
      send: (conversation, text) => this.#send(conversation, this.#store.post(conversation, text, newKey())),
      retry: (conversation, entry) => this.#send(conversation, Object.assign(entry, { state: "sending" })),
      shown: (entries) => this.#shown(entries),
      earlier: (conversation) => this.#earlier(conversation),
      invite: (conversation) => this.#invite(conversation),
      leave: (conversation) => this.#unsubscribe(conversation),
      write: () => this.#write(),
      reply: () => { this.#isWriting = true; },
    });
    document.body.replaceChildren(this.#topbar.element, el("div", { className: "inbox" }, this.#sidebar.element, this.#view.element));
    this.#topbar.user(readable(user));
    this.#topbar.state(this.#recado.state);
    if (!this.#archive.works) this.#topbar.notice(say("notKept"));
    this.#recall(user);
    this.#route();
  }

  async #recall(user) {
    for (const kept of await this.#archive.load(user)) this.#store.recall(kept);
    this.#changed();
  }

  // The connection

  #told(state) {
    if (state.name === "ended" && isTokenGone(state.code)) return this.#leave(say("tokenRefused"));
    if (state.name === "online") this.#online(state);
    this.#topbar?.state(state);
    return undefined;
  }

  #online({ username, pending }) {
    if (this.#store?.me !== username) {
      keep(Object.assign(this.#session, { user: username }));
      this.#showFor(username);
    }
    this.#away = pending;
    this.#refresh();
  }

  async #refresh(notice) {
    if (notice) this.#topbar.notice(notice);
    const topics = await this.#recado.topics().catch(() => null);
    if (topics === null) return; // the connection has ended for good
    this.#store.belong(topics);
    if (this.#store.find(this.#wanted) === null) location.replace(addressOf(INBOX));
    else if (this.#view.conversation?.id !== this.#wanted) this.#route();
    this.#changed();
  }

  #received(given) {
    given.isAway = this.#away-- > 0;
    if (given.topic !== `@${this.#store.me}`) return this.#place([given]);
    this.#arrived.push(given);
    return this.#keep();
  }

  // What is direct is kept before it is shown, for once it was shown the server forgets it.
  async #keep() {
    if (this.#isKeeping) return;
    this.#isKeeping = true;
    while (this.#arrived.length > 0) {
      const some = this.#arrived.splice(0);
      const messages = some.filter((given) => given.seq !== undefined);
      await this.#archive.keep(this.#store.me, messages.map(directEntry)).catch(() => this.#topbar.notice(say("notKept")));
      this.#place(some);
    }
    this.#isKeeping = false;
  }

  #place(some) {
    const entries = some.map((given) => this.#store.receive(given));
    const last = entries.at(-1);
    if (last.sender !== undefined && !last.mine && this.#view.shows(last)) {
      this.#topbar.announce(say("announced", { user: readable(last.sender), text: textOf(last).slice(0, 200) }));
    }
    this.#changed();
  }

  #shown(entries) {
    for (const entry of this.#store.show(entries)) this.#recado.ack(/** @type {Message | Gap} */ (entry));
    this.#changed();
  }

  async #earlier(conversation) {
    if (conversation.isWhole || conversation.isLoading) return;
    conversation.isLoading = true;
    const before = conversation.log.entries.find((entry) => entry.seq !== undefined)?.seq;
    try {
      const { messages, more } = await this.#recado.history(conversation.id, { before, limit: PAGE });
      this.#store.prepend(conversation.id, messages, more);
    } catch {
      conversation.isWhole = true; // one may not, or no longer, read it
    }
    conversation.isLoading = false;
    this.#changed();
  }

  async #send(conversation, entry) {
    const target = conversation.kind === "person" ? conversation.id : `#${conversation.id}`; // whoever is called so too
    this.#changed();
    try {
      const seq = await this.#recado.publish(target, entry.content, { id: entry.id });
      const direct = this.#store.posted(conversation, entry, seq, new Date().toISOString());
      if (direct) await this.#archive.keep(this.#store.me, [direct]);
    } catch (error) {
      Object.assign(entry, { state: "failed", reason: error.message });
    }
    this.#changed();
  }

  #hasUnsent() {
    return [...this.#store?.people.values() ?? [], ...this.#store?.topics.values() ?? []]
      .some((each) => each.log.entries.some((entry) => entry.state === "sending"));
  }

  // What the reader does

  #route() {
    const id = idIn(location.hash);
    document.body.dataset.view = id === null ? "list" : "conversation";
    this.#wanted = id ?? this.#wanted;
    const conversation = this.#store?.find(this.#wanted);
    if (conversation && conversation !== this.#view.conversation) this.#view.open(conversation);
    if (conversation === null && this.#recado.state.name === "online") this.#refresh(); // perhaps it is new
    if (id !== null && this.#view?.conversation) this.#isWriting ? this.#view.write() : this.#view.focus();
    this.#isWriting = false;
    this.#changed();
  }

  async #write() {
    const answer = await askPerson();
    if (answer === null) return;
    this.#isWriting = true;
    location.hash = addressOf(`@${personName(answer.user)}`);
    if (idIn(location.hash) === this.#view.conversation?.id) this.#route(); // it is open: there is no change to hear of
  }

  async #addTopic() {
    const answer = await askTopic();
    if (answer === null) return;
    const { how, topic, isPrivate } = answer;
    await this.#trying(async () => {
      if (how === "join") await this.#recado.subscribe(topic);
      else await this.#recado.ask("PUT", `api/v1/topics/${encodeURIComponent(topic)}`, { kind: isPrivate ? "private" : "public" });
      await this.#refresh();
      location.hash = addressOf(topic);
    });
  }

  async #invite({ id }) {
    const answer = await askGuest(id);
    if (answer === null) return;
    await this.#trying(async () => {
      await this.#recado.invite(id, personName(answer.user));
      this.#topbar.notice(say("invited", { user: answer.user, topic: id }));
    });
  }

  async #unsubscribe({ id }) {
    if ((await askLeave(id)) === null) return;
    await this.#trying(async () => {
      await this.#recado.unsubscribe(id);
      await this.#refresh();
    });
  }

  async #logOut() {
    const answer = await askLogOut();
    if (answer === null) return;
    if (answer.forget) await this.#archive.forget(this.#store.me);
    this.#leave();
  }

  async #trying(work) {
    try {
      await work();
    } catch (error) {
      this.#topbar.notice(error.message);
    }
  }

  // Drawing: once for all that changes within a frame; a hidden page has no frames, but a title.

  #changed() {
    if (this.#isDrawing || this.#store === undefined) return;
    this.#isDrawing = true;
    (document.hidden ? setTimeout : requestAnimationFrame)(() => this.#draw());
  }

  #draw() {
    this.#isDrawing = false;
    const unread = this.#store.unreadAll;
    document.title = unread ? `(${unread}) Recado` : "Recado";
    this.#sidebar.update(this.#wanted);
    this.#view.update();
  }
}
