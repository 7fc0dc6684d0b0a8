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
            "forgets the pixel range": (
                lambda x_adv, x, eps: x + (x_adv - x).clamp(-eps, eps),
                "You sent it to -0.05. A pixel lies between 0, black, and 1",
            ),
            "forgets the ball": (
                lambda x_adv, x, eps: x_adv.clamp(0, 1),
                "That is 0.25 away from where it was, and 0.1 is allowed",
            ),
            "goes back to the start": (
                lambda x_adv, x, eps: torch.where((x_adv - x).abs() > eps, x, x_adv).clamp(0, 1),
                "That is where it started",
            ),
            "scales the change": (
                lambda x_adv, x, eps: (x + eps * (x_adv - x) / (x_adv - x).abs().amax()).clamp(0, 1),
                "nearer to where it had been moved",
            ),
            "gives the change": (
                lambda x_adv, x, eps: (x_adv - x).clamp(-eps, eps),
                "You sent it to 0.1. That is 0.40 away",
            ),
            "always to the border": (
                lambda x_adv, x, eps: (x + eps * (x_adv - x).sign()).clamp(0, 1),
                "You sent it to 0.6. It had not left",
            ),
            "changes its input": (lambda x_adv, x, eps: x_adv.clamp_(0, 1), "in place"),
            "the first image only": (
                lambda x_adv, x, eps: torch.cat([project(x_adv[:1], x[:1], eps), x_adv[1:].clamp(0, 1)]),
                "yours is 0.2. 36 of 144 values differ",
            ),
            "every image in the box of the first": (
                lambda x_adv, x, eps: project(x_adv, x[:1], eps),
                "yours is 0.85. 60 of 144 values differ",
            ),
            "in double precision": (
                lambda x_adv, x, eps: project(x_adv.double(), x.double(), eps),
                "expected was float32",
            ),
            "an eps of its own": (
                lambda x_adv, x, eps: project(x_adv, x, 0.1),
                "With eps = 2/255, the projected images",
            ),
            "pixels of 0 to 255": (lambda x_adv, x, eps: (255 * project(x_adv, x, eps)).round(), "You sent it to 153."),
            "rounds to grey levels": (
                lambda x_adv, x, eps: (255 * project(x_adv, x, eps)).round() / 255,
                "You sent it to 0.549. It had not left",
            ),
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


def walk(
    model, x, y, eps, steps, step_size, *, sign=1, at_start=False, project_each=True, centre_moves=False, use=torch.sign
):
    """PGD with one part changed; the mistakes below are made of it."""
    x_adv = x.clone()
    for _ in range(steps):
        point = (x if at_start else x_adv).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(point), y), point)
        moved = x_adv + sign * step_size * use(gradient)
        x_adv = project(moved, x_adv if centre_moves else x, eps) if project_each else moved
    return project(x_adv, x, eps).detach() if not centre_moves else x_adv.detach()


def slope(model, x, y):
    point = x.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(point), y), point)[0]


