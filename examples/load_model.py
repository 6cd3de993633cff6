"""Use a trained network with torch and safetensors alone: python load_model.py runs/lean/model.safetensors"""

import sys

import torch
from safetensors.torch import load_file
from torch.nn.functional import conv2d, linear, max_pool2d

w = load_file(sys.argv[1])


def network(images: torch.Tensor) -> torch.Tensor:  # (n, 1, 28, 28) in [0, 1], light digits on dark
    x = max_pool2d(conv2d(images, w["conv1.weight"], w["conv1.bias"]), 2)
    x = max_pool2d(conv2d(x, w["conv2.weight"], w["conv2.bias"]), 2)
    return linear(linear(x.flatten(1), w["fc1.weight"], w["fc1.bias"]), w["fc2.weight"], w["fc2.bias"])


print(network(torch.zeros(1, 1, 28, 28)).softmax(dim=1))
