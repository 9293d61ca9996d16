"""Write four .wav files into sounds/: tones of 16-bit PCM, to judge the files by."""

import math
import struct
import wave
from pathlib import Path


def main():
    folder = Path("sounds")
    folder.mkdir(exist_ok=True)
    for index, pitch in enumerate((220, 440, 880, 1760)):
        values = [int(20000 * math.sin(2 * math.pi * pitch * step / 16000)) for step in range(3200)]
        with wave.open(str(folder / f"tone-{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(struct.pack(f"<{len(values)}h", *values))


if __name__ == "__main__":
    main()
