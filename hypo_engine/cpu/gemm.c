/* Large products y = x w^T of float32 matrices, after Goto and van de Geijn (ACM TOMS 34(3), 2008).
 *
 * A strip of w is packed in the order of its use, so that it stays in a core's private cache while all rows of x are
 * multiplied with it; the sums of a tile of y stay in registers. Threads do not share data or synchronize: each has its
 * own rows and columns of y. The order of summation is fixed, so a row's result depends neither on the other rows nor
 * on the number of threads.
 *
 * hypo_engine/cpu/gemm.py decides when this is used.
 */
#include "tile.h"

#include <omp.h>

#define DEEP 384                 /* terms summed in registers before the sum is added to memory */
#define STRIP (WIDE * DEEP * 10) /* floats of w that are packed at a time: 480 KiB */

/* One thread's part: x [rows, depth], w [outs, depth], y [rows, outs] with row distance `stride` */
static void product(const float *x, int64_t row, View w, int64_t rows, int64_t outs, int64_t depth, float *y,
                    int64_t stride, int add)
{
    static _Thread_local float strip[STRIP], few[TALL * (DEEP + LANES)];
    int crowded = row % 1024 == 0; /* rows at this distance would evict each other from the cache */
    int64_t cuts = (depth + DEEP - 1) / DEEP, panels = (rows + TALL - 1) / TALL;
    for (int64_t cut = 0; cut < cuts; cut++) {
        int64_t from = depth * cut / cuts, deep = depth * (cut + 1) / cuts - from, wide = STRIP / deep / WIDE * WIDE;
        for (int64_t left = 0; left < outs; left += wide) {
            int64_t right = least(left + wide, outs);
            for (int64_t j = left; j < right; j += WIDE)
                put_in_order(part(w, j, from), deep, least(WIDE, outs - j), strip + (j - left) * deep);
            for (int64_t panel = 0; panel < panels; panel++) {
                int64_t top = rows * panel / panels, tall = rows * (panel + 1) / panels - top;
                const float *given = x + top * row + from, *next = given + tall * row;
                View these = crowded ? (View){few, DEEP + LANES, 1} : (View){given, row, 1};
                for (int64_t i = 0; i < tall && crowded; i++)
                    memcpy(few + i * these.row, given + i * row, deep * sizeof *few);
                for (int64_t j = left; j < right; j += WIDE) {
                    float *to = y + top * stride + j;
                    fetch(to + WIDE, stride, tall, 1);
                    fetch(to + WIDE + LANES, stride, tall, 1);
                    for (int64_t ahead = 0; ahead < deep * WIDE / (right - left) + LANES; ahead += LANES)
                        fetch(next + (j - left) * deep / (right - left) + ahead, row, tall, 0);
                    tile_along(tall, these, strip + (j - left) * deep, deep, to, stride, least(WIDE, outs - j),
                               add || cut);
                }
            }
        }
    }
}

/* Number of thread columns for which the busiest thread has the fewest tiles. */
static int64_t side_by_side(int64_t threads, int64_t columns, int64_t panels)
{
    int64_t found = 1, fewest = INT64_MAX;
    for (int64_t across = 1; across <= threads; across++) {
        int64_t down = threads / across, tiles = (columns + across - 1) / across * ((panels + down - 1) / down);
        if (threads % across == 0 && tiles <= fewest)
            found = across, fewest = tiles;
    }
    return found;
}

/* y = x w^T, or y += x w^T: x [rows, depth] and y [rows, outs] with row strides `x_row` and `y_row`; w [outs, depth]
 * with strides `w_row` and `w_column`, one of which is 1. */
void hypo_large_product(const float *x, int64_t x_row, const float *w, int64_t w_row, int64_t w_column, int64_t rows,
                        int64_t outs, int64_t depth, float *y, int64_t y_row, int add, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        int64_t all = omp_get_num_threads(), me = omp_get_thread_num(), columns = (outs + WIDE - 1) / WIDE;
        int64_t across = side_by_side(all, columns, (rows + TALL - 1) / TALL), down = all / across;
        int64_t at = me % across, row = me / across;
        int64_t left = least(columns * at / across * WIDE, outs), top = rows * row / down;
        int64_t right = least(columns * (at + 1) / across * WIDE, outs), bottom = rows * (row + 1) / down;
        product(x + top * x_row, x_row, part((View){w, w_row, w_column}, left, 0), bottom - top, right - left, depth,
                y + top * y_row + left, y_row, add);
    }
}
