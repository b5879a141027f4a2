// Runs stored `classify` versions: tokenizer, encoder, head, calibration and abstention, as the Python package does.
// Arrays are read as they are stored; tables of characters come from the Python that made the page, so that no
// browser's version of Unicode changes a token.

// --- Files: fetched with their checksum, unpacked here, so that any server of static files will do.

export async function unpack(file, base, tick = () => {}) {
  const response = await fetch(new URL(file.path, base), { integrity: file.integrity });
  if (!response.ok) throw new Error(`${file.path} cannot be read: ${response.status}`);
  const stream = response.body.pipeThrough(new DecompressionStream("gzip"));
  const content = new Uint8Array(file.size);
  let at = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    content.set(value, at);
    at += value.length;
    tick(value.length);
  }
  return content;
}

export const json = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

const HALVES = (() => {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    table[bits] = sign * (exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15));
  }
  return table;
})();

const KINDS = { F16: Uint16Array, F32: Float32Array, F64: Float64Array, I32: Int32Array };

export function readArrays(bytes) { // safetensors
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = json(bytes.subarray(8, 8 + length)), arrays = {};
  delete header.__metadata__;
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    if (!KINDS[dtype]) throw new Error(`array ${name} is of the unknown kind ${dtype}`);
    const data = new KINDS[dtype](bytes.slice(8 + length + begin, 8 + length + end).buffer);
    arrays[name] = { shape, data, half: dtype === "F16" };
  }
  return arrays;
}

const floats = ({ data, half }) => (half ? Float32Array.from(data, (bits) => HALVES[bits]) : data);

// --- Characters, by tables of [first, last, first, last, ...].

function isIn(ranges, point) {
  let low = 0, high = ranges.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (point > ranges[2 * middle + 1]) low = middle + 1;
    else high = middle;
  }
  return low < ranges.length / 2 && point >= ranges[2 * low];
}

const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u; // as Python splits

// --- The tokenizer of BERT: words and signs, then their longest known pieces.

