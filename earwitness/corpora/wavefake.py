"""WaveFake: LJSpeech and JSUT copied by vocoders, and one text-to-speech system; fakes alone.

Frank & Schönherr, "WaveFake: a data set to facilitate audio deepfake detection", NeurIPS 2021. As
published::

    generated_audio/{SET}/{CLIP}_gen.wav

A set is a recording corpus and a generator: ``ljspeech_melgan``. Bonafide speech is in LJSpeech and
JSUT; read them with ``folder`` and join.
"""

from pathlib import Path

from earwitness.audio import EXTENSIONS
from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder, listing
from earwitness.corpora.lines import finish
from earwitness.errors import ProtocolError
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

ABOUT = About(
    title="WaveFake",
    source="Frank & Schönherr, NeurIPS 2021",
    home="https://doi.org/10.5281/zenodo.5642694",
    licence="CC BY-SA 4.0",
    counts={"all": {"spoof": 117_985}},
    zenodo="5642694",
    by_hand="generated_audio.zip of the Zenodo record.",
)


def read(root: str | Path, *, check_counts: bool = True) -> dict[str, Manifest]:
    """``{"all": manifest}`` of fakes: the attack is the set, the domain its recording corpus.

    Args:
        root: the folder with ``generated_audio/``, or one at most two levels above.
        check_counts: compare with the official number of clips.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "generated_audio/ljspeech_melgan").mkdir(parents=True)
    >>> (folder / "generated_audio/ljspeech_melgan/LJ001-0001_gen.wav").touch()
    >>> [(t.id, t.attack, t.domain) for t in read(folder, check_counts=False)["all"]]
    [('ljspeech_melgan/LJ001-0001_gen', 'ljspeech_melgan', 'ljspeech')]

    Raises:
        ProtocolError: another layout, a file that is not audio, or counts differ.
    """
    holder = find_holder(root, "generated_audio")
    trials = []
    for path in sorted((holder / "generated_audio").glob("*/*")):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in EXTENSIONS:
            raise ProtocolError(f"{path}: expected audio ({', '.join(EXTENSIONS)}) below each set.")
        told = path.parent.name
        name = path.relative_to(holder).as_posix()
        domain = next((one for one in ("ljspeech", "jsut") if told.startswith(one)), "-")
        trials.append(Trial(f"{told}/{path.stem}", name, "spoof", attack=told, domain=domain))
    if not trials:
        raise ProtocolError(
            f"{holder / 'generated_audio'}: expected folders such as ljspeech_melgan with audio; "
            f"found {listing(holder / 'generated_audio')}."
        )
    whole = {"all": Manifest("wavefake", trials, root=holder)}
    return finish(whole, ABOUT.counts, check_counts=check_counts, require_audio=False)
