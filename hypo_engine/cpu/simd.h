/* Vectors of floats of the processor's width: loads, sums over lanes, exp. */
#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define COUNTING {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#else
#define LANES 8
#define COUNTING {0, 1, 2, 3, 4, 5, 6, 7}
#endif

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(LANES * sizeof(int32_t))));

#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

static inline int64_t least(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

INLINE Lanes load(const float *from)
{
    Lanes x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void store(float *to, Lanes x)
{
    memcpy(to, &x, sizeof x);
}

/* Load `count` floats from `at`, zero-padded. */
INLINE Lanes some(const float *at, int64_t count)
{
    if (count >= LANES)
        return load(at);
    Lanes x = {0};
    memcpy(&x, at, count * sizeof *at);
    return x;
}

INLINE void put(float *at, int64_t count, Lanes x)
{
    if (count >= LANES)
        store(at, x);
    else
        memcpy(at, &x, count * sizeof *at);
}

/* Sum the two halves of every group of 2 s lanes: half as many lanes of a, then of b. */
INLINE Lanes fold(Lanes a, Lanes b, const int s)
{
    const Ints lane = COUNTING, low = lane / s * (2 * s) + lane % s;
    return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, low + s);
}

/* Lane i is the sum of the lanes of sum[i]. */
INLINE Lanes totals(Lanes *sum)
{
#pragma GCC unroll 8
    for (int s = LANES / 2; s; s /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < s; i++)
            sum[i] = fold(sum[2 * i], sum[2 * i + 1], s);
    return sum[0];
}

/* The sum of the lanes */
INLINE float total(Lanes x)
{
    const Ints lane = COUNTING;
#pragma GCC unroll 8
    for (int s = LANES / 2; s; s /= 2)
        x += __builtin_shuffle(x, lane ^ s);
    return x[0];
}

INLINE Lanes either(Ints mask, Lanes yes, Lanes no)
{
    return (Lanes)((mask & (Ints)yes) | (~mask & (Ints)no));
}

INLINE Lanes larger(Lanes x, Lanes y)
{
#if defined(__AVX512F__)
    return (Lanes)_mm512_max_ps((__m512)x, (__m512)y);
#else
    return either(x > y, x, y);
#endif
}

/* exp to about one unit in the last place; Cody-Waite reduction and a Taylor polynomial on |r| <= ln 2 / 2 */
INLINE Lanes exponential(Lanes x)
{
    const Lanes lowest = {0}, magic = lowest + 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    x = either(x < -87.0f, lowest - 87.0f, either(x > 88.0f, lowest + 88.0f, x));
    Lanes power = x * 1.44269504f + magic;
    Lanes whole = power - magic;
    Lanes r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    Lanes p = 1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720));
    p = 1.0f + r * (1.0f + r * (0.5f + r * (1.0f / 6 + r * p)));
    return (Lanes)((Ints)p + ((Ints)power << 23));
}

/* Transpose LANES vectors in place: lane j of vector i is exchanged with lane i of vector j. */
INLINE void transpose(Lanes *x)
{
    const Ints lane = COUNTING, none = {0};
#pragma GCC unroll 8
    for (int s = 1; s < LANES; s *= 2) {
        const Ints of_second = (lane & (none + s)) != 0;
        const Ints low = (lane & ~(none + s)) + (of_second & (none + LANES)), high = low + s;
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++)
            if (!(i & s)) {
                Lanes one = x[i], other = x[i + s];
                x[i] = __builtin_shuffle(one, other, low);
                x[i + s] = __builtin_shuffle(one, other, high);
            }
    }
}
