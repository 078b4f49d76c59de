// What surrounds the formulas of a step: its scalars come in, its batch is gathered, its results go out.
//   T S      types of a board or a batch, and of the data that the batch is taken from
//   COUNT    scalars in a board, and the most results that are gathered at once

typedef unsigned int index_t;
typedef unsigned long long long_t;

struct Scalars { double values[COUNT]; };
struct Places { const T* places[COUNT]; };

// board_i = scalars_i: they come by value, so the host may change its own at once
extern "C" __global__ void set_scalars(T* board, Scalars scalars)
{
    index_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < COUNT) board[i] = T(scalars.values[i]);
}

// out_i = the scalar that lies at place i
extern "C" __global__ void gather_scalars(T* out, Places from, index_t count)
{
    index_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = *from.places[i];
}

// out[r, k] = values[order[start + r], k], rows of `size` values each
extern "C" __global__ void take_rows(T* out, const S* values, const long long* order, const double* start, long_t count, long_t size)
{
    long_t i = (long_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    long_t row = i / size;
    out[i] = T(values[order[(long_t)*start + row] * size + i % size]);
}
