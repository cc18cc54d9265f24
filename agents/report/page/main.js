"use strict";
/* Builds the page. */

function treeSection(data) {
  const store = data.episodes;
  if (!store || !store.items.length) return section("tree", "Branch tree", "No episodes are embedded, so there is no tree.");
  const view = new TreeView(data);
  const select = (label, className) => {
    const element = h("select", {});
    return [h("label", { class: className }, label, element), element];
  };
  const [sourceLabel, sourceSelect] = select("Problems");
  const [armLabel, armSelect] = select("Arm");
  const [problemLabel, problemSelect] = select("Problem", "grow");
  const radios = h("fieldset", {}, h("legend", {}, "Colour by"), Object.entries(COLORINGS).map(([name, own]) => h("label", {},
    h("input", { type: "radio", name: "coloring", value: name, checked: name === "source", change: () => paint(name) }), h("span", {}, own.title))));
  const problemText = h("pre", { class: "question tree-problem" });
  const key = h("div", { class: "tree-legend" });
  const paint = (name) => {
    view.color(name);
    key.replaceChildren(legend(COLORINGS[name].legend(view.tree)));
  };
  view.onColor = () => {
    const names = Object.keys(COLORINGS);
    const next = names[(names.indexOf(view.coloring) + 1) % names.length];
    radios.querySelector(`input[value="${next}"]`).checked = true;
    paint(next);
  };
  const options = (element, entries) => element.replaceChildren(...entries.map(([value, text]) => h("option", { value }, text)));
  let groups = [];
  const choose = () => {
    const group = groups[Number(problemSelect.value)];
    const problem = store.problems[group.problem];
    problemText.replaceChildren(`${problem.question}\nanswer: ${problem.answer}`);
    view.show(buildTree(data, group.items));
    paint(view.coloring);
  };
  const list = () => {
    const own = store.items.filter((item) => item.source === sourceSelect.value && item.arm === armSelect.value);
    const byKey = new Map();
    for (const item of own) {
      const id = `${item.iteration} ${item.problem}`;
      if (!byKey.has(id)) byKey.set(id, { iteration: item.iteration, problem: item.problem, items: [] });
      byKey.get(id).items.push(item);
    }
    groups = [...byKey.values()];
    options(problemSelect, groups.map((group, at) => {
      const answering = group.items.filter((item) => !item.auxiliary);
      const correct = answering.filter((item) => item.outcome === "correct").length;
      const roles = [...new Set(group.items.map((item) => item.role))].filter((role) => role !== "base");
      return [at, `iteration ${group.iteration} · ${store.problems[group.problem].problem_id} · ${correct} of ${answering.length} correct${roles.length ? ` · ${roles.join(", ")}` : ""}`];
    }));
    const best = groups.findIndex((group) => group.items.some((item) => item.role !== "base") && group.items.some((item) => item.outcome === "correct"));
    problemSelect.value = String(Math.max(0, best));
    choose();
  };
  const arms = () => {
    const found = data.arms.filter((arm) => store.items.some((item) => item.source === sourceSelect.value && item.arm === arm));
    options(armSelect, found.map((arm) => [arm, arm]));
    const helped = found.find((arm) => store.items.some((item) => item.arm === arm && item.source === sourceSelect.value && item.role !== "base"));
    armSelect.value = helped || found[0];
    list();
  };
  options(sourceSelect, data.sources.filter((source) => store.items.some((item) => item.source === source)).map((source) => [source, source]));
  sourceSelect.addEventListener("change", arms);
  armSelect.addEventListener("change", list);
  problemSelect.addEventListener("change", choose);
  const help = h("button", { type: "button", class: "quiet", click: () => view.help() }, "Keys");
  const built = section("tree", "Branch tree",
    "All episodes sampled for one problem in one iteration. Episodes with equal steps share a branch until they differ; a dark mark shows where episodes of another role begin; each branch ends with its verdict.",
    h("div", { class: "tree-controls no-print" }, sourceLabel, armLabel, problemLabel, radios, help), problemText, view.element, key);
  return [built, arms];
}

function theme(button) {
  const wish = matchMedia("(prefers-color-scheme: dark)");
  const names = ["system", "light", "dark"];
  let at = 0;
  const apply = () => {
    const name = names[at] === "system" ? (wish.matches ? "dark" : "light") : names[at];
    document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${names[at]}`;
  };
  button.addEventListener("click", () => { at = (at + 1) % names.length; apply(); });
  wish.addEventListener("change", apply);
  addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; document.querySelectorAll("details:not(.appendix)").forEach((own) => { own.open = true; }); });
  addEventListener("afterprint", apply);
  apply();
}

function main() {
  const data = JSON.parse(document.getElementById("data").textContent);
  theme(document.getElementById("theme"));
  document.getElementById("title").textContent = data.title;
  const facts = Object.entries(data.settings.facts).map(([name, value]) => `${name} ${value}`);
  const runs = `${data.runs.length} ${data.runs.length === 1 ? "run" : "runs"}`;
  document.getElementById("facts").textContent = [runs, data.budget ? `${count(data.budget)} generated tokens each` : null, ...facts].filter(Boolean).join(" · ");
  const [tree, start] = [treeSection(data)].flat();
  const sections = [findings(data), learning(data), outcomes(data), drawn(data), signal(data), cost(data), tree, samples(data), data.arms.length > 1 ? settings(data) : null].filter(Boolean);
  document.getElementById("report").append(...sections);
  document.getElementById("contents").append(h("ol", {}, sections.map((own) => h("li", {}, h("a", { href: `#${own.id}` }, own.querySelector("h2").textContent)))));
  start?.();
  document.documentElement.dataset.ready = "true";
}

main();
