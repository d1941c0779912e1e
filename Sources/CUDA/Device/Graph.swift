import CCUDA

/// Work recorded from a stream, in the order and with the dependencies that it had there. It does not run by itself.
///
/// Addresses and scalar parameters are recorded as they were; the buffers must stay alive as long as an ``ExecutableGraph`` made from it runs.
public final class Graph: Sendable {
    public let context: Context
    /// The number of kernels, copies and other nodes.
    public let nodeCount: Int

    // Safe to share: the handle never changes, and nothing here changes the graph behind it.
    nonisolated(unsafe) let handle: apus_graph

    init(_ handle: apus_graph, context: Context) throws(CUDAError) {
        var count = 0
        let status = context.table.pointee.graphNodes(handle, nil, &count)
        if status != 0 {
            _ = context.table.pointee.destroyGraph(handle)
            throw context.driver.error(status, "cuGraphGetNodes")
        }
        self.context = context
        self.handle = handle
        nodeCount = count
    }

    deinit { _ = context.table.pointee.destroyGraph(handle) }

    /// Makes the graph ready to run. Cost: some microseconds a node.
    public func instantiate() throws(CUDAError) -> ExecutableGraph {
        try context.activate()
        var execution: apus_graph_execution?
        try context.driver.check(context.table.pointee.instantiateGraph(&execution, handle, 0), "cuGraphInstantiateWithFlags")
        guard let execution else { throw context.driver.error(999, "cuGraphInstantiateWithFlags") }
        return ExecutableGraph(execution, context: context, nodeCount: nodeCount)
    }
}

/// A graph made ready: one call runs all of it. A class, so that caches by shape can hold many.
///
/// It must not run in two streams at once, nor be updated from two threads at once; the driver lets launches of one graph wait for each other.
public final class ExecutableGraph: Sendable {
    public let context: Context
    public let nodeCount: Int

    // Safe to share: the handle never changes, and libcuda is thread-safe.
    nonisolated(unsafe) private let handle: apus_graph_execution

    init(_ handle: apus_graph_execution, context: Context, nodeCount: Int) {
        self.context = context
        self.handle = handle
        self.nodeCount = nodeCount
    }

    deinit {
        try? context.activate()
        _ = context.table.pointee.destroyGraphExecution(handle)
    }

    /// Puts the graph's work into a stream.
    public func launch(on stream: Stream) throws(CUDAError) {
        try context.activate()
        try stream.check(context.table.pointee.launchGraph(handle, stream.handle), "cuGraphLaunch")
        try stream.didLaunch("graph of \(nodeCount) nodes")
    }

    /// Moves the graph to the GPU ahead of its first launch, so that the first is as fast as the others.
    public func upload(on stream: Stream) throws(CUDAError) {
        try context.activate()
        try stream.check(context.table.pointee.uploadGraph(handle, stream.handle), "cuGraphUpload")
    }

    /// Takes over the parameters of a graph of the same form: cheaper than to instantiate it. Throws when the form differs; the graph is then as it was.
    public func update(to graph: Graph) throws(CUDAError) {
        try context.activate()
        var update = apus_graph_update()
        try context.driver.check(context.table.pointee.updateGraph(handle, graph.handle, &update), "cuGraphExecUpdate")
    }
}

extension Stream {
    /// Records what the closure puts into this stream in place of running it.
    ///
    /// Inside, the calling thread must not allocate outside a stream, synchronise, or copy pageable memory. Work of other streams is recorded too once they
    /// wait for an event of this one; they must be joined back by an event before the closure ends.
    public func capture(_ body: () throws -> Void) throws -> Graph {
        try context.activate()
        let threadLocal: UInt32 = 1  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        try check(table.pointee.beginCapture(handle, threadLocal), "cuStreamBeginCapture")
        do {
            try body()
        } catch {
            _ = try? endCapture()
            throw error
        }
        return try endCapture()
    }

    private func endCapture() throws(CUDAError) -> Graph {
        // Another context may have become current inside the closure.
        try context.activate()
        var graph: apus_graph?
        let status = table.pointee.endCapture(handle, &graph)
        guard status == 0, let graph else {
            if let graph { _ = table.pointee.destroyGraph(graph) }
            throw driver.error(status == 0 ? 901 : status, "cuStreamEndCapture")
        }
        return try Graph(graph, context: context)
    }
}
