/* Attention of segments of a packed row, each over its prompt's keys and, causally, its own; float32.
 *
 * Nothing is copied for the backward pass: keys are used in place, all completions share their prompt's keys, and
 * scores are recomputed from the log-sum-exp of the forward pass (Dao et al., arXiv 2205.14135). A task is one segment
 * with the query heads that share one key head. No two tasks write to the same memory, so results do not depend on the
 * number of threads.
 *
 * hypo_engine/cpu/attention.py declares the struct of attention.h in Python.
 */
#include "tile.h"
#include "attention.h"

#include <math.h>
#include <omp.h>

#define BLOCK (4 * TALL) /* queries per update of the keys' gradients */

/* The workspace of one task. */
typedef struct {
    Span of;
    int64_t room, columns;        /* number of keys, rounded up; column blocks of a head */
    float *key_rows, *value_rows; /* [keys, size] contiguous, later their gradients */
    float *key_tiles;             /* keys packed for scores: [room / WIDE][size][WIDE] */
    float *value_tiles;           /* values packed likewise, for the gradient of weights */
    float *key_columns;           /* keys packed for the gradient of queries: [columns][keys][WIDE] */
    float *value_columns;         /* values packed likewise, for the result */
    float *weights, *slopes;      /* [BLOCK, room] */
    float *query_columns, *upstream_columns; /* [columns][BLOCK][WIDE] */
} Task;

static int64_t rounded(int64_t count)
{
    return (count + WIDE - 1) / WIDE * WIDE;
}

static int64_t of_task(int64_t room, int64_t size)
{
    return room * (2 * size + 4 * rounded(size)) + 2 * BLOCK * (room + rounded(size));
}

/* Size of the workspace for this many threads, in floats. */
int64_t hypo_segments_workspace(const Attention *a, int threads)
{
    return threads * of_task(rounded(most_keys(a)), a->size);
}

/* Gather a span's keys or values as [keys, size] */
static void gather(const Attention *a, const Task *t, const float *prefix, const float *own, float *rows)
{
    for (int64_t i = 0; i < t->of.keys; i++)
        memcpy(rows + i * a->size, key_at(a, &t->of, prefix, own, i), a->size * sizeof *rows);
}

/* Pack rows [count, size] by columns: [columns][count][WIDE] */
static void order_columns(const float *rows, int64_t row, int64_t count, int64_t size, float *to)
{
    for (int64_t j = 0; j < size; j += WIDE, to += count * WIDE)
        put_in_order((View){rows + j, 1, row}, count, least(WIDE, size - j), to);
}

/* Pack rows [keys, size] by keys: [keys / WIDE][size][WIDE] */
static void order_rows(const float *rows, int64_t keys, int64_t size, float *to)
{
    for (int64_t j = 0; j < keys; j += WIDE, to += size * WIDE)
        put_in_order((View){rows + j * size, size, 1}, size, least(WIDE, keys - j), to);
}

static Task begin(const Attention *a, int64_t number, int thread, int backward)
{
    Task t = {.of = span_of(a, number)};
    int64_t room = rounded(most_keys(a)), wide = rounded(a->size);
    t.room = rounded(t.of.keys), t.columns = wide / WIDE;
    t.key_rows = a->workspace + thread * of_task(room, a->size), t.value_rows = t.key_rows + room * a->size;
    t.key_tiles = t.value_rows + room * a->size, t.value_tiles = t.key_tiles + room * wide;
    t.key_columns = t.value_tiles + room * wide, t.value_columns = t.key_columns + room * wide;
    t.weights = t.value_columns + room * wide, t.slopes = t.weights + BLOCK * room;
    t.query_columns = t.slopes + BLOCK * room, t.upstream_columns = t.query_columns + BLOCK * wide;
    gather(a, &t, a->prefix_keys, a->keys, t.key_rows);
    gather(a, &t, a->prefix_values, a->values, t.value_rows);
    order_rows(t.key_rows, t.of.keys, a->size, t.key_tiles);
    if (backward) {
        order_rows(t.value_rows, t.of.keys, a->size, t.value_tiles);
        order_columns(t.key_rows, a->size, t.of.keys, a->size, t.key_columns);
    } else
        order_columns(t.value_rows, a->size, t.of.keys, a->size, t.value_columns);
    return t;
}

