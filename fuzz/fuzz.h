/* What every fuzz target implements and fuzz/replay.c or libFuzzer calls. A target aborts (assert)
 * when an invariant is broken and returns 0 otherwise; it keeps nothing between calls. */
#ifndef EIDER_FUZZ_FUZZ_H
#define EIDER_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
