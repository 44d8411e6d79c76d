/* SwiGLU of bfloat16 matrices, forward and backward, computed in float32.
 *
 * hypo_engine/cpu/gate_bf16.py calls these; all matrices are padded with zeros to whole tiles, and stay so.
 */
#include "simd.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include "amx.h"

/* 16 bfloat16 numbers as floats */
INLINE Lanes widened(const Half *from)
{
    __m512i halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return (Lanes)_mm512_slli_epi32(halves, 16);
}

INLINE void narrowed(Half *to, Lanes x)
{
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)x));
}

/* y = silu(gate) * up */
void hypo_narrow_swiglu(const Half *gate, const Half *up, int64_t count, Half *y, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < count; i += LANES) {
        Lanes g = widened(gate + i);
        narrowed(y + i, g / (1.0f + exponential(-g)) * widened(up + i));
    }
}

/* of_gate = upstream * up * silu'(gate), of_up = upstream * silu(gate) */
void hypo_narrow_swiglu_gradient(const Half *upstream, const Half *gate, const Half *up, int64_t count, Half *of_gate,
                                 Half *of_up, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < count; i += LANES) {
        Lanes g = widened(gate + i), given = widened(upstream + i);
        Lanes sigmoid = 1.0f / (1.0f + exponential(-g));
        narrowed(of_gate + i, given * widened(up + i) * sigmoid * (1.0f + g * (1.0f - sigmoid)));
        narrowed(of_up + i, given * g * sigmoid);
    }
}
#endif
