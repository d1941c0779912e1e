// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let collections = Target.Dependency.product(name: "OrderedCollections", package: "swift-collections")

/// What only the downloader needs; left out by `--disable-default-traits`, for small and quickly built binaries.
func hubOnly(_ product: String, _ package: String) -> Target.Dependency {
    .product(name: product, package: package, condition: .when(traits: ["Hub"]))
}

func tests(_ room: String, _ dependencies: [Target.Dependency], goldens: Bool = false, exclude: [String] = []) -> Target {
    .testTarget(
        name: room + "Tests", dependencies: dependencies, exclude: exclude, resources: goldens ? [.copy("Goldens")] : [],
        swiftSettings: settings)
}

let package = Package(
    name: "apus",
    products: [
        .library(name: "Apus", targets: ["Apus"]),
        .library(name: "Operators", targets: ["Operators", "CUDA", "Tensors"]),
        .executable(name: "apus", targets: ["ApusCommand"]),
    ],
    traits: [
        .trait(name: "Hub", description: "Fetch models from the Hugging Face hub (AsyncHTTPClient)."),
        .default(enabledTraits: ["Hub"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", "3.12.3"..<"5.0.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    ],
    targets: [
        // Ground
        .target(name: "JSON", dependencies: [collections], swiftSettings: settings),
        .target(name: "Tensors", dependencies: ["JSON"], swiftSettings: settings),
        .target(name: "Tokenizers", dependencies: ["JSON"], swiftSettings: settings),
        .target(name: "ChatTemplates", dependencies: ["JSON", collections], swiftSettings: settings),
        .target(name: "CCPUKernels"),
        .target(name: "CBundledModels", exclude: ["Text", "Embedding", "Training"]),
        .target(name: "CCUDA"),
        .target(name: "CKernels"),
        .target(name: "CUDA", dependencies: ["CCUDA", "CKernels"], swiftSettings: settings),

        // First floor
        .target(name: "Operators", dependencies: ["CUDA", "Tensors", "JSON", collections], swiftSettings: settings),
        .target(
            name: "ModelHub",
            dependencies: [
                "JSON", collections, hubOnly("AsyncHTTPClient", "async-http-client"), hubOnly("NIOCore", "swift-nio"),
                hubOnly("NIOHTTP1", "swift-nio"), hubOnly("Crypto", "swift-crypto"),
            ], swiftSettings: settings),

        // Second floor
        .target(
            name: "Transformer", dependencies: ["Tensors", "ModelHub", "CCPUKernels", "CUDA", "Operators"], swiftSettings: settings),

        // Third floor
        .target(
            name: "Apus",
            dependencies: [
                "JSON", "Tensors", "Tokenizers", "ChatTemplates", "ModelHub", "Transformer", "CUDA", "Operators", "CBundledModels", collections,
            ],
            swiftSettings: settings),
        .target(
            name: "Benchmarking", dependencies: ["Apus", "Transformer", "CCPUKernels", "Operators", "CUDA", "Tensors", "JSON", collections],
            swiftSettings: settings),

        // Top
        .executableTarget(
            name: "ApusCommand",
            dependencies: [
                "Apus", "Benchmarking", "Transformer", "ModelHub", "Tokenizers", "Tensors", "JSON", "CUDA", "Operators",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: settings),

        // Tests, one target a room
        tests("JSON", ["JSON", collections], goldens: true),
        tests("Tensors", ["Tensors"], goldens: true),
        tests("Tokenizers", ["Tokenizers", "JSON"], goldens: true),
        tests("ChatTemplates", ["ChatTemplates", "JSON", collections], goldens: true),
        tests("CCPUKernels", ["CCPUKernels"]),
        tests("CUDA", ["CUDA", "CCUDA", "CKernels"], exclude: ["FakeDriver"]),
        tests("Operators", ["Operators", "CUDA", "Tensors", "JSON"], goldens: true),
        tests(
            "ModelHub",
            [
                "ModelHub", "JSON", collections, hubOnly("NIOCore", "swift-nio"), hubOnly("NIOHTTP1", "swift-nio"),
                hubOnly("NIOPosix", "swift-nio"), hubOnly("Crypto", "swift-crypto"),
            ], goldens: true),
        tests("Transformer", ["Transformer", "ModelHub", "Tensors", "JSON", "CUDA", "Operators"], goldens: true),
        tests("Apus", ["Apus", "Transformer", "Tokenizers", "CUDA", "JSON"], goldens: true),
        tests("BundledModels", ["Apus", "ModelHub", "Transformer", "Tokenizers", "Tensors", "JSON"], goldens: true),
        tests("Benchmarking", ["Benchmarking", "Operators", "CUDA", "Tensors", "JSON"]),
        tests("ApusCommand", ["ApusCommand", "Tensors", "JSON"]),

        // Feeds the readers of files nearly right inputs; see Tests/Fuzzing.
        .executableTarget(
            name: "apus-fuzz", dependencies: ["JSON", "Tensors", "Tokenizers", "ChatTemplates", "ModelHub", "Transformer", collections],
            path: "Tests/Fuzzing",
            swiftSettings: settings),
    ]
)
