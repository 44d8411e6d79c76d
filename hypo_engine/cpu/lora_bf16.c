/* Linear layers with bfloat16 weights and float32 LoRA adapters that read the same input, forward and backward.
 *
 * y = x W^T + bias + (x A^T) (scale B)^T for each layer. Everything is rounded to bfloat16 for a product, whose sums are
 * float32 (bf16_gemm.h). One call does all that a group of layers needs: one by one, the products of a small adapter take
 * less time than calling them.
 *
 * hypo_engine/cpu/lora_bf16.py declares the same structs.
 */
#include "simd.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include "bf16_gemm.h"

#include <omp.h>

typedef struct {
    const Half *weight;        /* W [outs, depth] */
    const float *bias;         /* [outs] or null */
    const float *a, *b;        /* [rank, depth] and [outs, rank]; not read if the rank is 0 */
    int64_t outs, rank;
    float scale;
    float *y;                  /* [rows, outs], or rounded: */
    Half *y_narrow;            /* [padded rows, padded outs]; it takes no bias */
    Half *down;                /* x A^T, [padded rows, padded rank]; the backward pass reads it */
    const float *upstream;     /* [rows, outs], or rounded; from here on for the backward pass only */
    const Half *upstream_narrow;
    float *of_a, *of_b;
} Layer;

typedef struct {
    int64_t rows, depth, count;
    const float *x;            /* [rows, depth], or rounded and padded: */
    const Half *x_narrow;
    float *of_x;               /* null if it is not wanted, or only rounded and padded: */
    Half *of_x_narrow;
    const Layer *layers;
    float *workspace;
} Group;

/* The workspace: rounded copies, padded to whole tiles, and sums. */
typedef struct {
    int64_t rows, depth, ranks, widest; /* padded; all layers' ranks, and the widest */
    const Half *x;              /* [rows, depth] */
    Half *a;                    /* [ranks, depth] */
    Half *up_across, *down_across; /* [ranks, rows]: (upstream B)^T and (x A^T)^T of all layers */
    float *sums;                /* [rows, widest] */
    float *of_a;                /* [ranks, depth] */
    struct {
        int64_t outs, rank, from; /* padded; where its rank begins among all */
        const Half *upstream;     /* [rows, outs] */
        Half *b, *up;             /* scale B [outs, rank], and the upstream gradient times it, [rows, rank] */
        float *of_b;              /* [rank, outs] */
    } layers[MOST / 2];
} Room;

static int64_t padded(int64_t count)
{
    return tiles(count, 2 * SIDE) * 2 * SIDE;
}

/* Set the pointers; returns the number of floats. */
static int64_t lay_out(const Group *g, Room *r, int backward)
{
    float *next = g->workspace;
#define PLACE(member, count) r->member = (void *)next, next += (count)
    r->rows = padded(g->rows), r->depth = padded(g->depth), r->ranks = r->widest = 0;
    for (int64_t i = 0; i < g->count; i++) {
        const Layer *layer = g->layers + i;
        int64_t wide = r->layers[i].outs = padded(layer->outs), rank = r->layers[i].rank = padded(layer->rank);
        r->layers[i].from = r->ranks, r->ranks += rank;
        r->widest = rank > r->widest ? rank : r->widest;
        PLACE(layers[i].b, wide * rank / 2);
        if (backward) {
            PLACE(layers[i].upstream, layer->upstream_narrow ? 0 : r->rows * wide / 2);
            PLACE(layers[i].up, r->rows * rank / 2);
            PLACE(layers[i].of_b, rank * wide);
        }
    }
    PLACE(x, g->x_narrow ? 0 : r->rows * r->depth / 2), PLACE(a, r->ranks * r->depth / 2), PLACE(sums, r->rows * r->widest);
    if (backward) {
        PLACE(up_across, r->ranks * r->rows / 2), PLACE(down_across, r->ranks * r->rows / 2);
        PLACE(of_a, r->ranks * r->depth);
        for (int64_t i = 0; i < g->count; i++)
            if (g->layers[i].upstream_narrow)
                r->layers[i].upstream = g->layers[i].upstream_narrow;
    }
    if (g->x_narrow)
        r->x = g->x_narrow;
    return next - g->workspace;
}

