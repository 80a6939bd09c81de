// The lists side by side: their hits, the lines between equal ones, and moving among them by keys.

import { addMarked, bestStart } from "./words.js";

export const LISTS = [
  ["dense", "Dense", "nearest vectors"],
  ["bm25", "BM25", "words in common"],
  ["fused", "Fused", "both together"],
  ["rerank", "Reranked", "read with the question"],
];
const TITLES = Object.fromEntries(LISTS);
const EXTRACT = 220;
const $ = (id) => document.getElementById(id);
const listElements = () => [...document.querySelectorAll(".list")];
const hitsOf = (list) => [...list.querySelectorAll(".hit")];

export function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const keyOf = (hit) => JSON.stringify(hit.id);

/** A score in a few characters; those of different lists cannot be compared. */
export function told(score) {
  const size = Math.abs(score);
  if (size && size < 0.001) return score.toExponential(0);
  return score.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/** The file of a hit, as its folder and its name. */
export function fileOf(hit) {
  const path = String(hit.payload.path ?? hit.id);
  const cut = path.lastIndexOf("/") + 1;
  return [path.slice(0, cut), path.slice(cut)];
}

/** Where in its file a hit is, such as page 3 or lines 10–12. */
export function placeOf({ payload }) {
  if (payload.place !== undefined) return String(payload.place);
  const { line, end_line: end } = payload;
  if (line !== undefined) return end && end !== line ? `lines ${line}–${end}` : `line ${line}`;
  for (const name of ["page", "slide", "cell", "sheet"]) {
    if (payload[name] !== undefined) return `${name} ${payload[name]}`;
  }
  return "";
}

/** What a list makes of the lists before it, in words: where a hit was. */
function changeOf(hit, name) {
  const before = { fused: ["dense", "bm25"], rerank: ["fused"] }[name];
  if (!before) return "";
  const was = before.map((one) => `${TITLES[one]} ${hit.ranks[one]?.rank ?? "–"}`).join(" · ");
  if (name !== "rerank") return was;
  const up = hit.ranks.fused.rank - hit.ranks.rerank.rank;
  const move = made("b", { class: up > 0 ? "up" : up < 0 ? "down" : "" });
  move.textContent = up > 0 ? `▲ ${up}` : up < 0 ? `▼ ${-up}` : "=";
  const words = up > 0 ? `up ${up}` : up < 0 ? `down ${-up}` : "unchanged";
  move.setAttribute("aria-hidden", "true");
  return made("span", {}, `${was} `, move, made("span", { class: "hidden" }, words));
}

function card(hit, name, words) {
  const { rank, score } = hit.ranks[name];
  const [folder, file] = fileOf(hit);
  const heading = String(hit.payload.heading ?? "").split(" > ").at(-1); // a card is narrow
  const snippet = made("span", { class: "snippet", dir: "auto" });
  const places = words.in(hit.text).slice(0, 200);
  const start = bestStart(hit.text, places, EXTRACT);
  if (start) snippet.append("… ");
  addMarked(snippet, hit.text, places, start, start + 2 * EXTRACT);
  const score_ = made("data", { value: score, title: `Score of ${TITLES[name] ?? "the search"}` }, told(score));
  return made("li", {}, made(
    "button", { type: "button", class: "hit", "data-id": keyOf(hit), tabindex: "-1" },
    made("span", { class: "file" },
      made("span", { class: "rank" }, `${rank}`), " ",
      made("bdi", { dir: "ltr" }, made("span", { class: "folder" }, folder), made("span", { class: "name" }, file)), " ", score_),
    made("span", { class: "place" }, made("bdi", {}, [placeOf(hit), heading].filter(Boolean).join(" · "))),
    snippet,
    made("span", { class: "change" }, changeOf(hit, name)),
  ));
}

/** Which lists an answer has; a search that tells no ranks has one. */
function listsOf(hits) {
  const found = LISTS.filter(([name]) => hits.some((hit) => hit.ranks[name]));
  if (found.length || !hits.length) return found;
  hits.forEach((hit, at) => { hit.ranks.all = { rank: at + 1, score: hit.score }; });
  return [["all", "Results", "best first"]];
}

let chosen = null;

/** Show the best of each list; returns the hits of the last one, which is the order to trust. */
export function show(hits, limit, words) {
  $("intro").hidden = true;
  listElements().forEach((one) => one.remove());
  $("tabs").replaceChildren();
  const lists = listsOf(hits);
  let last = [];
  for (const [name, title, note] of lists) {
    last = hits
      .filter((hit) => hit.ranks[name]?.rank <= limit)
      .sort((a, b) => a.ranks[name].rank - b.ranks[name].rank);
    const list = made("div", { class: "list", "data-list": name });
    list.append(
      made("h2", { id: `title-${name}` }, title, made("small", {}, note)),
      made("ol", { role: "list", "aria-labelledby": `title-${name}` },
        ...last.map((hit) => card(hit, name, words))),
    );
    list.querySelector(".hit")?.setAttribute("tabindex", "0");
    $("results").append(list);
    const tab = made("button", { type: "button", "data-tab": name }, title);
    tab.addEventListener("click", () => {
      chosen = name;
      choose(name);
    });
    $("tabs").append(tab);
  }
  $("keys").hidden = !lists.length;
  if (lists.length) choose(lists.some(([name]) => name === chosen) ? chosen : lists.at(-1)[0]);
  draw();
  return last;
}

/** Choose the list that a narrow window shows. */
function choose(name) {
  listElements().forEach((one) => one.classList.toggle("shown", one.dataset.list === name));
  document.querySelectorAll("[data-tab]").forEach((one) => one.setAttribute("aria-pressed", one.dataset.tab === name));
}

/** Draw a line from each hit to the same in the next list that has it, behind those in between. */
export function draw() {
  const frame = $("results").getBoundingClientRect();
  const lists = listElements().map((list) => new Map(hitsOf(list).map((hit) => [hit.dataset.id, hit])));
  const paths = [];
  lists.forEach((list, left) => {
    for (const [id, from] of list) {
      const right = lists.findIndex((other, at) => at > left && other.has(id));
      if (right < 0) continue;
      const [a, b] = [from.getBoundingClientRect(), lists[right].get(id).getBoundingClientRect()];
      const [x1, y1] = [a.right - frame.left, a.top + a.height / 2 - frame.top];
      const [x2, y2] = [b.left - frame.left, b.top + b.height / 2 - frame.top];
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      const middle = (x1 + x2) / 2;
      path.setAttribute("d", `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`);
      path.dataset.id = id;
      path.classList.toggle("far", right > left + 1);
      paths.push(path);
    }
  });
  $("lines").replaceChildren(...paths);
}

/** Bring out a hit in all lists, with its lines. */
export function trace(id) {
  const isOn = (one) => one.dataset.id === id;
  document.querySelectorAll(".hit").forEach((one) => one.classList.toggle("on", isOn(one)));
  const paths = [...document.querySelectorAll("#lines path")];
  paths.forEach((one) => one.classList.toggle("on", isOn(one)));
  $("lines").append(...paths.filter(isOn)); // on top of the others
}

function place(hit) {
  for (const list of listElements()) {
    if (list.contains(hit)) hitsOf(list).forEach((one) => one.setAttribute("tabindex", one === hit ? "0" : "-1"));
  }
}

/** The hit before or after one in its list. */
export function beside(hit, steps) {
  const list = hitsOf(hit.closest(".list"));
  return list[list.indexOf(hit) + steps];
}

/** Move between hits: up and down in a list, left and right to the same hit or its place. */
function move(event) {
  const current = event.target.closest?.(".hit");
  if (!current || event.altKey || event.ctrlKey || event.metaKey) return;
  const lists = listElements().filter((one) => one.offsetParent).map(hitsOf);
  const column = lists.findIndex((one) => one.includes(current));
  const row = lists[column].indexOf(current);
  const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  let next;
  if (event.key === "ArrowDown") next = lists[column][row + 1];
  else if (event.key === "ArrowUp") next = lists[column][row - 1];
  else if (event.key === "Home") [next] = lists[column];
  else if (event.key === "End") next = lists[column].at(-1);
  else if (across) {
    const other = lists[column + across] ?? [];
    next = other.find((one) => one.dataset.id === current.dataset.id) ?? other[Math.min(row, other.length - 1)];
  } else return;
  event.preventDefault();
  next?.focus();
}

/** Follow the pointer and the keys; `read` is called with the hit to read. */
export function follow(read) {
  const results = $("results");
  const idOf = (event) => event.target.closest?.(".hit")?.dataset.id;
  const focused = () => document.activeElement?.closest(".hit")?.dataset.id;
  results.addEventListener("keydown", move);
  results.addEventListener("focusin", (event) => {
    const hit = event.target.closest(".hit");
    if (hit) place(hit);
    trace(hit?.dataset.id);
  });
  results.addEventListener("focusout", () => trace(undefined));
  results.addEventListener("pointerover", (event) => trace(idOf(event) ?? focused()));
  results.addEventListener("pointerleave", () => trace(focused()));
  results.addEventListener("click", (event) => {
    const hit = event.target.closest(".hit");
    if (hit) read(hit);
  });
  new ResizeObserver(draw).observe(results);
}
