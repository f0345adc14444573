// Parsing of the command line, the same for all subcommands. An error is one line on stderr: the
// flag, what was expected, what was given.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace blockstep {

// The exit code to end with, after --help or a printed error; nullopt: continue.
std::optional<int> ParseFlags(CLI::App& app, int argc, char** argv);

// Adds --set: assignments to fields, in command-line order.
void AddSets(CLI::App& app, std::vector<std::string>& sets);

// Validators whose messages say "expected X, got Y", as CLI11's own do not.
CLI::Validator AboveZero();
CLI::Validator ZeroOrMore();
CLI::Validator NotEmpty();  // for the path of a file or folder
CLI::Validator OneOf(std::vector<std::string> choices);

}  // namespace blockstep
