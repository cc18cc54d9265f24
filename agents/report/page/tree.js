"use strict";
/* The branch tree. Only nodes in view are in the document, so thousands of episodes scroll smoothly.
   A branch's label stays in view while any of its leaves is. */

const ROW = 27;
const GAP = 24;
const MARGIN = 14;
const OVERSCAN = 3;
const SOURCE_COLORS = { reset: "var(--a5)", reference: "var(--a2)", env: "var(--flat)", localise: "var(--flat)", preparation: "var(--flat)" };

function authorColor(name) {
  return SOURCE_COLORS[name] || ROLE_COLORS[name.slice("policy ".length)] || "var(--a1)";
}

function mixed(share, color) {
  return `color-mix(in srgb, ${color} ${Math.round(100 * Math.min(1, share))}%, var(--flat))`;
}

const COLORINGS = {
  source: {
    title: "Source",
    color: (node) => (node.kind === "context" ? "var(--flat)" : authorColor(node.author)),
    legend: (tree) => {
      const names = [...new Set(tree.nodes.filter((node) => node.kind === "step").map((node) => node.author))].sort();
      const label = (name) => ({ reset: "kept from an earlier chain", reference: "reference solution", "policy base": "policy, from the problem" }[name] || name.replace("policy ", "policy, ").replace("_", " "));
      return names.map((name) => ({ label: label(name), color: authorColor(name), isBox: true }));
    },
  },
  advantage: {
    title: "Advantage",
    color: (node, view) => (node.advantage === null || node.kind === "context" ? "var(--flat)" : node.advantage >= 0 ? mixed(node.advantage / view.most.advantage, "var(--good)") : mixed(-node.advantage / view.most.advantage, "var(--bad)")),
    legend: () => [{ label: "above the others (positive)", color: "var(--good)", isBox: true }, { label: "below (negative)", color: "var(--bad)", isBox: true }, { label: "zero; dotted: not trained on", color: "var(--flat)", isBox: true }],
  },
  logp: {
    title: "Surprise",
    color: (node, view) => (node.logp === null || node.logp === undefined ? "var(--flat)" : mixed(-node.logp / view.most.logp, "var(--bad)")),
    legend: () => [{ label: "unlikely when sampled", color: "var(--bad)", isBox: true }, { label: "certain, or not sampled", color: "var(--flat)", isBox: true }],
  },
  ratio: {
    title: "Ratio",
    color: (node, view) => {
      if (node.ratio === null || node.ratio === undefined) return "var(--flat)";
      const log = Math.log(Math.max(node.ratio, 1e-9));
      return mixed(Math.abs(log) / view.most.ratio, log >= 0 ? "var(--good)" : "var(--bad)");
    },
    legend: () => [{ label: "likelier under the training prompt", color: "var(--good)", isBox: true }, { label: "less likely under the training prompt", color: "var(--bad)", isBox: true }, { label: "equal, or not scored", color: "var(--flat)", isBox: true }],
  },
};

class TreeView {
  constructor(data) {
    this.data = data;
    this.coloring = "source";
    this.elements = new Map();
    this.current = null;
    this.space = h("div", { class: "tree-space", role: "presentation" });
    this.links = s("svg", { "aria-hidden": "true" });
    this.lines = s("path", {});
    this.links.append(this.lines);
    this.space.append(this.links);
    this.viewport = h("div", {
      class: "tree-viewport", role: "tree", tabindex: 0, "aria-label": "Tree of episodes; arrow keys move, question mark lists the keys",
      scroll: () => this.later(), keydown: (event) => this.key(event), focus: () => this.current || this.go(this.tree.roots[0]),
    }, this.space);
    this.details = h("aside", { class: "tree-details", "aria-live": "polite", "aria-label": "Details of the branch", tabindex: 0 });
    this.element = h("div", { class: "tree-frame" }, this.viewport, this.details);
    new ResizeObserver(() => this.later()).observe(this.viewport);
  }

