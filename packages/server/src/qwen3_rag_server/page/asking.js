// What is sent to the server, and what its answers mean to a reader of the page.

/** An error that the page shows; `status` is 0 where there was no answer. */
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** Send a request, with the key if there is one. */
export async function ask(path, body, signal) {
  const headers = { "content-type": "application/json" };
  const key = sessionStorage.getItem("key");
  if (key) headers.authorization = `Bearer ${key}`;
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let answer;
  let content;
  try {
    answer = await fetch(path, { ...options, headers, signal });
    content = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!answer) throw new Refused("The server does not answer. Is it still running?");
    content = {};
  }
  if (answer.ok) return content;
  throw new Refused(told(answer, content, Boolean(key)), answer.status);
}

function told(answer, content, hadKey) {
  if (answer.status === 401) {
    return hadKey ? "The server does not know this key." : "This server answers only with a key.";
  }
  const wait = answer.headers.get("retry-after");
  const message = content.message ?? `The server answered with the status ${answer.status}.`;
  return answer.status === 429 && wait ? `The server is busy for about ${wait} s. ${message}` : message;
}

/**
 * Read the pairs NAME=VALUE of a filter. A value with spaces is quoted, and one of digits is a
 * number unless it is.
 */
export function filterOf(text) {
  const found = {};
  const rest = text.replace(/([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)/g, (_, name, quoted, plain) => {
    (found[name] ??= []).push(/^\d{1,15}$/.test(plain ?? "") ? Number(plain) : quoted?.replace(/\\(.)/g, "$1") ?? plain);
    return "";
  });
  if (rest.trim()) {
    throw new Refused(
      `“${rest.trim()}” in the filter is not NAME=VALUE, such as kind=markdown or path="my file.md".`, 400,
    );
  }
  return Object.keys(found).length ? found : undefined;
}

/**
 * Search, and return the answer with hits of which each list has its best.
 *
 * A hit of one retriever can be far down the fused order. Where one is missing among the best,
 * that retriever is asked alone.
 */
export async function search(body, limit, signal) {
  const answer = await ask("v1/search", body, signal);
  const hits = new Map(answer.hits.map((hit) => [JSON.stringify(hit.id), hit]));
  const alone = body.weights ? Object.keys(body.weights) : [];
  const most = Math.min(limit, body.limit);
  await Promise.all(alone.filter((name) => hasGap(answer.hits, name, most)).map(async (name) => {
    const weights = Object.fromEntries(alone.map((one) => [one, Number(one === name)]));
    const more = await ask("v1/search", { ...body, limit: most, rerank_depth: 0, weights }, signal);
    for (const hit of more.hits) {
      const id = JSON.stringify(hit.id);
      if (!hits.has(id) && hit.ranks[name]) hits.set(id, { ...hit, ranks: { [name]: hit.ranks[name] } });
    }
  }));
  return { ...answer, hits: [...hits.values()] };
}

function hasGap(hits, name, limit) {
  return hits.filter((hit) => hit.ranks[name]?.rank <= limit).length < limit;
}
