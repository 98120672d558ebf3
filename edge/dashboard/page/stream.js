// The stream of events, opened again whenever it ends or falls silent.

const SILENT_MS = 40_000; // the server says something every 15 s
const AGAIN_MS = [500, 5_000];

/** `on`: a function by the name of each event, and `on.link("live" | "lost")`. */
export function listen(on) {
  let source;
  let watchdog;
  let again = AGAIN_MS[0];

  function alive() {
    clearTimeout(watchdog);
    watchdog = setTimeout(lost, SILENT_MS);
  }

  function lost() {
    source.close();
    clearTimeout(watchdog);
    on.link("lost");
    setTimeout(open, again * (0.75 + Math.random() / 2));
    again = Math.min(2 * again, AGAIN_MS[1]);
  }

  function open() {
    source = new EventSource("events");
    source.onerror = lost;
    alive();
    for (const name of ["hello", "lines", "state", "beat"]) {
      source.addEventListener(name, (event) => {
        alive();
        again = AGAIN_MS[0];
        on[name](JSON.parse(event.data));
      });
    }
  }

  open();
}