/* y [tall, columns of keys] = x keys^T for the first `seen` keys, rounded up */
static void against(int64_t tall, const float *x, int64_t row, const float *tiles, int64_t size, int64_t seen, float *y,
                    int64_t room)
{
    for (int64_t j = 0; j < seen; j += WIDE, tiles += size * WIDE)
        tile_along(tall, (View){x, row, 1}, tiles, size, y + j, room, WIDE, 0);
}

/* y [tall, size] = x [tall, deep] times columns [deep of `keys`, size] */
static void along(int64_t tall, const float *x, int64_t room, const float *columns, int64_t keys, int64_t deep,
                  int64_t size, float *y, int64_t row)
{
    for (int64_t j = 0; j < size; j += WIDE, columns += keys * WIDE)
        tile_along(tall, (View){x, room, 1}, columns, deep, y + j, row, least(WIDE, size - j), 0);
}

/* scores [count of `seen`] become exp(scaling * score - top), masked ones zero; returns the sum */
INLINE float weigh(float *scores, float scaling, float top, int64_t count, int64_t seen)
{
    const Ints lane = COUNTING;
    const Lanes none = {0};
    Lanes sum = none;
    for (int64_t i = 0; i < seen; i += LANES) {
        Lanes found = exponential(scaling * load(scores + i) - top);
        if (i + LANES > count)
            found = either(lane < (Ints){0} + (int32_t)(count - i), found, none);
        store(scores + i, found);
        sum += found;
    }
    return total(sum);
}

static void attend(const Attention *a, const Task *t)
{
    int64_t group = a->heads / a->kv_heads, row = a->heads * a->size;
    for (int64_t head = t->of.head * group; head < (t->of.head + 1) * group; head++)
        for (int64_t top = 0; top < t->of.length; top += TALL) {
            int64_t tall = least(TALL, t->of.length - top), seen = t->of.before + top + tall, first = a->begins[t->of.segment] + top;
            int64_t deep = least(rounded(seen), t->of.keys);
            float *found = a->found + first * row + head * a->size, inverse[TALL];
            against(tall, a->queries + first * row + head * a->size, row, t->key_tiles, a->size, seen, t->weights, t->room);
            for (int64_t i = 0; i < tall; i++) {
                float *scores = t->weights + i * t->room, best = a->scaling * highest(scores, t->of.before + top + i + 1);
                float sum = weigh(scores, a->scaling, best, t->of.before + top + i + 1, rounded(seen));
                a->sums[(first + i) * a->heads + head] = best + logf(sum);
                inverse[i] = 1 / sum;
            }
            along(tall, t->weights, t->room, t->value_columns, t->of.keys, deep, a->size, found, row);
            for (int64_t i = 0; i < tall; i++)
                for (int64_t j = 0; j < a->size; j++)
                    found[i * row + j] *= inverse[i];
        }
}

/* Weights of some queries and gradients of their scores, then the gradient of the queries. */
static void slopes_of(const Attention *a, const Task *t, int64_t head, int64_t top, int64_t tall, float *weights,
                      float *slopes)
{
    int64_t row = a->heads * a->size, first = a->begins[t->of.segment] + top, at = first * row + head * a->size;
    int64_t seen = t->of.before + top + tall, deep = least(rounded(seen), t->of.keys);
    against(tall, a->queries + at, row, t->key_tiles, a->size, seen, weights, t->room);
    against(tall, a->upstream + at, row, t->value_tiles, a->size, seen, slopes, t->room);
    for (int64_t i = 0; i < tall; i++) {
        float *w = weights + i * t->room, *s = slopes + i * t->room;
        float mean = dot(a->found + at + i * row, a->upstream + at + i * row, a->size);
        weigh(w, a->scaling, a->sums[(first + i) * a->heads + head], t->of.before + top + i + 1, rounded(seen));
#pragma omp simd
        for (int64_t j = 0; j < rounded(seen); j++)
            s[j] = w[j] * (s[j] - mean) * a->scaling;
    }
    along(tall, slopes, t->room, t->key_columns, t->of.keys, deep, a->size, a->of_queries + at, row);
}

