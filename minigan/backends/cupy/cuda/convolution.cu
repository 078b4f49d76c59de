// im2col and its transpose, as gathers: one thread makes one group of channels of the result, so there are no atomics, and the
// same input gives the same bytes.
//
// Compiled once for each geometry. Its numbers are macros, so that every division below is by a constant:
//   H W C    the image and its channels        OH OW    the map
//   KH KW    kernel    SH SW    stride    PH PW    padding    DH DW    dilation        T    float or double
//   VECTOR   channels that a thread moves at once, in one access of up to 16 bytes
// Images are (N, H, W, C), the columns (N·OH·OW, KH·KW·C).

typedef unsigned int index_t;

struct __align__(VECTOR * sizeof(T)) Group { T of[VECTOR]; };
#define GROUPS (C / VECTOR)

// columns[((n·OH + o)·OW + p), (i·KW + j)·C + c] = x̄[n, o·SH − PH + i·DH, p·SW − PW + j·DW, c],   x̄ = 0 outside of the image
extern "C" __global__ void im2col(const Group* x, Group* columns, index_t count)
{
    index_t at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    index_t c = at % GROUPS, tap = at / GROUPS % (KH * KW), row = at / (GROUPS * KH * KW);
    int i = tap / KW, j = tap % KW;
    int p = row % OW, o = row / OW % OH;
    index_t n = row / (OW * OH);
    int h = o * SH - PH + i * DH, w = p * SW - PW + j * DW;
    bool inside = 0 <= h && h < H && 0 <= w && w < W;
    columns[at] = inside ? x[((n * H + h) * W + w) * GROUPS + c] : Group{};
}

// x[n, h, w, c] = Σ columns[((n·OH + o)·OW + p), (i·KW + j)·C + c] over all i, j, o, p with o·SH − PH + i·DH = h, p·SW − PW + j·DW = w
extern "C" __global__ void col2im(const Group* columns, Group* x, index_t count)
{
    index_t at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    index_t c = at % GROUPS;
    int w = at / GROUPS % W, h = at / (GROUPS * W) % H;
    index_t n = at / (GROUPS * W * H);
    Group sum = {};
    for (int i = 0; i < KH; i++) {
        int down = h + PH - i * DH;
        if (down < 0 || down % SH != 0 || down / SH >= OH) continue;
        for (int j = 0; j < KW; j++) {
            int right = w + PW - j * DW;
            if (right < 0 || right % SW != 0 || right / SW >= OW) continue;
            index_t row = (n * OH + down / SH) * OW + right / SW;
            Group term = columns[(row * (KH * KW) + i * KW + j) * GROUPS + c];
            for (int k = 0; k < VECTOR; k++) sum.of[k] += term.of[k];
        }
    }
    x[at] = sum;
}
