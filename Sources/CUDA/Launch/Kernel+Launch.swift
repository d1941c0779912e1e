import CCUDA

extension Kernel {
    /// Puts the kernel into a stream. Returns at once; a fault of the kernel shows at a later call, or here when the driver is synchronous.
    ///
    /// Parameters are passed by type: a pointer is a ``DeviceAddress``, an `int` an `Int32`, a `float` a `Float`. Where the driver tells the
    /// kernel's own parameters (12.4 and newer), their number and sizes are held against these. The first launch of a configuration checks it
    /// against the GPU's limits; later ones cost a look-up.
    package func launch<each Parameter: KernelParameter>(
        _ configuration: LaunchConfiguration, on stream: Stream, _ parameter: repeat each Parameter
    ) throws(CUDAError) {
        guard stream.context === context || stream.context.device.ordinal == context.device.ordinal else {
            throw refusal("it is loaded on \(context.device), its stream is on \(stream.context.device)")
        }
        try context.activate()
        try prepare(configuration)
        var layout = ParameterLayout()
        repeat layout.append((each Parameter).self)
        try check(layout)
        var shape = configuration.shape(on: context.device)
        let status = withUnsafeTemporaryAllocation(byteCount: max(16, layout.byteCount), alignment: 16) { buffer -> Int32 in
            guard let base = buffer.baseAddress else { return 2 }
            buffer.initializeMemory(as: UInt8.self, repeating: 0)
            var index = 0
            func store<Value: KernelParameter>(_ value: Value) {
                buffer.storeBytes(of: value, toByteOffset: Int(layout.offsets[index]), as: Value.self)
                index += 1
            }
            repeat store(each parameter)
            return apus_driver_launch(table, handle, &shape, stream.handle, base, layout.offsets, layout.offsets.count)
        }
        guard status == 0 else { throw launchError(status) }
        try stream.didLaunch(name)
    }

    /// The form of the launch is checked against what the kernel itself declares: the driver would read past the end of a short list.
    private func check(_ layout: ParameterLayout) throws(CUDAError) {
        guard layout.sizes.count <= Int(apus_maximum_launch_parameters) else {
            throw refusal("\(layout.sizes.count) parameters are more than \(apus_maximum_launch_parameters)")
        }
        guard let expected = parameterSizes, layout.sizes != expected else { return }
        guard layout.sizes.count == expected.count else {
            throw refusal("it takes \(expected.count) parameters, not \(layout.sizes.count)")
        }
        for (index, (size, wanted)) in zip(layout.sizes, expected).enumerated() where size != wanted {
            throw refusal("its parameter \(index) has \(wanted) bytes, not \(size)")
        }
    }

    private func launchError(_ status: Int32) -> CUDAError {
        let meaning = DriverStatus(status)
        // A fault reported by a launch is the fault of something that ran before it.
        let work = meaning.code == .kernelFault ? "launching kernel '\(name)' after an earlier fault" : "kernel '\(name)'"
        return driver.error(status, "cuLaunchKernelEx", work)
    }
}
