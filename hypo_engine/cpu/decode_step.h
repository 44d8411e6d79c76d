/* One decoding step: the next token's logits of a few rows, for Llama-like models, with LoRA by row.
 *
 * With few rows, the lower bound of a step is the time to read every weight once. torch's products of few rows take
 * about twice that, and the call overhead of thirty layers of small operations as much again. Here each weight is read
 * once, in memory order, by threads that are started once per step.
 *
 * The file that includes this one defines Weight, the type of the matrices' elements, Input, which is a few rows in the
 * form that a product reads, and widen, input, input_floats, product, enter and leave. A row's results do not depend on the
 * other rows or on the number of threads, to the last bit.
 * hypo_engine/decoding/cpu_step.py declares the same structs in Python.
 */
#include <math.h>
#include <omp.h>

#define HEADS 4          /* heads whose sums share the registers, */
#define WIDE (LANES / 4) /* and vectors per head */

typedef struct { /* weights are [out, in]; a bias may be null */
    const float *norm_in, *norm_out, *q_bias, *k_bias, *v_bias, *o_bias;
    const Weight *q, *k, *v, *o, *gate, *up, *down;
    const Lora *lora[7]; /* of each projection: [adapters], or null */
} Layer;

enum { Q, K, V, O, GATE, UP, DOWN };

typedef struct {
    int64_t layers, hidden, heads, kv_heads, size, inner, vocabulary;
    float eps, scaling;
    const Layer *layer;
    const float *norm;
    const Weight *embedding, *head;
} Model;

typedef struct { /* the state of a decoding */
    int64_t slots, limit, longest;    /* capacity in rows, tokens per response, longest prompt, */
    int64_t adapters, ranks;          /* number of adapters, and their largest rank; 0 without any */
    const int64_t *adapter;           /* [slots]: see Routes; */
    const int64_t *lengths;           /* [slots]: tokens of each prompt */
    const float *const *prefix_keys;   /* [layers, slots]: each [tokens, kv_heads, size], rotated */
    const float *const *prefix_values;
    float *keys, *values;             /* [layers, slots, limit, kv_heads, size]: of the responses */
    const float *cosines, *sines;     /* [positions, size / 2] */
    float *workspace;                 /* see hypo_workspace */
    float *logits;                    /* [slots, vocabulary] */
} Decoding;

/* RMS norm (Zhang and Sennrich, arXiv 1910.07467) */
static void rms_norm(const float *x, const float *weight, float eps, int64_t hidden, float *y)
{
    float squares = 0;
    Lanes sum = {0};
    int64_t i = 0;
    for (; i + LANES <= hidden; i += LANES)
        sum += load(x + i) * load(x + i);
    for (; i < hidden; i++)
        squares += x[i] * x[i];
    for (int lane = 0; lane < LANES; lane++)
        squares += sum[lane];
    float inverse = 1.0f / sqrtf(squares / (float)hidden + eps);
    for (i = 0; i < hidden; i++)
        y[i] = x[i] * inverse * weight[i];
}

static void rms_norms(int rows, const float *x, const float *weight, float eps, int64_t hidden, float *y)
{
    for (int row = 0; row < rows; row++)
        rms_norm(x + row * hidden, weight, eps, hidden, y + row * hidden);
}

/* Rotary embedding, half-rotation form (Su et al., arXiv 2104.09864) */
static void rotate(float *x, const float *cosines, const float *sines, int64_t half)
{
    for (int64_t i = 0; i < half; i++) {
        float first = x[i], second = x[i + half];
        x[i] = first * cosines[i] - second * sines[i];
        x[i + half] = second * cosines[i] + first * sines[i];
    }
}

/* found[head][i] += sum over positions of weights[head][position] * values[position][i], for `lanes` vectors of i;
 * weights [heads, room], found [heads, size] */
INLINE void add_weighted_lanes(const int heads, const int lanes, const float *weights, int64_t room, Matrix values,
                               int64_t count, int64_t size, float *found)
{
    Lanes sum[HEADS][WIDE];
    for (int head = 0; head < heads; head++)
        for (int lane = 0; lane < lanes; lane++)
            sum[head][lane] = load(found + head * size + lane * LANES);
    for (int64_t place = 0; place < count; place++, values = part_of(values, 1, 0))
#pragma GCC unroll 4
        for (int lane = 0; lane < lanes; lane++) {
            Lanes value = load(values.at + lane * LANES);
            __builtin_prefetch(values.soon + lane * LANES, 0, 2);
#pragma GCC unroll 4
            for (int head = 0; head < heads; head++)
                sum[head][lane] += weights[head * room + place] * value;
        }
    for (int head = 0; head < heads; head++)
        for (int lane = 0; lane < lanes; lane++)
            store(found + head * size + lane * LANES, sum[head][lane]);
}

