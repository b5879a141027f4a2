"""The look of a report: one style sheet, light and dark, and fit for paper."""

STYLE = """
:root {
  --page: #fbfaf8; --sheet: #ffffff; --ink: #1d2129; --soft: #5c6470; --rule: #e3e1dc; --tint: #f3f1ec;
  --c0: #2f6fde; --c1: #d9730d; --c2: #0f8a6a; --c3: #8b4fd9; --c4: #b8356f; --large: #6b7280;
  --good: #0f7a4f; --poor: #b3261e; --warn: #9a5b00; color-scheme: light dark;
}
@media (prefers-color-scheme: dark) { :root {
  --page: #14161a; --sheet: #1b1e24; --ink: #e8eaee; --soft: #9aa3b0; --rule: #2f343d; --tint: #232730;
  --c0: #7aa7ff; --c1: #f5a35c; --c2: #4fd0a8; --c3: #bf95ff; --c4: #f285b5; --large: #a7afbb;
  --good: #5fd39c; --poor: #ff8b80; --warn: #f0b45a;
} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 40px 28px 56px; }
h1 { font-size: 27px; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 4px; }
h2 { font-size: 16px; margin: 0 0 2px; }
p { margin: 0; } .soft { color: var(--soft); } .caption { color: var(--soft); font-size: 13px; margin: 0 0 10px; }
.verdict { margin: 24px 0; padding: 16px 20px; background: var(--sheet); border: 1px solid var(--rule);
  border-left: 5px solid var(--soft); border-radius: 8px; font-size: 17px; }
.verdict.met { border-left-color: var(--good); } .verdict.missed { border-left-color: var(--poor); }
.verdict.reached { border-left-color: var(--warn); } .verdict.no_bar { border-left-color: var(--c0); }
.card { background: var(--sheet); border: 1px solid var(--rule); border-radius: 8px; padding: 18px 20px;
  margin: 0 0 20px; min-width: 0; }
.scroll { overflow-x: auto; }
.charts { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(400px, 100%), 1fr)); gap: 20px; margin: 0 0 20px; }
.charts .card { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--soft); font-size: 12px; vertical-align: bottom; }
th, td { padding: 7px 6px; border-bottom: 1px solid var(--rule); }
td { text-align: right; white-space: nowrap; } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
.words td { white-space: normal; vertical-align: top; } .words td.count { text-align: right; }
td small { color: var(--soft); font-size: 12px; } tr.taken td { background: var(--tint); font-weight: 600; }
tr.taken td small { font-weight: 400; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 8px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); margin: 0 0 6px; }
.quote { color: var(--soft); } .quote + .quote { margin-top: 3px; } .quote::before { content: "\\201C"; }
.quote::after { content: "\\201D"; }
ul { margin: 6px 0 0; padding-left: 20px; } li { margin: 3px 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 8px 0 0; font-size: 13.5px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.chart { width: 100%; height: auto; display: block; font-size: 12px; }
.chart text { fill: var(--soft); paint-order: stroke; stroke: var(--sheet); stroke-width: 4px; }
.chart .label { font-weight: 600; font-size: 13px; }
.chart .grid { stroke: var(--rule); stroke-width: 1; }
.chart .level { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 5 4; }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart .dot { stroke: var(--sheet); stroke-width: 1.5; } .chart .small { r: 3.5px; }
.chart .diagonal { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 5 4; }
.start { text-anchor: start; } .middle { text-anchor: middle; } .end { text-anchor: end; }
@media (max-width: 560px) { main { padding: 24px 14px 40px; } .card, .verdict { padding: 14px; } }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  :root { --page: #fff; --sheet: #fff; --ink: #000; --soft: #444; --rule: #ccc; --tint: #f0f0f0;
    --c0: #2f6fde; --c1: #d9730d; --c2: #0f8a6a; --c3: #8b4fd9; --c4: #b8356f; --large: #555; }
  main { max-width: none; padding: 0; } body { font-size: 12px; } table { font-size: 10.5px; }
  th { font-size: 9.5px; } td small, .caption, .legend, dl { font-size: 10px; } .scroll { overflow: visible; }
  h1 { font-size: 20px; } h2 { font-size: 13px; } .verdict { font-size: 13px; margin: 12px 0; padding: 10px 14px; }
  .card { padding: 10px 12px; margin-bottom: 12px; } th, td { padding: 3px 5px; }
  .charts { grid-template-columns: repeat(3, 1fr); gap: 12px; margin-bottom: 12px; }
  .charts .card:nth-child(4) { grid-column: 1 / -1; }
  .card, .verdict, tr { break-inside: avoid; } .dot, .column, .key, tr.taken td { print-color-adjust: exact; }
}
"""


def series_style(names: tuple[str, ...]) -> str:
    """Rules that give each class its colour, as line, point, words and key."""
    return "\n".join(
        f".line.{name} {{ stroke: var(--{name}); }} .dot.{name} {{ fill: var(--{name}); }} "
        f".column.{name} {{ fill: var(--{name}); }} "
        f".chart .text-{name} {{ fill: var(--{name}); }} .key.{name} {{ background: var(--{name}); }}"
        for name in names
    )
