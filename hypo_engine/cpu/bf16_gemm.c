/* Products y = sum of x w^T of bfloat16 matrices with float32 sums, on a processor with AMX.
 *
 * A strip of w is packed as the tile unit reads it: pairs of terms side by side, 16 columns of y in a row. It stays in a
 * core's private cache while all rows of x are multiplied with it. Several terms add to the same sums, so a LoRA update
 * costs no pass over y of its own. Each thread has its own columns and rows of y; the order of summation is fixed, so a
 * row's result depends neither on the other rows nor on the number of threads.
 *
 * hypo_engine/cpu/bf16_gemm.py decides when this is used, and declares the same struct.
 */
#include "simd.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include "amx.h"

#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023 /* asm/prctl.h of Linux, which older headers lack */
#define XFEATURE_XTILEDATA 18
#define STRIP (1 << 19) /* elements of w that are packed at a time: 1 MiB */

typedef struct { /* x [rows, depth], padded with zeros to whole tiles; w [outs, depth] with strides, one of which is 1 */
    const Half *x, *w;
    int64_t x_row, w_row, w_column, depth;
} Term;

/* Whether the system lets this process use the tile unit */
int hypo_bf16_available(void)
{
    return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

/* to [padded rows, padded depth] = x [rows, depth] in bfloat16, zero-padded; to_row is a multiple of DEEP. */
void hypo_bf16_round(const float *x, int64_t x_row, int64_t rows, int64_t depth, Half *to, int64_t to_rows,
                      int64_t to_row, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < to_rows; i++)
        if (i < rows)
            round_row(x + i * x_row, depth, to + i * to_row, to_row);
        else
            memset(to + i * to_row, 0, to_row * sizeof *to);
}

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

/* The same for any part of y [rows, wide] of at most [2 SIDE, 2 SIDE] */
static void block(const Term *terms, int count, int64_t top, int64_t rows, int64_t wide, const Half *w, float *y,
                  int64_t y_row, int add)
{
    const int whole = wide == 2 * SIDE && (rows == SIDE || rows == 2 * SIDE);
    float edge[2 * SIDE][2 * SIDE], *to = whole ? y : edge[0];
    int64_t stride = whole ? y_row : 2 * SIDE;
    for (int64_t i = 0; i < rows && add && !whole; i++)
        memcpy(edge[i], y + i * y_row, wide * sizeof *y);
    if (rows > SIDE)
        sums(2, terms, count, top, w, to, stride * sizeof *y, add);
    else
        sums(1, terms, count, top, w, to, stride * sizeof *y, add);
    for (int64_t i = 0; i < rows && !whole; i++)
        memcpy(y + i * y_row, edge[i], wide * sizeof *y);
}

/* One thread's part: columns [left, right) and rows [top, bottom) of y */
static void product(const Term *terms, int count, int64_t left, int64_t right, int64_t top, int64_t bottom, float *y,
                    int64_t y_row, int add)
{
    static _Thread_local Half strip[STRIP] __attribute__((aligned(64)));
    int64_t deep = 0;
    for (int term = 0; term < count; term++)
        deep += tiles(terms[term].depth, DEEP) * DEEP;
    int64_t wide = STRIP / deep / (2 * SIDE) * (2 * SIDE);
    for (int64_t begin = left; begin < right; begin += wide) {
        int64_t end = least(begin + wide, right);
        for (int64_t j = begin; j < end; j += 2 * SIDE)
            pack(terms, count, j, end, strip + (j - begin) * deep);
        for (int64_t i = top; i < bottom; i += 2 * SIDE)
            for (int64_t j = begin; j < end; j += 2 * SIDE)
                block(terms, count, i, least(2 * SIDE, bottom - i), least(2 * SIDE, end - j),
                      strip + (j - begin) * deep, y + i * y_row + j, y_row, add);
    }
}

/* y [rows, outs] = or += the sum of x w^T of the terms. Depths are at most STRIP / (2 SIDE) in sum. */
void hypo_bf16_product(const Term *terms, int count, int64_t rows, int64_t outs, float *y, int64_t y_row, int add,
                       int threads)
{
#pragma omp parallel num_threads(threads)
    {
        int64_t all = omp_get_num_threads(), me = omp_get_thread_num();
        int64_t columns = tiles(outs, 2 * SIDE), lines = tiles(rows, 2 * SIDE), across = least(all, columns);
        while (all % across)
            across--;
        int64_t down = all / across, at = me % across, row = me / across;
        configure_tiles();
        product(terms, count, columns * at / across * 2 * SIDE, least(columns * (at + 1) / across * 2 * SIDE, outs),
                lines * row / down * 2 * SIDE, least(lines * (row + 1) / down * 2 * SIDE, rows), y, y_row, add);
        _tile_release();
    }
}
#else
int hypo_bf16_available(void)
{
    return 0;
}
#endif
