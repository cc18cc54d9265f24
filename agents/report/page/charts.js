"use strict";
/* Line charts as SVG, with bands and direct labels; stacked bars as boxes. */

function niceTicks(low, high, most) {
  const span = high - low || 1;
  const raw = span / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-6; at++) ticks.push(at * step);
  return ticks;
}

/* Move labels apart as little as needed, in order, within low..high. */
function spread(places, gap, low, high) {
  const order = places.map((y, at) => ({ y, at })).sort((a, b) => a.y - b.y);
  for (let at = 0; at < order.length; at++) {
    order[at].y = Math.max(order[at].y, at ? order[at - 1].y + gap : low);
  }
  for (let at = order.length - 1; at >= 0; at--) {
    order[at].y = Math.min(order[at].y, at === order.length - 1 ? high : order[at + 1].y - gap);
  }
  const moved = [];
  for (const { y, at } of order) moved[at] = y;
  return moved;
}

function path(xs, ys) {
  let text = "";
  let pen = false;
  xs.forEach((x, at) => {
    if (ys[at] === null) { pen = false; return; }
    text += `${pen ? "L" : "M"}${x.toFixed(1)} ${ys[at].toFixed(1)}`;
    pen = true;
  });
  return text;
}

/* series: {label, color, dash, x, mean, low, high, points}; a share runs from 0 to 1. */
function lineChart({ title, series, isShare, height = 300, width = 520, mostTicks = 5, size = 13, end = null, isLabelled = true }) {
  const labelled = isLabelled && series.length > 1;
  const longest = Math.max(...series.map((own) => own.label.length));
  const margin = { left: size * 4, right: labelled ? Math.min(132, 20 + longest * size * 0.64) : 18, top: 10, bottom: 38 };
  const all = series.flatMap((own) => [...own.mean, ...(own.low || []), ...(own.high || []), ...(own.points || []).map((p) => p[1])]).filter((v) => v !== null);
  const lastX = Math.max(...series.flatMap((own) => own.x), end || 0) || 1;
  let low = 0;
  let high = Math.max(...all, 0) || 1;
  if (isShare) high = high > 0.5 ? 1 : high * 1.06;
  else { high *= 1.06; low = Math.min(0, ...all); }
  const X = (x) => margin.left + (x / lastX) * (width - margin.left - margin.right);
  const Y = (y) => height - margin.bottom - ((y - low) / (high - low)) * (height - margin.top - margin.bottom);
  const svg = s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": describe(title, series), "font-size": size });
  for (const tick of niceTicks(low, high, mostTicks)) {
    svg.append(s("line", { class: tick === 0 ? "axis" : "grid", x1: margin.left, x2: width - margin.right, y1: Y(tick), y2: Y(tick) }));
    svg.append(s("text", { x: margin.left - 8, y: Y(tick) + size * 0.34, "text-anchor": "end" }, isShare ? percent(tick, Number.isInteger(Math.round(1e9 * tick) / 1e7) ? 0 : 1) : short(Number(tick.toPrecision(4)))));
  }
  const ticks = niceTicks(0, lastX, width < 420 ? 3 : 5);
  for (const tick of ticks) {
    svg.append(s("text", { x: X(tick), y: height - margin.bottom + size + 6, "text-anchor": "middle" }, short(tick)));
  }
  svg.append(s("text", { x: X(lastX), y: height - 4, "text-anchor": "end" }, "generated tokens"));
  for (const own of series) {
    if (own.low && own.high) {
      const xs = own.x.map(X);
      const upper = path(xs, own.high.map((v) => (v === null ? null : Y(v))));
      const lower = path([...xs].reverse(), [...own.low].reverse().map((v) => (v === null ? null : Y(v))));
      if (upper && lower) svg.append(s("path", { d: `${upper}L${lower.slice(1)}Z`, fill: own.color, opacity: 0.13 }));
    }
  }
  for (const own of series) {
    svg.append(s("path", { d: path(own.x.map(X), own.mean.map((v) => (v === null ? null : Y(v)))), fill: "none", stroke: own.color, "stroke-width": 2.2, "stroke-linejoin": "round", "stroke-dasharray": own.dash }));
    for (const [x, y] of own.points || []) svg.append(s("circle", { cx: X(x), cy: Y(y), r: 2.1, fill: own.color, opacity: 0.55 }));
  }
  if (labelled) directLabels(svg, series, X, Y, { margin, width, height, size });
  cursor(svg, series, { X, lastX, margin, width, height, isShare });
  return h("div", { class: "panel" }, title ? h("h4", {}, title) : null, svg);
}

