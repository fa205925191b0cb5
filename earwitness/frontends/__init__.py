"""Front ends: wave -> frames. One file each; the table below is all there is."""

from earwitness.shelf import Shelf

__all__ = ["FRONTENDS"]

FRONTENDS = Shelf(
    "earwitness.frontends",
    "front end",
    {
        "wave": "wave:Wave",
        "raw": "raw:Raw",
        "logmel": "logmel:LogMel",
        "lfcc": "lfcc:LFCC",
        "vectors": "vectors:Vectors",
        "pixels": "pixels:Pixels",
        "ssl": "ssl:SSL",
    },
    helpers=("base", "spectra"),
)
