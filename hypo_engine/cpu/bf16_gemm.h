/* Sums of products x w^T of bfloat16 tiles (amx.h) in float32.
 *
 * A strip of w is packed as the tile unit reads it: pairs of terms side by side, 16 columns of y in a row. It stays in a
 * core's private cache while all rows of x are multiplied with it. Several terms add to the same sums, so a LoRA update
 * costs no pass over y of its own. The order of summation is fixed, so a row's result depends neither on the other rows
 * nor on the number of threads.
 */
#include "amx.h"

#define STRIP (1 << 19) /* elements of w that are packed at a time: 1 MiB */
#define DEEPEST (STRIP / (2 * SIDE)) /* terms of a sum that a strip has room for */
#define MOST 16                      /* matrices in such a sum */
#define ROWS_A_THREAD 128            /* with as many, packing all of w takes a thread little time */

typedef struct { /* x [rows, depth], padded with zeros to whole tiles; w [outs, depth] with strides, one of which is 1 */
    const Half *x, *w;
    int64_t x_row, w_row, w_column, depth;
} Term;

/* Pack columns of y [from, from + 2 SIDE) of all terms, tile after tile */
static void pack(const Term *terms, int count, int64_t from, int64_t outs, Half *to)
{
    for (int term = 0; term < count; term++) {
        const Term *t = terms + term;
        for (int64_t k = 0; k < t->depth; k += DEEP)
            for (int64_t j = from; j < from + 2 * SIDE; j += SIDE, to += TILE)
                pack_tile(t->w + j * t->w_row + k * t->w_column, t->w_row, t->w_column, outs - j, t->depth - k, to);
    }
}

