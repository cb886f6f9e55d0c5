"""torchvision is built for CUDA, and beside torch's CPU build its operators are missing. Imported before it, this
declares those that its import describes: Composer imports it, and calls none of them here."""

import torch

if torch.version.cuda is None:
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
