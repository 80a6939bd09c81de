// Which words of a text are those of the question, for the reader's eye. BM25 decides on the server.

const UNSPACED = String.raw`\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}々ー`;
const PIECE = new RegExp(
  String.raw`(?<han>[${UNSPACED}]+)|(?<hangul>\p{Script=Hangul}+)|`
  + String.raw`(?<word>(?:(?![${UNSPACED}\p{Script=Hangul}])[\p{L}\p{N}\p{M}])+)`,
  "gu",
);
const WITHOUT_SPACES = /[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const SEGMENTER = new Intl.Segmenter(undefined, { granularity: "word" });

// Of a question in English, these say nothing about what it is about.
const STOP = new Set(
  ("a am an and any are as at be because been being by but can could did do does doing for from had has have he "
  + "her here his how i if in into is it its let me my no not of on or our she should so some than that the their "
  + "them then there these they this those to upon us was we were what when where which while who whom whose why "
  + "will with within would you your don t s").split(" "),
);

/** A word without its case, accents and vowel points. */
function plain(word) {
  return word.normalize("NFKD").replace(/\p{M}/gu, "").normalize("NFC").toLowerCase();
}

/** A word as it is, and without the article that Arabic and Hebrew write in front of it. */
function formsOf(word) {
  const bare = word.replace(/^(?:[وف]?ال|[והבלמשכ])(?=\p{L}{3})/u, "");
  return bare === word ? [word] : [word, bare];
}

function sharedLength(one, other) {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length++;
  return length;
}

/** Whether two words are the same or, as far as their beginning tells, forms of the same. */
function alike(one, other) {
  if (one === other) return true;
  const length = sharedLength(one, other);
  if (length < 4 || /\d/.test(one + other)) return false;
  return length >= 0.6 * Math.max(one.length, other.length);
}

function* pairsOf(run) {
  const characters = [...run];
  for (let at = 0; at + 1 < characters.length; at++) yield characters[at] + characters[at + 1];
}

/** The words of a question. */
export class Words {
  constructor(question) {
    this.words = [];
    this.pairs = new Set();
    this.hangul = [];
    for (const { 0: text, groups } of question.normalize("NFC").matchAll(PIECE)) {
      if (groups.hangul) this.hangul.push(text);
      else if (groups.han) this.#addPairs(text);
      else this.words.push(...splitWord(text).map(([part]) => plain(part)));
    }
    // Nor do the shortest words of other scripts.
    const telling = this.words.filter((word) => !STOP.has(word) && !/^[^\p{Script=Latin}\p{N}]{1,2}$/u.test(word));
    if (telling.length || this.pairs.size || this.hangul.length) this.words = telling;
    this.words = [...new Set(this.words.flatMap(formsOf))];
  }

  #addPairs(run) {
    if ([...run].length === 1) this.pairs.add(run);
    // Hiragana alone is grammar, as in ます.
    for (const pair of pairsOf(run)) if (!/^\p{Script=Hiragana}+$/u.test(pair)) this.pairs.add(pair);
  }

  /** The places of the question's words in a text, as [start, end]. */
  in(text) {
    const found = [];
    for (const { 0: piece, index, groups } of text.matchAll(PIECE)) {
      if (groups.han) found.push(...this.#inRun(piece, index));
      else if (groups.hangul) found.push(...this.#inHangul(piece, index));
      else {
        for (const [part, at] of splitWord(piece)) {
          const forms = formsOf(plain(part));
          const is = this.words.some((word) => forms.some((form) => alike(word, form)));
          if (is) found.push([index + at, index + at + part.length]);
        }
      }
    }
    return found;
  }

  #inRun(run, index) {
    const characters = [...run];
    const marked = characters.map((one) => this.pairs.has(one));
    [...pairsOf(run)].forEach((pair, at) => {
      if (this.pairs.has(pair)) marked[at] = marked[at + 1] = true;
    });
    const found = [];
    let offset = index;
    characters.forEach((one, at) => {
      const last = found.at(-1);
      if (marked[at] && last?.[1] === offset) last[1] += one.length;
      else if (marked[at]) found.push([offset, offset + one.length]);
      offset += one.length;
    });
    return found;
  }

  /** Korean writes particles behind a word, so the beginning counts. */
  #inHangul(word, index) {
    const lengths = this.hangul.map((one) => {
      const length = sharedLength(one, word);
      return length >= 2 || one === word ? length : 0;
    });
    const length = Math.max(0, ...lengths);
    return length ? [[index, index + length]] : [];
  }
}

function splitWord(word) {
  if (!WITHOUT_SPACES.test(word)) return [[word, 0]];
  return [...SEGMENTER.segment(word)].map(({ segment, index }) => [segment, index]);
}

/** Append a text, or a part of it, with the places marked. */
export function addMarked(element, text, places, start = 0, end = text.length) {
  let at = start;
  for (const [from, to] of places) {
    if (from < at || to > end) continue;
    const mark = document.createElement("mark");
    mark.textContent = text.slice(from, to);
    element.append(text.slice(at, from), mark);
    at = to;
  }
  element.append(text.slice(at, end));
}

/** Where to begin an extract of a text, so that it has the most of the places. */
export function bestStart(text, places, length) {
  if (text.length <= length) return 0;
  let [best, most] = [0, 0];
  for (const [start] of places) {
    const distinct = new Set(places
      .filter(([from, to]) => from >= start && to <= start + length * 0.8)
      .map(([from, to]) => text.slice(from, to).toLowerCase()));
    if (distinct.size > most) [best, most] = [start, distinct.size];
  }
  if (best < length * 0.3) return 0;
  const before = Math.max(0, best - 50);
  const space = text.slice(before, best).search(/\s/);
  return space < 0 ? best : before + space + 1;
}
