/* A test bench that works on files: i-GELU (dialect ibert) of the C99 implementation beside this folder.
 *
 *   refsim golden render --op i_gelu --dialect ibert --format bin
 *   cc -std=c99 -O2 -I../c bench.c ../c/[a-z]*.c -o bench
 *   mkdir results && ./bench i_gelu_ibert.bin results/i_gelu.bin && refsim check results:results
 *
 * docs/vectors.md lays out the file; what is written is of the same form, each launch with its text and the tensor "out". The vectors are
 * trusted: whoever does not, checks sizes and CRCs first.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ibert.h"

static void give_up(const char *why) {
    fprintf(stderr, "bench: %s\n", why);
    exit(1);
}

static void *allocated(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (memory == NULL) give_up("out of memory");
    return memory;
}

/* ------------------------------------------------------------------------------------------------------------ the file's bytes */

static uint64_t get(const unsigned char *from, int size) {
    uint64_t value = 0;
    for (int i = size - 1; i >= 0; i--) value = value << 8 | from[i];
    return value;
}

static void put(unsigned char *to, uint64_t value, int size) {
    for (int i = 0; i < size; i++) to[i] = (unsigned char)(value >> 8 * i & 0xff);
}

static size_t padded(size_t size) {
    return (size + 7) / 8 * 8;
}

static uint32_t crc32(const unsigned char *data, size_t size) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static unsigned char *whole_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) give_up("the vectors cannot be read");
    *size = (size_t)ftell(file);
    unsigned char *data = allocated(*size);
    rewind(file);
    if (fread(data, 1, *size, file) != *size) give_up("the vectors cannot be read");
    fclose(file);
    return data;
}

/* ------------------------------------------------------------------------------------------------------------------- a tensor */

struct tensor {
    const unsigned char *shape; /* 8 bytes an axis */
    int axes;
    int64_t last; /* the last axis; 1 where there is none */
    int64_t count;
    int64_t *data;
};

/* The tensor `name` of a launch, widened to int64_t. */
static struct tensor find(const unsigned char *launch, const char *name) {
    static const int widths[] = {0, 1, 1, 1, 2, 4, 8, 4, 8}; /* of none, bool, int8, uint8, int16, int32, int64, float32, float64 */
    const unsigned char *at = launch + 16 + padded((size_t)get(launch + 12, 4));
    for (uint64_t left = get(launch + 8, 4); left > 0; left--) {
        const int code = at[56], width = widths[code], is_signed = code == 2 || code >= 4;
        struct tensor t = {at + 64, at[57], 1, code != 0, NULL};
        for (int i = 0; i < t.axes; i++) t.count *= t.last = (int64_t)get(t.shape + 8 * i, 8);
        const unsigned char *element = t.shape + 8 * t.axes;
        if (strncmp((const char *)at, name, 56) == 0) {
            t.data = allocated((size_t)t.count * sizeof *t.data);
            for (int64_t i = 0; i < t.count; i++, element += width) {
                uint64_t value = get(element, width);
                if (is_signed && width < 8 && value >> (8 * width - 1)) value -= (uint64_t)1 << 8 * width;
                memcpy(&t.data[i], &value, sizeof value);
            }
            return t;
        }
        at = element + padded((size_t)t.count * (size_t)width);
    }
    give_up("a launch lacks a tensor");
    exit(1);
}

/* The launch once more: its text, and `out` in the shape of `like` as its only tensor. */
static void write_result(FILE *file, const unsigned char *launch, const struct tensor *like, const int64_t *out) {
    const size_t text = 16 + padded((size_t)get(launch + 12, 4)), shape = 8 * (size_t)like->axes, elements = 8 * (size_t)like->count;
    const size_t size = text + 64 + shape + elements;
    unsigned char *made = allocated(size), *tensor = made + text;
    memcpy(made, launch, text);
    put(made, size, 8);
    put(made + 8, 1, 4);
    memset(tensor, 0, 64);
    strcpy((char *)tensor, "out");
    tensor[56] = 6;
    tensor[57] = (unsigned char)like->axes;
    memcpy(tensor + 64, like->shape, shape);
    for (int64_t i = 0; i < like->count; i++) put(tensor + 64 + shape + 8 * i, (uint64_t)out[i], 8);
    put(tensor + 60, crc32(tensor + 64 + shape, elements), 4);
    if (fwrite(made, 1, size, file) != size) give_up("the results cannot be written");
    free(made);
}

/* ---------------------------------------------------------------------------------------------------------------- the operation */

static void run(const unsigned char *launch, FILE *file) {
    struct tensor q = find(launch, "operands.q"), b = find(launch, "plan.q_b"), c = find(launch, "plan.q_c"), one = find(launch, "plan.q_1");
    int64_t *out = allocated((size_t)q.count * sizeof *out);
    const int64_t channels = b.count > 1 ? q.last : q.count, rows = b.count > 1 && channels > 0 ? q.count / channels : 1;
    i_gelu_ibert(rows, channels, q.data, b.data, c.data, one.data, b.count, out);
    write_result(file, launch, &q, out);
    free(q.data), free(b.data), free(c.data), free(one.data), free(out);
}

int main(int count, char **words) {
    size_t size;
    if (count != 3) give_up("usage: bench VECTORS.bin RESULTS.bin");
    unsigned char *vectors = whole_file(words[1], &size);
    if (size < 48 || memcmp(vectors, "REFSIMV1", 8) != 0) give_up("no vectors in the binary form");
    FILE *file = fopen(words[2], "wb");
    if (file == NULL || fwrite(vectors, 1, 48, file) != 48) give_up("the results cannot be written");
    const unsigned char *launch = vectors + 48;
    for (uint64_t left = get(vectors + 8, 4); left > 0; left--, launch += get(launch, 8)) run(launch, file);
    free(vectors);
    return fclose(file) == 0 ? 0 : 1;
}
