// The choice of a token: the likeliest, or, in the form compiled with DECODE_SAMPLING 1, one drawn as the host's sampler draws it.
//
// A block keeps the logits of its rows of the head in shared memory, after penalties and temperature, and counts there how often
// each of its tokens came up. All blocks then decide alike, from the same packets, in two or three exchanges:
//
//   1. every block's best row. The likeliest token is known now, and what it weighs: weights are exp(logit - largest).
//   2. top-k (and top-p, min-p): the k-th largest of the blocks' best is no more than the k-th largest logit, so only rows that
//      reach it can be among the k likeliest: each block publishes these, and the sum of all its weights where no k was given.
//      Whole vocabulary: the sum of weights of every run of 64 ids, in the order of ids.
//   3. whole vocabulary only: the block that owns the run in which the draw falls names the token.
//
// Sums are in double and in the order of the host's. Where the packets do not decide (too many rows reach the bound; top-p or min-p
// reach further down than the rows published) the token is `undecided`, and the launch ends: the host computes the step itself.
#pragma once
#include "Decode/State.cuh"

#ifndef DECODE_SAMPLING
#define DECODE_SAMPLING 0
#endif

namespace apus {

constexpr bool samples = DECODE_SAMPLING;
constexpr i32 undecided = -2;

APUS_DEVICE bool isBetter(float value, i32 id, const Choice& than) { return value > than.value || (value == than.value && id < than.id); }
APUS_DEVICE Choice warpBest(Choice best) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        const float value = __shfl_xor_sync(0xffffffffu, best.value, offset);
        const i32 id = __shfl_xor_sync(0xffffffffu, best.id, offset);
        if (isBetter(value, id, best)) best = {value, id};
    }
    return best;
}

enum class Draw : u32 { likeliest, candidates, everything };

// From the host, in the exchange area behind its packets.
struct Sampling {
    Draw draw;
    u32 kept;             // of the candidates: those that reach the kept-th largest logit
    u32 isWhole;          // candidates stand for the whole vocabulary: top-p and min-p without top-k
    float temperature, minP, repetition, presence, frequency;
    double leftOut;       // 1 - top_p
    const u32* counts;    // [V] how often the answer holds an id; the highest bit says that prompt or answer hold it. Or null
    const double* uniform;  // [steps] in [0, 1)
};

constexpr int runRows = 8 * warps, ownRows = headRounds * runRows;  // a run: rows of one block and round, neighbours in the head
constexpr int runCount = headRounds * blocks, runsPerThread = ceilDivide(runCount, consumers);
constexpr int ownLimit = 64, candidateLimit = consumers, listPackets = 1 + ownLimit / 2;
// Largest logits that give the bound: one a block, or of small vocabularies one for 8 rows of a run.
constexpr int peakParts = vocabulary < 64 * runRows ? warps : 1;
constexpr int peakBlocks = ceilDivide(vocabulary, runRows) < blocks ? ceilDivide(vocabulary, runRows) : blocks, peakCount = peakBlocks * peakParts;

// Packets behind the exchange area's own.
constexpr int drawCounterAt = exchangePackets, drawInputAt = drawCounterAt + 8, drawResultAt = drawInputAt + 8, drawPeakAt = drawResultAt + 8;
constexpr int drawListAt = drawPeakAt + (peakParts > 1 ? peakCount : 0);
constexpr int drawPackets = samples ? drawListAt - drawCounterAt + blocks * (listPackets > headRounds ? listPackets : headRounds) : 0;
static_assert(!samples || (blocks <= consumers && vocabulary <= 1 << 20 && sizeof(Sampling) <= 128), "what the packets hold");

struct SamplingState {
    Sampling given;
    float logits[ownRows];
    u32 counts[ownRows];
    float peaks[peakCount];
    Choice own[ownLimit];
    float values[candidateLimit], byValue[candidateLimit], byID[candidateLimit];
    i32 ids[candidateLimit], sorted[candidateLimit];
    double sums[warps], mass, target;
    int ownCount, warpCounts[warps], run, lastRun, cut, token;
    float bound;
};
constexpr int samplingBytes = samples ? static_cast<int>(sizeof(SamplingState)) : 0;

APUS_DEVICE SamplingState& samplingState(Shared& shared) { return *reinterpret_cast<SamplingState*>(&shared + 1); }
APUS_DEVICE i32 idOfRow(int index) { return (index / runRows * blocks + blockIdx.x) * runRows + index % runRows; }