/* Size of the workspace in floats. */
int64_t hypo_lora_workspace(const Group *g, int backward)
{
    Room r;
    return lay_out(g, &r, backward);
}

/* Rows [top, bottom) of a matrix, rounded; the last part also zeroes the padding. */
static void round_rows(const float *x, int64_t x_row, int64_t wide, Part part, int64_t rows, Half *to, int64_t to_row)
{
    for (int64_t i = part.top; i < part.bottom; i++)
        round_row(x + i * x_row, wide, to + i * to_row, to_row);
    for (int64_t i = part.bottom; part.bottom == rows && i < padded(rows); i++)
        memset(to + i * to_row, 0, to_row * sizeof *to);
}

/* A and scale B of all layers, rounded */
static void round_adapters(const Group *g, const Room *r, int64_t me, int64_t all)
{
    for (int64_t i = 0; i < g->count; i++) {
        const Layer *layer = g->layers + i;
        int64_t rank = r->layers[i].rank;
        Half *a = r->a + r->layers[i].from * r->depth;
        if (!rank)
            continue;
        round_rows(layer->a, g->depth, g->depth, rows_of(layer->rank, 0, me, all), layer->rank, a, r->depth);
        for (int64_t j = me; j < r->layers[i].outs; j += all) {
            Half *to = r->layers[i].b + j * rank;
            for (int64_t k = 0; k < rank; k += DEEP) {
                float scaled[DEEP] = {0};
                int64_t count = j < layer->outs ? least(DEEP, layer->rank - k) : 0;
                for (int64_t n = 0; n < count; n++)
                    scaled[n] = layer->scale * layer->b[j * layer->rank + k + n];
                _mm512_storeu_si512(to + k, rounded(scaled));
            }
        }
    }
}

/* to = x w^T of some rows, rounded, with sums in the workspace; a thread's rows are its own. */
static void narrow_product(const Room *r, Term term, int64_t rows, int64_t rank, Part part, Half *to)
{
    part.left = 0, part.right = rank;
    products(&term, 1, part, (Output){r->sums, 0, r->widest}, 0);
    round_rows(r->sums, r->widest, rank, part, rows, to, rank);
}

static void forward(const Group *g, const Room *r, int64_t me, int64_t all)
{
    Part mine = rows_of(g->rows, 0, me, all);
    if (g->x)
        round_rows(g->x, g->depth, g->depth, mine, g->rows, (Half *)r->x, r->depth);
    round_adapters(g, r, me, all);
#pragma omp barrier
    for (int64_t i = 0; i < g->count; i++) {
        const Half *a = r->a + r->layers[i].from * r->depth;
        if (r->layers[i].rank)
            narrow_product(r, (Term){r->x, a, r->depth, r->depth, 1, r->depth}, g->rows, r->layers[i].rank, mine,
                           g->layers[i].down);
    }
#pragma omp barrier
    for (int64_t i = 0; i < g->count; i++) {
        const Layer *layer = g->layers + i;
        int64_t rank = r->layers[i].rank;
        Term terms[2] = {{r->x, layer->weight, r->depth, g->depth, 1, g->depth},
                         {layer->down, r->layers[i].b, rank, rank, 1, rank}};
        int count = rank ? 2 : 1;
        Part part = part_of(terms, count, g->rows, layer->outs, me, all);
        products(terms, count, part, (Output){layer->y, layer->y_narrow, layer->y ? layer->outs : r->layers[i].outs}, 0);
        for (int64_t row = part.top; layer->bias && row < part.bottom; row++)
            for (int64_t j = part.left; j < part.right; j++)
                layer->y[row * layer->outs + j] += layer->bias[j];
    }
}

