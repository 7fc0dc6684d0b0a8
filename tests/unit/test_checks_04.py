"""The checks of lesson 04's exercises accept what is right and name what is wrong."""

import torch
import torch.nn.functional as F
from checks import assert_check_is_sound


def project(x_adv, x, eps):
    x_adv = torch.clamp(x_adv, x - eps, x + eps)
    return x_adv.clamp(0, 1)


def test_check_project_knows_right_from_wrong():
    def by_the_change(x_adv, x, eps):
        return (x + (x_adv - x).clamp(-eps, eps)).clamp(0, 1)

    def by_maximum_and_minimum(x_adv, x, eps):
        lower, upper = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
        return torch.minimum(torch.maximum(x_adv, lower), upper)

    assert_check_is_sound(
        "project",
        solution=project,
        alternatives=[by_the_change, by_maximum_and_minimum],
        mistakes={
            "forgets the pixel range": (lambda x_adv, x, eps: x + (x_adv - x).clamp(-eps, eps), "between 0, black, and 1"),
            "forgets the ball": (lambda x_adv, x, eps: x_adv.clamp(0, 1), "0.1 is allowed"),
            "goes back to the start": (
                lambda x_adv, x, eps: torch.where((x_adv - x).abs() > eps, x, x_adv).clamp(0, 1),
                "That is where it started",
            ),
            "scales the change": (
                lambda x_adv, x, eps: (x + eps * (x_adv - x) / (x_adv - x).abs().amax()).clamp(0, 1),
                "nearer to where it had been moved",
            ),
            "gives the change": (lambda x_adv, x, eps: (x_adv - x).clamp(-eps, eps), "You sent it to"),
            "always to the border": (
                lambda x_adv, x, eps: (x + eps * (x_adv - x).sign()).clamp(0, 1),
                "leaves such a point where it is",
            ),
            "changes its input": (lambda x_adv, x, eps: x_adv.clamp_(0, 1), "in place"),
        },
    )


def pgd(model, x, y, eps, steps, step_size):
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = F.cross_entropy(model(x_adv), y)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = project(x_adv + step_size * gradient.sign(), x, eps)
    return x_adv.detach()


def walk(model, x, y, eps, steps, step_size, *, sign=1, at_start=False, project_each=True, centre_moves=False, use=torch.sign):
    """PGD with one part changed; the mistakes below are made of it."""
    x_adv = x.clone()
    for _ in range(steps):
        point = (x if at_start else x_adv).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(point), y), point)
        moved = x_adv + sign * step_size * use(gradient)
        x_adv = project(moved, x_adv if centre_moves else x, eps) if project_each else moved
    return project(x_adv, x, eps).detach() if not centre_moves else x_adv.detach()


