// What the plots share: colours of the style sheet, ranges, ticks and axes for uPlot.
"use strict";
const charts = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function padded(values, isLog, share) {
    const low = Math.min(...values), high = Math.max(...values);
    if (isLog) {
      const factor = (high / low) ** share;
      return [low / factor, high * factor];
    }
    const pad = (high - low) * share || Math.abs(high) * share || 1;
    return [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
  }

  function logTicks(low, high) {
    const wide = Math.log10(high / low) > 3.5 ? [1] : [1, 2, 5];
    const ticks = [];
    for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) {
      for (const m of wide) {
        const tick = Number(`${m}e${k}`);
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    }
    return ticks;
  }

  const plain = (v) => Math.abs(v) >= 1e6 ? `${Number((v / 1e6).toPrecision(4))}M`
    : Math.abs(v) >= 1e4 ? `${Number((v / 1e3).toPrecision(4))}k` : String(Number(v.toPrecision(6)));

  function axis(label, side, size) {
    const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif', grid = css("--grid");
    return {
      label, font, labelFont: font, stroke: css("--muted"), side, size, labelSize: 22, labelGap: 2,
      grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 },
    };
  }

  function onLog(axis) {
    axis.splits = (_, __, low, high) => logTicks(low, high);
    axis.filter = (_, splits) => splits; // uPlot would drop labels of a log axis by rules of its own
  }

  return { css, padded, plain, axis, onLog };
})();
