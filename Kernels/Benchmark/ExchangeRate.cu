// What an exchange between all blocks of a resident grid costs when nothing else goes on: the least that the decode kernel pays for each.
//
// Every turn each block publishes one packet of four floats, waits for the counter that says all have, and reads all packets: the exchange
// of Common/Exchange.cuh, as Decode/Megakernel.cu uses it. Two areas in turn: whoever writes one has seen that all have read it.
//
// Input: zeroed area, 128 bytes for the counter, then [2, blocks] packets. Output: the number of turns, by block 0, or 0 where a wait took
// more than 2^31 clocks; and the sum of what was read, so that nothing can be left out.
//
// Launch. apus_exchange_rate: cooperative, any grid, block 256.

#include "Common/Exchange.cuh"

using namespace apus;

extern "C" __global__ void __launch_bounds__(256) apus_exchange_rate(u8* area, u32* out, int turns) {
    __shared__ volatile int isOver;
    u32* counter = reinterpret_cast<u32*>(area);
    if (threadIdx.x == 0) isOver = 0;
    __syncthreads();
    float sum = 0.0f;
    int turn = 1;
    for (; turn <= turns; ++turn) {
        u8* packets = area + 128 + static_cast<i64>(turn % 2) * gridDim.x * 16;
        const u32 tag = packetTag(turn), start = ticks();
        if (threadIdx.x == 0) {
            const float mine[4] = {static_cast<float>(turn), 1.0f, 2.0f, static_cast<float>(blockIdx.x)};
            storePacket(packets + blockIdx.x * 16, Packet4::pack(mine, tag));
            counterAdd(counter, 1);
            while (static_cast<i32>(counterLoad(counter) - turn * gridDim.x) < 0)
                if (ticks() - start > 0x7fffffffu) {
                    isOver = 1;
                    break;
                }
        }
        __syncthreads();
        for (u32 block = threadIdx.x; block < gridDim.x; block += 256) {
            Vec4 p = loadPacket(packets + block * 16);
            while (Packet4::mismatch(p, tag) != 0) {
                if (isOver != 0 || ticks() - start > 0x7fffffffu) {
                    isOver = 1;
                    break;
                }
                p = loadPacket(packets + block * 16);
            }
            float v[4];
            Packet4::unpack(v, p);
            sum += v[0] + v[3];
        }
        __syncthreads();
        if (isOver != 0) break;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) out[0] = isOver != 0 ? 0 : turn - 1;
    if (sum == -1.0f) out[1] = 1;
}
