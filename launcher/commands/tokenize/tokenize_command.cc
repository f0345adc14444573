#include <iostream>

#include "core/base/status.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/commands/command.h"
#include "launcher/commands/tokenize/spm_process.h"
#include "launcher/commands/tokenize/tokenize.h"

namespace blockstep {
namespace {

// The escapes a shell makes hard to type.
std::string Unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] != '\\' || (next != 'n' && next != 't' && next != '\\')) {
      out.push_back(text[i]);
      continue;
    }
    out.push_back(next == 'n' ? '\n' : next == 't' ? '\t' : '\\');
    ++i;
  }
  return out;
}

void AddFlags(CLI::App& app, TokenizeOptions& options) {
  app.add_option("--model", options.model, "SentencePiece .model file")->required();
  app.add_option("--out", options.out, "token file to write; created only when complete")
      ->required();
  app.add_option("files", options.files,
                 "input: *.jsonl has one JSON object per line, any other file is plain text")
      ->required();
  app.add_option_function<std::string>(
         "--format",
         [&options](const std::string& name) {
           options.layout = name == "raw" ? TokenLayout::kRawUint16 : TokenLayout::kLlmc;
         },
         "llmc: with llm.c's header, the default; raw: uint16 ids only (nanoGPT)")
      ->check(OneOf({"llmc", "raw"}));
  app.add_option("--field", options.field, "field of the JSON object that holds the text")
      ->capture_default_str();
  app.add_option("--txt-split", options.separator,
                 "text that ends a document in plain text files; \\n and \\t are understood;\n"
                 "without it each file is one document");
  app.add_option("--val-fraction", options.val_fraction,
                 "share of the documents to hold out, evenly spread (needs --val-out)");
  app.add_option("--val-out", options.val_out, "token file of the held-out documents");
  app.add_flag("--bos", options.bos, "write BOS before each document; EOS always follows it");
  app.add_flag("--overwrite", options.overwrite, "replace output files that exist");
  app.add_option("--spm", options.spm, "the blockstep-spm program; default: next to this one");
}

}  // namespace

int TokenizeCommand(int argc, char** argv) {
  TokenizeOptions options;
  CLI::App app(
      "Turn text into a token file for training. Each document ends with the model's EOS. Ids are "
      "uint16 up to a vocabulary of 65536, else uint32.",
      "blockstep tokenize");
  AddFlags(app, options);
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  options.separator = Unescape(options.separator);
  absl::Status status;
  if (options.spm.empty()) {
    absl::StatusOr<std::string> beside = SpmProgramBesideMe();
    status = beside.status();
    if (beside.ok()) options.spm = *beside;
  }
  if (status.ok()) status = Tokenize(options, std::cout);
  if (!status.ok()) std::cerr << "blockstep tokenize: " << Std(status.message()) << "\n";
  return ExitCodeOf(status);
}

}  // namespace blockstep