/* y [keys seen, size] += x^T times packed rows, x [count, keys] */
static void add_across(const float *x, int64_t room, int64_t count, int64_t seen, const float *columns, int64_t size,
                       float *y)
{
    for (int64_t j = 0; j < size; j += WIDE, columns += count * WIDE)
        for (int64_t key = 0; key < seen; key += TALL) {
            int64_t tall = least(TALL, seen - key), width = least(WIDE, size - j);
            switch (tall) {
#define ACROSS(n) \
    case n: \
        tile(n, (View){x + key, 1, room}, columns, count, y + key * size + j, size, width, 1); \
        break;
                HEIGHTS(ACROSS)
            }
        }
}

/* Scatter gradients [keys, size] */
static void put_back(const Attention *a, const Task *t, const float *rows, float *prefix, float *own)
{
    for (int64_t i = 0; i < t->of.keys; i++)
        memcpy(gradient_at(a, &t->of, prefix, own, i), rows + i * a->size, a->size * sizeof *rows);
}

static void differentiate(const Attention *a, const Task *t)
{
    int64_t group = a->heads / a->kv_heads, row = a->heads * a->size;
    memset(t->key_rows, 0, t->of.keys * a->size * sizeof(float));
    memset(t->value_rows, 0, t->of.keys * a->size * sizeof(float));
    for (int64_t head = t->of.head * group; head < (t->of.head + 1) * group; head++)
        for (int64_t from = 0; from < t->of.length; from += BLOCK) {
            int64_t count = least(BLOCK, t->of.length - from), seen = t->of.before + from + count;
            int64_t at = (a->begins[t->of.segment] + from) * row + head * a->size;
            for (int64_t i = 0; i < count; i += TALL) {
                int64_t tall = least(TALL, count - i), known = rounded(t->of.before + from + i + tall);
                float *weights = t->weights + i * t->room, *slopes = t->slopes + i * t->room;
                slopes_of(a, t, head, from + i, tall, weights, slopes);
                for (int64_t line = 0; line < tall && known < seen; line++) { /* keys that only later queries of the block attend to */
                    memset(weights + line * t->room + known, 0, (seen - known) * sizeof *weights);
                    memset(slopes + line * t->room + known, 0, (seen - known) * sizeof *slopes);
                }
            }
            order_columns(a->queries + at, row, count, a->size, t->query_columns);
            order_columns(a->upstream + at, row, count, a->size, t->upstream_columns);
            add_across(t->slopes, t->room, count, seen, t->query_columns, a->size, t->key_rows);
            add_across(t->weights, t->room, count, seen, t->upstream_columns, a->size, t->value_rows);
        }
    put_back(a, t, t->key_rows, a->of_prefix_keys, a->of_keys);
    put_back(a, t, t->value_rows, a->of_prefix_values, a->of_values);
}

/* Forward pass: the result and the log-sum-exp of the scores. */
void hypo_attend(const Attention *a, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t number = 0; number < a->segments * a->kv_heads; number++) {
        Task t = begin(a, number, omp_get_thread_num(), 0);
        attend(a, &t);
    }
}

/* Backward pass: the gradients of queries, keys and values. */
void hypo_attend_gradient(const Attention *a, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t number = 0; number < a->segments * a->kv_heads; number++) {
        Task t = begin(a, number, omp_get_thread_num(), 1);
        differentiate(a, &t);
    }
}
