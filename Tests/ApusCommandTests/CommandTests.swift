import Foundation
import JSON
import Tensors
import Testing

/// The program as a user runs it.
@Suite(.enabled(if: CommandLineRun.program != nil, "the program apus is not built"))
struct CommandTests {
    private let configuration = """
        {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "dtype": "bfloat16", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
         "initializer_range": 0.3, "tie_word_embeddings": true, "eos_token_id": 299}
        """

    private func withModel(_ body: (_ model: String, _ folder: String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-command-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: folder + "/config.json"))
        let run = try CommandLineRun(["init", "--config", folder + "/config.json", "--seed", "7", "--output", folder + "/model"])
        #expect(run.status == 0, "\(run.errors)")
        try body(folder + "/model", folder)
    }

    @Test(arguments: ["embed", "generate", "chat", "tokenize", "render", "logits", "init", "verify", "bench", "info", "models"])
    func everyCommandHasHelp(name: String) throws {
        let run = try CommandLineRun([name, "--help"])
        #expect(run.status == 0)
        #expect(run.output.contains("USAGE: apus \(name)"))
    }

    @Test(arguments: [
        ["init", "--preset", "nope", "--seed", "1", "--output", "x"], ["embed", "no-such-folder", "--input", "-"],
        ["embed", "--input", "no-such-file"],
        ["generate"], ["generate", "--ids", "1,x"], ["generate", "--prompt", "a", "--temperature", "-1"],
        ["logits", "--ids", "1", "--output", "/no/such/folder/x.npy"],
        ["verify", "--operators", "--device", "cpu"], ["verify", "--operators", "--cases", "0"], ["verify", "folder", "--operators"],
        ["verify", "--operators", "--path", "fastest"], ["embed", "--device", "gpu", "--input", "-"],
        ["generate", "--prompt", "a", "--device", "cuda"], ["nonsense"], ["generate", "--prompt", "a", "--kv-cache", "int8"],
        ["chat", "--kv-cache", "fp16"], ["verify", "--kv-cache", "8"], ["bench", "decode", "--kv-cache", "e4m3"],
    ])
    func faultsAreOneLineOnStandardError(arguments: [String]) throws {
        let run = try CommandLineRun(arguments)
        #expect(run.status != 0)
        #expect(run.output.isEmpty)
        #expect(run.errors.hasPrefix("apus: "))
        #expect(run.errors.split(separator: "\n").count == 1, "\(run.errors)")
    }

    private static let model = ["--device", "--kernel-path", "--threads", "--cpu-precision", "--precision"]
    private static let decoding = ["--decode", "--decode-weights", "--kv-cache"]

    /// What each command's help lists of the options of models; what it does not list it refuses.
    @Test(arguments: [
        (["embed", "--input", "-"], model), (["generate", "--prompt", "a"], model + decoding + ["--speculate"]),
        (["chat"], model + decoding + ["--speculate"]), (["tokenize", "--input", "-"], []), (["render", "--messages", "-"], []),
        (["logits", "--ids", "1", "--output", "x"], model + decoding),
        (["init", "--preset", "qwen3-0.6b", "--seed", "1", "--output", "/no/such/x"], []),
        (["verify"], model + decoding + ["--speculate"]), (["bench", "embed"], ["--device", "--kernel-path", "--precision"]),
        (["bench", "decode"], model + decoding + ["--speculate"]), (["bench", "cpu"], ["--threads"]), (["bench", "operators"], ["--device"]),
        (["tune"], ["--device"]), (["info"], model + decoding), (["models"], []),
    ])
    func aCommandTakesTheOptionsThatItHasAMeaningFor(command: [String], options: [String]) throws {
        let name = Array(command.prefix(command[0] == "bench" ? 2 : 1))
        let help = try CommandLineRun(name + ["--help"]).lines.map { $0.drop { $0 == " " } }.filter { $0.hasPrefix("-") }
        let listed = Set(help.flatMap { $0.prefix { $0 != "<" }.split { $0 == " " || $0 == "," }.map(String.init) })
        for option in Self.model + Self.decoding + ["--speculate"] {
            #expect(listed.contains(option) == options.contains(option), "\(name) \(option)")
            guard !options.contains(option) else { continue }
            let run = try CommandLineRun(command + [option, "1"])
            #expect(run.status == 64 && run.output.isEmpty, "\(name) \(option): \(run.status)")
            #expect(run.errors.hasPrefix("apus: Unknown option '\(option)'"), "\(run.errors)")
            #expect(run.errors.split(separator: "\n").count == 1, "\(run.errors)")
        }
    }

    /// Options that have no meaning beside others.
    @Test(arguments: [
        ["verify", "--operators", "--decode", "layers"], ["verify", "--operators", "--threads", "2"], ["verify", "--operators", "--kv-cache", "fp8"],
        ["verify", "--cases", "5"], ["verify", "--overlap"], ["info", "--kernels", "--decode-weights", "fp8"],
        ["info", "--kernels", "--device", "cpu"], ["bench", "decode", "folder", "--preset", "harrier-270m"],
        ["bench", "embed", "folder", "--workspace", "x"],
        ["generate", "--prompt", "a", "--decode", "layers", "--decode-weights", "fp8"], ["chat", "--device", "cpu", "--decode", "resident"],
    ])
    func anOptionWithoutMeaningIsAUsageError(arguments: [String]) throws {
        let run = try CommandLineRun(arguments)
        #expect(run.status == 64 && run.output.isEmpty, "\(run.status)")
        #expect(run.errors.hasPrefix("apus: ") && run.errors.split(separator: "\n").count == 1, "\(run.errors)")
        #expect(run.errors.contains("leave"), "\(run.errors)")
    }

    @Test func textsBecomeVectors() throws {
        try withModel { model, folder in
            let input = "\"one\"\n{\"text\": \"two\"}\n\n\"three\"\n"
            let lines = try CommandLineRun(["embed", model, "--input", "-"], input: input)
            #expect(lines.status == 0, "\(lines.errors)")
            #expect(lines.errors.isEmpty)
            let vectors = try lines.lines.map { try JSONValue(parsing: String($0)).arrayValue?.compactMap(\.doubleValue) ?? [] }
            #expect(vectors.count == 3)
            #expect(vectors.allSatisfy { $0.count == 32 })

            try Data("one\ntwo\nthree".utf8).write(to: URL(fileURLWithPath: folder + "/texts.txt"))
            let npy = folder + "/vectors.npy"
            let run = try CommandLineRun(["embed", model, "--input", folder + "/texts.txt", "--output", npy])
            #expect(run.status == 0, "\(run.errors)")
            let matrix = try NPY.read(contentsOf: npy)
            #expect(matrix.shape == [3, 32])
            #expect(zip(try matrix.float32(), vectors.flatMap { $0 }).allSatisfy { abs(Double($0) - $1) < 1e-6 })
        }
    }

    /// What is ahead of the line is there: the vectors of its own chunk on standard output, or in a file beside the one that was asked for.
    @Test func aBrokenLineIsNamed() throws {
        try withModel { model, folder in
            let whole = try CommandLineRun(["embed", model, "--input", "-"], input: "\"one\"\n\"two\"\n")
            #expect(whole.lines.count == 2)
            for (arguments, line, fault) in [
                ([], "plain", "line 3"), ([], "\"\(String(repeating: "x", count: 300))\"", "text 2"), ([], "{\"test\": 1}", "line 3"),
            ] as [([String], String, String)] {
                let run = try CommandLineRun(
                    ["embed", model, "--no-truncate", "--input", "-"] + arguments, input: "\"one\"\n\"two\"\n\(line)\n\"four\"\n")
                #expect(run.status != 0)
                #expect(run.errors.contains(fault), "\(run.errors)")
                #expect(run.output == whole.output)
            }
            for name in ["vectors.jsonl", "vectors.npy"] {
                let path = folder + "/" + name
                let run = try CommandLineRun(["embed", model, "--input", "-", "--output", path], input: "\"one\"\n\"two\"\nplain\n")
                #expect(run.status != 0 && run.errors.contains("line 3"), "\(run.errors)")
                #expect(!FileManager.default.fileExists(atPath: path))
                let kept = try #require(run.errors.split(separator: "'").map(String.init).first { $0.hasPrefix("/") })
                if name.hasSuffix("npy") {
                    #expect(try NPY.read(contentsOf: kept).shape == [2, 32])
                } else {
                    #expect(try String(contentsOfFile: kept, encoding: .utf8) == whole.output)
                }
                let none = try CommandLineRun(["embed", model, "--input", "-", "--output", path], input: "plain\n")
                #expect(none.errors.split(separator: "\n").count == 1, "\(none.errors)")
            }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains("vectors") }
            #expect(left.count == 2, "\(left)")
        }
    }

    /// A writer that waits for each answer before its next line.
    @Test func aSlowWriterGetsItsVectors() throws {
        try withModel { model, _ in
            let dialogue = try CommandLineDialogue(["embed", model, "--input", "-"])
            for text in ["one", "two", "three"] {
                try dialogue.write("\"\(text)\"\n")
                #expect(try JSONValue(parsing: try #require(dialogue.readLine())).arrayValue?.count == 32)
            }
            #expect(try dialogue.finish() == 0)
        }
    }

    /// More lines than are parsed together, blank ones and a faulty one among them.
    @Test func manyTextsKeepTheirOrderAndComeAheadOfAFault() throws {
        try withModel { model, folder in
            let input = folder + "/texts.jsonl"
            var lines = (0..<9_000).map { $0 % 7 == 3 ? "{\"text\": \"\($0)\"}" : "\"\($0)\"" }
            lines.insert(contentsOf: ["", " \t", ""], at: 4_096)
            try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: input))
            let whole = try CommandLineRun(["tokenize", model, "--input", input])
            #expect(whole.status == 0)
            #expect(whole.lines.count == 9_000)
            for index in [0, 15, 16, 4_095, 4_096, 8_999] {
                let one = try CommandLineRun(["tokenize", model, "--input", "-"], input: "\"\(index)\"")
                #expect(one.lines.first == whole.lines[index])
            }
            // Behind the three blank lines: line 5,004 holds text 5,000.
            lines[5_003] = "{"
            try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: input))
            let faulty = try CommandLineRun(["tokenize", model, "--input", input])
            #expect(faulty.status != 0)
            #expect(faulty.lines.count == 5_000)
            #expect(faulty.lines.last == whole.lines[4_999])
            #expect(faulty.errors.hasPrefix("apus: line 5004 of"), "\(faulty.errors)")
        }
    }

    @Test func tokenizePrintsIDs() throws {
        try withModel { model, _ in
            let run = try CommandLineRun(["tokenize", model, "--input", "-"], input: "\"ab\"\n\"<|im_end|>\"\n\"\"\n")
            #expect(run.lines.map(String.init) == ["[97, 98]", "[299]", "[]"])
        }
    }

    @Test func generateReportsAsJSON() throws {
        try withModel { model, folder in
            let run = try CommandLineRun(["generate", model, "--ids", "1,2,3", "--max-tokens", "5", "--temperature", "0", "--ignore-eos", "--json"])
            #expect(run.status == 0, "\(run.errors)")
            let report = try JSONValue(parsing: run.output.trimmingCharacters(in: .newlines))
            #expect(report["prompt_tokens"]?.integerValue == 3)
            #expect(report["finish_reason"]?.stringValue == "length")
            let tokens = try #require(report["tokens"]?.arrayValue).compactMap(\.integerValue)
            #expect(tokens.count == 5)
            #expect(report["timings"]?["decode_tokens_per_second"]?.doubleValue ?? 0 > 0)

            let npy = folder + "/logits.npy"
            let ids = ([1, 2, 3] + tokens.dropLast()).map(String.init).joined(separator: ",")
            #expect(try CommandLineRun(["logits", model, "--ids", ids, "--output", npy]).status == 0)
            let logits = try NPY.read(contentsOf: npy)
            #expect(logits.shape == [7, 300])
            let values = try logits.float32()
            for (index, token) in tokens.enumerated() {
                let row = Array(values[(index + 2) * 300..<(index + 3) * 300])
                // Ids 256 to 296 are none of the tokenizer's, so they are never chosen.
                let allowed = row.indices.filter { $0 < 256 || $0 > 296 }
                #expect(allowed.max { row[$0] < row[$1] } == token)
            }
        }
    }

    @Test func aCacheOfCodesIsNamed() throws {
        try withModel { model, _ in
            let arguments = ["generate", model, "--device", "cpu", "--ids", "1,2,3", "--max-tokens", "5", "--temperature", "0", "--timing"]
            let plain = try CommandLineRun(arguments), coded = try CommandLineRun(arguments + ["--kv-cache", "fp8"])
            #expect(plain.status == 0 && coded.status == 0, "\(coded.errors)")
            #expect(coded.errors.contains("rounded to fp8 and kept in fp32"))
            #expect(!plain.errors.contains("fp8"))
            let info = try CommandLineRun(["info", model, "--device", "cpu", "--kv-cache", "fp8"])
            #expect(info.output.contains("a position in fp32, rounded to fp8"))
        }
    }

    @Test func chatAnswersEveryLine() throws {
        try withModel { model, _ in
            let run = try CommandLineRun(
                ["chat", model, "--max-tokens", "4", "--seed", "1"], input: "hello\n/no_think\n/clear\n/nonsense\nagain\n/quit\nnever\n")
            #expect(run.status == 0, "\(run.errors)")
            #expect(run.output.components(separatedBy: "[prompt ").count == 3)
            #expect(run.output.contains("tok/s") && run.output.contains("first token after"))
            #expect(run.output.contains("Thinking is off."))
            #expect(run.output.contains("There is no command /nonsense"))
        }
    }

    @Test func renderUsesTheFoldersTemplate() throws {
        try withModel { (model: String, folder: String) throws in
            let messages = folder + "/messages.json"
            try Data(#"[{"role": "user", "content": "hi"}]"#.utf8).write(to: URL(fileURLWithPath: messages))
            #expect(
                try CommandLineRun(["render", model, "--messages", messages]).output == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
            #expect(
                try CommandLineRun(["render", model, "--messages", messages, "--no-generation-prompt"]).output == "<|im_start|>user\nhi<|im_end|>\n")
        }
    }

    /// On the CPU: what is printed, the files, a peer's figures and a comparison with the first run.
    @Test func benchDecodeReports() throws {
        try withModel { model, folder in
            let (json, html) = (folder + "/first.json", folder + "/first.html")
            let peer = folder + "/peer.sh"
            let script = """
                for c in "$@"; do echo "{\\"name\\": \\"other\\", \\"context\\": $c, \\"samples_us\\": [1e9, 2e9, 3e9]}"; done

                """
            try Data(script.utf8).write(to: URL(fileURLWithPath: peer))
            let arguments = ["bench", "decode", model, "--device", "cpu", "--contexts", "1,9", "--steps", "2", "--runs", "3"]
            let run = try CommandLineRun(arguments + ["--json", json, "--html", html, "--peer", "sh \(peer)"])
            #expect(run.status == 0, "\(run.errors)")
            #expect(run.output.contains("tok/s") && run.output.contains("other at 9: 2000000000.0 us"))
            let report = try JSONValue(parsing: String(contentsOfFile: json, encoding: .utf8))
            let groups = try #require(report["groups"]?.arrayValue)
            #expect(groups.count == 2)
            for group in groups {
                let rows = try #require(group["rows"]?.arrayValue)
                #expect(rows.compactMap { $0["name"]?.stringValue } == ["apus", "other"])
                #expect(rows[0]["samples_us"]?.arrayValue?.count == 3)
                #expect(group["speedup"]?.doubleValue ?? 0 > 1)
            }
            #expect(try String(contentsOfFile: html, encoding: .utf8).contains("</html>"))
            let again = try CommandLineRun(arguments + ["--compare", json])
            #expect(again.status == 0 && again.output.contains("only in the baseline"), "\(again.errors)")
            #expect(try CommandLineRun(["bench", "decode", model, "--device", "cpu", "--contexts", "100000"]).status != 0)
            #expect(try CommandLineRun(["bench", "decode", model, "--contexts", "0"]).status != 0)
            #expect(try CommandLineRun(arguments + ["--peer", "echo {\"name\":1}"]).status != 0)
            // Both are about the resident kernel: one says that it is not there, the other has nothing to measure.
            let rival = try CommandLineRun(arguments + ["--rival"])
            #expect(rival.status == 0 && rival.output.contains("no graph of small kernels"), "\(rival.errors)")
            let ablation = try CommandLineRun(arguments + ["--ablation"])
            #expect(ablation.status != 0 && ablation.errors.contains("resident decode kernel"), "\(ablation.errors)")
        }
    }

    @Test func infoListsCompiledKernels() throws {
        let run = try CommandLineRun(["info", "--kernels"])
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.output.hasPrefix("kernel") && run.output.contains("compiled files in"))
    }

    @Test func verifyPassesAndReports() throws {
        try withModel { model, _ in
            let run = try CommandLineRun(["verify", model])
            #expect(run.status == 0, "\(run.output)")
            #expect(run.output.contains("0 failed"))
        }
    }

    @Test func initIsRepeatableAndRefusesFullFolders() throws {
        try withModel { (model: String, folder: String) throws in
            let config = folder + "/config.json"
            #expect(try CommandLineRun(["init", "--config", config, "--seed", "7", "--output", folder + "/again"]).status == 0)
            #expect(FileManager.default.contentsEqual(atPath: model + "/model.safetensors", andPath: folder + "/again/model.safetensors"))
            #expect(try CommandLineRun(["init", "--config", config, "--seed", "7", "--output", model]).status != 0)
        }
    }
}
