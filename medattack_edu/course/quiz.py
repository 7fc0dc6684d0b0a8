"""Quiz questions at the end of a lesson: radio buttons in a live notebook, a question that unfolds everywhere else."""

import random

from medattack_edu.course.notices import GOOD, NOT_YET, in_kernel, rich, show
from medattack_edu.course.progress import record


def quiz(question, options, answer, why):
    """Ask a multiple-choice question and explain as soon as it is answered.

    Args:
        question: one sentence.
        options: two or more different answers. They are shown in an order of their own, always the same.
        answer: the right one, word for word as in `options`.
        why: the explanation, shown after any answer; or a dictionary with an explanation for each option.

    Raises:
        ValueError: if `answer` isn't among the options, options repeat, or one lacks its explanation.
    """
    options = random.Random(question).sample(list(options), len(options))  # else the right one is mostly the first
    reasons = dict(why) if isinstance(why, dict) else dict.fromkeys(options, why)
    _check_question(question, options, answer, reasons)
    unfolding = _unfolding(question, options, answer, reasons)
    plain = "\n".join([f"Quiz: {question}", *(f"  ( ) {option}" for option in options)])
    if in_kernel():
        view = question_widget(question, options, answer, reasons)._repr_mimebundle_() or {}
        show(plain, unfolding, {kind: value for kind, value in view.items() if kind != "text/plain"})
    else:
        show(f"{plain}\n  Answer: {answer}. {reasons[answer]}", unfolding)


def explanation(option, answer, reasons):
    """What is said to someone who chose `option`, as (tone, text)."""
    if option == answer:
        return GOOD, f"Yes. {reasons[option]}"
    return NOT_YET, f"Not this one. {reasons[option]}"


def _check_question(question, options, answer, reasons):
    if len(options) < 2 or len(set(options)) < len(options):
        raise ValueError(f"The quiz {question!r} needs two or more different options; it has {options}.")
    if answer not in options:
        raise ValueError(f"The answer {answer!r} of the quiz {question!r} is none of its options {options}.")
    if set(reasons) != set(options) or not all(isinstance(reason, str) and reason for reason in reasons.values()):
        raise ValueError(f"The quiz {question!r} needs a text in `why`, or one text for each of the options {options}.")


def question_widget(question, options, answer, reasons):
    """The question as a widget: a radio button for each option, and the explanation of the one that is chosen.

    Each radio button is a group of its own, to be reached with Tab and chosen with Space: JupyterLab takes the arrow
    keys, which move within a group, for itself.
    """
    import ipywidgets

    whole_line = ipywidgets.Layout(width="100%", margin="0")
    choices = [ipywidgets.RadioButtons(options=[option], value=None, layout=whole_line) for option in options]
    said = ipywidgets.HTML(layout=whole_line)

    def choose(change):
        if change.new is None:
            return
        for choice in choices:
            if choice is not change.owner:
                choice.value = None
        tone, text = explanation(change.new, answer, reasons)
        said.value = (
            f'<div role="status" style="border-left: 0.3em solid {tone.colour}; padding: 0.2em 0.8em; '
            f'line-height: 1.5; white-space: pre-wrap"><span style="color: {tone.colour}">{tone.symbol}</span> '
            f"{rich(text)}</div>"
        )
        record.answer(question, change.new == answer)

    for choice in choices:
        choice.observe(choose, names="value")
    return ipywidgets.VBox([ipywidgets.HTML(f"<strong>{rich(question)}</strong>"), *choices, said])


def _unfolding(question, options, answer, reasons):
    """The question as HTML that needs no kernel: the answer unfolds, by mouse or keyboard."""
    listed = "".join(f"<li>{rich(option)}</li>" for option in options)
    return (
        f'<div style="max-width: 52em; line-height: 1.5"><strong>{rich(question)}</strong>'
        f'<ul style="list-style: circle">{listed}</ul><details><summary style="cursor: pointer">Answer</summary>'
        f'<p style="white-space: pre-wrap"><strong>{rich(answer)}</strong>: {rich(reasons[answer])}</p></details></div>'
    )
