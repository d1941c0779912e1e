import Tensors

/// A tensor with the name that messages give it.
struct Operand {
    let name: String
    let tensor: any TensorArgument

    init(_ name: String, _ tensor: any TensorArgument) {
        self.name = name
        self.tensor = tensor
    }
}

/// The checks that operators share. An operator calls them in the order of the methods below.
struct ArgumentCheck {
    let operation: String
    /// Where the operator runs.
    let place: TensorPlace

    static let floats: [DType] = [.float16, .bfloat16, .float32]
    static let codes: [DType] = [.float8E4M3, .float8E5M2]

    init(_ operation: String, on place: TensorPlace) {
        self.operation = operation
        self.place = place
    }

    // MARK: Device

    func places(_ operands: Operand?...) throws(OperatorError) {
        for case let operand? in operands where operand.tensor.place != place {
            throw OperatorError(
                .device, in: operation, tensor: operand.name, expected: "\(place)", actual: "\(operand.tensor.place)",
                "\(operand.name) lies on \(operand.tensor.place), expected \(place)")
        }
    }

    // MARK: Element type

    func type(_ operand: Operand?, _ supported: [DType]) throws(OperatorError) {
        guard let operand, !supported.contains(operand.tensor.dtype) else { return }
        let list = supported.map(\.description).joined(separator: ", ")
        throw OperatorError(
            .dataType, in: operation, tensor: operand.name, expected: list, actual: "\(operand.tensor.dtype)", supportedTypes: supported,
            "\(operand.name) holds \(operand.tensor.dtype), expected \(supported.count == 1 ? list : "one of \(list)")")
    }

    func sameType(_ operand: Operand?, as other: Operand) throws(OperatorError) {
        guard let operand, operand.tensor.dtype != other.tensor.dtype else { return }
        throw OperatorError(
            .dataType, in: operation, tensor: operand.name, expected: "\(other.tensor.dtype)", actual: "\(operand.tensor.dtype)",
            supportedTypes: [other.tensor.dtype],
            "\(operand.name) holds \(operand.tensor.dtype), expected \(other.tensor.dtype) as \(other.name)")
    }

    // MARK: Layout

    /// All elements one after the other.
    func contiguous(_ operands: Operand?...) throws(OperatorError) {
        for case let operand? in operands where !StridedLayout.isContiguous(operand.tensor.shape, operand.tensor.strides) {
            throw layout(operand, expected: "contiguous")
        }
    }

    /// The last dimensions one after the other, the others evenly spaced: the tensor may be a part of each row of a wider one.
    func rows(_ operand: Operand?, trailing: Int) throws(OperatorError) {
        guard let operand, !operand.tensor.shape.contains(0), operand.tensor.shape.count >= trailing else { return }
        guard StridedLayout.isDense(operand.tensor, trailing: trailing), StridedLayout.joinLeading(operand.tensor, trailing: trailing) != nil
        else { throw layout(operand, expected: "contiguous in the last \(trailing == 1 ? "dimension" : "\(trailing) dimensions")") }
    }

    private func layout(_ operand: Operand, expected: String) -> OperatorError {
        OperatorError(
            .layout, in: operation, tensor: operand.name, expected: expected, actual: "strides \(operand.tensor.strides)",
            "\(operand.name) of shape \(operand.tensor.shape) has the strides \(operand.tensor.strides), expected it to be \(expected)")
    }

    // MARK: Rank and sizes

    func rank(_ operand: Operand?, _ ranks: ClosedRange<Int>, _ form: String) throws(OperatorError) {
        guard let operand, !ranks.contains(operand.tensor.shape.count) else { return }
        throw .shape(operation, operand.name, expected: form, actual: operand.tensor.shape)
    }

    /// The whole shape; `form` says in words what the sizes are.
    func shape(_ operand: Operand?, _ shape: [Int], _ form: String) throws(OperatorError) {
        guard let operand, operand.tensor.shape != shape else { return }
        throw .shape(operation, operand.name, expected: "\(shape) (\(form))", actual: operand.tensor.shape)
    }

    func size(_ operand: Operand, _ dimension: Int, _ size: Int, _ form: String) throws(OperatorError) {
        guard operand.tensor.shape[dimension] != size else { return }
        throw .shape(operation, operand.name, expected: form, actual: operand.tensor.shape)
    }

    /// Kernels count rows and columns in 32 bits.
    func fits(_ counts: (name: String, value: Int?)...) throws(OperatorError) {
        for count in counts where (count.value ?? Int.max) > Int(Int32.max) {
            throw .argument(
                operation, count.name, expected: "at most \(Int32.max)", actual: count.value.map(String.init) ?? "beyond 64 bits")
        }
    }

    // MARK: Scalars

    func positive(_ name: String, _ value: Float) throws(OperatorError) {
        guard value > 0, value.isFinite else {
            throw .argument(operation, name, expected: "a positive finite number", actual: "\(value)")
        }
    }
}
