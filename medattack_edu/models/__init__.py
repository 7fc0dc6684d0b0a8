"""Models: pixels in [0, 1] go in, logits come out. Normalisation lives inside each model.

`models.efficientnet_lite`, `models.finetune`, `models.freeze` and `models.victims` are modules; the function of the same name
is in each. `SmallCNN` stands here.
"""

from medattack_edu.models import efficientnet_lite, finetune, freeze
from medattack_edu.models.small_cnn import SmallCNN

__all__ = ["SmallCNN", "efficientnet_lite", "finetune", "freeze"]
