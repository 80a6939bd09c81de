// The page: one question, and what each step of the search makes of it.

const LISTS = [
  ["dense", "Vectors"],
  ["bm25", "BM25"],
  ["fused", "Fused"],
  ["rerank", "Reranked"],
];
const STEPS = { embed: "embedding", retrieve: "retrieving", rerank: "reranking" };
const $ = (id) => document.getElementById(id);
const state = { hits: [], words: [], shown: "fused", selected: null, asked: 0 };

/** Send a request, with the key if there is one; an error has the server's message. */
async function ask(path, body, signal) {
  const headers = { "content-type": "application/json" };
  const key = sessionStorage.getItem("key");
  if (key) headers.authorization = `Bearer ${key}`;
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  if (answer.status === 401) $("key-option").hidden = false;
  throw new Error(content.message ?? `The server answered with the status ${answer.status}.`);
}

/** Read `name=value` pairs, of which a value may be quoted, as the server's filter. */
function filterOf(text) {
  const found = {};
  for (const [, name, quoted, plain] of text.matchAll(/([^\s=]+)=(?:"([^"]*)"|(\S*))/g)) {
    (found[name] ??= []).push(quoted ?? plain);
  }
  if (text.trim() && !Object.keys(found).length) {
    throw new Error("A filter is NAME=VALUE, such as kind=markdown or path=\"my file.md\".");
  }
  return Object.keys(found).length ? found : undefined;
}

/** The words of a text, as its language separates them. */
function wordsOf(text) {
  const parts = new Intl.Segmenter(undefined, { granularity: "word" }).segment(text);
  return [...parts].filter((one) => one.isWordLike).map((one) => one.segment.toLowerCase());
}

/** Append a text to an element, with the question's words marked. */
function addMarked(element, text) {
  const words = new Set(state.words.filter((one) => one.length > 1 || /\p{Lo}/u.test(one)));
  for (const { segment, isWordLike } of new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)) {
    if (isWordLike && words.has(segment.toLowerCase())) {
      const mark = document.createElement("mark");
      mark.textContent = segment;
      element.append(mark);
    } else {
      element.append(segment);
    }
  }
}

function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const titleOf = (hit) => String(hit.payload.path ?? hit.id);

/** Where in the file a hit is: page, slide, cell, sheet or line. */
function placeOf(payload) {
  for (const name of ["page", "slide", "cell", "sheet", "message", "line"]) {
    if (payload[name] !== undefined) return `${name} ${payload[name]}`;
  }
  return "";
}

function card(hit, list) {
  const { rank, score } = hit.ranks[list];
  const button = made("button", { type: "button", class: "hit", "data-id": JSON.stringify(hit.id) });
  const place = [titleOf(hit), placeOf(hit.payload)].filter(Boolean).join(", ");
  button.append(
    made("span", { class: "where" }, `${rank}`, made("b", {}, place),
      made("data", { value: score, title: "Score" }, score.toPrecision(3))),
  );
  const snippet = made("span", { class: "snippet", dir: "auto" });
  addMarked(snippet, hit.text.slice(0, 400));
  button.append(snippet);
  return made("li", {}, button);
}

function show(limit) {
  const results = $("results");
  results.querySelectorAll(".list").forEach((one) => one.remove());
  $("tabs").replaceChildren();
  const lists = LISTS.filter(([name]) => name !== "rerank" || state.hits.some((hit) => hit.ranks.rerank));
  if (!state.hits.length) return;
  if (!lists.some(([name]) => name === state.shown)) state.shown = "fused";
  for (const [name, title] of lists) {
    const hits = state.hits
      .filter((hit) => hit.ranks[name])
      .sort((a, b) => a.ranks[name].rank - b.ranks[name].rank)
      .slice(0, limit);
    const list = made("section", { class: "list", "data-list": name, "aria-label": title });
    list.append(made("h2", {}, title), made("ol", {}, ...hits.map((hit) => card(hit, name))));
    if (!hits.length) list.append(made("p", { class: "none" }, "No hit."));
    results.append(list);
    const tab = made("button", { type: "button", "data-tab": name }, title);
    tab.addEventListener("click", () => choose(name));
    $("tabs").append(tab);
  }
  choose(state.shown);
  select(null);
}

/** Choose the list that a narrow window shows. */
function choose(name) {
  state.shown = name;
  document.querySelectorAll(".list").forEach((one) => one.classList.toggle("shown", one.dataset.list === name));
  document.querySelectorAll("[data-tab]").forEach((one) => one.setAttribute("aria-pressed", one.dataset.tab === name));
  draw();
}

/** Draw a line between equal hits of neighbouring lists. */
function draw() {
  const frame = $("results").getBoundingClientRect();
  const lists = [...document.querySelectorAll(".list")];
  const paths = [];
  for (let left = 0; left + 1 < lists.length; left++) {
    for (const from of lists[left].querySelectorAll(".hit")) {
      const to = [...lists[left + 1].querySelectorAll(".hit")].find((one) => one.dataset.id === from.dataset.id);
      if (!to) continue;
      const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
      const [x1, y1] = [a.right - frame.left, a.top + a.height / 2 - frame.top];
      const [x2, y2] = [b.left - frame.left, b.top + b.height / 2 - frame.top];
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      const middle = (x1 + x2) / 2;
      path.setAttribute("d", `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`);
      path.classList.toggle("on", from.dataset.id === state.selected);
      paths.push(path);
    }
  }
  paths.sort((a, b) => a.classList.contains("on") - b.classList.contains("on"));
  $("lines").replaceChildren(...paths);
}

