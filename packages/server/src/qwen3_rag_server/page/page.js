// The page: one question, and what each step of the search makes of it.

import { ask, filterOf, Refused, search } from "./asking.js";
import { fileOf, follow, made, placeOf, show } from "./lists.js";
import { prepare, read } from "./reading.js";
import { Words } from "./words.js";

const STEPS = { embed: "embed", retrieve: "retrieve and fuse", rerank: "rerank" };
const FIELDS = ["index", "dense", "bm25", "depth", "limit", "filter", "instruction"];
const $ = (id) => document.getElementById(id);
const state = { hits: [], words: new Words(""), defaults: {}, isLoaded: false, isWanted: false };

/** Set the controls as the server has them for an index; the question stays. */
function useDefaults(index) {
  const query = $("query").value;
  $("search").reset();
  $("query").value = query;
  $("index").value = index;
  const known = state.defaults[index];
  for (const one of document.querySelectorAll(".tuning")) one.hidden = Boolean(index) && !known;
  if (known) {
    $("dense").value = known.weights.dense ?? 1;
    $("bm25").value = known.weights.bm25 ?? 1;
    $("depth").max = Math.max(100, known.rerank_depth);
    $("depth").value = known.rerank_depth;
    $("depth-option").hidden = !known.reranks;
  }
  showValues();
}

/** Write the value of each slider beside it. */
function showValues() {
  for (const shown of document.querySelectorAll(".value")) {
    const slider = $(shown.dataset.of);
    const isOff = slider.id === "depth" && slider.value === "0";
    shown.textContent = isOff ? "off" : slider.value;
    slider.setAttribute("aria-valuetext", shown.textContent);
  }
}

/** What the controls say, as fields of a request. */
function requestOf(query, limit) {
  const index = $("index").value || undefined;
  const known = state.defaults[index];
  const common = { query, index, instruction: $("instruction").value.trim() || undefined };
  if (!known) return { ...common, limit };
  const depth = known.reranks ? Number($("depth").value) : 0;
  return {
    ...common,
    limit: Math.min(Math.max(2 * limit, depth), known.candidates),
    rerank_depth: depth,
    weights: { dense: Number($("dense").value), bm25: Number($("bm25").value) },
    filter: filterOf($("filter").value),
  };
}

/** The question and the controls that were changed, behind the # of an address to send on. */
function addressOf() {
  const values = new URLSearchParams({ q: $("query").value });
  for (const id of FIELDS) {
    if ($(id).value && !$(id).closest("[hidden]") && $(id).value !== usual(id)) values.set(id, $(id).value);
  }
  return `#${values}`;
}

function usual(id) {
  const known = state.defaults[$("index").value];
  const weight = known?.weights[id] ?? 1;
  return { index: "", limit: "10", depth: String(known?.rerank_depth), dense: String(weight), bm25: String(weight) }[id];
}

/** Take an address's question and controls; an empty one is the page as it begins. */
function takeAddress() {
  const values = new URLSearchParams(location.hash.slice(1));
  if (values.has("index")) $("index").value = values.get("index");
  if (!$("index").value) $("index").selectedIndex = 0;
  useDefaults($("index").value);
  for (const [id, value] of values) if (FIELDS.includes(id) && id !== "index") $(id).value = value;
  $("query").value = values.get("q") ?? "";
  showValues();
  return Boolean(values.get("q")?.trim());
}

let running = null;
let planned = 0;

/** Search when the controls have come to rest. */
function runSoon() {
  clearTimeout(planned);
  planned = setTimeout(run, 200);
}

/** Search for what the controls say; a later search drops an earlier one. */
async function run({ isNew = false, keepsAddress = false } = {}) {
  const query = $("query").value;
  clearTimeout(planned);
  if (!query.trim()) return;
  running?.abort();
  const own = (running = new AbortController());
  const limit = Math.min(50, Math.max(1, Math.trunc(Number($("limit").value)) || 10));
  const begun = performance.now();
  $("intro").hidden = true;
  $("results").setAttribute("aria-busy", "true");
  try {
    const answer = await search(requestOf(query, limit), limit, own.signal);
    fail(null);
    const address = addressOf();
    if (!keepsAddress && address !== location.hash) {
      if (isNew) history.pushState(null, "", address);
      else history.replaceState(null, "", address);
    }
    document.title = `${query} — qwen3-rag`;
    Object.assign(state, { hits: answer.hits, words: new Words(query) });
    const best = show(answer.hits, limit, state.words);
    report(best, answer.seconds, performance.now() - begun);
  } catch (error) {
    if (error.name === "AbortError") return; // a later search took its place
    fail(error);
  }
  if (running === own) $("results").removeAttribute("aria-busy");
}

