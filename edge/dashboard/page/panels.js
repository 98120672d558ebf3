// Everything beside the list of captions.

import { element, put, share, spark } from "./draw.js";
import { place } from "./lines.js";
import * as words from "./words.js";

const STAGES = [
  ["gate", "gate"], ["encode", "encode"], ["queue", "wait"], ["decode", "decode"],
  ["cloud", "cloud"], ["total", "total"],
];
const SHORTEST = 18; // steps that a line shows, however short a time the node has been up
const at = (id) => document.getElementById(id);

export function state(now) {
  figures(now.figures);
  shares(now.shares);
  stages(now.shares.latency_ms, now.places.cameras);
  places(now.places);
  troubles(now.troubles);
}

function figures({ total, minute, bytes, latency_ms: latency }) {
  put("frames-minute", words.count(minute.frames));
  put("frames-total", `${words.count(total.frames)} in all`);
  put("bytes-minute", words.shortBytes(minute.uplink));
  const each = total.frames ? `, ${words.count(total.uplink / total.frames)}\u2009B a frame` : "";
  put("bytes-total", `${words.shortBytes(total.uplink)} in all${each}`);
  if (total.jpeg) {
    put("jpeg-ratio", `${words.count(total.jpeg / total.beside_jpeg)}×`);
    put("jpeg-minute", minute.jpeg ? `${words.shortBytes(minute.jpeg)} a minute` : "");
    put("jpeg-total", `${words.shortBytes(total.jpeg)} in all, never sent`);
  } else {
    put("jpeg-ratio", "–");
    put("jpeg-total", "known of synthetic cameras only");
  }
  const begin = Math.min(bytes.findIndex((n) => n > 0), bytes.length - SHORTEST);
  spark(at("bytes-line"), bytes.slice(Math.max(0, begin)), "bars");
  spark(at("latency-line"), latency.slice(Math.max(0, begin)), "line");
}

function shares({ tiers, modes, triggers, latency_ms: latency }) {
  const fired = Object.keys(triggers).sort();
  choices(at("trigger"), fired);
  at("trigger").hidden = fired.length === 0;
  share(at("tiers"), tiers, ["device", "edge", "cloud"]);
  share(at("modes"), modes, ["device", "split", "cascade", "image"]);
  put("latency-p50", latency.total ? words.latency(latency.total[0]) : "–");
  put("latency-p95", latency.total ? `p95 ${words.latency(latency.total[1])}` : "");
}

/** Stages of the edge are of recent captions; those of devices means of their last minute. */
function stages(latency, cameras) {
  const known = { ...latency };
  for (const stage of ["gate", "encode"]) {
    const means = cameras.map((one) => one.stages[stage]).filter((ms) => ms !== undefined);
    if (means.length) known[stage] = [means.reduce((a, b) => a + b) / means.length];
  }
  const shown = STAGES.filter(([stage]) => known[stage]);
  const longest = Math.max(1, ...shown.map(([stage]) => Math.max(...known[stage])));
  const rows = shown.map(([stage, name]) => {
    const row = element("tr");
    const [p50, p95] = known[stage];
    const bar = element("td", "bar");
    const [long, short] = [element("i"), element("b")];
    long.style.width = `${(100 * Math.max(0, p95 ?? 0)) / longest}%`;
    short.style.width = `${(100 * Math.max(0, p50)) / longest}%`;
    bar.append(long, short);
    row.append(element("th", "", name), bar, element("td", "", tenths(p50)));
    row.append(element("td", "", p95 === undefined ? "mean" : tenths(p95)));
    return row;
  });
  at("stages").tBodies[0].replaceChildren(...rows);
}

const tenths = (ms) => (ms < 9.95 ? `${ms.toFixed(1)}\u2009ms` : words.latency(ms));

function places({ devices, cameras, nodes, unlisted }) {
  const named = [[devices, "device"], [cameras, "camera"], [nodes, "edge node"]];
  put("counts", named.map(([among, name]) => online(among, name)).join(" · "));
  at("cameras").replaceChildren(...cameras.map(camera));
  put("unlisted", unlisted ? "There are more devices or cameras than are listed here." : "");
  choices(at("camera"), cameras.map((one) => `${one.device}/${one.name}`));
}

function online(among, name) {
  const there = among.filter((one) => one.state === "online").length;
  const all = words.many(among.length, name);
  return there === among.length ? `${all} online` : `${there} of ${all} online`;
}

