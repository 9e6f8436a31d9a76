/**
 * An element. Text stays text: nothing in this package ever parses HTML.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [attributes] those beginning with `on` are listeners; null and false are left out
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  bell: "M12 3.5A5.500 5.500 0 0 0 6.500 9c0 5.500-2.300 6.800-2.300 8h15.600c0-1.200-2.300-2.500-2.300-8A5.500 5.500 0 0 0 12 3.500zM10 20.200a2.200 2.200 0 0 0 4 0",
  check: "M5 12.500l4.500 4.500L19 7.500",
  unread: "M12 12m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0",
  archive: "M4 5h16v4H4zM5.500 9v10h13V9M10 13h4",
  unarchive: "M4 5h16v4H4zM5.500 9v10h13V9M12 17v-5M9.500 14l2.500-2.500 2.500 2.500",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.500v5M9 14.500v5",
  back: "M14.500 6l-6 6 6 6",
  close: "M6.500 6.500l11 11M17.500 6.500l-11 11",
  tray: "M4 13.500 6.200 5.800A1.800 1.800 0 0 1 8 4.500h8a1.800 1.800 0 0 1 1.800 1.300L20 13.500M4 13.500v4a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-4M4 13.500h4.500l1 2.200h5l1-2.200H20",
};

/** @param {keyof typeof PATHS} name @param {number} [size] */
export function icon(name, size = 18) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["width", size], ["height", size], ["aria-hidden", "true"]]) {
    svg.setAttribute(String(key), String(value));
  }
  svg.append(path);
  return svg;
}

/** What a payload brings as text; anything else is left out. @param {unknown} value */
export function text(value) {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/**
 * A link that a browser opens as a page, relative ones among them; null for javascript:, data:, file: and the like.
 *
 * @param {unknown} value
 */
export function safeLink(value) {
  if (typeof value !== "string" || !value) return null;
  try {
    const url = new URL(value, document.baseURI);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}
