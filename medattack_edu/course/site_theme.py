"""How a site looks: the settings of Sphinx and its theme, the styles on top of it, mathematics as MathML, the footer.

This module is also the Sphinx extension that does what settings can't (`setup`). Styles, script and icon are texts in
the package, so that they need no data files. What stands on the pages comes from `site`.
"""

from medattack_edu import __version__
from medattack_edu.course import page_style
from medattack_edu.course.formulas import mathml

STYLE_FILE, SCRIPT_FILE, ICON_FILE = "medattack.css", "medattack.js", "medattack.svg"

STYLE = """
:root { --tone-good: #00704f; --tone-not-yet: #a84300; --tone-neutral: #005a8f; --failed: #b3261e; }
body[data-theme="dark"] { --tone-good: #35c79a; --tone-not-yet: #ff9b5c; --tone-neutral: #6cb8ee; --failed: #ff8a80; }
@media (prefers-color-scheme: dark) {
  body:not([data-theme="light"]) {
    --tone-good: #35c79a; --tone-not-yet: #ff9b5c; --tone-neutral: #6cb8ee; --failed: #ff8a80;
  }
}
div.highlight { background: var(--color-code-background) !important; }
.outputs { margin: 0.5rem 0 1.25rem; }
.outputs pre {
  margin: 0.4rem 0; padding: 0.5rem 0.8rem; overflow-x: auto; line-height: 1.45;
  font-size: var(--code-font-size); border-left: 0.2rem solid var(--color-background-border);
}
.outputs pre.stderr, .outputs pre.error { border-color: var(--failed); }
.outputs pre:not(.columns) { white-space: pre-wrap; overflow-wrap: anywhere; }
.outputs .shown { margin: 0.4rem 0; overflow-x: auto; }
.outputs .figure { display: block; margin: 0.6rem 0; overflow-x: auto; }
.outputs .figure img { display: block; max-width: 100%; height: auto; background: #ffffff; }
.outputs .still { margin: 0.2rem 0 0.8rem; font-size: 0.9rem; font-style: italic; color: var(--color-foreground-secondary); }
.outputs table { border-collapse: collapse; }
.outputs th, .outputs td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--color-background-border); text-align: left; }
table.docutils { margin-left: 0; }
.math { overflow-x: auto; overflow-y: hidden; }
.stopped { border: 0.2rem solid var(--failed); padding: 0 1rem; margin: 1rem 0; }
.stopped pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
ul.lessons { list-style: none; padding: 0; }
ul.lessons li { padding: 0.9rem 0; border-bottom: 1px solid var(--color-background-border); }
ul.lessons a { font-size: 1.15rem; font-weight: 600; }
ul.lessons .time { white-space: nowrap; margin-left: 0.6rem; color: var(--color-foreground-secondary); }
ul.lessons p { margin: 0.25rem 0 0; }
ul.lessons .failed { color: var(--failed); font-weight: 600; overflow-wrap: anywhere; }
/* Room for code, whose lines are long; prose stays as narrow as it is read best. */
.main { min-width: 0; }
.content { flex: 1 1 46em; width: auto; min-width: 0; max-width: 66em; box-sizing: border-box; }
.sidebar-drawer { width: max(15em, calc(50% - 33em)); }
#furo-main-content :is(section, li, blockquote) > :is(p, ul, ol, blockquote) { max-width: 46em; }
@media (max-width: 63em) { .sidebar-drawer { width: 15em; } }
/* On a phone a picture of several panels is read from left to right, and not with a magnifying glass. */
@media (max-width: 48em) { .outputs .broad img { max-width: none; width: 44rem; } }
.licence { font-size: 0.9rem; line-height: 1.5; margin: 1rem 0; color: var(--color-foreground-secondary); }
"""

NAMES = """
function nameLandmarks() {
  const names = { ".sidebar-drawer": "Lessons and search", ".toc-drawer": "On this page" };
  for (const [place, name] of Object.entries(names)) document.querySelector(place)?.setAttribute("aria-label", name);
}
addEventListener("DOMContentLoaded", nameLandmarks);
"""
SCRIPT = page_style.SCRIPT + NAMES

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<circle cx="16" cy="16" r="15" fill="#d55e00"/><circle cx="21" cy="14" r="4" fill="#ffe0b0"/>
<path d="M21 14C13 9 8 11 4 13M21 14C14 18 10 22 8 26" fill="none" stroke="#6b1f00" stroke-width="2"/></svg>
"""

FOOTER = """{% extends "!page.html" %}
{% block footer %}
{{ super() }}
<div class="licence">
<p>Words and pictures: <a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>, "medattack, by the medattack
authors". Code: MIT License. Images keep the licence that each lesson prints in its first lines.</p>
<p>This is teaching material. Attack only what is yours or what you are asked to test, and never what is in use. Nothing
here is a medical device, and none of its models says anything about anybody's health.</p>
</div>
{% endblock footer %}
"""


def settings(title):
    """The configuration that Sphinx builds the site with."""
    return {
        "project": title,
        "version": __version__,
        "release": __version__,
        "language": "en",
        "extensions": ["myst_parser", "medattack_edu.course.site_theme"],
        "myst_enable_extensions": ["dollarmath"],
        # What is Markdown in a notebook and something else in MyST.
        "myst_disable_syntax": ["myst_line_comment", "myst_block_break", "myst_target", "myst_role"],
        "myst_heading_anchors": 4,
        "smartquotes": False,
        "templates_path": ["_templates"],
        "html_theme": "furo",
        "html_title": title,
        "html_static_path": ["_assets"],
        "html_extra_path": ["_extra"],
        "html_css_files": [STYLE_FILE],
        "html_js_files": [SCRIPT_FILE],
        "html_favicon": f"_assets/{ICON_FILE}",
        "html_copy_source": False,
        "html_show_copyright": False,
        "html_use_index": False,
        "html_math_renderer": "mathml",
        "html_theme_options": {"light_css_variables": {"color-code-background": "#f4f6f8"}},
        "pygments_style": "a11y-high-contrast-light",
        "pygments_dark_style": "a11y-high-contrast-dark",
    }


def write_configuration(source, title):
    """Write conf.py and the theme's own files into the folder that Sphinx builds from."""
    files = {
        "conf.py": "".join(f"{name} = {value!r}\n" for name, value in settings(title).items()),
        f"_assets/{STYLE_FILE}": STYLE,
        f"_assets/{SCRIPT_FILE}": SCRIPT,
        f"_assets/{ICON_FILE}": ICON,
        "_templates/page.html": FOOTER,
    }
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text.lstrip("\n"), encoding="utf-8")


def setup(app):
    """Register the extension with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("doctree-read", _drop_empty_heads)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator, node):
    _formula(translator, node, "inline", "{}")


def _display(translator, node):
    _formula(translator, node, "block", '<div class="math">{}</div>')


def _formula(translator, node, display, frame):
    from docutils.nodes import SkipNode
    from sphinx.util import logging

    try:
        shown = mathml(node.astext(), display)
    except Exception as error:
        logging.getLogger(__name__).warning("no MathML for %r: %r", node.astext(), error, location=node)
        shown = f"<code>{translator.encode(node.astext())}</code>"
    translator.body.append(frame.format(shown))
    raise SkipNode


def _drop_empty_heads(app, doctree):
    """Markdown has no table without a head; one that is empty isn't shown."""
    from docutils import nodes

    for head in list(doctree.findall(nodes.thead)):
        if not head.astext().strip():
            head.parent.remove(head)
