"""The verb ``augment``: one clip before and after, to hear, to see, and to make again."""

import textwrap
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from earwitness.augment.base import Wave

__all__ = ["augment", "describe_draw", "draw_pair"]

_FLOOR = -80  # dB below the loudest spot of either spectrogram
_FILES = ("before.wav", "after.wav", "picture.png", "drawn.json")


def augment(
    clip: Annotated[Path, typer.Argument(help="a recording")],
    how: Annotated[
        list[str], typer.Argument(help="augmentations or presets in order, such as rat or noise")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write into")] = Path("augmented"),
    seed: Annotated[int, typer.Option(min=0, help="another seed draws other parameters")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="name.setting=value, for each of that name")
    ] = None,
) -> None:
    """Augment one recording: audio before and after, a picture, and what was drawn."""
    import numpy as np

    from earwitness import audio
    from earwitness.augment.chain import Chain
    from earwitness.augment.presets import build_named
    from earwitness.figures.style import to_png
    from earwitness.files import require_new_outputs, write_json

    asked = _by_name(settings or (), how)
    parts = [build_named(name, **asked[name]) for name in how]
    chain = Chain(parts=tuple(part.built_from for part in parts))
    outputs = [out / name for name in _FILES]
    require_new_outputs(outputs, [clip])
    before = audio.read(clip).wave
    after, drawn = chain(before, np.random.default_rng(seed))
    # One scale for both, so that they can be compared by ear; a WAV file ends at 1.
    scale = min(1.0, 1 / max(float(np.abs(wave).max()) for wave in (before, after, [1e-9])))
    for path, wave in zip(outputs, (before, after), strict=False):
        audio.write(path, np.clip(scale * wave, -1, 1))
    to_png(draw_pair(before, after, title=f"{clip.name}: {' '.join(how)}", drawn=drawn), outputs[2])
    told = {"clip": clip.name, "seed": seed, "scale": scale, "made_spoof": chain.made_spoof(drawn)}
    write_json(outputs[3], told | {"parts": [part.built_from for part in parts], "drawn": drawn})
    _tell(told, drawn, out)


def _tell(told: dict[str, Any], drawn: dict[str, Any], out: Path) -> None:
    typer.echo(describe_draw(drawn) or "nothing was applied: every gate stayed shut; try another seed")
    if told["made_spoof"]:
        typer.echo("what comes out is a spoof, whatever went in")
    if told["scale"] < 1:
        typer.echo(f"both files are written at {told['scale']:.3f} of their level, to fit into [-1, 1]")
    typer.echo(f"wrote {', '.join(_FILES)} into {out}")


def _by_name(settings: Iterable[str], how: list[str]) -> dict[str, dict[str, Any]]:
    """Settings of each name; a value is TOML, or a plain word.

    >>> _by_name(["noise.snr=[5, 5]", "trim.ends=both"], ["noise", "trim"])
    {'noise': {'snr': [5, 5]}, 'trim': {'ends': 'both'}}
    """
    from earwitness.errors import SettingsError, nearest

    found: dict[str, dict[str, Any]] = {name: {} for name in how}
    for text in settings:
        where, sign, value = text.partition("=")
        name, dot, key = where.strip().partition(".")
        if not (sign and dot and key):
            raise SettingsError(
                f"--set {text!r}: expected name.setting=value, such as noise.snr=[5,10]."
            )
        if name not in found:
            raise SettingsError(f"--set {text!r}: {name!r} isn't asked for{nearest(name, found)}")
        try:
            found[name][key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name][key] = value.strip()
    return found


def describe_draw(drawn: dict[str, Any]) -> str:
    """What was applied in one line: names with the numbers and words that were drawn, without seeds.

    >>> describe_draw({"parts": [None, {"name": "noise", "snr": 7.03, "slope": 0.0, "seed": 3}]})
    'noise (snr 7.03, slope 0)'
    """
    if "parts" in drawn:
        told = [describe_draw(entry) for entry in drawn["parts"] if entry is not None]
        return ", then ".join(one for one in told if one)
    if "choice" in drawn:
        return describe_draw(drawn["drawn"])
    values = [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in drawn.items()
        if key not in ("name", "seed") and isinstance(value, int | float | str)
    ]
    return drawn["name"] + (f" ({', '.join(values)})" if values else "")


def draw_pair(before: "Wave", after: "Wave", *, title: str, drawn: dict[str, Any]) -> "Figure":
    """Waves and spectrograms of a clip before and after, on the same scales.

    >>> import numpy as np
    >>> wave = np.sin(np.arange(16_000) / 9)
    >>> len(draw_pair(wave, wave / 2, title="a.wav: gain", drawn={"parts": []}).axes)
    5
    """
    from matplotlib.figure import Figure

    from earwitness.figures.style import PALETTE, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(10.4, 4.9), layout="constrained")
        rows = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(1, 2.2))
        for panel, wave, name, colour in zip(
            rows[0], (before, after), ("before", "after"), PALETTE, strict=False
        ):
            _draw_wave(panel, wave, colour)
            panel.set_title(f"{name}, {len(wave) / 16_000:.2f} s")
        image = _draw_spectrograms(list(rows[1]), [before, after])
        rows[0][0].set(ylabel="amplitude", xlim=(0, max(len(before), len(after)) / 16_000))
        figure.colorbar(image, ax=rows[1], label="level, dB (loudest: 0)", pad=0.01, aspect=14)
        told = textwrap.shorten(describe_draw(drawn), 330, placeholder=" …")
        figure.suptitle("\n".join([title, *textwrap.wrap(told, 150)]), x=0.01, ha="left", fontsize=9.5)
        return figure

    return draw()


def _draw_wave(panel: "Axes", wave: "Wave", colour: str) -> None:
    import numpy as np

    panel.plot(np.arange(len(wave)) / 16_000, wave, color=colour, linewidth=0.5)


def _draw_spectrograms(panels: list["Axes"], waves: list["Wave"]) -> Any:
    """The images, on one scale of level; gives the last."""
    import numpy as np

    levels = []
    for wave in waves:
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 256), 512)[::128]
        levels.append(20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(512))) + 1e-10).T)
    loudest = max(level.max() for level in levels)
    for panel, wave, level in zip(panels, waves, levels, strict=True):
        image = panel.imshow(
            level - loudest, origin="lower", aspect="auto", cmap="magma", vmin=_FLOOR, vmax=0,
            extent=(0, len(wave) / 16_000, 0, 8),
        )  # fmt: skip
        panel.grid(False)
        panel.set_xlabel("seconds")
    panels[0].set_ylabel("kHz")
    return image
