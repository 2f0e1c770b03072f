// A text field with a list of what it finds (the ARIA pattern "combobox with list").

import { make } from "./parts.js";
import { latest } from "./server.js";

/**
 * Make a combobox of a text field.
 *
 * find(text): a promise of {options: [{label, detail, value}], note}; choose(value): a choice.
 */
export function combobox(field, find, choose, fail) {
  const id = `${field.id}-options`;
  const box = make("ul", { id, class: "options", role: "listbox", hidden: true });
  const note = make("p", { class: "options-note faint", role: "status", hidden: true });
  const label = field.labels[0];
  if (label) {
    label.id ||= `${field.id}-label`;
    box.setAttribute("aria-labelledby", label.id);
  }
  field.after(box, note);
  for (const [name, value] of Object.entries({
    role: "combobox", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-autocomplete": "list", "aria-controls": id, "aria-expanded": "false",
  })) field.setAttribute(name, value);

  let options = [];
  let active = -1;

  function point(place) {
    active = place;
    [...box.children].forEach((one, at) => one.setAttribute("aria-selected", String(at === place)));
    const pointed = box.children[place];
    if (pointed) {
      field.setAttribute("aria-activedescendant", pointed.id);
      pointed.scrollIntoView({ block: "nearest" });
    } else field.removeAttribute("aria-activedescendant");
  }

  function open(found) {
    options = found.options;
    box.replaceChildren(...options.map((one, place) => make(
      "li",
      {
        id: `${id}-${place}`, role: "option", "aria-selected": "false",
        onpointerdown: (event) => event.preventDefault(), // the field keeps the focus
        onclick: () => take(place),
      },
      make("span", {}, one.label),
      make("span", { class: "faint" }, one.detail),
    )));
    note.textContent = found.note;
    note.hidden = !found.note;
    box.hidden = !options.length;
    field.setAttribute("aria-expanded", String(!box.hidden));
    point(-1);
  }

  function close() {
    open({ options: [], note: "" });
  }

  function take(place) {
    const { value } = options[place];
    close();
    choose(value);
  }

  const look = latest(
    () => find(field.value.trim()),
    (found) => { if (document.activeElement === field) open(found); },
    fail,
  );
  field.addEventListener("input", look);
  field.addEventListener("focus", look);
  field.addEventListener("click", () => { if (box.hidden) look(); });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // an input method is at work
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && options.length) take(Math.max(active, 0));
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!options.length) look();
      else {
        const step = event.key === "ArrowDown" ? 1 : -1;
        point(active < 0 && step < 0 ? options.length - 1 : (active + step + options.length) % options.length);
      }
    } else return;
    event.preventDefault();
  });
}
