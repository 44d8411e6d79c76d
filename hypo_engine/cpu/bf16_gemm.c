/* Products y = sum of x w^T of bfloat16 matrices with float32 sums, on a processor with AMX. Each thread has its own
 * columns and rows of y.
 *
 * hypo_engine/cpu/bf16_gemm.py decides when this is used, and declares the same struct.
 */
#include "simd.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include "bf16_gemm.h"

#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023 /* asm/prctl.h of Linux, which older headers lack */
#define XFEATURE_XTILEDATA 18

/* Whether the system lets this process use the tile unit */
int hypo_bf16_available(void)
{
    return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

/* to [padded rows, padded depth] = x [rows, depth] in bfloat16, zero-padded; to_row is a multiple of DEEP. */
void hypo_bf16_round(const float *x, int64_t x_row, int64_t rows, int64_t depth, Half *to, int64_t to_rows,
                      int64_t to_row, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < to_rows; i++)
        if (i < rows)
            round_row(x + i * x_row, depth, to + i * to_row, to_row);
        else
            memset(to + i * to_row, 0, to_row * sizeof *to);
}

/* y [rows, outs] = or += the sum of x w^T of the terms */
void hypo_bf16_product(const Term *terms, int count, int64_t rows, int64_t outs, float *y, int64_t y_row, int add,
                       int threads)
{
#pragma omp parallel num_threads(threads)
    {
        configure_tiles();
        Part part = part_of(terms, count, rows, outs, omp_get_thread_num(), omp_get_num_threads());
        products(terms, count, part, (Output){y, 0, y_row}, add);
        _tile_release();
    }
}
#else
int hypo_bf16_available(void)
{
    return 0;
}
#endif
