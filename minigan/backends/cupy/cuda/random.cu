// Random numbers from Philox4x32-10 (Salmon et al. 2011, section 3.3): ten rounds make 128 random bits of a counter and a key. The
// counter is (number of the draw, number of the thread), so every draw of a stream has numbers of its own, in any order.
// stream: the number of its next draw and its key, in the device's memory, where a captured step finds them each time.

typedef unsigned int word_t;
typedef unsigned long long long_t;

struct Words { word_t w[4]; };

__device__ inline Words philox(long_t draw, long_t thread, long_t key)
{
    Words x = {{word_t(thread), word_t(thread >> 32), word_t(draw), word_t(draw >> 32)}};
    word_t k0 = word_t(key), k1 = word_t(key >> 32);
    for (int round = 0; round < 10; round++) {
        long_t a = 0xD2511F53ull * x.w[0], b = 0xCD9E8D57ull * x.w[2];
        x = {{word_t(b >> 32) ^ x.w[1] ^ k0, word_t(b), word_t(a >> 32) ^ x.w[3] ^ k1, word_t(a)}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x;
}

// [0, 1) with as many bits as the type holds: 24 or 53
__device__ inline float uniform_of(word_t a, word_t, float) { return (a >> 8) * (1.0f / 16777216.0f); }
__device__ inline double uniform_of(word_t a, word_t b, double)
{
    return ((a >> 5) * 67108864.0 + (b >> 6)) * (1.0 / 9007199254740992.0);
}

// Two numbers from U[0, 1) each; of all numbers of the draw, `count` from number `first` on. (Below `first`, i is beyond count.)
extern "C" __global__ void uniform(T* out, long_t first, long_t count, const long_t* stream)
{
    long_t thread = first / 2 + (long_t)blockIdx.x * blockDim.x + threadIdx.x, i = 2 * thread - first;
    if (i >= count && i + 1 >= count) return;
    Words x = philox(stream[0], thread, stream[1]);
    if (i < count) out[i] = uniform_of(x.w[0], x.w[1], T(0));
    if (i + 1 < count) out[i + 1] = uniform_of(x.w[2], x.w[3], T(0));
}

// Two numbers from N(0, 1) each: r cos φ and r sin φ with r = √(−2 log(1 − u)), φ = 2πv (Box and Muller 1958)
extern "C" __global__ void normal(T* out, long_t first, long_t count, const long_t* stream)
{
    long_t thread = first / 2 + (long_t)blockIdx.x * blockDim.x + threadIdx.x, i = 2 * thread - first;
    if (i >= count && i + 1 >= count) return;
    Words x = philox(stream[0], thread, stream[1]);
    T radius = sqrt(T(-2) * log(T(1) - uniform_of(x.w[0], x.w[1], T(0))));
    T angle = T(6.283185307179586476925286766559) * uniform_of(x.w[2], x.w[3], T(0));
    if (i < count) out[i] = radius * cos(angle);
    if (i + 1 < count) out[i + 1] = radius * sin(angle);
}

// The stream goes on by one draw. A kernel of its own, for all threads of the draw read the number.
extern "C" __global__ void next_draw(long_t* stream)
{
    if (blockIdx.x == 0 && threadIdx.x == 0) stream[0] += 1;
}
