"""Explorers of patches: turn, size and move one in a scene (`patch`), or try it on a photograph of your own (`own_photo`).

Patches come from elsewhere; nothing is trained here. With the patch where it lies at first, the answers to all images are computed
once, at every angle and scale. Where it is moved to, the network is asked about the image on the screen, one answer a move, and
about all images when the controls have come to rest.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle

import ipywidgets
import torch
from tqdm.auto import tqdm

from medattack_edu import metrics
from medattack_edu.attacks._inputs import check_eval
from medattack_edu.attacks.patches import ANGLES, place
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import Canvas, Plot, enlarged, fitted
from medattack_edu.explore.panels import as_bytes, as_rows, class_names, frozen, percent_range
from medattack_edu.explore.widget import chooser, interactive, slider
from medattack_edu.scenes.photographs import read_photo
from medattack_edu.show import percent

TURNS = tuple(range(-180, 181, 15))  # degrees: all the way round, upside down at both ends
SCALES = (0.3, 0.4, 0.5)
PLACES = tuple(k / 10 for k in range(1, 10))  # of the patch's middle, as fractions of width and height
FIRST = 0.6  # of these, across and down: where the curve is measured. The middle would hide what the scene is about
SHOWN = 6  # images of a scene that can be looked at; all of them count in the curve
BARS = 5  # classes with a bar, out of however many there are
REMEMBERED = 4096  # answers kept, so that a place seen before costs nothing
STYLES = ("-", "--", "-.", ":")  # of the curves at other scales than the chosen one
CONTROL_WIDTH = "256px"  # four in a row


@dataclass(frozen=True)
class Scene:
    """Where a patch can be stuck: images, the model that looks at them, and the patch that was made for it.

    Attributes:
        model: maps images in [0, 1] to logits; it is frozen if it isn't yet.
        x: images (N, 3, H, W) in [0, 1].
        patch: (3, h, w) in [0, 1]. target: the class that it speaks for. mask: as `attacks.place` takes it.
        classes: the name of each class.
        names: what each image is called; default: image 1, image 2, ...
    """

    model: object
    x: torch.Tensor
    patch: torch.Tensor
    target: int
    classes: tuple
    names: tuple = ()
    mask: object = "disc"


def patch(scenes, *, scales=SCALES, turns=TURNS):
    """Turn a patch, size it, move it about, on photographs or in a clinic.

    Args:
        scenes: {name: Scene}, such as ``{"photograph": ..., "skin": ...}``. The first six images of each can be looked at; all
            of them count.
        scales: of the patch, its side over the image's, to stop at.
        turns: angles in degrees counter-clockwise, to stop at.

    Returns:
        An Explorer with the controls ``angle``, ``scale``, ``across`` and ``down`` (the middle of the patch, as fractions of
        width and height) and ``image`` (name of the scene, row). ``.facts(...)`` gives the numbers on the picture.
    """
    study = PatchStudy(scenes, scales, turns)
    controls = {
        "angle": slider("rotation", study.turns, min(study.turns, key=abs), [f"{turn:g}°" for turn in study.turns]),
        "scale": slider("scale", study.scales, study.scales[(len(study.scales) - 1) // 2]),
        "across": slider("x", PLACES, FIRST),
        "down": slider("y", PLACES, FIRST),
        "image": chooser("scene", study.choices()),
    }
    for control in controls.values():
        control.layout.width = CONTROL_WIDTH
    return interactive(study.render, controls, alt=study.alt, facts=study.facts, at_rest=study.measure)


class PatchStudy:
    """Success at every angle and scale, the network's answer on demand, and the picture of each."""

    SIDE = 336  # of the image, in pixels
    BARS_LEFT, BARS_WIDTH = 360, 262
    CURVE_LEFT, CURVE_HEIGHT = 640, 300

    def __init__(self, scenes, scales, turns):
        check_scenes(scenes)
        self.turns, self.scales = tuple(sorted(set(map(float, turns)))), tuple(sorted(set(map(float, scales))))
        if not self.turns or not self.scales:
            raise ValueError("Give one angle or more in `turns`, and one scale or more in `scales`.")
        self.scenes = scenes
        self.models = {name: frozen(scene.model) for name, scene in scenes.items()}
        self.classes = {name: class_names(scene.classes) for name, scene in scenes.items()}
        self.clean = {
            name: metrics.logits(self.models[name], scene.x).softmax(1).cpu() for name, scene in scenes.items()
        }
        self._known, self._success = {}, {}  # by name, scale, turn and place
        rounds = len(scenes) * len(self.scales) * len(self.turns)
        with tqdm(total=rounds, desc="turning the patch", leave=False) as bar:
            for name in scenes:
                for scale in self.scales:
                    for turn in self.turns:
                        self._measure(name, scale, turn, FIRST, FIRST)
                        bar.update()
        self._ask = lru_cache(REMEMBERED)(self._answer)
        self._curve = lru_cache(len(scenes) * len(self.scales))(self._drawn_curve)
        for name in scenes:
            for scale in self.scales:
                self._curve(name, scale)

    def measure(self, angle, scale, across, down, image):
        """Find out how often the patch wins where it lies now, over all images of the scene."""
        setting = (image[0], nearest(scale, self.scales), nearest(angle, self.turns), across, down)
        if setting not in self._success:
            self._measure(*setting)

    def _measure(self, name, scale, turn, across, down):
        """The share of the images, not of the target class before, that are after; the answers to those shown."""
        scene = self.scenes[name]
        stuck = place(scene.patch, scene.x, location=(across, down), angle=turn, scale=scale, mask=scene.mask)
        answers = metrics.logits(self.models[name], stuck).softmax(1).cpu()
        self._known[name, scale, turn, across, down] = answers[:SHOWN]
        others = self.clean[name].argmax(1) != scene.target
        hits = (answers.argmax(1) == scene.target) & others
        self._success[name, scale, turn, across, down] = metrics.proportion(hits.sum(), others.sum())

    def choices(self):
        """(words, (scene, row)) of every image that can be looked at."""
        return [
            (f"{name}: {self._called(name, row)}", (name, row))
            for name, scene in self.scenes.items()
            for row in range(min(SHOWN, len(scene.x)))
        ]

    def _called(self, name, row):
        names = self.scenes[name].names
        return str(names[row]) if len(names) else f"image {row + 1}"

    def _stuck(self, angle, scale, across, down, image):
        """The image with the patch on it (1, 3, H, W)."""
        name, row = image
        scene = self.scenes[name]
        return place(
            scene.patch, scene.x[row : row + 1], location=(across, down), angle=angle, scale=scale, mask=scene.mask
        )

    @torch.no_grad()
    def _answer(self, angle, scale, across, down, image):
        """The probability of each class (classes,)."""
        known = self._known.get((image[0], scale, angle, across, down))
        if known is not None:
            return known[image[1]]
        return self.models[image[0]](self._stuck(angle, scale, across, down, image))[0].softmax(0).cpu()

    def facts(self, angle, scale, across, down, image):
        """What the picture says: ``image``, ``clean`` and ``answers`` (the likeliest classes and their probabilities, without
        the patch and with it, as (name, probability) pairs), ``target`` and ``towards`` (its probability now), ``success`` (an
        Estimate, over all images at this angle and scale), ``measured_here`` (whether it was measured where the patch lies now,
        or only where it lay at first) and ``curve`` ({angle: Estimate} at this scale, where it lay at first)."""
        angle, scale = nearest(angle, self.turns), nearest(scale, self.scales)
        name, row = image
        target = self.scenes[name].target
        now = self._ask(angle, scale, across, down, image)
        curve = {turn: self._success[name, scale, turn, FIRST, FIRST] for turn in self.turns}
        here = self._success.get((name, scale, angle, across, down))
        return {
            "image": self._called(name, row),
            "angle": angle,
            "scale": scale,
            "clean": self._likeliest(name, self.clean[name][row], 1)[0],
            "answers": self._likeliest(name, now, BARS),
            "target": self.classes[name][target],
            "towards": float(now[target]),
            "success": curve[angle] if here is None else here,
            "measured_here": here is not None,
            "curve": curve,
        }

    def _likeliest(self, name, probabilities, n):
        values, labels = probabilities.topk(min(n, len(probabilities)))
        return [(self.classes[name][k], p) for k, p in zip(labels.tolist(), values.tolist(), strict=True)]

    def alt(self, **values):
        """The picture in words."""
        facts = self.facts(**values)
        (before, sure), (answer, probability) = facts["clean"], facts["answers"][0]
        return (
            f"{facts['image']}, which the network calls {before} ({sure:.2f}), with a patch for {facts['target']}: scale "
            f"{facts['scale']:g}, turned by {facts['angle']:g} degrees, middle at {values['across']:g} of the width and "
            f"{values['down']:g} of the height. Now it answers {answer} with probability {probability:.2f}; {facts['target']} has "
            f"{facts['towards']:.2f}. Over all images at this scale and angle, with the patch "
            f"{'there' if facts['measured_here'] else f'at {FIRST:g} and {FIRST:g}'}, success {facts['success']}."
        )

    def render(self, angle, scale, across, down, image):
        """The image with the patch, the answers as bars, and success over the angles with this one marked."""
        facts = self.facts(angle, scale, across, down, image)
        canvas = Canvas()
        canvas.title(8, fitted(f"{image[0]}: {facts['image']}", self.SIDE, ink.TITLE, bold=True))
        stuck = self._stuck(facts["angle"], facts["scale"], across, down, image)
        canvas.paste(8, ink.TOP, enlarged(as_bytes(as_rows(stuck)[0]), self.SIDE))
        covered = f"patch {facts['scale']:g} of the side, turned by {facts['angle']:g}°"
        canvas.text(8, ink.TOP + self.SIDE + 10, covered, ink.SMALL, ink.GREY)
        self._draw_answers(canvas, facts)
        self._draw_curve(canvas, facts, image[0], moved=(across, down) != (FIRST, FIRST))
        return canvas.image

    def _draw_answers(self, canvas, facts):
        """What the network says with the patch, and what it said without."""
        left, width = self.BARS_LEFT, self.BARS_WIDTH
        canvas.title(left, "the network answers")
        for row, (name, probability) in enumerate(facts["answers"]):
            top, mine = ink.TOP + 6 + 42 * row, name == facts["target"]
            canvas.text(
                left, top, fitted(name, width - 52, bold=mine), bold=mine, colour=ink.VERMILLION if mine else ink.INK
            )
            canvas.text(left + width, top, f"{probability:.2f}", anchor="ra", bold=mine)
            canvas.bar(left, top + 20, width, 12, probability, ink.VERMILLION if mine else ink.BLUE)
        below = ink.TOP + 6 + 42 * BARS + 14
        canvas.text(left, below, "without the patch:", ink.SMALL, ink.GREY)
        before, sure = facts["clean"]
        canvas.text(left, below + 20, fitted(f"{before}, {sure:.2f}", width, bold=True), bold=True)
        canvas.text(left, below + 50, "the patch speaks for:", ink.SMALL, ink.GREY)
        canvas.text(
            left,
            below + 70,
            fitted(f"{facts['target']}, now {facts['towards']:.2f}", width, bold=True),
            ink.BODY,
            ink.VERMILLION,
            bold=True,
        )

    def _draw_curve(self, canvas, facts, name, moved):
        """Success over the angles at this scale, with the patch where it lay at first; the present setting is the dot."""
        left, curve, success = self.CURVE_LEFT, self._curve(name, facts["scale"]), facts["success"]
        canvas.title(left, "how often it wins, by rotation")
        canvas.paste(left, ink.TOP, curve.image)
        if success.n:
            across, up = curve.pixel(facts["angle"], float(success))
            canvas.line(
                [(left + across, ink.TOP + curve.pixel(0, 0)[1]), (left + across, ink.TOP + up)], ink.VERMILLION, 2
            )
            canvas.dot(left + across, ink.TOP + up, 7, ink.VERMILLION)
        below = ink.TOP + self.CURVE_HEIGHT + 8
        if not success.n:
            canvas.text(left + 8, below, f"all are {facts['target']} without it", bold=True)
            return
        canvas.text(
            left + 8, below, f"at this angle {percent(success)} ({percent_range(success)}, n = {success.n})", bold=True
        )
        first = f"at x {FIRST:g}, y {FIRST:g}"
        where = f"measured {first}"
        if moved:
            where = f"measured here; the curve, {first}" if facts["measured_here"] else f"measured {first}, not here"
        where += f"; one image = {100 / success.n:.0f} points"
        canvas.text(left + 8, below + 22, where, ink.SMALL, ink.GREY if facts["measured_here"] else ink.VERMILLION)

    def _drawn_curve(self, name, scale):
        """The axes with the curve of every scale, the chosen one in front."""

        def draw(axes):
            turns = list(self.turns)
            axes.axvspan(-ANGLES, ANGLES, color=ink.PALE, linewidth=0)
            axes.text(0, 1.075, "trained within", ha="center", va="center", color=ink.GREY, fontsize=9)
            for other, style in zip(self.scales, cycle(STYLES)):
                rates = [self._success[name, other, turn, FIRST, FIRST] for turn in turns]
                if other == scale:
                    axes.fill_between(
                        turns, [r.low for r in rates], [r.high for r in rates], color=ink.BLUE, alpha=0.18, linewidth=0
                    )
                look = (
                    {"color": ink.BLUE, "linewidth": 2.6}
                    if other == scale
                    else {"color": ink.GREY, "linewidth": 1.2, "linestyle": style}
                )
                axes.plot(
                    turns, list(map(float, rates)), zorder=3 if other == scale else 2, label=f"scale {other:g}", **look
                )
            room = max(abs(turns[0]), abs(turns[-1]), 1.0)
            axes.set(xlim=(-1.04 * room, 1.04 * room), ylim=(-0.04, 1.13), xlabel="rotation, degrees", ylabel="success")
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
            if room > 45:
                axes.set_xticks([turn for turn in range(-180, 181, 45) if abs(turn) <= room])
            axes.grid(alpha=0.25)
            if len(self.scales) > 1:
                look = {"frameon": False, "fontsize": 9, "handlelength": 1.8, "columnspacing": 1.0}
                axes.figure.legend(loc="outside upper center", ncols=min(4, len(self.scales)), **look)

        return Plot(ink.WIDTH - 8 - self.CURVE_LEFT, self.CURVE_HEIGHT, draw)


