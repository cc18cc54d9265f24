"use strict";
/* Build elements and format numbers. All text goes through createTextNode: data is never markup. */

const SVG_NAMES = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  /* Set the style attribute first: it overwrites single properties. */
  if (attributes?.style) element.setAttribute("style", attributes.style);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "style") continue;
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG_NAMES, tag), attributes, children);
}

const MINUS = "−";
function fixed(value, digits = 3, sign = false) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  // Ties (odd multiples of 2^-(digits + 1)) round to even, as Python does in the terminal.
  const isBetween = (size * 2 ** (digits + 1)) % 2 === 1;
  const text = (isBetween ? (2 * Math.round((size * 10 ** digits) / 2)) / 10 ** digits : size).toFixed(digits);
  const isZero = Number(text) === 0;
  return (value < 0 && !isZero ? MINUS : sign && !isZero ? "+" : "") + text;
}

function percent(value, digits = 0) {
  return value === null || value === undefined ? "–" : fixed(100 * value, digits) + " %";
}

function count(value) {
  return value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en-US");
}

/* 1.36 M, 22 k: for axes; tables show all digits. */
function short(value) {
  if (value === 0) return "0";
  const [unit, name] = Math.abs(value) >= 1e6 ? [1e6, " M"] : Math.abs(value) >= 1e3 ? [1e3, " k"] : [1, ""];
  return String(Number((value / unit).toPrecision(3))) + name;
}

const tip = {
  at(event, ...children) {
    const box = document.getElementById("tip");
    box.replaceChildren(...children.map((child) => (child instanceof Node ? child : document.createTextNode(child))));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const x = event.clientX + 14 + width > innerWidth ? event.clientX - width - 14 : event.clientX + 14;
    const y = event.clientY + 16 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 16;
    box.style.left = Math.max(4, x) + "px";
    box.style.top = Math.max(4, y) + "px";
  },
  hide() {
    document.getElementById("tip").hidden = true;
  },
};

function armColor(at) {
  return `var(--a${at % 8})`;
}
/* Dashes distinguish lines without colour: the baseline is solid, from the ninth arm on lines are dotted. */
function armDash(at) {
  if (at >= 8) return ["1 4", "10 5", "6 2 1 2"][Math.floor(at / 8) % 3];
  return ["", "", "7 3", "2 3", "9 3 2 3", "", "5 2", "1 2"][at] || null;
}

/* A number and its percent sign stay on one line. */
function kept(text) {
  return text.replaceAll(" %", "\u00a0%");
}
