// Elements and small drawings. Text only ever goes in as text: names and captions are not trusted.

/** An element with a class and text or children. */
export function element(name, className = "", ...inside) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...inside.map(String));
  return made;
}

export function put(id, text) {
  const at = document.getElementById(id);
  if (at.textContent !== text) at.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 24;

/** Values, oldest first, as bars from the ground or as a line; null leaves a gap. */
export function spark(svg, values, kind) {
  const greatest = Math.max(1, ...values.filter((value) => value !== null));
  const y = (value) => HEIGHT - (Math.max(0, value) / greatest) * (HEIGHT - 2);
  let path = "";
  let pen = false;
  values.forEach((value, x) => {
    if (kind === "bars") {
      const top = Math.min(y(value), HEIGHT - 1).toFixed(2);
      if (value > 0) path += `M${x + 0.2} ${HEIGHT}V${top}h.6V${HEIGHT}z`;
    } else if (value === null) {
      pen = false;
    } else {
      path += `${pen ? "L" : `M${x} ${y(value).toFixed(2)}L`}${x + 0.5} ${y(value).toFixed(2)}`;
      pen = true;
    }
  });
  if (!svg.firstChild) {
    svg.setAttribute("preserveAspectRatio", "none");
    svg.append(document.createElementNS(SVG, "path"));
    svg.classList.add(kind);
  }
  svg.setAttribute("viewBox", `0 0 ${values.length} ${HEIGHT}`);
  svg.firstChild.setAttribute("d", path);
}

/** A bar in parts with its legend; `counts` by name, in the order of `names`. */
export function share(box, counts, names) {
  const total = names.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
  const parts = names.filter((name) => counts[name] > 0);
  const key = parts.map((name) => `${name}:${counts[name]}`).join();
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const bar = element("div", "bar");
  const legend = element("ul", "legend");
  for (const name of parts) {
    const part = element("i");
    part.dataset.name = name;
    part.style.flexGrow = counts[name];
    bar.append(part);
    const percent = (100 * counts[name]) / total;
    const entry = element("li", "", `${name} `);
    entry.dataset.name = name;
    entry.append(element("b", "", `${percent < 1 ? "<1" : Math.round(percent)}\u2009%`));
    legend.append(entry);
  }
  box.replaceChildren(bar, legend);
}
