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

/* GCC's intrinsics do not say which memory a tile is loaded from, so the compiler might write it later. This comes before
 * the first load of what was just written. */
INLINE void written(void)
{
    __asm__ volatile("" ::: "memory");
}

/* 32 floats rounded to the nearest bfloat16 */
INLINE __m512i rounded(const float *from)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from));
}

/* to [wide] = x [count] in bfloat16, zero-padded; `wide` is a multiple of DEEP. */
INLINE void round_row(const float *x, int64_t count, Half *to, int64_t wide)
{
    int64_t k = 0;
    for (; k + DEEP <= count; k += DEEP)
        _mm512_storeu_si512(to + k, rounded(x + k));
    if (k < count) {
        float rest[DEEP] = {0};
        memcpy(rest, x + k, (count - k) * sizeof *rest);
        _mm512_storeu_si512(to + k, rounded(rest));
        k += DEEP;
    }
    for (; k < wide; k += DEEP)
        _mm512_storeu_si512(to + k, _mm512_setzero_si512());
}

/* One tile of w, packed: to[pair][column] = (w(column, 2 pair), w(column, 2 pair + 1)), zero-padded */
INLINE void pack_tile(const Half *w, int64_t row, int64_t column, int64_t wide, int64_t deep, Half *to)
{
    if (wide >= SIDE && deep >= DEEP && column == 1) {
        Lanes x[SIDE];
#pragma GCC unroll 16
        for (int j = 0; j < SIDE; j++)
            x[j] = (Lanes)_mm512_loadu_si512(w + j * row);
        transpose(x);
#pragma GCC unroll 16
        for (int pair = 0; pair < SIDE; pair++)
            _mm512_storeu_si512(to + pair * DEEP, (__m512i)x[pair]);
        return;
    }
    if (wide >= SIDE && deep >= DEEP && row == 1) {
#pragma GCC unroll 4
        for (int pair = 0; pair < SIDE; pair++) {
            const Half *from = w + 2 * pair * column;
            __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
            __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(from + column)));
            _mm512_storeu_si512(to + pair * DEEP, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
        }
        return;
    }
    for (int64_t k = 0; k < DEEP; k++)
        for (int64_t j = 0; j < SIDE; j++)
            to[k / 2 * DEEP + 2 * j + k % 2] = j < wide && k < deep ? w[j * row + k * column] : 0;
}

/* to [wide, rows] = x [rows, wide] transposed, whole tiles: pairs of rows side by side, then the pairs transposed */
static void turn(const Half *x, int64_t x_row, int64_t rows, int64_t wide, Half *to, int64_t to_row)
{
    for (int64_t i = 0; i < rows; i += DEEP)
        for (int64_t j = 0; j < wide; j += SIDE) {
            Half tile[TILE];
            Lanes lines[SIDE];
            pack_tile(x + i * x_row + j, 1, x_row, SIDE, DEEP, tile);
#pragma GCC unroll 16
            for (int line = 0; line < SIDE; line++)
                lines[line] = (Lanes)_mm512_loadu_si512(tile + line * DEEP);
            transpose(lines);
#pragma GCC unroll 16
            for (int line = 0; line < SIDE; line++)
                _mm512_storeu_si512(to + (j + line) * to_row + i, (__m512i)lines[line]);
        }
}

/* Every thread that uses tiles calls this first, and _tile_release in the end. */
static void configure_tiles(void)
{
    struct { uint8_t palette, start, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } all = {.palette = 1};
    for (int i = 0; i < 8; i++)
        all.row_bytes[i] = 64, all.rows[i] = SIDE;
    written();
    _tile_loadconfig(&all);
}
