"""Static pictures: each says in words what it shows, and says it truly. What they look like is for eyes."""

import pytest
import tiny
import torch

from medattack_edu import attacks, metrics, show
from medattack_edu.models.finetune import History

CLASSES = ("not_referable", "referable")


@pytest.fixture(scope="module")
def batch():
    x, y = tiny.images(6, 64)
    return x, y, attacks.pgd(tiny.model(), x, y, eps=16 / 255)


def pictures(x, y, x_adv):
    model = tiny.model()
    scores = metrics.evaluate(model, x, y)
    lines = {"PGD": ([0, 1], [metrics.proportion(9, 10), metrics.proportion(0, 10)])}
    return {
        "gallery": show.gallery(x, y, CLASSES, model),
        "one image": show.gallery(x[:1], y[:1], CLASSES),
        "compare": show.compare({"clean": x, "PGD": x_adv}, y, model, CLASSES),
        "perturbation": show.perturbation(x[0], x_adv[0], model, y[0], CLASSES),
        "curves": show.curves(lines, xlabel="eps", ylabel="accuracy", title="Accuracy", chance=0.5),
        "roc": show.roc({"model": scores}),
        "probabilities": show.probabilities(scores, CLASSES),
        "training": show.training({"probe": History(loss=[1.0, 0.5], auc=[0.7, 0.8])}),
    }


def test_every_picture_is_a_png_with_words(batch):
    for name, picture in pictures(*batch).items():
        data, metadata = picture._repr_mimebundle_()
        assert picture.png().startswith(b"\x89PNG"), name
        assert len(picture.alt) > 20 and metadata["image/png"]["alt"] == picture.alt == data["text/plain"], name


def test_the_words_say_how_many_answers_are_right(batch):
    x, y, x_adv = batch
    right = int((tiny.model()(x).argmax(1) == y).sum())
    assert f"clean {right} of 6, PGD 0 of 6" in show.compare({"clean": x, "PGD": x_adv}, y, tiny.model(), CLASSES).alt


class SaysSick(torch.nn.Module):
    def forward(self, x):
        return torch.tensor([[0.0, 2.0]]).expand(len(x), 2)


def test_versions_are_compared_without_class_names_whatever_is_answered(batch):
    x, y, _ = batch
    assert "clean 0 of 6" in show.compare({"clean": x}, y * 0, SaysSick().eval()).alt
    assert "clean 0 of 0" in show.compare({"clean": x[:0]}, y[:0], tiny.model()).alt


def test_a_training_that_was_stopped_at_once_is_shown_empty():
    assert show.training({"stopped": History(interrupted=True)}).png().startswith(b"\x89PNG")


def test_a_gallery_names_the_classes_that_are_there_and_no_others(batch):
    x, y, _ = batch
    many = [f"class_{k}" for k in range(1000)]
    right = int((tiny.model()(x).argmax(1) == 1).sum())
    assert show.gallery(x, y * 0 + 7, many).alt == "6 images: 6 class 7."
    assert (
        show.gallery(x, y * 0 + 1, CLASSES, tiny.model()).alt
        == f"6 images: 6 referable. The model is right on {right} of 6."
    )
    assert show.gallery(x[:0], y[:0], CLASSES).alt.startswith("0 images")


def test_a_perturbation_says_its_size_and_its_magnification(batch):
    x, y, _ = batch
    x_adv = (x + 2 / 255).clamp(0, 1)
    words = show.perturbation(x[0], x_adv[0], tiny.model(), y[0], CLASSES).alt
    assert "at most 2/255 a pixel" in words and "63 times" in words


def test_no_change_at_all_can_be_shown(batch):
    x, y, _ = batch
    assert "at most 0/255" in show.perturbation(x[0], x[0], tiny.model(), y[0], CLASSES).alt


@pytest.mark.parametrize(
    "probability, said", [(1.0, "100 %"), (0.99999, "99.99 %"), (0.9956, "99.56 %"), (0.97, "97 %"), (0.004, "0 %")]
)
def test_a_probability_that_is_not_one_is_never_called_certain(probability, said):
    assert show.percent(probability) == said


def test_pictures_open_no_window_and_keep_no_state(batch):
    import sys

    show.gallery(batch[0], batch[1], CLASSES)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_pixels_out_of_range_are_cut_and_not_wrapped():
    image = torch.tensor([-0.5, 0.5, 1.5]).view(3, 1, 1).expand(3, 2, 2)
    assert show.pixels(image)[0, 0].tolist() == [0.0, 0.5, 1.0]
