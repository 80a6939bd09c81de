// One hit to read: its whole text, its rank in each list, and what else is known of it.

import { beside, fileOf, LISTS, made, placeOf, told } from "./lists.js";
import { addMarked } from "./words.js";

const $ = (id) => document.getElementById(id);
let current = null;

function fill(button, { hits, words }) {
  current = button;
  const hit = hits.find((one) => JSON.stringify(one.id) === button.dataset.id);
  $("hit-title").replaceChildren(made("bdi", { dir: "ltr" }, fileOf(hit).join("")));
  const place = [placeOf(hit), hit.payload.heading].filter(Boolean).join(" · ");
  $("hit-place").replaceChildren(made("bdi", {}, place));
  $("hit-ranks").replaceChildren(...LISTS.map(([name, title]) => {
    const found = hit.ranks[name];
    return made("tr", {}, made("th", { scope: "row" }, title),
      made("td", {}, found ? `${found.rank}` : "–"), made("td", {}, found ? told(found.score) : "–"));
  }));
  const text = $("hit-text");
  text.replaceChildren();
  addMarked(text, hit.text, words.in(hit.text));
  text.scrollTop = 0;
  $("hit-payload").textContent = JSON.stringify(hit.payload, null, 2);
  $("previous").disabled = !beside(button, -1);
  $("next").disabled = !beside(button, 1);
  $("only").hidden = hit.payload.path === undefined;
  $("only").dataset.path = String(hit.payload.path);
}

/** Open the dialog on a hit's button; `state` has the hits and the question's words. */
export function read(button, state) {
  fill(button, state);
  $("hit").showModal();
  $("hit-text").focus({ preventScroll: true });
}

/** Make the dialog's buttons work; `only` is called with the path of a file to search alone. */
export function prepare(state, only) {
  const dialog = $("hit");
  const step = (steps) => {
    const next = beside(current, steps);
    if (next) fill(next, state);
  };
  $("close").addEventListener("click", () => dialog.close());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("only").addEventListener("click", () => {
    dialog.close();
    only($("only").dataset.path);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  dialog.addEventListener("close", () => current?.isConnected && current.focus());
}
