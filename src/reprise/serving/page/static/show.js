// Draw what the server says of a history.

import { aboutItem, badge, colour, fill, make, nameOf, truthTag } from "./parts.js";
import { digits, say } from "./words.js";

const place = (id) => document.getElementById(id);
const MOST_COLUMNS = 6; // of true interests, where no test user's are known

/** Make a row for each interest, once: sliders keep the focus while what they change is drawn. */
export function makeInterests(count, weigh) {
  const rows = Array.from({ length: count }, (_, k) => {
    const slider = make("input", { id: `weight-${k}`, type: "range", min: 0, max: 2, step: 0.1 });
    slider.addEventListener("input", () => weigh(k, Number(slider.value)));
    return make(
      "section",
      { class: `interest ${colour(k)}`, "aria-labelledby": `interest-${k}` },
      make(
        "div",
        { class: "head" },
        make("h3", { id: `interest-${k}` }, badge(k), " ", make("span", { "aria-hidden": "true", "data-name": k })),
        make("span", { class: "share" }),
        make("progress", { max: 1, value: 0, "aria-hidden": "true" }),
        make("label", { for: slider.id, class: "weight" }),
        slider,
        make("output", { for: slider.id }),
      ),
      make("ol", { class: "scroll cards", role: "list", tabindex: "0" }),
    );
  });
  fill(place("interests"), ...rows);
}

/** Show all that depends on the language and the chosen weights, but not on the server. */
export function showWeights(weights) {
  [...place("interests").children].forEach((row, k) => {
    const weight = weights[k];
    const [slider, output] = [row.querySelector("input"), row.querySelector("output")];
    const text = weight === 0 ? say("off") : `×${digits(weight, 1)}`;
    fill(row.querySelector("h3"), badge(k), " ", make("span", { "aria-hidden": "true" }, say("interest", { number: k })));
    row.querySelector("label").textContent = say("weight");
    slider.setAttribute("aria-label", say("weight_of", { number: k }));
    slider.setAttribute("aria-valuetext", text);
    slider.value = weight;
    output.textContent = text;
    row.classList.toggle("off", weight === 0);
    row.querySelector("ol").setAttribute("aria-label", say("nearest_to", { number: k }));
  });
}

/** Show a view: what the server says of a history (`shown`), and of a test user, or null. */
export function showView(shown, user, about, remove, add) {
  const own = user?.interests ?? [];
  showHistory(shown, about, own, remove);
  showInterests(shown, own);
  showTruth(shown, user);
  showList(shown, own, add);
  showFound(shown, user, about);
}

function showHistory(shown, about, own, remove) {
  const items = shown.history;
  const notes = [say("history_items", { count: items.length })];
  if (items.some((one) => one.interest === null)) notes.push(say("history_last", { count: about.model.history_length }));
  if (shown.unknown_items) notes.push(say("unknown_items", { count: shown.unknown_items }));
  place("about-history").textContent = items.length || shown.unknown_items ? notes.join(" ") : say("history_empty");
  place("clear").hidden = !items.length;
  const chips = items.map((item, at) => make(
    "li",
    { class: `chip ${colour(item.interest)}` },
    badge(item.interest),
    make("span", { class: "name" }, nameOf(item)),
    item.truth >= 0 ? truthTag(item.truth, own) : null,
    make("button", { type: "button", "aria-label": say("remove", { item: nameOf(item) }), onclick: () => remove(at) }, "×"),
  ));
  fill(place("history"), ...chips.reverse());
}

function showInterests(shown, own) {
  place("interests").hidden = shown.popular;
  place("about-interests").textContent = say(shown.popular ? "no_interests" : "about_interests");
  const total = Math.max(1, shown.items.length);
  [...place("interests").children].forEach((row, k) => {
    const { listed, items } = shown.interests[k];
    row.querySelector(".share").textContent = say("share", { percent: Math.round((100 * listed) / total), count: listed });
    row.querySelector("progress").value = listed / total;
    fill(row.querySelector("ol"), ...items.map((item) => make(
      "li",
      { class: "card" },
      make("span", { class: "name" }, nameOf(item)),
      aboutItem(item, own),
    )));
  });
}

