/* LoRA (Hu et al., arXiv 2106.09685): merging adapters into a weight, and their gradients; float32.
 *
 * The gradients use each input and each upstream gradient twice, with little arithmetic. A block of tokens is read from
 * memory once and used for everything while it is in a core's private cache. Each thread sums its own tokens.
 *
 * hypo_engine/cpu/lora.py declares the same struct in Python.
 */
#include "tile.h"

#include <omp.h>

#define BLOCK (4 * TALL) /* tokens per block */

typedef struct {
    int64_t outs, rank;
    float scale;
    const float *given;  /* [tokens, outs]: the upstream gradient */
    const float *a, *b;  /* [rank, ins], [outs, rank] */
    float *of_a, *of_b;  /* their gradients */
} Adapter;

static int64_t padded(int64_t rank)
{
    return (rank + LANES - 1) / LANES * LANES;
}

/* Size of all adapters' packed A and B, in floats */
static int64_t numbers(const Adapter *adapters, int64_t count, int64_t ins)
{
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++)
        found += padded(adapters[i].rank) * (ins + adapters[i].outs);
    return found;
}

static int64_t highest_rank(const Adapter *adapters, int64_t count)
{
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++)
        found = adapters[i].rank > found ? adapters[i].rank : found;
    return padded(found);
}

/* Size of the workspace, in floats */
int64_t hypo_low_rank_workspace(const Adapter *adapters, int64_t count, int64_t ins, int threads)
{
    return (1 + threads) * numbers(adapters, count, ins) + threads * 2 * BLOCK * highest_rank(adapters, count);
}

/* to[i][r] = w(r, i) for r below rank, zero-padded: one vector per row and up to LANES ranks */
static void order(View w, int64_t rank, int64_t rows, float *to)
{
#pragma omp for
    for (int64_t i = 0; i < rows; i++)
        for (int64_t r = 0; r < padded(rank); r++)
            to[i * padded(rank) + r] = r < rank ? w.at[r * w.row + i * w.column] : 0;
}

/* y = scale x w, or y += scale x w, for one vector of columns: x [tall, deep], w [deep, wide], y [tall, wide] */
INLINE void slim(const int tall, const View x, const float *w, int64_t wide, int64_t deep, float *y, float scale, int add)
{
    Lanes sum[TALL] = {0};
    for (int64_t k = 0; k < deep; k++) {
        Lanes columns = load(w + k * wide);
#pragma GCC unroll 16
        for (int i = 0; i < tall; i++)
            sum[i] += x.at[i * x.row + k * x.column] * columns;
    }
#pragma GCC unroll 16
    for (int i = 0; i < tall; i++)
        store(y + i * wide, add ? load(y + i * wide) + scale * sum[i] : scale * sum[i]);
}

/* y [rows, wide] = scale x w, with contiguous rows of x */
APART void read_rows(const float *x, int64_t row, int64_t rows, const float *w, int64_t wide, int64_t deep, float *y,
                     float scale)
{
    for (int64_t top = 0; top < rows; top += TALL)
        for (int64_t r = 0; r < wide; r += LANES) {
            switch (least(TALL, rows - top)) {
#define READ(n) \
    case n: \
        slim(n, (View){x + top * row, row, 1}, w + r, wide, deep, y + top * wide + r, scale, 0); \
        break;
                HEIGHTS(READ)
            }
        }
}

/* y [columns, wide] += x^T w, x [deep, columns] */
APART void add_columns(const float *x, int64_t row, int64_t columns, const float *w, int64_t wide, int64_t deep, float *y)
{
    for (int64_t top = 0; top < columns; top += TALL)
        for (int64_t r = 0; r < wide; r += LANES) {
            switch (least(TALL, columns - top)) {
#define ADD(n) \
    case n: \
        slim(n, (View){x + top, 1, row}, w + r, wide, deep, y + top * wide + r, 1, 1); \
        break;
                HEIGHTS(ADD)
            }
        }
}