export class Tokenizer {
  constructor({ model, added, characters, ends, window, read }) {
    this.ids = new Map(Object.entries(model.vocab));
    this.unknown = this.ids.get(model.unk_token);
    this.prefix = model.continuing_subword_prefix;
    this.longest = model.max_input_chars_per_word;
    this.added = new Map(Object.entries(added));
    const quoted = [...this.added.keys()].map((each) => each.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    this.marks = quoted.length ? new RegExp(`(${quoted.join("|")})`, "u") : null;
    Object.assign(this, { characters, ends, window, read });
  }

  words(text) {
    const words = [];
    let word = [];
    const close = () => { if (word.length) words.push(word); word = []; };
    for (const whole of text) {
      const point = whole.codePointAt(0);
      if (isIn(this.characters.space, point)) { close(); continue; }
      const apart = isIn(this.characters.apart, point); // a Chinese letter is a word
      if (apart) close();
      for (const each of whole.normalize("NFD")) {
        const inner = each.codePointAt(0);
        if (isIn(this.characters.removed, inner)) continue;
        if (isIn(this.characters.signs, inner)) { close(); words.push([each]); }
        else word.push(...each.toLowerCase());
      }
      if (apart) close();
    }
    close();
    return words;
  }

  pieces(word) {
    if (word.length > this.longest) return [this.unknown];
    const found = [];
    for (let start = 0; start < word.length; ) {
      let end = word.length, id;
      for (; end > start; end--) {
        id = this.ids.get((start ? this.prefix : "") + word.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return [this.unknown];
      found.push(id);
      start = end;
    }
    return found;
  }

  // Ids of what fits the window, with the marks at both ends, and whether that is all.
  encode(text) {
    const characters = [...text.toWellFormed()];
    const known = characters.slice(0, this.read).join("");
    const ids = [];
    for (const part of this.marks ? known.split(this.marks) : [known]) {
      if (this.added.has(part)) ids.push(this.added.get(part));
      else for (const word of this.words(part)) ids.push(...this.pieces(word));
    }
    const most = this.window - 2, truncated = ids.length > most || characters.length > this.read;
    return { ids: [this.ends[0], ...ids.slice(0, most), this.ends[1]], truncated };
  }
}

export class Encoder {
  constructor(runtime, session, tokenizer) { Object.assign(this, { runtime, session, tokenizer }); }

  static async open(runtime, graph, description) {
    const session = await runtime.InferenceSession.create(graph, { executionProviders: ["wasm"] });
    return new Encoder(runtime, session, new Tokenizer(description));
  }

  async encode(text) {
    const { ids, truncated } = this.tokenizer.encode(text);
    const filled = (value) => BigInt64Array.from(ids, (id) => BigInt(value ?? id));
    const tensor = (data) => new this.runtime.Tensor("int64", data, [1, ids.length]);
    const all = { input_ids: tensor(filled()), attention_mask: tensor(filled(1)), token_type_ids: tensor(filled(0)) };
    const feed = Object.fromEntries(this.session.inputNames.map((name) => [name, all[name]]));
    const { embedding } = await this.session.run(feed, ["embedding"]);
    return { vector: embedding.data, tokens: ids.length, truncated };
  }
}

// --- The head: n-grams, bumps around landmarks of the encoding, a projection of it.

const isWord = (table, each) => each === "_" || isIn(table, each.codePointAt(0));

function wordsOf(text, table) {
  const words = [];
  let word = "";
  for (const each of text.toLowerCase()) {
    if (isWord(table, each)) { word += each; continue; }
    if (word) words.push(word);
    word = "";
    if ("$%!?".includes(each)) words.push(each);
  }
  if (word) words.push(word);
  return words;
}

// Characters of scripts without blanks, as UNSPACED of coterie/text/folding.py: of their words, pairs of characters.
const UNSPACED =
  /[\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]/u;

function shareKnown(text, table, blocks) {
  const terms = (unit) => blocks.find((block) => block.unit === unit)?.positions;
  const words = terms("word"), pairs = terms("char");
  let count = 0, found = 0;
  for (const word of wordsOf(text, table)) {
    const signs = [...word], split = signs.length > 1 && UNSPACED.test(word);
    const parts = split ? signs.slice(1).map((sign, at) => signs[at] + sign) : [word];
    count += parts.length;
    found += parts.filter((part) => (split ? pairs : words)?.has(part)).length;
  }
  return count ? found / count : 0;
}

function wordGrams(text, shortest, longest, table) {
  const words = wordsOf(text, table);
  const grams = [];
  for (let n = shortest; n <= longest; n++)
    for (let at = 0; at + n <= words.length; at++) grams.push(words.slice(at, at + n).join(" "));
  return grams;
}

function charGrams(text, shortest, longest) {
  const grams = [];
  for (const word of text.toLowerCase().split(SPACE).filter(Boolean)) {
    const padded = [..." ".concat(word, " ")];
    for (let n = shortest; n <= Math.min(longest, padded.length - 1); n++)
      for (let at = 0; at + n <= padded.length; at++) grams.push(padded.slice(at, at + n).join(""));
    if (padded.length <= longest) grams.push(padded.join(""));
  }
  return grams;
}

export class Head {
  constructor(description, arrays, table) {
    this.labels = description.labels.length;
    this.table = table;
    this.bias = floats(arrays.bias);
    this.lexicalBias = arrays.lexical_bias && floats(arrays.lexical_bias);
    this.usualShare = arrays.usual_share ? floats(arrays.usual_share)[0] : 1;
    this.blocks = description.blocks.map((block, index) => ({
      ...block,
      positions: new Map(block.terms.map((term, place) => [term, place])),
      idf: floats(arrays[`idf.${index}`]),
      weights: arrays[`weights.${index}`], // a row is converted when its n-gram occurs
    }));
    this.gamma = description.gamma;
    if (this.gamma !== undefined) {
      this.landmarks = floats(arrays["kernel.landmarks"]);
      this.weights = floats(arrays["kernel.weights"]);
      this.projection = arrays.projection && floats(arrays.projection);
    }
  }

  logits(text, vector) {
    const total = Float64Array.from(this.bias);
    if (this.lexicalBias) {
      const share = shareKnown(text, this.table, this.blocks), known = share < this.usualShare ? share / this.usualShare : +(share > 0);
      const own = Float64Array.from(this.lexicalBias);
      const mean = own.reduce((sum, each) => sum + each, 0) / own.length;
      for (const block of this.blocks) this.ngrams(block, text, own);
      for (let label = 0; label < this.labels; label++) total[label] += known * own[label] + (1 - known) * mean;
    } else for (const block of this.blocks) this.ngrams(block, text, total);
    if (this.gamma === undefined) return total;
    const size = vector.length;
    for (let row = 0; row * size < this.landmarks.length; row++) {
      let cosine = 0;
      for (let at = 0, from = row * size; at < size; at++) cosine += vector[at] * this.landmarks[from + at];
      const near = Math.exp(2 * this.gamma * (cosine - 1));
      for (let label = 0; label < this.labels; label++) total[label] += near * this.weights[row * this.labels + label];
    }
    if (this.projection)
      for (let at = 0; at < size; at++)
        for (let label = 0; label < this.labels; label++)
          total[label] += vector[at] * this.projection[at * this.labels + label];
    return total;
  }

  ngrams({ unit, shortest, longest, positions, idf, weights }, text, total) {
    const counts = new Map();
    for (const gram of unit === "word" ? wordGrams(text, shortest, longest, this.table) : charGrams(text, shortest, longest)) {
      const place = positions.get(gram);
      if (place !== undefined) counts.set(place, (counts.get(place) ?? 0) + 1);
    }
    let squares = 0;
    const values = [...counts].map(([place, count]) => [place, (1 + Math.log(count)) * idf[place]]);
    for (const [, value] of values) squares += value * value;
    for (const [place, value] of values)
      for (let label = 0, from = place * this.labels; label < this.labels; label++) {
        const weight = weights.data[from + label];
        total[label] += (value / Math.sqrt(squares)) * (weights.half ? HALVES[weight] : weight);
      }
  }
}

// --- How much a text is like the training texts.

class Scope {
  constructor(arrays, labels) {
    this.usual = floats(arrays.usual);
    this.signs = [];
    if (arrays.axes || !arrays.centroids) this.signs.push(neighbours(arrays));
    if (arrays.centroids) this.signs.push(centroids(floats(arrays.centroids), labels));
  }

  score(scaled, vector) {
    const found = [Math.max(...scaled), ...this.signs.map((sign) => sign(vector))];
    const standard = found.map((value, at) => (value - this.usual[2 * at]) / this.usual[2 * at + 1]);
    return standard.reduce((sum, each) => sum + each, 0) / standard.length;
  }
}

function neighbours(arrays) {
  const axes = floats(arrays.axes), rows = floats(arrays.rows), width = arrays.axes.shape[1];
  return (vector) => {
    const along = new Float64Array(width);
    for (let at = 0; at < vector.length; at++)
      for (let axis = 0; axis < width; axis++) along[axis] += vector[at] * axes[at * width + axis];
    const inside = along.reduce((sum, each) => sum + each * each, 0);
    let nearest = Infinity;
    for (let from = 0; from < rows.length; from += width) {
      let square = 0;
      for (let axis = 0; axis < width; axis++) square += rows[from + axis] * (rows[from + axis] - 2 * along[axis]);
      nearest = Math.min(nearest, square);
    }
    return -Math.sqrt(Math.max(inside + nearest, 0) + Math.max(1 - inside, 0));
  };
}

function centroids(vectors, labels) {
  return (vector) => {
    let best = -Infinity;
    for (let label = 0; label < labels; label++) {
      let cosine = 0;
      for (let at = 0; at < vector.length; at++) cosine += vector[at] * vectors[label * vector.length + at];
      best = Math.max(best, cosine);
    }
    return best;
  };
}

// --- The specialist: from logits to a label, a confidence and a verdict.

const SUREST = 1e-6;

export class Specialist {
  constructor({ description, weights, scope, characters, encoder = null }) {
    const { labels, acceptance, line, multi_label: several } = description;
    Object.assign(this, { labels, acceptance, several, encoder, line: { slope: 1, intercept: 0, ...line } });
    this.head = new Head(description, readArrays(weights), characters.words);
    this.scope = scope ? new Scope(readArrays(scope), labels.length) : null;
  }

  async ask(text) {
    if (!text.split(SPACE).join("")) return { code: "abstain.no_text", values: {}, accepted: false, confidence: 0, ranked: [] };
    const { vector = null, truncated = false } = this.encoder ? await this.encoder.encode(text) : {};
    const scaled = this.head.logits(text, vector).map((logit) => logit / this.acceptance.temperature);
    const inScope = this.scope && vector ? this.scope.score(scaled, vector) : Math.max(...scaled);
    const { chosen, confidence, probabilities } = this.several ? this.each(scaled) : this.one(scaled);
    const names = chosen.map((at) => this.labels[at]);
    const text_ = names.join(", ") || "none of the labels";
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    const ranked = order.slice(0, 4).map((at) => ({ label: this.labels[at], probability: probabilities[at] }));
    const verdict = this.judge(confidence, inScope, text_);
    return { value: this.several ? names : names[0], text: text_, confidence, inScope, vector, truncated, ranked, ...verdict };
  }

  one(scaled) {
    const most = Math.max(...scaled), raised = Array.from(scaled, (each) => Math.exp(each - most));
    const sum = raised.reduce((total, each) => total + each, 0);
    const probabilities = raised.map((each) => each / sum);
    const best = probabilities.indexOf(Math.max(...probabilities));
    const confidence = this.believe(probabilities[best]), rest = Math.max(1 - probabilities[best], 2.2250738585072014e-308);
    const shared = probabilities.map((each) => Math.min(each * ((1 - confidence) / rest), confidence));
    shared[best] = confidence;
    return { chosen: [best], confidence, probabilities: shared };
  }

  each(scaled) {
    const probabilities = Array.from(scaled, (each) => 0.5 * (1 + Math.tanh(each / 2)));
    const chosen = [...probabilities.keys()].filter((at) => probabilities[at] >= 0.5);
    const right = probabilities.reduce((product, each) => product * Math.max(each, 1 - each), 1);
    return { chosen, confidence: this.believe(right), probabilities };
  }

  believe(probability) {
    const { slope, intercept } = this.line;
    if (slope === 1 && intercept === 0) return probability;
    const sure = Math.min(Math.max(probability, SUREST), 1 - SUREST);
    return 1 / (1 + Math.exp(-(intercept + slope * Math.log(sure / (1 - sure)))));
  }

  judge(confidence, inScope, guess) {
    const { threshold, target_risk: risk, scope_threshold: least } = this.acceptance;
    const verdict = (accepted, code, values) => ({ accepted, code, values });
    if (least !== null && inScope < least)
      return verdict(false, "abstain.out_of_scope", { in_scope: inScope, needed: least, decimals: decimals(inScope, least) });
    const about = { guess, confidence, risk_percent: 100 * risk };
    if (threshold === null) return verdict(false, "abstain.no_threshold", about);
    Object.assign(about, { needed: threshold, decimals: decimals(confidence, threshold) });
    if (confidence < threshold) return verdict(false, "abstain.below_threshold", about);
    return verdict(true, "accept.above_threshold", about);
  }
}

function decimals(found, needed) { // as many as it takes to tell two numbers apart
  for (let places = 2; places <= 6; places++) if (found.toFixed(places) !== needed.toFixed(places)) return places;
  return 2;
}

// --- Reasons in words: the templates of the Python package, as far as these codes use them.

export function render(template, values) {
  const filled = (part) => part.replace(/\{(\w+)(!r)?(?::((?:\{\w+\}|[^{}])*))?\}/g, (_, name, quoted, format = "") => {
    const value = values[name], how = format.replace(/\{(\w+)\}/g, (_whole, inner) => values[inner]);
    const places = /^\.(\d+)f$/.exec(how);
    if (places) return value.toFixed(places[1]);
    if (how === "g") return String(Number(value.toPrecision(6)));
    return quoted ? `'${value}'` : String(value);
  });
  return template.split(/\[([^\]]*)\]/).map((part, at) => {
    if (at % 2 === 0) return filled(part);
    const names = [...part.matchAll(/\{(\w+)/g)].map((match) => match[1]);
    return names.every((name) => values[name] !== undefined && values[name] !== null && values[name] !== "") ? filled(part) : "";
  }).join("");
}

// --- A page's specialists: loaded when they are asked for, encoders once.

export class Bundle {
  constructor(description, base, runtime = null) {
    Object.assign(this, { description, base, runtime, encoders: new Map(), specialists: new Map(), unpacked: 0 });
    this.tick = () => {};
  }

  bytes(name) { // to read before this specialist answers: packed, and what they unpack to
    const { files, encoder } = this.description.specialists[name];
    const all = [this.description.characters, ...Object.values(files)];
    if (encoder) all.push(this.description.runtime.wasm, ...Object.values(this.description.encoders[encoder]));
    return { packed: all.reduce((sum, file) => sum + file.packed, 0), size: all.reduce((sum, file) => sum + file.size, 0) };
  }

  specialist(name) {
    if (!this.specialists.has(name)) this.specialists.set(name, this.load(name));
    return this.specialists.get(name);
  }

  read(file) {
    return unpack(file, this.base, (count) => this.tick((this.unpacked += count)));
  }

  async load(name) {
    const { files, encoder } = this.description.specialists[name];
    this.characters ??= this.read(this.description.characters).then(json);
    const [description, weights, scope] = await Promise.all(
      ["model.json", "weights.safetensors", "scope.safetensors"].map((file) => files[file] && this.read(files[file])));
    const opened = encoder ? await this.encoder(encoder) : null;
    return new Specialist({ description: json(description), weights, scope, characters: await this.characters, encoder: opened });
  }

  encoder(name) {
    if (!this.encoders.has(name)) this.encoders.set(name, this.open(name));
    return this.encoders.get(name);
  }

  async open(name) {
    this.engine ??= this.start();
    const { graph, tokenizer } = this.description.encoders[name];
    const [runtime, bytes, described] = await Promise.all([this.engine, this.read(graph), this.read(tokenizer)]);
    return Encoder.open(runtime, bytes, { ...json(described), characters: await this.characters });
  }

  async start() {
    const runtime = await import(new URL(this.description.runtime.module, this.base));
    runtime.env.wasm.numThreads = 1; // several need headers that a server of static files does not send
    runtime.env.wasm.wasmBinary = await this.read(this.description.runtime.wasm);
    return runtime;
  }
}
