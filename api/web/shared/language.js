// What the page says, in the languages that it speaks.

import { EN } from "./texts-en.js";
import { ES } from "./texts-es.js";
import { IT } from "./texts-it.js";

export const LANGUAGES = { en: EN, es: ES, it: IT };

/** The first of the wished languages that the page speaks; English where it speaks none of them. */
export function chosen(wished) {
  return wished.map((each) => each.slice(0, 2).toLowerCase()).find((each) => LANGUAGES[each]) ?? "en";
}

const wished = globalThis.navigator?.languages ?? [];
export const language = chosen(wished);
/** For dates: with the reader's own country, where it is of that language. */
export const locale = wished.find((each) => each.slice(0, 2).toLowerCase() === language) ?? language;
const plural = new Intl.PluralRules(language);

/** A text with its places filled in; where it depends on a number, that is `n`. */
export function say(name, values = {}) {
  const text = LANGUAGES[language][name];
  const form = typeof text === "string" ? text : text[plural.select(values.n)] ?? text.other;
  return form.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}
