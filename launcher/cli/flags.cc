#include "launcher/cli/flags.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "core/base/nearest.h"
#include "launcher/cli/exit_codes.h"

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

namespace {

std::vector<std::string> FlagsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

CLI::Validator NumberThat(const std::string& wanted, bool (*fits)(double)) {
  return CLI::Validator(
      [wanted, fits](std::string& text) {
        double value = 0;
        const bool number = CLI::detail::lexical_cast(text, value);
        return number && fits(value) ? std::string() : "expected " + wanted + ", got " + text;
      },
      "");
}

}  // namespace

CLI::Validator AboveZero() {
  return NumberThat("a number > 0", [](double value) { return value > 0; });
}

CLI::Validator ZeroOrMore() {
  return NumberThat("a number >= 0", [](double value) { return value >= 0; });
}

CLI::Validator NotEmpty() {
  return CLI::Validator(
      [](std::string& text) {
        return text.empty() ? std::string("expected a name, got an empty text") : std::string();
      },
      "");
}

void AddSets(CLI::App& app, std::vector<std::string>& sets) {
  app.add_option(
         "--set", sets,
         "set a field, as section.name=value; may be repeated, the last one counts. A list of "
         "files is a,b or the field repeated: it replaces the list of --config")
      ->take_all()
      ->allow_extra_args(false);
}

std::optional<int> ParseFlags(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      WrapHelp(app, HelpWidth());
      app.exit(error);
      return kExitOk;
    }
    // A mistyped flag may also be why a required one is missing: it is reported first.
    for (const std::string& given : app.remaining()) {
      if (given.rfind("--", 0) != 0) continue;
      const std::string name = given.substr(0, given.find('='));
      std::fprintf(stderr, "%s: unknown flag %s; expected one of %s\n", app.get_name().c_str(),
                   name.c_str(), KnownNames(name, FlagsOf(app)).c_str());
      return kExitUsage;
    }
    std::fprintf(stderr, "%s: %s; --help lists the flags\n", app.get_name().c_str(), error.what());
    return kExitUsage;
  }
}

}  // namespace blockstep
