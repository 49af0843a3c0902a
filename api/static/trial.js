// Draws a network on a device: each layer under the roofline, and as a bar of the waterline.
// A layer is the same one in both plots and in the table: pointing at one marks all three.
"use strict";
(() => {
  const source = document.getElementById("estimate-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const { css, padded, plain, axis, onLog } = charts;
  const HEIGHT_PX = 340, NEAR_PX = 24, LEAST_PX = 2.5;
  const percent = (v) => `${Number((100 * v).toPrecision(3))}%`;
  const rate = (v) => v >= 1e12 ? `${Number((v / 1e12).toPrecision(4))}T`
    : v >= 1e9 ? `${Number((v / 1e9).toPrecision(4))}G` : plain(v);
  const colour = (layer) => css(layer.bound === "compute" ? "--last" : "--winner");
  let active = null;

  function plot(host, options, marks, find) {
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    host.replaceChildren();
    const [xs, ys] = [options.scales.x.range(), options.scales.y.range()];
    const chart = new uPlot({
      width: host.clientWidth, height: HEIGHT_PX, padding: [12, 16, 0, 0], legend: { show: false },
      cursor: { show: false }, select: { show: false }, series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [(u) => clipped(u, marks)] }, ...options,
    }, [xs, ys], host);
    host.append(tip);
    host.onpointermove = (event) => {
      const box = host.getBoundingClientRect();
      activate(find(chart, event.clientX - box.left, event.clientY - box.top));
    };
    host.onpointerleave = () => activate(null);
    new ResizeObserver(() => {
      if (chart.width !== host.clientWidth) chart.setSize({ width: host.clientWidth, height: HEIGHT_PX });
    }).observe(host);
    return { chart, tip, host };
  }

  function clipped(u, marks) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    marks(u, u.ctx, (v) => u.valToPos(v, "x", true), (v) => u.valToPos(v, "y", true), devicePixelRatio);
    u.ctx.restore();
  }

  // Roofline: MACs a second against MACs per byte, both on log scales; a dot's area is its share of the time.
  const computing = data.layers.filter((layer) => layer.macs > 0);
  const radius = (layer) => Math.max(LEAST_PX, 40 * Math.sqrt(layer.share / Math.PI));
  function roofline(host) {
    const { peak, bytes, ridge } = data.roof;
    const xRange = padded([...computing.map((layer) => layer.intensity), ridge], true, 0.12);
    const yRange = padded([...computing.map((layer) => layer.macs_per_s), peak], true, 0.1);
    const x = axis("MACs per byte", 2, 34), y = axis("MACs per second", 3, 52);
    x.values = (_, splits) => splits.map(plain);
    y.values = (_, splits) => splits.map(rate);
    for (const each of [x, y]) onLog(each);
    const scales = { x: { time: false, distr: 3, range: () => xRange }, y: { distr: 3, range: () => yRange } };
    const draw = (u, c, X, Y, px) => {
      c.strokeStyle = css("--text");
      c.lineWidth = 1.5 * px;
      c.beginPath();
      c.moveTo(X(xRange[0]), Y(xRange[0] * bytes));
      c.lineTo(X(ridge), Y(peak));
      c.lineTo(X(xRange[1]), Y(peak));
      c.stroke();
      for (const layer of [...computing].sort((a, b) => b.share - a.share)) {
        c.beginPath();
        c.arc(X(layer.intensity), Y(layer.macs_per_s), radius(layer) * px, 0, 2 * Math.PI);
        dab(c, layer, px);
      }
    };
    return plot(host, { scales, axes: [x, y] }, draw, (u, left, top) => {
      let best = null, least = NEAR_PX;
      for (const layer of computing) {
        const [x, y] = dot(u, layer);
        const distance = Math.max(0, Math.hypot(x - left, y - top) - radius(layer) / 2);
        if (distance < least) [best, least] = [layer, distance];
      }
      return best;
    });
  }
  const dot = (u, layer) => at(u, u.valToPos(layer.intensity, "x"), u.valToPos(layer.macs_per_s, "y"));
  const at = (u, x, y) => [x + u.over.offsetLeft, y + u.over.offsetTop];

  // Waterline: the layers as bars, most efficient first; the level is the network's own efficiency.
  function waterline(host) {
    const { layers, start, width, efficiency, level } = data.waterline;
    const highest = Math.max(...efficiency);
    const top = highest > 0.2 ? Math.max(1, highest) : highest; // far below the peak, the peak would hide the layers
    const x = axis("share of all operations", 2, 34), y = axis("share of the peak", 3, 52);
    for (const each of [x, y]) each.values = (_, splits) => splits.map(percent);
    const scales = { x: { time: false, range: () => [0, 1] }, y: { range: () => [0, 1.05 * top] } };
    const draw = (u, c, X, Y, px) => {
      layers.forEach((index, i) => {
        c.beginPath();
        c.rect(X(start[i]), Y(efficiency[i]), X(start[i] + width[i]) - X(start[i]), Y(0) - Y(efficiency[i]));
        dab(c, data.layers[index], px);
      });
      c.strokeStyle = css("--text");
      c.lineWidth = 1.5 * px;
      c.setLineDash([6 * px, 4 * px]);
      c.beginPath();
      c.moveTo(X(0), Y(level));
      c.lineTo(X(1), Y(level));
      c.stroke();
    };
    return plot(host, { scales, axes: [x, y] }, draw, (u, left, topPx) => {
      const share = u.posToVal(left - u.over.offsetLeft, "x");
      if (topPx > u.over.offsetTop + u.over.clientHeight) return null;
      const i = layers.findIndex((_, i) => share >= start[i] && share < start[i] + width[i]);
      return i < 0 ? null : data.layers[layers[i]];
    });
  }
  function bar(u, layer) {
    const i = data.waterline.layers.indexOf(layer.index);
    const { start, width, efficiency } = data.waterline;
    return at(u, u.valToPos(start[i] + width[i] / 2, "x"), u.valToPos(efficiency[i], "y"));
  }

  function dab(c, layer, px) {
    c.globalAlpha = layer === active ? 1 : 0.55;
    c.fillStyle = colour(layer);
    c.fill();
    c.globalAlpha = 1;
    c.lineWidth = (layer === active ? 2 : 0.75) * px;
    c.strokeStyle = css(layer === active ? "--text" : "--panel");
    c.stroke();
  }

  function activate(layer) {
    if (layer === active) return;
    active = layer;
    for (const row of document.querySelectorAll("tr[data-layer]")) {
      row.classList.toggle("active", layer !== null && Number(row.dataset.layer) === layer.index);
    }
    plots.forEach(({ chart, tip, host }, i) => {
      chart.redraw(false);
      tip.hidden = layer === null || !layer.macs;
      if (tip.hidden) return;
      const title = document.createElement("b");
      title.textContent = layer.name;
      tip.replaceChildren(title, ...layer.text.map((line) => {
        const row = document.createElement("div");
        row.textContent = line;
        return row;
      }));
      const [x, y] = [dot, bar][i](chart, layer);
      tip.style.left = `${x > host.clientWidth / 2 ? x - 12 - tip.offsetWidth : x + 12}px`;
      tip.style.top = `${Math.max(0, y - tip.offsetHeight - 8)}px`;
    });
  }

  let plots = [];
  function draw() {
    active = null;
    plots = computing.length
      ? [roofline(document.getElementById("roofline")), waterline(document.getElementById("waterline"))] : [];
  }
  document.addEventListener("pointerover", (event) => {
    const row = event.target.closest("tr[data-layer]");
    if (row) activate(data.layers[Number(row.dataset.layer)]);
    else if (!event.target.closest(".canvas")) activate(null);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
