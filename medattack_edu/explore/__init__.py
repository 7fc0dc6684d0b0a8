"""Widgets to explore with: a slider moves, a picture follows. Each computes what is slow once, when it is made."""

from medattack_edu.explore.asking import queries
from medattack_edu.explore.decisions import agreement, threshold
from medattack_edu.explore.sizes import epsilon
from medattack_edu.explore.transfers import transfer
from medattack_edu.explore.walks import steps
from medattack_edu.explore.widget import interactive

__all__ = ["agreement", "epsilon", "interactive", "queries", "steps", "threshold", "transfer"]