APUS_DEVICE void prepareSampling(Shared& shared, const Arguments& a) {
    SamplingState& s = samplingState(shared);
    const Sampling& given = *reinterpret_cast<const Sampling*>(a.exchange + drawInputAt * 16);
    if (threadIdx.x == 0) s.given = given;
    for (int i = threadIdx.x; i < ownRows; i += threads) {
        s.logits[i] = -INFINITY_F;
        s.counts[i] = given.counts != nullptr && idOfRow(i) < vocabulary ? given.counts[idOfRow(i)] : 0;
    }
}

// The logit as the draw sees it, rounded as the host rounds, operation by operation.
APUS_DEVICE float penalised(const Sampling& g, float value, u32 count) {
    const u32 times = count & 0x7fffffffu;
    if (count >> 31 && g.repetition != 1.0f) value = value < 0.0f ? __fmul_rn(value, g.repetition) : __fdiv_rn(value, g.repetition);
    if (times > 0 && (g.presence != 0.0f || g.frequency != 0.0f))
        value = __fsub_rn(value, __fadd_rn(g.presence, __fmul_rn(g.frequency, static_cast<float>(times))));
    if (g.draw == Draw::likeliest) return value;
    value = __fdiv_rn(value, g.temperature);
    return value > 3.402823466e38f ? 3.402823466e38f : value;
}

// exp(x) for x up to 0, the host's bits: Exponential.swift.
APUS_DEVICE float weightOf(float x) {
    const float clamped = x < -87.0f ? -87.0f : x;
    const float n = __fsub_rn(__fadd_rn(__fmul_rn(clamped, 1.442695041f), 12582912.0f), 12582912.0f);
    const float r = __fadd_rn(__fsub_rn(clamped, __fmul_rn(n, 0.693359375f)), __fmul_rn(n, 2.12194440e-4f));
    float series = 1.0f / 5040.0f;
    series = __fadd_rn(__fmul_rn(series, r), 1.0f / 720.0f);
    series = __fadd_rn(__fmul_rn(series, r), 1.0f / 120.0f);
    series = __fadd_rn(__fmul_rn(series, r), 1.0f / 24.0f);
    series = __fadd_rn(__fmul_rn(series, r), 1.0f / 6.0f);
    series = __fadd_rn(__fmul_rn(series, r), 0.5f);
    series = __fadd_rn(__fmul_rn(series, r), 1.0f);
    series = __fadd_rn(__fmul_rn(series, r), 1.0f);
    return x < -87.0f ? 0.0f : __fmul_rn(series, asFloat(static_cast<u32>(static_cast<i32>(n) + 127) << 23));
}

// The packet whose last word, under the mask, is the tag.
APUS_DEVICE Vec4 receiveTagged(const u8* at, u32 tag, Shared& shared) {
    Vec4 p = loadPacket(at);
    Patience patience;
    while (p.w != tag && !patience.isOver(shared, Wait::choice, layerCount)) p = loadPacket(at);
    return p;
}
APUS_DEVICE void storeDouble(u8* at, u32 first, double value, u32 tag) {
    const u64 bits = static_cast<u64>(__double_as_longlong(value));
    storePacket(at, {first, static_cast<u32>(bits), static_cast<u32>(bits >> 32), tag});
}
APUS_DEVICE double doubleOf(Vec4 p) { return __longlong_as_double(static_cast<i64>(static_cast<u64>(p.z) << 32 | p.y)); }

// Sum over all threads in a fixed order. Begins and ends with a barrier.
APUS_DEVICE double blockSum(SamplingState& s, double value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    syncConsumers();
    if (threadIdx.x % 32 == 0) s.sums[threadIdx.x / 32] = value;
    syncConsumers();
    double sum = 0.0;
#pragma unroll
    for (int w = 0; w < warps; ++w) sum += s.sums[w];
    return sum;
}

