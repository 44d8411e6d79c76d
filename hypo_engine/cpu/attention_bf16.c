/* Attention as in attention.c, by tiles of bfloat16 (amx.h): float32 activations of a model whose matrices are bfloat16.
 *
 * Queries, keys, values, weights and slopes are rounded for a product; sums, softmax and results are float32. A task's
 * sizes are padded with zeros to whole pairs of tiles, so there are no edges. The keys' gradients are summed transposed,
 * [size, keys], because then weights and slopes are the packed operand and need no transposition.
 */
#include "simd.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include "amx.h"
#include "attention.h"

#include <math.h>
#include <omp.h>

#define PAIR (2 * SIDE) /* rows and columns of a block of sums: two tiles each */
#define LOG2E 1.44269504f
#define BLOCK 64        /* queries at a time; pairs of them are two tiles deep */

/* The workspace of one task: `room` keys and `deep` numbers of a head, both rounded up to whole pairs of tiles. */
typedef struct {
    Span of;
    int64_t room, deep;
    Half *rows;                         /* [room, deep]: keys or values, before they are packed */
    Half *key_rows, *value_rows;        /* packed for sums over a head's numbers: [room / SIDE][deep / DEEP] tiles */
    Half *key_columns, *value_columns;  /* packed for sums over keys: [room / DEEP][deep / SIDE] tiles */
    Half *queries, *upstream;           /* [BLOCK, deep] */
    Half *queries_across, *upstream_across; /* [deep, BLOCK] */
    Half *narrow;                       /* [BLOCK, room]: weights of the forward pass, slopes of the backward pass */
    Half *weight_pairs, *slope_pairs;   /* [BLOCK / 2, room, 2]: two queries side by side */
    float *weights, *slopes;            /* [BLOCK, room] */
    float *of_keys, *of_values;         /* [deep, room] */
    float *found;                       /* [BLOCK, deep] */
} Task;

static int64_t padded(int64_t count)
{
    return tiles(count, PAIR) * PAIR;
}

/* Set the task's pointers into memory of its own; returns the number of floats. */
static int64_t lay_out(Task *t, int64_t room, int64_t deep, float *memory)
{
    float *next = memory;
#define PLACE(member, count) t->member = (void *)next, next += (count)
    PLACE(rows, room * deep / 2), PLACE(key_rows, room * deep / 2), PLACE(value_rows, room * deep / 2);
    PLACE(key_columns, room * deep / 2), PLACE(value_columns, room * deep / 2);
    PLACE(queries, BLOCK * deep / 2), PLACE(upstream, BLOCK * deep / 2);
    PLACE(queries_across, BLOCK * deep / 2), PLACE(upstream_across, BLOCK * deep / 2);
    PLACE(narrow, BLOCK * room / 2), PLACE(weight_pairs, BLOCK * room / 2), PLACE(slope_pairs, BLOCK * room / 2);
    PLACE(weights, BLOCK * room), PLACE(slopes, BLOCK * room);
    PLACE(of_keys, room * deep), PLACE(of_values, room * deep), PLACE(found, BLOCK * deep);
    return next - memory;
}

/* Size of the workspace for this many threads, in floats. */
int64_t hypo_segments_workspace(const Attention *a, int threads)
{
    Task t;
    return threads * lay_out(&t, padded(most_keys(a)), padded(a->size), a->workspace);
}

/* A tile of 16 pairs of terms is packed as amx.h says, or lies in a matrix of pairs, whose rows are `row` bytes apart. */
typedef struct {
    const Half *at;
    int64_t row, across, down; /* from a tile to the one of the next columns, and of the next terms, in elements */
} Packed;

