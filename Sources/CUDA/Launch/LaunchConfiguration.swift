import CCUDA

/// Extents in three dimensions, of a grid in blocks, a block in threads or a cluster in blocks.
package struct Extent: Sendable, Hashable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    package let x: Int
    package let y: Int
    package let z: Int

    package init(_ x: Int, _ y: Int = 1, _ z: Int = 1) {
        self.x = x
        self.y = y
        self.z = z
    }

    package init(integerLiteral x: Int) { self.init(x) }

    /// The product; Int.max when it does not fit.
    package var count: Int {
        let plane = x.multipliedReportingOverflow(by: y)
        let volume = plane.partialValue.multipliedReportingOverflow(by: z)
        return plane.overflow || volume.overflow ? Int.max : volume.partialValue
    }

    var isPositive: Bool { x > 0 && y > 0 && z > 0 }

    package var description: String { y == 1 && z == 1 ? "\(x)" : "\(x) x \(y) x \(z)" }
}

/// How a kernel is launched.
@usableFromInline
package struct LaunchConfiguration: Sendable, Hashable {
    /// Whether all blocks must be on the GPU together.
    package enum Residency: Sendable, Hashable {
        /// Blocks may run one after another.
        case none
        /// The kernel's blocks wait for each other by means of their own: a grid that does not fit is refused, the launch is an ordinary one.
        case required
        /// A cooperative launch: the driver guarantees it, beside other work too.
        case cooperative
    }

    /// Blocks of the grid.
    package var grid: Extent
    /// Threads of a block.
    package var block: Extent
    /// Blocks of a cluster, which must divide the grid; nil for none. Compute capability 9.0 and up.
    package var cluster: Extent?
    /// Shared memory of a block beyond what the kernel declares itself, in bytes.
    package var sharedByteCount: Int
    package var residency: Residency
    /// Programmatic dependent launch: the kernel may start while the one ahead of it in the stream still runs, and must execute
    /// `griddepcontrol.wait` before it touches what that one writes. Compute capability 9.0 and up; below it changes nothing.
    package var isProgrammatic: Bool

    package init(
        grid: Extent, block: Extent, cluster: Extent? = nil, sharedByteCount: Int = 0, residency: Residency = .none,
        isProgrammatic: Bool = false
    ) {
        self.grid = grid
        self.block = block
        self.cluster = cluster
        self.sharedByteCount = sharedByteCount
        self.residency = residency
        self.isProgrammatic = isProgrammatic
    }

    /// The driver's form. Only for a configuration that passed the kernel's check, whose numbers all fit.
    func shape(on device: Device) -> apus_launch_shape {
        apus_launch_shape(
            gridX: UInt32(clamping: grid.x), gridY: UInt32(clamping: grid.y), gridZ: UInt32(clamping: grid.z),
            blockX: UInt32(clamping: block.x), blockY: UInt32(clamping: block.y), blockZ: UInt32(clamping: block.z),
            clusterX: UInt32(clamping: cluster?.x ?? 0), clusterY: UInt32(clamping: cluster?.y ?? 0),
            clusterZ: UInt32(clamping: cluster?.z ?? 0),
            sharedByteCount: UInt32(clamping: sharedByteCount), cooperative: residency == .cooperative,
            programmatic: isProgrammatic && device.computeCapability.major >= 9)
    }
}
