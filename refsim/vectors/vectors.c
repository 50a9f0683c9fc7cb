/* @HEAD@: see @STEM@.h */
#include "@STEM@.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
@DATA@

static size_t size_of(refsim_type type)
{
    switch (type) {
    case REFSIM_BOOL:
    case REFSIM_INT8:
    case REFSIM_UINT8:
        return 1;
    case REFSIM_INT16:
        return 2;
    case REFSIM_INT32:
    case REFSIM_FLOAT32:
        return 4;
    case REFSIM_INT64:
    case REFSIM_FLOAT64:
        return 8;
    case REFSIM_NONE:
        break;
    }
    return 0;
}

/* The bits of an element, zero-extended. */
static uint64_t bits_of(refsim_type type, const void *data, size_t i)
{
    switch (size_of(type)) {
    case 1:
        return ((const uint8_t *)data)[i];
    case 2:
        return ((const uint16_t *)data)[i];
    case 4:
        return ((const uint32_t *)data)[i];
    case 8:
        return ((const uint64_t *)data)[i];
    default:
        return 0;
    }
}

static uint32_t crc_of(const refsim_tensor *t)
{
    uint32_t crc = 0xffffffffu;
    size_t i, byte;
    int bit;
    for (i = 0; i < t->count; i++) {
        uint64_t word = bits_of(t->type, t->data, i);
        for (byte = 0; byte < size_of(t->type); byte++) {
            crc ^= (uint32_t)(word >> (8 * byte) & 0xff);
            for (bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

const refsim_tensor *@NAME@_find(const refsim_launch *launch, const char *name)
{
    size_t i;
    for (i = 0; i < launch->tensors; i++)
        if (strcmp(launch->tensor[i].name, name) == 0)
            return &launch->tensor[i];
    return NULL;
}

int @NAME@_damaged(void)
{
    int damaged = 0;
    size_t i, j;
    for (i = 0; i < @NAME@_count; i++) {
        const refsim_launch *launch = &@NAME@_launches[i];
        for (j = 0; j < launch->tensors; j++) {
            if (crc_of(&launch->tensor[j]) != launch->tensor[j].crc) {
                printf("%s: %s did not arrive whole\n", launch->id, launch->tensor[j].name);
                damaged++;
            }
        }
    }
    return damaged;
}

int @NAME@_differing(refsim_target *target)
{
    int differing = 0;
    size_t i, at;
    for (i = 0; i < @NAME@_count; i++) {
        const refsim_launch *launch = &@NAME@_launches[i];
        const refsim_tensor *out = @NAME@_find(launch, "out");
        size_t bytes = out->count * size_of(out->type);
        void *got = malloc(bytes ? bytes : 1);
        if (!got) {
            printf("%s: no memory\n", launch->id);
            return differing + 1;
        }
        memset(got, 0xa5, bytes);
        if (target(launch, got) != 0) {
            printf("%s: not run\n", launch->id);
            differing++;
        } else {
            for (at = 0; at < out->count && bits_of(out->type, got, at) == bits_of(out->type, out->data, at); at++)
                ;
            if (at < out->count) {
                printf("%s: out[%lu] is 0x%llx, expected 0x%llx\n", launch->id, (unsigned long)at,
                       (unsigned long long)bits_of(out->type, got, at), (unsigned long long)bits_of(out->type, out->data, at));
                differing++;
            }
        }
        free(got);
    }
    return differing;
}

#ifdef REFSIM_MAIN
#ifdef REFSIM_TARGET
refsim_target REFSIM_TARGET;
#endif

int main(void)
{
    int damaged = @NAME@_damaged(), differing = 0;
#ifdef REFSIM_TARGET
    differing = @NAME@_differing(REFSIM_TARGET);
#endif
    printf("%lu launches, %d tensors damaged, %d launches differ\n", (unsigned long)@NAME@_count, damaged, differing);
    return damaged || differing;
}
#endif
