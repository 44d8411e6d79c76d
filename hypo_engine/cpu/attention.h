/* What attention.c (float32) and attention_bf16.c share: the segments, their keys, and the start of a softmax. */
typedef struct {
    int64_t segments, heads, kv_heads, size;
    const int64_t *begins, *lengths;         /* [segments]: offset and length in the row */
    const int64_t *prompts, *before, *parts; /* [segments]: its prompt's first token in the prefix, its length, and where
                                                its part of the prefix's gradients begins */
    float scaling;
    const float *queries, *keys, *values;    /* [tokens, heads, size], [tokens, kv_heads, size] twice */
    const float *prefix_keys, *prefix_values;  /* [prefix tokens, kv_heads, size]; keys and values, if prompts are segments of the row */
    float *found, *sums;                     /* result [tokens, heads, size]; log-sum-exp of the scores [tokens, heads] */
    const float *upstream;                   /* like found; from here on for the backward pass only */
    float *of_queries, *of_keys, *of_values; /* gradients, shaped like those without of_ */
    float *of_prefix_keys, *of_prefix_values;  /* [parts, kv_heads, size]: one part per segment with a prompt */
    float *workspace;
} Attention;

typedef struct { /* a segment with one key head; `keys` are those that it attends to, its prompt's `before` first */
    int64_t segment, head, length, before, keys;
} Span;

static Span span_of(const Attention *a, int64_t number)
{
    int64_t segment = number / a->kv_heads, length = a->lengths[segment], before = a->before[segment];
    return (Span){segment, number % a->kv_heads, length, before, before + length};
}

static int64_t most_keys(const Attention *a)
{
    int64_t most = 0;
    for (int64_t s = 0; s < a->segments; s++)
        most = a->before[s] + a->lengths[s] > most ? a->before[s] + a->lengths[s] : most;
    return most;
}

/* A span's i-th key or value, [size] */
static const float *key_at(const Attention *a, const Span *s, const float *prefix, const float *own, int64_t i)
{
    int64_t token = i < s->before ? a->prompts[s->segment] + i : a->begins[s->segment] + i - s->before;
    return (i < s->before ? prefix : own) + (token * a->kv_heads + s->head) * a->size;
}

/* Where its gradient goes: to the segment's part of the prefix's, or to its own */
static float *gradient_at(const Attention *a, const Span *s, float *prefix, float *own, int64_t i)
{
    int64_t token = i < s->before ? a->parts[s->segment] + i : a->begins[s->segment] + i - s->before;
    return (i < s->before ? prefix : own) + (token * a->kv_heads + s->head) * a->size;
}

static float highest(const float *scores, int64_t count)
{
    float top = scores[0], lane[LANES];
    int64_t i = LANES;
    if (count >= LANES) {
        Lanes most = load(scores);
        for (; i + LANES <= count; i += LANES)
            most = larger(most, load(scores + i));
        store(lane, most);
        for (int j = 0; j < LANES; j++)
            top = lane[j] > top ? lane[j] : top;
    }
    for (i -= LANES; i < count; i++)
        top = scores[i] > top ? scores[i] : top;
    return top;
}

/* The sum of x y */
static float dot(const float *x, const float *y, int64_t count)
{
    Lanes sum = {0};
    for (int64_t i = 0; i < count; i += LANES)
        sum += some(x + i, count - i) * some(y + i, count - i);
    return total(sum);
}
