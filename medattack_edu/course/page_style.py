"""How the pages of a run look: a style sheet and a script, in the package as text so that they need no data files."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d0d7de; --soft: #f4f6f8; --link: #0b5cad;
  --red: #b3261e; --green: #00704f; --yellow: #7a5200; --blue: #005a8f; --cyan: #006b75; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --paper: #14171a; --line: #3a424b; --soft: #1f2429; --link: #7ab8ff;
    --red: #ff8a80; --green: #35c79a; --yellow: #f0b54c; --blue: #6cb8ee; --cyan: #4fd0e0; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.05rem/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
p code, li code, td code, summary code { overflow-wrap: anywhere; }
a { color: var(--link); }
h1, h2, h3 { line-height: 1.25; }
.anchor-link { display: none; }
pre, code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.92rem; }
pre { overflow-x: auto; margin: 0.4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.input_area { background: var(--soft); border-left: 0.2rem solid var(--line); }
.input_area { padding: 0.3rem 0.8rem; overflow-x: auto; }
.input_area pre { white-space: pre; }
.cell { margin: 0.8rem 0; }
.cell:target { outline: 0.2rem solid #d55e00; outline-offset: 0.3rem; }
.output_area { overflow-x: auto; margin: 0.4rem 0; }
.output_area img, .output_area svg { max-width: 100%; height: auto; }
.output_area img, tr.strip img { background: #ffffff; }
.output_stderr { border-left: 0.2rem solid var(--red); padding-left: 0.6rem; }
.math { display: block; overflow-x: auto; overflow-y: hidden; }
table { border-collapse: collapse; }
th, td { padding: 0.35rem 0.8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.wide { overflow-x: auto; }
.stopped { border: 0.2rem solid; padding: 0 1rem 0.5rem; margin: 1rem 0; }
table.run { width: 100%; font-size: 1.1rem; }
table.run td { white-space: nowrap; font-variant-numeric: tabular-nums; }
table.run tbody tr:has(+ tr.strip) > * { border-bottom: none; }
table.run .error { font-weight: normal; font-size: 0.9rem; overflow-wrap: anywhere; }
tr.strip a { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; }
tr.strip img { max-height: 9rem; max-width: 100%; border: 1px solid var(--line); }
.ansi-bold { font-weight: bold; }
.ansi-red-fg, .ansi-red-intense-fg { color: var(--red); }
.ansi-green-fg, .ansi-green-intense-fg { color: var(--green); }
.ansi-yellow-fg, .ansi-yellow-intense-fg { color: var(--yellow); }
.ansi-blue-fg, .ansi-blue-intense-fg { color: var(--blue); }
.ansi-cyan-fg, .ansi-cyan-intense-fg { color: var(--cyan); }
@media (max-width: 40rem) {
  table.run thead { display: none; }
  table.run tr, table.run th, table.run td { display: block; border-bottom: none; padding: 0.1rem 0; }
  table.run tr { padding: 0.6rem 0 0; }
  table.run td[data-name]::before { content: attr(data-name) ": "; opacity: 0.75; }
  table.run tr.strip { border-bottom: 1px solid var(--line); padding-bottom: 0.6rem; }
  table.run td[colspan] { white-space: normal; }
}
"""

# A region that scrolls must be reachable with the keyboard; one that fits must not be a stop on the way.
SCRIPT = """
function reachScrollingRegions() {
  const kinds = "pre, .shown, .math, .figure, .table-wrapper, .wide, .input_area, .output_area";
  for (const box of document.querySelectorAll(kinds)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", reachScrollingRegions);
addEventListener("resize", reachScrollingRegions);
"""
