// The inbox page: somebody logs in, and reads and writes until logging out.

import { language } from "../shared/language.js";
import { about, byTicket, clear, keep, reasonOf, restore, takeTicket } from "../shared/session.js";
import { Archive } from "./archive.js";
import { askReplace } from "./dialogs.js";
import { InboxApp } from "./inbox-app.js";
import { login } from "./login.js";
import { say } from "./say.js";

/** @type {InboxApp | undefined} */
let app;

document.documentElement.lang = language;
addEventListener("hashchange", () => {
  const ticket = takeTicket();
  if (ticket !== null) redeem(ticket);
});
const brought = takeTicket();
if (brought !== null) redeem(brought);
else enter(restore());

// Anybody can make somebody follow a link: where a session lives, it is replaced only by who says so.
async function redeem(ticket) {
  const living = restore();
  if (living !== null) {
    if (app === undefined) await enter(living);
    if ((await askReplace(living.user)) === null) return;
  }
  try {
    const session = await byTicket(ticket);
    app?.close();
    enter(session);
  } catch (error) {
    const why = say(reasonOf(error) === "unreachable" ? "unreachable" : "linkUsed");
    restore() === null ? ask(why) : app?.tell(why);
  }
}

async function ask(why) {
  const { auth_mode: mode } = await about().catch(() => ({}));
  login(mode !== "key", why, enter);
}

async function enter(session) {
  if (session === null) return ask();
  keep(session);
  app = new InboxApp(session, await Archive.open(), leave);
  return app.start();
}

/** `why`: what the next one who logs in is told. */
function leave(why) {
  app?.close();
  clear();
  history.replaceState(null, "", location.pathname);
  ask(why);
}