function directLabels(svg, series, X, Y, { margin, width, height, size }) {
  const ends = series.map((own) => own.mean.findLastIndex((v) => v !== null));
  const wanted = series.map((own, at) => (ends[at] < 0 ? Y(0) : Y(own.mean[ends[at]])));
  const placed = spread(wanted, size + 2, margin.top + 4, height - margin.bottom - 2);
  const x = width - margin.right + 6;
  series.forEach((own, at) => {
    if (ends[at] < 0) return;
    svg.append(s("line", { x1: X(own.x[ends[at]]) + 1, y1: wanted[at], x2: x + 4, y2: placed[at], stroke: own.color, opacity: 0.5 }));
    const most = Math.floor((margin.right - 16) / (size * 0.62));
    const text = own.label.length > most ? own.label.slice(0, most - 1) + "…" : own.label;
    svg.append(s("text", { class: "direct", x: x + 7, y: placed[at] + size * 0.34, style: `fill:${own.color}` }, text));
  });
}

function describe(title, series) {
  const ends = series.map((own) => `${own.label} ${fixed(own.mean.findLast((v) => v !== null))}`);
  return `${title || "Curve"} over generated tokens; at the end: ${ends.join(", ")}`;
}

function valueAt(own, x) {
  const at = own.x.findIndex((v) => v >= x);
  if (at < 0 || (at === 0 && own.x[0] > x)) return null;
  if (at === 0) return own.mean[0];
  const share = (x - own.x[at - 1]) / (own.x[at] - own.x[at - 1] || 1);
  const [a, b] = [own.mean[at - 1], own.mean[at]];
  return a === null || b === null ? null : a + share * (b - a);
}

function cursor(svg, series, { X, lastX, margin, width, height, isShare }) {
  const line = s("line", { class: "cursor", y1: margin.top, y2: height - margin.bottom, visibility: "hidden" });
  svg.append(line);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const inside = ((event.clientX - box.left) / box.width) * width;
    const x = ((inside - margin.left) / (width - margin.left - margin.right)) * lastX;
    if (x < 0 || x > lastX) { line.setAttribute("visibility", "hidden"); tip.hide(); return; }
    for (const name of ["x1", "x2"]) line.setAttribute(name, X(x));
    line.setAttribute("visibility", "visible");
    const rows = series.map((own) => h("tr", {}, h("th", { style: `color:${own.color}` }, own.label), h("td", {}, isShare ? percent(valueAt(own, x), 1) : fixed(valueAt(own, x)))));
    tip.at(event, h("div", {}, `${short(x)} tokens`), h("table", {}, h("tbody", {}, rows)));
  });
  svg.addEventListener("pointerleave", () => { line.setAttribute("visibility", "hidden"); tip.hide(); });
}

function legend(items) {
  return h("ul", { class: "legend" }, items.map(({ label, color, dash, isBox }) => h("li", {},
    isBox ? h("span", { class: "box", "--c": color })
      : s("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, s("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: color, "stroke-width": 3, "stroke-dasharray": dash })),
    label)));
}

/* rows: {name, sub, parts: [{label, value, color}], text}; `most` is the value of a full track. */
function stackedBars(rows, { most, format }) {
  const cells = rows.flatMap((row, at) => [
    at && row.name ? h("div", { class: "gap" }) : null,
    h("div", {}, h("span", { class: "name" }, row.name || ""), row.sub ? h("span", { class: "sub" }, row.name ? ` ${row.sub}` : row.sub) : null),
    h("div", { class: "track", role: "img", "aria-label": row.parts.map((p) => `${p.label} ${format(p.value)}`).join(", ") },
      row.parts.filter((p) => p.value > 0).map((p) => h("div", {
        class: "part", "--c": p.color, style: `width:${((100 * p.value) / most).toFixed(3)}%`, "data-part": p.label, "data-value": p.value,
        pointermove: (event) => tip.at(event, `${p.label}: ${format(p.value)}`), pointerleave: () => tip.hide(),
      }))),
    h("div", { class: "value" }, row.text || ""),
  ]);
  return h("div", { class: "bars" }, cells);
}
