#include "launcher/commands/tokenize/tokenize.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <iomanip>
#include <utility>

#include "core/base/status.h"
#include "core/data/token_writer.h"
#include "launcher/commands/tokenize/documents.h"
#include "launcher/commands/tokenize/spm_process.h"

namespace blockstep {
namespace {

// One output and its figures.
struct Output {
  TokenWriter writer;
  int64_t documents = 0;
  int64_t text_bytes = 0;
};

absl::StatusOr<Output> OpenOutput(const TokenizeOptions& options, const std::string& path,
                                  int64_t vocab_size) {
  if (!options.overwrite && ::access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError(
        Cat("token file ", path, ": exists; choose a new name, or pass --overwrite"));
  }
  ASSIGN_OR_RETURN(
      TokenWriter writer,
      TokenWriter::Create({.path = path, .layout = options.layout, .vocab_size = vocab_size}));
  return Output{std::move(writer)};
}

// One file under two names, be it there or not.
bool SameFile(const std::string& a, const std::string& b) {
  std::error_code error;
  if (std::filesystem::equivalent(a, b, error)) return true;
  const std::filesystem::path one = std::filesystem::weakly_canonical(a, error);
  return !error && one == std::filesystem::weakly_canonical(b, error) && !error;
}

// An output that is another one, or a text that is still to be read, would be lost.
absl::Status CheckOutputs(const TokenizeOptions& options) {
  if (!options.val_out.empty() && SameFile(options.out, options.val_out)) {
    return InvalidArgument("--out and --val-out: expected two files, got ", options.out, " and ",
                           options.val_out, ", the same file");
  }
  for (const std::string& text : options.files) {
    for (const std::string& out : {options.out, options.val_out}) {
      if (!out.empty() && SameFile(out, text)) {
        return InvalidArgument("token file ", out, ": is also an input; choose another name");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Finish(Output& output, const SpmHello& model, std::ostream& report) {
  if (output.documents == 0) {
    return DataLoss("token file ", output.writer.path(),
                    ": no document for it; a text file is one document unless --txt-split says "
                    "where documents end");
  }
  RETURN_IF_ERROR(output.writer.Finish());
  const int64_t tokens = output.writer.tokens();
  report << output.writer.path() << ": " << output.documents << " documents, " << tokens
         << " tokens (uint" << 8 * output.writer.token_bytes() << ", vocabulary "
         << model.vocab_size << ", EOS " << model.eos << "), " << output.text_bytes
         << " bytes of text, " << std::fixed << std::setprecision(2)
         << static_cast<double>(output.text_bytes) / static_cast<double>(tokens)
         << " bytes per token\n";
  return absl::OkStatus();
}

}  // namespace

absl::Status Tokenize(const TokenizeOptions& options, std::ostream& report) {
  const bool split = !options.val_out.empty();
  const double fraction = options.val_fraction;
  if (split != (fraction > 0) || fraction < 0 || fraction >= 1) {
    return InvalidArgument(
        "--val-fraction and --val-out: expected both, with 0 < fraction < 1, or neither, got ",
        fraction, " and \"", options.val_out, "\"");
  }
  RETURN_IF_ERROR(CheckOutputs(options));
  ASSIGN_OR_RETURN(SpmProcess spm, SpmProcess::Start(options.spm, options.model));
  const SpmHello model = spm.hello();
  if (model.eos < 0) {
    return InvalidArgument("tokenizer model ", options.model,
                           ": expected an EOS id, which ends each document, got none");
  }
  if (options.bos && model.bos < 0) {
    return InvalidArgument("tokenizer model ", options.model,
                           ": expected a BOS id for --bos, got none");
  }
  std::vector<Output> outputs;
  ASSIGN_OR_RETURN(Output train, OpenOutput(options, options.out, model.vocab_size));
  outputs.push_back(std::move(train));
  if (split) {
    ASSIGN_OR_RETURN(Output val, OpenOutput(options, options.val_out, model.vocab_size));
    outputs.push_back(std::move(val));
  }

  int64_t seen = 0;
  const DocumentSink sink = [&](const std::string& where, const std::string& text) -> absl::Status {
    // Document i is held out where the running share of the fraction passes a whole number.
    const double before = std::floor(static_cast<double>(seen) * fraction);
    const bool held_out = std::floor(static_cast<double>(++seen) * fraction) > before;
    Output& output = outputs[held_out ? 1 : 0];
    absl::StatusOr<std::vector<int32_t>> ids = spm.Encode(text);
    if (!ids.ok()) return Annotate(ids.status(), where);
    if (options.bos) ids->insert(ids->begin(), model.bos);
    ids->push_back(model.eos);
    RETURN_IF_ERROR(output.writer.Append(*ids));
    ++output.documents;
    output.text_bytes += static_cast<int64_t>(text.size());
    return absl::OkStatus();
  };
  for (const std::string& path : options.files) {
    RETURN_IF_ERROR(ForEachDocument(
        {.path = path, .field = options.field, .separator = options.separator}, sink));
  }
  for (Output& output : outputs) RETURN_IF_ERROR(Finish(output, model, report));
  return absl::OkStatus();
}

}  // namespace blockstep
