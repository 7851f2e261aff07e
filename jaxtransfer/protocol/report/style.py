"""The page's style sheet: system fonts, one accent colour and one for test figures, light and dark.

The colour names are those that `drawing.py` puts into figures.
"""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f7f6f3; --surface: #ffffff; --ink: #1c2227; --muted: #5c666e; --line: #e3e1db;
    --band: #eef4f4;
  --accent: #12707a; --second: #b8562a; --accent-rgb: 18,112,122; --second-rgb: 184,86,42;
  --deepest: .6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121518; --surface: #1a1e22; --ink: #e4e7e9; --muted: #9aa4ac; --line: #2e353b;
      --band: #1d292c;
    --accent: #5cbcc6; --second: #e39a6c; --accent-rgb: 92,188,198; --second-rgb: 227,154,108;
    --deepest: .36;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer, nav { max-width: 1160px; margin: 0 auto; padding: 0 32px; }
header { padding-top: 56px; padding-bottom: 8px; }
h1, h2, h3 { line-height: 1.2; letter-spacing: -.012em; margin: 0; font-weight: 650;
  text-wrap: balance; }
h1 { font-size: clamp(34px, 5vw, 50px); letter-spacing: -.022em; overflow-wrap: anywhere; }
h2 { font-size: 23px; margin-bottom: 6px; }
h3 { font-size: 15px; }
p { margin: 0; }
p, li, summary { overflow-wrap: break-word; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 3px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.eyebrow { color: var(--muted); font-size: 14px; margin-bottom: 26px; }
.eyebrow b { color: var(--ink); font-weight: 600; }
.chosen { color: var(--accent); font-size: 14px; font-weight: 600; margin-bottom: 2px; }
.lead { font-size: clamp(18px, 2.2vw, 21px); line-height: 1.45; max-width: 46em; margin-top: 16px;
  text-wrap: pretty; }
.more { max-width: 52em; margin-top: 12px; color: var(--muted); }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 1px;
    margin: 34px 0 0; padding: 0;
  background: var(--line); border: 1px solid var(--line); border-radius: 12px; overflow: hidden;
}
.tiles > div { background: var(--surface); padding: 16px 20px 15px; }
.tiles dt { color: var(--muted); font-size: 13.5px; }
.tiles dd { margin: 0; font-size: 27px; font-weight: 600; letter-spacing: -.015em;
  line-height: 1.3; }
.tiles dd small { display: block; font-size: 13.5px; font-weight: 400; letter-spacing: 0;
  color: var(--muted); }
nav { padding-top: 22px; padding-bottom: 4px; font-size: 14.5px; display: flex; flex-wrap: wrap;
  gap: 4px 20px; }
nav a { color: var(--muted); text-decoration: none; padding: 2px 0; }
nav a:hover { color: var(--accent); text-decoration: underline; }
section { padding: 40px 0 0; }
section > p { color: var(--muted); max-width: 52em; margin-bottom: 18px; text-wrap: pretty; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 12px;
  padding: 22px 24px; margin-top: 16px; }
