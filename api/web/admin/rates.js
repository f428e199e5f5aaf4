// From two answers of the server to what happened between them. Pure.

export const SPAN = 150; // answers that the plot shows: five minutes
export const STALE = 6; // seconds without an answer, after which the figures are called old

/** Per second, between two answers: {messages, deliveries}; null where they do not tell. */
export function rates(before, after) {
  const seconds = before ? (Date.parse(after.at) - Date.parse(before.at)) / 1000 : 0;
  if (seconds <= 0) return { messages: null, deliveries: null };
  const isSameProcess = before.process.name === after.process.name;
  return {
    messages: perSecond(before.appended, after.appended, seconds),
    deliveries: isSameProcess ? perSecond(before.process.deliveries, after.process.deliveries, seconds) : null,
  };
}

// Less than before: a topic was deleted with its messages, or the process began anew.
function perSecond(before, after, seconds) {
  return after < before ? null : (after - before) / seconds;
}

/** Seconds from a moment to the time of an answer, both by the database's clock; null where there is none. */
export function age(moment, at) {
  return moment === null ? null : Math.max(0, (Date.parse(at) - Date.parse(moment)) / 1000);
}

/** How it stands: "loading", "live", "stale", "unreachable", or "locked" without a key that the server takes. */
export function pageState({ answeredAt, error, now }) {
  if (error && ["unauthorized", "forbidden"].includes(error.code)) return "locked";
  if (error && error.code === "unreachable") return "unreachable";
  if (answeredAt === null) return error ? "refused" : "loading";
  return error || now - answeredAt > STALE ? "stale" : "live";
}
