#if Hub
    import AsyncHTTPClient
    import NIOHTTP1

    extension HubSession {
        /// Throws what a status over 299 means for `what` of `reference`: ``Transient`` where the server may recover, else an error that says what to do.
        func check(_ answer: Answer, _ reference: ModelReference, what: String) throws {
            let status = answer.response.status.code
            guard !(200..<300).contains(status) else { return }
            let isHome = answer.address.origin == endpoint.origin
            let name = reference.repository
            let host = answer.address.origin.host
            let reason = answer.response.headers.first(name: "X-Error-Code") ?? ""
            switch status {
            case 408, 429, 500...599:
                let error = ModelHubError(
                    .server,
                    status == 429
                        ? "\(host) asks to slow down (429) at \(what) of \(name); try again later, or set HF_TOKEN for a higher limit"
                        : "\(host) failed (\(status)) at \(what) of \(name); try again later")
                let seconds = answer.response.headers.first(name: "Retry-After").flatMap { Int($0) } ?? 0
                throw Transient(error: error, retryAfter: .seconds(min(max(seconds, 0), 3600)))
            case _ where !isHome:
                // A signed address of a storage host has run out; the endpoint gives a fresh one.
                throw Transient(error: ModelHubError(.server, "\(host) refused (\(status)) \(what) of \(name)"))
            case _ where reason == "GatedRepo":
                let next =
                    token == nil ? "set HF_TOKEN to a token of your account" : "use a token (HF_TOKEN) of the account that accepted it"
                throw ModelHubError(
                    .forbidden, "\(name) is gated: accept its conditions at \(endpoint.text)/\(name), then \(next)")
            case 401 where token == nil:
                throw ModelHubError(
                    .unauthorized, "\(host) knows no public model '\(name)' (401): check the name; if it is private or gated, set HF_TOKEN")
            case 401:
                throw ModelHubError(
                    .unauthorized, "\(host) does not accept the token for \(name) (401): check HF_TOKEN or the token file, and the name")
            case 403:
                throw ModelHubError(
                    .forbidden,
                    "\(host) forbids \(what) of \(name) (403): if the model is gated, accept its conditions at \(endpoint.text)/\(name) and set HF_TOKEN"
                )
            case 404 where reason == "RevisionNotFound":
                throw ModelHubError(.notFound, "\(name) has no revision '\(reference.revision)' at \(host)")
            case 404 where reason == "EntryNotFound":
                throw ModelHubError(.notFound, "\(name)@\(reference.revision) has no \(what) at \(host)")
            case 404:
                throw ModelHubError(
                    .notFound, "\(host) has no \(what) of '\(name)' at '\(reference.revision)' (404): check the name and the revision")
            default:
                throw ModelHubError(.server, "\(host) answered \(status) at \(what) of \(name)")
            }
        }
    }
#endif
