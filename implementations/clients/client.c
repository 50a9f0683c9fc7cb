/* A program for `refsim check cmd:./client`: four operations of the C99 implementation beside this folder, behind frames.
 *
 *   cc -std=c99 -O2 -I../c client.c ../c/[a-z]*.c -o client
 *   refsim check cmd:./client
 *
 * docs/targets.md describes the frames byte by byte. The harness writes its headers without blanks, which is what lets the few
 * lines of `after` stand for a JSON parser.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ibert.h"

#define MOST_ARRAYS 2
#define MOST_AXES 32

struct tensor {
    int present;
    int64_t ndim, shape[MOST_AXES], size;
    int64_t *data;
};

static void give_up(const char *why) {
    fprintf(stderr, "client: %s\n", why);
    exit(1);
}

static void *allocated(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (memory == NULL) give_up("out of memory");
    return memory;
}

/* ------------------------------------------------------------------------------------------------------------------ JSON */

/* What stands behind "name": from `json` on; a null pointer where there is no such name. */
static const char *after(const char *json, const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *found = json ? strstr(json, quoted) : NULL;
    return found ? found + strlen(quoted) : NULL;
}

/* The integer at `json`; those beyond 2**53 stand between quotation marks. */
static int64_t integer(const char *json, const char **end) {
    char *stop;
    const int64_t value = strtoimax(json + (*json == '"'), &stop, 10);
    *end = stop + (*stop == '"');
    return value;
}

/* The integer `name` of the plan, or its one per channel: fills `values`, which holds `most`, and returns how many there are. */
static int64_t constant(const char *header, const char *name, int64_t *values, int64_t most) {
    const char *at = after(after(header, "integers"), name);
    int64_t count = 0;
    if (at == NULL) give_up("the plan lacks an integer");
    if (*at != '[') {
        values[0] = integer(at, &at);
        return 1;
    }
    for (at++; *at != ']' && count < most; at += *at == ',') values[count++] = integer(at, &at);
    return count;
}

static int64_t scalar(const char *header, const char *name) {
    int64_t value;
    constant(header, name, &value, 1);
    return value;
}

/* ---------------------------------------------------------------------------------------------------------------- frames */

static int bytes(void *to, size_t size) {
    return fread(to, 1, size, stdin) == size;
}

static uint64_t little_endian(const unsigned char *from, int size) {
    uint64_t value = 0;
    for (int i = size - 1; i >= 0; i--) value = value << 8 | from[i];
    return value;
}

/* The header of the next frame as a string; a null pointer where the harness has closed the stream. */
static char *next_header(void) {
    unsigned char length[8];
    if (!bytes(length, sizeof length)) return NULL;
    const size_t size = (size_t)little_endian(length, 8);
    char *header = allocated(size + 1);
    if (!bytes(header, size)) give_up("the stream ends inside a header");
    header[size] = '\0';
    return header;
}

/* The elements that follow the header, widened to int64_t. `type` is such as int16","shape":[2,3]} */
static struct tensor next_tensor(const char *type) {
    struct tensor t = {1, 0, {0}, 1, NULL};
    const int is_signed = *type == 'i', width = *type == 'b' ? 1 : atoi(type + (is_signed ? 3 : 4)) / 8;
    const char *at = after(type, "shape");
    if (at == NULL || *at != '[') give_up("an array without a shape");
    for (at++; *at != ']' && t.ndim < MOST_AXES; at += *at == ',') {
        t.shape[t.ndim] = integer(at, &at);
        t.size *= t.shape[t.ndim++];
    }
    t.data = allocated((size_t)t.size * sizeof *t.data);
    for (int64_t i = 0; i < t.size; i++) {
        unsigned char element[8];
        if (!bytes(element, (size_t)width)) give_up("the stream ends inside an array");
        uint64_t value = little_endian(element, width);
        if (is_signed && width < 8 && value >> (8 * width - 1)) value -= (uint64_t)1 << (8 * width);
        memcpy(&t.data[i], &value, sizeof value);
    }
    return t;
}

static void tensors(const char *header, struct tensor *found) {
    const char *at = after(header, "arrays");
    if (at == NULL) give_up("a header without arrays");
    at++;
    for (int i = 0; i < MOST_ARRAYS && *at != ']'; i++) {
        if (*at == 'n') { /* null: an operand that is absent */
            at += 4;
        } else {
            const char *type = after(at, "dtype");
            if (type == NULL) give_up("an array without a dtype");
            found[i] = next_tensor(type + 1);
            at = strchr(at, '}') + 1;
        }
        at += *at == ',';
    }
}

static void send(const char *header, const int64_t *data, int64_t size) {
    const uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++) putchar((int)(length >> 8 * i & 0xff));
    fputs(header, stdout);
    for (int64_t i = 0; i < size; i++)
        for (int k = 0; k < 8; k++) putchar((int)((uint64_t)data[i] >> 8 * k & 0xff));
    fflush(stdout);
}