INLINE void add_weighted_heads(const int heads, const float *weights, int64_t room, Matrix values, int64_t count,
                               int64_t size, float *found)
{
    int64_t i = 0;
    for (; i + WIDE * LANES <= size; i += WIDE * LANES)
        add_weighted_lanes(heads, WIDE, weights, room, part_of(values, 0, i), count, size, found + i);
    for (; i + LANES <= size; i += LANES)
        add_weighted_lanes(heads, 1, weights, room, part_of(values, 0, i), count, size, found + i);
    for (; i < size; i++)
        for (int64_t place = 0; place < count; place++)
            for (int head = 0; head < heads; head++)
                found[head * size + i] += weights[head * room + place] * values.at[place * values.stride + i];
}

/* The same for any number of heads. */
APART void add_weighted(int64_t heads, const float *weights, int64_t room, Matrix values, int64_t count, int64_t size,
                        float *found)
{
    for (; heads >= HEADS; heads -= HEADS, weights += HEADS * room, found += HEADS * size)
        add_weighted_heads(HEADS, weights, room, values, count, size, found);
    switch (heads) {
    case 3: add_weighted_heads(3, weights, room, values, count, size, found); break;
    case 2: add_weighted_heads(2, weights, room, values, count, size, found); break;
    case 1: add_weighted_heads(1, weights, room, values, count, size, found); break;
    }
}

/* scores [count], padded by LANES, become exp(scale * (score - maximum)); returns their sum */
static float exponentials(float *scores, float scale, int64_t count)
{
    for (int64_t i = 0; i < LANES; i++)
        scores[count + i] = -INFINITY;
    Lanes most = load(scores), sums = {0};
    for (int64_t i = LANES; i < count; i += LANES) {
        Lanes next = load(scores + i);
        most = either(next > most, next, most);
    }
    float highest = most[0];
    for (int lane = 1; lane < LANES; lane++)
        highest = most[lane] > highest ? most[lane] : highest;
    for (int64_t i = 0; i < count; i += LANES) {
        Lanes found = exponential(scale * (load(scores + i) - highest));
        store(scores + i, found);
        sums += found;
    }
    return total(sums);
}

/* Input of the query heads of a row that share one key and value head: `before` tokens of its prompt and its own */
typedef struct {
    int64_t before;
    const float *prefix_keys, *prefix_values;
    float *keys, *values;
} Seen;

/* `head` is an index over the key heads of all rows */
static Seen seen(const Model *m, const Decoding *d, int64_t layer, const int64_t *slots, int64_t head)
{
    int64_t slot = slots[head / m->kv_heads], prefix = layer * d->slots + slot, at = head % m->kv_heads * m->size;
    int64_t own = prefix * d->limit * m->kv_heads * m->size + at;
    return (Seen){d->lengths[slot], d->prefix_keys[prefix] + at, d->prefix_values[prefix] + at, d->keys + own,
                  d->values + own};
}

/* Attention of the query heads that share one key and value head, over a row's prompt and its own tokens. Values are
 * prefetched while the keys are used, and then the next keys. */
APART void attend(const Model *m, const Decoding *d, Seen now, Seen next, int64_t written, float *queries, float *key,
                  const float *value, float *found, float *scores)
{
    int64_t size = m->size, group = m->heads / m->kv_heads, stride = m->kv_heads * size;
    int64_t before = now.before, count = before + written + 1, room = d->longest + d->limit + LANES;
    const float *cosines = d->cosines + (count - 1) * (size / 2), *sines = d->sines + (count - 1) * (size / 2);
    float *sums = scores + group * room;

    rotate(key, cosines, sines, size / 2);
    memcpy(now.keys + written * stride, key, size * sizeof *key);
    memcpy(now.values + written * stride, value, size * sizeof *value);
    for (int64_t head = 0; head < group; head++)
        rotate(queries + head * size, cosines, sines, size / 2);
    Matrix prefix = {now.prefix_keys, stride, now.prefix_values}, own = {now.keys, stride, now.values};
    multiply(group, queries, prefix, size, before, scores, room);
    multiply(group, queries, own, size, written + 1, scores + before, room);
    for (int64_t head = 0; head < group; head++)
        sums[head] = exponentials(scores + head * room, m->scaling, count);
    memset(found, 0, group * size * sizeof *found);
    prefix = (Matrix){now.prefix_values, stride, next.prefix_keys}, own = (Matrix){now.values, stride, next.keys};
    add_weighted(group, scores, room, prefix, before, size, found);
    add_weighted(group, scores + before, room, own, written + 1, size, found);
    for (int64_t head = 0; head < group; head++)
        for (int64_t i = 0; i < size; i++)
            found[head * size + i] /= sums[head];
}

/* x += y, for a range of columns of [rows, hidden] */
static void add_columns(int rows, float *x, const float *y, int64_t hidden, Share mine)
{
    for (int row = 0; row < rows; row++)
        for (int64_t i = mine.begin; i < mine.end; i++)
            x[row * hidden + i] += y[row * hidden + i];
}

/* gate = silu(gate) * up, for a range of columns (Shazeer, arXiv 2002.05202) */
static void swiglu(int rows, float *gate, const float *up, int64_t inner, Share mine)
{
    for (int row = 0; row < rows; row++, gate += inner, up += inner)
        for (int64_t i = mine.begin; i < mine.end; i += LANES) {
            Lanes g = some(gate + i, mine.end - i);
            put(gate + i, mine.end - i, g / (1.0f + exponential(-g)) * some(up + i, mine.end - i));
        }
}

