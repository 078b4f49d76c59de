// An element-wise formula as one kernel, and its sums over channels. The formula is put in where the macros stand:
//   INPUTS RESULTS NUMBERS    parameters: const T* of each input, T* of each result, T of each number
//   LOAD(i, channels)         the inputs' values for element i of (rows, channels)
//   FORMULA                   the operations in their order, each a value of its own
//   STORE(i)                  results, written at element i
//   VALUES COUNT              the results' values, and how many there are
//   T                         float or double

typedef unsigned int index_t;

// NumPy's: a NaN on either side is a NaN.
__device__ inline T maximum(T a, T b) { return a > b || a != a ? a : b; }
__device__ inline T minimum(T a, T b) { return a < b || a != a ? a : b; }
__device__ inline T sign(T a) { return a != a ? a : T((a > 0) - (a < 0)); }

// result_i = formula(inputs_i)
extern "C" __global__ void elementwise(INPUTS RESULTS NUMBERS index_t count, index_t channels)
{
    index_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    LOAD(i, channels)
    FORMULA
    STORE(i)
}

// partials[p, k, c] = scale · Σ formula_k(inputs[r, c]) over the rows r = p, p + parts, p + 2·parts, …:
// one thread for each p and c, so the order of the terms is always the same
extern "C" __global__ void column_sums(
    INPUTS T* partials, NUMBERS T scale, index_t rows, index_t channels, index_t parts)
{
    index_t at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= parts * channels) return;
    index_t part = at / channels, channel = at % channels;
    T sums[COUNT] = {};
    for (index_t row = part; row < rows; row += parts) {
        index_t i = row * channels + channel;
        LOAD(i, channels)
        FORMULA
        const T values[COUNT] = {VALUES};
        for (int k = 0; k < COUNT; k++) sums[k] += values[k];
    }
    for (int k = 0; k < COUNT; k++) partials[(part * COUNT + k) * channels + channel] = scale * sums[k];
}