// Top-k, top-p and min-p among the rows that reach a bound.
APUS_DEVICE i32 drawCandidate(Shared& shared, u8* exchange, float peak, double uniform, u32 tag) {
    SamplingState& s = samplingState(shared);
    const Sampling& g = s.given;
    const int me = threadIdx.x, warp = me / 32, lane = me % 32;
    if (me == 0) s.ownCount = 0;
    for (int peak = me; peak < peakCount; peak += consumers) {
        const float own = s.peaks[peak];
        u32 above = 0;
#pragma unroll 8
        for (int other = 0; other < peakCount; ++other) above += s.peaks[other] > own || (s.peaks[other] == own && other < peak);
        if (above == g.kept - 1) s.bound = own;
    }
    syncConsumers();
    const float bound = s.bound;
    double mass = 0.0;
    for (int i = me; i < ownRows; i += consumers) {
        const float value = s.logits[i];
        if (value == -INFINITY_F) continue;
        if (value >= bound) {
            const int at = atomicAdd(&s.ownCount, 1);
            if (at < ownLimit) s.own[at] = {value, idOfRow(i)};
        }
        if (g.isWhole) mass += static_cast<double>(weightOf(__fsub_rn(value, peak)));
    }
    mass = blockSum(s, mass);
    u8* list = exchange + (drawListAt + blockIdx.x * listPackets) * 16;
    u32* counter = reinterpret_cast<u32*>(exchange + drawCounterAt * 16);
    const int ownCount = s.ownCount;
    if (me == 0) storeDouble(list, static_cast<u32>(ownCount), mass, tag);
    if (2 * me < ownCount && 2 * me < ownLimit) {
        const Choice first = s.own[2 * me], second = 2 * me + 1 < ownCount ? s.own[2 * me + 1] : Choice{};
        storePacket(list + (1 + me) * 16, {asBits(first.value), static_cast<u32>(first.id), asBits(second.value), static_cast<u32>(second.id) | tag << 20});
    }
    syncConsumers();
    if (me == 0) counterAdd(counter, 1);
    waitHintAll(counter, tag * blocks, shared, Wait::choice, layerCount);

    // All blocks' candidates, side by side.
    const u8* theirs = exchange + (drawListAt + me * listPackets) * 16;
    int count = 0;
    mass = 0.0;
    if (me < blocks) {
        const Vec4 p = receiveTagged(theirs, tag, shared);
        count = static_cast<int>(p.x);
        mass = doubleOf(p);
    }
    if (syncAny(count > ownLimit || shared.dead != 0)) return undecided;
    int end = count;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
        const int before = __shfl_up_sync(0xffffffffu, end, offset);
        if (lane >= offset) end += before;
    }
    if (lane == 31) s.warpCounts[warp] = end;
    mass = blockSum(s, mass);
    int total = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) {
        if (w == warp) end += total;
        total += s.warpCounts[w];
    }
    if (total > candidateLimit) return undecided;
    for (int i = 0; i < count; i += 2) {
        const u8* at = theirs + (1 + i / 2) * 16;
        Vec4 p = loadPacket(at);
        Patience patience;
        while (((p.w >> 20) ^ (tag & 0xfff)) != 0 && !patience.isOver(shared, Wait::choice, layerCount)) p = loadPacket(at);
        s.values[end - count + i] = asFloat(p.x), s.ids[end - count + i] = static_cast<i32>(p.y);
        if (i + 1 < count) s.values[end - count + i + 1] = asFloat(p.z), s.ids[end - count + i + 1] = static_cast<i32>(p.w & 0xfffff);
    }
    syncConsumers();

    // Those that reach the kept-th largest logit, by value and by id.
    const float value = me < total ? s.values[me] : 0.0f;
    const i32 id = me < total ? s.ids[me] : 0;
    u32 above = 0;
    if (me < total) {
#pragma unroll 8
        for (int i = 0; i < total; ++i) above += s.values[i] > value;
    }
    const bool isKept = me < total && above < g.kept;
    syncConsumers();
    if (me < total && !isKept) s.values[me] = INFINITY_F, s.ids[me] = 0x7fffffff;
    syncConsumers();
    int rank = 0, place = 0, kept = 0;
    for (int i = 0; i < total; ++i) {
        const float other = s.values[i];
        const i32 otherID = s.ids[i];
        kept += otherID != 0x7fffffff;
        rank += other < value || (other == value && otherID < id);
        place += otherID < id;
    }
    const float weight = weightOf(__fsub_rn(value, peak));
    if (isKept) s.byValue[rank] = weight, s.byID[place] = weight, s.sorted[place] = id;
    syncConsumers();
    if (warp == 0) {
        double sum = 0.0;
        for (int i = 0; i < kept; ++i) sum += static_cast<double>(s.byID[i]);
        const double rest = g.isWhole && mass > sum ? mass - sum : 0.0, limit = g.leftOut * (g.isWhole ? mass : sum);
        int cut = 0;
        if (g.leftOut > 0.0 && rest <= limit) {
            double out = rest;
            while (cut < kept - 1) {
                out += static_cast<double>(s.byValue[cut]);
                if (out > limit) break;
                ++cut;
            }
        }
        // What was not published is out only when top-p or min-p leave it out.
        const bool isDecided = !g.isWhole || (g.leftOut > 0.0 ? rest <= limit : kept > 0 && s.byValue[0] < g.minP);
        if (lane == 0) s.cut = isDecided ? cut : -1;
    }
    syncConsumers();
    const int cut = s.cut;
    if (cut < 0) return undecided;
    if (isKept && (rank < cut || weight < g.minP)) s.byID[place] = 0.0f;
    syncConsumers();
    if (warp == 0) {
        double sum = 0.0;
        for (int i = 0; i < kept; ++i) sum += static_cast<double>(s.byID[i]);
        const double target = uniform * sum;
        i32 token = undecided;
        sum = 0.0;
        for (int i = 0; i < kept; ++i) {
            if (!(s.byID[i] > 0.0f)) continue;
            sum += static_cast<double>(s.byID[i]);
            token = s.sorted[i];
            if (sum > target) break;
        }
        if (lane == 0) s.token = token;
    }
    syncConsumers();
    return s.token;
}

