import CCUDA

extension Kernel {
    /// Puts the kernel into a stream. Returns at once; a fault of the kernel shows at a later call, or here when the driver is synchronous.
    ///
    /// Parameters are passed by type: a pointer is a ``DeviceAddress``, an `int` an `Int32`, a `float` a `Float`. Their number and sizes are
    /// held against those that the kernel's image declares. The first launch of a configuration checks it against the GPU's limits; a launch like
    /// the one before costs nothing more, another known one a look-up.
    @inlinable
    package func launch<each Parameter: KernelParameter>(
        _ configuration: LaunchConfiguration, on stream: Stream, _ parameter: repeat each Parameter
    ) throws(CUDAError) {
        var layout = ParameterLayout()
        repeat layout.add(MemoryLayout<each Parameter>.stride)
        let failure = withUnsafeTemporaryAllocation(byteCount: layout.byteCount, alignment: 16) { memory -> CUDAError? in
            var writer = ParameterWriter(memory, layout)
            repeat writer.append(each parameter)
            return launch(configuration, on: stream, layout, memory)
        }
        if let failure { throw failure }
    }

    /// The part of a launch that does not depend on the parameters' types.
    @usableFromInline
    package func launch(
        _ configuration: LaunchConfiguration, on stream: Stream, _ layout: ParameterLayout, _ memory: UnsafeMutableRawBufferPointer
    ) -> CUDAError? {
        do throws(CUDAError) {
            guard stream.context === context || stream.context.device.ordinal == context.device.ordinal else {
                throw refusal("it is loaded on \(context.device), its stream is on \(stream.context.device)")
            }
            try context.activate()
            try prepare(configuration)
            guard let base = memory.baseAddress else { throw refusal("there is no memory for its parameters") }
            let table = base.assumingMemoryBound(to: apus_launch_parameter.self)
            try check(UnsafeBufferPointer(start: table, count: layout.count))
            var shape = configuration.shape(on: context.device)
            let status = apus_driver_launch(
                self.table, handle, &shape, stream.handle, base + layout.tableByteCount, table, layout.count)
            guard status == 0 else { throw launchError(status) }
            try stream.didLaunch(name)
            return nil
        } catch {
            return error
        }
    }

    /// The form of the launch is checked against what the kernel itself declares: the driver would read past the end of a short list.
    private func check(_ parameters: UnsafeBufferPointer<apus_launch_parameter>) throws(CUDAError) {
        guard parameters.count <= Int(apus_maximum_launch_parameters) else {
            throw refusal("\(parameters.count) parameters are more than \(apus_maximum_launch_parameters)")
        }
        guard let expected = parameterSizes else { return }
        guard parameters.count == expected.count else {
            throw refusal("it takes \(expected.count) parameters, not \(parameters.count)")
        }
        for (index, parameter) in parameters.enumerated() where Int(parameter.byteCount) != expected[index] {
            throw refusal("its parameter \(index) has \(expected[index]) bytes, not \(parameter.byteCount)")
        }
    }

    private func launchError(_ status: Int32) -> CUDAError {
        let meaning = DriverStatus(status)
        // A fault reported by a launch is the fault of something that ran before it.
        let work = meaning.code == .kernelFault ? "launching kernel '\(name)' after an earlier fault" : "kernel '\(name)'"
        return driver.error(status, "cuLaunchKernelEx", work)
    }
}
