// Command lines of all subcommands: parsing, errors that name the nearest flag there is, and --help
// wrapped by words.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace blockstep {

// The exit code to end with (--help, or an error that was printed); nothing: go on.
std::optional<int> ParseFlags(CLI::App& app, int argc, char** argv);

// --set: assignments to fields, in the order they were given.
void AddSets(CLI::App& app, std::vector<std::string>& sets);

// Bounds of numbers, in words: CLI11's own print the largest double.
CLI::Validator AboveZero();
CLI::Validator ZeroOrMore();
CLI::Validator NotEmpty();  // of a text: the name of a file or folder

// `text` with line feeds in place of spaces, so that no line has more than `width` columns; a word
// that is longer stands alone on its line. Line feeds of the text stay.
std::string WrapWords(std::string_view text, size_t width);

// Wraps the descriptions of `app` and of all its options for lines of `width` columns. CLI11 2.1
// does not, but indents what follows a line feed.
void WrapHelp(CLI::App& app, size_t width);

// Columns of the terminal on stdout, 60 to 120; 80 where it is no terminal.
size_t HelpWidth();

}  // namespace blockstep
