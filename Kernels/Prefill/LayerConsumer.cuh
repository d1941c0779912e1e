// The kernel of whole layers (LayerHopper.cu): a warpgroup that multiplies, and the three epilogues of its tiles.
#pragma once
#include "Common/WarpMMA.cuh"
#include "Common/WarpgroupMMA.cuh"
#include "Prefill/LayerStaging.cuh"

namespace apus {

struct Consumer {
    const Maps& maps;
    const Arguments& arguments;
    u32 slots, full, empty, weights, constants, factors, factorsBarrier, factorsPhase;
    Staging staging;
    int group, warp, lane;

    __device__ __forceinline__ u32 take() const {
        barrierWait(staging.open + 8 * staging.buffer, staging.phase);
        return staging.address();
    }
    __device__ __forceinline__ void give() {
        fenceToAsyncProxy();
        __syncwarp();
        if (lane == 0) barrierArrive(staging.staged + 8 * staging.buffer);
        staging.advance();
    }

    // A tile's products: blocks of 64 rows times n columns.
    template <int blocks, int n> __device__ __forceinline__ void multiply(float (&acc)[blocks][n / 2], Ring& ring, int steps) {
        // Zeros, and not the first product's flag: registers that seem to be read before they are written would live through the other products.
#pragma unroll
        for (int mb = 0; mb < blocks; ++mb)
#pragma unroll
            for (int i = 0; i < n / 2; ++i) acc[mb][i] = 0.0f;
        namedSync(1 + group, 256);
        u32 previous = 0;
        for (int step = 0; step < steps; ++step) {
            barrierWait(full + 8 * ring.slot, ring.phase);
            const u64 a = descriptorKMajor(slots + ring.slot * stageBytes), b = descriptorKMajor(slots + ring.slot * stageBytes + blocks * 8192);
            mmaFence();
#pragma unroll
            for (int kk = 0; kk < 4; ++kk)
#pragma unroll
                for (int mb = 0; mb < blocks; ++mb)
                    mmaShared<n, DType::bf16>(acc[mb], a + mb * 512 + kk * 2, b + kk * 2, 1);
            mmaCommit();
            if (step > 0) {
                mmaWait<1>();
                release(previous);
            }
            previous = ring.slot;
            ring.advance();
        }
        namedArrive(2 - group, 256);
        mmaWait<0>();
#pragma unroll
        for (int mb = 0; mb < blocks; ++mb) pin(acc[mb]);
        release(previous);
    }
    // A slot may be filled again when the warpgroup has read it, in all blocks that its data goes to.
    __device__ __forceinline__ void release(u32 slot) const {
        if constexpr (cluster > 1) {
            if (lane < cluster) barrierArriveRemote(empty + 8 * slot, lane);
        } else {
            if (lane == 0) barrierArrive(empty + 8 * slot);
        }
    }
    // Factors of the norms of this tile's rows, which the looking warp leaves.
    template <int count> __device__ __forceinline__ void takeFactors(float (&factor)[count]) {
        barrierWait(factorsBarrier, factorsPhase);
        factorsPhase ^= 1;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            const int row = i / 2 * 64 + warp * 16 + lane / 4 + 8 * (i % 2);
            asm volatile("ld.shared.f32 %0, [%1];" : "=f"(factor[i]) : "r"(factors + 4 * row) : "memory");
        }
        __syncwarp();
        if (lane == 0) barrierArrive(factorsBarrier + 8);
    }