def test_check_pgd_knows_right_from_wrong():
    def with_backward(model, x, y, eps, steps, step_size):
        delta = torch.zeros_like(x)
        for _ in range(steps):
            delta = delta.detach().requires_grad_()
            F.cross_entropy(model(x + delta), y, reduction="sum").backward()
            step = (delta.detach() + step_size * delta.grad.sign()).clamp(-eps, eps)
            delta = (x + step).clamp(0, 1) - x
        return x + delta.detach()

    def with_autograd_switched_off(model, x, y, eps, steps, step_size):
        x_adv = x.detach().clone()
        for _ in range(steps):
            x_adv.requires_grad = True
            F.cross_entropy(model(x_adv), y).backward()
            with torch.no_grad():
                x_adv = project(x_adv + step_size * x_adv.grad.sign(), x, eps)
        return x_adv

    def image_by_image(model, x, y, eps, steps, step_size):
        return torch.cat([pgd(model, x[i : i + 1], y[i : i + 1], eps, steps, step_size) for i in range(len(x))])

    def in_one_line(model, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            x_adv.requires_grad_()
            gradient = torch.autograd.grad(F.nll_loss(model(x_adv).log_softmax(1), y), x_adv)[0]
            x_adv = torch.minimum(torch.maximum(x_adv.detach() + step_size * gradient.sign(), x - eps), x + eps).clamp(
                0, 1
            )
        return x_adv.detach()

    def without_detach(model, x, y, eps, steps, step_size):
        x_adv = x.clone().requires_grad_()
        for _ in range(steps):
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
            x_adv = project(x_adv + step_size * gradient.sign(), x, eps)
        return x_adv

    def never_projects(model, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            x_adv = x_adv + step_size * slope(model, x_adv, y).sign()
        return x_adv

    def in_the_box(model, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            x_adv = (x_adv + step_size * slope(model, x_adv, y).sign()).clamp(x - eps, x + eps)
        return x_adv

    def a_random_start(model, x, y, eps, steps, step_size):
        x_adv = project(x + eps * (2 * torch.rand_like(x) - 1), x, eps)
        for _ in range(steps):
            x_adv = project(x_adv + step_size * slope(model, x_adv, y).sign(), x, eps)
        return x_adv

    def keeps_who_is_fooled(model, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            right = (model(x_adv).argmax(1) == y)[:, None, None, None]
            x_adv = torch.where(right, project(x_adv + step_size * slope(model, x_adv, y).sign(), x, eps), x_adv)
        return x_adv

    def with_momentum(model, x, y, eps, steps, step_size):
        x_adv, uphill = x, torch.zeros_like(x)
        for _ in range(steps):
            uphill = uphill + slope(model, x_adv, y)
            x_adv = project(x_adv + step_size * uphill.sign(), x, eps)
        return x_adv

    def watches_the_original(model, x, y, eps, steps, step_size):
        x.requires_grad_()
        x_adv = x
        for _ in range(steps):
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
            x_adv = project(x_adv + step_size * gradient.sign(), x, eps)
        return x_adv.detach()

    assert_check_is_sound(
        "pgd",
        solution=pgd,
        alternatives=[
            with_backward,
            with_autograd_switched_off,
            image_by_image,
            lambda model, x, *rest: in_one_line(model, x.clone(), *rest),
        ],
        mistakes={
            "downhill": (lambda *a: walk(*a, sign=-1), "walking downhill"),
            "same direction every time": (lambda *a: walk(*a, at_start=True), "Ask the model again where you are"),
            "projects once, at the end": (lambda *a: walk(*a, project_each=False), "You project once, at the end"),
            "never projects": (never_projects, "The values of your images run from"),
            "ball around the last point": (lambda *a: walk(*a, centre_moves=True), "A pixel has moved by 0.240"),
            "step of eps": (lambda m, x, y, e, n, s: walk(m, x, y, e, n, e), "the furthest of yours moved by 0.1."),
            "gradient without sign": (lambda *a: walk(*a, use=lambda g: g), "the furthest of yours moved by 0.0"),
            "one step short": (
                lambda m, x, y, e, n, s: walk(m, x, y, e, max(n - 1, min(n, 1)), s),
                "where 5 steps lead",
            ),
            "twice the steps": (
                lambda m, x, y, e, n, s: walk(m, x, y, e, n if n < 2 else 2 * n, s),
                "where 12 steps lead",
            ),
            "a step more": (lambda m, x, y, e, n, s: walk(m, x, y, e, n if n < 2 else n + 1, s), "where 7 steps lead"),
            "stays in the pixel range only at the end": (
                lambda *a: in_the_box(*a).clamp(0, 1),
                "You keep to 0 and 1 only at the end",
            ),
            "softmax twice": (
                lambda m, x, y, *a: pgd(lambda point: m(point).softmax(1), x, y, *a),
                "takes probabilities for logits",
            ),
            "the model's answers for the truth": (
                lambda m, x, y, *a: pgd(m, x, m(x).argmax(1), *a),
                "The truth is in `y`",
            ),
            "a random start": (a_random_start, "after 0 steps"),
            "keeps who is fooled": (keeps_who_is_fooled, "where 0 steps lead"),
            "momentum": (with_momentum, "Every step starts where the last one ended"),
            "hangs on the graph": (without_detach, "still hang on the graph"),
            "leaves its caller's x watched": (watches_the_original, "left its caller's `x` watched"),
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
        return x_adv.detach()

    def with_backward(model, x, target, eps, steps, step_size):
        x_adv = x.clone()
        for _ in range(steps):
            x_adv = x_adv.detach().requires_grad_()
            F.cross_entropy(model(x_adv), target).backward()
            x_adv = project(x_adv - step_size * x_adv.grad.sign(), x, eps)
        return x_adv.detach()

    def down_the_way_of_pgd(model, x, target, eps, steps, step_size):
        return pgd(model, x, target, eps, steps, -step_size)

    def in_the_box(model, x, target, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            x_adv = (x_adv - step_size * slope(model, x_adv, target).sign()).clamp(x - eps, x + eps)
        return x_adv.clamp(0, 1)

    def without_detach(model, x, target, eps, steps, step_size):
        return targeted(model, x, target, eps, steps, step_size).requires_grad_()

    def logit_only(model, x, target, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            point = x_adv.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(model(point).gather(1, target[:, None]).sum(), point)
            x_adv = project(x_adv + step_size * gradient.sign(), x, eps)
        return x_adv

    def first_target_for_all(model, x, target, eps, steps, step_size):
        return targeted(model, x, torch.full_like(target, target[0].item()), eps, steps, step_size)

    def stops_on_arrival(model, x, target, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            there = (model(x_adv).argmax(1) == target)[:, None, None, None]
            x_adv = torch.where(there, x_adv, project(x_adv - step_size * slope(model, x_adv, target).sign(), x, eps))
        return x_adv

    def away_from_the_answer(model, x, target, eps, steps, step_size):
        return walk(model, x, model(x).argmax(1), eps, steps, step_size)

    def one_long_step(model, x, target, eps, steps, step_size):
        return walk(model, x, target, eps, min(steps, 1), eps, sign=-1)

    assert_check_is_sound(
        "targeted",
        solution=targeted,
        alternatives=[climbs_the_negative_loss, climbs_the_probability, with_backward, down_the_way_of_pgd],
        mistakes={
            "away from the target": (lambda *a: walk(*a), "further from answering with the"),
            "away from the answer": (away_from_the_answer, "You walk away from the model's answer"),
            "one long step": (one_long_step, "the furthest of yours moved by 0.1."),
            "double steps": (
                lambda m, x, t, e, n, s: targeted(m, x, t, e, n, 2 * s),
                "the furthest of yours moved by 0.08.",
            ),
            "gradient at the start": (
                lambda *a: walk(*a, sign=-1, at_start=True),
                "All your steps go in the same direction",
            ),
            "projects once, at the end": (
                lambda *a: walk(*a, sign=-1, project_each=False),
                "You project once, at the end",
            ),
            "never projects": (lambda m, x, t, e, n, s: walk(m, x, t, 1.0, n, s, sign=-1), "eps allows 0.1"),
            "leaves the pixel range": (
                lambda m, x, t, e, n, s: targeted(m, x, t, e, n, s) + 1,
                "The values of your images run from",
            ),
            "stays in the pixel range only at the end": (in_the_box, "You keep to 0 and 1 only at the end"),
            "a step more": (
                lambda m, x, t, e, n, s: targeted(m, x, t, e, n if n < 2 else n + 1, s),
                "where 7 steps lead",
            ),
            "ten times the steps": (
                lambda m, x, t, e, n, s: targeted(m, x, t, e, n if n < 2 else 10 * n, s),
                "where 60 steps lead",
            ),
            "softmax twice": (lambda m, *a: targeted(lambda x: m(x).softmax(1), *a), "takes probabilities for logits"),
            "the logit of the target only": (logit_only, "yours is 0.666. Every step starts where the last one ended"),
            "one target for all": (first_target_for_all, "target should be 0.505, and yours is 2.155"),
            "stops on arrival": (stops_on_arrival, "where a single step leads"),
            "hangs on the graph": (without_detach, "still hang on the graph"),
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

    def only_below_largest(fooled, n, largest, halvings):
        found = smallest_eps(lambda eps: fooled(eps) | (eps >= largest), n, largest, halvings)
        return torch.where(found >= largest, torch.inf, found)

    def the_middle(fooled, n, largest, halvings):
        return smallest_eps(fooled, n, largest, halvings) - largest / 2 ** (halvings + 1)

    def below_zero(fooled, n, largest, halvings):
        return smallest_eps(fooled, n, largest, halvings).nan_to_num(posinf=-torch.inf)

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
            "keeps the wrong half": (swapped_halves, "You returned 0.06275. Which half of the interval"),
            "the lower end": (lower_end, "At that eps the attack fails"),
            "no infinity": (without_infinity, "you returned 0.0627. Say infinity"),
            "one eps for all": (one_for_all, "border of their own"),
            "asks with a number": (a_scalar, "wants one eps for each of the 6 patients"),
            "one halving short": (
                lambda fooled, n, largest, halvings: smallest_eps(fooled, n, largest, halvings - 1),
                "After 8 halvings the interval",
            ),
            "twice the halvings": (
                lambda fooled, n, largest, halvings: smallest_eps(fooled, n, largest, 2 * halvings - 1),
                "You returned 0.00300. After 8 halvings the sizes",
            ),
            "always eight halvings": (
                lambda fooled, n, largest, halvings: smallest_eps(fooled, n, largest, 8),
                "After 3 halvings the sizes",
            ),
            "always to 16/255": (
                lambda fooled, n, largest, halvings: smallest_eps(fooled, n, 16 / 255, halvings),
                "After 3 halvings the interval",
            ),
            "infinity where high has not moved": (only_below_largest, "Did you see one fail"),
            "the middle of the last interval": (the_middle, "You returned 0.00306. After 8 halvings the sizes"),
            "minus infinity": (below_zero, "you returned -inf"),
            "searches three times": (lambda *a: [smallest_eps(*a) for _ in range(3)][-1], "each is a whole attack"),
            "a grid instead of halves": (a_grid, "You returned 0.00392"),
        },
    )
