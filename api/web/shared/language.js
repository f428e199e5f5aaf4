// The languages that the pages speak, and which of them the reader does.

export const LANGUAGES = ["en", "es", "it"];

/** The first of the wished languages that the pages speak; English where they speak none of them. */
export function chosen(wished) {
  return wished.map((each) => each.slice(0, 2).toLowerCase()).find((each) => LANGUAGES.includes(each)) ?? "en";
}

const wished = globalThis.navigator?.languages ?? [];
export const language = chosen(wished);
/** For dates: with the reader's own country, where it is of that language. */
export const locale = wished.find((each) => each.slice(0, 2).toLowerCase() === language) ?? language;
const plural = new Intl.PluralRules(language);

/**
 * A `say` over tables of texts by language: a text with its places filled in. Where the text depends on a number, that is
 * `count`, or `n` where `n` is not formatted.
 */
export function sayer(tables) {
  return (name, values = {}) => {
    const text = tables[language][name];
    const form = typeof text === "string" ? text : text[plural.select(values.count ?? values.n)] ?? text.other;
    return form.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
  };
}
