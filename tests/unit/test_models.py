"""Models: equal to timm's, the same after freezing, trained repeatably, and stopped without loss."""

from pathlib import Path

import pytest
import tiny
import torch
import torch.nn.functional as F

from medattack_edu.clinics.images import ImageSet
from medattack_edu.models import SmallCNN, efficientnet_lite, victims
from medattack_edu.models.finetune import augmentation, class_weights, finetune, train_step
from medattack_edu.models.freeze import WideConv, freeze
from medattack_edu.models.torchvision_model import torchvision_model


def image_set(n, seed=0, size=32):
    x, y = tiny.images(n, size, seed)
    return ImageSet((x * 255).round().byte(), y, ("stripes across", "stripes down"))


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("size", [64, 97])
def test_efficientnet_lite_equals_timm(version, size):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(f"tf_efficientnet_lite{version}").eval()
    weights = efficientnet_lite.imagenet_weights(version)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), weights, strict=True)))
    ours = efficientnet_lite.efficientnet_lite(version)
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(2 * x - 1), atol=1e-5)


def test_imagenet_weights_know_a_cat():
    from skimage.data import chelsea

    cat = torch.from_numpy(chelsea()).permute(2, 0, 1)[None].float() / 255
    cat = torch.nn.functional.interpolate(cat[..., 75:375], (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        answer = efficientnet_lite.efficientnet_lite0()(cat).argmax(1).item()
    assert answer in range(281, 286)  # ImageNet's domestic cats


def test_pixels_in_zero_to_one_are_all_a_model_needs():
    model = efficientnet_lite.efficientnet_lite0(2)
    x, _ = tiny.images(2, 64)
    assert model(x).shape == (2, 2)
    assert not model.training


@pytest.mark.parametrize("make", [lambda: efficientnet_lite.efficientnet_lite0(2), SmallCNN])
def test_a_frozen_model_gives_the_same_logits_and_asks_for_no_parameter_gradients(make):
    model = make().train()
    for _ in range(2):  # batch norms with statistics worth folding
        model(torch.rand(4, 3, 64, 64))
    x, _ = tiny.images(4, 64)
    frozen = freeze(model)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert not frozen.training and not any(p.requires_grad for p in frozen.parameters())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in frozen.modules())
    with torch.no_grad():
        assert torch.allclose(frozen(x), model.eval()(x), atol=1e-4)


def gradients(model, x, y):
    """The loss's gradient at x, and the gradient of a weighted sum of that: first and second derivatives."""
    point = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(F.cross_entropy(model(point), y), point, create_graph=True)
    weights = torch.linspace(-1, 1, first.numel(), dtype=x.dtype).view_as(first)
    return first.detach(), torch.autograd.grad((first * weights).sum(), point)[0]


@pytest.mark.parametrize("height, width", [(64, 64), (96, 64), (63, 64), (65, 71)])
def test_a_frozen_efficientnet_has_the_same_answers_and_derivatives_at_even_and_odd_sides(height, width):
    model = efficientnet_lite.efficientnet_lite0(2).double()
    x, y = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)).double(), torch.tensor([0, 1])
    frozen = freeze(model)
    assert torch.allclose(frozen(x), model(x), atol=1e-10)
    for one, other in zip(gradients(frozen, x, y), gradients(model, x, y), strict=True):
        assert one.abs().max() > 0 and torch.allclose(one, other, rtol=1e-8, atol=1e-10 * one.abs().max().item())


def test_a_frozen_efficientnet_pads_by_its_kernels_and_keeps_one_copy_of_what_it_clips():
    """Half the memory of a gradient is what this is for, so it is what is counted."""
    model, x = efficientnet_lite.efficientnet_lite0(2), torch.rand(2, 3, 64, 64)
    frozen = freeze(model)
    assert sum(isinstance(m, WideConv) for m in frozen.modules()) == 5 and "same_pad" not in frozen.code
    assert not any(isinstance(m, torch.nn.ReLU6) for m in frozen.modules())

    def kept(model):
        sizes = {}
        note = lambda tensor: sizes.setdefault(tensor.untyped_storage().data_ptr(), (tensor, tensor.nbytes))  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: note(tensor)[0], lambda tensor: tensor):
            answers = model(x.clone().requires_grad_())
        assert answers.requires_grad
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        return sum(size for place, (_, size) in sizes.items() if place not in weights)

    assert kept(frozen) < 0.5 * kept(model.requires_grad_(False))


@pytest.mark.parametrize("kernel, stride, dilation", [(4, 2, 1), (3, 3, 1), (3, 2, 2)])
def test_a_padding_that_no_wider_kernel_stands_for_stays_as_it_is(kernel, stride, dilation):
    class Padded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, kernel, stride, dilation=dilation)

        def forward(self, x):
            return self.conv(efficientnet_lite.same_pad(x, kernel, stride)).mean((2, 3))

    model, x = Padded().eval(), torch.rand(2, 3, 32, 32)
    frozen = freeze(model)
    assert not any(isinstance(m, WideConv) for m in frozen.modules())
    assert torch.allclose(frozen(x), model(x), atol=1e-6)


