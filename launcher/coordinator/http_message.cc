#include "launcher/coordinator/http_message.h"

#include <algorithm>
#include <cctype>

#include "core/base/str.h"

namespace blockstep {
namespace {

const char* Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

bool SameName(std::string_view a, std::string_view lower) {
  return std::equal(a.begin(), a.end(), lower.begin(), lower.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == y;
  });
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes the first line off.
std::string_view Line(std::string_view& text) {
  const size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  return line;
}

}  // namespace

HttpReply ParseHttp(std::string_view text, HttpRequest* request) {
  const HttpReply bad{.status = 400, .body = "expected GET /path HTTP/1.1\n"};
  const std::string_view first = Line(text);
  const size_t space = first.find(' '), last = first.rfind(' ');
  if (space == std::string_view::npos || last == space) return bad;
  const std::string_view method = first.substr(0, space), version = first.substr(last + 1);
  const std::string_view target = first.substr(space + 1, last - space - 1);
  if (version.substr(0, 7) != "HTTP/1." || target.empty() || target[0] != '/') return bad;
  if (method != "GET") return {.status = 405, .body = "expected GET\n"};
  request->path = std::string(target.substr(0, target.find('?')));
  for (std::string_view line = Line(text); !line.empty(); line = Line(text)) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return bad;
    if (SameName(line.substr(0, colon), "authorization")) {
      request->authorization = std::string(Trimmed(line.substr(colon + 1)));
    }
  }
  return {};
}

std::string HttpText(const HttpReply& reply) {
  std::string text =
      Cat("HTTP/1.1 ", reply.status, " ", Reason(reply.status), "\r\nContent-Type: ", reply.type,
          "\r\nContent-Length: ", reply.body.size(),
          "\r\nConnection: close\r\nCache-Control: no-store\r\n");
  if (reply.status == 405) text += "Allow: GET\r\n";
  if (!reply.challenge.empty()) text += Cat("WWW-Authenticate: ", reply.challenge, "\r\n");
  return text + "\r\n" + reply.body;
}

}  // namespace blockstep
