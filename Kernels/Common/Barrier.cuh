// Ordering: mbarriers, named barriers, proxy fences, clusters, programmatic launch, register hand-over (sm_90 and up).
//
// Every wait is bounded: after `spinLimit` failed tries the thread writes to address 0, so that a lost arrival becomes a launch
// error (illegal address) on the host instead of a hung GPU. A trap instruction would say the same, but one of them anywhere
// makes ptxas (13.0) ignore setmaxnreg: 176 registers and spills instead of 232.
#pragma once
#include "Common/Types.cuh"

namespace apus {

constexpr u32 spinLimit = 1u << 23;

APUS_DEVICE u32 sharedAddress(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }

APUS_DEVICE void abandon() { asm volatile("st.global.u32 [%0], %1;" ::"l"(0ull), "r"(0u) : "memory"); }

// ---- mbarrier --------------------------------------------------------------------------------------------------

APUS_DEVICE void barrierInit(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the copy engine and to the other blocks of the cluster.
APUS_DEVICE void barrierInitFence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
APUS_DEVICE void barrierArrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
APUS_DEVICE void barrierExpect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Arrives at the same barrier in another block of the cluster. The default scope on purpose: what this barrier guards is read
// and written by the copy engine and the tensor cores only, and .release.cluster costs a memory barrier each time (0.9 us a ring
// slot when it was tried).
APUS_DEVICE void barrierArriveRemote(u32 barrier, u32 block) {
    asm volatile(
        "{.reg .b32 remote;\n mapa.shared::cluster.u32 remote, %0, %1;\n"
        " mbarrier.arrive.shared::cluster.b64 _, [remote];}" ::"r"(barrier), "r"(block) : "memory");
}
APUS_DEVICE bool barrierTry(u32 barrier, u32 parity) {
    u32 done;
    asm volatile(
        "{.reg .pred p;\n mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n selp.u32 %0, 1, 0, p;}"
        : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
    return done;
}
// The same where what is waited for comes from another block of the cluster.
APUS_DEVICE bool barrierTryCluster(u32 barrier, u32 parity) {
    u32 done;
    asm volatile(
        "{.reg .pred p;\n mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n selp.u32 %0, 1, 0, p;}"
        : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
    return done;
}
APUS_DEVICE void barrierWait(u32 barrier, u32 parity) {
    if (barrierTry(barrier, parity)) return;
    for (u32 tries = 0; !barrierTry(barrier, parity); ++tries)
        if (tries > spinLimit) return abandon();
}
// ---- named barriers (0 is __syncthreads) -----------------------------------------------------------------------

APUS_DEVICE void namedSync(u32 id, u32 threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
APUS_DEVICE void namedArrive(u32 id, u32 threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// ---- proxies, clusters, launches -------------------------------------------------------------------------------

// Ordinary writes to shared memory before this are seen by the copy engine and the tensor cores after it.
APUS_DEVICE void fenceToAsyncProxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

APUS_DEVICE u32 clusterRank() { u32 r; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r)); return r; }
// All threads of all blocks of the cluster have come here. Orders no memory (barrierInitFence does, for barriers).
APUS_DEVICE void clusterSync() {
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\n barrier.cluster.wait.aligned;" ::: "memory");
}

// The same for threads that come one by one, ordering memory.
APUS_DEVICE void clusterMeet() { asm volatile("barrier.cluster.arrive.release;\n barrier.cluster.wait.acquire;" ::: "memory"); }
// Where an address in this block's shared memory lies in another block of the cluster.
APUS_DEVICE u32 clusterAddress(u32 address, u32 block) {
    u32 other;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(other) : "r"(address), "r"(block));
    return other;
}
// Stores 8 or 16 bytes there, and counts them at a barrier of the same block when they have come.
APUS_DEVICE void storeCluster8(u32 address, u32 barrier, u32 x, u32 y) {
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%2, %3}, [%1];" ::"r"(address), "r"(barrier), "r"(x), "r"(y) : "memory");
}
APUS_DEVICE void storeCluster16(u32 address, u32 barrier, Vec4 v) {
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%2, %3, %4, %5}, [%1];" ::"r"(address), "r"(barrier), "r"(v.x),
                 "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

// Programmatic dependent launch: wait for the kernels this one depends on; let the next one start. Both do nothing in
// an ordinary launch.
APUS_DEVICE void dependencyWait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
APUS_DEVICE void dependencyRelease() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

template <int count> APUS_DEVICE void registersGrow() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count)); }
template <int count> APUS_DEVICE void registersShrink() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count)); }

// True in one lane of a converged warp.
APUS_DEVICE bool electOne() {
    u32 chosen;
    asm volatile("{.reg .pred p;\n elect.sync _|p, 0xffffffff;\n selp.u32 %0, 1, 0, p;}" : "=r"(chosen));
    return chosen;
}

}  // namespace apus
