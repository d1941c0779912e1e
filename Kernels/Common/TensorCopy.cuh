// The bulk copy engine (TMA, sm_90 and up): tensor tiles and plain runs of bytes between global and shared memory.
//
// Loads complete on an mbarrier (bytes counted); stores are tracked by the issuing thread's bulk groups. Coordinates
// are in elements, innermost first; what lies outside the tensor reads as zero and is not written.
#pragma once
#include "Common/Barrier.cuh"

namespace apus {

APUS_DEVICE void prefetchMap(const TensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<u64>(&map)) : "memory");
}

APUS_DEVICE void loadTile(u32 destination, const TensorMap& map, u32 barrier, int c0, int c1) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(destination),
        "l"(reinterpret_cast<u64>(&map)), "r"(barrier), "r"(c0), "r"(c1) : "memory");
}
APUS_DEVICE void loadTile(u32 destination, const TensorMap& map, u32 barrier, int c0, int c1, int c2) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(
            destination), "l"(reinterpret_cast<u64>(&map)), "r"(barrier), "r"(c0), "r"(c1), "r"(c2) : "memory");
}
APUS_DEVICE void loadTile(u32 destination, const TensorMap& map, u32 barrier, int c0, int c1, int c2, int c3) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(
            destination), "l"(reinterpret_cast<u64>(&map)), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}
// The same tile lands at the same offset of every block in `mask`, and completes on the barrier of each.
APUS_DEVICE void loadTileMulticast(u32 destination, const TensorMap& map, u32 barrier, u16 mask, int c0, int c1) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::
            "r"(destination), "l"(reinterpret_cast<u64>(&map)), "r"(barrier), "r"(c0), "r"(c1), "h"(mask) : "memory");
}
APUS_DEVICE void loadTileMulticast(u32 destination, const TensorMap& map, u32 barrier, u16 mask, int c0, int c1, int c2) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;" ::
            "r"(destination), "l"(reinterpret_cast<u64>(&map)), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "h"(mask) : "memory");
}
APUS_DEVICE void loadTileMulticast(u32 destination, const TensorMap& map, u32 barrier, u16 mask, int c0, int c1, int c2, int c3) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, %5, %6}], "
        "[%2], %7;" ::"r"(destination), "l"(reinterpret_cast<u64>(&map)), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "h"(mask)
        : "memory");
}

APUS_DEVICE void storeTile(const TensorMap& map, u32 source, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(reinterpret_cast<u64>(&map)),
                 "r"(source), "r"(c0), "r"(c1) : "memory");
}
APUS_DEVICE void storeTile(const TensorMap& map, u32 source, int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(
                     reinterpret_cast<u64>(&map)), "r"(source), "r"(c0), "r"(c1), "r"(c2) : "memory");
}

// 16-byte aligned runs of bytes, a multiple of 16.
APUS_DEVICE void loadBytes(u32 destination, const void* source, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(destination),
                 "l"(source), "r"(bytes), "r"(barrier) : "memory");
}
// The same with a policy of the L2 (Common/Loads.cuh).
APUS_DEVICE void loadBytes(u32 destination, const void* source, u32 bytes, u32 barrier, u64 policy) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                     destination), "l"(source), "r"(bytes), "r"(barrier), "l"(policy) : "memory");
}
APUS_DEVICE void storeBytes(void* destination, u32 source, u32 bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(destination), "r"(source), "r"(bytes)
                 : "memory");
}

APUS_DEVICE void storeCommit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// At most `pending` groups still read shared memory; their buffers may be written again.
template <int pending> APUS_DEVICE void storeWaitRead() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory"); }
template <int pending> APUS_DEVICE void storeWait() { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(pending) : "memory"); }

// Offset of 16-byte unit `unit` of row `row` in a tile whose rows are `rowBytes` (32, 64 or 128) long and which the copy
// engine swizzles by rowBytes: the unit's index is XORed with address bits 7 and up. Tile bases are aligned to 1,024.
template <int rowBytes> APUS_DEVICE u32 swizzled(u32 row, u32 unit) {
    if constexpr (rowBytes == 128) return row * 128 + ((unit ^ (row & 7)) << 4);
    else if constexpr (rowBytes == 64) return row * 64 + ((unit ^ ((row >> 1) & 3)) << 4);
    else return row * 32 + ((unit ^ ((row >> 2) & 1)) << 4);
}

}  // namespace apus
