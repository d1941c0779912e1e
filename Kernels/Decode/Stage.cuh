// A run of a tile a warp comes to shared memory a layer ahead of its use, a little at a time: asked for when it is needed it would come all at once,
// and the packets of q, k and v, which are waited for then, behind it.
#pragma once
#include "Decode/Products.cuh"

namespace apus {

// Ahead of everything. One thread.
APUS_DEVICE void prepareStage(Shared& shared) {
    if constexpr (hasStage) {
        barrierInit(sharedAddress(&shared.staged), 1);
        barrierInit(sharedAddress(&shared.unstaged), warps);
    }
}

// One thread. The stage is filled for a layer as soon as the warps have taken what it held.
APUS_DEVICE void fillStage(Shared& shared, const Arguments& a, const TensorMap& map, u32 stage) {
    const u64 policy = streamOnce();
    const u32 staged = sharedAddress(&shared.staged), unstaged = sharedAddress(&shared.unstaged);
    u32 parity = 1;
    bool isFilled = false;
    for (int step = 0; step < a.steps; ++step) {
        const int position = a.position + step;
        // Behind it the rows of all steps but the last may be read; consumers bring that one row.
        while (shared.stepsDone < step - 1)
            if (shared.dead || shared.finished) goto end;
        asm volatile("fence.acq_rel.gpu;\n fence.proxy.async;" ::: "memory");
        for (int layer = 0; layer < layerCount; ++layer) {
            const Span span(a, shared.infos[layer].window, position, blockIdx.x % members);
            const int rows = stagedRows(span, position);
            if (rows == 0) continue;
            while (!barrierTry(unstaged, parity))
                if (shared.dead || shared.finished) goto end;
            parity ^= 1;
            const int boxes = ceilDivide(rows, boxRows);
            barrierExpect(staged, 2 * boxes * (boxRows * rowBytes));
            isFilled = true;
            u32 last = ticks();
            for (int half = 0; half < 2; ++half)
                for (int box = 0; box < boxes; ++box)
#pragma unroll
                    for (int part = 0; part < rowBytes / 128; ++part) {
                        if (DECODE_STAGE_PACE > 0) {
                            while (static_cast<i32>(ticks() - last) < DECODE_STAGE_PACE) {}
                            last = ticks();
                        }
                        loadCacheTile(stage + half * (blockRows * rowBytes) + part * (blockRows * 128) + box * (boxRows * 128), map, staged,
                                      part * (128 / static_cast<int>(sizeof(CacheElement))), blockIdx.x / keyMembers, span.from + box * boxRows,
                                      2 * layer + half, policy);
                    }
        }
    }
end:
    // A block must not end under copies that still write to its shared memory: the phase of the last filling is over when they have come.
    if (isFilled)
        for (u32 tries = 0; !barrierTry(staged, parity) && tries < spinLimit; ++tries) {}
}

}  // namespace apus
