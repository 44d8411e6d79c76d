/* Tiles of bfloat16 on a processor with AMX (Intel, Architecture Instruction Set Extensions Programming Reference,
 * chapter 3): a tile of sums [16, 16] gains the product of a tile [16, 32] and one of 16 pairs of terms [16, 16].
 */
#include <immintrin.h>

#define SIDE 16            /* rows of a tile, and its columns of floats */
#define DEEP 32            /* terms of a tile: 16 pairs */
#define TILE (SIDE * DEEP) /* its elements: 1 KiB */

typedef uint16_t Half;

static inline int64_t tiles(int64_t count, int64_t side)
{
    return (count + side - 1) / side;
}

/* 32 floats rounded to the nearest bfloat16 */
INLINE __m512i rounded(const float *from)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from));
}

/* Every thread that uses tiles calls this first, and _tile_release in the end. */
static void configure_tiles(void)
{
    struct { uint8_t palette, start, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } all = {.palette = 1};
    for (int i = 0; i < 8; i++)
        all.row_bytes[i] = 64, all.rows[i] = SIDE;
    _tile_loadconfig(&all);
}
