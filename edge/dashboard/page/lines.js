// The list of captions: what is kept, what of it is looked for, and its rows, newest first.
// Rows are made and changed once per animation frame, however much has come meanwhile.

import { element } from "./draw.js";
import * as words from "./words.js";

const KEPT = 500;
const ROWS = 200;

export class Lines {
  /** `onShown(found, kept)` after each change of the list; `onPick()` when another row is picked. */
  constructor(list, onShown, onPick) {
    this.list = list;
    this.onShown = onShown;
    this.onPick = onPick;
    this.kept = new Map(); // id -> line, in order of arrival
    this.rows = new Map(); // id -> li
    this.pending = new Set();
    this.picked = null;
    this.wanted = { words: [], camera: "", trigger: "", tiers: new Set(["device", "edge", "cloud"]) };
    list.addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row) this.pick(row.dataset.id === this.picked ? null : row.dataset.id);
    });
  }

  /** New and refined lines, oldest first. */
  take(lines) {
    for (const line of lines) {
      this.kept.set(line.id, line); // a refined one keeps its place
      this.pending.add(line.id);
    }
    while (this.kept.size > KEPT) {
      const oldest = this.kept.keys().next().value;
      this.kept.delete(oldest);
      this.pending.delete(oldest);
      this.drop(oldest);
    }
    this.soon();
  }

  look({ text, camera, trigger, tiers }) {
    this.wanted = { words: text.toLowerCase().split(/\s+/).filter(Boolean), camera, trigger, tiers };
    this.rows.clear();
    this.list.replaceChildren();
    this.pending = new Set(this.kept.keys());
    this.pick(null);
    this.soon();
  }

  /** The picked line, or the latest one shown. */
  get current() {
    const id = this.picked ?? this.list.firstElementChild?.dataset.id;
    return this.kept.get(id);
  }

  pick(id) {
    const before = this.rows.get(this.picked);
    if (before) before.setAttribute("aria-selected", "false");
    const row = this.rows.get(id);
    this.picked = row ? id : null;
    if (row) {
      row.setAttribute("aria-selected", "true");
      row.scrollIntoView({ block: "nearest" });
      this.list.setAttribute("aria-activedescendant", row.id);
    } else {
      this.list.removeAttribute("aria-activedescendant");
    }
    this.onPick();
  }

  /** One row down (1) or up (-1). */
  step(by) {
    const row = this.rows.get(this.picked);
    const next = !row ? this.list.firstElementChild
      : by > 0 ? row.nextElementSibling : row.previousElementSibling;
    if (next) this.pick(next.dataset.id);
  }

  soon() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  draw() {
    const fresh = [];
    for (const id of this.pending) {
      const line = this.kept.get(id);
      const row = this.rows.get(id);
      if (!this.fits(line)) this.drop(id);
      else if (row) fill(row, line);
      else fresh.push(line);
    }
    this.pending.clear();
    const first = this.rows.size === 0;
    const added = fresh.slice(-ROWS).map((line) => {
      const row = newRow(line);
      if (!first) row.classList.add("fresh");
      this.rows.set(line.id, row);
      return row;
    });
    this.list.prepend(...added.reverse());
    while (this.list.childElementCount > ROWS) this.drop(this.list.lastElementChild.dataset.id);
    let found = 0;
    for (const line of this.kept.values()) found += this.fits(line);
    this.onShown(found, this.kept.size);
  }

  fits(line) {
    const { words: wanted, camera, trigger, tiers } = this.wanted;
    if (!tiers.has(line.tier) || (camera && camera !== place(line))) return false;
    if (trigger === "*" ? !line.triggers.length : trigger && !line.triggers.includes(trigger)) return false;
    if (!wanted.length) return true;
    const text = `${line.text} ${place(line)} ${line.tier} ${line.triggers.join(" ")}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  }

  drop(id) {
    const row = this.rows.get(id);
    if (!row) return;
    row.remove();
    this.rows.delete(id);
    if (this.picked === id) this.pick(null);
  }
}

export const place = (line) => `${line.device}/${line.camera}`;

let rowNumber = 0;

function newRow(line) {
  const row = element("li");
  row.id = `line-${++rowNumber}`;
  row.dataset.id = line.id;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", "false");
  const cells = ["time", "camera", "tier", "confidence", "latency", "bytes", "said"];
  row.append(...cells.map((name) => element("span", name)));
  row.lastElementChild.append(element("span", "marks"), element("span", "text"));
  fill(row, line);
  return row;
}

/** Put a line into its row. A refined one is seen to change: its mark stays, the glow does not. */
function fill(row, line) {
  const [time, camera, tier, confidence, latency, bytes, said] = row.children;
  const [marks, text] = said.children;
  const refined = line.drafts.length > 0;
  const changed = row.dataset.tier && text.textContent !== line.text;
  time.textContent = words.time(line.at);
  camera.textContent = place(line);
  tier.textContent = line.tier;
  confidence.textContent = line.confidence.toFixed(2);
  confidence.style.setProperty("--part", line.confidence);
  latency.textContent = line.late ? "late" : words.latency(1e3 * line.latency.total);
  bytes.textContent = `${words.count(line.uplink)}\u2009B`;
  text.textContent = line.text;
  marks.replaceChildren(...line.triggers.map((name) => element("b", "", name)));
  row.classList.toggle("fired", line.triggers.length > 0);
  row.dataset.tier = line.tier;
  row.classList.toggle("refined", refined);
  row.title = refined ? `refined; first, ${line.drafts[0].tier} said: ${line.drafts[0].text}` : "";
  if (changed) {
    row.classList.remove("fresh", "changed");
    void row.offsetWidth; // so that the glow begins anew
    row.classList.add("changed");
  }
}
