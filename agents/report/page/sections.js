"use strict";
/* The sections of the report except the tree. */

let figureNumber = 0;
function figure(content, caption) {
  figureNumber += 1;
  return h("figure", {}, content, h("figcaption", {}, h("strong", {}, `Figure ${figureNumber}. `), caption));
}

function section(id, title, lead, ...content) {
  return h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), lead ? h("p", { class: "lead" }, lead) : null, ...content);
}

function armLegend(data, arms) {
  return legend(arms.map((arm) => ({ label: arm, color: armColor(data.arms.indexOf(arm)), dash: armDash(data.arms.indexOf(arm)) })));
}

function seriesOf(data, byArm, name, points) {
  return Object.entries(byArm)
    .filter(([, own]) => own && own[name])
    .map(([arm, own]) => ({
      label: arm,
      color: armColor(data.arms.indexOf(arm)),
      dash: armDash(data.arms.indexOf(arm)),
      points: points ? points(arm) : [],
      ...own[name],
    }));
}

function bySource(data, content) {
  return data.sources.flatMap((source) => [data.sources.length > 1 ? h("h3", {}, source) : null, content(source)]);
}

function estimate(own, { sign = false, key } = {}) {
  if (!own) return h("td", {}, "–");
  const limits = own.low === null || own.low === undefined ? null : `[${fixed(own.low, 3, sign)}, ${fixed(own.high, 3, sign)}]`;
  const p = own.sign_flip_p === null || own.sign_flip_p === undefined ? null : `p ${fixed(own.sign_flip_p)}`;
  return h("td", { "data-value": own.mean, "data-key": key }, fixed(own.mean, 3, sign), limits ? h("span", { class: "limits" }, limits) : null, p ? h("span", { class: "limits" }, p) : null);
}

function findings(data) {
  if (!data.summary) return runFindings(data);
  return section("findings", "Results",
    `Every run has a budget of ${count(data.budget)} generated tokens. Intervals are 95\u00a0% bootstrap intervals over seeds, shown for three or more seeds. Differences (Δ) to ${data.summary.baseline} are paired by seed; p is from an exact sign-flip test. Area is the mean of pass@1 over the budget.`,
    data.summary.notes.map((note) => h("p", { class: "note-first" }, note)),
    bySource(data, (source) => sourceFindings(data, source)),
    unfinished(data));
}

function sourceFindings(data, source) {
  const part = data.summary.by_source[source];
  return h("div", {},
    h("ul", { class: "findings" },
      Object.entries(part.arms).map(([arm, own]) => h("li", {}, h("span", { class: "swatch", "--c": armColor(data.arms.indexOf(arm)) }), h("span", {}, kept(own.sentence)))),
      Object.values(part.without_result).map((text) => h("li", {}, h("span"), h("span", {}, text)))),
    h("div", { class: "scroll" }, resultTable(data, source, part)));
}

function resultTable(data, source, part) {
  const level = part.level === null ? "a level" : fixed(part.level);
  const names = ["Arm", "Seeds", "Final pass@1", `Final pass@${part.k}`, "Area", `Tokens to ${level}`, "Δ pass@1", `Δ pass@${part.k}`, "Δ area"];
  const body = Object.entries(part.arms).map(([arm, own]) => {
    const [to, against] = [own.tokens_to_level, own.differences || {}];
    const key = (name) => `${source}/${arm}/${name}`;
    return h("tr", {},
      h("th", { scope: "row" }, arm), h("td", {}, own.num_seeds),
      estimate(own.final_pass_at_1, { key: key("final_pass_at_1") }), estimate(own.final_pass_at_k, { key: key("final_pass_at_k") }), estimate(own.area, { key: key("area") }),
      h("td", {}, to.median === null ? "–" : count(to.median), part.level === null ? null : h("span", { class: "limits" }, `${to.num_reached} of ${own.num_seeds} seeds`)),
      ...["final_pass_at_1", "final_pass_at_k", "area"].map((name) => (own.differences ? estimate(against[name], { sign: true, key: key(`difference/${name}`) }) : h("td", {}, name === "final_pass_at_1" ? "baseline" : ""))));
  });
  return h("table", { class: "wide results" }, h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, body));
}

