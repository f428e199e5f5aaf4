// Direct messages that were received or sent here: the server forgets them once they were seen, this device does not.

const MOST = 2000; // of a user
const STORE = "direct";

/** The archive of this browser. Where the browser keeps nothing, all of it does nothing, and `works` is false. */
export class Archive {
  #database;

  constructor(database) {
    this.#database = database;
  }

  static async open() {
    try {
      const opening = indexedDB.open("recado", 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: ["me", "key"] });
      return new Archive(await done(opening));
    } catch {
      return new Archive(null);
    }
  }

  get works() {
    return this.#database !== null;
  }

  /** What is kept for a user, oldest first. */
  async load(me) {
    if (!this.works) return [];
    return done(this.#store("readonly").getAll(rangeOf(me)));
  }

  /** Keep entries; once this returns they outlive the page. The oldest go where there are too many. */
  async keep(me, entries) {
    if (!this.works || entries.length === 0) return;
    const store = this.#store("readwrite");
    for (const { key, topic, seq, from, to, sender, content, sentAt, mine } of entries) {
      store.put({ me, key, topic, seq, from, to, sender, content, sentAt, mine });
    }
    await complete(store.transaction);
    await this.#trim(me);
  }

  async forget(me) {
    if (!this.works) return;
    const store = this.#store("readwrite");
    store.delete(rangeOf(me));
    await complete(store.transaction);
  }

  async #trim(me) {
    const store = this.#store("readwrite");
    const surplus = (await done(store.count(rangeOf(me)))) - MOST;
    if (surplus <= 0) return;
    for (const key of await done(store.getAllKeys(rangeOf(me), surplus))) store.delete(key);
    await complete(store.transaction);
  }

  #store(mode) {
    return this.#database.transaction(STORE, mode, { durability: "strict" }).objectStore(STORE);
  }
}

// Keys begin with the user; within, they are in order of time.
function rangeOf(me) {
  return IDBKeyRange.bound([me, ""], [me, []]);
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<void>} */
function complete(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
