"""Back ends: frames -> logits and embedding. One file each; the table below is all there is."""

from earwitness.shelf import Shelf

__all__ = ["BACKENDS"]

BACKENDS = Shelf(
    "earwitness.backends",
    "back end",
    {
        "linear": "linear:Linear",
        "mlp": "mlp:MLP",
        "rat": "rat:RAT",
        "ff_pair": "ff_pair:FFPair",
        "lcnn": "lcnn:LCNN",
        "resnet": "resnet:ResNet",
        "convnext": "convnext:ConvNeXt",
        "nes2net": "nes2net:Nes2Net",
        "rawnet2": "rawnet2:RawNet2",
        "aasist": "aasist:AASIST",
        "ssl_aasist": "ssl_aasist:SSLAASIST",
    },
    helpers=("base", "layers", "pooling"),
)
