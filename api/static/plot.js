// Draws a search: trained trials, the front, its winner, error bars, and a rug of the scored candidates.
// uPlot keeps axes and scales; the marks are drawn here, because filled and hollow mean something.
"use strict";
(() => {
  const host = document.getElementById("plot");
  const legend = document.getElementById("legend");
  const LOG_RATIO = 20, NEAR_PX = 24, HEIGHT_PX = 420;
  let chart = null, data = null, active = null;

  const { css, padded, plain, axis } = charts;
  const log = (values) => values.length > 1 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > LOG_RATIO;

  // Accuracies crowd below 1: over a wide range their distance from 1 is drawn, on a log scale, upside down.
  function scales() {
    const xs = data.points.flatMap((p) => [Math.max(p.x - p.x_error, p.x / 2), p.x + p.x_error]).concat(data.rug);
    const least = Math.min(...data.points.map((p) => 1 - p.y).filter((e) => e > 0), 1);
    const floor = least / 2; // an accuracy of 1 has no logarithm
    const byError = log(data.points.map((p) => Math.max(1 - p.y, floor)));
    const yOf = byError ? (y) => Math.max(1 - y, floor) : (y) => y;
    // the error bars of the front are in view, so that noise does not look like a difference
    const ends = (p) => !p.front ? [p.y] : byError ? [p.y, p.y - p.y_error] : [p.y - p.y_error, Math.min(1, p.y + p.y_error)];
    const ys = data.points.flatMap(ends).map(yOf);
    const [low, high] = ys.length ? padded(ys, byError, 0.08) : [0, 1];
    return { xLog: log(xs), byError, yOf, xRange: padded(xs, log(xs), 0.06), yRange: [low, byError ? Math.min(high, 1) : high] };
  }

  function options(width, s) {
    const yLabel = s.byError ? `${data.y.label} (log scale of 1 − accuracy)` : data.y.label;
    const x = axis(data.x.label, 2, 34), y = axis(yLabel, 3, 52);
    x.values = (_, splits) => splits.map(plain);
    y.values = (_, splits) => splits.map((v) => s.byError ? String(Number((1 - v).toPrecision(6))) : plain(v));
    if (s.xLog) charts.onLog(x);
    if (s.byError) charts.onLog(y);
    return {
      width, height: HEIGHT_PX, padding: [12, 16, 0, 0], legend: { show: false },
      cursor: { show: false }, select: { show: false },
      scales: {
        x: { time: false, distr: s.xLog ? 3 : 1, range: () => s.xRange },
        y: { distr: s.byError ? 3 : 1, dir: s.byError ? -1 : 1, range: () => s.yRange },
      },
      axes: [x, y],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [(u) => marks(u, s)] },
    };
  }

  function marks(u, s) {
    const c = u.ctx, px = devicePixelRatio, { left, top, width, height } = u.bbox;
    const X = (v) => u.valToPos(v, "x", true), Y = (v) => u.valToPos(s.yOf(v), "y", true);
    const clampY = (v) => Math.min(top + height, Math.max(top, v));
    c.save();
    c.beginPath();
    c.rect(left, top, width, height);
    c.clip();
    rug(c, X, top + height, px);
    if (data.staircase) staircase(c, X, Y, px);
    const order = [...data.points].sort((a, b) => a.front - b.front || a.rung - b.rung);
    for (const p of order) if (p.front || p === active) errorBars(c, p, X, Y, clampY, s, px);
    for (const p of order) {
      p.px = X(p.x) / px;
      p.py = Y(p.y) / px;
      dot(c, p, X(p.x), Y(p.y), px);
    }
    const won = order.find((p) => p.winner);
    if (won) winnerLabel(c, X(won.x), Y(won.y), left + width, px);
    c.restore();
  }

  function rug(c, X, bottom, px) {
    c.strokeStyle = css("--rug");
    c.lineWidth = px;
    c.beginPath();
    for (const v of data.rug) {
      c.moveTo(X(v), bottom);
      c.lineTo(X(v), bottom - 9 * px);
    }
    c.stroke();
  }

  function staircase(c, X, Y, px) {
    const steps = data.points.filter((p) => p.front).sort((a, b) => a.x - b.x);
    if (!steps.length) return;
    c.strokeStyle = css("--last");
    c.lineWidth = 1.5 * px;
    c.beginPath();
    steps.forEach((p, i) => {
      if (i) c.lineTo(X(p.x), Y(steps[i - 1].y));
      c[i ? "lineTo" : "moveTo"](X(p.x), Y(p.y));
    });
    c.stroke();
  }

  function errorBars(c, p, X, Y, clampY, s, px) {
    c.strokeStyle = colour(p);
    c.globalAlpha = 0.45;
    c.lineWidth = px;
    c.beginPath();
    if (p.x_error) {
      c.moveTo(X(s.xLog ? Math.max(p.x - p.x_error, p.x / 10) : p.x - p.x_error), Y(p.y));
      c.lineTo(X(p.x + p.x_error), Y(p.y));
    }
    if (p.y_error) {
      c.moveTo(X(p.x), clampY(Y(p.y - p.y_error)));
      c.lineTo(X(p.x), clampY(Y(Math.min(1, p.y + p.y_error))));
    }
    c.stroke();
    c.globalAlpha = 1;
  }

  const after = (rung) => {
    const { epochs } = data.rungs[rung - 1];
    return `${epochs} epoch${epochs === 1 ? "" : "s"}`;
  };
  const isLast = (p) => p.rung === data.rungs.length;
  const colour = (p) => css(p.winner ? "--winner" : isLast(p) ? "--last" : "--early");
  const radius = (p) => p.winner ? 6 : p.front ? 5 : isLast(p) ? 4 : 3.5;

  function dot(c, p, x, y, px) {
    c.beginPath();
    c.arc(x, y, radius(p) * px, 0, 2 * Math.PI);
    c.lineWidth = 1.6 * px;
    c.fillStyle = p.measured ? colour(p) : css("--panel");
    c.strokeStyle = p.measured ? css("--panel") : colour(p);
    c.globalAlpha = isLast(p) && !p.front && hasFront() ? 0.55 : 1;
    c.fill();
    c.stroke();
    c.globalAlpha = 1;
    if (p === active) {
      c.beginPath();
      c.arc(x, y, (radius(p) + 4) * px, 0, 2 * Math.PI);
      c.strokeStyle = css("--text");
      c.stroke();
    }
  }

  const hasFront = () => data.points.some((p) => p.front);

  function winnerLabel(c, x, y, right, px) {
    c.font = `600 ${12 * px}px system-ui, sans-serif`;
    c.fillStyle = css("--winner");
    const wide = c.measureText("winner").width + 11 * px;
    c.textAlign = x + wide > right ? "right" : "left";
    c.fillText("winner", x + (x + wide > right ? -11 : 11) * px, y - 8 * px);
  }

  // The legend names only what is on the plot.
  function writeLegend() {
    const last = data.rungs.length;
    const entries = [];
    for (const { rung } of data.rungs) {
      const at = data.points.filter((p) => p.rung === rung);
      if (!at.length) continue;
      const kind = rung === last ? "last" : "early";
      const kinds = data.x.device ? [[true, "measured"], [false, data.x.estimate]] : [[true, ""]];
      for (const [measured, word] of kinds) {
        if (!at.some((p) => p.measured === measured)) continue;
        const text = `${after(rung)}${word ? `, ${data.x.title} ${word}` : ""}`;
        entries.push([`key ${kind}${measured ? "" : " hollow"}`, text]);
      }
    }
    if (hasFront() && data.staircase) entries.push(["key line", "Pareto front"]);
    if (data.rug.length) entries.push(["key tick", `${data.scored.toLocaleString("en")} scored candidates at their ${data.x.device ? `${data.x.estimate} ` : ""}${data.x.title}`]);
    legend.replaceChildren(...entries.map(([kind, text]) => {
      const item = document.createElement("li"), mark = document.createElement("span");
      mark.className = kind;
      item.append(mark, text);
      return item;
    }));
  }

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;

  function activate(point) {
    if (point === active) return;
    active = point;
    for (const row of document.querySelectorAll("tr[data-trial]")) {
      row.classList.toggle("active", point !== null && row.dataset.trial === point.id);
    }
    tip.hidden = point === null;
    if (point) {
      const title = document.createElement("b");
      title.textContent = `${point.id} · ${after(point.rung)}`;
      tip.replaceChildren(title, ...point.text.map((line) => {
        const row = document.createElement("div");
        row.textContent = line;
        return row;
      }));
      const flip = point.px > host.clientWidth - 260;
      tip.style.left = `${flip ? point.px - 14 - tip.offsetWidth : point.px + 14}px`;
      tip.style.top = `${Math.max(0, point.py - tip.offsetHeight - 8)}px`;
    }
    if (chart) chart.redraw(false);
  }

  function nearest(event) {
    const box = host.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = null, least = NEAR_PX;
    for (const p of data.points) {
      const distance = Math.hypot(p.px - x, p.py - y);
      if (distance < least) [best, least] = [p, distance];
    }
    return best;
  }

  function draw() {
    data = JSON.parse(document.getElementById("plot-data").textContent);
    active = null;
    tip.hidden = true;
    if (chart) chart.destroy();
    chart = null;
    legend.replaceChildren();
    host.replaceChildren();
    if (data.points.length || data.rug.length) {
      const s = scales();
      chart = new uPlot(options(host.clientWidth, s), [s.xRange, s.yRange], host);
      host.append(tip);
      writeLegend();
    }
    if (!data.points.length) {
      const empty = document.createElement("p");
      empty.className = "note";
      empty.textContent = document.querySelector("[data-refresh]")
        ? "Points appear as trials complete their first rung of training." : "No trial was trained.";
      host.append(empty);
    }
  }

  host.addEventListener("pointermove", (event) => { if (chart) activate(nearest(event)); });
  host.addEventListener("pointerleave", () => activate(null));
  document.addEventListener("pointerover", (event) => {
    if (!chart || host.contains(event.target)) return;
    const row = event.target.closest("tr[data-trial]");
    activate(row ? data.points.find((p) => p.id === row.dataset.trial) ?? null : null);
  });
  document.addEventListener("live", (event) => { if (event.detail === "plot-data") draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => {
    if (chart && chart.width !== host.clientWidth) chart.setSize({ width: host.clientWidth, height: HEIGHT_PX });
  }).observe(host);
  draw();
})();