def own_photo(scene, decoy, *, scale=0.5, location=(0.66, 0.66)):
    """Upload a photograph, and see it three times: as it is, with an honest picture in it, and with the patch.

    Until there is one, the first image of the scene stands there. What can't be read says why, above the picture.

    Args:
        scene: a Scene, for its model, patch, target and classes.
        decoy: the honest picture (3, h, w) in [0, 1]: what the patch claims to be, drawn.
        scale, location: of both, as `attacks.place` takes them.

    Returns:
        An Explorer with the control ``photo`` (an upload). ``.facts(photo=...)`` gives the numbers on the picture, and as
        ``image`` the photograph as the model sees it (1, 3, H, W).
    """
    check_scenes({"photograph": scene})
    trial = OwnPhoto(scene, decoy, scale, location)
    upload = ipywidgets.FileUpload(accept="image/*", multiple=False, description="your photograph")
    return interactive(trial.render, {"photo": upload}, alt=trial.alt, facts=trial.facts)


class OwnPhoto:
    """Three versions of a photograph, what the network answers to each, and the picture of it."""

    SIDE, STEP = 236, 364  # of an image, and from one to the next, in pixels
    BARS = 3

    def __init__(self, scene, decoy, scale, location):
        self.scene, self.model, self.classes = scene, frozen(scene.model), class_names(scene.classes)
        self._last = None  # the latest photo and its facts: the picture and its words both ask for them
        target = self.classes[scene.target]
        where = {"location": location, "scale": scale}
        self.versions = {
            "as it is": lambda x: x,
            f"with a picture: {target}": lambda x: place(decoy, x, mask="square", **where),
            f"with the patch: {target}": lambda x: place(scene.patch, x, mask=scene.mask, **where),
        }

    @torch.no_grad()
    def facts(self, photo):
        """What the picture says: ``image`` (1, 3, H, W), for each version its likeliest ``answers`` as (name, probability)
        pairs, under the version's title, and ``notes``, what there was to say about the file."""
        if self._last is None or self._last[0] is not photo:
            self._last = (photo, self._facts(photo))
        return self._last[1]

    def _facts(self, photo):
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always", UserWarning)
            image = self.scene.x[:1] if not photo else read_photo(photo[0]["content"], self.scene.x.shape[-1])[None]
        seen = {title: version(image) for title, version in self.versions.items()}
        answers = {}
        for title, version in seen.items():
            values, labels = self.model(version)[0].softmax(0).topk(min(self.BARS, len(self.classes)))
            answers[title] = [(self.classes[k], p) for k, p in zip(labels.tolist(), values.tolist(), strict=True)]
        return {"image": image, "seen": seen, "answers": answers, "notes": [str(note.message) for note in noted]}

    def alt(self, photo):
        """The picture in words."""
        told = "; ".join(
            f"{title}, the network answers {a[0][0]} ({a[0][1]:.2f})"
            for title, a in self.facts(photo)["answers"].items()
        )
        return " ".join([f"{'Your' if photo else 'A'} photograph: {told}.", *self.facts(photo)["notes"]])

    def render(self, photo):
        """The three versions side by side, each with its answers as bars."""
        facts, canvas = self.facts(photo), Canvas()
        for column, (title, image) in enumerate(facts["seen"].items()):
            x = 8 + column * self.STEP
            canvas.title(x, title)
            canvas.paste(x, ink.TOP, enlarged(as_bytes(as_rows(image)[0]), self.SIDE))
            for row, (name, probability) in enumerate(facts["answers"][title]):
                top, mine = ink.TOP + self.SIDE + 8 + 42 * row, name == self.classes[self.scene.target]
                canvas.text(x, top, fitted(name, 282, bold=mine), bold=mine, colour=ink.VERMILLION if mine else ink.INK)
                canvas.text(x + 336, top, f"{probability:.2f}", anchor="ra", bold=mine)
                canvas.bar(x, top + 20, 336, 12, probability, ink.VERMILLION if mine else ink.BLUE)
        for note in facts["notes"]:
            canvas.text(8, ink.HEIGHT - 4, note, ink.SMALL, anchor="ld")
        return canvas.image


