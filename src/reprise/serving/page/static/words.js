// What the page says, in the person's language.

import { ask } from "./server.js";

let words = {};
export let language = "en";

/** Load a language: the chosen one, else the browser's. */
export async function speak(chosen) {
  const wanted = navigator.languages.find((one) => /^(en|zh)\b/i.test(one)) ?? "en";
  language = chosen ?? wanted.slice(0, 2).toLowerCase();
  words = await ask(`page/words.${language}.json`);
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const place of document.querySelectorAll("[data-say]")) {
    place.textContent = say(place.dataset.say);
  }
}

/** Return a text with its fields filled in. */
export function say(key, fields = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (field, name) => String(fields[name] ?? field));
}

/** Return a number with so many digits behind the point. */
export function digits(number, count) {
  return number.toLocaleString(language, { minimumFractionDigits: count, maximumFractionDigits: count });
}