  show(tree) {
    this.tree = tree;
    this.current = null;
    this.elements.forEach((element) => element.remove());
    this.elements.clear();
    const width = (depth) => {
      const lengths = (tree.byDepth[depth] || []).map((node) => (node.kind === "context" ? Math.min(24, node.text.length) : node.kind === "leaf" ? 21 : node.text.length)).sort((a, b) => a - b);
      const badges = (tree.byDepth[depth] || []).some((node) => node.visits.length > 1) ? 34 : 0;
      const marks = depth && (tree.byDepth[depth] || []).some((node) => Object.keys(node.cuts).length) ? 78 : 0;
      return Math.min(290, Math.max(88, 22 + 7.6 * lengths[Math.floor(0.9 * (lengths.length - 1))] + badges + marks));
    };
    this.left = [MARGIN];
    tree.byDepth.forEach((_, depth) => this.left.push(this.left[depth] + width(depth) + GAP));
    const largest = (value) => Math.max(1e-6, ...tree.nodes.map(value).filter((v) => Number.isFinite(v)));
    this.most = { advantage: largest((n) => Math.abs(n.advantage ?? 0)), logp: Math.min(4, largest((n) => -(n.logp ?? 0))), ratio: Math.max(0.1, Math.min(2, largest((n) => (n.ratio ? Math.abs(Math.log(n.ratio)) : 0)))) };
    this.space.style.width = this.left.at(-1) + 40 + "px";
    this.space.style.height = tree.rows * ROW + 2 * MARGIN + "px";
    this.element.style.setProperty("--rows", `${Math.min(580, Math.max(330, tree.rows * ROW + 2 * MARGIN + 18))}px`);
    this.viewport.scrollTo(0, 0);
    this.details.replaceChildren(h("p", { class: "note" }, `${count(tree.numEpisodes)} episodes, ${count(tree.nodes.filter((n) => n.kind === "step").length)} distinct steps. Point at a branch, or focus the tree and use the arrow keys; ? lists all keys.`));
    this.render();
  }

