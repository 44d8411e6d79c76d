/* Products of a few rows with a large matrix that is read once, in order.
 *
 * The sums of some rows and some outputs stay in the registers while a strip of the matrix passes by. Every sum is
 * added up in the same order, however many rows and threads there are.
 */
#include "lanes.h"

/* A matrix of which each row begins `stride` floats after the one before. */
typedef struct { const float *at; int64_t stride; } Matrix;

/* y[row, out] = x[row] . w[out], for as many rows and outs as there are sums in the registers */
INLINE void block(const int rows, const int outs, const float *x, Matrix w, int64_t depth, float *y,
                  int64_t stride)
{
    Lanes sum[LANES] = {{0}};
    float found[LANES];
    int64_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        Lanes weights[LANES];
#pragma GCC unroll 16
        for (int out = 0; out < outs; out++) {
            weights[out] = load(w.at + out * w.stride + k);
            __builtin_prefetch(w.at + (4 * outs + out) * w.stride + k, 0, 2);
        }
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

/* The same for any number of outs: as many at once as fit beside so many rows. */
INLINE void strip(const int rows, const float *x, Matrix w, int64_t depth, int64_t outs, float *y,
                  int64_t stride)
{
    const int wide = LANES / (rows > 4 ? 8 : rows > 2 ? 4 : rows);
    int64_t out = 0;
    for (; out + wide <= outs; out += wide)
        block(rows, wide, x, (Matrix){w.at + out * w.stride, w.stride}, depth, y + out, stride);
    for (; out < outs; out++)
        block(rows, 1, x, (Matrix){w.at + out * w.stride, w.stride}, depth, y + out, stride);
}

/* The same for any number of rows; w is read once. x [rows, depth], y [rows, outs] with `stride` */
APART void multiply(int rows, const float *x, Matrix w, int64_t depth, int64_t outs, float *y, int64_t stride)
{
    int64_t group = rows > ROWS ? LANES / ROWS : LANES; /* small: the next weights come while these are used */
    for (int64_t out = 0; out < outs; out += group) {
        Matrix some = {w.at + out * w.stride, w.stride};
        int64_t count = outs - out < group ? outs - out : group;
        int row = 0;
        for (; row + ROWS <= rows; row += ROWS)
            strip(ROWS, x + row * depth, some, depth, count, y + row * stride + out, stride);
        const float *given = x + row * depth;
        float *found = y + row * stride + out;
        switch (rows - row) {
#if ROWS > 4
        case 7: strip(7, given, some, depth, count, found, stride); break;
        case 6: strip(6, given, some, depth, count, found, stride); break;
        case 5: strip(5, given, some, depth, count, found, stride); break;
        case 4: strip(4, given, some, depth, count, found, stride); break;
#endif
        case 3: strip(3, given, some, depth, count, found, stride); break;
        case 2: strip(2, given, some, depth, count, found, stride); break;
        case 1: strip(1, given, some, depth, count, found, stride); break;
        }
    }
}

/* What one thread does of `count` things, in whole grains. */
typedef struct { int64_t begin, end; } Share;

static Share share(int64_t count, int64_t grain, int thread, int threads)
{
    int64_t grains = (count + grain - 1) / grain;
    int64_t begin = grains * thread / threads * grain, end = grains * (thread + 1) / threads * grain;
    return (Share){begin < count ? begin : count, end < count ? end : count};
}

/* y = x w^T + bias for the outputs of one thread; x [rows, depth], w [outs, depth], y [rows, outs] */
static void product(int rows, const float *x, const float *w, const float *bias, int64_t depth, int64_t outs,
                    float *y, Share mine)
{
    multiply(rows, x, (Matrix){w + mine.begin * depth, depth}, depth, mine.end - mine.begin, y + mine.begin, outs);
    if (bias)
        for (int row = 0; row < rows; row++)
            for (int64_t out = mine.begin; out < mine.end; out++)
                y[row * outs + out] += bias[out];
}