// One of all tokens, by their weights.
APUS_DEVICE i32 drawFromAll(Shared& shared, u8* exchange, float peak, double uniform, u32 tag) {
    SamplingState& s = samplingState(shared);
    const int me = threadIdx.x, warp = me / 32, lane = me % 32;
    u32* counter = reinterpret_cast<u32*>(exchange + drawCounterAt * 16);
    for (int round = warp; round < headRounds; round += warps) {
        double sum = 0.0;
#pragma unroll
        for (int i = lane; i < runRows; i += 32) sum += static_cast<double>(weightOf(__fsub_rn(s.logits[round * runRows + i], peak)));
#pragma unroll
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        if (lane == 0) storeDouble(exchange + (drawListAt + round * blocks + blockIdx.x) * 16, 0, sum, tag);
    }
    syncConsumers();
    if (me == 0) counterAdd(counter, 1), s.run = runCount, s.lastRun = -1;
    waitHintAll(counter, tag * blocks, shared, Wait::choice, layerCount);

    double runs[runsPerThread], own = 0.0;
    int last = -1;
#pragma unroll
    for (int i = 0; i < runsPerThread; ++i) {
        const int run = me * runsPerThread + i;
        runs[i] = 0.0;
        if (run < runCount) runs[i] = doubleOf(receiveTagged(exchange + (drawListAt + run) * 16, tag, shared));
        own += runs[i];
        if (runs[i] > 0.0) last = run;
    }
    double through = own;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
        const double before = __shfl_up_sync(0xffffffffu, through, offset);
        if (lane >= offset) through += before;
    }
    double running = __shfl_up_sync(0xffffffffu, through, 1);
    if (lane == 0) running = 0.0;
    if (lane == 31) s.sums[warp] = through;
    syncConsumers();
    double sum = 0.0;
#pragma unroll
    for (int w = 0; w < warps; ++w) {
        if (w == warp) running += sum;
        sum += s.sums[w];
    }
    // The first run that passes the target; where rounding leaves the target at the very end, the last run with a weight.
    const double target = uniform * sum;
    int run = runCount;
    double left = 0.0;
#pragma unroll
    for (int i = 0; i < runsPerThread; ++i) {
        if (run == runCount && runs[i] > 0.0 && running + runs[i] > target) run = me * runsPerThread + i, left = target - running;
        running += runs[i];
    }
    if (run < runCount) atomicMin(&s.run, run);
    if (last >= 0) atomicMax(&s.lastRun, last);
    syncConsumers();
    const bool isFound = s.run < runCount;
    if (isFound ? run == s.run : me == 0) s.target = isFound ? left : 1e300;
    const int chosen = isFound ? s.run : s.lastRun;
    syncConsumers();

    u8* result = exchange + drawResultAt * 16;
    if (chosen >= 0 && chosen % blocks == blockIdx.x && warp == 0) {
        const int first = chosen / blocks * runRows + 2 * lane;
        const double one = static_cast<double>(weightOf(__fsub_rn(s.logits[first], peak)));
        const double two = static_cast<double>(weightOf(__fsub_rn(s.logits[first + 1], peak)));
        double end = one + two;
#pragma unroll
        for (int offset = 1; offset < 32; offset *= 2) {
            const double before = __shfl_up_sync(0xffffffffu, end, offset);
            if (lane >= offset) end += before;
        }
        double start = __shfl_up_sync(0xffffffffu, end, 1);
        if (lane == 0) start = 0.0;
        const bool isFirst = one > 0.0 && start + one > s.target, isSecond = two > 0.0 && end > s.target;
        const u32 passing = __ballot_sync(0xffffffffu, isFirst || isSecond), weighing = __ballot_sync(0xffffffffu, one > 0.0 || two > 0.0);
        const int chooser = passing != 0 ? __ffs(passing) - 1 : 31 - __clz(weighing);
        if (lane == chooser) {
            const bool takesFirst = passing != 0 ? isFirst : two == 0.0;
            storePacket(result, {static_cast<u32>(idOfRow(takesFirst ? first : first + 1)), 0, 0, tag});
        }
    }
    if (me == 0) s.token = chosen < 0 ? undecided : static_cast<i32>(receiveTagged(result, tag, shared).x);
    syncConsumers();
    return s.token;
}