  color(name) {
    this.coloring = name;
    this.elements.forEach((element, node) => this.paint(node, element));
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.render(); });
  }

  /* Nodes of a depth that have a leaf in the rows first..last, found by binary search. */
  visible(depth, first, last) {
    const own = this.tree.byDepth[depth];
    let [low, high] = [0, own.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (own[middle].lastRow < first) low = middle + 1; else high = middle;
    }
    const found = [];
    for (let at = low; at < own.length && own[at].firstRow <= last; at++) found.push(own[at]);
    return found;
  }

  render() {
    if (!this.tree) return;
    const { scrollTop, scrollLeft, clientHeight, clientWidth } = this.viewport;
    const top = Math.ceil((scrollTop - MARGIN) / ROW);
    const first = Math.max(0, top - OVERSCAN);
    const last = Math.min(this.tree.rows - 1, Math.floor((scrollTop + clientHeight) / ROW) + OVERSCAN);
    const wanted = new Set();
    let d = "";
    this.tree.byDepth.forEach((_, depth) => {
      if (this.left[depth + 1] < scrollLeft - 300 || this.left[depth] > scrollLeft + clientWidth + 300) return;
      for (const node of this.visible(depth, first, last)) {
        node.row = Math.max(node.firstRow, Math.min(node.lastRow, Math.max(0, top)));
        wanted.add(node);
        if (node.parent && wanted.has(node.parent)) d += this.link(node.parent, node);
      }
    });
    if (this.current) wanted.add(this.current);
    for (const [node, element] of this.elements) {
      if (!wanted.has(node)) { element.remove(); this.elements.delete(node); }
    }
    const fresh = document.createDocumentFragment();
    for (const node of wanted) {
      let element = this.elements.get(node);
      if (!element) {
        element = this.make(node);
        this.elements.set(node, element);
        fresh.append(element);
      }
      const y = MARGIN + (node.row ?? node.firstRow) * ROW;
      if (element.y !== y) { element.y = y; element.style.transform = `translate(${this.left[node.depth]}px, ${y}px)`; }
    }
    this.space.append(fresh);
    this.lines.setAttribute("d", d);
  }

  link(parent, node) {
    const x1 = this.left[node.depth] - GAP;
    const x2 = this.left[node.depth] - 2;
    const y1 = MARGIN + parent.row * ROW + 11.5;
    const y2 = MARGIN + node.row * ROW + 11.5;
    return y1 === y2 ? `M${x1} ${y1}H${x2}` : `M${x1} ${y1}C${x1 + 16} ${y1} ${x2 - 18} ${y2} ${x2} ${y2}`;
  }

  make(node) {
    const text = node.kind === "leaf" ? leafText(node) : node.text === "" ? "(empty)" : node.text;
    /* Marks the episodes of another role that begin here. */
    const cuts = node.kind === "context" ? [] : Object.entries(node.cuts).map(([role, number]) => h("span", { class: "cut" }, `${role} ×${number}`));
    const element = h("div", {
      class: `node ${node.kind}`, id: `node-${node.id}`, role: "treeitem", "aria-level": node.depth + 1, "aria-posinset": node.rank + 1,
      "aria-setsize": (node.parent ? node.parent.children : this.tree.roots).length, "aria-expanded": node.children.length ? "true" : null, "aria-selected": node === this.current ? "true" : "false",
      style: `width:${this.left[node.depth + 1] - this.left[node.depth] - GAP}px`,
      pointermove: (event) => { this.describe(node); tip.at(event, ...tipOf(node)); }, pointerleave: () => { tip.hide(); if (this.current) this.describe(this.current); },
      click: () => { this.go(node); this.viewport.focus(); },
    }, h("span", { class: "node-text" }, text), ...cuts, node.visits.length > 1 ? h("span", { class: "more" }, `×${node.visits.length}`) : null);
    this.paint(node, element);
    return element;
  }

  paint(node, element) {
    const isLeaf = node.kind === "leaf";
    const byOutcome = isLeaf && this.coloring === "source";
    element.style.setProperty("--n", byOutcome ? `var(--${node.outcome === "reply" ? "flat" : node.outcome})` : COLORINGS[this.coloring].color(node, this));
    element.classList.toggle("untrained", node.kind === "step" && node.advantage === null && node.visits[0].item.recorded);
    element.classList.toggle("is-current", node === this.current);
  }

  go(node) {
    if (!node) return;
    const old = this.current;
    this.current = node;
    const { scrollTop, clientHeight, scrollLeft, clientWidth } = this.viewport;
    const isInView = node.lastRow * ROW >= scrollTop && node.firstRow * ROW + MARGIN + ROW <= scrollTop + clientHeight;
    if (!isInView) this.viewport.scrollTop = Math.max(0, node.firstRow * ROW - clientHeight / 3);
    if (this.left[node.depth] < scrollLeft || this.left[node.depth + 1] > scrollLeft + clientWidth) this.viewport.scrollLeft = Math.max(0, this.left[node.depth] - clientWidth / 3);
    this.render();
    for (const own of [old, node]) {
      const element = own && this.elements.get(own);
      if (!element) continue;
      this.paint(own, element);
      element.setAttribute("aria-selected", own === node ? "true" : "false");
    }
    this.viewport.setAttribute("aria-activedescendant", `node-${node.id}`);
    this.describe(node);
  }

  describe(node) {
    if (this.described === node) return;
    this.described = node;
    this.details.replaceChildren(...detailsOf(this.data, node));
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const node = this.current || this.tree.roots[0];
    const level = this.tree.byDepth[node.depth];
    const at = level.indexOf(node);
    const moves = {
      ArrowRight: () => node.children[0], ArrowLeft: () => node.parent,
      ArrowDown: () => level[at + 1], ArrowUp: () => level[at - 1],
      Home: () => level[0], End: () => level[level.length - 1],
      PageDown: () => level.find((own) => own.firstRow >= node.firstRow + 18) || level[level.length - 1],
      PageUp: () => level.findLast((own) => own.firstRow <= node.firstRow - 18) || level[0],
    };
    if (moves[event.key]) this.go(moves[event.key]());
    else if (event.key === "Enter") { this.go(node); this.details.focus(); }
    else if (event.key === "?") this.help();
    else if (event.key === "c") this.onColor?.();
    else return;
    event.preventDefault();
  }

  help() {
    const keys = [["← →", "to the previous and the next step of the branch"], ["↑ ↓", "to the branch above and below, at the same step"], ["Home End", "first and last branch at this step"], ["PgUp PgDn", "a page of branches up and down"], ["Enter", "to the details of the branch; Shift+Tab returns"], ["c", "next colouring"], ["?", "this help"], ["Esc", "close this help"]];
    const box = h("dialog", { "aria-label": "Keys of the tree", close: () => { box.remove(); this.viewport.focus(); } },
      h("strong", {}, "Keys of the tree"), h("dl", {}, keys.flatMap(([key, text]) => [h("dt", {}, key.split(" ").flatMap((one) => [h("kbd", {}, one), " "])), h("dd", {}, text)])),
      h("button", { type: "button", click: () => box.close() }, "Close"));
    document.body.append(box);
    box.showModal();
  }
}