    __device__ __forceinline__ u32 fragment(u32 base, int b) const {  // of a chunk of 32 columns, step b of 16
        return base + swizzled<64>(warp * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), b + (lane >> 4));
    }
    __device__ __forceinline__ Float2 pairAt(u32 base, int index) const {
        const Vec2 v = loadShared8(base + 4 * index);
        return {asFloat(v.x), asFloat(v.y)};
    }
    // ---- output and down: 128 x tileC; a buffer holds 32 columns of both halves of the residual ----

    __device__ __forceinline__ void addBranch(const Tile& tile, Ring& ring) {
        constexpr int across = tileC / 32;
        const int firstRow = tile.row * 128;
        const bool isDown = tile.product == down;
        u32* const packets = isDown ? arguments.cleared : arguments.packets;
        u32* const cleared = isDown ? arguments.packets : arguments.cleared;
        float acc[2][tileC / 2];
        multiply<2, tileC>(acc, ring, tile.steps);
        if (LAYER_SANDWICH) publish(acc, packets, cleared, firstRow, tile.column);
        float scale[2], squares[2];
#pragma unroll
        for (int chunk = 0; chunk < 2 * across; ++chunk) {
            const int mb = chunk / across, inside = chunk % across;
            if (inside == 0) {
                scale[0] = scale[1] = 1.0f;
                if (LAYER_SANDWICH) collect(scale, packets, firstRow + mb * 64 + warp * 16 + lane / 4);
                squares[0] = squares[1] = 0.0f;
            }
            const u32 base = take();
            // All of a buffer is read before any of it is written, so that the reads' latency shows once.
            u32 high[2][4], rest[2][4];
            Float2 w[4];
#pragma unroll
            for (int step = 0; step < 2; ++step) {
                loadMatrix4(high[step], fragment(base, 2 * step));
                loadMatrix4(rest[step], fragment(base, 2 * step) + bufferBytes / 2);
            }
#pragma unroll
            for (int b = 0; b < 4; ++b) w[b] = LAYER_SANDWICH ? pairAt(weights, inside * 32 + 8 * b + 2 * (lane % 4)) : Float2{1.0f, 1.0f};
#pragma unroll
            for (int step = 0; step < 2; ++step)
#pragma unroll
                for (int part = 0; part < 4; ++part) {
                    const int half = part & 1, b = 2 * step + part / 2, at = 4 * (inside * 4 + b) + 2 * half;
                    Float2 v = joinHalves(high[step][part], rest[step][part]);
                    v = {fmaf(acc[mb][at] * scale[half], w[b].x, v.x), fmaf(acc[mb][at + 1] * scale[half], w[b].y, v.y)};
                    squares[half] += v.x * v.x + v.y * v.y;
                    splitHalves(v, high[step][part], rest[step][part]);
                }
#pragma unroll
            for (int step = 0; step < 2; ++step) {
                storeMatrix4(fragment(base, 2 * step), high[step][0], high[step][1], high[step][2], high[step][3]);
                storeMatrix4(fragment(base, 2 * step) + bufferBytes / 2, rest[step][0], rest[step][1], rest[step][2], rest[step][3]);
            }
            if (inside == across - 1) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float sum = groupSum<4>(squares[half]);
                    const int row = firstRow + mb * 64 + warp * 16 + lane / 4 + 8 * half;
                    if (lane % 4 == 0 && row < arguments.m) arguments.sums[static_cast<i64>(row) * tilesC + tile.column] = sum;
                }
            }
            give();
        }
    }

    // Sums of squares of this tile's rows go out to the row's other tiles.
    __device__ __forceinline__ void publish(const float (&acc)[2][tileC / 2], u32* packets, u32* cleared, int firstRow, int column) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int mb = i / 2, half = i % 2, row = firstRow + mb * 64 + warp * 16 + lane / 4 + 8 * half;
            float squares = 0.0f;
