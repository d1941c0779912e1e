#if Hub
    import Crypto
    import Foundation
    import JSON
    import NIOCore
    import NIOHTTP1
    import NIOPosix
    import OrderedCollections
    import Synchronization

    /// A hub on a loopback port: the routes of Hugging Face over files in memory, with faults where a test asks for them.
    final class FakeHub: Sendable {
        struct Request: Sendable {
            let method: String
            let path: String
            let headers: HTTPHeaders

            /// First byte asked for, where a range is.
            var rangeStart: Int? {
                headers.first(name: "Range").flatMap { Int($0.dropFirst("bytes=".count).prefix { $0.isNumber }) }
            }
            var authorization: String? { headers.first(name: "Authorization") }
        }

        struct Answer: Sendable {
            var status = 200
            var headers: [(String, String)] = []
            var body: [UInt8] = []
            /// What Content-Length says where it is not the truth.
            var statedLength: Int?
            /// Without Content-Length, in chunks.
            var isChunked = false
            /// Bytes after which the connection is cut.
            var diesAfter: Int?
            /// Bytes after which nothing more comes.
            var stallsAfter: Int?
            var delay: TimeAmount?

            static func status(_ status: Int, _ headers: [(String, String)] = [], _ text: String = "") -> Answer {
                Answer(status: status, headers: headers, body: Array(text.utf8))
            }
        }

        /// Changes the usual answer to a request, the `count`-th (from 1) of its method and path.
        typealias Fault = @Sendable (_ request: Request, _ count: Int, _ usual: Answer) -> Answer

        static let commit = "0123456789abcdef0123456789abcdef01234567"

        private struct State {
            var requests: [Request] = []
            var counts: [String: Int] = [:]
        }

        let repository: String
        let files: OrderedDictionary<String, [UInt8]>
        /// Kept as LFS: named by sha256, and fetched from ``storage`` where there is one.
        let large: Set<String>
        let commit: String
        /// Another server, to which large files are redirected.
        let storage: FakeHub?
        private let fault: Fault?
        private let state = Mutex(State())
        private let channel = Mutex<(any Channel)?>(nil)

        init(
            repository: String = "tiny/embedder", files: OrderedDictionary<String, [UInt8]>, large: Set<String> = ["model.safetensors"],
            commit: String = FakeHub.commit, storage: FakeHub? = nil, fault: Fault? = nil
        ) async throws {
            self.repository = repository
            self.files = files
            self.large = large
            self.commit = commit
            self.storage = storage
            self.fault = fault
            let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { [weak self] channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                        if let self { try channel.pipeline.syncOperations.addHandler(HubHandler(hub: self)) }
                    }
                }
                .bind(host: "127.0.0.1", port: 0).get()
            channel.withLock { $0 = server }
        }

        deinit { channel.withLock { _ = $0?.close() } }

        var port: Int { channel.withLock { $0?.localAddress?.port } ?? 0 }
        var endpoint: String { "http://127.0.0.1:\(port)" }
        var requests: [Request] { state.withLock { $0.requests } }

        func requests(_ method: String, endingWith suffix: String) -> [Request] {
            requests.filter { $0.method == method && $0.path.hasSuffix(suffix) }
        }

        static func etag(_ bytes: [UInt8], isLarge: Bool) -> String {
            func hex(_ digest: some Sequence<UInt8>) -> String {
                digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            }
            return isLarge ? hex(SHA256.hash(data: bytes)) : hex(Insecure.SHA1.hash(data: Array("blob \(bytes.count)\0".utf8) + bytes))
        }

        fileprivate func answer(_ request: Request) -> Answer {
            let count = state.withLock { state in
                state.requests.append(request)
                state.counts[request.method + request.path, default: 0] += 1
                return state.counts[request.method + request.path] ?? 1
            }
            let usual = usualAnswer(request)
            return fault?(request, count, usual) ?? usual
        }

        private func usualAnswer(_ request: Request) -> Answer {
            let path = request.path.removingPercentEncoding ?? request.path
            for revision in ["main", commit] {
                if path == "/api/models/\(repository)/revision/\(revision)" {
                    let siblings = files.keys.map { "{\"rfilename\": \"\($0)\"}" }.joined(separator: ", ")
                    return .status(200, [("Content-Type", "application/json")], "{\"sha\": \"\(commit)\", \"siblings\": [\(siblings)]}")
                }
                let prefix = "/\(repository)/resolve/\(revision)/"
                guard path.hasPrefix(prefix), let bytes = files[String(path.dropFirst(prefix.count))] else { continue }
                let name = String(path.dropFirst(prefix.count))
                let tag = "\"\(Self.etag(bytes, isLarge: large.contains(name)))\""
                if large.contains(name) {
                    let headers = [("X-Linked-Etag", tag), ("X-Linked-Size", "\(bytes.count)"), ("X-Repo-Commit", commit)]
                    if let storage { return .status(302, headers + [("Location", "\(storage.endpoint)/storage/\(name)?signature=secret")]) }
                    return Self.content(bytes, request, headers)
                }
                return Self.content(bytes, request, [("ETag", tag), ("X-Repo-Commit", commit)])
            }
            if path.hasPrefix("/storage/"), let bytes = files[String(path.dropFirst("/storage/".count).prefix { $0 != "?" })] {
                return Self.content(bytes, request, [("ETag", "\"of the storage\"")])
            }
            return .status(404, [("X-Error-Code", "RepoNotFound")])
        }

        /// All of `bytes`, or the range that is asked for.
        private static func content(_ bytes: [UInt8], _ request: Request, _ headers: [(String, String)]) -> Answer {
            guard let start = request.rangeStart else { return Answer(headers: headers, body: bytes) }
            guard start < bytes.count else { return Answer(status: 416, headers: headers + [("Content-Range", "bytes */\(bytes.count)")]) }
            let range = "bytes \(start)-\(bytes.count - 1)/\(bytes.count)"
            return Answer(status: 206, headers: headers + [("Content-Range", range)], body: Array(bytes[start...]))
        }
    }

    /// One connection of a ``FakeHub``. Confined to its event loop, like every NIO handler.
    private final class HubHandler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let hub: FakeHub
        private var head: HTTPRequestHead?

        init(hub: FakeHub) { self.hub = hub }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): self.head = head
            case .body: break
            case .end:
                guard let head else { return }
                let answer = hub.answer(FakeHub.Request(method: head.method.rawValue, path: head.uri, headers: head.headers))
                guard let delay = answer.delay else { return send(answer, to: head, context) }
                let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
                context.eventLoop.scheduleTask(in: delay) {
                    let (handler, context) = bound.value
                    if context.channel.isActive { handler.send(answer, to: head, context) }
                }
            }
        }

        private func send(_ answer: FakeHub.Answer, to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
            var headers = HTTPHeaders(answer.headers)
            if !answer.isChunked, !headers.contains(name: "Content-Length") {
                headers.add(name: "Content-Length", value: "\(answer.statedLength ?? answer.body.count)")
            }
            let response = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status), headers: headers)
            context.write(wrapOutboundOut(.head(response)), promise: nil)
            guard head.method != .HEAD else {
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
                return
            }
            let cut = answer.diesAfter ?? answer.stallsAfter
            let bytes = answer.body.prefix(cut ?? answer.body.count)
            // In several pieces, as a network delivers them.
            var rest = bytes[...]
            while !rest.isEmpty {
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: rest.prefix(4096))))), promise: nil)
                rest = rest.dropFirst(4096)
            }
            if answer.stallsAfter != nil {
                context.flush()
            } else if answer.diesAfter != nil {
                let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
                context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer())))).whenComplete { _ in
                    bound.value.close(promise: nil)
                }
            } else {
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
#endif
