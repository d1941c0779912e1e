import Foundation

/// Feeds the readers of files with inputs that are nearly right, and sees to it that they answer with errors: no crash, no hang, and no more
/// memory than their stated multiple of the input. Build it with the address sanitiser:
///
///     swift build -c release --sanitize=address --product apus-fuzz
///     .build/release/apus-fuzz all --iterations 1000000
@main
enum FuzzingMain {
    static func main() throws {
        let options: FuzzOptions
        do throws(FuzzOptions.Fault) {
            options = try FuzzOptions(Array(CommandLine.arguments.dropFirst()))
        } catch {
            print("apus-fuzz: \(error.message)\n\(FuzzOptions.usage)")
            exit(2)
        }
        do {
            if let path = options.input {
                let input = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
                for target in options.targets {
                    var runner = FuzzRunner(target, options)
                    print("\(target.name): \(try runner.run(input))")
                }
            } else if options.progressFile != nil {
                for target in options.targets {
                    var runner = FuzzRunner(target, options)
                    try runner.run()
                }
            } else {
                let isGood = try FuzzSupervisor(options: options).run()
                // Without the leak check at exit, which would blame what Foundation's Process keeps.
                fflush(nil)
                _exit(isGood ? 0 : 1)
            }
        } catch let failure as FuzzRunner.Failure {
            print("apus-fuzz: \(failure.message)")
            exit(1)
        }
    }
}