function leafText(node) {
  const sign = { correct: "✓", incorrect: "✗", reply: "↩" }[node.outcome] || "○";
  return `${sign} ${node.outcome.replace("_", " ")}${node.outcome === "incorrect" && node.extracted !== null ? ` ${node.extracted}` : ""}`;
}

function passText(node) {
  return node.numGraded ? `${node.numCorrect} of ${node.numGraded} correct` : "not graded";
}

function tipOf(node) {
  if (node.kind !== "step") return [h("div", {}, h("strong", {}, node.text)), h("div", {}, `${node.visits.length} episodes, ${passText(node)}`)];
  const numbers = node.logp === null ? "not sampled in these episodes" : `log-prob ${fixed(node.logp)} nats${node.ratio === null ? "" : `, ratio ${fixed(node.ratio)}`}`;
  return [h("div", {}, h("code", {}, node.text)), h("div", {}, numbers), h("div", {}, `${node.visits.length} episodes, ${passText(node)}`)];
}

function detailsOf(data, node) {
  const pairs = [["episodes", count(node.visits.length)], ["outcome", passText(node)], ["advantage", node.advantage === null ? (node.visits[0].item.recorded ? "not trained on" : "not recorded") : `${fixed(node.advantage, 3, true)} (mean)`]];
  if (node.kind === "step") {
    pairs.push(["log-prob", node.logp === null ? "–" : `${fixed(node.logp)} nats`], ["log-prob in training", node.learned === null ? "not scored" : `${fixed(node.learned)} nats`], ["ratio", node.ratio === null ? "–" : `${fixed(node.ratio)} (mean over tokens)`], ["source", node.author === "policy base" ? "policy" : node.author]);
  }
  const title = { context: "Start", step: `Step ${node.depth}`, leaf: "Verdict" }[node.kind];
  const parts = [h("h4", {}, title), h("dl", {}, pairs.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]))];
  if (node.kind === "step") parts.push(...tokensOf(node));
  if (node.kind === "context" && node.context.length) parts.push(h("pre", {}, contextText(node.context)));
  if (node.kind === "context" && node.visits.some(({ item }) => item.hides)) parts.push(h("p", { class: "note" }, "In the prompt for sampling, not in the prompt for training."));
  if (node.kind === "leaf") {
    const { item } = node.visits[0];
    parts.push(h("p", { class: "note" }, item.reason || ""), marked(item));
  }
  const shown = node.visits.slice(0, 12);
  parts.push(h("table", {}, h("thead", {}, h("tr", {}, ["Role", "Outcome", "Return", "Advantage"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, shown.map(({ item }) => h("tr", {}, h("td", {}, item.role), h("td", {}, item.auxiliary ? "reply" : item.outcome.replace("_", " ")), h("td", {}, item.auxiliary ? "–" : fixed(item.return, 2)), h("td", {}, item.advantage === null ? "–" : fixed(item.advantage, 2, true)))))));
  if (node.visits.length > shown.length) parts.push(h("p", { class: "note" }, `and ${count(node.visits.length - shown.length)} more`));
  return parts;
}

function tokensOf(node) {
  const visit = node.visits.find(({ item, to }) => to > item.start) || node.visits[0];
  const { item, from, to } = visit;
  const pieces = piecesOf(item).slice(from, to);
  const line = h("p", { class: "note token-line" }, "Point at a token for its log-probability and ratio.");
  const spans = pieces.map((piece, at) => {
    const token = from + at - item.start;
    const logp = token >= 0 && token < item.logp.length ? item.logp[token] : null;
    const learned = item.learned && token >= 0 ? item.learned[token] ?? null : null;
    const ratio = learned === null || logp === null ? null : Math.exp(learned - logp);
    const say = () => line.replaceChildren(`“${piece.replace("\n", "⏎")}”: `, logp === null ? `${sourceAt(item, from + at)}, not sampled here` : `log-prob ${fixed(logp)}${ratio === null ? ", not scored in training" : `, ratio ${fixed(ratio)}`}`);
    return h("span", { class: "token", "--u": logp === null ? null : `${Math.min(85, Math.round(-logp * 40))}%`, pointerenter: say }, piece);
  });
  return [h("pre", { class: "tokens" }, spans), line];
}
