// Small ways to make and change elements. Owns: the one place where HTML from the server enters the page.

export const $ = (id) => document.getElementById(id);

// An element; `props` are attributes, `on…` listeners and `class`. Children are nodes or plain text.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Written only when it is another: most figures do not change from one state to the next.
export function setText(node, text) {
  if (node.lastText === text) return;
  node.lastText = text;
  node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value == null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// A fragment that the gateway has sanitized (markdown-it without HTML, then nh3). Nothing else may come through here.
// Its ids get a prefix, so that no heading takes the name of a part of the page, and its landmarks become plain blocks.
export function setSanitizedHtml(node, fragment) {
  node.innerHTML = fragment;
  for (const one of node.querySelectorAll("[id]")) one.id = `text-${one.id}`;
  for (const one of node.querySelectorAll("main, header, footer, nav")) one.replaceWith(el("div", { class: one.localName }, ...one.childNodes));
  for (const link of node.querySelectorAll("a[href]")) {
    const href = link.getAttribute("href");
    if (href.startsWith("#")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        $(`text-${href.slice(1)}`)?.scrollIntoView();
      });
    } else {
      link.target = "_blank";
      link.rel = "noopener noreferrer";
    }
  }
}

// While `work` goes on the button says so and cannot be pressed again. The focus comes back to it.
export async function whilePending(button, work) {
  const had = document.activeElement === button;
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    return await work();
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
    if (had && button.isConnected && document.activeElement === document.body) button.focus();
  }
}

export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Over plain HTTP from another machine browsers have no clipboard: the old way still works.
  const area = el("textarea", { class: "sr", "aria-hidden": "true" });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// A table behind a chart: made while it is open, else it costs nothing.
export function fillTable(details, caption, heads, rows) {
  if (!details.open) return;
  const holder = details.querySelector("div");
  const body = el("tbody", {}, ...rows().map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell)))));
  const head = el("thead", {}, el("tr", {}, ...heads.map((word) => el("th", { scope: "col" }, word))));
  setAttribute(holder, "tabindex", "0");
  setAttribute(holder, "role", "region");
  setAttribute(holder, "aria-label", caption);
  holder.replaceChildren(el("table", {}, el("caption", { class: "sr" }, caption), head, body));
}