static int64_t of_rows(const Model *m, int64_t ranks)
{
    return 2 * m->hidden + 2 * m->heads * m->size + 2 * m->kv_heads * m->size + 2 * m->inner + 3 * ranks;
}

static int64_t most(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

static int64_t of_thread(const Model *m, int64_t rows, int64_t longest, int64_t ranks)
{
    int64_t deepest = most(most(m->hidden, m->inner), m->heads * m->size);
    return rows * m->hidden + m->heads / m->kv_heads * (longest + LANES + 1) + input_floats(rows, deepest, ranks);
}

/* Size of the workspace in floats; longest: the largest number of positions of a row; ranks: of all adapters. */
int64_t hypo_workspace(const Model *m, int64_t rows, int64_t longest, int64_t ranks, int threads)
{
    return rows * of_rows(m, ranks) + threads * of_thread(m, rows, longest, ranks);
}

/* One thread's part of a step, with barriers where a part of a layer needs all of the one before. */
static void run(const Model *m, const Decoding *d, int rows, const int64_t *slot, int64_t written, int thread,
                int threads)
{
    int64_t hidden = m->hidden, wide = m->heads * m->size, narrow = m->kv_heads * m->size, inner = m->inner;
    int64_t group = m->heads / m->kv_heads, longest = d->longest + d->limit;
    float *x = d->workspace, *q = x + rows * hidden, *k = q + rows * wide, *v = k + rows * narrow;
    float *attended = v + rows * narrow, *added = attended + rows * wide;
    float *gate = added + rows * hidden, *up = gate + rows * inner;
    Routes routes = {slot, d->adapter, d->adapters, d->ranks, up + rows * inner};
    float *normed = d->workspace + rows * of_rows(m, d->adapters * d->ranks) + thread * of_thread(m, rows, longest, d->adapters * d->ranks);
    float *scores = normed + rows * hidden, *space = scores + group * (longest + LANES + 1);
    Input given;
    Share of_hidden = share(hidden, LANES, thread, threads), of_inner = share(inner, LANES, thread, threads);
    Share of_wide = share(wide, LANES, thread, threads), of_narrow = share(narrow, LANES, thread, threads);
    Share of_heads = share(rows * m->kv_heads, 1, thread, threads);
    Share of_vocabulary = share(m->vocabulary, LANES, thread, threads);

    for (int64_t layer = 0; layer < m->layers; layer++) {
        const Layer *l = m->layer + layer;
        rms_norms(rows, x, l->norm_in, m->eps, hidden, normed);
        given = input(&routes, l->lora + Q, 3, rows, normed, hidden, space, thread, threads);
        product(&given, 0, l->q, l->q_bias, wide, q, of_wide);
        product(&given, 1, l->k, l->k_bias, narrow, k, of_narrow);
        product(&given, 2, l->v, l->v_bias, narrow, v, of_narrow);
#pragma omp barrier
        for (int64_t head = of_heads.begin; head < of_heads.end; head++) {
            int64_t at = head * m->size, own = at * group, next = head + 1 < of_heads.end ? head + 1 : head;
            attend(m, d, seen(m, d, layer, slot, head), seen(m, d, layer, slot, next), written, q + own, k + at, v + at,
                   attended + own, scores);
        }
#pragma omp barrier
        given = input(&routes, l->lora + O, 1, rows, attended, wide, space, thread, threads);
        product(&given, 0, l->o, l->o_bias, hidden, added, of_hidden);
        add_columns(rows, x, added, hidden, of_hidden);
#pragma omp barrier
        rms_norms(rows, x, l->norm_out, m->eps, hidden, normed);
        given = input(&routes, l->lora + GATE, 2, rows, normed, hidden, space, thread, threads);
        product(&given, 0, l->gate, NULL, inner, gate, of_inner);
        product(&given, 1, l->up, NULL, inner, up, of_inner);
        swiglu(rows, gate, up, inner, of_inner);
#pragma omp barrier
        given = input(&routes, l->lora + DOWN, 1, rows, gate, inner, space, thread, threads);
        product(&given, 0, l->down, NULL, hidden, added, of_hidden);
        add_columns(rows, x, added, hidden, of_hidden);
#pragma omp barrier
    }
    rms_norms(rows, x, m->norm, m->eps, hidden, normed);
    given = input(&routes, NULL, 0, rows, normed, hidden, space, thread, threads);
    product(&given, 0, m->head, NULL, m->vocabulary, d->logits, of_vocabulary);
}

/* Feed tokens[row] to slot[row], where all slots have `written` response tokens; computes the next logits[row]. */
void hypo_step(const Model *m, const Decoding *d, int rows, const int64_t *slot, const int64_t *tokens,
               int64_t written, int threads)
{
    for (int row = 0; row < rows; row++)
        widen(m->embedding + tokens[row] * m->hidden, m->hidden, d->workspace + row * m->hidden);
#pragma omp parallel num_threads(threads)
    {
        enter();
        run(m, d, rows, slot, written, omp_get_thread_num(), omp_get_num_threads());
        leave();
    }
}
