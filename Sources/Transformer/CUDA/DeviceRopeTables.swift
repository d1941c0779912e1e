import CUDA
import Operators
import Synchronization
import Tensors

/// The rotary tables on a GPU, `[positions, D / 2]` fp32 for each distinct ``TransformerSpec/RopeSpec``: the CPU executor's own, copied.
final class DeviceRopeTables: Sendable {
    struct Table: Sendable {
        let cosine: DeviceTensor
        let sine: DeviceTensor
        var positions: Int { cosine.shape[0] }
    }

    private let context: OperatorContext
    private let half: Int
    private let host: RopeTables
    private let tables = Mutex<[TransformerSpec.RopeSpec: Table]>([:])

    init(_ context: OperatorContext, headDimension: Int) {
        self.context = context
        half = headDimension / 2
        host = RopeTables(headDimension: headDimension)
    }

    /// A table of at least `positions` rows, uploaded in stream order where it has to grow.
    func table(for rope: TransformerSpec.RopeSpec, positions: Int) throws -> Table {
        if let table = tables.withLock({ $0[rope] }), table.positions >= positions { return table }
        let source = host.table(for: rope, positions: positions)
        let shape = [source.positions, half]
        func upload(_ values: FloatBuffer) throws -> DeviceTensor {
            let tensor = try context.tensor(.float32, shape)
            // The buffer lives as long as `source`, and the copy is staged or complete when it returns.
            try context.stream.upload(
                UnsafeRawBufferPointer(start: values.pointer, count: source.positions * half * MemoryLayout<Float>.stride), to: tensor.region)
            return tensor
        }
        let table = try withExtendedLifetime(source) { Table(cosine: try upload(source.cosine), sine: try upload(source.sine)) }
        tables.withLock { $0[rope] = table }
        return table
    }
}