static void send_result(const struct tensor *like, const int64_t *data) {
    char header[1024], *end = header + sprintf(header, "{\"status\":\"ok\",\"names\":[\"out\"],\"arrays\":[{\"dtype\":\"int64\",\"shape\":[");
    for (int64_t i = 0; i < like->ndim; i++) end += sprintf(end, "%s%" PRId64, i ? "," : "", like->shape[i]);
    sprintf(end, "]}]}");
    send(header, data, like->size);
}

/* ------------------------------------------------------------------------------------------------------------ operations */

static void i_gelu(const char *header, int ibert, const struct tensor *q, int64_t *out) {
    const int64_t most = q->ndim ? q->shape[q->ndim - 1] : 1;
    int64_t *own = allocated((size_t)(3 * most + 3) * sizeof *own), *q_b = own, *q_c = own + most + 1, *q_1 = own + 2 * most + 2;
    const int64_t length = constant(header, "q_b", q_b, most);
    constant(header, "q_c", q_c, most);
    constant(header, "q_1", q_1, most);
    (ibert ? i_gelu_ibert : i_gelu_paper)(length > 1 ? q->size / length : 1, length > 1 ? length : q->size, q->data, q_b, q_c, q_1, length,
                                          out);
    free(own);
}

static void i_softmax(const char *header, int ibert, const struct tensor *q, const struct tensor *mask, int64_t *out) {
    const int64_t length = q->shape[q->ndim - 1], rows = q->size / length, bits = scalar(header, "output_bits");
    const int64_t q_b = scalar(header, "q_b"), q_c = scalar(header, "q_c");
    uint8_t *keep = NULL;
    if (mask->present) { /* one for each element of q; a shorter one broadcasts along the leading axes */
        keep = allocated((size_t)q->size);
        for (int64_t i = 0; i < q->size; i++) {
            int64_t from = 0, step = 1, rest = i;
            for (int64_t axis = q->ndim - 1, own = mask->ndim - 1; own >= 0; axis--, own--) {
                if (mask->shape[own] > 1) from += rest % q->shape[axis] * step;
                rest /= q->shape[axis];
                step *= mask->shape[own];
            }
            keep[i] = (uint8_t)mask->data[from];
        }
    }
    if (ibert)
        i_softmax_ibert(rows, length, q->data, keep, scalar(header, "x0"), q_b, q_c, scalar(header, "M"), scalar(header, "E"), bits, out);
    else
        i_softmax_paper(rows, length, q->data, keep, scalar(header, "q_ln2"), q_b, q_c, bits, out);
    free(keep);
}

static void i_layernorm(const char *header, int ibert, const struct tensor *q, int64_t *out) {
    const int64_t length = scalar(header, "length"), rows = q->size / length;
    int64_t *bias = allocated((size_t)(length + 1) * sizeof *bias);
    const int64_t biases = constant(header, "bias", bias, length);
    if (ibert)
        i_layernorm_ibert(rows, length, q->data, bias, biases, scalar(header, "shift"), out);
    else
        i_layernorm_paper(rows, length, q->data, bias, biases, scalar(header, "fraction_bits"), out);
    free(bias);
}

static void answer(const char *header) {
    struct tensor operands[MOST_ARRAYS] = {{0, 0, {0}, 0, NULL}, {0, 0, {0}, 0, NULL}};
    const char *op = after(header, "op"), *dialect = after(header, "dialect");
    if (op == NULL || dialect == NULL) give_up("a request without op and dialect");
    const int ibert = strncmp(dialect, "\"ibert\"", 7) == 0;
    tensors(header, operands);
    int64_t *out = allocated((size_t)operands[0].size * sizeof *out);
    if (strncmp(op, "\"i_gelu\"", 8) == 0)
        i_gelu(header, ibert, &operands[0], out);
    else if (strncmp(op, "\"i_softmax\"", 11) == 0)
        i_softmax(header, ibert, &operands[0], &operands[1], out);
    else if (strncmp(op, "\"i_layernorm\"", 13) == 0)
        i_layernorm(header, ibert, &operands[0], out);
    else
        i_sqrt(operands[0].size, operands[0].data, out);
    send_result(&operands[0], out);
    free(out), free(operands[0].data), free(operands[1].data);
}

int main(void) {
    for (char *header; (header = next_header()) != NULL; free(header)) {
        const char *verb = after(header, "verb");
        if (verb != NULL && strncmp(verb, "\"run\"", 5) == 0)
            answer(header);
        else
            send("{\"status\":\"ok\",\"protocol\":1,\"ops\":[\"i_gelu\",\"i_softmax\",\"i_layernorm\",\"i_sqrt\"],"
                 "\"dialects\":[\"ibert\",\"paper\"],\"arrays\":[]}",
                 NULL, 0);
    }
    return 0;
}
