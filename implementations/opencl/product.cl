// Products of narrow integers in int32 accumulators, behind kernels.cl: built once per pair of operand types, as
// PRODUCT(LEFT, RIGHT). The plan bounds every partial sum.
//
// out = a @ b for each of the batch. b is read by its strides: (1, inner) is the transpose of a row-major weight, (columns, 1) a plain
// matrix. A tile of the result per work-group, both operands through local memory, its edges padded with zeros; all groups stand along
// one axis, as GPUs allow the others 65535. `fused` tells whether `rescale` requantises the result.
kernel __attribute__((reqd_work_group_size(TILE, TILE, 1)))
void PRODUCT(global const LEFT *a, global const RIGHT *b, global const int *bias, int biased, int rows, int inner, int columns,
             long stride_inner, long stride_column, int fused, global const long *rescale, long rescale_channels, global int *out) {
    local int tile_a[TILE][TILE + 1], tile_b[TILE][TILE + 1];
    const int x = (int)get_local_id(0), y = (int)get_local_id(1);
    const long across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE, group = (long)get_group_id(0);
    const int column = (int)(group % across) * TILE + x, row = (int)(group / across % down) * TILE + y;
    const long batch = group / across / down;
    a += batch * rows * inner;
    b += batch * inner * columns;
    int sum = 0;
    for (int start = 0; start < inner; start += TILE) {
        const int k_a = start + x, k_b = start + y;
        tile_a[y][x] = row < rows && k_a < inner ? a[(long)row * inner + k_a] : 0;
        tile_b[y][x] = column < columns && k_b < inner ? b[k_b * stride_inner + column * stride_column] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = 0; k < TILE; k++) sum += tile_a[y][k] * tile_b[k][x];
        barrier(CLK_LOCAL_MEM_FENCE); // before the next tile overwrites this one
    }
    if (row < rows && column < columns) {
        if (biased) sum += bias[column];
        if (fused) sum = (int)requantize_one(sum, rescale, rescale_channels, column % rescale_channels);
        out[(batch * rows + row) * columns + column] = sum;
    }
}
