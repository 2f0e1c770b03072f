// Small parts of the page. All text goes in by textContent: a title is never code.

import { say } from "./words.js";

const COLOURS = 8;

/** Return an element: properties and attributes of it, then what is inside. */
export function make(tag, about = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name === "class") made.className = value;
    else if (name in made && !name.startsWith("aria")) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside.filter((one) => one !== null));
  return made;
}

/** Return the class that colours what belongs to an interest; "" for none. */
export function colour(interest) {
  return interest === null ? "" : `k k${interest % COLOURS}`;
}

/** Return an interest's badge: its colour and its number. */
export function badge(interest) {
  if (interest === null) return make("span", { class: "badge none", title: say("no_interest") }, "–");
  const name = say("interest", { number: interest });
  return make(
    "span",
    { class: `badge ${colour(interest)}`, title: name },
    make("span", { "aria-hidden": "true" }, String(interest)),
    make("span", { class: "unseen" }, name),
  );
}

/** Return an item's name: its title, or its id where it has none. */
export function nameOf(item) {
  return item.title ?? item.item_id;
}

/** Return what is known of an item beside its name. */
export function aboutItem(item, own = []) {
  const known = item.categories.filter((one) => one !== String(item.truth)); // the same in other words
  const made = make("span", { class: "about faint", title: item.item_id }, known.join(" · "));
  if (item.truth >= 0) made.prepend(truthTag(item.truth, own), known.length ? " " : "");
  return made;
}

/** Return the tag of a true interest; one that the user holds stands out. */
export function truthTag(number, own) {
  const holds = own.includes(number);
  const title = say(holds ? "true_own" : "true_other", { number });
  return make("span", { class: holds ? "truth own" : "truth", title }, say("true_short", { number }));
}

/** Replace what is inside an element. */
export function fill(place, ...inside) {
  place.replaceChildren(...inside);
}
