/* Libraries for the tests: i_sqrt is right in all of them, what i_gelu does is chosen when compiling. */
#include "refsim.h"

#include <stddef.h>

#include "ibert.h"

#ifndef ABI
#define ABI REFSIM_ABI
#endif

#define RIGHT 0
#define SEGFAULT 1
#define PAST_THE_END 2
#define BEFORE_THE_START 3
#define TAIL_UNWRITTEN 4
#define ADDS_UP 5
#define READS_PAST_THE_END 6
#define REFUSES 7
#define MODIFIES 8
#define DECREMENTS 9

int64_t refsim_abi(void) {
    return ABI;
}

#ifdef DOMAIN
const char *refsim_domain(void) {
    return DOMAIN;
}
#endif

int refsim_i_sqrt_paper(const refsim_i_sqrt_paper_plan *plan, const refsim_i64 *n, const refsim_i64_out *out) {
    (void)plan;
    i_sqrt(n->size, n->data, out->data);
    return 0;
}

int refsim_i_gelu_paper(const refsim_i_gelu_paper_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {
    const int64_t length = p->q_b_length, rows = length > 1 ? q->size / length : 1, last = out->size - 1;
    const int64_t before = last >= 0 ? out->data[last] : 0;
    i_gelu_paper(rows, length > 1 ? length : q->size, q->data, p->q_b, p->q_c, p->q_1, length, out->data);
    if (last < 0) return 0;
    switch (BEHAVIOUR) {
        case SEGFAULT: *(volatile int64_t *)NULL = before; break;
        case PAST_THE_END: out->data[last + 1] = 0; break;
        case BEFORE_THE_START: out->data[-1] = 0; break;
        case TAIL_UNWRITTEN: out->data[last] = before; break;
        case ADDS_UP: out->data[last] += before; break;
        case READS_PAST_THE_END: out->data[last] += q->data[q->size]; break;
        case REFUSES: return 3;
        case MODIFIES: ((int64_t *)q->data)[0] = p->input_lo; break;
        case DECREMENTS: out->data[last] -= 1; break;
        default: break;
    }
    return 0;
}
