/* A decoding step with bfloat16 weights, on a processor with AMX. The activations are rounded for each product.
 *
 * A tile holds 32 terms of 16 outputs, read from the weights as they lie, so nothing is packed but the few rows. The
 * adapters of all rows stand side by side: every row is multiplied with all of them, and those of other rows are masked.
 * Depths are multiples of 32, and so is the rank of all adapters together; hypo_engine/decoding/cpu_weights.py sees to it.
 */
#include "row_lora.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include "amx.h"

typedef Half Weight;

typedef struct { /* rows of activations and of their products with the adapters, in tiles of pairs [16 pairs, 16 rows] */
    const Half *x; /* [rows / SIDE, depth / DEEP] tiles */
    Half *down;    /* [rows / SIDE, ranks / DEEP] tiles */
    int64_t depth, ranks;
    int rows;
    const Routes *routes;
    const Lora *const *loras;
} Input;

static int64_t input_floats(int64_t rows, int64_t depth, int64_t ranks)
{
    return tiles(rows, SIDE) * SIDE * (depth + ranks) / 2 + 64 / sizeof(float);
}

static void widen(const Half *from, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

static void enter(void)
{
    configure_tiles();
}

static void leave(void)
{
    _tile_release();
}

static Input input(const Routes *routes, const Lora *const *loras, int count, int rows, const float *x, int64_t depth,
                   float *space, int thread, int threads)
{
    (void)thread, (void)threads;
    Half *to = (Half *)(((uintptr_t)space + 63) / 64 * 64), *found = to;
    for (int top = 0; top < rows; top += SIDE)
        for (int64_t k = 0; k < depth; k += DEEP, to += TILE) {
            Lanes of[SIDE];
#pragma GCC unroll 16
            for (int row = 0; row < SIDE; row++)
                of[row] = top + row < rows ? (Lanes)rounded(x + (top + row) * depth + k) : (Lanes){0};
            transpose(of);
#pragma GCC unroll 16
            for (int pair = 0; pair < SIDE; pair++)
                _mm512_storeu_si512(to + pair * DEEP, (__m512i)of[pair]);
        }
    return (Input){found, to, depth, count ? routes->adapters * routes->most : 0, rows, routes, loras};
}

/* Adds the tile [16 outputs, 16 rows] of w x^T to tile register 0 (and the next 16 rows' to 1, if `two`). x: tiles of
 * pairs */
INLINE void add_tiles(const Half *w, int64_t stride, const Half *x, int64_t depth, const int two)
{
    written();
    for (int64_t k = 0; k < depth; k += DEEP) {
        _tile_loadd(4, w + k, stride * sizeof *w);
        _tile_loadd(5, x + k * SIDE, DEEP * sizeof *x);
        _tile_dpbf16ps(0, 4, 5);
        if (two) {
            _tile_loadd(6, x + (depth + k) * SIDE, DEEP * sizeof *x);
            _tile_dpbf16ps(1, 4, 6);
        }
    }
}

/* The same for 64 outputs and 16 rows, in registers 0 to 3 */
INLINE void add_four(const Half *w, int64_t stride, const Half *x, int64_t depth)
{
    const int64_t row = stride * sizeof *w;
    written();
    for (int64_t k = 0; k < depth; k += DEEP) {
        _tile_loadd(4, x + k * SIDE, DEEP * sizeof *x);
        _tile_loadd(5, w + k, row);
        _tile_dpbf16ps(0, 5, 4);
        _tile_loadd(6, w + SIDE * stride + k, row);
        _tile_dpbf16ps(1, 6, 4);
        _tile_loadd(5, w + 2 * SIDE * stride + k, row);
        _tile_dpbf16ps(2, 5, 4);
        _tile_loadd(6, w + 3 * SIDE * stride + k, row);
        _tile_dpbf16ps(3, 6, 4);
    }
}

/* y [rows, outs] = sums [16 outputs, 16 rows] transposed, for at most 16 of both */
INLINE void put_tile(const float *sums, int64_t outs, int rows, float *y, int64_t stride)
{
    Lanes of[SIDE];
#pragma GCC unroll 16
    for (int out = 0; out < SIDE; out++)
        of[out] = load(sums + out * SIDE);
    transpose(of);
#pragma GCC unroll 16
    for (int row = 0; row < SIDE; row++)
        if (row < rows)
            put(y + row * stride, outs, of[row]);
}

/* scale B is in the adapters; down = A x for all rows, 0 where a row has another adapter. */
static void multiply_adapters(const Input *given, const Half *a)
{
    float sums[2][TILE / 2] __attribute__((aligned(64)));
    const Routes *routes = given->routes;
    Half *to = given->down;
    for (int top = 0; top < given->rows; top += SIDE)
        for (int64_t rank = 0; rank < given->ranks; rank += DEEP, to += TILE) {
            for (int half = 0; half < 2; half++) {
                _tile_zero(0);
                add_tiles(a + (rank + half * SIDE) * given->depth, given->depth, given->x + top * given->depth,
                          given->depth, 0);
                _tile_stored(0, sums[half], SIDE * sizeof **sums);
            }
            for (int pair = 0; pair < SIDE; pair++) { /* [32 ranks, 16 rows] -> [16 pairs, 16 rows] */
                Ints own = {0};
                for (int row = 0; row < SIDE && top + row < given->rows; row++)
                    own[row] = -(routes->adapter[routes->slot[top + row]] == (rank + 2 * pair) / routes->most);
                const float *even = sums[0] + 2 * pair * SIDE;
                __m512i mask = (__m512i)own, found = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(even + SIDE),
                                                                                  _mm512_loadu_ps(even));
                __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(found));
                __m512i second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(found, 1));
                found = _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
                _mm512_storeu_si512(to + pair * DEEP, _mm512_and_si512(found, mask));
            }
        }
}

