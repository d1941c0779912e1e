import CCPUKernels
import Foundation
import Synchronization
import Testing

/// One test at a time: most of them start teams of threads of their own.
@Suite(.serialized) struct Kernels {
    @Suite struct Pool {
        final class Counts: Sendable {
            let all: Mutex<[Int]>
            init(_ count: Int) { all = Mutex([Int](repeating: 0, count: count)) }
        }

        /// Runs `count` indices that each count themselves.
        static func run(_ pool: OpaquePointer, _ counts: Counts, _ count: Int) {
            apus_pool_run(
                pool, count,
                { context, index in
                    Unmanaged<Counts>.fromOpaque(context!).takeUnretainedValue().all.withLock { $0[index] += 1 }
                }, Unmanaged.passUnretained(counts).toOpaque())
        }

        @Test func everyIndexRunsOnce() throws {
            for threads in [1, 2, 3, 8] {
                let pool = try #require(apus_pool_create(threads))
                defer { apus_pool_destroy(pool) }
                #expect(apus_pool_threads(pool) == threads)
                for count in [0, 1, 2, threads, threads + 1, 1000] {
                    let counts = Counts(count)
                    Self.run(pool, counts, count)
                    #expect(counts.all.withLock { $0.allSatisfy { $0 == 1 } }, "\(count) indices, \(threads) threads")
                }
            }
        }

        /// Many short jobs in a row, with pauses in which the team falls asleep.
        @Test func jobsFollowEachOther() throws {
            let pool = try #require(apus_pool_create(4))
            defer { apus_pool_destroy(pool) }
            let counts = Counts(8)
            for job in 0..<3000 {
                Self.run(pool, counts, 8)
                if job % 1000 == 500 { usleep(2000) }
            }
            #expect(counts.all.withLock { $0 } == [Int](repeating: 3000, count: 8))
        }

        @Test func createdAndDestroyedManyTimes() throws {
            for round in 0..<50 {
                let pool = try #require(apus_pool_create(1 + round % 5))
                apus_pool_destroy(pool)
            }
            #expect(apus_pool_create(0) == nil)
            #expect(apus_pool_create(Int.max) == nil)
            apus_pool_destroy(nil)
        }

        #if os(Linux)
            /// A team with nothing to do sleeps.
            @Test func anIdleTeamUsesNoTime() throws {
                let pool = try #require(apus_pool_create(4))
                defer { apus_pool_destroy(pool) }
                let team = Team()
                for _ in 0..<20 {
                    apus_pool_run(
                        pool, 8,
                        { context, _ in
                            Unmanaged<Team>.fromOpaque(context!).takeUnretainedValue().threads.withLock { _ = $0.insert(UInt(pthread_self())) }
                            usleep(500)
                        }, Unmanaged.passUnretained(team).toOpaque())
                }
                let workers = team.threads.withLock { $0 }.subtracting([UInt(pthread_self())])
                #expect(!workers.isEmpty)
                usleep(10_000)
                let before = Self.processorSeconds(of: workers)
                usleep(100_000)
                #expect(Self.processorSeconds(of: workers) - before < 0.005)
            }

            final class Team: Sendable {
                let threads = Mutex<Set<UInt>>([])
            }

            static func processorSeconds(of threads: Set<UInt>) -> Double {
                threads.reduce(0) { sum, thread in
                    var clock = clockid_t()
                    var time = timespec()
                    guard pthread_getcpuclockid(pthread_t(thread), &clock) == 0, clock_gettime(clock, &time) == 0 else { return sum }
                    return sum + Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
                }
            }
        #endif
    }

    @Suite struct Levels {
        @Test func namesAreChecked() {
            #expect(levels.contains("plain"))
            #expect(!apus_cpu_set_level("sse9"))
            #expect(apus_cpu_set_level("plain"))
            #expect(String(cString: apus_cpu_level()) == "plain")
            #expect(apus_cpu_set_level(nil))
            #expect(levels.contains(String(cString: apus_cpu_level())))
        }
    }
}
