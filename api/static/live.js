// Keeps a page current: while it holds an element with data-refresh, fetches the page again and replaces
// the elements with data-live (found by id) that changed. Every replaced element fires "live" on document.
"use strict";
(() => {
  const EVERY_MS = 2000, LONGEST_MS = 30000, FAILURES = 40;
  const notice = document.getElementById("connection");
  let failures = 0, wait = EVERY_MS;

  function say(text) {
    notice.textContent = text;
    notice.hidden = !text;
  }

  function swap(fresh) {
    for (const old of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(old.id);
      if (!next || next.outerHTML === old.outerHTML) continue;
      old.replaceWith(document.importNode(next, true));
      document.dispatchEvent(new CustomEvent("live", { detail: old.id }));
    }
  }

  async function refresh() {
    if (document.hidden) return true; // nobody looks; the next visit asks at once
    const started = performance.now();
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(LONGEST_MS) });
      if (answer.status === 404) { say("This search no longer exists."); return false; }
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
      failures = 0;
      // a page that is slow to make is asked for less often
      wait = Math.min(LONGEST_MS, Math.max(EVERY_MS, 10 * (performance.now() - started)));
      say("");
    } catch {
      failures += 1;
      wait = Math.min(LONGEST_MS, EVERY_MS * 2 ** failures);
      if (failures >= FAILURES) { say("The service does not answer. Reload the page to try again."); return false; }
      if (failures > 1) say(`The service does not answer; next try in ${Math.round(wait / 1000)} s.`);
    }
    return document.querySelector("[data-refresh]") !== null;
  }

  let timer = null, going = document.querySelector("[data-refresh]") !== null;
  async function turn() {
    timer = null;
    going = await refresh();
    if (going) timer = setTimeout(turn, wait);
  }
  if (going) timer = setTimeout(turn, wait);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !going || timer === null) return;
    clearTimeout(timer);
    turn();
  });
})();
