// The clock of a multiprocessor while other kernels run on its neighbours: NVML's figure has been 1,980 MHz where kernels counted 1,756.
//
// Output: clocks and nanoseconds of the same stretch of time. One thread waits until the GPU's timer has moved on by `nanoseconds`, or
// for so many clocks as that could take at 4 GHz.
//
// Launch. apus_clock: grid 1, block 1.

#include "Common/Types.cuh"

using namespace apus;

APUS_DEVICE u64 clocks() {
    u64 t;
    asm volatile("mov.u64 %0, %%clock64;" : "=l"(t)::"memory");
    return t;
}
APUS_DEVICE u64 nanosecondsNow() {
    u64 t;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t)::"memory");
    return t;
}

extern "C" __global__ void __launch_bounds__(1) apus_clock(u64* out, u64 nanoseconds) {
    const u64 startClock = clocks(), start = nanosecondsNow();
    u64 now = start, clock = startClock;
    while (now - start < nanoseconds && clock - startClock < 4 * nanoseconds) now = nanosecondsNow(), clock = clocks();
    out[0] = clock - startClock;
    out[1] = now - start;
}