#pragma unroll
            for (int j = 0; j < tileC / 2; j += 4) {
                const float x = acc[mb][j + 2 * half], y = acc[mb][j + 2 * half + 1];
                squares += x * x + y * y;
            }
            const u32 bits = asBits(groupSum<4>(squares)), at = row * tilesC + column;
            if (lane % 4 == 0 && row < arguments.m) {
                asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(packets + at), "r"(bits == notArrived ? 0x7fc00000u : bits) : "memory");
                cleared[at] = notArrived;
            }
        }
    }

    // The sums over all tiles of two rows, eight apart, as they arrive, made factors.
    __device__ __forceinline__ void collect(float (&factor)[2], const u32* packets, int row) const {
        float sum[2] = {0.0f, 0.0f};
        for (int tile = lane % 4; tile < tilesC; tile += 4) {
            u32 bits[2] = {row < arguments.m ? notArrived : 0u, row + 8 < arguments.m ? notArrived : 0u};
            for (u32 tries = 0; bits[0] == notArrived || bits[1] == notArrived; ++tries) {
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    if (bits[half] == notArrived)
                        asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(bits[half]) : "l"(packets + ((row + 8 * half) * tilesC + tile)) : "memory");
                if (tries > spinLimit) {
                    abandon();
                    break;
                }
            }
#pragma unroll
            for (int half = 0; half < 2; ++half) sum[half] += asFloat(bits[half]);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) factor[half] = rsqrtf(groupSum<4>(sum[half]) * (1.0f / LAYER_COLUMNS) + arguments.eps);
    }

    // ---- gate and up: 128 x 192, out come 96 columns, 64 rows by 32 twice a buffer ----

    __device__ __forceinline__ void gate(const Tile& tile, Ring& ring) {
        float acc[2][96], factor[4];
        multiply<2, 192>(acc, ring, tile.steps);
        takeFactors(factor);
#pragma unroll
        for (int inside = 0; inside < 3; ++inside) {
            const u32 base = take();
#pragma unroll
            for (int mb = 0; mb < 2; ++mb) {
                const Gate<activation> gates[2] = {Gate<activation>::make(factor[2 * mb]), Gate<activation>::make(factor[2 * mb + 1])};
#pragma unroll
                for (int b = 0; b < 4; b += 2) {
                    u32 packed[4];
#pragma unroll
                    for (int part = 0; part < 4; ++part) {
                        const int half = part & 1, at = 8 * (inside * 4 + b + part / 2) + 2 * half;
                        packed[part] = packBF16(gates[half].apply(acc[mb][at], acc[mb][at + 4]), gates[half].apply(acc[mb][at + 1], acc[mb][at + 5]));
                    }
                    storeMatrix4(fragment(base + mb * (bufferBytes / 2), b), packed[0], packed[1], packed[2], packed[3]);
                }
            }
            give();
        }
    }

    // ---- projection: 64 x 256 ----

    __device__ __forceinline__ void project(const Tile& tile, Ring& ring) {
        constexpr int size = LAYER_HEAD, eights = size / 16;  // steps of eight columns in half a head
        float acc[1][128], factor[2], position[2];
        const int ownRow = tile.row * 64 + warp * 16 + lane / 4;
#pragma unroll
        for (int half = 0; half < 2; ++half) position[half] = __ldg(arguments.positions + min(ownRow + 8 * half, arguments.m - 1));
        multiply<1, 256>(acc, ring, tile.steps);
        takeFactors(factor);
#pragma unroll
        for (int block = 0; block < 256 / size; ++block) {
            const int head = tile.column * (256 / size) + block;
            float* own = acc[0] + block * size / 2;
            if (head >= LAYER_QUERY_HEADS + LAYER_KEY_HEADS) {
#pragma unroll
                for (int i = 0; i < size / 2; ++i) own[i] *= factor[(i / 2) % 2];
                continue;
            }
            float scale[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float squares = 0.0f;
#pragma unroll
                for (int j = 0; j < size / 2; j += 4) squares += own[j + 2 * half] * own[j + 2 * half] + own[j + 2 * half + 1] * own[j + 2 * half + 1];
                scale[half] = factor[half] * rsqrtf(factor[half] * factor[half] * groupSum<4>(squares) * (1.0f / size) + arguments.eps);
            }
            const int base = (head < LAYER_QUERY_HEADS ? 0 : size) + 2 * (lane % 4);
#pragma unroll
            for (int j = 0; j < eights; ++j) {
                const Float2 low = pairAt(constants, base + 8 * j), high = pairAt(constants, base + 8 * j + size / 2);
                const Float2 frequency = pairAt(constants, 2 * size + 2 * (lane % 4) + 8 * j);
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        float& a = own[4 * j + 2 * half + i];
                        float& b = own[4 * (j + eights) + 2 * half + i];
                        float sine, cosine;
                        sineCosine(position[half] * (i ? frequency.y : frequency.x), sine, cosine);
                        const float x = a * (scale[half] * (i ? low.y : low.x)), y = b * (scale[half] * (i ? high.y : high.x));
                        a = x * cosine - y * sine;
                        b = y * cosine + x * sine;
                    }
            }
        }
#pragma unroll
        for (int chunk = 0; chunk < 4; ++chunk) {  // 64 columns, 128 bytes a row, each
            const u32 base = take();
#pragma unroll
            for (int b = 0; b < 8; b += 2) {
                u32 packed[4];
#pragma unroll
                for (int part = 0; part < 4; ++part) {
                    const int at = 4 * (chunk * 8 + b + part / 2) + 2 * (part & 1);
                    packed[part] = packBF16(acc[0][at], acc[0][at + 1]);
                }
                storeMatrix4(base + swizzled<128>(warp * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), b + (lane >> 4)), packed[0], packed[1], packed[2],
                             packed[3]);
            }
            give();
        }
    }
};

}  // namespace apus