function unfinished(data) {
  const own = data.summary.runs.filter((run) => run.status !== "finished");
  if (!own.length) return null;
  return h("details", { open: true }, h("summary", {}, `${own.length} of ${data.summary.runs.length} runs are not counted`),
    own.map((run) => h("div", {}, h("p", {}, `${run.status}: ${run.source}, ${run.arm}, seed ${run.seed}`), run.log_tail ? h("pre", {}, run.log_tail) : null)));
}

function runFindings(data) {
  const rows = data.runs.map((run) => {
    const [first, last] = [run.evals[0], run.evals.at(-1)];
    const cell = (row, name) => estimate(row && { mean: row[name], low: row[`${name}_low`], high: row[`${name}_high`] }, { key: `${run.source}/${run.arm}/${row === first ? "first" : "last"}/${name}` });
    return h("tr", {}, h("th", { scope: "row" }, run.arm), h("td", {}, run.source), h("td", {}, run.seed), h("td", {}, count(run.tokens)), h("td", {}, run.iterations),
      cell(first, "pass_at_1"), cell(last, "pass_at_1"), cell(first, "pass_at_k"), cell(last, "pass_at_k"));
  });
  const k = data.runs.find((run) => run.evals.length)?.evals[0].k ?? "k";
  const names = ["Run", "Problems", "Seed", "Tokens", "Iterations", "pass@1 before", "after", `pass@${k} before`, "after"];
  return section("findings", "Results", "Intervals are 95 % intervals over the evaluation problems of one run. To compare runs with each other, use reason-env compare, which runs several seeds at an equal budget.",
    h("div", { class: "scroll" }, h("table", { class: "wide results" }, h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows))));
}

/* With more arms, or longer names, a legend replaces the labels at the lines. */
const MOST_DIRECT = 7;
const LONGEST_DIRECT = 14;

function bands(data) {
  const most = Math.max(...data.arms.flatMap((arm) => data.sources.map((source) => data.runs.filter((run) => run.arm === arm && run.source === source).length)));
  return most >= 3 ? ", bands 95\u00a0% bootstrap intervals" : most > 1 ? "; no intervals below three seeds" : "";
}

function learning(data) {
  return section("learning", "Learning curves", "The horizontal axis counts generated tokens, including localisation replies, hinted and discarded episodes, but not evaluation.",
    bySource(data, (source) => {
      const curves = data.by_source[source].curves;
      const runs = data.runs.filter((run) => run.source === source);
      const k = runs.find((run) => run.evals.length)?.evals[0].k ?? "k";
      const panel = (name, title) => {
        const points = (arm) => runs.filter((run) => run.arm === arm).flatMap((run) => run.evals.map((row) => [row.tokens, row[name.slice(5)]]));
        const series = seriesOf(data, curves, name, points);
        return series.length ? lineChart({ title, series, isShare: true, end: data.budget, isLabelled: !hasLegend, ...(innerWidth <= 800 ? { width: 380, height: 250 } : {}) }) : null;
      };
      const hasLegend = Object.keys(curves).length > MOST_DIRECT || Object.keys(curves).some((arm) => arm.length > LONGEST_DIRECT);
      const panels = [panel("eval/pass_at_1", "pass@1"), panel("eval/pass_at_k", `pass@${k}`)];
      if (!panels.some(Boolean)) return h("p", {}, "No run has evaluated its policy yet, so there is no curve. Set --eval.every to evaluate during training.");
      const isMany = Math.max(...data.arms.map((arm) => runs.filter((run) => run.arm === arm).length)) > 1;
      return figure([hasLegend ? armLegend(data, Object.keys(curves)) : null, h("div", { class: "pair" }, panels)],
        isMany ? `Lines are means over seeds, interpolated between evaluations; dots are single evaluations${bands(data)}.` : "Bands are 95 % intervals over the evaluation problems; dots are the evaluations.");
    }));
}

