// --help for people: descriptions wrapped by words.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>
#include <string_view>

namespace blockstep {

// `text` with line feeds in place of spaces, so that no line has more than `width` columns; a word
// that is longer stands alone on its line. Line feeds of the text stay.
std::string WrapWords(std::string_view text, size_t width);

// Wraps the descriptions of `app` and of all its options for lines of `width` columns. CLI11 2.1
// does not, but indents what follows a line feed.
void WrapHelp(CLI::App& app, size_t width);

// Columns of the terminal on stdout, 60 to 120; 80 where it is no terminal.
size_t HelpWidth();

}  // namespace blockstep
