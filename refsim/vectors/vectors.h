/* @HEAD@
 *
 * Golden vectors as C99 data. A launch is a list of tensors: "plan.<name>" (the integers an implementation is made with), "operands.<name>",
 * "steps.<name>" (the intermediates, in order), and "out". Floats are given by their bits, as uint32_t and uint64_t.
 *
 *   cc -std=c99 -DREFSIM_MAIN @STEM@.c && ./a.out
 *       says whether every tensor arrived whole (CRC-32 of its elements, little-endian);
 *   cc -std=c99 -DREFSIM_MAIN -DREFSIM_TARGET=my_function @STEM@.c mine.c && ./a.out
 *       also runs my_function on every launch and compares.
 */
#ifndef @NAME@_H
#define @NAME@_H

#include <stddef.h>
#include <stdint.h>

#ifndef REFSIM_VECTORS_TYPES
#define REFSIM_VECTORS_TYPES

typedef enum {
    REFSIM_NONE, /* an optional operand that is left out */
    REFSIM_BOOL, /* uint8_t: 0 or 1 */
    REFSIM_INT8,
    REFSIM_UINT8,
    REFSIM_INT16,
    REFSIM_INT32,
    REFSIM_INT64,
    REFSIM_FLOAT32,
    REFSIM_FLOAT64
} refsim_type;

typedef struct {
    const char *name;
    refsim_type type;
    int axes;
    size_t shape[8];
    size_t count;
    const void *data; /* NULL where count is 0 */
    uint32_t crc;
} refsim_tensor;

typedef struct {
    const char *id;
    size_t tensors;
    const refsim_tensor *tensor;
} refsim_launch;

/* Writes the elements of "out", in its type and order; returns 0, or anything else where it cannot. */
typedef int refsim_target(const refsim_launch *launch, void *out);

#endif

extern const char @NAME@_corpus[]; /* SHA-256 of the corpus; empty for vectors made to order */
extern const size_t @NAME@_count;
extern const refsim_launch @NAME@_launches[];

/* The tensor of that name, or NULL. */
const refsim_tensor *@NAME@_find(const refsim_launch *launch, const char *name);

/* How many tensors are damaged, each with a line on standard output. */
int @NAME@_damaged(void);

/* How many launches differ from what the target makes of them, each with a line on standard output. */
int @NAME@_differing(refsim_target *target);

#endif