.card > h3 + * { margin-top: 14px; }
.card.flush { padding: 0; overflow: hidden; }
.pair, .stack { display: grid; gap: 16px; margin-top: 16px; }
.pair { grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
.pair > .card, .stack > .card { margin-top: 0; min-width: 0; }
.stack figure { max-width: 560px; }
.hidden {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
    white-space: nowrap;
}
.scroll { position: relative; overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 11px 14px; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-weight: 500; font-size: 13px; vertical-align: bottom;
  white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { font-weight: 550; }
th:first-child { padding-left: 24px; } td:last-child, th:last-child { padding-right: 24px; }
.number { text-align: right; white-space: nowrap; }
td .reason { white-space: normal; min-width: 110px; max-width: 170px; margin-left: auto; }
td small { display: block; color: var(--muted); font-size: 12.5px; }
.card:not(.flush) table:not(.matrix) :is(th, td):first-child { padding-left: 0; }
.card:not(.flush) table:not(.matrix) :is(th, td):last-child { padding-right: 0; }
tr.marked > * { background: var(--band); }
tr.marked th { color: var(--accent); font-weight: 650; }
.ladder tbody th, .wide tbody th { position: sticky; left: 0; background: var(--surface);
  z-index: 1; }
.ladder tr.marked th, .wide tr.marked th { background: var(--band); }
.ladder thead th { white-space: normal; }
.ladder tbody th, .wide tbody th { min-width: 152px; }
td.quiet, td.clear { white-space: nowrap; }
.ladder th, .ladder td { padding-left: 11px; padding-right: 11px; }
.ladder th:first-child { padding-left: 24px; }
.ladder td:last-child { min-width: 270px; color: var(--muted); font-size: 13.5px;
  line-height: 1.45; }
.pill {
  display: inline-block; border-radius: 99px; padding: 0 9px; font-size: 12.5px; font-weight: 600;
    line-height: 20px;
  border: 1px solid var(--line); color: var(--muted); margin: 0 8px 3px 0; white-space: nowrap;
}
.pill.accepted { border-color: var(--accent); color: var(--accent); }
.pill.chosen { background: var(--accent); border-color: var(--accent); color: var(--surface);
  margin-right: 8px; }
.glyph { position: relative; display: inline-block; width: 150px; height: 16px;
  vertical-align: -3px; }
.glyph i { position: absolute; top: 7px; height: 2px; background: var(--muted);
  border-radius: 1px; }
.glyph i.zero { top: -4px; width: 1px; height: 24px; background: var(--muted); opacity: .45; }
td.quiet { color: var(--muted); } td.clear { color: var(--accent); font-weight: 600; }
.glyph b { position: absolute; top: 4px; width: 8px; height: 8px; margin-left: -4px;
  border-radius: 50%; background: var(--muted); }
.glyph.clear i:not(.zero), .glyph.clear b { background: var(--accent); }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; margin: 0 auto; overflow: visible; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { paint-order: stroke; stroke: var(--surface); stroke-width: 3px; stroke-linejoin: round;
  font-family: -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
figcaption { color: var(--muted); font-size: 13.5px; line-height: 1.5; margin-top: 14px;
  max-width: 62em; text-wrap: pretty; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13.5px; color: var(--muted);
  margin-bottom: 14px; }
.keys span { display: inline-flex; align-items: center; gap: 8px; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 50%;
  background: var(--accent); flex: none; }
.key.test { background: var(--second); border-radius: 1px; transform: rotate(45deg) scale(.85); }
.key.neutral { background: var(--muted); }
.key.open { background: none; border: 2px solid var(--muted); }
.key.margin { width: 18px; height: 0; border-top: 2px dashed var(--muted); border-radius: 0;
  background: none; }
.narrow { display: none; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr));
  gap: 26px 28px; }
.curves h3 { margin-bottom: 8px; }
.matrix { width: auto; min-width: 100%; }
.matrix td { text-align: center; padding: 13px 6px; border: 2px solid var(--surface);
  border-radius: 6px; min-width: 54px; }
.matrix tbody th, .matrix thead th:first-child { position: sticky; left: 0;
  background: var(--surface); }
.matrix thead th { text-align: center; white-space: nowrap; padding: 6px; border: 0; }
.matrix tbody th { font-weight: 500; border: 0; padding: 13px 12px 13px 0; vertical-align: middle;
  white-space: nowrap; color: var(--muted); }
.matrix th:first-child { padding-left: 0; text-align: left; }
.matrix td:last-child, .matrix th:last-child { padding-right: 6px; }
.matrix .right { background: rgba(var(--accent-rgb), calc(.06 + .42 * var(--share))); }
.matrix .wrong { background: rgba(var(--second-rgb), calc(.05 + 1.1 * var(--share))); }
.matrix small { color: inherit; opacity: .75; white-space: nowrap; }
.matrix .none { color: var(--muted); }
.heatmap .loss { background: rgba(var(--second-rgb), calc(.05 + var(--deepest) * var(--share))); }
.heatmap .gain { background: rgba(var(--accent-rgb), calc(.05 + .5 * var(--share))); }
.heatmap td.mean { background: var(--page); }
.heatmap td b { margin-left: 2px; }
.heatmap td.number { text-align: right; }
.heatmap td.wide-only { vertical-align: middle; }
.four { grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr)); }
.findings { margin: 0; padding-left: 20px; max-width: 60em; }
.findings li { margin: 0 0 8px; text-wrap: pretty; }
.findings li:last-child { margin-bottom: 0; }
.note { color: var(--muted); font-size: 13.5px; margin-top: 10px; max-width: 62em; }
.scroll + .scroll { margin-top: 22px; }
.more-rows { margin-top: 14px; font-size: 14.5px; }
.more-rows > summary { color: var(--accent); }
.more-rows > .scroll { margin-top: 8px; }
td small.clear { color: var(--accent); }
th small { display: block; color: var(--muted); font-weight: 400; font-size: 12.5px; }
.heatmap small { opacity: 1; }
.heatmap small.reason { white-space: normal; opacity: 1; color: var(--muted); }
.heatmap thead th.number { text-align: right; }
.example .pill { margin-top: 5px; white-space: normal; border-radius: 12px; }
.second td, .standing { min-width: 120px; }
.id { overflow-wrap: anywhere; min-width: 165px; }
.more-rows + .scroll { margin-top: 22px; }
.seesaw { display: grid; grid-template-columns: 1fr 1fr; position: relative; width: 160px;
  height: 16px; margin: 3px auto 0; }
