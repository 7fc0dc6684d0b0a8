"""Widgets to explore with: a slider moves, a picture follows. Each computes what is slow once, when it is made."""

from medattack_edu.explore.asking import queries
from medattack_edu.explore.decisions import agreement, threshold
from medattack_edu.explore.patches import Scene, own_photo, patch
from medattack_edu.explore.sizes import epsilon
from medattack_edu.explore.transfers import transfer
from medattack_edu.explore.turntables import turntable
from medattack_edu.explore.walks import steps
from medattack_edu.explore.widget import interactive

__all__ = [
    "Scene",
    "agreement",
    "epsilon",
    "interactive",
    "own_photo",
    "patch",
    "queries",
    "steps",
    "threshold",
    "transfer",
    "turntable",
]
