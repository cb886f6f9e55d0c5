// What is found first: the same steps as pagedex/search/ranking.py, which says why; a test holds both to the same answers.
"use strict";
const pagedexSearch = (() => {
  const EXACT = 100, SAME = 95, JOINED = 90, PREFIX = 80, PART = 70, PART_PREFIX = 60, INSIDE = 40, TYPO = 30, TYPOS = 20;
  const AROUND = 2, PATH = 3, WORD = 12;
  const USED = -25, FILE = -12, SECTION = -6, PRIVATE = -5, TEST = -20;
  const MOST_USES = 8, SHORTEST_INSIDE = 2, SHORTEST_TYPO = 4, SHORTEST_TYPOS = 8, FEW = 3, MOST_WORDS = 8;
  const SPLIT = /[^\p{L}\p{N}_]+/u;
  const PARTS = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\p{Nd}+|(?:(?![A-Za-z])[\p{L}\p{Nl}\p{No}])+/gu;
  const SCRIPTS = ["search-index-0.js", "search-index-1.js", "search-index-2.js"];

  const partsOf = (name) => (name.match(PARTS) || []).map((part) => part.toLowerCase());

  const index = {
    files: [], tests: [], names: [], kinds: [], f_name: [], d_name: [], d_kind: [], d_file: [], d_line: [], d_parent: [],
    d_uses: [], d_public: [], addresses: {}, rendered: {}, anchors: {}, used_names: [], u_name: [], u_file: [], u_line: [],
    u_count: [], stems: [], s_files: [],
  };
  // Of each name what is compared with it, made once: when its script has come, not when somebody waits for an answer.
  let names = [], lowers = [], joined = [], parts = [], vocabulary = null;
  // The folders' names, each once, and which of them lead to each file.
  let folders = [], foldersOf = null;

  const add = (number, said) => {
    Object.assign(index, said);
    const every = index.names.concat(index.used_names);
    for (let row = names.length; row < every.length; row++) {
      const name = every[row], lower = name.toLowerCase();
      names.push(name);
      lowers.push(lower);
      joined.push(lower.includes("_") ? lower.replaceAll("_", "") : "");
      parts.push(partsOf(name));
    }
    vocabulary = null;
  };

  const load = async (fetch, came) => {
    await fetch(SCRIPTS[0]);
    // The first answers at once; the others make the answers better when they are there.
    Promise.all(SCRIPTS.slice(1).map(fetch)).then(came, came);
  };

  const pointsOf = (word, small, name, lower, flat, parts) => {
    if (!lower.includes(small)) return flat === small ? JOINED : 0;
    if (name === word) return EXACT;
    if (lower === small) return SAME;
    if (lower.startsWith(small)) return PREFIX;
    let prefix = false;
    for (const part of parts) {
      if (part === small) return PART;
      prefix ||= part.startsWith(small);
    }
    if (prefix) return PART_PREFIX;
    return small.length >= SHORTEST_INSIDE ? INSIDE : 0;
  };

  const distance = (one, other, most) => {
    if (Math.abs(one.length - other.length) > most) return most + 1;
    let before = [], row = Array.from({ length: other.length + 1 }, (_, at) => at);
    for (let at = 0; at < one.length; at++) {
      const after = [at + 1];
      let least = at + 1;
      for (let to = 0; to < other.length; to++) {
        let cost = Math.min(row[to + 1] + 1, after[to] + 1, row[to] + (one[at] !== other[to] ? 1 : 0));
        if (at && to && one[at] === other[to - 1] && one[at - 1] === other[to]) cost = Math.min(cost, before[to - 1] + 1);
        after.push(cost);
        if (cost < least) least = cost;
      }
      if (least > most) return most + 1;
      before = row;
      row = after;
    }
    return row[row.length - 1];
  };

  // Which letters a word has, as bits: words that differ in many of them needn't be compared.
  const bitsOf = (word) => {
    let bits = 0;
    for (let at = 0; at < word.length; at++) bits |= 1 << (word.charCodeAt(at) % 31);
    return bits;
  };
  const countBits = (bits) => {
    let count = 0;
    for (; bits; bits &= bits - 1) count++;
    return count;
  };

  const words = () => {
    if (vocabulary) return vocabulary;
    const rows = new Map();
    const texts = [], bits = [];
    const row = (text) => {
      let found = rows.get(text);
      if (found === undefined) {
        found = texts.length;
        rows.set(text, found);
        texts.push(text);
        bits.push(bitsOf(text));
      }
      return found;
    };
    const ofName = lowers.map((lower, at) => [row(lower), ...parts[at].map(row)]);
    vocabulary = { texts, bits, ofName };
    return vocabulary;
  };

  const namePoints = (word) => {
    const small = word.toLowerCase();
    const points = new Int16Array(names.length);
    let matched = 0;
    for (let row = 0; row < names.length; row++) {
      const found = pointsOf(word, small, names[row], lowers[row], joined[row], parts[row]);
      points[row] = found;
      if (found) matched++;
    }
    const letters = [...small];
    if (matched < FEW && [...word].length >= SHORTEST_TYPO) {
      const most = [...word].length >= SHORTEST_TYPOS ? 2 : 1;
      const { texts, bits, ofName } = words();
      const own = bitsOf(small);
      const near = new Int8Array(texts.length).fill(most + 1);
      for (let at = 0; at < texts.length; at++) {
        if (countBits(own ^ bits[at]) <= 2 * most) near[at] = distance(letters, [...texts[at]], most);
      }
      for (let row = 0; row < names.length; row++) {
        if (points[row]) continue;
        let least = most + 1;
        for (const at of ofName[row]) if (near[at] < least) least = near[at];
        points[row] = least <= 1 ? TYPO : least <= most ? TYPOS : 0;
      }
    }
    return points;
  };

  const pathPoints = (word) => {
    const small = word.toLowerCase();
    if (!foldersOf) {
      const rows = new Map();
      foldersOf = index.files.map((path) =>
        path.split("/").slice(0, -1).map((part) => {
          if (!rows.has(part)) rows.set(part, rows.size);
          return rows.get(part);
        }),
      );
      folders = [...rows.keys()].map((part) => {
        const lower = part.toLowerCase();
        return [part, lower, lower.includes("_") ? lower.replaceAll("_", "") : "", partsOf(part)];
      });
    }
    const points = folders.map((folder) => pointsOf(word, small, ...folder));
    const found = new Int16Array(foldersOf.length);
    for (let file = 0; file < found.length; file++) {
      for (const row of foldersOf[file]) if (points[row] > found[file]) found[file] = points[row];
    }
    return found;
  };

  const isFormOf = (word, stem) => {
    if (word.endsWith("y")) word = `${word.slice(0, -1)}i`;
    if (word.length < 3 || stem.length < 3) return word === stem;
    return (
      (word.startsWith(stem) && word.length - stem.length <= 5) || (stem.startsWith(word) && stem.length - word.length <= 5)
    );
  };

  const wordLines = (word) => {
    const lines = new Map();
    index.stems.forEach((stem, at) => {
      if (!isFormOf(word, stem)) return;
      const pairs = index.s_files[at];
      for (let pair = 0; pair < pairs.length; pair += 2) {
        const known = lines.get(pairs[pair]);
        lines.set(pairs[pair], known === undefined ? pairs[pair + 1] : Math.min(known, pairs[pair + 1]));
      }
    });
    return lines;
  };

  const qualname = (definition) => {
    const parts = [];
    for (; definition >= 0; definition = index.d_parent[definition]) parts.push(names[index.d_name[definition]]);
    return parts.reverse().join(".");
  };
  const pageOf = (file) => index.addresses[file] ?? `${index.files[file]}_docs.html`;
  const headingOf = (title) =>
    [...title.toLowerCase()].filter((letter) => /[\p{L}\p{N} \-_]/u.test(letter)).join("").replaceAll(" ", "-");

  const search = (query, limit = 20) => {
    const asked = query.split(SPLIT).filter(Boolean).slice(0, MOST_WORDS);
    if (!asked.length || limit <= 0) return [];
    const byName = asked.map(namePoints);
    const byPath = asked.map(pathPoints);
    const byWord = asked.map((word) => wordLines(word.toLowerCase()));
    const hits = find(asked.length, byName, byPath, byWord, limit, true);
    return hits.length || asked.length < 2 ? hits : find(asked.length, byName, byPath, byWord, limit, false);
  };

  const find = (count, byName, byPath, byWord, limit, strict) => {
    // Points -> what has them, in the order in which equals are shown: definitions, then uses, then files, as one number.
    const buckets = [];
    const put = (points, row) => {
      const bucket = (buckets[points] ||= []);
      if (bucket.length < limit) bucket.push(row);
    };
    const definitions = index.d_name.length, uses = index.u_name.length;

    for (let one = 0; one < index.d_name.length; one++) {
      const file = index.d_file[one];
      let total = 0, named = 0;
      for (let word = 0; word < count; word++) {
        let points = byName[word][index.d_name[one]];
        named += points;
        if (!points) {
          for (let parent = index.d_parent[one]; parent >= 0; parent = index.d_parent[parent]) {
            points = Math.max(points, Math.floor(byName[word][index.d_name[parent]] / AROUND));
          }
          points = Math.max(points, Math.floor(byPath[word][file] / PATH)) || (byWord[word].has(file) ? WORD : 0);
          if (!points && strict) {
            named = 0;
            break;
          }
        }
        total += points;
      }
      if (!named) continue;
      total += Math.min(32 - Math.clz32(index.d_uses[one]), MOST_USES);
      if (!index.d_public[one]) total += PRIVATE;
      if (index.tests[file]) total += TEST;
      if (index.kinds[index.d_kind[one]] === "section") total += SECTION;
      put(Math.max(total, 1), one);
    }
    for (let one = 0; one < index.u_name.length; one++) {
      const file = index.u_file[one];
      let total = 0, named = 0;
      for (let word = 0; word < count; word++) {
        const own = byName[word][index.u_name[one]];
        const points = own || Math.floor(byPath[word][file] / PATH) || (byWord[word].has(file) ? WORD : 0);
        if (!points && strict) {
          named = 0;
          break;
        }
        named += own;
        total += points;
      }
      if (named) put(Math.max(total + (index.tests[file] ? TEST : 0), 1 - USED) + USED, definitions + one);
    }
    for (let file = 0; file < index.files.length; file++) {
      let total = 0, named = 0, all = true;
      for (let word = 0; word < count; word++) {
        const own = byName[word][index.f_name[file]];
        const path = Math.floor(byPath[word][file] / AROUND);
        const points = Math.max(own, path) || (byWord[word].has(file) ? WORD : 0);
        if (!points && strict) {
          all = false;
          break;
        }
        named += own + path;
        total += points;
      }
      if (all && total) put(Math.max(total + FILE + (named && index.tests[file] ? TEST : 0), 1), definitions + uses + file);
    }

    const hits = [];
    for (let points = buckets.length - 1; points > 0 && hits.length < limit; points--) {
      for (const row of buckets[points] || []) {
        if (hits.length >= limit) break;
        if (row < definitions) hits.push(hit("definition", row, points, byName, byPath, byWord));
        else if (row < definitions + uses) hits.push(hit("used", row - definitions, points, byName, byPath, byWord));
        else hits.push(hit("file", row - definitions - uses, points, byName, byPath, byWord));
      }
    }
    return hits;
  };

  const hit = (what, one, score, byName, byPath, byWord) => {
    if (what === "definition") {
      const title = qualname(one), file = index.d_file[one], kind = index.kinds[index.d_kind[one]];
      const page = kind === "section" ? index.rendered[file] : "";
      const address = page
        ? `${page}#${headingOf(names[index.d_name[one]])}`
        : `${pageOf(file)}#${index.anchors[one] ?? `d-${title}`}`;
      return made(title, kind, file, index.d_line[one], address, score);
    }
    if (what === "used") {
      const file = index.u_file[one], line = index.u_line[one];
      return made(names[index.u_name[one]], "used", file, line, `${pageOf(file)}#L${line}`, score);
    }
    const lines = byWord.map((found) => found.get(one)).filter((line) => line !== undefined);
    const isNamed = byName.some((points, word) => points[index.f_name[one]] || byPath[word][one]);
    if (isNamed || !lines.length) {
      return made(index.files[one], "file", one, 0, index.rendered[one] || pageOf(one), score);
    }
    return made(index.files[one], "words", one, lines[0], `${pageOf(one)}#L${lines[0]}`, score);
  };
  const made = (title, kind, file, line, address, score) => {
    const path = index.files[file];
    return { title, kind, path, line, address, score, where: title === path ? (line ? `line ${line}` : "") : `${path}:${line}` };
  };

  return { add, load, search };
})();

// What the scripts of the index call.
globalThis.pagedexSearch = pagedexSearch;
globalThis.pagedexIndex = pagedexSearch.add;
if (typeof module !== "undefined") module.exports = pagedexSearch;