/* Add some tokens to the sums, which are laid out like the packed matrices: [ins, rank], [outs, rank] per adapter */
static void add_tokens(const float *x, int64_t first, int64_t tokens, int64_t ins, const Adapter *adapters, int64_t count,
                       const float *ordered, float *sums, float *low)
{
    for (int64_t i = 0; i < count; i++) {
        const Adapter *of = adapters + i;
        int64_t wide = padded(of->rank), at_b = ins * wide, all = (ins + of->outs) * wide;
        const float *given = of->given + first * of->outs, *here = x + first * ins;
        float *read = low + BLOCK * wide;
        read_rows(given, of->outs, tokens, ordered + at_b, wide, of->outs, low, of->scale);
        read_rows(here, ins, tokens, ordered, wide, ins, read, of->scale);
        add_columns(here, ins, ins, low, wide, tokens, sums);
        add_columns(given, of->outs, of->outs, read, wide, tokens, sums + at_b);
        ordered += all, sums += all;
    }
}

/* Reduce the sums of all threads, which are `apart` floats apart, into rows or columns of `rank` ranks */
static void collect(const float *sums, int64_t apart, int64_t threads, int64_t rows, int64_t rank, float *to, int64_t row,
                    int64_t column)
{
#pragma omp for
    for (int64_t i = 0; i < rows; i++)
        for (int64_t r = 0; r < rank; r++) {
            float all = 0;
            for (int64_t thread = 0; thread < threads; thread++)
                all += sums[thread * apart + i * padded(rank) + r];
            to[i * row + r * column] = all;
        }
}

/* Gradients scale (g B)^T x of each A, and scale g^T (x A^T) of each B: x [tokens, ins] */
void hypo_low_rank_gradients(const float *x, int64_t tokens, int64_t ins, const Adapter *adapters, int64_t count,
                             float *workspace, int threads)
{
    int64_t all = numbers(adapters, count, ins), low = 2 * BLOCK * highest_rank(adapters, count);
#pragma omp parallel num_threads(threads)
    {
        int64_t team = omp_get_num_threads(), me = omp_get_thread_num(), blocks = (tokens + BLOCK - 1) / BLOCK;
        float *to = workspace, *sums = workspace + all, *mine = sums + me * all;
        for (int64_t i = 0; i < count; i++) {
            const Adapter *of = adapters + i;
            order((View){of->a, ins, 1}, of->rank, ins, to);
            to += ins * padded(of->rank);
            order((View){of->b, 1, of->rank}, of->rank, of->outs, to);
            to += of->outs * padded(of->rank);
        }
        memset(mine, 0, all * sizeof *mine);
        for (int64_t block = blocks * me / team; block < blocks * (me + 1) / team; block++)
            add_tokens(x, block * BLOCK, least(BLOCK, tokens - block * BLOCK), ins, adapters, count, workspace, mine,
                       sums + team * all + me * low);
#pragma omp barrier
        for (int64_t i = 0; i < count; i++) {
            const Adapter *of = adapters + i;
            collect(sums, all, team, ins, of->rank, of->of_a, 1, ins);
            sums += ins * padded(of->rank);
            collect(sums, all, team, of->outs, of->rank, of->of_b, of->rank, 1);
            sums += of->outs * padded(of->rank);
        }
    }
}

/* merged = base + scale b a, all [outs, ins]: a [rank, ins], b [outs, rank]; the workspace holds both packed */
void hypo_low_rank_merge(const float *base, const float *a, const float *b, int64_t outs, int64_t ins, int64_t rank,
                         float scale, float *workspace, float *merged, int threads)
{
    float *scaled = workspace + (ins + WIDE) * rank;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for nowait
        for (int64_t j = 0; j < ins; j += WIDE)
            put_in_order((View){a + j, 1, ins}, rank, least(WIDE, ins - j), workspace + j * rank);
#pragma omp for
        for (int64_t i = 0; i < outs * rank; i++)
            scaled[i] = scale * b[i];
#pragma omp for
        for (int64_t top = 0; top < outs; top += TALL)
            for (int64_t j = 0; j < ins; j += WIDE) {
                int64_t tall = least(TALL, outs - top), width = least(WIDE, ins - j);
                const float *from = base + top * ins + j;
                float *to = merged + top * ins + j;
                fetch(from + TALL * ins, ins, tall, 0);
                fetch(from + TALL * ins + LANES, ins, tall, 0);
                for (int64_t i = 0; i < tall; i++)
                    memcpy(to + i * ins, from + i * ins, width * sizeof *to);
                tile_along(tall, (View){scaled + top * rank, rank, 1}, workspace + j * rank, rank, to, ins, width, 1);
            }
    }
}