function showTruth(shown, user) {
  const items = shown.history;
  const known = items.some((one) => one.truth >= 0) && !shown.popular;
  place("truth").hidden = !known;
  if (!known) return;
  const own = user?.interests ?? mostOf(items);
  const head = [make("td"), ...own.map((one) => make("th", { scope: "col" }, truthTag(one, own))), make("th", { scope: "col" }, say("true_rest"))];
  const row = (name, listed) => {
    const counts = [...own.map((one) => listed.filter((item) => item.truth === one).length)];
    counts.push(listed.length - counts.reduce((sum, one) => sum + one, 0));
    const most = Math.max(...counts.slice(0, -1), 1);
    return make("tr", {}, make("th", { scope: "row" }, ...name), ...counts.map((count, at) => make(
      "td",
      { class: at < own.length && count === most ? "most" : count ? "" : "faint" },
      String(count),
    )));
  };
  fill(
    place("truth-table"),
    make("thead", {}, make("tr", {}, ...head)),
    make(
      "tbody", {},
      row([say("row_history")], items),
      ...shown.interests.map((one, k) => row([badge(k), " ", say("row_interest", { number: k })], one.items)),
      row([say("row_list")], shown.items),
    ),
  );
}

/** Return the true interests that most items have. */
function mostOf(items) {
  const counts = new Map();
  for (const { truth } of items) if (truth >= 0) counts.set(truth, (counts.get(truth) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, MOST_COLUMNS).map(([one]) => one);
}

function showList(shown, own, add) {
  place("list-title").textContent = say(shown.popular ? "popular_list" : "list", { count: shown.items.length });
  place("about-list").textContent = say(shown.popular ? "about_popular" : shown.items.length ? "about_list" : "list_empty");
  const names = new Map(shown.history.map((item) => [item.item_id, nameOf(item)]));
  fill(place("list"), ...shown.items.map((item) => make(
    "li",
    { class: `item ${colour(item.interest)}${item.hit ? " hit" : ""}` },
    badge(item.interest),
    make(
      "div",
      { class: "what" },
      make("span", { class: "name" }, nameOf(item)),
      item.hit ? make("span", { class: "found" }, say("hit")) : null,
      aboutItem(item, own),
      make("span", { class: "because faint" }, because(item, names)),
    ),
    make("span", { class: "score" }, item.score === null ? "" : digits(item.score, 3)),
    make("button", { type: "button", class: "add", "aria-label": say("add", { item: nameOf(item) }), title: say("add", { item: nameOf(item) }), onclick: () => add(item.item_id) }, "+"),
  )));
}

/** Return the words on why an item is listed. */
function because(item, names) {
  if (item.because === null) return "";
  const nearest = say("because", { item: names.get(item.because) });
  if (!names.has(item.item_id)) return nearest;
  return item.because === item.item_id ? say("in_history") : `${nearest}; ${say("in_history")}`;
}

function showFound(shown, user, about) {
  place("found").hidden = user === null;
  if (user === null) return;
  const places = new Map(shown.items.map((item, at) => [item.item_id, at + 1]));
  const found = user.targets.filter((item) => places.has(item.item_id)).length;
  fill(place("metrics").tBodies[0], ...Object.entries(shown.metrics ?? {}).map(([key, value]) => {
    const [name, n] = key.split("@");
    return make(
      "tr", {},
      make("th", { scope: "row" }, `${say(name)}@${n}`),
      make("td", { "data-metric": key }, digits(value, 3)),
      make("td", { class: "faint" }, digits(shown.plain_metrics[key], 3)),
    );
  }));
  place("targets-title").textContent = say("targets", { found, count: user.targets.length });
  fill(place("targets"), ...user.targets.map((item) => {
    const at = places.get(item.item_id);
    return make("li", {}, nameOf(item), " ", at
      ? make("span", { class: "found" }, say("found_at", { place: at }))
      : make("span", { class: "faint" }, say("not_found")));
  }));
}
