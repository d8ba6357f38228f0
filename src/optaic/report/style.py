"""What the page looks like, and the script that shows values under the pointer: constants, so their digests are too."""

from __future__ import annotations

# Colours are those of Okabe and Ito (2008), which people with any common colour blindness tell apart; gains are blue
# and losses vermilion, never green and red.
STYLE = """
:root {
  color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #5c6570; --line: #e3e6ea; --c1: #0072b2;
  --c2: #d55e00; --c3: #009e73; --c4: #a8558a; --c5: #9a6a00; --quiet: #9aa3ad; --up: 0 114 178;
  --down: 213 94 0; --alert: #fdf3e7; --alert-line: #d55e00; --alert-ink: #7a3600;
}
@media (prefers-color-scheme:dark) {
  :root {
    --paper: #14171b; --ink: #e4e7ea; --soft: #98a1ab; --line: #2a3037; --c1: #56b4e9; --c2: #f0883e;
    --c3: #2fbf96; --c4: #cc79a7; --c5: #e6b422; --quiet: #747e89; --up: 86 180 233; --down: 240 136 62;
    --alert: #2a2018; --alert-line: #f0883e; --alert-ink: #f5c79c;
  }
}
* { box-sizing: border-box }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial,
    sans-serif;
  -webkit-text-size-adjust: 100%;
}
main { max-width: 1060px; margin: 0 auto; padding: 28px 28px 56px }
h1 {
  font-size: 28px; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 2px 0 4px;
  overflow-wrap: anywhere;
}
h2 {
  font-size: 18px; font-weight: 650; letter-spacing: -.005em; margin: 44px 0 12px; padding-top: 14px;
  border-top: 1px solid var(--line);
}
h3 { font-size: 14px; font-weight: 600; margin: 0 }
p { margin: 0 }
.kind { color: var(--soft); font-size: 13px }
.facts { color: var(--soft); font-size: 13px; margin: 6px 0 0; overflow-wrap: anywhere }
.facts span+span::before { content: "·"; margin: 0 7px }
.facts code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace }
.chip {
  display: inline-block; border: 1px solid var(--line); border-radius: 99px; padding: 1px 10px;
  margin: 10px 6px 0 0; font-size: 12.5px; color: var(--soft);
}
.alert { background: var(--alert); color: var(--alert-ink); border-left: 3px solid var(--alert-line) }
.alert.first {
  padding: 11px max(28px, calc(50vw - 502px)); border-left: 0; border-bottom: 1px solid var(--alert-line);
  font-weight: 600;
}
ul.alert { margin: 20px 0 0; padding: 10px 16px 10px 32px; border-radius: 0 4px 4px 0; font-size: 14px }
ul.alert li+li { margin-top: 4px }
.lead { color: var(--soft); font-size: 13.5px; margin: -6px 0 14px; max-width: 46em }
dl.terms {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(300px,1fr)); gap: 0 36px; margin: 0;
  font-size: 14px;
}
dl.terms div { display: flex; gap: 6px; padding: 5px 0; border-bottom: 1px solid var(--line) }
dl.terms dt { color: var(--soft); white-space: nowrap }
dl.terms dd { margin: 0 0 0 auto; text-align: right; overflow-wrap: anywhere }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px,1fr)); gap: 18px 28px;
  margin: 22px 0 30px;
}
.tile b {
  display: block; font-size: 27px; font-weight: 600; line-height: 1.25; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums;
}
.tile span { color: var(--soft); font-size: 13px }
.tile small { display: block; color: var(--soft); font-size: 12.5px }
.groups { columns: 300px; column-gap: 36px }
.groups section { break-inside: avoid; margin-bottom: 22px }
.groups h3 { margin-bottom: 4px }
.wide { overflow-x: auto }
table {
  border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums lining-nums;
}
th { font-weight: 500; text-align: left; color: var(--soft) }
thead th { border-bottom: 1px solid var(--ink); font-size: 12.5px; padding: 4px 7px; white-space: nowrap }
tbody th, td { vertical-align: top; padding: 4px 7px; border-bottom: 1px solid var(--line) }
th:first-child { padding-left: 0 }
td:last-child, thead th:last-child { padding-right: 0 }
.number { text-align: right; white-space: nowrap }
td small, dd small { display: block; color: var(--soft); font-size: 12px; white-space: normal }
.months td, .months thead th { text-align: right; padding: 3px 6px }
.months tbody th { position: sticky; left: 0; background: var(--paper); padding-right: 10px }
.months td { border-bottom: 1px solid var(--paper); border-right: 1px solid var(--paper) }
.months td.total { font-weight: 600; padding-left: 14px }
.u1 { background: rgb(var(--up)/.08) }
.u2 { background: rgb(var(--up)/.17) }
.u3 { background: rgb(var(--up)/.27) }
.u4 { background: rgb(var(--up)/.38) }
.u5 { background: rgb(var(--up)/.5) }
.d1 { background: rgb(var(--down)/.08) }
.d2 { background: rgb(var(--down)/.17) }
.d3 { background: rgb(var(--down)/.27) }
.d4 { background: rgb(var(--down)/.38) }
.d5 { background: rgb(var(--down)/.5) }
figure { margin: 0 0 34px; min-width: 0 }
figcaption { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 18px; margin-bottom: 10px }
figcaption p { flex-basis: 100%; color: var(--soft); font-size: 12.5px }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 12.5px; color: var(--soft) }
.swatch {
  display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 6px;
  vertical-align: middle; background: var(--c1);
}
.swatch.c2 { background: var(--c2) }
.swatch.c3 { background: var(--c3) }
.swatch.c4 { background: var(--c4) }
.swatch.c5 { background: var(--c5) }
.swatch.quiet { background: var(--quiet) }
.swatch.band { height: 9px; background: var(--c1); opacity: .2 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%,400px),1fr)); gap: 0 44px }
.plot { position: relative; margin: 0 14px 28px 52px }
.plot.named { margin: 0 14px 10px 184px }
.plot svg { display: block; overflow: visible; pointer-events: none }
.plot svg.shapes { overflow: hidden }
.plot line { stroke-width: 1; shape-rendering: crispEdges }
.grid { stroke: var(--line) }
.base { stroke: var(--quiet) }
.tick { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums }
.end { text-anchor: end }
.middle { text-anchor: middle }
.series {
  fill: none; stroke: var(--c1); stroke-width: 1.4; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke;
}
.series.c2 { stroke: var(--c2) }
.series.c3 { stroke: var(--c3) }
.series.c4 { stroke: var(--c4) }
.series.c5 { stroke: var(--c5) }
.series.quiet { stroke: var(--quiet); stroke-width: 1.1 }
.series.loss { stroke: var(--c2); stroke-width: .9 }
.area { fill: var(--c2); opacity: .22 }
.series.column { stroke-linecap: butt; stroke-width: 1.5 }
.band { fill: var(--c1); opacity: .16 }
.bar { fill: var(--c1) }
.bar.below { fill: var(--c2) }
.cross { position: absolute; top: 0; width: 1px; background: var(--soft); opacity: .5; pointer-events: none }
.tip {
  position: absolute; top: 4px; background: var(--paper); border: 1px solid var(--line); border-radius: 4px;
  padding: 3px 9px; font-size: 12.5px; line-height: 1.45; white-space: nowrap; pointer-events: none;
  font-variant-numeric: tabular-nums;
}
.empty { color: var(--soft); font-size: 13.5px }
footer {
  margin-top: 44px; padding-top: 12px; border-top: 1px solid var(--line); color: var(--soft); font-size: 12.5px;
}
@media (max-width:640px) {
  main { padding: 18px 16px 40px }
  h1 { font-size: 23px }
  .alert.first { padding: 10px 16px }
  .tiles { grid-template-columns: 1fr 1fr; gap: 14px 20px }
  .tile b { font-size: 22px }
  h2 { margin-top: 34px }
  dl.terms { grid-template-columns: 1fr }
  .plot { margin-right: 8px }
}
@media print {
  @page { margin: 14mm }
  :root {
    color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #ddd; --c1: #0072b2; --c2: #d55e00;
    --c3: #009e73; --c4: #a8558a; --c5: #9a6a00; --quiet: #888; --up: 0 114 178; --down: 213 94 0;
    --alert: #fff; --alert-line: #d55e00; --alert-ink: #000;
  }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact }
  body { font-size: 11px }
  main { max-width: none; padding: 10px 0 0 }
  figure, tr, .tiles, .groups section { break-inside: avoid }
  h2 { break-after: avoid }
  .alert.first { padding: 8px 0 }
  .wide { overflow: visible }
}
"""

