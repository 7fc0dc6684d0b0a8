"""medattack: break, understand and harden medical image classifiers.

The few names that a lesson starts with live here. Each is imported when it is first used, so that a worker process or
the command line doesn't pay for PyTorch, and a kernel only pays for what its lesson needs.
"""

from importlib import import_module

__version__ = "0.1.0"

# name -> the module it comes from; a module that is itself the name stands alone.
_HOMES = {
    "attacks": "medattack_edu.attacks",
    "models": "medattack_edu.models",
    "metrics": "medattack_edu.metrics",
    "show": "medattack_edu.show",
    "explore": "medattack_edu.explore",
    "studies": "medattack_edu.studies",
    "open_clinic": "medattack_edu.clinics.clinic",
    "evaluate": "medattack_edu.metrics",
    "attack_success": "medattack_edu.metrics",
    "freeze": "medattack_edu.models.freeze",
    "check": "medattack_edu.course.checks",
    "hint": "medattack_edu.course.checks",
    "claim": "medattack_edu.course.claims",
    "result": "medattack_edu.course.claims",
    "progress": "medattack_edu.course.progress",
    "quiz": "medattack_edu.course.quiz",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'medattack_edu' has no attribute {name!r}; it offers {', '.join(__all__)}")
    module = import_module(_HOMES[name])
    value = module if _HOMES[name].endswith(f".{name}") and not hasattr(module, name) else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return [*globals(), *__all__]