/* y = x w^T, or y +=, for tiles [tall, 2] of y, whose rows of floats are `stride` bytes apart */
INLINE void sums(const int tall, const Term *terms, int count, int64_t top, const Half *w, float *y, int64_t stride,
                 int add)
{
    written();
    if (add) {
        _tile_loadd(0, y, stride);
        _tile_loadd(1, y + SIDE, stride);
        if (tall > 1) {
            _tile_loadd(2, (char *)y + SIDE * stride, stride);
            _tile_loadd(3, (char *)(y + SIDE) + SIDE * stride, stride);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        if (tall > 1) {
            _tile_zero(2);
            _tile_zero(3);
        }
    }
    for (int term = 0; term < count; term++) {
        const Term *t = terms + term;
        const Half *x = t->x + top * t->x_row;
        for (int64_t k = 0; k < t->depth; k += DEEP, w += 2 * TILE) {
            _tile_loadd(4, x + k, t->x_row * sizeof(Half));
            _tile_loadd(6, w, DEEP * sizeof(Half));
            _tile_loadd(7, w + TILE, DEEP * sizeof(Half));
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            if (tall > 1) {
                _tile_loadd(5, x + SIDE * t->x_row + k, t->x_row * sizeof(Half));
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    _tile_stored(0, y, stride);
    _tile_stored(1, y + SIDE, stride);
    if (tall > 1) {
        _tile_stored(2, (char *)y + SIDE * stride, stride);
        _tile_stored(3, (char *)(y + SIDE) + SIDE * stride, stride);
    }
}

/* Where sums go: to y in float32, or rounded to `narrow`, whose rows are padded with zeros to whole pairs of tiles. */
typedef struct {
    float *y;
    Half *narrow;
    int64_t row; /* elements from a row to the next */
} Output;

static inline Output shifted(Output to, int64_t row, int64_t column)
{
    int64_t offset = row * to.row + column;
    return (Output){to.y ? to.y + offset : 0, to.narrow ? to.narrow + offset : 0, to.row};
}

/* The same for any part of an output of at most [2 SIDE, 2 SIDE] */
static void block(const Term *terms, int count, int64_t top, int64_t rows, int64_t wide, const Half *w, Output to,
                  int add)
{
    const int whole = to.y && wide == 2 * SIDE && (rows == SIDE || rows == 2 * SIDE);
    float edge[2 * SIDE][2 * SIDE];
    Output direct = whole ? to : (Output){edge[0], 0, 2 * SIDE};
    for (int64_t i = 0; i < rows && add && !whole; i++)
        memcpy(edge[i], to.y + i * to.row, wide * sizeof *to.y);
    if (rows > SIDE)
        sums(2, terms, count, top, w, direct.y, direct.row * sizeof(float), add);
    else
        sums(1, terms, count, top, w, direct.y, direct.row * sizeof(float), add);
    for (int64_t i = 0; i < 2 * SIDE && to.narrow; i++)
        _mm512_storeu_si512(to.narrow + i * to.row, i < rows ? rounded(edge[i]) : _mm512_setzero_si512());
    for (int64_t i = 0; i < rows && to.y && !whole; i++)
        memcpy(to.y + i * to.row, edge[i], wide * sizeof *to.y);
}

typedef struct { /* columns [left, right) and rows [top, bottom) of a matrix */
    int64_t left, right, top, bottom;
} Part;

/* Terms of a sum in whole tiles */
static int64_t depth_of(const Term *terms, int count)
{
    int64_t depth = 0;
    for (int term = 0; term < count; term++)
        depth += tiles(terms[term].depth, DEEP) * DEEP;
    return depth;
}

/* A part of an output; depths are at most DEEPEST in sum. */
static void product(const Term *terms, int count, Part part, Output to, int add)
{
    static _Thread_local Half strip[STRIP] __attribute__((aligned(64)));
    int64_t deep = depth_of(terms, count), wide = STRIP / deep / (2 * SIDE) * (2 * SIDE);
    for (int64_t begin = part.left; begin < part.right; begin += wide) {
        int64_t end = least(begin + wide, part.right);
        for (int64_t j = begin; j < end; j += 2 * SIDE)
            pack(terms, count, j, end, strip + (j - begin) * deep);
        for (int64_t i = part.top; i < part.bottom; i += 2 * SIDE)
            for (int64_t j = begin; j < end; j += 2 * SIDE)
                block(terms, count, i, least(2 * SIDE, part.bottom - i), least(2 * SIDE, end - j),
                      strip + (j - begin) * deep, shifted(to, i, j), add);
    }
}

/* The rows of thread `me` of `all`, in whole pairs of tiles */
static Part rows_of(int64_t rows, int64_t outs, int64_t me, int64_t all)
{
    int64_t lines = tiles(rows, 2 * SIDE);
    return (Part){0, outs, lines * me / all * 2 * SIDE, least(lines * (me + 1) / all * 2 * SIDE, rows)};
}

/* The part of y [rows, outs] of thread `me`: columns, so that it packs less of w; or rows of x, which no other thread then
 * reads, if they are many and all of w fits into a strip */
static Part part_of(const Term *terms, int count, int64_t rows, int64_t outs, int64_t me, int64_t all)
{
    int64_t columns = tiles(outs, 2 * SIDE), across = least(all, columns);
    if (rows >= ROWS_A_THREAD * all && outs * depth_of(terms, count) <= STRIP)
        across = 1;
    while (all % across)
        across--;
    Part part = rows_of(rows, outs, me / across, all / across);
    part.left = columns * (me % across) / across * 2 * SIDE;
    part.right = least(columns * (me % across + 1) / across * 2 * SIDE, outs);
    return part;
}

/* A part of an output = or += the sum of the terms, in groups that are not too deep for a strip. Only one group can be
 * rounded. */
static void products(const Term *terms, int count, Part part, Output to, int add)
{
    Term group[MOST];
    int size = 0;
    int64_t room = DEEPEST;
    for (int term = 0; term < count; term++)
        for (int64_t from = 0; from < terms[term].depth; from += DEEPEST) {
            Term t = terms[term];
            t.x += from, t.w += from * t.w_column, t.depth = least(DEEPEST, t.depth - from);
            if (size == MOST || tiles(t.depth, DEEP) * DEEP > room) {
                product(group, size, part, to, add);
                size = 0, room = DEEPEST, add = 1;
            }
            group[size++] = t, room -= tiles(t.depth, DEEP) * DEEP;
        }
    product(group, size, part, to, add);
}
