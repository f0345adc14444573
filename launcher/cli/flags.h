// Parsing of the command line, the same for all subcommands, and --help wrapped by words. An error
// is one line on stderr: the flag, what was expected, what was given.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace blockstep {

// The exit code to end with, after --help or a printed error; nullopt: continue.
std::optional<int> ParseFlags(CLI::App& app, int argc, char** argv);

// Adds --set: assignments to fields, in command-line order.
void AddSets(CLI::App& app, std::vector<std::string>& sets);

// Validators whose messages say "expected X, got Y", as CLI11's own do not.
CLI::Validator AboveZero();
CLI::Validator ZeroOrMore();
CLI::Validator Between(int64_t least, int64_t most);
CLI::Validator NotEmpty();  // for the path of a file or folder
CLI::Validator OneOf(std::vector<std::string> choices);

// `text` with line feeds in place of spaces, so that no line has more than `width` columns; a word
// that is longer stands alone on its line. Line feeds of the text stay.
std::string WrapWords(std::string_view text, size_t width);

// Wraps the descriptions of `app` and of all its options for lines of `width` columns. CLI11 2.1
// does not, but indents what follows a line feed.
void WrapHelp(CLI::App& app, size_t width);

// Columns of the terminal on stdout, 60 to 120; 80 where it is no terminal.
size_t HelpWidth();

}  // namespace blockstep
