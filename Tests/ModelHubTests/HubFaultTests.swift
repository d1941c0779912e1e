#if Hub
    import Foundation
    import ModelHub
    import OrderedCollections
    import Testing

    /// Servers that break, lie and refuse.
    @Suite struct HubFaultTests {
        /// A fault in the answer to GETs of the weights.
        private func test(_ fault: @escaping FakeHub.Fault) async throws -> HubTestCase {
            try await HubTestCase { request, count, usual in
                request.method == "GET" && request.path.hasSuffix("model.safetensors") ? fault(request, count, usual) : usual
            }
        }

        private func weights(_ test: HubTestCase) async throws -> [UInt8] {
            try await test.open().bytes(of: "model.safetensors")
        }

        private func ranges(_ test: HubTestCase) -> [Int?] {
            test.hub.requests("GET", endingWith: "model.safetensors").map(\.rangeStart)
        }

        @Test func resumesWhereAConnectionDied() async throws {
            let test = try await test { _, count, usual in
                var answer = usual
                if count <= 3 { answer.diesAfter = 9_000 }
                return answer
            }
            #expect(try await weights(test) == HubTestCase.weights)
            let starts = ranges(test)
            #expect(starts.count == 4 && starts[0] == nil)
            #expect(starts.dropFirst().allSatisfy { ($0 ?? 0) > 0 })
        }

        @Test func resumesWhatAnEarlierRunLeft() async throws {
            let test = try await HubTestCase()
            try test.leaveIncomplete(30_000)
            #expect(try await weights(test) == HubTestCase.weights)
            #expect(ranges(test) == [30_000])
        }

        @Test func completesWhatNeededOnlyItsName() async throws {
            let test = try await HubTestCase()
            try test.leaveIncomplete(50_000)
            #expect(try await weights(test) == HubTestCase.weights)
            #expect(ranges(test).isEmpty)
        }

        @Test func startsAgainWhereTheOldPieceIsWrong() async throws {
            let test = try await HubTestCase()
            try test.leaveIncomplete(30_000, of: [UInt8](repeating: 9, count: 30_000))
            #expect(try await weights(test) == HubTestCase.weights)
            #expect(ranges(test) == [30_000, nil])
            let longer = try await HubTestCase()
            try longer.leaveIncomplete(60_000, of: [UInt8](repeating: 9, count: 60_000))
            #expect(try await weights(longer) == HubTestCase.weights)
        }

        @Test func copesWithAServerThatKnowsNoRanges() async throws {
            let test = try await test { _, count, usual in
                FakeHub.Answer(
                    headers: usual.headers.filter { $0.0 != "Content-Range" }, body: HubTestCase.weights, diesAfter: count == 1 ? 20_000 : nil)
            }
            #expect(try await weights(test) == HubTestCase.weights)
            #expect(ranges(test).count == 2)
        }

        @Test func startsAgainAfter416() async throws {
            let test = try await test { request, _, usual in request.rangeStart == nil ? usual : .status(416) }
            try test.leaveIncomplete(30_000)
            #expect(try await weights(test) == HubTestCase.weights)
            #expect(ranges(test) == [30_000, nil])
        }

        @Test(arguments: ["bytes 0-49999/50000", "bytes 29999-49999/50000", "nonsense", "bytes 99999999999999999999-1/2", "bytes 30000-49999/x", ""])
        func doesNotTrustAnotherRange(range: String) async throws {
            let test = try await test { request, _, usual in
                guard request.rangeStart != nil else { return usual }
                return FakeHub.Answer(status: 206, headers: [("Content-Range", range)], body: HubTestCase.weights)
            }
            try test.leaveIncomplete(30_000)
            #expect(try await weights(test) == HubTestCase.weights)
        }

        @Test func aRangeOfAnotherSizeIsALie() async throws {
            let test = try await test { _, _, _ in
                FakeHub.Answer(status: 206, headers: [("Content-Range", "bytes 30000-49999/70000")], body: Array(HubTestCase.weights[30_000...]))
            }
            try test.leaveIncomplete(30_000)
            let error = try await test.failure()
            #expect(error.code == .integrity && error.message.contains("70000"), "\(error)")
        }

        @Test(arguments: [49_999, 50_001, 0])
        func aLieAboutTheSizeIsFound(length: Int) async throws {
            let test = try await test { _, _, usual in
                FakeHub.Answer(headers: usual.headers, body: Array((HubTestCase.weights + [0]).prefix(length)))
            }
            let error = try await test.failure()
            #expect(error.code == .integrity && error.message.contains("50000") && error.message.contains("\(length)"), "\(error)")
            #expect(test.size(test.weightsBlob) == nil)
        }

        @Test func aChunkedBodyNeedsNoLength() async throws {
            let test = try await test { _, _, usual in
                var answer = usual
                answer.isChunked = true
                return answer
            }
            #expect(try await weights(test) == HubTestCase.weights)
        }

        @Test func aChunkedBodyThatIsTooLongOrTooShortIsFound() async throws {
            for count in [60_000, 40_000] {
                let test = try await test { _, _, usual in
                    FakeHub.Answer(headers: usual.headers, body: Array((HubTestCase.weights + HubTestCase.weights).prefix(count)), isChunked: true)
                }
                let error = try await test.failure()
                #expect(error.code == .integrity && error.message.contains("announced 50000"), "\(error)")
            }
        }

        @Test func aFileOfUnknownSizeIsStillChecked() async throws {
            let test = try await HubTestCase { request, count, usual in
                guard request.path.hasSuffix("/tokenizer.json") else { return usual }
                var answer = usual
                answer.isChunked = true
                if request.method == "HEAD" { answer = .status(200, usual.headers + [("X-Linked-Size", "unknown")]) }
                if request.method == "GET", count == 1 { answer.diesAfter = 5 }
                return answer
            }
            #expect(try await test.open().bytes(of: "tokenizer.json") == HubTestCase.files["tokenizer.json"])
        }

        @Test func wrongContentOfTheRightSizeIsFound() async throws {
            let test = try await test { _, _, usual in
                var answer = usual
                if !answer.body.isEmpty { answer.body[answer.body.count - 1] ^= 1 }
                return answer
            }
            let error = try await test.failure()
            #expect(error.code == .integrity && error.message.contains("hash"), "\(error)")
            #expect(test.size(test.weightsBlob) == nil && test.size(test.weightsBlob + ".incomplete") == nil)
            // A small file has git's hash.
            let small = try await HubTestCase { request, _, usual in
                var answer = usual
                if request.method == "GET", request.path.hasSuffix("/config.json") { answer.body = answer.body.reversed() }
                return answer
            }
            #expect(try await small.failure().code == .integrity)
        }

        @Test func aStalledConnectionIsGivenUpAndResumed() async throws {
            let test = try await test { _, count, usual in
                var answer = usual
                if count == 1 { answer.stallsAfter = 12_000 }
                return answer
            }
            let folder = try await test.open(stallTimeout: .seconds(2))
            #expect(try folder.bytes(of: "model.safetensors") == HubTestCase.weights)
            // A machine that is busy for two seconds may stall once more and resume further on.
            #expect(Array(ranges(test).prefix(2)) == [nil, 12_000])
        }

        @Test func aServerThatNeverBringsAnythingIsGivenUp() async throws {
            let test = try await test { _, _, usual in
                var answer = usual
                answer.diesAfter = 0
                return answer
            }
            let error = try await test.failure()
            #expect(error.code == .network, "\(error)")
            #expect(ranges(test).count == 3)
        }

        @Test(arguments: [500, 502, 503, 429, 408])
        func triesAgainAfterAPassingFailure(status: Int) async throws {
            let test = try await HubTestCase { _, count, usual in
                count <= 2 ? .status(status, [("Retry-After", "1")]) : usual
            }
            #expect(try await weights(test) == HubTestCase.weights)
        }

        @Test(
            arguments: [
                (500, nil, ModelHubError.Code.server, "failed (500)"), (429, nil, .server, "slow down"),
                (401, nil, .unauthorized, "does not accept the token"), (403, nil, .forbidden, "/tiny/embedder and set HF_TOKEN"),
                (403, "GatedRepo", .forbidden, "accept its conditions at"), (401, "GatedRepo", .forbidden, "tiny/embedder is gated"),
                (404, "RepoNotFound", .notFound, "check the name"), (404, "RevisionNotFound", .notFound, "no revision 'main'"),
                (404, nil, .notFound, "check the name"),
                (418, nil, .server, "answered 418"),
            ] as [(Int, String?, ModelHubError.Code, String)])
        func saysWhatARefusalMeans(status: Int, reason: String?, code: ModelHubError.Code, says: String) async throws {
            let test = try await HubTestCase { _, _, _ in .status(status, reason.map { [("X-Error-Code", $0)] } ?? []) }
            let error = try await test.failure()
            #expect(error.code == code && error.message.contains(says), "\(error)")
        }

        @Test func whatIsThereStillRunsWhereTheHubRefuses() async throws {
            let test = try await HubTestCase { request, count, usual in request.path.hasPrefix("/api/") && count > 1 ? .status(401) : usual }
            _ = try await test.open()
            // As if another program had fetched it: nobody noted which files the hub does not have.
            try FileManager.default.removeItem(atPath: test.repositoryPath + "/.no_exist")
            #expect(try await test.open().contains("model.safetensors"))
            #expect(test.hub.requests.filter { $0.path.hasPrefix("/api/") }.count == 2)
            await #expect(throws: ModelHubError.self) { try await test.open(download: .update) }
        }

        @Test func withoutATokenItSaysToSetOne() async throws {
            let test = try await HubTestCase { _, _, _ in .status(401) }
            let error = try await test.failure(environment: ["HF_TOKEN": ""])
            #expect(error.code == .unauthorized && error.message.contains("set HF_TOKEN"), "\(error)")
            #expect(test.hub.requests.allSatisfy { $0.authorization == nil })
        }

        @Test func aFileThatIsRefusedIsNamed() async throws {
            let test = try await HubTestCase { request, _, usual in
                request.path.hasSuffix("/tokenizer.json") ? .status(404, [("X-Error-Code", "EntryNotFound")]) : usual
            }
            #expect(try await test.failure().message.contains("has no tokenizer.json"))
        }

        @Test func aHubWithoutHEADServes() async throws {
            let test = try await HubTestCase { request, _, usual in request.method == "HEAD" ? .status(405) : usual }
            #expect(try await weights(test) == HubTestCase.weights)
        }

        @Test(arguments: [
            "", "[]", "<html>", "{", #"{"sha": 5, "siblings": []}"#, #"{"sha": "0123"}"#, #"{"sha": "../x", "siblings": []}"#,
            #"{"sha": "a/b", "siblings": []}"#, #"{"sha": "", "siblings": []}"#, #"{"sha": "0123", "siblings": [5]}"#,
            #"{"sha": "0123", "siblings": [{"rfilename": "../../../evil.safetensors"}]}"#,
            #"{"sha": "0123", "siblings": [{"rfilename": "/etc/config.json"}]}"#,
            #"{"sha": "0123", "siblings": [{"rfilename": "1_Pooling/../../config.json"}]}"#,
            #"{"sha": "0123", "siblings": [{"rfilename": "a\u0000b"}]}"#,
            #"{"sha": "0123", "siblings": [{"rfilename": ""}]}"#,
        ])
        func aListThatIsNoneIsRefused(text: String) async throws {
            let test = try await HubTestCase { request, _, usual in
                request.path.hasPrefix("/api/") ? .status(200, [], text) : usual
            }
            let error = try await test.failure()
            #expect(error.code == .server && error.message.contains("/api/models/tiny/embedder"), "\(error)")
            #expect(test.tree().isEmpty && test.hub.requests.count == 1)
        }

        @Test func aHugeListIsNotKept() async throws {
            let piece = [UInt8](repeating: UInt8(ascii: " "), count: 40 << 20)
            let test = try await HubTestCase { request, _, usual in
                request.path.hasPrefix("/api/") ? FakeHub.Answer(body: piece, isChunked: true) : usual
            }
            let error = try await test.failure()
            #expect(error.code == .server && error.message.contains("larger than"), "\(error)")
        }

        @Test(arguments: ["\"../../x\"", "\"\"", "\"a/b\"", "\".hidden\"", "\"a b\"", "W/\"\(String(repeating: "a", count: 300))\""])
        func aTagThatIsNoNameIsRefused(tag: String) async throws {
            let test = try await HubTestCase { request, _, usual in
                request.method == "HEAD" && request.path.hasSuffix("/config.json") ? .status(200, [("ETag", tag)]) : usual
            }
            let error = try await test.failure()
            #expect(error.code == .server && error.message.contains("ETag"), "\(error)")
        }

        @Test func aFileOfAnotherCommitIsRefused() async throws {
            let test = try await HubTestCase { request, _, usual in
                request.method == "HEAD" && request.path.hasSuffix("/config.json")
                    ? .status(200, [("ETag", "\"a\""), ("X-Repo-Commit", "other")]) : usual
            }
            #expect(try await test.failure().message.contains("of other"))
        }

        @Test func moreThanTheDiskHoldsIsRefusedBeforeItTravels() async throws {
            let test = try await HubTestCase { request, _, usual in
                guard request.method == "HEAD", request.path.hasSuffix("model.safetensors") else { return usual }
                return .status(200, usual.headers.filter { $0.0 != "X-Linked-Size" } + [("X-Linked-Size", "9000000000000000000")])
            }
            let error = try await test.failure()
            #expect(error.code == .cache && error.message.contains("needs 9000000000 GB more"), "\(error)")
            #expect(ranges(test).isEmpty)
        }

        @Test(arguments: ["-1", "99999999999999999999999", "x"])
        func aSizeThatIsNoneDoesNoHarm(size: String) async throws {
            let test = try await HubTestCase { request, _, usual in
                guard request.method == "HEAD", request.path.hasSuffix("model.safetensors") else { return usual }
                return .status(200, usual.headers.filter { $0.0 != "X-Linked-Size" } + [("X-Linked-Size", size)])
            }
            if size == "-1" {
                #expect(try await test.failure().code == .server)
            } else {
                #expect(try await weights(test) == HubTestCase.weights)
            }
        }
    }
#endif
