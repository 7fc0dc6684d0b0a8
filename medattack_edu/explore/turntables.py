"""The explorer of a solid object on a turntable: two of its looks from every pose, the answers, and the map of them all.

How an object is drawn lives elsewhere: this file gets a function that draws it. All poses are drawn and asked about once, and a
move only picks one.
"""

import io

import ipywidgets
import numpy as np
import torch
from IPython.display import Image as Picture
from tqdm.auto import tqdm

from medattack_edu import metrics
from medattack_edu.attacks._inputs import check_eval, check_images, check_logits
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import Canvas, enlarged, fitted
from medattack_edu.explore.panels import as_bytes, as_rows
from medattack_edu.explore.widget import chooser, interactive, slider
from medattack_edu.show import percent, readable

AT_ONCE = 12  # poses drawn and asked about together; memory sets it
MOST_POSES = 400  # of one look: more would take minutes to ask about, and their cells couldn't be told apart
FRAME_MS = 220  # between two poses of a turning object: a little more than a move takes to the screen
TURNS_AGAIN = 2  # so often a film without a kernel starts anew; then it stands still, since nobody could stop it
TRUTH, TARGET, OTHER = "truth", "target", "other"
COLOURS = {TRUTH: ink.BLUE, TARGET: ink.VERMILLION, OTHER: "#B8B8B8"}
BUTTONS_WIDTH = "160px"  # play, pause, stop, repeat
CONTROL_WIDTH = "256px"  # three beside the buttons


