// The text of HTTP requests and replies.
#pragma once

#include <string>
#include <string_view>

#include "launcher/coordinator/http_server.h"

namespace blockstep {

// `text` up to and with the empty line. A reply of another status than 200 refuses it.
HttpReply ParseHttp(std::string_view text, HttpRequest* request);

std::string HttpText(const HttpReply& reply);

}  // namespace blockstep
