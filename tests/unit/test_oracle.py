"""The Oracle: what it tells, what it counts, what it refuses, and that nobody reaches the model behind it."""

import gc

import pytest
import tiny
import torch

from medattack_edu.attacks import Oracle, QueriesRefused


@pytest.fixture
def batch():
    return tiny.images(6, seed=3)[0]


def test_it_reveals_probabilities_logits_or_a_label(batch):
    logits = tiny.model()(batch)
    assert torch.allclose(Oracle(tiny.model())(batch), logits.softmax(1), atol=1e-6)
    assert torch.allclose(Oracle(tiny.model(), "logits")(batch), logits, atol=1e-6)
    labels = Oracle(tiny.model(), "label")(batch)
    assert labels.dtype == torch.int64 and torch.equal(labels, logits.argmax(1))


def test_its_answers_carry_no_gradient_and_no_memory_of_the_model(batch):
    answers = Oracle(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2)).eval())(batch.requires_grad_())
    assert not answers.requires_grad and answers.grad_fn is None


def test_the_model_is_no_attribute_of_it():
    model = tiny.model()
    oracle = Oracle(model)
    reachable = [value for value in vars(oracle).values() if not callable(value)]
    assert not any(value is model for value in vars(oracle).values())
    assert not any(model is referent for value in reachable for referent in gc.get_referents(value))


def test_queries_are_counted_by_patient_also_when_the_batch_shrinks(batch):
    oracle = Oracle(tiny.model())
    oracle(batch)
    oracle(batch[[1, 4]], ids=[1, 4])
    oracle(batch[[4, 4, 4]], ids=torch.tensor([4, 4, 4]))
    assert oracle.spent(range(6)).tolist() == [1, 2, 1, 1, 5, 1]
    assert oracle.total == 11


def test_a_large_batch_is_answered_as_a_small_one(batch):
    many = batch.repeat(7, 1, 1, 1)
    assert torch.allclose(Oracle(tiny.model())(many)[:6], Oracle(tiny.model())(batch), atol=1e-6)


def test_an_empty_question_gets_an_empty_answer(batch):
    assert Oracle(tiny.model())(batch[:0]).shape == (0, 2)


def test_past_the_budget_it_refuses_asks_nothing_and_counts_nothing(batch):
    asked = []

    def model(x):
        asked.append(len(x))
        return tiny.model()(x)

    oracle = Oracle(model, budget=3)
    oracle(batch[[0, 0]], ids=[7, 7])
    with pytest.raises(
        QueriesRefused, match=r"budget is 3 queries a patient; patient 7 is at 2, and 2 more"
    ) as refusal:
        oracle(batch[[0, 0, 1]], ids=[7, 7, 8])
    assert refusal.value.ids == (7,)
    assert asked == [2] and oracle.spent([7, 8]).tolist() == [2, 0]
    assert oracle.left([7, 8]).tolist() == [1, 3]
    assert torch.isinf(Oracle(model).left([7])).all()


def test_rounded_answers_have_so_many_digits(batch):
    told = Oracle(tiny.model(), decimals=2)(batch)
    assert torch.allclose(told * 100, (told * 100).round(), atol=1e-4)
    assert not torch.allclose(told, Oracle(tiny.model())(batch), atol=1e-4)


def test_noise_changes_the_answers_and_a_generator_repeats_it(batch):
    def told(seed):
        return Oracle(tiny.model(), noise=0.5, generator=torch.Generator().manual_seed(seed))(batch)

    assert torch.equal(told(1), told(1))
    assert not torch.allclose(told(1), told(2), atol=1e-3)
    assert torch.allclose(told(1).sum(1), torch.ones(6), atol=1e-5)


def test_a_rate_limit_says_how_long_the_questions_would_have_taken(batch):
    oracle = Oracle(tiny.model(), per_minute=12)
    oracle(batch)
    assert oracle.minutes == pytest.approx(0.5)
    assert Oracle(tiny.model()).minutes == 0