/* Outputs [out, out + 64) for 16 rows; w and the adapters' b have as many whole rows from there. */
INLINE void few_rows(const Input *given, const Half *w, const Half *b, float *y, int64_t stride)
{
    float sums[4][TILE / 2] __attribute__((aligned(64)));
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    add_four(w, given->depth, given->x, given->depth);
    if (b)
        add_four(b, given->ranks, given->down, given->ranks);
    _tile_stored(0, sums[0], SIDE * sizeof **sums);
    _tile_stored(1, sums[1], SIDE * sizeof **sums);
    _tile_stored(2, sums[2], SIDE * sizeof **sums);
    _tile_stored(3, sums[3], SIDE * sizeof **sums);
    for (int block = 0; block < 4; block++)
        put_tile(sums[block], SIDE, given->rows, y + block * SIDE, stride);
}

/* Up to 16 outputs for any number of rows; w and b have 16 whole rows */
static void many_rows(const Input *given, const Half *w, const Half *b, int64_t outs, float *y, int64_t stride)
{
    float sums[2][TILE / 2] __attribute__((aligned(64)));
    for (int top = 0; top < given->rows; top += 2 * SIDE) {
        const Half *x = given->x + top * given->depth, *down = given->down + top * given->ranks;
        int rows = given->rows - top;
        _tile_zero(0);
        _tile_zero(1);
        if (rows > SIDE) {
            add_tiles(w, given->depth, x, given->depth, 1);
            if (b)
                add_tiles(b, given->ranks, down, given->ranks, 1);
        } else {
            add_tiles(w, given->depth, x, given->depth, 0);
            if (b)
                add_tiles(b, given->ranks, down, given->ranks, 0);
        }
        _tile_stored(0, sums[0], SIDE * sizeof **sums);
        _tile_stored(1, sums[1], SIDE * sizeof **sums);
        put_tile(sums[0], outs, rows < SIDE ? rows : SIDE, y + top * stride, stride);
        if (rows > SIDE)
            put_tile(sums[1], outs, rows < 2 * SIDE ? rows - SIDE : SIDE, y + (top + SIDE) * stride, stride);
    }
}

/* The last rows of w, which do not fill a tile, with zeros below them; null for null */
static const Half *padded(const Half *w, int64_t rows, int64_t depth, Half *to)
{
    if (!w)
        return NULL;
    memset(to, 0, SIDE * depth * sizeof *to);
    return memcpy(to, w, rows * depth * sizeof *to);
}

/* y = x w^T + bias with the adapters of the layer at place `at`, for the outputs of one thread; w [outs, depth], y [rows,
 * outs] */
static void product(const Input *given, int at, const Half *w, const float *bias, int64_t outs, float *y, Share mine)
{
    const Lora *own = given->ranks ? given->loras[at] : NULL;
    const Half *b = own ? (const Half *)own->b : NULL;
    int64_t out = mine.begin, depth = given->depth, ranks = given->ranks;
    if (own)
        multiply_adapters(given, (const Half *)own->a);
    if (given->rows <= SIDE)
        for (; out + 4 * SIDE <= mine.end; out += 4 * SIDE)
            few_rows(given, w + out * depth, b ? b + out * ranks : NULL, y + out, outs);
    for (; out + SIDE <= mine.end; out += SIDE)
        many_rows(given, w + out * depth, b ? b + out * ranks : NULL, SIDE, y + out, outs);
    if (out < mine.end) {
        Half last[SIDE * depth], last_b[SIDE * (ranks + 1)];
        int64_t rest = mine.end - out;
        many_rows(given, padded(w + out * depth, rest, depth, last), padded(b ? b + out * ranks : NULL, rest, ranks, last_b),
                  rest, y + out, outs);
    }
    for (int row = 0; row < given->rows && bias; row++)
        for (int64_t i = mine.begin; i < mine.end; i++)
            y[row * outs + i] += bias[i];
}

#include "decode_step.h"
#endif