def test_freezing_what_cannot_be_traced_still_freezes():
    class Branching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = SmallCNN(width=4)

        def forward(self, x):
            return self.inner(x) if x.mean() > 0 else self.inner(-x)

    model = Branching().eval()
    x, _ = tiny.images(2)
    frozen = freeze(model)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert torch.allclose(frozen(x), model(x), atol=1e-5)
    assert any(p.requires_grad for p in model.parameters())


def test_freezing_twice_is_freezing_once():
    frozen = freeze(tiny.model())
    x, _ = tiny.images(2)
    assert torch.allclose(freeze(frozen)(x), frozen(x), atol=1e-5)


def test_training_learns_and_is_repeatable():
    def train():
        torch.manual_seed(0)
        model = SmallCNN(width=8)
        history = finetune(model, image_set(64), epochs=3, lr=5e-3, augment=lambda image: image, seed=4)
        return model, history

    (one, history), (other, again) = train(), train()
    assert history.loss == again.loss and history.auc[-1] > 0.85
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not one.training


@pytest.mark.parametrize("n", [1, 10, 20])
def test_a_set_of_less_than_two_batches_can_be_trained_on(n):
    history = finetune(SmallCNN(width=4), image_set(n), epochs=4)
    assert len(history.loss) == 4 and not history.interrupted


def test_a_training_that_diverges_says_so_and_what_to_do():
    with pytest.raises(ValueError, match="diverged.*smaller learning rate than lr=1e\\+30"):
        finetune(SmallCNN(width=4), image_set(64), epochs=4, lr=1e30)


def test_the_first_steps_can_see_smaller_images():
    sides = []

    class Noting(SmallCNN):
        def forward(self, x):
            if self.training:
                sides.append(x.shape[-1])
            return super().forward(x)

    finetune(Noting(width=4), image_set(64), epochs=2, start_small=0.5)
    assert sides == [24] * 4 + [32] * 4


def test_training_leaves_the_global_generator_alone():
    model, images = SmallCNN(width=4), image_set(16)
    before = torch.get_rng_state()
    finetune(model, images, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("validation", [image_set(16, 5), None])
def test_an_interrupt_keeps_the_best_epoch_so_far(validation):
    model = SmallCNN(width=8)
    after_first_epoch = {}

    class Impatient:
        """Presses the stop button in the second epoch; notes the weights that the first one left."""

        def __init__(self):
            self.images = 0

        def __call__(self, image):
            self.images += 1
            if self.images == 33:
                after_first_epoch.update({k: v.clone() for k, v in model.state_dict().items()})
            if self.images == 60:
                raise KeyboardInterrupt
            return image

    history = finetune(model, image_set(32), epochs=3, validation=validation, augment=Impatient())
    assert history.interrupted and len(history.auc) == 1
    assert all(torch.equal(v, after_first_epoch[k]) for k, v in model.state_dict().items())
    assert not model.training


def test_only_the_parameters_asked_for_are_trained():
    model = SmallCNN(width=4)
    body = [p.clone() for p in model.layers.parameters()]
    head = model.classifier.weight.clone()
    finetune(model, image_set(16), epochs=1, parameters=model.classifier.parameters())
    assert all(torch.equal(a, b) for a, b in zip(body, model.layers.parameters(), strict=True))
    assert not torch.equal(head, model.classifier.weight)


def test_a_training_step_lowers_the_loss_of_its_batch():
    model = SmallCNN(width=8).train()
    x, y = tiny.images(16)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = [train_step(model, x, y, optimiser)[0] for _ in range(8)]
    assert losses[-1] < losses[0]


def test_class_weights_make_a_rare_disease_count_as_much_as_health():
    weights = class_weights(torch.tensor([0] * 90 + [1] * 10))
    assert weights[0] * 90 == pytest.approx(weights[1] * 10)


def test_augmentation_moves_each_image_by_itself_and_keeps_its_range():
    x, _ = tiny.images(1, 64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        augment = augmentation()
        first, second = augment(x[0]), augment(x[0])
    assert not torch.equal(first, second)
    assert first.shape == x[0].shape and first.min() >= 0 and first.max() <= 1


def test_a_torchvision_backbone_takes_pixels_and_normalises_inside():
    model = torchvision_model("resnet18", 2, pretrained=False)
    x, _ = tiny.images(2, 64)
    normalised = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    assert torch.allclose(model(x), model.backbone(normalised), atol=1e-5)
    assert model(x).shape == (2, 2)
    assert torch.allclose(freeze(model)(x), model(x), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet5", "fcn_resnet50"])
def test_a_backbone_that_is_no_classifier_is_named(name):
    with pytest.raises(ValueError, match=f"no torchvision classifier '{name}'"):
        torchvision_model(name, 2, pretrained=False)


def test_lesson_02_tells_how_many_blocks_of_the_victim_stay_untrained():
    told = Path(__file__).parents[2].joinpath("solutions", "02_fine_tune_the_victim.py").read_text(encoding="utf-8")
    number = ("none", "one", "two", "three", "four", "five", "six")[victims.UNTRAINED_BLOCKS]
    blocks = len(efficientnet_lite.efficientnet_lite0(2, pretrained=False).blocks)
    assert f"all but the first {number} of {blocks} blocks" in told