def turntable(model, looks, turns, tilts, *, truth, target, names):
    """Turn an object, or let it play: two of its looks side by side, the answers to both, and the answers from all poses.

    Args:
        model: maps images in [0, 1] to logits (N, classes), in eval mode.
        looks: {name: draw}, two or more, first the object as it is. ``draw(turns, tilts)`` takes two tensors (N,) in degrees and
            returns images (N, 3, S, S) in [0, 1].
        turns: degrees about the object's own axis to stop at, in order; playing goes through them and begins again.
        tilts: degrees from which it is seen from above, in order.
        truth: the class of the object. target: the class that the attacker wants.
        names: {class: name} of classes that may be answered; others are called by their number.

    Returns:
        An Explorer with the controls ``turn`` and ``tilt`` (degrees) and ``look`` (the name of what is compared with the first).
        ``.facts(...)`` gives the numbers on the picture; ``.play`` holds the buttons that turn the object, and
        ``.animation(tilt, look)`` is a film of one turn, for a page without a kernel.
    """
    study = TurntableStudy(model, looks, turns, tilts, truth, target, names)
    start = study.turns[len(study.turns) // 2]
    controls = {
        "turn": slider("turn", study.turns, start, [degrees(turn) for turn in study.turns]),
        "tilt": slider(
            "seen from", study.tilts, study.tilts[len(study.tilts) // 2], [above(tilt) for tilt in study.tilts]
        ),
        "look": chooser("compare with", study.names_of_looks[1:]),
    }
    for control in controls.values():
        control.layout.width = CONTROL_WIDTH
    widget = interactive(study.render, controls, alt=study.alt, facts=study.facts)
    widget.play = play_buttons(controls["turn"])
    widget.animation = study.animation
    row = widget.children[0]
    row.children = (widget.play, *row.children)
    return widget


def play_buttons(control):
    """Buttons that move a slider on by themselves, in the browser, and begin again at its end."""
    buttons = ipywidgets.Play(min=0, max=len(control.options) - 1, value=control.index, interval=FRAME_MS, repeat=True)
    buttons.layout.width = BUTTONS_WIDTH
    buttons.link = ipywidgets.jslink((buttons, "value"), (control, "index"))
    return buttons


class TurntableStudy:
    """Every look of an object from every pose, the answers to it, and the picture of each pose."""

    SIDE, GAP = 272, 12  # of the two images, in pixels
    NAME, SHARE = 120, 50  # room for a class and for its probability, in pixels
    ROWS = 52  # room for the tilts beside a map

    def __init__(self, model, looks, turns, tilts, truth, target, names):
        self.turns, self.tilts = ordered(turns, "turns"), ordered(tilts, "tilts")
        check_looks(looks, len(self.turns) * len(self.tilts))
        self.names_of_looks = tuple(looks)
        self.truth, self.target, self._names = truth, target, dict(names)
        tilt, turn = torch.meshgrid(torch.tensor(self.tilts), torch.tensor(self.turns), indexing="ij")
        parts = list(zip(turn.flatten().split(AT_ONCE), tilt.flatten().split(AT_ONCE), strict=True))
        self.images, self.answers = {}, {}
        with tqdm(
            total=len(looks) * len(parts), desc=f"{len(looks)} looks from {turn.numel()} poses", leave=False
        ) as bar:
            for name, draw in looks.items():
                drawn, answers = [], []
                for part in parts:
                    with torch.no_grad():
                        images = draw(*part)
                    check_drawn(images, part, name)
                    if not self.images and not drawn:
                        check_classes(model, images, truth, target)
                    drawn.append(as_bytes(as_rows(images)))
                    answers.append(metrics.logits(model, images).softmax(1).cpu())
                    bar.update()
                shape = (len(self.tilts), len(self.turns))
                images, answers = np.concatenate(drawn), torch.cat(answers)
                self.images[name] = images.reshape(*shape, *images.shape[1:])
                self.answers[name] = answers.reshape(*shape, -1)
        self.kinds = {name: self._kinds(answers) for name, answers in self.answers.items()}

    def _kinds(self, answers):
        """What each pose is answered with: an array (tilts, turns) of "truth", "target" and "other"."""
        said = answers.argmax(-1).numpy()
        return np.where(said == self.truth, TRUTH, np.where(said == self.target, TARGET, OTHER))

    def shares(self, look):
        """{"truth", "target", "other": share of the poses of a look that are answered so}."""
        return {kind: float((self.kinds[look] == kind).mean()) for kind in COLOURS}

    def facts(self, turn, tilt, look):
        """What the picture says: ``poses`` (how many), and for the first look (``before``) and the chosen one (``after``) a dict of
        the present pose's ``answer`` and its ``probability``, of ``truth`` and ``target`` (their probabilities), and ``shares`` of
        all poses: {"truth", "target", "other"}."""
        row, column = self._pose(turn, tilt)
        sides = {"before": self.names_of_looks[0], "after": look}
        facts = {
            "turn": self.turns[column],
            "tilt": self.tilts[row],
            "look": look,
            "poses": len(self.turns) * len(self.tilts),
        }
        for side, name in sides.items():
            answer = self.answers[name][row, column]
            facts[side] = {
                "answer": self.name(int(answer.argmax())),
                "probability": float(answer.max()),
                "truth": float(answer[self.truth]),
                "target": float(answer[self.target]),
                "shares": self.shares(name),
            }
        return facts

    def alt(self, **values):
        """The picture in words."""
        facts = self.facts(**values)
        first = self.names_of_looks[0]
        told = [
            f"{name}: the model answers {side['answer']} with probability {side['probability']:.2f}; over {facts['poses']} poses it answers "
            f"{self.name(self.truth)} from {percent(side['shares'][TRUTH])}, {self.name(self.target)} from {percent(side['shares'][TARGET])}"
            for name, side in ((first, facts["before"]), (facts["look"], facts["after"]))
        ]
        return (
            f"An object, turned by {degrees(facts['turn'])}, seen from {above(facts['tilt'])}. " + ". ".join(told) + "."
        )

    def render(self, turn, tilt, look):
        """The object in both looks, the answers to each, and what is answered from every pose."""
        row, column = self._pose(turn, tilt)
        first, canvas = self.names_of_looks[0], Canvas()
        for x, name in ((8, first), (8 + self.SIDE + self.GAP, look)):
            canvas.title(x, fitted(name, self.SIDE, ink.TITLE, bold=True))
            canvas.paste(x, ink.TOP, enlarged(self.images[name][row, column], self.SIDE))
            self._draw_answer(canvas, x, ink.TOP + self.SIDE + 10, self.answers[name][row, column])
        self._draw_maps(canvas, 8 + 2 * (self.SIDE + self.GAP) + 12, (first, look), row, column)
        return canvas.image

    def animation(self, tilt, look):
        """A turn of the object in both looks, with the answers: an animated picture that needs no kernel, and comes to rest."""
        width = 16 + 2 * self.SIDE + self.GAP
        frames = [self.render(turn, tilt, look).crop((0, 0, width, ink.HEIGHT)).quantize() for turn in self.turns]
        buffer = io.BytesIO()
        frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=TURNS_AGAIN)
        first, share = self.names_of_looks[0], self.kinds[look][self._pose(self.turns[0], tilt)[0]]
        words = (
            f"One turn of an object in two looks, {first} and {look}, seen from {above(tilt)}. With the second, the model answers "
            f"{self.name(self.target)} in {int((share == TARGET).sum())} of {len(self.turns)} pictures."
        )
        return Picture(data=buffer.getvalue(), format="gif", alt=words)

    def _draw_answer(self, canvas, x, y, answer):
        """Bars for the truth, the target and the best of the rest; the answer is written in bold and marked."""
        said = int(answer.argmax())
        rest = answer.clone()
        rest[[self.truth, self.target]] = -1
        best = int(rest.argmax())
        lines = [(self.truth, TRUTH), (self.target, TARGET)] + ([(best, OTHER)] if rest[best] >= 0 else [])
        for number, (label, kind) in enumerate(lines):
            top, chosen = y + 28 * number, label == said
            words = ("▸ " if chosen else "") + self.name(label)
            canvas.text(x, top, fitted(words, self.NAME - 6, bold=chosen), bold=chosen)
            canvas.bar(x + self.NAME, top + 2, self.SIDE - self.NAME - self.SHARE, 13, answer[label], COLOURS[kind])
            canvas.text(x + self.SIDE, top, percent(answer[label]), bold=chosen, anchor="ra")

    def _draw_maps(self, canvas, x, looks, row, column):
        """What is answered from each pose, a map for each look, and what its colours mean."""
        canvas.title(x, "the answer from every pose")
        left, right, top = x + self.ROWS, ink.WIDTH - 8, ink.TOP + 2
        for look in looks:
            share = self.shares(look)
            words = f"{percent(share[TRUTH])} truth, {percent(share[TARGET])} target, {percent(share[OTHER])} other"
            canvas.text(right, top, words, anchor="ra")
            room = right - 12 - x - ink.font(ink.BODY).getlength(words)
            canvas.text(x, top, fitted(look, room, bold=True), bold=True)
            top = self._draw_map(canvas, left, right, top + 24, look, row, column) + 14
        top -= 8
        middle = len(self.turns) // 2
        for place, turn, anchor in ((left, 0, "la"), ((left + right) / 2, middle, "ma"), (right, -1, "ra")):
            canvas.text(place, top, degrees(self.turns[turn]), ink.SMALL, ink.GREY, anchor=anchor)
        words = "turn →     (rows: seen from so far above)"
        canvas.text((left + right) / 2, top + 18, words, ink.SMALL, ink.GREY, anchor="ma")
        self._draw_legend(canvas, x, top + 46)

    def _draw_map(self, canvas, left, right, top, look, row, column):
        """A cell for each pose of a look, the highest view above, with the present pose framed. Returns where it ends."""
        rows, tall = len(self.tilts), min(24, 100 // len(self.tilts))
        edges = [round(left + (right - left) * turned / len(self.turns)) for turned in range(len(self.turns) + 1)]
        for tilted, tilt in enumerate(self.tilts):
            y = top + (rows - 1 - tilted) * tall
            canvas.text(left - 8, y + tall / 2, degrees(tilt), ink.SMALL, bold=tilted == row, anchor="rm")
            for turned, (start, end) in enumerate(zip(edges, edges[1:], strict=False)):
                kind = self.kinds[look][tilted, turned]
                canvas.box(start, y, end - start - 1, tall - 1, fill=COLOURS[kind])
                if kind == TARGET:  # colour is not alone
                    canvas.box((start + end) // 2 - 2, y + tall // 2 - 2, 4, 4, fill="white")
        start, end, y = edges[column], edges[column + 1], top + (rows - 1 - row) * tall
        for grow, colour in ((2, "white"), (1, ink.INK), (0, ink.INK), (-1, "white")):
            canvas.box(start - grow, y - grow, end - start - 1 + 2 * grow, tall - 1 + 2 * grow, outline=colour)
        return top + rows * tall

    def _draw_legend(self, canvas, x, y):
        words = {TRUTH: self.name(self.truth), TARGET: f"{self.name(self.target)} (target)", OTHER: "anything else"}
        for number, (kind, text) in enumerate(words.items()):
            line = y + 22 * number
            canvas.box(x, line + 1, 14, 14, fill=COLOURS[kind])
            if kind == TARGET:
                canvas.box(x + 5, line + 6, 4, 4, fill="white")
            canvas.text(x + 22, line, fitted(text, ink.WIDTH - 30 - x))

    def name(self, label):
        """A class as words."""
        return readable(self._names.get(label, f"class {label}"))

    def _pose(self, turn, tilt):
        """Row and column of the pose nearest to these degrees."""
        return tuple(
            int(np.abs(np.array(stops) - value).argmin()) for stops, value in ((self.tilts, tilt), (self.turns, turn))
        )


def degrees(angle):
    return f"{angle:g}°"


def above(tilt):
    """A tilt in words, for the slider."""
    return "level" if tilt == 0 else f"{tilt:g}° above" if tilt > 0 else f"{-tilt:g}° below"


def ordered(angles, what):
    """Degrees as a sorted tuple of floats without doubles.

    Raises:
        ValueError: if there is none.
    """
    angles = tuple(sorted({float(angle) for angle in angles}))
    if not angles:
        raise ValueError(f"{what} holds no angle. Give one or more, in degrees.")
    return angles


def check_looks(looks, poses):
    """Raise a ValueError for looks or a number of poses that the picture can't show."""
    if not isinstance(looks, dict) or len(looks) < 2 or not all(map(callable, looks.values())):
        came = f"{len(looks)} came" if isinstance(looks, dict) else f"a {type(looks).__name__} came"
        raise ValueError(
            f"looks must be a dictionary {{name: function that draws}} of 2 or more, first the object as it is; {came}."
        )
    if poses > MOST_POSES:
        raise ValueError(f"{poses} poses are more than the {MOST_POSES} there is room for. Take fewer turns or tilts.")


def check_drawn(images, part, name):
    """Raise a ValueError unless a look was drawn as one square image for each pose."""
    check_images(images)
    if len(images) != len(part[0]) or images.shape[-1] != images.shape[-2]:
        raise ValueError(
            f"The look {name!r} was asked for {len(part[0])} poses and drew {tuple(images.shape)}. One square image for each pose was "
            f"expected: ({len(part[0])}, 3, S, S)."
        )


def check_classes(model, images, truth, target):
    """Raise a ValueError unless the model is ready and knows both classes, which differ."""
    check_eval(model)
    classes = check_logits(model, images[:1])
    if not (0 <= truth < classes and 0 <= target < classes) or truth == target:
        raise ValueError(
            f"truth={truth} and target={target} must be two different classes of the model's, 0 to {classes - 1}."
        )
