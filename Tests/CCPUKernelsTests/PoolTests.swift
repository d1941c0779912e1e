import CCPUKernels
import Foundation
import Testing

/// One test at a time: most of them start teams of threads of their own.
@Suite(.serialized) struct Kernels {
    @Suite struct Pool {
        /// How often each index ran, and on which threads. The lock is the C library's, so that the thread sanitizer sees it.
        final class Record: @unchecked Sendable {
            private let lock = NSLock()
            private var times: [Int]
            private var members: [pthread_t] = []
            let pause: UInt32

            init(_ count: Int, pause: UInt32 = 0) {
                times = [Int](repeating: 0, count: count)
                self.pause = pause
            }

            var counts: [Int] { lock.withLock { times } }
            var threads: [pthread_t] { lock.withLock { members } }

            func add(_ index: Int) {
                lock.withLock {
                    times[index] += 1
                    if !members.contains(where: { pthread_equal($0, pthread_self()) != 0 }) { members.append(pthread_self()) }
                }
                if pause > 0 { usleep(pause) }
            }

            func run(on pool: OpaquePointer, _ count: Int) {
                apus_pool_run(
                    pool, count, { context, index in Unmanaged<Record>.fromOpaque(context!).takeUnretainedValue().add(index) },
                    Unmanaged.passUnretained(self).toOpaque())
            }
        }

        @Test func everyIndexRunsOnce() throws {
            for threads in [1, 2, 3, 8] {
                let pool = try #require(apus_pool_create(threads))
                defer { apus_pool_destroy(pool) }
                #expect(apus_pool_threads(pool) == threads)
                for count in [0, 1, 2, threads, threads + 1, 1000] {
                    let record = Record(count)
                    record.run(on: pool, count)
                    #expect(record.counts.allSatisfy { $0 == 1 }, "\(count) indices, \(threads) threads")
                }
            }
        }

        /// Many short jobs in a row, with pauses in which the team falls asleep.
        @Test func jobsFollowEachOther() throws {
            let pool = try #require(apus_pool_create(4))
            defer { apus_pool_destroy(pool) }
            let record = Record(8)
            for job in 0..<3000 {
                record.run(on: pool, 8)
                if job % 1000 == 500 { usleep(2000) }
            }
            #expect(record.counts == [Int](repeating: 3000, count: 8))
        }

        @Test func processorsAreCounted() {
            #expect(apus_processor_count() >= 1)
            #expect(apus_processor_count() <= ProcessInfo.processInfo.processorCount)
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
                let record = Record(8, pause: 500)
                for _ in 0..<20 { record.run(on: pool, 8) }
                let workers = record.threads.filter { pthread_equal($0, pthread_self()) == 0 }
                #expect(!workers.isEmpty)
                usleep(10_000)
                let before = Self.processorSeconds(of: workers)
                usleep(100_000)
                #expect(Self.processorSeconds(of: workers) - before < 0.005)
            }

            static func processorSeconds(of threads: [pthread_t]) -> Double {
                threads.reduce(0) { sum, thread in
                    var clock = clockid_t()
                    var time = timespec()
                    guard pthread_getcpuclockid(thread, &clock) == 0, clock_gettime(clock, &time) == 0 else { return sum }
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