/** Tell what was found and how long it took, for eyes and for screen readers. */
function report(best, seconds, whole) {
  const [first] = best;
  if (first) {
    const count = best.length === 1 ? "1 hit" : `${best.length} hits`;
    const place = placeOf(first) && `, ${placeOf(first)}`;
    $("status").replaceChildren(`${count}. The first is `, made("bdi", { dir: "ltr" }, fileOf(first)[1]), `${place}.`);
  } else {
    const isFiltered = Boolean($("filter").value.trim());
    $("status").textContent = isFiltered ? "No hit with this filter." : "No hit. The index may be empty.";
  }
  const steps = Object.entries(seconds).map(([name, one]) => [name, STEPS[name] ?? name, one * 1000]);
  const rest = Math.max(0, whole - steps.reduce((sum, one) => sum + one[2], 0));
  steps.push(["rest", "send and show", rest]);
  const of = (milliseconds) => (milliseconds < 9.95 ? milliseconds.toFixed(1) : `${Math.round(milliseconds)}`);
  $("times").querySelector("ul").replaceChildren(...steps.map(([name, title, milliseconds]) => made(
    "li", { "data-step": name }, `${title} `, made("b", {}, `${of(milliseconds)} ms`),
  )));
  $("bar").replaceChildren(...steps.map(([name, , milliseconds]) => {
    const part = made("i", { "data-step": name });
    part.style.setProperty("--share", milliseconds);
    return part;
  }));
  $("times").hidden = false;
}

/** Show an error in place of what was found, or none. */
function fail(error) {
  $("error").hidden = !error;
  $("error").firstElementChild.textContent = error ? error.message : "";
  if (!error) return;
  $("again").hidden = [400, 401, 404].includes(error.status);
  if (error.status === 401) {
    $("key-form").hidden = false;
    state.isWanted = true;
    $("key").focus();
  }
  $("status").textContent = "";
  $("times").hidden = true;
  state.hits = [];
  show([], 0, state.words);
}

/** Ask what is served, and set the controls. */
async function load() {
  try {
    const meta = await ask("meta");
    fail(null);
    $("key-form").hidden = true;
    const models = [["embeds", meta.embedding], ["reranks", meta.reranking]].filter(([, name]) => name);
    $("served").textContent = models.map(([does, name]) => `${does} with ${name}`).join(", ");
    state.defaults = meta.defaults ?? {};
    $("index").replaceChildren(...meta.indexes.map((name) => made("option", {}, name)));
    $("index-option").hidden = meta.indexes.length < 2;
    const typed = $("query").value;
    const hasQuestion = takeAddress();
    $("query").value ||= typed;
    state.isLoaded = true;
    if (!meta.indexes.length) {
      $("intro").hidden = true;
      throw new Refused("This server has no index to search. Start it with --index PATH.", 404);
    }
    const isNew = state.isWanted && !hasQuestion;
    state.isWanted = false;
    if (hasQuestion || isNew) await run({ isNew });
    return true;
  } catch (error) {
    fail(error);
    return false;
  }
}

function stored(name, value) {
  try { // a browser may forbid it
    if (value) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function prepareTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const tell = () => $("theme").setAttribute("aria-pressed", isDark());
  const given = stored("theme");
  if (given) document.documentElement.dataset.theme = given;
  dark.addEventListener("change", tell);
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    stored("theme", document.documentElement.dataset.theme);
    tell();
  });
  tell();
}

function prepareForms() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.isLoaded) run({ isNew: true });
    else state.isWanted = true; // what is served is not known yet
  });
  $("options").addEventListener("input", (event) => {
    if (event.target.id === "index") useDefaults(event.target.value);
    showValues();
    runSoon();
  });
  $("search").querySelector("[type=reset]").addEventListener("click", (event) => {
    event.preventDefault();
    useDefaults($("index").value);
    runSoon();
  });
  $("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    sessionStorage.setItem("key", $("key").value.trim());
    if (await load()) $("query").focus();
  });
  $("again").addEventListener("click", () => ($("index").options.length ? run() : load()));
}

function prepareKeys() {
  // The address holds the question, so this link must not replace it.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("results").focus();
  });
  addEventListener("keydown", (event) => {
    const writes = event.target.matches?.("input:not([type=range]), select, textarea");
    if (event.key === "/" && !writes && !$("hit").open) {
      event.preventDefault();
      $("query").select();
    }
  });
}

async function start() {
  prepareTheme();
  prepareForms();
  prepareKeys();
  follow((button) => read(button, state));
  prepare(state, (path) => {
    $("filter").value = `path="${path.replace(/["\\]/g, "\\$&")}"`;
    $("options").open = true;
    run({ isNew: true });
  });
  const isWide = matchMedia("(min-width: 48rem)");
  const open = () => { $("options").open = isWide.matches; };
  isWide.addEventListener("change", open);
  open();
  addEventListener("popstate", () => {
    if (takeAddress()) {
      run({ keepsAddress: true });
    } else {
      running?.abort();
      $("results").removeAttribute("aria-busy");
      show([], 0, state.words);
      fail(null);
      $("intro").hidden = false;
      $("status").textContent = "";
      $("times").hidden = true;
    }
  });
  await load();
}

start();
