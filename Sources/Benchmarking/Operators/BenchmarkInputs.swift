import CUDA
import Operators
import Tensors
import Transformer

/// Random tensors on a GPU, made from one block of seeded normal numbers: large ones cost copies within the GPU and not minutes of the CPU.
///
/// A tensor is put together from stretches of the block that start at random places, so that no two rows are alike.
final class BenchmarkInputs {
    private struct PoolKey: Hashable {
        let dtype: DType
        let scale: Float
    }

    let context: OperatorContext
    private let normals: [Float]
    private var pools: [PoolKey: DeviceTensor] = [:]
    /// Places that are the same in every run.
    private var random = SeededRandom(0x5EED)

    init(_ context: OperatorContext, seed: UInt64) {
        self.context = context
        let numbers = RandomNumbers(seed: seed, stream: "benchmark")
        // An odd number, so that rows of usual lengths do not meet the same stretch again.
        normals = (0..<(1 << 21) + 1).map { numbers.normal($0) }
    }

    /// Normal values of a standard deviation.
    func tensor(_ dtype: DType, _ shape: [Int], scale: Float = 1) throws -> DeviceTensor {
        let pool = try pool(PoolKey(dtype: dtype, scale: scale))
        let tensor = try context.tensor(dtype, shape)
        let (target, source) = (Self.region(tensor), Self.region(pool))
        var done = 0
        while done < target.byteCount {
            let first = Int(random.next() % UInt64(normals.count / 2)) * dtype.byteCount
            let count = min(target.byteCount - done, source.byteCount - first)
            try context.stream.copy(source.slice(at: first, byteCount: count), to: target.slice(at: done, byteCount: count))
            done += count
        }
        return tensor
    }

    private func pool(_ key: PoolKey) throws -> DeviceTensor {
        if let pool = pools[key] { return pool }
        let pool = try context.upload(HostTensor(normals.map { $0 * key.scale }, shape: [normals.count], as: key.dtype))
        pools[key] = pool
        return pool
    }

    /// A number below a bound, for the places of samples.
    func index(below bound: Int) -> Int { Int(random.next() % UInt64(max(1, bound))) }

    /// The bytes of a contiguous tensor.
    static func region(_ tensor: DeviceTensor) -> DeviceRegion {
        DeviceRegion(address: tensor.address, byteCount: tensor.elementCount * tensor.dtype.byteCount)
    }
}