def test_check_pgd_knows_right_from_wrong():
    def with_backward(model, x, y, eps, steps, step_size):
        delta = torch.zeros_like(x)
        for _ in range(steps):
            delta = delta.detach().requires_grad_()
            F.cross_entropy(model(x + delta), y, reduction="sum").backward()
            step = (delta.detach() + step_size * delta.grad.sign()).clamp(-eps, eps)
            delta = (x + step).clamp(0, 1) - x
        model.zero_grad()
        return x + delta.detach()

    def in_one_line(model, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            x_adv.requires_grad_()
            gradient = torch.autograd.grad(F.nll_loss(model(x_adv).log_softmax(1), y), x_adv)[0]
            x_adv = torch.minimum(torch.maximum(x_adv.detach() + step_size * gradient.sign(), x - eps), x + eps).clamp(0, 1)
        return x_adv.detach()

    def without_detach(model, x, y, eps, steps, step_size):
        x_adv = x.clone().requires_grad_()
        for _ in range(steps):
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
            x_adv = project(x_adv + step_size * gradient.sign(), x, eps)
        return x_adv

    assert_check_is_sound(
        "pgd",
        solution=pgd,
        alternatives=[with_backward, lambda *arguments: in_one_line(*[a.clone() if torch.is_tensor(a) else a for a in arguments])],
        mistakes={
            "downhill": (lambda *a: walk(*a, sign=-1), "walking downhill"),
            "same direction every time": (lambda *a: walk(*a, at_start=True), "Ask the model again where you are"),
            "projects once, at the end": (lambda *a: walk(*a, project_each=False), "You project once, at the end"),
            "never projects": (lambda m, x, y, e, n, s: walk(m, x, y, 1.0, n, s), "eps allows 0.1"),
            "ball around the last point": (lambda *a: walk(*a, centre_moves=True), "around `x`, the clean"),
            "step of eps": (lambda m, x, y, e, n, s: walk(m, x, y, e, n, e), "should move pixels by step_size"),
            "gradient without sign": (lambda *a: walk(*a, use=lambda g: g), "should move pixels by step_size"),
            "one step short": (lambda m, x, y, e, n, s: walk(m, x, y, e, max(n - 1, min(n, 1)), s), "one step more or less"),
            "hangs on the graph": (without_detach, "still hang on the graph"),
        },
    )


def targeted(model, x, target, eps, steps, step_size):
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = F.cross_entropy(model(x_adv), target)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = project(x_adv - step_size * gradient.sign(), x, eps)
    return x_adv.detach()


def test_check_targeted_knows_right_from_wrong():
    def climbs_the_negative_loss(model, x, target, eps, steps, step_size):
        x_adv = x.clone()
        for _ in range(steps):
            x_adv.requires_grad_()
            (gradient,) = torch.autograd.grad(-F.cross_entropy(model(x_adv), target), x_adv)
            x_adv = project(x_adv.detach() + step_size * gradient.sign(), x, eps)
        return x_adv

    def climbs_the_probability(model, x, target, eps, steps, step_size):
        x_adv = x.clone()
        for _ in range(steps):
            x_adv = x_adv.detach().requires_grad_()
            model(x_adv).log_softmax(1)[torch.arange(len(x)), target].sum().backward()
            x_adv = project(x_adv + step_size * x_adv.grad.sign(), x, eps)
        model.zero_grad()
        return x_adv.detach()

    def away_from_the_answer(model, x, target, eps, steps, step_size):
        return walk(model, x, model(x).argmax(1), eps, steps, step_size)

    def one_long_step(model, x, target, eps, steps, step_size):
        return walk(model, x, target, eps, min(steps, 1), eps, sign=-1)

    assert_check_is_sound(
        "targeted",
        solution=targeted,
        alternatives=[climbs_the_negative_loss, climbs_the_probability],
        mistakes={
            "away from the target": (lambda *a: walk(*a), "further from answering with the"),
            "away from the answer": (away_from_the_answer, "the target"),
            "one long step": (one_long_step, "was within reach in 6 steps"),
            "gradient at the start": (lambda *a: walk(*a, sign=-1, at_start=True), "was within reach in 6 steps"),
            "never projects": (lambda m, x, t, e, n, s: walk(m, x, t, 1.0, n, s, sign=-1), "eps allows 0.1"),
            "leaves the pixel range": (
                lambda m, x, t, e, n, s: targeted(m, x, t, e, n, s) + 1,
                "your images",
            ),
        },
    )


def smallest_eps(fooled, n, largest, halvings):
    low, high = torch.zeros(n), torch.full((n,), largest)
    never = ~fooled(high)
    for _ in range(halvings):
        middle = (low + high) / 2
        success = fooled(middle)
        low = torch.where(success, low, middle)
        high = torch.where(success, middle, high)
    high[never] = float("inf")
    return high


def test_check_smallest_eps_knows_right_from_wrong():
    def with_masks(fooled, n, largest, halvings):
        low, high = torch.zeros(n), torch.ones(n) * largest
        reached = fooled(high)
        for _ in range(halvings):
            middle = (low + high) / 2
            success = fooled(middle)
            high[success] = middle[success]
            low[~success] = middle[~success]
        return torch.where(reached, high, torch.inf)

    def by_steps_from_below(fooled, n, largest, halvings):
        step, low = largest / 2, torch.zeros(n)
        reached = fooled(torch.full((n,), largest))
        for _ in range(halvings):
            low = torch.where(fooled(low + step), low, low + step)
            step /= 2
        return torch.where(reached, low + 2 * step, torch.tensor(float("inf")))

    def swapped_halves(fooled, n, largest, halvings):
        low, high = torch.zeros(n), torch.full((n,), largest)
        never = ~fooled(high)
        for _ in range(halvings):
            middle = (low + high) / 2
            success = fooled(middle)
            low, high = torch.where(success, middle, low), torch.where(success, high, middle)
        high[never] = float("inf")
        return high

    def lower_end(fooled, n, largest, halvings):
        low, high = torch.zeros(n), torch.full((n,), largest)
        never = ~fooled(high)
        for _ in range(halvings):
            middle = (low + high) / 2
            success = fooled(middle)
            low, high = torch.where(success, low, middle), torch.where(success, middle, high)
        low[never] = float("inf")
        return low

    def without_infinity(fooled, n, largest, halvings):
        return smallest_eps(lambda eps: fooled(eps) | (eps >= largest), n, largest, halvings)

    def one_for_all(fooled, n, largest, halvings):
        low, high = 0.0, largest
        for _ in range(halvings):
            middle = (low + high) / 2
            if fooled(torch.full((n,), middle)).all():
                high = middle
            else:
                low = middle
        return torch.where(fooled(torch.full((n,), largest)), torch.full((n,), high), torch.inf)

    def a_scalar(fooled, n, largest, halvings):
        return fooled(largest)

    def a_grid(fooled, n, largest, halvings):
        found = torch.full((n,), float("inf"))
        for k in range(64, -1, -1):
            eps = torch.full((n,), largest * k / 64)
            found = torch.where(fooled(eps), eps, found)
        return found

    assert_check_is_sound(
        "smallest_eps",
        solution=smallest_eps,
        alternatives=[with_masks, by_steps_from_below],
        mistakes={
            "keeps the wrong half": (swapped_halves, "Which half of the interval"),
            "the lower end": (lower_end, "At that eps the attack fails"),
            "no infinity": (without_infinity, "Say infinity"),
            "one eps for all": (one_for_all, "border of their own"),
            "asks with a number": (a_scalar, "wants one eps for each of the 6 patients"),
            "one halving short": (lambda fooled, n, largest, halvings: smallest_eps(fooled, n, largest, halvings - 1), "Are all of them done"),
            "a grid instead of halves": (a_grid, "You returned"),
        },
    )
