/* Tiled products with a packed matrix; the sums of a tile stay in registers. */
#include "simd.h"

#define WIDE (2 * LANES) /* columns of a tile */
#if LANES == 16
#define TALL 14 /* its rows: 28 sums, two vectors of w and one of x make 31 of 32 registers */
#else
#define TALL 6
#endif

typedef struct { /* element (i, j) lies at at[i * row + j * column] */
    const float *at;
    int64_t row, column;
} View;

static inline View part(View v, int64_t row, int64_t column)
{
    return (View){v.at + row * v.row + column * v.column, v.row, v.column};
}

/* Prefetch a cache line of each of some rows, for reading or writing */
INLINE void fetch(const float *at, int64_t row, int64_t rows, const int write)
{
    for (int64_t i = 0; i < rows; i++)
        __builtin_prefetch(at + i * row, write);
}

/* y = x w^T, or y += x w^T, for one tile: x [tall, deep], w [deep, WIDE] packed, y [tall, width] */
INLINE void tile(const int tall, const View x, const float *w, int64_t deep, float *y, int64_t stride, int64_t width,
                 int add)
{
    Lanes sum[TALL][2] = {0};
    for (int64_t k = 0; k < deep; k++) {
        Lanes first = load(w + k * WIDE), second = load(w + k * WIDE + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < tall; i++) {
            sum[i][0] += x.at[i * x.row + k * x.column] * first;
            sum[i][1] += x.at[i * x.row + k * x.column] * second;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < tall; i++) {
        float found[WIDE], *to = y + i * stride;
        if (width == WIDE) {
            store(to, add ? load(to) + sum[i][0] : sum[i][0]);
            store(to + LANES, add ? load(to + LANES) + sum[i][1] : sum[i][1]);
            continue;
        }
        store(found, sum[i][0]);
        store(found + LANES, sum[i][1]);
        for (int64_t j = 0; j < width; j++)
            to[j] = add ? to[j] + found[j] : found[j];
    }
}

#if TALL > 6
#define HEIGHTS(of) of(14) of(13) of(12) of(11) of(10) of(9) of(8) of(7) of(6) of(5) of(4) of(3) of(2) of(1)
#else
#define HEIGHTS(of) of(6) of(5) of(4) of(3) of(2) of(1)
#endif

/* The same for any height, with contiguous rows of x */
APART void tile_along(int64_t tall, View x, const float *w, int64_t deep, float *y, int64_t stride, int64_t width,
                      int add)
{
#define ALONG(n) \
    case n: \
        tile(n, (View){x.at, x.row, 1}, w, deep, y, stride, width, add); \
        break;
    switch (tall) { HEIGHTS(ALONG) }
}

/* Pack to[k][j] = w(j, k) for WIDE columns j of y, zero-padded from `width` on */
APART void put_in_order(View w, int64_t deep, int64_t width, float *to)
{
    int64_t k = 0;
    if (width == WIDE && w.column == 1)
        for (; k + LANES <= deep; k += LANES)
            for (int64_t half = 0; half < WIDE; half += LANES) {
                Lanes x[LANES];
#pragma GCC unroll 16
                for (int j = 0; j < LANES; j++) {
                    x[j] = load(w.at + (half + j) * w.row + k);
                    __builtin_prefetch(w.at + (half + j) * w.row + k + 2 * LANES);
                }
                transpose(x);
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++)
                    store(to + (k + i) * WIDE + half, x[i]);
            }
    if (width == WIDE && w.row == 1)
        for (; k < deep; k++) {
            const float *from = w.at + k * w.column;
            __builtin_prefetch(from + 8 * w.column);
            store(to + k * WIDE, load(from));
            store(to + k * WIDE + LANES, load(from + LANES));
        }
    for (; k < deep; k++)
        for (int64_t j = 0; j < WIDE; j++)
            to[k * WIDE + j] = j < width ? w.at[j * w.row + k * w.column] : 0;
}
