/* RMS norm, SwiGLU gate and rotary embedding, forward and backward in one pass over memory each, and an online softmax;
 * float32.
 *
 * hypo_engine/cpu/elementwise.py calls these; hypo_engine/forward/fused.py names the sources of the formulas.
 */
#include "simd.h"

#include <math.h>

/* y = x * inverse * weight with inverse = 1 / sqrt(mean(x^2) + eps), for each of [rows, size] */
void hypo_rms_norm(const float *x, const float *weight, float eps, int64_t rows, int64_t size, float *y,
                   float *inverse, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        const float *from = x + row * size;
        float *to = y + row * size, squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < size; i++)
            squares += from[i] * from[i];
        float scale = inverse[row] = 1.0f / sqrtf(squares / (float)size + eps);
#pragma omp simd
        for (int64_t i = 0; i < size; i++)
            to[i] = from[i] * scale * weight[i];
    }
}

/* of_x = inverse * (u - x * mean(u x) * inverse^2) with u = upstream * weight */
void hypo_rms_norm_gradient(const float *upstream, const float *x, const float *weight, const float *inverse,
                            int64_t rows, int64_t size, float *of_x, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        const float *from = x + row * size, *given = upstream + row * size;
        float *to = of_x + row * size, along = 0, scale = inverse[row];
#pragma omp simd reduction(+ : along)
        for (int64_t i = 0; i < size; i++)
            along += given[i] * weight[i] * from[i];
        along *= scale * scale / (float)size;
#pragma omp simd
        for (int64_t i = 0; i < size; i++)
            to[i] = scale * (given[i] * weight[i] - from[i] * along);
    }
}

/* y = silu(gate) * up */
void hypo_swiglu(const float *gate, const float *up, int64_t count, float *y, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < count; i += LANES) {
        Lanes g = some(gate + i, count - i);
        put(y + i, count - i, g / (1.0f + exponential(-g)) * some(up + i, count - i));
    }
}

/* of_gate = upstream * up * silu'(gate), of_up = upstream * silu(gate) */
void hypo_swiglu_gradient(const float *upstream, const float *gate, const float *up, int64_t count, float *of_gate,
                          float *of_up, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < count; i += LANES) {
        int64_t left = count - i;
        Lanes g = some(gate + i, left), given = some(upstream + i, left);
        Lanes sigmoid = 1.0f / (1.0f + exponential(-g));
        put(of_gate + i, left, given * some(up + i, left) * sigmoid * (1.0f + g * (1.0f - sigmoid)));
        put(of_up + i, left, given * g * sigmoid);
    }
}

/* Rotary embedding, half-rotation form; direction -1 is the inverse.
 * x, y [tokens, heads, 2 half]; the cosines of consecutive tokens are `stride` floats apart. */
void hypo_rotate(const float *x, const float *cosines, const float *sines, int64_t stride, int64_t tokens,
                 int64_t heads, int64_t half, float direction, float *y, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t token = 0; token < tokens; token++) {
        const float *c = cosines + token * stride, *s = sines + token * stride;
        for (int64_t head = token * heads; head < (token + 1) * heads; head++) {
            const float *from = x + head * 2 * half;
            float *to = y + head * 2 * half;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                float first = from[i], second = from[half + i], turn = direction * s[i];
                to[i] = first * c[i] - second * turn;
                to[half + i] = second * c[i] + first * turn;
            }
        }
    }
}

/* One block of columns of an online softmax (Milakov and Gimelshein, arXiv 1805.02867).
 *
 * logits [rows, columns] become exp(scale * logit - maximum), with the maximum over all blocks so far. If it rises, the
 * earlier sums, total [rows] and sums [rows, size] (or null), are rescaled. picked [rows] is set to the scaled logit of
 * the row's target if the target, relative to the start of the block, lies in the block. */
void hypo_softmax_block(float *logits, int64_t rows, int64_t columns, const float *scale, const int64_t *target,
                        float *highest, float *total, float *picked, float *sums, int64_t size, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        float *x = logits + row * columns, top = highest[row], by = scale[row], all = 0;
        if (target[row] >= 0 && target[row] < columns)
            picked[row] = by * x[target[row]];
#pragma omp simd reduction(max : top) reduction(+ : all)
        for (int64_t i = 0; i < columns; i++) {
            top = by * x[i] > top ? by * x[i] : top;
            all += x[i]; /* a maximum ignores NaN, a sum propagates it */
        }
        if (top > highest[row]) {
            float down = expf(highest[row] - top);
            highest[row] = top;
            total[row] *= down;
            for (int64_t i = 0; sums && i < size; i++)
                sums[row * size + i] *= down;
        }
        double sum = isfinite(all) ? 0 : NAN;
        for (int64_t from = 0; from < columns; from += 64 * LANES) { /* short partial sums lose fewer digits */
            Lanes some_sum = {0};
            for (int64_t i = from; i < columns && i < from + 64 * LANES; i += LANES) {
                Lanes found = exponential(by * some(x + i, columns - i) - top);
                if (columns - i < LANES)
                    for (int lane = columns - i; lane < LANES; lane++)
                        found[lane] = 0;
                put(x + i, columns - i, found);
                some_sum += found;
            }
            for (int lane = 0; lane < LANES; lane++)
                sum += some_sum[lane];
        }
        total[row] += (float)sum;
    }
}
