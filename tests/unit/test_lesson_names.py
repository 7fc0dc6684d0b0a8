"""What a lesson imports from the course keeps its name to the lesson's end, where an instructor's edit may still call it."""

import ast
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[2] / "solutions").glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_variable_takes_the_name_of_what_was_imported_from_the_course(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("medattack_edu")
        for alias in node.names
    }
    everywhere = [node for top in tree.body for node in _outside_functions(top)]
    assigned = {node.id for node in everywhere if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert imported and not imported & assigned


def _outside_functions(node):
    """The nodes of a statement whose names are the notebook's own."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    for child in ast.iter_child_nodes(node):
        yield from _outside_functions(child)
