"""NVIDIA's run-time compiler without a GPU or a driver: CUDA source to a cubin, through the wheel nvidia-cuda-nvrtc."""

import ctypes
from importlib import metadata


def _load():
    for wheel in ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu13", "nvidia-cuda-nvrtc-cu12"):
        try:
            files = metadata.files(wheel) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libnvrtc.so"):
                return ctypes.CDLL(str(file.locate()))
    return None


LIBRARY = _load()
missing = None if LIBRARY else "NVRTC is not installed: pip install nvidia-cuda-nvrtc"


def _check(status, program=None):
    if status == 0:
        return
    log = b""
    if program is not None:
        size = ctypes.c_size_t()
        LIBRARY.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        LIBRARY.nvrtcGetProgramLog(program, log)
        log = log.value
    raise RuntimeError(f"NVRTC error {status}: {log.decode()}")


def cubin(source, arch):
    """The machine code of a source for one architecture ("sm_90"). Raises RuntimeError with the compiler's words."""
    program = ctypes.c_void_p()
    _check(LIBRARY.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None))
    try:
        options = (ctypes.c_char_p * 2)(f"-arch={arch}".encode(), b"-std=c++17")
        _check(LIBRARY.nvrtcCompileProgram(program, len(options), options), program)
        size = ctypes.c_size_t()
        _check(LIBRARY.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        code = ctypes.create_string_buffer(size.value)
        _check(LIBRARY.nvrtcGetCUBIN(program, code))
        return code.raw
    finally:
        LIBRARY.nvrtcDestroyProgram(ctypes.byref(program))
