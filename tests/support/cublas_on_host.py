"""cuBLAS on the CPU: the functions that minigan calls, as a C library with their very signatures, over plain loops.

It reads and writes matrices by columns, as cuBLAS does, and refuses what cuBLAS would refuse or what must not happen: an
unknown handle, a stream whose workspace was not set after it, a leading dimension that is too small.
"""

import ctypes

import cuda_on_host

SOURCE = r"""
#include <cstddef>
#include <cstring>
static int handle_;
static const void* stream_ = (const void*)-1;
static bool has_workspace = false;

extern "C" int cublasCreate_v2(void** handle) { *handle = &handle_; return 0; }
extern "C" int cublasGetVersion_v2(void* handle, int* version) { *version = 130100; return handle == &handle_ ? 0 : 1; }
extern "C" int cublasSetStream_v2(void* handle, void* stream)
{
    if (handle != &handle_) return 1;
    stream_ = stream;
    has_workspace = false;
    return 0;
}
extern "C" int cublasSetWorkspace_v2(void* handle, void* workspace, size_t bytes)
{
    if (handle != &handle_ || stream_ == (const void*)-1 || !workspace || bytes < (1 << 20)) return 1;
    has_workspace = true;
    return 0;
}

static double rounded(double x) { return x; }
static float rounded(float x)  // to TF32's 10 bits of mantissa
{
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    bits = (bits + 0x1000u) & ~0x1fffu;
    std::memcpy(&x, &bits, 4);
    return x;
}

template <class T>
static void gemm(int ta, int tb, int m, int n, int k, const void* alpha, const void* a_, int lda, const void* b_, int ldb,
    const void* beta, void* c_, int ldc, bool tf32)
{
    const T *a = (const T*)a_, *b = (const T*)b_, scale = *(const T*)alpha, keep = *(const T*)beta;
    T* c = (T*)c_;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
            T sum = 0;
            for (int l = 0; l < k; l++) {
                T left = ta ? a[(size_t)i * lda + l] : a[(size_t)l * lda + i];
                T right = tb ? b[(size_t)l * ldb + j] : b[(size_t)j * ldb + l];
                sum += tf32 ? rounded(left) * rounded(right) : left * right;
            }
            T& out = c[(size_t)j * ldc + i];
            out = scale * sum + (keep == 0 ? T(0) : keep * out);  // with a factor of 0 cuBLAS does not read it
        }
}

extern "C" int cublasGemmEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha,
    const void* a, int type_a, int lda, const void* b, int type_b, int ldb, const void* beta,
    void* c, int type_c, int ldc, int compute, int algorithm)
{
    if (handle != &handle_ || !has_workspace || algorithm != -1) return 1;
    if (type_a != type_b || type_a != type_c || (ta | tb) & ~1) return 7;
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m || m < 1 || n < 1 || k < 1) return 7;
    bool is_float = type_a == 0 && (compute == 68 || compute == 77);
    if (!is_float && !(type_a == 1 && compute == 70)) return 15;
    (is_float ? gemm<float> : gemm<double>)(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, compute == 77);
    return 0;
}
"""


class _Queued:
    """A function whose calls wait in the capture that is under way, if there is one. Its status is then that of success."""

    def __init__(self, function):
        self._function = function

    @property
    def argtypes(self):
        return self._function.argtypes

    @argtypes.setter
    def argtypes(self, types):
        self._function.argtypes = types

    def __call__(self, *arguments):
        if cuda_on_host.recording is None:
            return self._function(*arguments)

        def run():
            assert self._function(*arguments) == 0

        cuda_on_host.enqueue(run)
        return 0


class Library:
    """What ctypes.CDLL would give."""

    def __init__(self):
        library = cuda_on_host.compiled(SOURCE, ("-O2",))
        for name in ("cublasCreate_v2", "cublasGetVersion_v2", "cublasSetStream_v2", "cublasSetWorkspace_v2"):
            setattr(self, name, getattr(library, name))
        self.cublasGemmEx = _Queued(library.cublasGemmEx)
        assert isinstance(library, ctypes.CDLL)