def test_a_patient_who_is_asked_about_again_and_again_is_locked_and_the_others_are_not(batch):
    oracle = Oracle(tiny.model(), repeats=3, near=2 / 255)
    noise = torch.rand(10, *batch[0].shape, generator=torch.Generator().manual_seed(0)) * 4 / 255
    for n in range(4):  # the first, and three that are nearly the same
        oracle((batch[:1] + noise[n]).clamp(0, 1), ids=[0])
    with pytest.raises(QueriesRefused, match="patient 0 is locked from now on: more than 3 images"):
        oracle((batch[:1] + noise[5]).clamp(0, 1), ids=[0])
    with pytest.raises(QueriesRefused, match="patient 0 is locked"):
        oracle(batch[1:2], ids=[0])
    assert oracle.left([0]).item() == 0 and oracle.spent([0]).item() == 4
    oracle(batch[1:4], ids=[1, 2, 3])


def test_a_call_refused_for_one_patient_is_not_held_against_the_others_in_it(batch):
    oracle = Oracle(tiny.model(), repeats=0, near=2 / 255)
    oracle(batch[:1], ids=[0])
    with pytest.raises(QueriesRefused) as refusal:
        oracle(batch[[0, 1, 2]], ids=[0, 1, 2])
    assert refusal.value.ids == (0,) and oracle.total == 1
    oracle(batch[[1, 2]], ids=[1, 2])  # the same images again, but the first time that they are answered
    assert oracle.locked == {0} and oracle.total == 3


def test_repetitions_within_one_call_count(batch):
    oracle = Oracle(tiny.model(), repeats=2, near=1 / 255)
    oracle(batch[[0, 0, 0]], ids=[4, 4, 4])
    with pytest.raises(QueriesRefused, match="patient 4 is locked"):
        oracle(batch[[0]], ids=[4])


def test_different_images_of_one_patient_are_no_repetition():
    oracle = Oracle(tiny.model(), repeats=1, near=1 / 255)
    ramp = torch.linspace(0, 0.9, 8).view(8, 1, 1, 1).expand(8, 3, 32, 32)
    assert oracle(ramp, ids=[5] * 8).shape == (8, 2)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"model": "resnet"}, "model must be a function from images to logits; got str"),
        ({"model": torch.nn.Linear(2, 2).train()}, "training mode"),
        ({"reveals": "gradient"}, "reveals='gradient': an Oracle reveals 'probabilities', 'label', 'logits'"),
        ({"budget": -1}, "budget=-1"),
        ({"budget": 2.5}, "budget=2.5"),
        ({"decimals": -1}, "decimals=-1"),
        ({"decimals": 2, "reveals": "label"}, "a label has none"),
        ({"noise": -0.1}, "noise=-0.1"),
        ({"per_minute": 0}, "per_minute=0"),
        ({"repeats": -2}, "repeats=-2"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Oracle(**{"model": tiny.model()} | arguments)


def test_an_oracle_of_an_oracle_is_refused():
    with pytest.raises(ValueError, match="is an Oracle already"):
        Oracle(Oracle(tiny.model()))


def test_a_model_that_answers_nan_is_named(batch):
    with pytest.raises(ValueError, match="answers with NaN or infinity"):
        Oracle(lambda x: torch.full((len(x), 2), float("nan")))(batch)


def test_bad_questions_are_named(batch):
    oracle = Oracle(tiny.model())
    with pytest.raises(ValueError, match="looks normalised"):
        oracle(batch * 6 - 2)
    with pytest.raises(ValueError, match="6 images came with 2 ids"):
        oracle(batch, ids=[1, 2])
    for ids in (["anna"] * 6, 17, [0.5] * 6):
        with pytest.raises(ValueError, match="ids must be whole numbers, one for each image"):
            oracle(batch, ids=ids)
    assert oracle.total == 0 and len(oracle.left([])) == 0


def test_it_says_what_it_is(batch):
    oracle = Oracle(tiny.model(), "label", budget=10)
    oracle(batch)
    assert repr(oracle) == "Oracle(reveals label; 6 queries about 6 patients; 10 a patient)"
