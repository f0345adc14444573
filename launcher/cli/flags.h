// Command lines of all subcommands: parsing, and errors that name the nearest flag there is.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
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

}  // namespace blockstep
