"use strict";
/* Build the tree from episodes: episodes with equal text share nodes until they differ. */

function piecesOf(item) {
  if (item.pieces) return item.pieces;
  const letters = Array.from(item.text);
  const total = item.sources.reduce((sum, [, length]) => sum + length, 0);
  const pieces = [];
  let at = 0;
  for (let token = 0; token < total; token++) {
    const length = item.lengths ? item.lengths[token] : at < letters.length ? 1 : 0;
    pieces.push(letters.slice(at, at + length).join(""));
    at += length;
  }
  item.pieces = pieces;
  return pieces;
}

function sourceAt(item, token) {
  let at = 0;
  for (const [source, length] of item.sources) {
    at += length;
    if (token < at) return source;
  }
  return "env";
}

/* Token ranges of the steps; an end token without text belongs to no step. */
function stepRanges(item) {
  const pieces = piecesOf(item);
  let size = pieces.length;
  while (size && pieces[size - 1] === "") size -= 1;
  const ranges = [];
  let from = 0;
  for (const end of item.ends) {
    ranges.push([from, end]);
    from = end;
  }
  if (size > from) ranges.push([from, size]);
  return ranges;
}

function contextLabel(context, item) {
  if (!context.length) return "problem alone";
  const words = { answer: "answer shown", mistakes: "wrong answers shown", partial_solution: "partial solution shown", instruction: "instruction", text: "text" };
  const [kind, pieces] = context[0];
  const label = `${words[kind] || kind}: ${pieces.join(", ").trim().replace(/\s+/g, " ")}`;
  return item.auxiliary ? "asked for the wrong step" : label;
}

function buildTree(data, items) {
  const root = { depth: -1, children: [], index: new Map() };
  const nodes = [];
  const child = (parent, key, make) => {
    let node = parent.index.get(key);
    if (!node) {
      node = { id: nodes.length, parent: parent === root ? null : parent, depth: parent.depth + 1, children: [], index: new Map(), visits: [], cuts: {}, ...make() };
      nodes.push(node);
      parent.index.set(key, node);
      parent.children.push(node);
    }
    return node;
  };
  for (const item of items) {
    const context = data.episodes.contexts[item.context];
    let node = child(root, `c${item.context}`, () => ({ kind: "context", text: contextLabel(context, item), context }));
    node.visits.push({ item, from: 0, to: 0 });
    if (item.start === 0 && item.role !== "base") node.cuts[item.role] = (node.cuts[item.role] || 0) + 1;
    for (const [from, to] of stepRanges(item)) {
      const text = piecesOf(item).slice(from, to).join("");
      node = child(node, `s${text}`, () => ({ kind: "step", text: text.replace(/\n$/, "") }));
      node.visits.push({ item, from, to });
      if (item.start > 0 && to === item.start) node.cuts[item.role] = (node.cuts[item.role] || 0) + 1;
    }
    const mark = item.auxiliary ? "reply" : item.outcome;
    const leaf = child(node, `l${mark} ${item.extracted}`, () => ({ kind: "leaf", text: mark, outcome: mark, extracted: item.extracted }));
    leaf.visits.push({ item, from: 0, to: 0 });
  }
  const byDepth = [];
  let rows = 0;
  const place = (node) => {
    Object.assign(node, measured(node));
    node.children.sort((a, b) => (a.kind === "leaf") - (b.kind === "leaf") || b.visits.length - a.visits.length || (a.text < b.text ? -1 : 1));
    if (node.kind === "context") node.children.sort((a, b) => b.visits.length - a.visits.length);
    (byDepth[node.depth] ||= []).push(node);
    node.firstRow = rows;
    node.children.forEach((own, at) => { own.rank = at; place(own); });
    if (!node.children.length) rows += 1;
    node.lastRow = rows - 1;
  };
  root.children.sort((a, b) => a.context.length - b.context.length || b.visits.length - a.visits.length);
  root.children.forEach((own, at) => { own.rank = at; place(own); });
  return { nodes, roots: root.children, rows, byDepth, numEpisodes: items.length };
}

const meanOf = (values) => (values.length ? values.reduce((sum, v) => sum + v, 0) / values.length : null);

/* Numbers of one step of one episode; null if the policy did not write it, or training did not score it. */
function stepNumbers({ item, from, to }) {
  const begin = Math.max(from, item.start);
  const own = item.logp.slice(begin - item.start, to - item.start);
  if (to <= item.start || !own.length) return { logp: null, learned: null, ratio: null, ratios: [] };
  const learned = item.learned ? item.learned.slice(begin - item.start, to - item.start) : null;
  const ratios = learned ? learned.map((v, at) => Math.exp(v - own[at])) : [];
  return { logp: own.reduce((sum, v) => sum + v, 0), learned: learned && learned.reduce((sum, v) => sum + v, 0), ratio: meanOf(ratios), ratios };
}

function measured(node) {
  const answering = node.visits.filter(({ item }) => !item.auxiliary);
  const graded = answering.filter(({ item }) => item.outcome !== "timeout" && item.outcome !== "error");
  const written = node.kind === "step" ? node.visits.filter(({ item, to }) => to > item.start) : node.visits;
  const advantages = written.map(({ item }) => item.advantage).filter((v) => v !== null);
  const found = { numCorrect: graded.filter(({ item }) => item.outcome === "correct").length, numGraded: graded.length, advantage: meanOf(advantages), author: `policy ${node.visits[0].item.role}` };
  if (node.kind === "step") {
    const numbers = written.map(stepNumbers);
    found.logp = meanOf(numbers.map((own) => own.logp).filter((v) => v !== null));
    found.learned = meanOf(numbers.map((own) => own.learned).filter((v) => v !== null));
    found.ratio = meanOf(numbers.map((own) => own.ratio).filter((v) => v !== null));
    const roles = [...new Set(written.map(({ item }) => item.role))];
    /* A step that base episodes wrote counts as theirs, even if other roles wrote it too. */
    found.author = written.length ? `policy ${roles.includes("base") ? "base" : roles[0]}` : sourceAt(node.visits[0].item, node.visits[0].from);
  }
  return found;
}
