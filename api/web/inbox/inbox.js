// The inbox page: somebody logs in, and sits down at a desk until logging out.

import { Archive } from "./archive.js";
import { Desk } from "./desk.js";
import { askReplace } from "./dialogs.js";
import { login } from "./login.js";
import { about, byTicket, clear, keep, reasonOf, restore, takeTicket } from "./session.js";
import { language, say } from "./texts.js";

let desk = null;

document.documentElement.lang = language;
addEventListener("hashchange", () => {
  const ticket = takeTicket();
  if (ticket !== null) redeem(ticket);
});
const ticket = takeTicket();
if (ticket !== null) redeem(ticket);
else enter(restore());

// Anybody can make somebody follow a link: where a session lives, it is replaced only by who says so.
async function redeem(ticket) {
  const living = restore();
  if (living !== null) {
    if (desk === null) await enter(living);
    if ((await askReplace(living.user)) === null) return;
  }
  try {
    const session = await byTicket(ticket);
    desk?.close();
    enter(session);
  } catch (error) {
    const why = say(reasonOf(error) === "unreachable" ? "unreachable" : "linkUsed");
    restore() === null ? ask(why) : desk.tell(why);
  }
}

async function ask(why) {
  const { auth_mode: mode } = await about().catch(() => ({}));
  login(mode !== "key", why, enter);
}

async function enter(session) {
  if (session === null) return ask();
  keep(session);
  desk = new Desk(session, await Archive.open(), leave);
  return desk.start();
}

/** `why`: what the next one who logs in is told. */
function leave(why) {
  desk.close();
  clear();
  history.replaceState(null, "", location.pathname);
  ask(why);
}
