// The interest page: choices become the page's hash and a request; its answer is drawn.

import { combobox } from "./combo.js";
import { nameOf } from "./parts.js";
import { ask, latest, useToken } from "./server.js";
import { makeInterests, showView, showWeights } from "./show.js";
import { fromHash, initialState, toHash } from "./state.js";
import { digits, language, say, speak } from "./words.js";

const place = (id) => document.getElementById(id);
const FOUND = 12; // items found by title

let state = fromHash(location.hash);
let about = null; // of the model, see /v1/page
let user = null; // the test user that is shown
let shown = null; // the view that is drawn
let focusAfter = null; // moves the focus when the next view is drawn
const users = new Map();

const weights = () => state.weights ?? Array(about.model.interests).fill(1);
const ids = () => shown.history.map((item) => item.item_id);

/** Take choices, keep them in the address, and show what follows from them. */
function update(choices) {
  Object.assign(state, choices);
  if (Object.keys(choices).length) place("notice").hidden = true;
  keepAddress();
  showControls();
  place("main").ariaBusy = "true";
  refresh();
}

const address = () => location.pathname + location.search + toHash(state);

function keepAddress() {
  try {
    history.replaceState(null, "", address());
  } catch { // some browsers allow so many changes in so many seconds
    setTimeout(keepAddress, 1000);
  }
}

async function loadUser(id) {
  if (id === null) return null;
  if (!users.has(id)) users.set(id, await ask(`v1/page/users/${encodeURIComponent(id)}`));
  return users.get(id);
}

const refresh = latest(
  async () => {
    const own = await loadUser(state.user);
    const items = state.history ?? own?.history.map((item) => item.item_id) ?? [];
    const off = weights().every((one) => one === 0); // which lists nothing, and is no request
    const request = {
      histories: [items],
      n: about.n,
      diversity: state.diversity,
      weights: off ? null : weights(),
      filter_seen: state.hideSeen,
      explain: true,
    };
    const { views } = await ask("v1/page/view", { request, user: state.user });
    return { view: off ? emptied(views[0]) : views[0], own };
  },
  ({ view, own }) => {
    [shown, user] = [view, own];
    place("problem").hidden = true;
    draw();
    focusAfter?.();
    focusAfter = null;
    const found = view.items.filter((item) => item.hit).length;
    place("main").ariaBusy = "false";
    place("status").textContent = say(own ? "listed_found" : "listed", { count: view.items.length, found });
  },
  fail,
);

/** Return a view with all interests switched off. */
function emptied(view) {
  const interests = view.interests.map((one) => ({ ...one, listed: 0 }));
  return view.popular ? view : { ...view, interests, items: [], metrics: null };
}

function draw() {
  showView(shown, user, about, remove, (id) => update({ history: [...ids(), id] }));
  place("changed").hidden = state.history === null;
}

function remove(at) {
  focusAfter = () => {
    const buttons = [...place("history").querySelectorAll("button")].reverse();
    (buttons[Math.min(at, buttons.length - 1)] ?? place("search")).focus();
  };
  update({ history: ids().filter((_, one) => one !== at) });
}

/** Show the choices in the controls. */
function showControls() {
  const most = about.most_diversity;
  const slider = place("diversity");
  slider.value = most ? Math.round((state.diversity / most) * about.steps) : 0;
  const text = state.diversity ? String(state.diversity) : say("off");
  place("diversity-value").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  place("seen").checked = !state.hideSeen;
  if (document.activeElement !== place("user")) place("user").value = state.user ?? "";
  showWeights(weights());
}

/** Say what depends on the model and on the language. */
function showAbout() {
  const { model } = about;
  place("model").textContent = say("model", { ...model, items: model.items.toLocaleString(language), step: model.step.toLocaleString(language) });
  place("search-label").textContent = say(about.titles ? "search_titles" : "search_ids");
  place("no-users").textContent = about.users === null ? say("no_users", { reason: about.users_missing }) : "";
  place("language").textContent = language === "zh" ? "English" : "中文";
  place("language").lang = language === "zh" ? "en" : "zh";
}

function fail(error) {
  place("main").ariaBusy = "false";
  place("problem").textContent = error.status ? error.message : say("no_answer");
  place("problem").hidden = false;
  place("token-form").hidden = error.status !== 401;
  if (error.status === 401) place("token").focus();
  if (error.status === undefined) throw error; // a mistake of the page
}

