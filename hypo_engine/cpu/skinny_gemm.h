/* Products of a few rows with a large matrix, which is read once, in memory order.
 *
 * The sums of some rows and outputs stay in registers while a strip of the matrix is read. The order of summation does
 * not depend on the number of rows or threads.
 */
#include "simd.h"

#define ROWS 4                /* rows that share the registers */
#define NARROW (LANES / ROWS) /* outputs per group of rows */
#define AHEAD (2 * NARROW)    /* prefetch distance in outputs */

/* A matrix with row distance `stride` in floats. `soon`: the matrix of the same shape that is used next, which is
 * prefetched meanwhile. */
typedef struct { const float *at; int64_t stride; const float *soon; } Matrix;

static inline Matrix part_of(Matrix w, int64_t row, int64_t column)
{
    int64_t at = row * w.stride + column;
    return (Matrix){w.at + at, w.stride, w.soon + at};
}

/* y[row, out] = x[row] . w[out], for as many rows and outputs as there are sums in registers; prefetches `fetches`
 * outputs of the next matrix */
INLINE void block(const int rows, const int outs, const int fetches, const float *x, Matrix w, int64_t depth, float *y,
                  int64_t stride)
{
    Lanes sum[LANES] = {{0}};
    float found[LANES];
    int64_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        Lanes weights[LANES];
#pragma GCC unroll 16
        for (int out = 0; out < outs; out++)
            weights[out] = load(w.at + out * w.stride + k);
#pragma GCC unroll 16
        for (int out = 0; out < fetches; out++)
            __builtin_prefetch(w.soon + out * w.stride + k, 0, 2);
#pragma GCC unroll 16
        for (int row = 0; row < rows; row++) {
            Lanes given = load(x + row * depth + k);
#pragma GCC unroll 16
            for (int out = 0; out < outs; out++)
                sum[row * outs + out] += weights[out] * given;
        }
    }
    store(found, totals(sum));
    for (int row = 0; row < rows; row++)
        for (int out = 0; out < outs; out++) {
            for (int64_t rest = k; rest < depth; rest++)
                found[row * outs + out] += w.at[out * w.stride + rest] * x[row * depth + rest];
            y[row * stride + out] = found[row * outs + out];
        }
}

/* The same for any number of outputs, `wide` at once. */
INLINE void strip(const int rows, const int wide, const int fetches, const float *x, Matrix w, int64_t depth,
                  int64_t outs, float *y, int64_t stride)
{
    int64_t out = 0;
    for (; out + wide <= outs; out += wide)
        block(rows, wide, fetches, x, part_of(w, out, 0), depth, y + out, stride);
    for (; out < outs; out++)
        block(rows, 1, 1, x, part_of(w, out, 0), depth, y + out, stride);
}

/* The same for more rows than fit into the registers: groups of rows take turns over a few outputs. Each turn
 * prefetches a part of the next matrix, so that memory is always busy. */
INLINE void many(int rows, const int fetches, const float *x, Matrix w, int64_t depth, int64_t outs, float *y,
                 int64_t stride)
{
    for (int64_t out = 0; out < outs; out += NARROW) {
        int64_t count = outs - out < NARROW ? outs - out : NARROW;
        Matrix here = part_of(w, out, 0);
        const float *given = x;
        float *to = y + out;
        int left = rows;
        for (; left >= ROWS; left -= ROWS, given += ROWS * depth, to += ROWS * stride, here.soon += fetches * w.stride)
            strip(ROWS, NARROW, fetches, given, here, depth, count, to, stride);
        switch (left) {
        case 3: strip(3, NARROW, fetches, given, here, depth, count, to, stride); break;
        case 2: strip(2, NARROW, fetches, given, here, depth, count, to, stride); break;
        case 1: strip(1, NARROW, fetches, given, here, depth, count, to, stride); break;
        }
    }
}

/* The same for any number of rows; w is read once. x [rows, depth], y [rows, outs] with row distance `stride` */
APART void multiply(int rows, const float *x, Matrix w, int64_t depth, int64_t outs, float *y, int64_t stride)
{
    if (rows > 3 * ROWS)
        many(rows, (NARROW + 3) / 4, x, w, depth, outs, y, stride);
    else if (rows > ROWS)
        many(rows, NARROW / 2, x, w, depth, outs, y, stride);
    else if (rows > 2)
        rows > 3 ? strip(4, NARROW, NARROW, x, w, depth, outs, y, stride)
                 : strip(3, NARROW, NARROW, x, w, depth, outs, y, stride);
    else if (rows)
        rows > 1 ? strip(2, LANES / 2, LANES / 2, x, w, depth, outs, y, stride)
                 : strip(1, LANES, LANES, x, w, depth, outs, y, stride);
}

/* One thread's share of `count` items, in whole grains. */
typedef struct { int64_t begin, end; } Share;

static Share share(int64_t count, int64_t grain, int thread, int threads)
{
    int64_t grains = (count + grain - 1) / grain;
    int64_t begin = grains * thread / threads * grain, end = grains * (thread + 1) / threads * grain;
    return (Share){begin < count ? begin : count, end < count ? end : count};
}
