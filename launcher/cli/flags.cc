#include "launcher/cli/flags.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
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

bool IsFlag(std::string_view text) { return text.size() > 1 && text[0] == '-'; }

// CLI11 takes the flag after `--run` for its value, and complains about the rest of the line.
std::optional<std::string> FlagWithoutValue(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string flag = argv[i], next = argv[i + 1];
    const CLI::Option* option = app.get_option_no_throw(flag);
    if (option == nullptr || option->get_items_expected_min() == 0) continue;
    if (!IsFlag(flag) || !IsFlag(next) || app.get_option_no_throw(next) == nullptr) continue;
    return Cat(flag, ": expected a value, got the flag ", next);
  }
  return std::nullopt;
}

// What CLI11 puts into the texts of its errors.
constexpr std::string_view kNoValue = " missing", kRepeated = " received ",
                           kUnconverted = "Could not convert: ", kRequired = " is required";

std::vector<std::string> FlagsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// What `name`, a flag or a positional argument, takes.
std::string ValueOf(const CLI::App& app, const std::string& name, const std::string& given) {
  const CLI::Option* option = app.get_option_no_throw(name);
  const std::string type = option == nullptr ? "" : option->get_type_name();
  if (option != nullptr && option->get_items_expected_max() == 0) return "no value";
  if (type.find("INT") == std::string::npos) return "a number";
  const bool digits = std::all_of(given.begin(), given.end(), [](char c) { return isdigit(c); });
  return digits ? "a smaller integer" : "an integer";
}

// CLI11's error in our words. `text` is as CLI11 has it where none of the known forms fits.
std::string TextOf(const CLI::App& app, const CLI::ParseError& error) {
  const std::string text = error.what();
  const auto until = [&](size_t end) { return text.substr(0, end); };
  if (error.get_name() == "ArgumentMismatch") {
    const std::string flag = until(text.find(':'));
    if (text.ends_with(kNoValue)) return flag + ": expected a value, got none";
    const size_t count = text.rfind(kRepeated);
    if (count != std::string::npos) {
      return Cat(flag, ": expected one value, got ", text.substr(count + kRepeated.size()));
    }
  }
  if (error.get_name() == "ConversionError" && text.starts_with(kUnconverted)) {
    const size_t equals = text.find(" = ");
    if (equals != std::string::npos) {
      const std::string flag = text.substr(kUnconverted.size(), equals - kUnconverted.size());
      const std::string given = text.substr(equals + 3);
      return Cat(flag, ": expected ", ValueOf(app, flag, given), ", got '", given, "'");
    }
  }
  if (error.get_name() == "RequiredError" && text.ends_with(kRequired)) {
    return Cat("expected ", until(text.size() - kRequired.size()), ", got none");
  }
  return text;
}

CLI::Validator NumberThat(const std::string& wanted, bool (*fits)(double)) {
  return CLI::Validator(
      [wanted, fits](std::string& text) {
        double value = 0;
        const bool number = CLI::detail::lexical_cast(text, value);
        return number && fits(value) ? std::string()
                                     : Cat("expected ", wanted, ", got '", text, "'");
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

CLI::Validator Between(int64_t least, int64_t most) {
  return CLI::Validator(
      [least, most](std::string& text) {
        int64_t value = 0;
        const bool fits = CLI::detail::lexical_cast(text, value) && least <= value && value <= most;
        return fits ? std::string()
                    : Cat("expected an integer from ", least, " to ", most, ", got '", text, "'");
      },
      "");
}

CLI::Validator NotEmpty() {
  return CLI::Validator(
      [](std::string& text) {
        return text.empty() ? std::string("expected a path, got an empty string") : std::string();
      },
      "");
}

CLI::Validator OneOf(std::vector<std::string> choices) {
  return CLI::Validator(
      [choices = std::move(choices)](std::string& text) {
        if (std::find(choices.begin(), choices.end(), text) != choices.end()) return std::string();
        std::string wanted;
        for (const std::string& choice : choices) wanted += (wanted.empty() ? "" : " or ") + choice;
        return Cat("expected ", wanted, ", got '", text, "'");
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
  if (const auto error = FlagWithoutValue(app, argc, argv)) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error->c_str());
    return kExitUsage;
  }
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      WrapHelp(app, HelpWidth());
      app.exit(error);
      return kExitOk;
    }
    const char* const command = app.get_name().c_str();
    // Reported first: a required flag may be missing because it was mistyped.
    const std::vector<std::string> extra = app.remaining();
    for (const std::string& given : extra) {
      if (!IsFlag(given)) continue;
      const std::string name = given.substr(0, given.find('='));
      std::fprintf(stderr, "%s: unknown flag %s; expected one of %s\n", command, name.c_str(),
                   KnownNames(name, FlagsOf(app)).c_str());
      return kExitUsage;
    }
    if (!extra.empty()) {
      std::fprintf(stderr, "%s: expected no further argument, got '%s'\n", command,
                   extra[0].c_str());
      return kExitUsage;
    }
    std::fprintf(stderr, "%s: %s\n", command, TextOf(app, error).c_str());
    return kExitUsage;
  }
}

}  // namespace blockstep