def check_scenes(scenes):
    """Raise a ValueError for scenes that can't be shown."""
    if not isinstance(scenes, dict) or not scenes or not all(isinstance(scene, Scene) for scene in scenes.values()):
        raise ValueError(
            f"scenes must be a dictionary {{name: explore.Scene(...)}} of one or more; got {type(scenes).__name__}."
        )
    for name, scene in scenes.items():
        if not len(scene.x):
            raise ValueError(f"Scene {name!r} holds no image. Give one or more.")
        if not 0 <= scene.target < len(scene.classes):
            raise ValueError(
                f"Scene {name!r} has {len(scene.classes)} classes, 0 to {len(scene.classes) - 1}; its target is {scene.target}."
            )
        if len(scene.names) not in (0, len(scene.x)):
            raise ValueError(
                f"Scene {name!r} has {len(scene.x)} images and {len(scene.names)} names. Give one for each, or none."
            )
        check_eval(scene.model, f"The model of scene {name!r}")
        answered = metrics.logits(scene.model, scene.x[:1]).shape[1]
        if answered != len(scene.classes):
            raise ValueError(
                f"Scene {name!r} has {len(scene.classes)} class names, and its model answers with {answered} logits."
            )


def nearest(value, stops):
    """The stop that is nearest to a value."""
    return min(stops, key=lambda stop: abs(stop - value))
