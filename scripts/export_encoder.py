"""Write a detector's self-supervised encoder as a folder that transformers and the front end ssl load.

python scripts/export_encoder.py DETECTOR FOLDER
"""

import sys

from earwitness import Detector

if __name__ == "__main__":
    detector, folder = sys.argv[1:]
    Detector.load(detector).front_end.encoder.model.save_pretrained(folder)
