"""Teacher voices: flite (Debian packages flite, libflite1) through ctypes."""
import ctypes
import os

import numpy as np

RATE = 16000                 # every voice used here is a 16 kHz voice
# rms is recorded louder than slt; these bring both to about the same level.
GAIN = {"rms": 1.3, "slt": 0.8, "awb": 1.1, "kal16": 1.0}


# Pitch and formants of a voice, times numerator / denominator: an independent recogniser makes a
# third fewer word errors with slt lowered by 8 % (0.075 against 0.105 on 100 sentences).
PITCH = {"slt": (23, 25)}


class _Wave(ctypes.Structure):
    _fields_ = [("type", ctypes.c_char_p), ("sample_rate", ctypes.c_int),
                ("num_samples", ctypes.c_int), ("num_channels", ctypes.c_int),
                ("samples", ctypes.POINTER(ctypes.c_short))]


class _Voice(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_void_p)]


class Flite:
    """One synthesiser per process. `folder` holds the shared libraries (None: the system's)."""

    def __init__(self, voices, folder=None):
        def load(name):
            path = os.path.join(folder, name) if folder else name
            return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)

        if folder and os.path.exists(os.path.join(folder, "libasound.so.2")):
            load("libasound.so.2")
        self._lib = load("libflite.so.1")
        for name in ("libflite_usenglish.so.1", "libflite_cmulex.so.1"):
            load(name)
        self._lib.flite_init()
        self._lib.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        self._lib.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        self._lib.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
        self._lib.feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
        self._voices = {}
        for voice in voices:
            register = getattr(load(f"libflite_cmu_us_{voice}.so.1"), f"register_cmu_us_{voice}")
            register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
            self._voices[voice] = register(None)
            if voice in PITCH:           # spoken faster, for playing it slower keeps its pace
                features = ctypes.cast(self._voices[voice], ctypes.POINTER(_Voice))[0].features
                up, down = PITCH[voice]
                self._lib.feat_set_float(features, b"duration_stretch", up / down)

    def say(self, text, voice):
        """-> float32 [samples] at 16 kHz, silence at both ends trimmed"""
        wave = self._lib.flite_text_to_wave(text.encode(), self._voices[voice])
        c = wave.contents
        assert c.sample_rate == RATE, (voice, c.sample_rate)
        x = np.ctypeslib.as_array(c.samples, shape=(c.num_samples,)).astype(np.float32) / 32768.0
        self._lib.delete_wave(wave)
        return trim(repitch(x, *PITCH.get(voice, (1, 1))) * GAIN[voice])


def repitch(x, up, down):
    """x [samples] -> [samples * down / up], the same wave played up/down times as fast"""
    if up == down:
        return x
    rounds = -(-len(x) // (32 * up))
    n = 32 * rounds * down
    spectrum = np.fft.rfft(np.pad(x, (0, 32 * rounds * up - len(x))))
    if up < down:
        spectrum = np.pad(spectrum, (0, n // 2 + 1 - len(spectrum)))
    return (np.fft.irfft(spectrum[:n // 2 + 1], n) * (down / up)).astype(np.float32)


def trim(x, threshold=4e-3, tail=0.05):
    """Cut leading and trailing near-silence, keeping `tail` seconds after the last sound."""
    loud = np.flatnonzero(np.abs(x) > threshold)
    if len(loud) == 0:
        return x[:0]
    return x[max(0, loud[0] - RATE // 200):loud[-1] + 1 + int(tail * RATE)]
