// An element-wise formula as one kernel, and its sums over channels. The formula is put in where the macros stand:
//   INPUTS RESULTS NUMBERS    parameters: const T* of each input, T* of each result, T of each number
//   LOAD(i, channels)         the inputs' values for element i of (rows, channels)
//   FORMULA                   the operations in their order, each a value of its own
//   STORE(i)                  results, written at element i
//   VALUES COUNT              the results' values, and how many there are
//   T                         float or double
//   THREADS                   threads of a block

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

// partials[p, k, c] = scale · Σ formula_k(inputs[r, c]) over the rows of part p: rows p·height + d, …, parts·height apart.
//
// A block makes one part of `lanes` channels: its threads lie as (height, lanes), so that neighbours read neighbours. Each sums
// every (parts·height)-th row, then the block halves its height until one row is left. No order is left to chance, so the same
// input gives the same bytes.
extern "C" __global__ void column_sums(
    INPUTS T* partials, NUMBERS T scale, index_t rows, index_t channels, index_t lanes, index_t parts)
{
    __shared__ T shared[COUNT][THREADS];
    index_t tiles = (channels + lanes - 1) / lanes, height = THREADS / lanes;
    index_t part = blockIdx.x / tiles, down = threadIdx.x / lanes;
    index_t channel = blockIdx.x % tiles * lanes + threadIdx.x % lanes;
    T sums[COUNT] = {};
    auto add = [&](index_t row) {
        index_t i = row * channels + channel;
        LOAD(i, channels)
        FORMULA
        const T values[COUNT] = {VALUES};
        for (int k = 0; k < COUNT; k++) sums[k] += values[k];
    };
    if (channel < channels) {
        index_t row = part * height + down, step = parts * height;
        for (; row + 7 * step < rows; row += 8 * step)
            #pragma unroll
            for (int k = 0; k < 8; k++) add(row + k * step);  // eight loads on their way at once
        for (; row < rows; row += step) add(row);
    }
    for (int k = 0; k < COUNT; k++) shared[k][threadIdx.x] = sums[k];
    for (index_t half = height / 2; half > 0; half /= 2) {
        __syncthreads();
        if (down < half)
            for (int k = 0; k < COUNT; k++) shared[k][threadIdx.x] += shared[k][threadIdx.x + half * lanes];
    }
    if (down == 0 && channel < channels)
        for (int k = 0; k < COUNT; k++) partials[(part * COUNT + k) * channels + channel] = scale * shared[k][threadIdx.x];
}