/* of_a = (upstream scale B)^T x, for all layers at once, and of_b = scale upstream^T (x A^T) */
static void adapter_gradients(const Group *g, const Room *r, int64_t me, int64_t all)
{
    Term of_a = {r->up_across, r->x, r->rows, 1, r->depth, r->rows};
    Part part = part_of(&of_a, 1, r->ranks, g->depth, me, all);
    products(&of_a, 1, part, (Output){r->of_a, 0, r->depth}, 0);
    for (int64_t i = 0; i < g->count; i++) {
        const Layer *layer = g->layers + i;
        int64_t from = r->layers[i].from, wide = r->layers[i].outs;
        for (int64_t k = 0; k < layer->rank; k++)
            if (from + k >= part.top && from + k < part.bottom)
                memcpy(layer->of_a + k * g->depth + part.left, r->of_a + (from + k) * r->depth + part.left,
                       (part.right - part.left) * sizeof(float));
        Term of_b = {r->down_across + from * r->rows, r->layers[i].upstream, r->rows, 1, wide, r->rows};
        Part some = part_of(&of_b, 1, SIDE, layer->outs, me, all); /* columns of which this thread sums all rows, if any */
        if (!layer->rank || some.top == some.bottom)
            continue;
        some.bottom = layer->rank;
        products(&of_b, 1, some, (Output){r->layers[i].of_b, 0, wide}, 0);
        for (int64_t j = some.left; j < some.right; j++)
            for (int64_t k = 0; k < layer->rank; k++)
                layer->of_b[j * layer->rank + k] = layer->scale * r->layers[i].of_b[k * wide + j];
    }
}

static void backward(const Group *g, const Room *r, int64_t me, int64_t all)
{
    Part mine = rows_of(g->rows, 0, me, all);
    int64_t height = mine.bottom == g->rows ? r->rows - mine.top : mine.bottom - mine.top;
    if (g->x)
        round_rows(g->x, g->depth, g->depth, mine, g->rows, (Half *)r->x, r->depth);
    round_adapters(g, r, me, all);
    for (int64_t i = 0; i < g->count; i++)
        if (g->layers[i].upstream)
            round_rows(g->layers[i].upstream, g->layers[i].outs, g->layers[i].outs, mine, g->rows,
                       (Half *)r->layers[i].upstream, r->layers[i].outs);
#pragma omp barrier
    for (int64_t i = 0; i < g->count; i++) {
        int64_t rank = r->layers[i].rank, wide = r->layers[i].outs, at = r->layers[i].from * r->rows + mine.top;
        if (!rank)
            continue;
        narrow_product(r, (Term){r->layers[i].upstream, r->layers[i].b, wide, 1, rank, wide}, g->rows, rank, mine,
                       r->layers[i].up);
        turn(r->layers[i].up + mine.top * rank, rank, height, rank, r->up_across + at, r->rows);
        turn(g->layers[i].down + mine.top * rank, rank, height, rank, r->down_across + at, r->rows);
    }
#pragma omp barrier
    adapter_gradients(g, r, me, all);
    if (!g->of_x && !g->of_x_narrow)
        return;
    Term terms[MOST];
    int count = 0;
    for (int64_t i = 0; i < g->count; i++) {
        int64_t rank = r->layers[i].rank, wide = r->layers[i].outs;
        terms[count++] = (Term){r->layers[i].upstream, g->layers[i].weight, wide, 1, g->depth, g->layers[i].outs};
        if (rank)
            terms[count++] = (Term){r->layers[i].up, r->a + r->layers[i].from * r->depth, rank, 1, r->depth, rank};
    }
    Output to = {g->of_x, g->of_x_narrow, g->of_x ? g->depth : r->depth};
    products(terms, count, part_of(terms, count, g->rows, g->depth, me, all), to, 0);
}

static void run(const Group *g, int is_backward, int threads)
{
    Room r;
    lay_out(g, &r, is_backward);
#pragma omp parallel num_threads(threads)
    {
        int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        configure_tiles();
        if (is_backward)
            backward(g, &r, me, all);
        else
            forward(g, &r, me, all);
        _tile_release();
    }
}

/* Outputs y, and x A^T */
void hypo_lora_forward(const Group *g, int threads)
{
    run(g, 0, threads);
}

/* Gradients of x, A and B */
void hypo_lora_backward(const Group *g, int threads)
{
    run(g, 1, threads);
}
#endif