/* c [PAIR, PAIR] = x w^T, or +=, over `depth` tiles of terms; rows of x and c are x_row and c_row elements apart. */
INLINE void square(const Half *x, int64_t x_row, Packed w, int64_t depth, float *c, int64_t c_row, const int add)
{
    int64_t stride = c_row * sizeof *c;
    float *below = c + SIDE * c_row;
    written();
    if (add) {
        _tile_loadd(0, c, stride);
        _tile_loadd(1, c + SIDE, stride);
        _tile_loadd(2, below, stride);
        _tile_loadd(3, below + SIDE, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t k = 0; k < depth; k++) {
        _tile_loadd(4, x + k * DEEP, x_row * sizeof *x);
        _tile_loadd(5, x + SIDE * x_row + k * DEEP, x_row * sizeof *x);
        _tile_loadd(6, w.at + k * w.down, w.row);
        _tile_loadd(7, w.at + k * w.down + w.across, w.row);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, stride);
    _tile_stored(1, c + SIDE, stride);
    _tile_stored(2, below, stride);
    _tile_stored(3, below + SIDE, stride);
}

/* c [tall, wide] = x w^T, or +=; tall and wide are whole pairs of tiles */
static void product(const Half *x, int64_t x_row, Packed w, int64_t tall, int64_t wide, int64_t depth, float *c,
                    int64_t c_row, int add)
{
    for (int64_t j = 0; j < wide; j += PAIR, w.at += 2 * w.across)
        for (int64_t i = 0; i < tall; i += PAIR)
            if (add)
                square(x + i * x_row, x_row, w, depth, c + i * c_row + j, c_row, 1);
            else
                square(x + i * x_row, x_row, w, depth, c + i * c_row + j, c_row, 0);
}

static Packed by_rows(const Half *tiles, int64_t deep)
{
    return (Packed){tiles, DEEP * sizeof(Half), deep / DEEP * TILE, TILE};
}

static Packed by_columns(const Half *tiles, int64_t deep)
{
    return (Packed){tiles, DEEP * sizeof(Half), TILE, deep / SIDE * TILE};
}

static Packed by_pairs(const Half *pairs, int64_t room)
{
    return (Packed){pairs, room * 2 * sizeof(Half), DEEP, SIDE * room * 2};
}

/* Gather and round a span's keys or values, and pack them in one or both ways. */
static void gather(const Attention *a, const Task *t, const float *prefix, const float *own, Half *rows, Half *columns)
{
    for (int64_t i = 0; i < t->room; i++)
        if (i < t->of.keys)
            round_row(key_at(a, &t->of, prefix, own, i), a->size, t->rows + i * t->deep, t->deep);
        else
            memset(t->rows + i * t->deep, 0, t->deep * sizeof *t->rows);
    for (int64_t i = 0; rows && i < t->room; i += SIDE)
        for (int64_t k = 0; k < t->deep; k += DEEP, rows += TILE)
            pack_tile(t->rows + i * t->deep + k, t->deep, 1, SIDE, DEEP, rows);
    for (int64_t k = 0; columns && k < t->room; k += DEEP)
        for (int64_t j = 0; j < t->deep; j += SIDE, columns += TILE)
            pack_tile(t->rows + k * t->deep + j, 1, t->deep, SIDE, DEEP, columns);
}

static Task begin(const Attention *a, int64_t number, int thread, int backward)
{
    Task t = {.of = span_of(a, number)};
    int64_t each = lay_out(&t, padded(most_keys(a)), padded(a->size), a->workspace);
    t.room = padded(t.of.keys), t.deep = padded(a->size);
    lay_out(&t, t.room, t.deep, a->workspace + thread * each);
    gather(a, &t, a->prefix_keys, a->keys, t.key_rows, backward ? t.key_columns : 0);
    gather(a, &t, a->prefix_values, a->values, backward ? t.value_rows : 0, backward ? 0 : t.value_columns);
    return t;
}

/* to [padded count, deep] = rows of queries or upstream gradients of one head, rounded */
static void take(const Attention *a, const Task *t, const float *rows, int64_t count, Half *to)
{
    for (int64_t i = 0; i < padded(count); i++, to += t->deep)
        if (i < count)
            round_row(rows + i * a->heads * a->size, a->size, to, t->deep);
        else
            memset(to, 0, t->deep * sizeof *to);
}

/* The first `count` of 16 lanes; none or all if it is out of range */
INLINE __mmask16 first(int64_t count)
{
    return count >= LANES ? 0xffff : count <= 0 ? 0 : (1 << count) - 1;
}

/* 2^(by * score - top) for visible keys, else 0, to 3e-6 of its value; a polynomial for |r| <= 1/2 */
INLINE Lanes weight(const float *score, float by, float top, int64_t visible)
{
    Lanes x = by * load(score) - top, whole = (Lanes)_mm512_roundscale_ps((__m512)x, 0), r = x - whole;
    Lanes p = 0.999999261f + r * (0.693121815f + r * (0.240247449f + r * (0.0559178602f + r * 0.00957010059f)));
    return (Lanes)_mm512_maskz_scalef_ps(first(visible), (__m512)p, (__m512)whole);
}

/* narrow [seen] = weights of the scores; returns their sum before rounding */
static float weigh(const float *scores, float by, float top, int64_t visible, int64_t seen, Half *narrow)
{
    Lanes sum = {0};
    for (int64_t i = 0; i < seen; i += 2 * LANES) {
        Lanes one = weight(scores + i, by, top, visible - i);
        Lanes other = weight(scores + i + LANES, by, top, visible - i - LANES);
        _mm512_storeu_si512(narrow + i, (__m512i)_mm512_cvtne2ps_pbh((__m512)other, (__m512)one));
        sum += one + other;
    }
    return total(sum);
}

static void attend(const Attention *a, const Task *t)
{
    int64_t group = a->heads / a->kv_heads, row = a->heads * a->size;
    for (int64_t head = t->of.head * group; head < (t->of.head + 1) * group; head++)
        for (int64_t from = 0; from < t->of.length; from += BLOCK) {
            int64_t count = least(BLOCK, t->of.length - from), start = a->begins[t->of.segment] + from;
            int64_t at = start * row + head * a->size, seen = padded(t->of.before + from + count);
            float inverse[BLOCK];
            take(a, t, a->queries + at, count, t->queries);
            product(t->queries, t->deep, by_rows(t->key_rows, t->deep), padded(count), seen, t->deep / DEEP,
                    t->weights, t->room, 0);
            for (int64_t i = 0; i < count; i++) {
                const float *scores = t->weights + i * t->room;
                int64_t visible = t->of.before + from + i + 1;
                float top = a->scaling * highest(scores, visible);
                float sum = weigh(scores, LOG2E * a->scaling, LOG2E * top, visible, seen, t->narrow + i * t->room);
                a->sums[(start + i) * a->heads + head] = top + logf(sum);
                inverse[i] = 1 / sum;
            }
            for (int64_t i = count; i < padded(count); i++)
                memset(t->narrow + i * t->room, 0, seen * sizeof *t->narrow);
            product(t->narrow, t->room, by_columns(t->value_columns, t->deep), padded(count), t->deep, seen / DEEP,
                    t->found, t->deep, 0);
            for (int64_t i = 0; i < count; i++)
                for (int64_t j = 0; j < a->size; j += LANES)
                    put(a->found + at + i * row + j, a->size - j, inverse[i] * load(t->found + i * t->deep + j));
        }
}

/* One query of a block: its log-sum-exp to the base 2, the mean of its weights' gradients, and how many keys it attends to. */
typedef struct {
    float top, mean;
    int64_t visible;
} Query;

/* Weights and slopes of two queries from their scores and their weights' gradients, rounded and side by side. */
static void slopes_of(const Task *t, float scaling, const Query *query, int64_t i, int64_t seen)
{
    static const uint16_t order[DEEP] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                         8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i by_turns = _mm512_loadu_si512(order);
    for (int64_t key = 0; key < seen; key += LANES) {
        Lanes weights[2], slopes[2];
        for (int both = 0; both < 2; both++) {
            const Query *q = query + both;
            int64_t at = (i + both) * t->room + key;
            weights[both] = weight(t->weights + at, LOG2E * scaling, q->top, q->visible - key);
            slopes[both] = weights[both] * (load(t->slopes + at) - q->mean) * scaling;
        }
        __m512i narrow = (__m512i)_mm512_cvtne2ps_pbh((__m512)slopes[1], (__m512)slopes[0]);
        __m512i pair = (__m512i)_mm512_cvtne2ps_pbh((__m512)weights[1], (__m512)weights[0]);
        _mm256_storeu_si256((__m256i *)(t->narrow + i * t->room + key), _mm512_castsi512_si256(narrow));
        _mm256_storeu_si256((__m256i *)(t->narrow + (i + 1) * t->room + key), _mm512_extracti64x4_epi64(narrow, 1));
        int64_t to = i * t->room + 2 * key;
        _mm512_storeu_si512(t->slope_pairs + to, _mm512_permutexvar_epi16(by_turns, narrow));
        _mm512_storeu_si512(t->weight_pairs + to, _mm512_permutexvar_epi16(by_turns, pair));
    }
}

/* Scatter gradients x [deep, room] of a span's keys or values. */
static void put_back(const Attention *a, const Task *t, const float *x, float *prefix, float *own)
{
    for (int64_t i = 0; i < t->of.keys; i += SIDE)
        for (int64_t j = 0; j < a->size; j += SIDE) {
            Lanes lines[SIDE];
#pragma GCC unroll 16
            for (int line = 0; line < SIDE; line++)
                lines[line] = load(x + (j + line) * t->room + i);
            transpose(lines);
            for (int line = 0; line < least(SIDE, t->of.keys - i); line++)
                put(gradient_at(a, &t->of, prefix, own, i + line) + j, a->size - j, lines[line]);
        }
}

static void differentiate(const Attention *a, const Task *t)
{
    int64_t group = a->heads / a->kv_heads, row = a->heads * a->size;
    memset(t->of_keys, 0, t->room * t->deep * sizeof(float));
    memset(t->of_values, 0, t->room * t->deep * sizeof(float));
    for (int64_t head = t->of.head * group; head < (t->of.head + 1) * group; head++)
        for (int64_t from = 0; from < t->of.length; from += BLOCK) {
            int64_t count = least(BLOCK, t->of.length - from), start = a->begins[t->of.segment] + from;
            int64_t at = start * row + head * a->size, tall = padded(count), seen = padded(t->of.before + from + count);
            take(a, t, a->queries + at, count, t->queries);
            take(a, t, a->upstream + at, count, t->upstream);
            turn(t->queries, t->deep, tall, t->deep, t->queries_across, BLOCK);
            turn(t->upstream, t->deep, tall, t->deep, t->upstream_across, BLOCK);
            product(t->queries, t->deep, by_rows(t->key_rows, t->deep), tall, seen, t->deep / DEEP, t->weights,
                    t->room, 0);
            product(t->upstream, t->deep, by_rows(t->value_rows, t->deep), tall, seen, t->deep / DEEP, t->slopes,
                    t->room, 0);
            for (int64_t i = 0; i < tall; i += 2) {
                Query query[2] = {{0}};
                for (int64_t both = 0; both < least(2, count - i); both++) {
                    int64_t line = at + (i + both) * row;
                    float mean = dot(a->found + line, a->upstream + line, a->size);
                    query[both] = (Query){LOG2E * a->sums[(start + i + both) * a->heads + head], mean,
                                          t->of.before + from + i + both + 1};
                }
                slopes_of(t, a->scaling, query, i, seen);
            }
            product(t->narrow, t->room, by_columns(t->key_columns, t->deep), tall, t->deep, seen / DEEP, t->found,
                    t->deep, 0);
            for (int64_t i = 0; i < count; i++)
                memcpy(a->of_queries + at + i * row, t->found + i * t->deep, a->size * sizeof(float));
            product(t->queries_across, BLOCK, by_pairs(t->slope_pairs, t->room), t->deep, seen, tall / DEEP,
                    t->of_keys, t->room, 1);
            product(t->upstream_across, BLOCK, by_pairs(t->weight_pairs, t->room), t->deep, seen, tall / DEEP,
                    t->of_values, t->room, 1);
        }
    put_back(a, t, t->of_keys, a->of_prefix_keys, a->of_keys);
    put_back(a, t, t->of_values, a->of_prefix_values, a->of_values);
}

/* All tasks, in any order: no two write to the same memory. */
static void run(const Attention *a, int threads, int backward)
{
#pragma omp parallel num_threads(threads)
    {
        configure_tiles();
#pragma omp for schedule(dynamic)
        for (int64_t number = 0; number < a->segments * a->kv_heads; number++) {
            Task t = begin(a, number, omp_get_thread_num(), backward);
            if (backward)
                differentiate(a, &t);
            else
                attend(a, &t);
        }
        _tile_release();
    }
}

/* Forward pass: the result and the log-sum-exp of the scores. */
void hypo_attend(const Attention *a, int threads)
{
    run(a, threads, 0);
}

/* Backward pass: the gradients of queries, keys and values. */
void hypo_attend_gradient(const Attention *a, int threads)
{
    run(a, threads, 1);
}
#endif