.seesaw i { position: absolute; top: 3px; height: 10px; border-radius: 2px; }
.seesaw .lost { right: 50%; background: var(--second); }
.seesaw .won { left: 50%; background: var(--accent); }
.middle { text-align: center; }
.key.line { width: 18px; height: 2px; border-radius: 1px; background: var(--muted); }
.figures { display: flex; flex-wrap: wrap; gap: 4px 28px; margin-bottom: 14px; }
.figures b { font-size: 21px; font-weight: 600; display: block; line-height: 1.25; }
.figures span { font-size: 13.5px; color: var(--muted); }
.examples { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); align-items: start;
  margin-top: 16px; }
.examples.pictures { grid-template-columns: repeat(auto-fill, minmax(min(100%, 205px), 1fr)); }
.example img.small { image-rendering: pixelated; }
.example { background: var(--surface); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px 18px; min-width: 0; overflow-wrap: anywhere; }
.example h3 { font-size: 15px; font-weight: 600; }
.example h3 em { font-style: normal; color: var(--second); }
.example .facts { font-size: 13px; color: var(--muted); margin: 2px 0 10px;
  overflow-wrap: anywhere; }
.example .text, .example details { font-size: 14px; line-height: 1.5; overflow-wrap: anywhere;
  white-space: pre-line; }
.example img { display: block; max-width: 100%; width: 168px;
  border-radius: 6px; border: 1px solid var(--line); }
details > summary { cursor: pointer; }
.example summary { list-style: none; }
.example summary::-webkit-details-marker { display: none; }
.example summary::after { content: "Show all"; color: var(--accent); margin-left: 6px;
  white-space: nowrap; }
.example details[open] summary { color: var(--muted); font-size: 0; }
.example details[open] summary::after { content: "Show less"; font-size: 14px; margin: 0; }
.part { border-top: 1px solid var(--line); }
.part:first-child { border-top: 0; }
.part > summary { padding: 14px 24px; font-weight: 550; font-size: 15px; }
.part > summary:hover { color: var(--accent); }
.part > :not(summary) { margin: 0; }
.part > dl, .part > pre, .part > p { padding: 2px 24px 20px; }
dl { margin: 0; }
dl:not(.tiles) > div { display: grid; grid-template-columns: minmax(120px, 210px) 1fr; gap: 16px;
  padding: 5px 0; font-size: 14.5px; }
dl:not(.tiles) dt { color: var(--muted); }
dl:not(.tiles) dt::first-letter { text-transform: uppercase; }
dl:not(.tiles) dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
pre, code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas,
  "Liberation Mono", monospace; }
pre { margin: 0; overflow-x: auto; max-height: 460px; }
code { overflow-wrap: anywhere; }
footer { padding-top: 44px; padding-bottom: 56px; color: var(--muted); font-size: 13.5px; }
@media (max-width: 720px) {
  main, header, footer, nav { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 30px; }
  .eyebrow { margin-bottom: 18px; }
  section { padding-top: 34px; }
  .card:not(.flush) { padding: 18px 16px; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tiles > div { padding: 12px 14px; }
  .tiles dd { font-size: 22px; }
  .wide-only, .wide-figure { display: none !important; }
  .narrow { display: block !important; }
  th, td { padding: 10px 10px; }
  th:first-child { padding-left: 16px; } td:last-child, th:last-child { padding-right: 16px; }
  .matrix th:first-child { padding-left: 0; }
  .part > summary { padding: 13px 16px; }
  .part > dl, .part > pre, .part > p { padding: 2px 16px 18px; }
  dl:not(.tiles) > div { grid-template-columns: 1fr; gap: 0; padding: 6px 0; }
  .ladder tbody th, .wide tbody th { min-width: 96px; max-width: 128px; overflow-wrap: break-word; }
  .matrix td { padding: 10px 4px; min-width: 48px; }
  .ladder td:last-child { min-width: 250px; }
}
@media print {
  body { background: none; font-size: 12px; }
  nav { display: none; }
  section, .card, .example { break-inside: avoid; }
  .card.flush { overflow: visible; }
}
"""