async function begin() {
  try {
    await speak(state.language);
    about = await ask("v1/page");
    const count = about.model.interests;
    const foreign = state.weights !== null && state.weights.length !== count;
    place("notice").hidden = !foreign;
    place("notice").textContent = foreign ? say("link_weights", { given: state.weights.length, count }) : "";
    if (foreign) state.weights = null;
    if (state.user === null && state.history === null) {
      const { users: first } = about.users ? await ask("v1/page/users") : { users: [] };
      Object.assign(state, first.length ? { user: first[0].user_id } : { history: [] });
    }
  } catch (error) {
    fail(error);
    return;
  }
  place("token-form").hidden = true;
  place("problem").hidden = true;
  place("diversity").max = about.steps;
  place("diversity-control").hidden = about.most_diversity === null;
  place("no-diversity").hidden = about.most_diversity !== null;
  place("user-pick").hidden = about.users === null;
  place("no-users").hidden = about.users !== null;
  makeInterests(about.model.interests, (k, weight) => {
    const chosen = weights().map((one, at) => (at === k ? weight : one));
    update({ weights: chosen.every((one) => one === 1) ? null : chosen });
  });
  place("main").hidden = false;
  showAbout();
  update({});
}

async function findUsers(text) {
  const found = await ask(`v1/page/users?query=${encodeURIComponent(text === state.user ? "" : text)}`);
  const options = found.users.map((one) => ({
    label: one.user_id, detail: say("user_items", { count: one.items }), value: one.user_id,
  }));
  return { options, note: noteOf(options, found.matches) };
}

async function findItems(text) {
  if (!text) return { options: [], note: "" };
  const found = await ask(`v1/items?n=${FOUND}&query=${encodeURIComponent(text)}`);
  const options = found.items.map((one) => ({
    label: nameOf(one),
    detail: [...one.categories, ...(one.title === null ? [] : [one.item_id])].join(" · "),
    value: one.item_id,
  }));
  return { options, note: noteOf(options, found.matches) };
}

function noteOf(options, matches) {
  if (!matches) return say("nothing_found");
  return matches > options.length ? say("found_more", { count: options.length, matches }) : "";
}

function pickUser(id) {
  place("user").value = id;
  update({ user: id, history: null });
}

async function nextUser() {
  place("main").ariaBusy = "true";
  try {
    const { user_id } = await ask(`v1/page/next-user?after=${encodeURIComponent(state.user ?? "")}`);
    pickUser(user_id);
  } catch (error) {
    fail(error);
  }
}

combobox(place("user"), findUsers, pickUser, fail);
combobox(place("search"), findItems, (id) => {
  place("search").value = "";
  update({ history: [...ids(), id] });
}, fail);

place("user").addEventListener("blur", () => { place("user").value = state.user ?? ""; });
place("next-user").addEventListener("click", nextUser);
place("clear").addEventListener("click", () => {
  focusAfter = () => place("search").focus();
  update({ user: null, history: [] });
});
place("diversity").addEventListener("input", (event) => {
  const chosen = (about.most_diversity * Number(event.target.value)) / about.steps;
  update({ diversity: Number(chosen.toPrecision(3)) });
});
place("seen").addEventListener("change", (event) => update({ hideSeen: !event.target.checked }));
place("reset").addEventListener("click", () => {
  const { diversity, weights: all, hideSeen } = initialState();
  update({ diversity, weights: all, hideSeen });
});
place("language").addEventListener("click", async () => {
  state.language = language === "zh" ? "en" : "zh";
  await speak(state.language).catch(fail);
  showAbout();
  update({});
});
place("copy").addEventListener("click", async () => {
  const copied = await navigator.clipboard?.writeText(location.origin + address()).then(() => true, () => false);
  place("status").textContent = say(copied ? "copied" : "copy_from_address");
  place("copy").textContent = say(copied ? "copied" : "copy_from_address");
  setTimeout(() => { place("copy").textContent = say("copy_link"); }, 2000);
});
place("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's hash is the state
  place("list-title").focus();
});
place("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(place("token").value.trim());
  begin();
});
addEventListener("hashchange", async () => {
  state = fromHash(location.hash);
  await begin();
});
begin();
