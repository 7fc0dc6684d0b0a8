"""Parameters of a notebook: which it has, what type each takes, and how values are written on a command line.

Putting them into a notebook that is run is papermill's work, in `lesson_run`.
"""

import ast
import json
import re

TAG = "parameters"
FRACTION = re.compile(r"(-?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")
TAKES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Constant)
ANYTHING = object()  # the default of a parameter whose type can't be told without running the notebook


def read_setting(text):
    """``NAME=VALUE`` as a name and a value."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"-p takes NAME=VALUE, for example -p n=16; {text!r} came.")
    return name, read_value(value)


def read_sweep(settings):
    """``["eps=1/255,2/255", "clinic=fundus"]`` as ``{"eps": {"1/255": 0.0039, ...}, "clinic": {"fundus": "fundus"}}``.

    How a value was written is kept beside it: that is how a plot names it.
    """
    sweep = {}
    for setting in settings:
        name, equals, values = setting.partition("=")
        texts = [text.strip() for text in values.split(",")]
        if not equals or not name.isidentifier() or not all(texts):
            raise ValueError(f"--sweep takes NAME=VALUE,VALUE,... for example eps=1/255,2/255; {setting!r} came.")
        sweep.setdefault(name, {}).update((text, read_value(text)) for text in texts)
    return sweep


def read_value(text):
    """A number, a fraction (1/255), true, false, null, or what else JSON can say; else the text as it stands."""
    if fraction := FRACTION.fullmatch(text.strip()):
        above, below = map(float, fraction.groups())
        if below == 0:
            raise ValueError(f"{text} divides by zero. Write a fraction like 2/255.")
        return above / below
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def check_parameters(path, values):
    """See to it that a notebook takes these values.

    Args:
        path: the notebook.
        values: ``{name: value}``.

    Raises:
        ValueError: if it has no single cell tagged ``parameters``, doesn't know a name, or takes another type.
    """
    defaults = parameters_of(path)
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        known = ", ".join(sorted(defaults)) or "none"
        raise ValueError(f"{path.name} has no parameter {', '.join(unknown)}; it has {known}.")
    for name, value in values.items():
        if not _fits(value, defaults[name]):
            raise ValueError(f"{path.name}: {_expected(name, value, defaults[name])}")


def parameters_of(path):
    """``{name: default}`` of a notebook's parameters cell; `ANYTHING` where a default isn't plain values or arithmetic."""
    import nbformat

    tagged = [cell for cell in nbformat.read(path, as_version=4).cells if TAG in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path.name} has {len(tagged)} cells tagged {TAG}; it needs one to set values in.")
    try:
        statements = ast.parse(tagged[0].source).body
    except SyntaxError as error:
        raise ValueError(
            f"{path.name}: line {error.lineno} of its parameters cell isn't Python ({error.msg}). It takes lines like n = 16."
        ) from error
    return {name: _value(statement.value) for statement in statements for name in _names(statement)}


def _names(statement):
    """The names that a statement assigns a value to."""
    targets = {ast.Assign: lambda: statement.targets, ast.AnnAssign: lambda: [statement.target]}
    found = targets.get(type(statement), list)()
    return [target.id for target in found if isinstance(target, ast.Name) and statement.value is not None]


def _value(expression):
    """What an expression of the parameters cell stands for, without running what the cell could call."""
    try:
        return ast.literal_eval(expression)
    except ValueError:
        whole = ast.Expression(expression)
        if all(isinstance(node, ARITHMETIC) for node in ast.walk(whole)):
            return eval(compile(whole, TAG, "eval"), {"__builtins__": {}})  # numbers and operators alone, like 4 / 255
        return ANYTHING


def _fits(value, default):
    if default is ANYTHING or default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple))
    return isinstance(value, type(default))


def _expected(name, value, default):
    """In words: what a parameter takes, what came, and what to write where quotes are what is missing."""
    takes = TAKES.get(type(default), f"a {type(default).__name__}")
    said = (
        f"{name} takes {takes}, as in {name}={json.dumps(default, default=str)}; {json.dumps(value, default=str)} came."
    )
    if isinstance(default, str):
        said += f" To give it as text, write -p '{name}=\"{json.dumps(value)}\"'."
    return said
