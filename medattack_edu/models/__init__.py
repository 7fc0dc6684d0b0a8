"""Models: pixels in [0, 1] go in, logits come out. Normalisation lives inside each model."""

from medattack_edu.models import efficientnet_lite
from medattack_edu.models.finetune import finetune, train_step
from medattack_edu.models.freeze import freeze
from medattack_edu.models.small_cnn import SmallCNN

__all__ = ["SmallCNN", "efficientnet_lite", "finetune", "freeze", "train_step"]