# The page is complete without it: it adds the values under the pointer, read back from the drawn paths.
SCRIPT = """
"use strict";
for (const plot of document.querySelectorAll(".plot[data-span]")) {
  const { first, span, low, high, log, unit } = plot.dataset;
  const write = (value) => {
    if (unit === "fraction") return (100 * value).toFixed(1).replace("-", "\\u2212") + "%";
    const digits = Math.abs(value) >= 1000 ? { maximumSignificantDigits: 5 } : { maximumFractionDigits: 2 };
    return value.toLocaleString("en", digits).replace("-", "\\u2212");
  };
  const date = (day) => new Date((+first + day) * 864e5).toISOString().slice(0, 10);
  let lines = null;
  const cross = plot.appendChild(document.createElement("div"));
  const tip = plot.appendChild(document.createElement("div"));
  cross.className = "cross"; tip.className = "tip"; cross.hidden = tip.hidden = true;
  const read = (path) => Array.from(path.getAttribute("d").matchAll(/[ML](\\d+) ([\\d.e-]+)/g), (m) => [+m[1], +m[2]]);
  plot.addEventListener("pointerleave", () => { cross.hidden = tip.hidden = true; });
  plot.addEventListener("pointermove", (event) => {
    lines ??= Array.from(plot.querySelectorAll("path[data-label]"), (path) => [path.dataset.label, read(path)]);
    const box = plot.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * span;
    const near = lines.filter(([, points]) => points.length).map(([label, points]) => [
      label, points.reduce((best, point) => Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best)]);
    if (!near.length) return;
    const days = near.map(([, point]) => point[0]);
    const day = days.reduce((best, one) => Math.abs(one - at) < Math.abs(best - at) ? one : best);
    tip.replaceChildren();
    tip.append(date(day));
    for (const [label, [its, y]] of near) {
      const scaled = +low + (1 - y / 1000) * (high - low);
      const when = its === day ? "" : " on " + date(its);
      tip.append(document.createElement("br"), label + "  " + write(log ? Math.exp(scaled) : scaled) + when);
    }
    const x = day / span * box.width;
    cross.hidden = tip.hidden = false;
    cross.style.left = x + "px";
    cross.style.height = plot.querySelector("svg").getAttribute("height") + "px";
    tip.style.left = x > box.width / 2 ? "auto" : x + 10 + "px";
    tip.style.right = x > box.width / 2 ? box.width - x + 10 + "px" : "auto";
  });
}
"""