function camera(one) {
  const row = element("li");
  row.dataset.state = one.state ?? "unknown";
  const facts = one.facts.width ? `${one.facts.width}×${one.facts.height}` : "";
  const kind = one.facts.synthetic ? "synthetic" : "";
  const last = one.captioned_at ? `caption ${words.ago(Date.now() / 1e3 - one.captioned_at)}` : "";
  row.append(
    element("b", "", `${one.device}/${one.name}`),
    element("span", "state", one.enabled === "OFF" ? "off" : (one.state ?? "not heard of")),
    element("small", "", [facts, kind, one.facts.bundle, last].filter(Boolean).join(" · ")),
  );
  return row;
}

/** Names to choose from, behind what is always there. A choice that has gone is made no more. */
function choices(choice, names) {
  const fixed = [...choice.options].filter((one) => "fixed" in one.dataset);
  const known = [...choice.options].slice(fixed.length).map((one) => one.value);
  if (names.join("\n") === known.join("\n")) return;
  const chosen = choice.value;
  choice.replaceChildren(...fixed, ...names.map((name) => new Option(name, name)));
  const there = names.length > 0 && [...choice.options].some((one) => one.value === chosen);
  choice.value = there ? chosen : "";
  if (choice.value !== chosen) choice.dispatchEvent(new Event("input", { bubbles: true }));
}

function troubles(list) {
  put("alarms", list.length ? words.many(list.length, "alarm") : "no alarms");
  at("alarms").classList.toggle("any", list.length > 0);
  at("alarm-panel").hidden = list.length === 0;
  at("troubles").replaceChildren(...list.map((one) => {
    const row = element("li", one.level);
    row.append(element("b", "", one.where), ` ${one.what} `);
    if (one.at) row.append(element("time", "", words.time(one.at)));
    return row;
  }));
}

/** One frame: its picture if there is one, what was said before it was refined, and its figures;
 * of the latest one only a line, for it is soon gone. */
export function detail(line, picked) {
  at("detail").hidden = !line;
  const source = line?.picture ? `picture/${Math.round(line.at * 1e3)}.jpg` : "";
  wanted = source;
  if (!line) return;
  if (!source || source === shown) {
    fillDetail(line, picked, source);
    return;
  }
  // Picture and text change together, when the picture has come.
  const picture = new Image();
  picture.onload = () => wanted === source && fillDetail(line, picked, source);
  picture.onerror = () => wanted === source && fillDetail(line, picked, "");
  picture.src = source;
}

let wanted = "";
let shown = "";

function fillDetail(line, picked, source) {
  shown = source;
  document.querySelector("#detail figure").hidden = !source;
  if (source) at("picture").src = source;
  at("picture").alt = line.text;
  put("detail-head", `${picked ? "" : "Latest · "}${place(line)} · ${words.time(line.at)}`);
  put("detail-text", line.text);
  at("drafts").replaceChildren(...line.drafts.map((draft) => {
    const row = element("li", "", `${draft.tier} first said, ${draft.confidence.toFixed(2)}: `);
    row.append(element("q", "", draft.text));
    return row;
  }));
  const { total, ...parts } = line.latency;
  const instead = line.jpeg ? `, as JPEG ${words.count(line.jpeg)}\u2009B` : "";
  const fired = line.triggers.map((name) => `${name} · `).join("");
  put("detail-line", picked ? ""
    : `${fired}${line.tier} ${line.confidence.toFixed(2)} · ${words.latency(1e3 * total)} · ${words.count(line.uplink)}\u2009B${instead}`);
  const stagesText = Object.entries(parts).map(([name, s]) => `${name} ${tenths(1e3 * s)}`);
  const facts = [
    ["caption by", `${line.tier}, mode ${line.mode}, confidence ${line.confidence.toFixed(2)}`],
    ["why", line.reason],
    ["trigger", line.triggers.join(", ")],
    ["bytes", `${words.count(line.uplink)} on the wire, ${words.count(line.embedding)} of them payload`],
    ["as JPEG", line.jpeg ? `${words.count(line.jpeg)} B, ${words.count(line.jpeg / line.uplink)}× as much` : ""],
    ["latency", `${words.latency(1e3 * total)}${line.late ? ", it waited in the outbox" : ""}`],
    ["of it", stagesText.join(", ")],
  ];
  at("detail-facts").replaceChildren(...(picked ? facts : []).filter(([, value]) => value).flatMap(
    ([name, value]) => [element("dt", "", name), element("dd", "", value)],
  ));
}
