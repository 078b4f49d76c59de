"""CUDA kernels on the CPU: the very source that a GPU would get, compiled as C++ and run one thread after another.

That proves index arithmetic and formulas, not races. A block's threads run from the last to the first, each to its end. So what
a thread reads from shared memory behind __syncthreads must come from threads behind it: a sum that halves its block does so.
RawModule stands in for cupy.RawModule. Where there is no C++ compiler, `missing` says so.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

COMPILER = shutil.which("g++") or shutil.which("clang++")
missing = None if COMPILER else "no C++ compiler (g++ or clang++) to run the CUDA sources on the CPU"

# What CUDA gives every kernel: where a thread is, and its mathematical functions for both types.
PROLOGUE = """
#define __global__
#define __device__
#define __shared__ static thread_local
#define __align__(bytes) alignas(bytes)
#define __syncthreads()
struct Place { unsigned int x; };
static thread_local Place blockIdx, blockDim, threadIdx;
#define FUNCTION(name) \\
    static inline float name(float x) { return __builtin_##name##f(x); } \\
    static inline double name(double x) { return __builtin_##name(x); }
FUNCTION(sqrt) FUNCTION(exp) FUNCTION(log) FUNCTION(log1p) FUNCTION(expm1)
FUNCTION(tanh) FUNCTION(fabs) FUNCTION(sin) FUNCTION(cos)
static inline float pow(float x, float y) { return __builtin_powf(x, y); }
static inline double pow(double x, double y) { return __builtin_pow(x, y); }
"""

# Calls a kernel of any signature for every thread of a grid, with arguments[i] the address of argument i.
EPILOGUE = """
template <class... A, unsigned long... I>
static void run(void (*kernel)(A...), unsigned blocks, unsigned threads, void** arguments, Indices<I...>)
{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = threads; threadIdx.x-- > 0;) kernel(*(A*)arguments[I]...);
}
"""
INDICES = """
template <unsigned long... I> struct Indices {};
template <unsigned long N, unsigned long... I> struct Make : Make<N - 1, N - 1, I...> {};
template <unsigned long... I> struct Make<0, I...> { typedef Indices<I...> type; };
template <class... A> struct Count { typedef typename Make<sizeof...(A)>::type type; };
template <class... A> static typename Count<A...>::type indices(void (*)(A...)) { return {}; }
"""

# One folder for all processes of a test run: the first one makes it, the others inherit its name, and it goes with the first.
_SHARED = "MINIGAN_TESTS_CUDA_ON_HOST"
if _SHARED not in os.environ:
    _temporary = tempfile.TemporaryDirectory(prefix="minigan-cuda-on-host-")  # removed when Python ends
    os.environ[_SHARED] = _temporary.name
_FOLDER = Path(os.environ[_SHARED])


recording = None  # the launches of the capture that is under way, each to be done when the graph is launched


def enqueue(work):
    """Do work, or, in a capture, put it down for later."""
    if recording is None:
        work()
    else:
        recording.append(work)


def compiled(source, options=()):
    """A C++ source as a library, compiled once in a test run."""
    # Without what these sources do not use, which takes half of the time.
    without = ("-nostdlib", "-fno-exceptions", "-fno-rtti")
    command = [COMPILER, "-x", "c++", "-std=c++17", "-ffp-contract=off", "-shared", "-fPIC", *without, *options]
    library = _FOLDER / f"{hashlib.sha256(' '.join([*command, source]).encode()).hexdigest()[:24]}.so"
    if not library.exists():
        part = library.with_suffix(f".{os.getpid()}")  # renamed when it is whole: another process may be looking for it
        done = subprocess.run([*command, "-o", str(part), "-", "-lm"], input=source, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr[:4000]
        part.replace(library)
    return ctypes.CDLL(str(library))


class RawModule:
    """cupy.RawModule: compiled at once, and refused if it does not compile."""

    def __init__(self, *, code, options=(), backend="nvrtc"):
        assert backend == "nvrtc"
        names = re.findall(r"__global__ void (\w+)\(", code)
        entries = "".join(
            f'extern "C" void on_host_{name}(unsigned blocks, unsigned threads, void** arguments)'
            f"{{ run({name}, blocks, threads, arguments, indices({name})); }}\n"
            for name in names
        )
        # The macros of the source have short names, so ours stand before them and theirs end with it.
        macros = re.findall(r"^#define (\w+)", code, re.MULTILINE)
        ends = "".join(f"#undef {name}\n" for name in macros)
        source = "\n".join([PROLOGUE, code, ends, INDICES, EPILOGUE, entries])
        self._library = compiled(source, (*options, "-O1"))

    def get_function(self, name):
        entry = getattr(self._library, f"on_host_{name}")

        def launch(grid, block, arguments):
            assert len(grid) == len(block) == 1
            assert 0 < block[0] <= 1024
            assert 0 < grid[0] < 1 << 31
            held = [_argument(a) for a in arguments]
            pointers = (ctypes.c_void_p * len(held))(*(a.ctypes.data for a in held))
            # The arguments are fixed here, whatever becomes of the host's variables until a graph runs.
            enqueue(lambda: (entry(ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), pointers), held))

        return launch


def _argument(value):
    """The argument in memory: a device array as its address, a NumPy scalar or a struct as itself; others CuPy would guess."""
    if hasattr(value, "_host"):
        assert value._host.flags.c_contiguous
        return np.array([value._host.ctypes.data], np.uint64)
    if isinstance(value, np.ndarray):
        assert value.size == 1
        assert value.dtype.names
        return value.copy()
    assert isinstance(value, np.generic), f"a kernel got {type(value)}"
    return np.array([value])