// The token of the step, and whether the step is the last. As with `choose`, cache rows of the step may be read behind it.
APUS_DEVICE void draw(Shared& shared, u8* exchange, bool bad, u32 asked, int step) {
    SamplingState& s = samplingState(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 tag = static_cast<u32>(step + 1);
    u32* counter = reinterpret_cast<u32*>(exchange) + 64;
    const double uniform = s.given.draw == Draw::likeliest ? 0.0 : s.given.uniform[step];  // asked for early: it is far
    syncConsumers();  // behind it the head's logits are there
    Choice best = {-INFINITY_F, 0x7fffffff};
    for (int i = threadIdx.x; i < ownRows; i += consumers) {
        float value = s.logits[i];
        if (value == -INFINITY_F) continue;
        value = penalised(s.given, value, s.counts[i]);
        s.logits[i] = value;
        if (isBetter(value, idOfRow(i), best)) best = {value, idOfRow(i)};
    }
    best = warpBest(best);
    bad = __any_sync(0xffffffffu, bad);
    if (lane == 0) shared.choices[warp] = best, shared.bad[warp] = bad;
    syncConsumers();
    if constexpr (peakParts > 1) {
        if (threadIdx.x < peakParts && blockIdx.x < peakBlocks) {
            float peak = -INFINITY_F;
            for (int i = threadIdx.x * 8; i < ownRows; i += i % 8 == 7 ? runRows - 7 : 1) peak = fmaxf(peak, s.logits[i]);
            storePacket(exchange + (drawPeakAt + blockIdx.x * peakParts + threadIdx.x) * 16, {asBits(peak), 0, 0, tag});
        }
    }
    if (warp == 0) {
        best = warpBest(lane < warps ? shared.choices[lane] : Choice{-INFINITY_F, 0x7fffffff});
        bad = __any_sync(0xffffffffu, lane < warps && shared.bad[lane]);
        if (lane == 0) {
            storePacket(exchange + (choiceAt + blockIdx.x) * 16,
                        {asBits(best.value), static_cast<u32>(best.id), (asked ? 1u : 0u) | (bad ? 2u : 0u), tag});
            counterAdd(counter, 1);
        }
    }
    waitHintAll(counter, tag * blocks, shared, Wait::choice, layerCount);
    best = {-INFINITY_F, 0x7fffffff};
    u32 flags = 0;
    if (threadIdx.x < blocks) {
        const Vec4 p = receiveTagged(exchange + (choiceAt + threadIdx.x) * 16, tag, shared);
        best = {asFloat(p.x), static_cast<i32>(p.y)};
        flags = p.z;
        if constexpr (peakParts == 1) s.peaks[threadIdx.x] = best.value;
    }
    if constexpr (peakParts > 1) {
        for (int i = threadIdx.x; i < peakCount; i += consumers)
            s.peaks[i] = asFloat(receiveTagged(exchange + (drawPeakAt + i) * 16, tag, shared).x);
    }
    best = warpBest(best);
    flags = __reduce_or_sync(0xffffffffu, flags);
    if (lane == 0) shared.choices[warp] = best, shared.bad[warp] = static_cast<int>(flags);
    syncConsumers();
    best = warpBest(shared.choices[lane % warps]);
    flags = __reduce_or_sync(0xffffffffu, static_cast<u32>(shared.bad[lane % warps]));

    i32 token = best.id;
    if (best.value == -INFINITY_F) token = undecided;
    else if ((flags & 2) == 0 && s.given.draw == Draw::candidates) token = drawCandidate(shared, exchange, best.value, uniform, tag);
    else if ((flags & 2) == 0 && s.given.draw == Draw::everything) token = drawFromAll(shared, exchange, best.value, uniform, tag);
    syncConsumers();
    if (threadIdx.x == 0) {
        shared.token = token;
        shared.stopped = static_cast<int>(flags | (token == undecided ? 4u : 0u));
        if (token >= 0 && token / runRows % blocks == blockIdx.x) {
            u32& count = s.counts[token / runRows / blocks * runRows + token % runRows];
            count = (count + 1) | 0x80000000u;
        }
    }
    syncConsumers();
}

}  // namespace apus
