// What a person has chosen, and the same as the hash of the page's address.

/** The choices at the start. history: null means the user's own. weights: null means all 1. */
export function initialState() {
  return { user: null, history: null, diversity: 0, weights: null, hideSeen: false, language: null };
}

/** Return the hash that holds a state; what is as at the start is left out. */
export function toHash(state) {
  const parts = new URLSearchParams();
  if (state.user !== null) parts.set("user", state.user);
  if (state.history !== null) {
    for (const id of state.history) parts.append("item", id);
    if (!state.history.length) parts.set("empty", "1");
  }
  if (state.diversity > 0) parts.set("diversity", String(state.diversity));
  if (state.weights !== null) parts.set("weights", state.weights.join(" "));
  if (state.hideSeen) parts.set("seen", "hidden");
  if (state.language !== null) parts.set("lang", state.language);
  const text = parts.toString();
  return text ? `#${text}` : "";
}

/** Return the state of a hash; what cannot be understood is as at the start. */
export function fromHash(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const state = initialState();
  state.user = parts.get("user");
  if (parts.has("item")) state.history = parts.getAll("item");
  else if (parts.has("empty")) state.history = [];
  const diversity = Number(parts.get("diversity"));
  if (Number.isFinite(diversity) && diversity > 0) state.diversity = diversity;
  const weights = (parts.get("weights") ?? "").split(" ").filter(Boolean).map(Number);
  if (weights.length && weights.every((one) => one >= 0 && one <= 2)) state.weights = weights;
  state.hideSeen = parts.get("seen") === "hidden";
  if (["en", "zh"].includes(parts.get("lang"))) state.language = parts.get("lang");
  return state;
}
