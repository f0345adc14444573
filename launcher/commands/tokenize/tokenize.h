// `blockstep tokenize`: text and JSON lines into token files.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/data/token_file.h"

namespace blockstep {

struct TokenizeOptions {
  std::string model;               // SentencePiece .model
  std::vector<std::string> files;  // .jsonl or text, in this order
  std::string out;
  std::string val_out;      // documents held out; empty: none
  double val_fraction = 0;  // of the documents, evenly spread
  TokenLayout layout = TokenLayout::kLlmc;
  std::string field = "text";
  std::string separator;  // of text files, see documents.h
  bool bos = false;       // before each document; EOS always follows it
  bool overwrite = false;
  std::string spm;  // the blockstep-spm program
};

// Prints one line of figures a file to `report`.
absl::Status Tokenize(const TokenizeOptions& options, std::ostream& report);

}  // namespace blockstep