/** Mark a hit in all lists, and show its text. */
function select(id) {
  state.selected = id;
  document.querySelectorAll(".hit").forEach((one) => {
    one.classList.toggle("on", one.dataset.id === id);
    one.setAttribute("aria-pressed", one.dataset.id === id);
  });
  const hit = state.hits.find((one) => JSON.stringify(one.id) === id);
  const detail = $("detail");
  detail.hidden = !hit;
  draw();
  if (!hit) return;
  const ranks = LISTS.filter(([name]) => hit.ranks[name]).map(
    ([name, title]) => `${title} ${hit.ranks[name].rank} (${hit.ranks[name].score.toPrecision(4)})`,
  );
  const text = made("div", { dir: "auto" });
  addMarked(text, hit.text);
  const place = [placeOf(hit.payload), hit.payload.heading].filter(Boolean).join(" · ");
  detail.replaceChildren(
    made("h2", {}, titleOf(hit)),
    made("p", {}, [place, ranks.join(", ")].filter(Boolean).join(" — ")),
    text,
  );
}

function fail(error) {
  $("error").textContent = error ? error.message : "";
  $("error").hidden = !error;
}

let running = null;

async function search() {
  const query = $("query").value;
  if (!query.trim()) return;
  running?.abort();
  const own = (running = new AbortController());
  const limit = Number($("limit").value) || 10;
  const begun = performance.now();
  $("status").textContent = "Searching …";
  try {
    const depth = $("depth-option").hidden ? 0 : Number($("depth").value);
    // As many as are fused from the lists that are shown, so that each has its best.
    const answer = await ask("v1/search", {
      query,
      limit: Math.max(4 * limit, depth),
      index: $("index").value || undefined,
      rerank_depth: depth,
      weights: { dense: Number($("dense").value), bm25: Number($("bm25").value) },
      filter: filterOf($("filter").value),
      instruction: $("instruction").value.trim() || undefined,
    }, own.signal);
    fail(null);
    state.hits = answer.hits;
    state.words = wordsOf(query);
    show(limit);
    const steps = Object.entries(answer.seconds)
      .map(([name, seconds]) => `${STEPS[name] ?? name} ${Math.round(seconds * 1000)}`);
    const whole = Math.round(performance.now() - begun);
    const count = answer.hits.length ? "" : "Nothing was found. ";
    $("status").textContent = `${count}${whole} ms: ${steps.join(", ")}`;
    history.replaceState(null, "", `#${encodeURIComponent(query)}`);
  } catch (error) {
    if (error.name === "AbortError") return;
    $("status").textContent = "";
    fail(error);
  }
}

function later(milliseconds, work) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

/** Move between hits: up and down in a list, left and right to the same hit or its place. */
function move(event) {
  const current = event.target.closest?.(".hit");
  if (!current) return;
  const lists = [...document.querySelectorAll(".list")].map((one) => [...one.querySelectorAll(".hit")]);
  const column = lists.findIndex((one) => one.includes(current));
  const row = lists[column].indexOf(current);
  let next;
  if (event.key === "ArrowDown") next = lists[column][row + 1];
  else if (event.key === "ArrowUp") next = lists[column][row - 1];
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const beside = lists[column + (event.key === "ArrowRight" ? 1 : -1)] ?? [];
    next = beside.find((one) => one.dataset.id === current.dataset.id) ?? beside[Math.min(row, beside.length - 1)];
  } else return;
  event.preventDefault();
  next?.focus();
}

async function start() {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  $("theme").addEventListener("click", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark"
      || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem("theme", document.documentElement.dataset.theme);
  });
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  const soon = later(250, search);
  for (const one of document.querySelectorAll(".options input, .options select")) {
    one.addEventListener("input", () => {
      const output = document.querySelector(`output[for="${one.id}"]`);
      if (output) output.textContent = one.value;
      soon();
    });
  }
  $("key").addEventListener("change", () => {
    sessionStorage.setItem("key", $("key").value);
    load().then(search);
  });
  $("results").addEventListener("click", (event) => {
    const hit = event.target.closest(".hit");
    if (hit) select(hit.dataset.id === state.selected ? null : hit.dataset.id);
  });
  $("results").addEventListener("keydown", move);
  addEventListener("resize", draw);
  addEventListener("keydown", (event) => {
    const writes = event.target.matches?.("input, select, textarea");
    if (event.key === "/" && !writes) {
      event.preventDefault();
      $("query").select();
    } else if (event.key === "Escape" && state.selected) {
      select(null);
    }
  });
  await load();
  if (location.hash.length > 1) {
    $("query").value = decodeURIComponent(location.hash.slice(1));
    search();
  }
}

/** Ask what is served. */
async function load() {
  try {
    const meta = await ask("meta");
    fail(null);
    $("served").textContent = [meta.embedding, meta.reranking].filter(Boolean).join(" · ");
    $("depth-option").hidden = !meta.reranking;
    $("index").replaceChildren(...meta.indexes.map((name) => made("option", {}, name)));
    $("index-option").hidden = meta.indexes.length < 2;
    if (!meta.indexes.length) fail(new Error("This server has no index. Start it with --index PATH."));
  } catch (error) {
    fail(error);
  }
}

start();
