"""Published corpora in miniature, in their exact formats, made by code: texts, audio and settings."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def sound(path: Path, seed: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE))
    soundfile.write(path, wave, RATE)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


# One miniature each: name -> (files of text, audio files, settings).
LA = (
    "LA_0009 LA_E_1000001 alaw ita_tx A07 spoof notrim eval\r\n"
    "LA_0009 LA_E_1000002 none - bonafide bonafide notrim eval\r\n"
    "LA_0010 LA_E_1000003 pstn mad_tx A08 spoof trim hidden\r\n"
    "LA_0010 LA_E_1000004 gsm loc_tx bonafide bonafide notrim progress\r\n\r\n"
)
DF = (
    "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
    "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural Task1 team20 FF E\n"
    "TEF2 DF_E_2000014 high_ogg vcc2018 - bonafide notrim eval bonafide - - - -\n"
)
ASV5 = {
    "ASVspoof5.train.tsv": (
        "T_4850 T_0000000000 F - - - AC3 A05 spoof -\n"
        "T_3734 T_0000000011 F - - - - bonafide bonafide -\n"
    ),
    "ASVspoof5.dev.track_1.tsv": (
        "D_0062 D_0000000001 F - - - AC1 A11 spoof -\n"
        "D_0461 D_0000000190 M - - - - bonafide bonafide -\n"
    ),
    "ASVspoof5.eval.track_1.tsv": (
        "E_4608 E_0002302238 F C04 2 E_0007161785 AC2 A18 spoof -\n"
        "E_4609 E_0002302239 M - 0 - - bonafide bonafide -\n"
    ),
    "ASVspoof5.eval.track_2.trial.tsv": (
        "E_4608 E_0002302238 F A18 spoof\nE_4609 E_0002302239 M bonafide target\n"
        "E_4608 E_0002302239 M bonafide nontarget\n"
    ),
    "ASVspoof5.eval.track_2.enroll.tsv": "E_4608 E_A0000000562,E_A0000000898\nE_4609 E_A0000000328\n",
}
MINIATURES = {
    "asvspoof2021_la": (
        {"keys/LA/CM/trial_metadata.txt": LA},
        [f"ASVspoof2021_LA_eval/flac/LA_E_100000{n}.flac" for n in range(1, 5)],
        {"check_counts": False},
    ),
    "asvspoof2021_df": (
        {"keys/DF/CM/trial_metadata.txt": DF},
        [f"ASVspoof2021_DF_eval/flac/DF_E_20000{n}.flac" for n in (11, 13, 14)],
        {"check_counts": False},
    ),
    "asvspoof5": (
        ASV5,
        [
            *("flac_T/T_0000000000.flac", "flac_T/T_0000000011.flac", "flac_D/D_0000000001.flac"),
            *("flac_D/D_0000000190.flac", "flac_E_eval/E_0002302238.flac"),
            "flac_E_eval/E_0002302239.flac",
        ],
        {"check_counts": False},
    ),
    "hf": (
        {
            "train/metadata.csv": "file_name,label,attack\na.wav,fake,vits\nb.wav,bonafide,\n",
            "test/metadata.jsonl": '{"file_name": "c.wav", "label": "real"}\n',
        },
        ["train/a.wav", "train/b.wav", "test/c.wav"],
        {},
    ),
    "add2022": (
        {
            "train/label.txt": "ADD_T_00000000.wav genuine\nADD_T_00000001.wav fake\n",
            "track3_R1_label.txt": "ADD_E3_00000000.wav fake\n",
        },
        [*(f"train/wav/ADD_T_0000000{n}.wav" for n in (0, 1)), "track3test/ADD_E3_00000000.wav"],
        {},
    ),
    "add2023": (
        {
            f"{part}/label.txt": f"ADD2023_{part}_1.wav genuine\nADD2023_{part}_2.wav fake\n"
            for part in ("train", "dev", "testR1", "testR2")
        },
        [
            f"{part}/wav/ADD2023_{part}_{n}.wav"
            for part in ("train", "dev", "testR1", "testR2")
            for n in (1, 2)
        ],
        {},
    ),
    "mlaad": (
        {
            "fake/de/vits/meta.csv": (
                "path|original_file|language|is_original_language|duration|training_data|model_name|"
                "architecture|transcript\n./fake/de/vits/a.wav|b.wav|de|True|1.0|x|vits|VITS|"
                '"Ja", sagte er\n'
            )
        },
        ["fake/de/vits/a.wav"],
        {},
    ),
    "codecfake_xie": (
        {
            "label/train.txt": "SSB13650058.wav real 0\nF01_SSB13650058.wav fake 1\n",
            "label/C7.txt": "x.wav fake 7\n",
        },
        ["train/SSB13650058.wav", "train/F01_SSB13650058.wav", "C7/x.wav"],
        {"parts": ("train", "C7")},
    ),
    "ctrsvdd": (
        {
            "train.txt": "m4singer CtrSVDD_0110 CtrSVDD_0110_D_0015416 - - bonafide\n",
            "dev.txt": "jvsmusic CtrSVDD_0097 CtrSVDD_0097_D_0010993 - A06 deepfake\n",
        },
        ["train_set/CtrSVDD_0110_D_0015416.flac", "dev_set/CtrSVDD_0097_D_0010993.flac"],
        {"parts": ("train", "dev")},
    ),
    "morphing": (
        {
            "protocol.txt": "FILE LABEL SPEAKER_ID1 SPEAKER_ID2\n"
            "a.wav morph 1 2\nb.wav bonafide 1 1\nc.wav other 2 2\n"
        },
        ["a.wav", "b.wav", "c.wav"],
        {},
    ),
    "fake_or_real": (
        {},
        [
            f"for-norm/{p}/{c}/{c}1.wav"
            for p in ("training", "validation", "testing")
            for c in ("real", "fake")
        ],
        {},
    ),
    "wavefake": (
        {},
        [
            "generated_audio/ljspeech_melgan/LJ001-0001_gen.wav",
            "generated_audio/jsut_parallel_wavegan/a_gen.wav",
        ],
        {"check_counts": False},
    ),
    "codecfake_wu": ({}, ["x/encodec_24khz+p272_103.wav", "soundstream+p272_103.wav"], {}),
    "spoofceleb": (
        {
            "metadata/train.csv": "file,speaker,attack\na00/id1/x.flac,id1,a00\n"
            "a03/id 1/y.flac,id 1,a03\n"
        },
        ["flac/train/a00/id1/x.flac", "flac/train/a03/id 1/y.flac"],
        {},
    ),
    "decro": (
        {
            "en_train.txt": "unknown 1 - baidu spoof\nspk 2 - - bonafide\n",
            "ch_dev.txt": "unknown 3 - x spoof\n",
        },
        ["en_train/1.wav", "en_train/2.wav", "ch_dev/3.wav"],
        {"parts": ("en_train", "ch_dev")},
    ),
    "deepfake_eval_2024": (
        {
            "audio-metadata-publish.csv": "Filename,Finetuning Set,Ground Truth\n"
            "a.mp3,Train,Fake\nb 1.wav,Test,Real\n"
        },
        ["audio-data/a.mp3", "audio-data/b 1.wav"],
        {},
    ),
}


def build(name: str, root: Path) -> dict:
    """Write a miniature below ``root``; the settings to read it with. A trial for each audio file."""
    texts, audio, settings = MINIATURES[name]
    for path, text in texts.items():
        write(root / path, text)
    for seed, path in enumerate(audio):
        sound((root / path).with_suffix(".wav"), seed)
        (root / path).with_suffix(".wav").rename(root / path)
    return settings
