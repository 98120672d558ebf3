// Numbers and times as people read them. Pure.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export const count = (n) => whole.format(n);

/** [figure, unit]; decimal units, as networks are sold. */
export function bytes(n) {
  if (n < 10_000) return [whole.format(n), "B"];
  const [size, unit] = n < 1e6 ? [n / 1e3, "KB"] : n < 1e9 ? [n / 1e6, "MB"] : [n / 1e9, "GB"];
  return [size.toFixed(size < 100 ? 1 : 0), unit];
}

export const shortBytes = (n) => bytes(n).join("\u2009");

/** A latency in ms. Clocks of two machines differ, so it may be negative; then it says so. */
export function latency(ms) {
  if (Math.abs(ms) < 9_999.5) return `${whole.format(ms)}\u2009ms`;
  if (Math.abs(ms) < 600_000) return `${(ms / 1e3).toFixed(1)}\u2009s`;
  return `${whole.format(ms / 60_000)}\u2009min`;
}

export const time = (seconds) => clock.format(seconds * 1e3);

/** How long ago, coarse. */
export function ago(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))}\u2009s ago`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)}\u2009min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3_600)}\u2009h ago`;
  return `${Math.round(seconds / 86_400)}\u2009days ago`;
}

export const many = (n, one) => `${whole.format(n)} ${one}${n === 1 ? "" : "s"}`;