function outcomes(data) {
  const shown = (source) => data.outcomes.filter((name) => Object.values(data.by_source[source].outcomes).some((parts) => parts.some((p) => p.shares[name] > 0)));
  return section("outcomes", "Outcomes", "How training episodes ended, with or without help: the share of each outcome in the first and the last quarter of the iterations.",
    bySource(data, (source) => {
      const names = shown(source);
      if (!names.length) return h("p", {}, "No run has recorded how its training episodes ended.");
      const rows = Object.entries(data.by_source[source].outcomes).flatMap(([arm, parts]) => parts.map((part, at) => ({
        name: at ? "" : arm, sub: part.label, text: `${percent(part.shares.correct)} correct`,
        parts: names.map((name) => ({ label: name.replace("_", " "), value: part.shares[name], color: `var(--${name})` })),
      })));
      return figure([legend(names.map((name) => ({ label: name.replace("_", " "), color: `var(--${name})`, isBox: true }))), stackedBars(rows, { most: 1, format: (v) => percent(v, 1) })],
        "Shares of training episodes, means over seeds.");
    }));
}

function drawn(data) {
  /* Only for runs whose wrappers choose the problems. */
  if (!data.sources.some((source) => Object.keys(data.by_source[source].drawn).length)) return null;
  return section("drawn", "Problems drawn", "What the wrappers of the environment chose to train on: the share of each level in the first and the last quarter of the iterations. Evaluation names its problems, so that wrappers choose none there.",
    bySource(data, (source) => {
      const entries = Object.entries(data.by_source[source].drawn);
      if (!entries.length) return h("p", {}, "No wrapper chose problems here: each came once an epoch.");
      const levels = [...new Set(entries.flatMap(([, parts]) => parts.flatMap((part) => Object.keys(part.shares))))].sort((a, b) => a - b);
      const rows = entries.flatMap(([arm, parts]) => parts.map((part, at) => ({
        name: at ? "" : arm, sub: part.label, text: `${fixed(part.problems, 1)} different problems an iteration`,
        parts: levels.map((level, index) => ({ label: `level ${level}`, value: part.shares[level] || 0, color: armColor(index) })),
      })));
      return figure([legend(levels.map((level, index) => ({ label: `level ${level}`, color: armColor(index), isBox: true }))), stackedBars(rows, { most: 1, format: (v) => percent(v, 1) })],
        "Shares of an iteration's starts, means over iterations and seeds.");
    }));
}

function signal(data) {
  return section("signal", "Learning signal", "Diagnostics of training. They are over episodes without help, so that methods can be compared.",
    bySource(data, (source) => {
      const missing = data.signals.filter((own) => !seriesOf(data, data.by_source[source].signals, own.name).length);
      const absent = missing.length ? ` Not recorded by these runs: ${missing.map((own) => own.title.toLowerCase()).join("; ")}.` : "";
      if (missing.length === data.signals.length) return h("p", {}, absent.trim());
      const panels = data.signals.map((own) => {
        const isShare = own.name.endsWith("_fraction") || own.name.endsWith("pass_rate");
        const series = seriesOf(data, data.by_source[source].signals, own.name);
        return series.length ? lineChart({ title: own.title, series, isShare, width: 340, height: 215, size: 12, mostTicks: 4, end: data.budget, isLabelled: false }) : null;
      });
      return figure([data.arms.length > 1 ? armLegend(data, Object.keys(data.by_source[source].signals)) : null, h("div", { class: "trio" }, panels)],
        `Smoothed over about a twentieth of the iterations on either side. Lines are means over seeds${bands(data)}.${absent}`);
    }));
}

const ROLE_COLORS = { base: "var(--a1)", reset: "var(--a3)", localise: "var(--a5)", hinted: "var(--a4)", guided: "var(--a7)", explanation: "var(--a6)", extra: "var(--a2)", top_up: "var(--a0)", preparation: "var(--truncated)" };

function cost(data) {
  return section("cost", "Cost by role", "Generated tokens by the role of their episodes. Discarded tokens are those of answering episodes that no training sample uses; they are included in their role.",
    bySource(data, (source) => {
      const own = data.by_source[source].cost;
      const roles = [...new Set(Object.values(own).flatMap(Object.keys))].filter((name) => name !== "discarded");
      const totals = Object.fromEntries(Object.entries(own).map(([arm, parts]) => [arm, roles.reduce((sum, role) => sum + (parts[role] || 0), 0)]));
      const most = Math.max(...Object.values(totals));
      const color = (role, at) => ROLE_COLORS[role] || armColor(at);
      const rows = Object.entries(own).map(([arm, parts]) => ({
        name: arm, text: `${count(totals[arm])} tokens, ${percent(parts.discarded / totals[arm])} discarded`,
        parts: roles.map((role, at) => ({ label: role, value: parts[role] || 0, color: color(role, at) })),
      }));
      return figure([legend(roles.map((role, at) => ({ label: role.replace("_", " "), color: color(role, at), isBox: true }))), stackedBars(rows, { most, format: (v) => `${count(v)} tokens, ${percent(v / most, 1)} of the longest bar` })],
        "Generated tokens of a run by role, means over seeds.");
    }));
}

