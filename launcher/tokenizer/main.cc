// blockstep-spm: SentencePiece as a program of its own, since libsentencepiece and libprotobuf
// cannot live in one process. `blockstep tokenize` runs it; see protocol.h.
#include <sentencepiece_processor.h>

#include <cstdio>
#include <string>
#include <vector>

#include "launcher/tokenizer/protocol.h"

namespace {

bool WriteAll(const void* data, size_t bytes) {
  return std::fwrite(data, 1, bytes, stdout) == bytes;
}

int Fail(const std::string& what) {
  std::fprintf(stderr, "blockstep-spm: %s\n", what.c_str());
  return 1;
}

int Serve(const sentencepiece::SentencePieceProcessor& model) {
  std::string text;
  std::vector<int> ids;
  static_assert(sizeof(int) == 4);
  while (true) {
    uint32_t bytes = 0;
    const size_t got = std::fread(&bytes, 1, sizeof(bytes), stdin);
    if (got == 0) return 0;
    if (got != sizeof(bytes)) return Fail("input ended inside a length");
    if (bytes > blockstep::kMaxTextBytes) {
      return Fail("got a text of " + std::to_string(bytes) + " bytes, expected at most " +
                  std::to_string(blockstep::kMaxTextBytes));
    }
    text.resize(bytes);
    if (std::fread(text.data(), 1, bytes, stdin) != bytes) return Fail("input ended inside a text");
    const auto status = model.Encode(text, &ids);
    if (!status.ok()) return Fail("cannot encode: " + status.ToString());
    const uint32_t count = static_cast<uint32_t>(ids.size());
    if (!WriteAll(&count, sizeof(count)) || !WriteAll(ids.data(), ids.size() * sizeof(int)) ||
        std::fflush(stdout) != 0) {
      return Fail("cannot write to stdout");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2)
    return Fail("expected one argument, the .model file; `blockstep tokenize` runs this");
  sentencepiece::SentencePieceProcessor model;
  const auto status = model.Load(argv[1]);
  if (!status.ok()) return Fail("cannot load " + std::string(argv[1]) + ": " + status.ToString());
  const blockstep::SpmHello hello = {blockstep::kSpmMagic, model.GetPieceSize(), model.bos_id(),
                                     model.eos_id()};
  if (!WriteAll(&hello, sizeof(hello)) || std::fflush(stdout) != 0) {
    return Fail("cannot write to stdout");
  }
  return Serve(model);
}
