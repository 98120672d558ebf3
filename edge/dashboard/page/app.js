// Puts the page together: the stream, the list of captions, the panels, and the keyboard.

import { put } from "./draw.js";
import { Lines, place } from "./lines.js";
import * as panels from "./panels.js";
import { listen } from "./stream.js";
import * as words from "./words.js";

const FOLLOW_MS = 1_000; // the latest frame is followed at most so often
const ANNOUNCE_MS = 20_000; // and spoken to screen readers at most so often

const at = (id) => document.getElementById(id);
const lines = new Lines(at("lines"), shown, () => panels.detail(lines.current, lines.picked));
let link = "connecting";
let connected = true;
let about = null;
let lastState = null;
let followed = 0;
let announced = performance.now();

function shown(found, kept) {
  const looking = at("query").value || at("camera").value || at("trigger").value || tiers().size < 3;
  put("found", looking ? `${found} of ${kept}` : "");
  at("empty").hidden = found > 0;
  put("empty", kept ? "Nothing like that among recent captions." : "No caption yet.");
  follow();
}

/** Show the latest frame beside the list, unless one is picked. */
function follow() {
  if (lines.picked) {
    panels.detail(lines.current, true);
    return;
  }
  const wait = followed + FOLLOW_MS - performance.now();
  clearTimeout(follow.timer);
  if (wait > 0) {
    follow.timer = setTimeout(follow, wait);
    return;
  }
  followed = performance.now();
  const line = lines.current;
  panels.detail(line, false);
  if (line && followed - announced > ANNOUNCE_MS) {
    announced = followed;
    put("announcer", `${place(line)}: ${line.text}`);
  }
}

// What comes.

function tell() {
  const word = link !== "live" ? link : connected ? "live" : "no broker";
  const sentences = {
    connecting: "connecting",
    lost: "edge node not reachable, trying again",
    "no broker": "no connection to the broker",
    live: "live",
  };
  document.body.dataset.link = word;
  put("link", sentences[word]);
  const name = about ? `AI Flow · ${about.node}` : "AI Flow";
  document.title = word === "live" ? name : `(${word}) ${name}`;
}

function showState(state) {
  connected = state.connected;
  lastState = state;
  soon();
  tell();
}

/** States are drawn at most once per animation frame; of several only the last one. */
function soon() {
  if (soon.waiting) return;
  soon.waiting = true;
  requestAnimationFrame(() => {
    soon.waiting = false;
    panels.state(lastState);
  });
}

listen({
  link(state) {
    link = state;
    tell();
  },
  hello(all) {
    // A node that was updated has another page, too.
    if (about && about.software !== all.software) location.reload();
    about = all;
    link = "live";
    put("node", all.node);
    put("about", `version ${all.software}, up since ${new Date(all.began * 1e3).toLocaleString()}`);
    lines.take(all.lines);
    showState(all.state);
  },
  lines: ({ lines: changed }) => lines.take(changed),
  state: showState,
  beat() {},
});

// What people do.

const tiers = () => new Set(
  [...at("tier").children].filter((one) => one.ariaPressed === "true").map((one) => one.dataset.tier),
);

function look() {
  lines.look({
    text: at("query").value, camera: at("camera").value, trigger: at("trigger").value, tiers: tiers(),
  });
}

at("search").addEventListener("input", look);
at("search").addEventListener("submit", (event) => event.preventDefault());
at("tier").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
  look();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target === at("query");
  if (event.key === "/" && !typing) at("query").focus();
  else if (event.key === "Escape") back(typing);
  else if (event.key === "ArrowDown" && !event.target.matches("select")) lines.step(1);
  else if (event.key === "ArrowUp" && !event.target.matches("select")) lines.step(-1);
  else return;
  event.preventDefault();
});

/** Escape: first leave the picked line, then the search. */
function back(typing) {
  if (lines.picked) {
    lines.pick(null);
  } else if (at("query").value) {
    at("query").value = "";
    look();
  } else if (typing) {
    at("query").blur();
  }
  at("lines").scrollTop = 0;
}
