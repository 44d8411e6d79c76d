/* LoRA with an adapter of its own for each row: y[row] += scale * B (A x[row]) (Hu et al., arXiv 2106.09685).
 *
 * Rows are multiplied one by one, so that a row's results do not depend on the other rows.
 */
#include "skinny_gemm.h"

typedef struct { /* one adapter of one layer: a [rank, depth], b [outs, rank]; rank 0 where the layer has none */
    const float *a, *b;
    int64_t rank;
    float scale;
} Lora;

typedef struct { /* the adapters of the rows of a step */
    const int64_t *slot, *adapter; /* [rows] indices into [slots] indices into the Loras of a layer; -1: none */
    int64_t adapters, most;        /* their number, and the largest rank */
    float *parts;                  /* [layers of one input, rows, most] */
} Routes;

/* A row's adapter of a layer; null without one */
static const Lora *lora_of(const Routes *routes, const Lora *loras, int64_t row)
{
    int64_t adapter = routes->most && loras ? routes->adapter[routes->slot[row]] : -1;
    return adapter >= 0 && loras[adapter].rank ? loras + adapter : NULL;
}

/* parts = scale * A x of `count` layers that read the same x [rows, depth]; one thread's share of layers and rows */
static void lora_parts(const Routes *routes, const Lora *const *loras, int count, int rows, const float *x,
                       int64_t depth, Share mine)
{
    for (int64_t item = mine.begin; item < mine.end; item++) {
        const Lora *own = lora_of(routes, loras[item / rows], item % rows);
        float *found = routes->parts + item * routes->most;
        if (!own)
            continue;
        multiply(1, x + item % rows * depth, (Matrix){own->a, depth, own->a}, depth, own->rank, found, own->rank);
        for (int64_t i = 0; i < own->rank; i++)
            found[i] *= own->scale;
    }
}

/* y += B parts of the layer at place `at` of those that read one input, for a range of y's columns [rows, outs] */
static void add_lora(const Routes *routes, const Lora *loras, int at, int rows, float *y, int64_t outs, Share mine)
{
    for (int row = 0; row < rows; row++) {
        const Lora *own = lora_of(routes, loras, row);
        const float *parts = routes->parts + (at * rows + row) * routes->most;
        if (!own)
            continue;
        for (int64_t out = mine.begin; out < mine.end; out += LANES) {
            int64_t count = mine.end - out < LANES ? mine.end - out : LANES;
            const float *b = own->b + out * own->rank;
            float found[LANES];
            strip(1, LANES, 0, parts, (Matrix){b, own->rank, b}, own->rank, count, found, LANES);
            for (int64_t i = 0; i < count; i++)
                y[row * outs + out + i] += found[i];
        }
    }
}
