"""The three diagnostic tasks: their names, classes and words. No images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A clinic's question. `classes` holds the healthy class first and the disease second, in every source."""

    name: str
    title: str
    classes: tuple[str, str]
    question: str


TASKS = {
    task.name: task
    for task in (
        Task(
            "fundus",
            "Eye clinic: photographs of the retina",
            ("not_referable", "referable"),
            "Does this eye need a referral for diabetic retinopathy?",
        ),
        Task(
            "chest",
            "Chest clinic: radiographs",
            ("normal", "pneumonia"),
            "Does this radiograph show pneumonia?",
        ),
        Task(
            "derm",
            "Skin clinic: dermoscopy",
            ("nevus", "melanoma"),
            "Is this mole a melanoma?",
        ),
    )
}
CLASSES = {name: task.classes for name, task in TASKS.items()}


def task(name):
    """The task of that name, or a ValueError that lists the names."""
    if name not in TASKS:
        raise ValueError(f"There is no clinic {name!r}. The clinics are {', '.join(map(repr, TASKS))}.")
    return TASKS[name]
