/* A decoding step with float32 weights. */
#include "row_lora.h"

typedef float Weight;

typedef struct { /* rows of activations, and the adapters of the layers that read them */
    const float *x;
    int64_t depth;
    int rows;
    const Routes *routes;
    const Lora *const *loras;
} Input;

static int64_t input_floats(int64_t rows, int64_t depth, int64_t ranks)
{
    (void)rows, (void)depth, (void)ranks;
    return 0;
}

static void widen(const float *from, int64_t count, float *to)
{
    memcpy(to, from, count * sizeof *to);
}

static void enter(void) {}
static void leave(void) {}

/* Rows x for `count` layers with these adapters. With adapters all threads wait for each other. */
static Input input(const Routes *routes, const Lora *const *loras, int count, int rows, const float *x, int64_t depth,
                   float *space, int thread, int threads)
{
    (void)space;
    if (count && routes->most) {
        lora_parts(routes, loras, count, rows, x, depth, share(count * rows, 1, thread, threads));
#pragma omp barrier
    }
    return (Input){x, depth, rows, routes, loras};
}

/* y = x w^T + bias with the adapters of the layer at place `at`, for the outputs of one thread; w [outs, depth], y [rows,
 * outs] */
static void product(const Input *given, int at, const float *w, const float *bias, int64_t outs, float *y, Share mine)
{
    const float *from = w + mine.begin * given->depth;
    Matrix part = {from, given->depth, from + AHEAD * given->depth};
    multiply(given->rows, given->x, part, given->depth, mine.end - mine.begin, y + mine.begin, outs);
    for (int row = 0; row < given->rows && bias; row++)
        for (int64_t out = mine.begin; out < mine.end; out++)
            y[row * outs + out] += bias[out];
    if (given->loras)
        add_lora(given->routes, given->loras[at], at, given->rows, y, outs, mine);
}

#include "decode_step.h"

/* y = x w^T: x [rows, depth], w [outs, depth], y [rows, outs]. */
void hypo_product(int rows, const float *x, const float *w, int64_t depth, int64_t outs, float *y, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        Input given = {x, depth, rows, NULL, NULL};
        product(&given, 0, w, NULL, outs, y, share(outs, LANES, omp_get_thread_num(), omp_get_num_threads()));
    }
}
