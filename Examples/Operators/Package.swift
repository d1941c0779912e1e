// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "OperatorsExample",
    dependencies: [
        // From elsewhere: .package(url: "...", from: "0.1.0", traits: []). No traits: the operators need no downloads.
        .package(name: "apus", path: "../..", traits: [])
    ],
    targets: [
        .executableTarget(name: "OperatorsExample", dependencies: [.product(name: "Operators", package: "apus")])
    ]
)