function settings(data) {
  const entries = Object.entries(data.settings.differences);
  const text = (value) => (value === null ? "off" : typeof value === "string" ? value : JSON.stringify(value));
  const table = (rows) => h("div", { class: "scroll" }, h("table", { class: "wide settings", "--arms": data.arms.length },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), data.arms.map((arm) => h("th", { scope: "col" }, arm)))),
    h("tbody", {}, rows.map(([key, values]) => h("tr", {}, h("th", { scope: "row" }, key), data.arms.map((arm) => h("td", { class: values[arm] === undefined ? "same" : null }, values[arm] === undefined ? "–" : text(values[arm]))))))));
  const isChosen = ([, values]) => new Set(Object.values(values).map(text)).size > 1;
  const [chosen, own] = [entries.filter(isChosen), entries.filter((entry) => !isChosen(entry))];
  return section("settings", "Settings that differ", "All settings that differ between arms. A dash means that the arm has no such setting.",
    chosen.length ? table(chosen) : h("p", {}, "No setting that all arms have differs."),
    own.length ? h("details", { class: "appendix" }, h("summary", {}, `${own.length} settings that only some arms have`), table(own)) : null);
}

function marked(item) {
  /* The response; text that the policy did not write is underlined. */
  const pre = h("pre", { class: "response" });
  let at = 0;
  const pieces = piecesOf(item);
  for (const [source, length] of item.sources) {
    const text = pieces.slice(at, at + length).join("");
    at += length;
    if (text) pre.append(h("span", { class: `t-${source}`, title: source === "policy" ? null : `written by: ${source}` }, text));
  }
  return pre;
}

function contextText(context) {
  return context.map(([kind, pieces]) => `${kind.replace("_", " ")}: ${pieces.join(" | ").trim()}`).join("\n");
}

function samples(data) {
  const items = data.episodes ? data.episodes.items.filter((item) => !item.auxiliary) : [];
  const pick = (own) => {
    const last = Math.max(...own.map((item) => item.iteration));
    const late = own.filter((item) => item.iteration === last);
    const found = [own.find((item) => item.outcome !== "correct"), late.find((item) => item.outcome === "correct"), late.find((item) => item.outcome !== "correct"), late.find((item) => item.role !== "base" && item.outcome === "correct")];
    return [...new Set(found.filter(Boolean))];
  };
  const blocks = data.sources.flatMap((source) => data.arms.map((arm) => {
    const own = items.filter((item) => item.source === source && item.arm === arm);
    if (!own.length) return null;
    const isFirst = source === data.sources[0] && arm === data.arms[0];
    return h("details", { open: isFirst }, h("summary", {}, data.sources.length > 1 ? `${arm} on ${source}` : arm),
      h("div", { class: "samples" }, pick(own).map((item) => sample(data, item))));
  }));
  return section("samples", "Sample episodes", items.length ? `From the ${count(data.episodes.items.length)} embedded of ${count(data.episodes.total)} recorded episodes: the first failure, and the first successes and failures of the last iteration.` : "No episodes are embedded.", ...blocks);
}

function sample(data, item) {
  const problem = data.episodes.problems[item.problem];
  const context = data.episodes.contexts[item.context];
  return h("article", { class: "episode", "--c": `var(--${item.outcome})` },
    h("p", { class: "meta" }, h("strong", {}, item.outcome.replace("_", " ")), ` · iteration ${item.iteration} · ${item.role}`, item.advantage === null ? (item.recorded ? " · not trained on" : "") : ` · advantage ${fixed(item.advantage, 2, true)}`),
    h("pre", { class: "question" }, problem.question),
    context.length ? h("pre", { class: "question" }, contextText(context)) : null,
    marked(item),
    h("p", { class: "meta" }, item.extracted === null ? `no answer; the reference answer is ${problem.answer}` : `answer ${item.extracted}; the reference answer is ${problem.answer}`));
}
