#include "launcher/cli/help_text.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

namespace blockstep {

std::string WrapWords(std::string_view text, size_t width) {
  std::string lines;
  size_t column = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    if (column > 0 && column + 1 + end > width) {
      lines += '\n';
      column = 0;
    }
    if (column > 0) {
      lines += ' ';
      ++column;
    }
    lines += text.substr(0, end);
    column += end;
    if (end < text.size() && text[end] == '\n') {
      lines += '\n';
      column = 0;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

void WrapHelp(CLI::App& app, size_t width) {
  app.description(WrapWords(app.get_description(), width));
  const size_t names = app.get_formatter()->get_column_width();
  for (CLI::Option* option : app.get_options()) {
    option->description(WrapWords(option->get_description(), width - names));
  }
}

size_t HelpWidth() {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return std::clamp<size_t>(size.ws_col, 60, 120);
}

}  // namespace blockstep
