"""Two small networks and their ONNX files: where things are (`Places`), and what one of them is (`Things`)."""

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch.nn.utils.fusion import fuse_conv_bn_eval

SHORT = 64  # shorter side of the picture `Places` sees
CELL, UNIT = 4, 8  # pixels of it in a cell of the grid; its sides are multiples of UNIT
CROP = 64  # edge of the crop `Things` sees
CONTEXT = 1.25  # edge of the crop, in sides of the thing
USUAL = 16  # side in pixels that is 0 in `Places`' logarithm
FEATURES = 96


class Layer(nn.Module):
    """Convolution, normalisation, and unless `linear` a rectifier; `fold` joins the first two."""

    def __init__(self, a, b, stride=1, size=3, linear=False):
        super().__init__()
        self.conv = nn.Conv2d(a, b, size, stride, size // 2, bias=False)
        self.norm, self.linear = nn.BatchNorm2d(b), linear

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x if self.linear else F.relu(x)

    def fold(self):
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.net = nn.Sequential(Layer(c, c), Layer(c, c, linear=True))

    def forward(self, x):
        return F.relu(x + self.net(x))


class Places(nn.Module):
    """rgb [b, 3, 8h, 8w] in [-1, 1] → [b, 4, 2h, 2w]: logit that a thing's centre is in the cell; its offset (x, y)
    from the cell's middle in cells; log of its side over 16 pixels.
    """

    def __init__(self, a=32, b=56):
        super().__init__()
        self.fine = nn.Sequential(Layer(3, 16, 2), Layer(16, a, 2), Block(a))
        self.coarse = nn.Sequential(Layer(a, b, 2), Block(b), Block(b), Layer(b, a, size=1, linear=True))
        self.both = Block(a)
        self.head = nn.Conv2d(a, 4, 1)
        nn.init.constant_(self.head.bias, 0)
        nn.init.constant_(self.head.bias[:1], -3)

    def forward(self, x):
        fine = self.fine(x)
        return self.head(self.both(fine + F.interpolate(self.coarse(fine), scale_factor=2.0)))


class Things(nn.Module):
    """rgb [b, 3, 16h, 16w] in [-1, 1] → logits of the names, the last of which is `none of them`, [b, 65]; of the
    colours [b, 8]; features [b, 96], not negative, the mean over the picture.
    """

    def __init__(self, names=65, colours=8):
        super().__init__()
        self.trunk = nn.Sequential(
            Layer(3, 24, 2),
            Layer(24, 40, 2),
            Block(40),
            Layer(40, 80, 2),
            Block(80),
            Layer(80, 128, 2),
            Block(128),
            Layer(128, FEATURES, size=1),
        )
        self.name, self.colour = nn.Linear(FEATURES, names), nn.Linear(FEATURES, colours)

    def forward(self, x):
        features = self.trunk(x).mean((2, 3))
        return self.name(features), self.colour(features), features


# ---- ONNX ----


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its weights stored as fp16 and cast to fp32 where they are used; the runtime does that once,
    when it loads.
    """
    graph, casts = model.graph, []
    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < 64:
            continue
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), weight.name + ".half"))
        casts.append(helper.make_node("Cast", [weight.name + ".half"], [weight.name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    return model


def export(net: nn.Module, path: str, outputs: list[str]) -> None:
    """Writes the network in evaluation mode, any batch and size; changes it (norms are folded into convolutions)."""
    net.eval()
    for layer in net.modules():
        if isinstance(layer, Layer):
            layer.fold()
    rows, columns = torch.export.Dim("rows", min=2, max=64), torch.export.Dim("columns", min=2, max=64)
    unit = UNIT if isinstance(net, Places) else 16
    program = torch.onnx.export(
        net,
        (torch.zeros(2, 3, 64, 128),),
        input_names=["rgb"],
        output_names=outputs,
        dynamo=True,
        opset_version=18,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch"), 2: unit * rows, 3: unit * columns},),
    )
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.metadata_props[:]
    onnx.save(half_weights(model), path)
