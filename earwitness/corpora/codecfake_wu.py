"""CodecFake: VCTK read back by fifteen neural codecs; fakes alone.

Wu et al., "CodecFake: enhancing anti-spoofing models against deepfake audios from codec-based speech
synthesis systems", Interspeech 2024. Files are named ``{CODEC}+{SPEAKER}_{SENTENCE}.wav``, in any
folder. Bonafide speech is in VCTK; read it with ``folder`` and join.
"""

from pathlib import Path

from earwitness.audio import EXTENSIONS
from earwitness.corpora.about import About
from earwitness.corpora.base import listing
from earwitness.errors import ProtocolError
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

ABOUT = About(
    title="CodecFake (Wu et al.)",
    source="Wu et al., Interspeech 2024",
    home="https://codecfake.github.io",
    licence="see its home",
    doubtful="numbers of clips are not known here, so none are enforced",
    by_hand="From its home.",
)


def read(root: str | Path) -> dict[str, Manifest]:
    """``{"all": manifest}`` of fakes: attack and speaker are from the file's name.

    Args:
        root: a folder that holds the files, at any depth.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "encodec_24khz+p272_103.wav").touch()
    >>> [(t.attack, t.speaker) for t in read(folder)["all"]]
    [('encodec_24khz', 'p272')]

    Raises:
        ProtocolError: no audio, or a name of another form.
    """
    root = Path(root)
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in EXTENSIONS)
    if not files:
        raise ProtocolError(
            f"{root}: expected files like encodec_24khz+p272_103.wav; found {listing(root)}."
        )
    return {"all": Manifest("codecfake_wu", [_trial(path, root) for path in files], root=root)}


def _trial(path: Path, root: Path) -> Trial:
    codec, plus, rest = path.stem.partition("+")
    speaker, underscore, _ = rest.partition("_")
    if not (codec and plus and speaker and underscore):
        raise ProtocolError(f"{path}: the name is not CODEC+SPEAKER_SENTENCE; is this another corpus?")
    name = path.relative_to(root).as_posix()
    return Trial(name.rsplit(".", 1)[0], name, "spoof", attack=codec, speaker=speaker)
