#include "serve/multipart.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/http.h"

namespace tutti::serve {
namespace {

constexpr size_t kMostParts = 64;

// The value of `name` in `form-data; name="file"; filename="a.wav"`, or empty.
std::string parameter(std::string_view header, std::string_view name) {
  size_t at = 0;
  while ((at = header.find(';', at)) != std::string_view::npos) {
    ++at;
    while (at < header.size() && header[at] == ' ') ++at;
    const size_t equals = header.find('=', at);
    if (equals == std::string_view::npos) return {};
    if (ascii_lower(header.substr(at, equals - at)) != name) continue;
    std::string_view value = header.substr(equals + 1);
    if (!value.starts_with('"')) return std::string(value.substr(0, value.find_first_of("; ")));
    std::string out;
    for (size_t i = 1; i < value.size() && value[i] != '"'; ++i) {
      if (value[i] == '\\' && i + 1 < value.size()) ++i;
      out.push_back(value[i]);
    }
    return out;
  }
  return {};
}

void read_headers(std::string_view block, FormPart& part) {
  while (!block.empty()) {
    const std::string_view line = block.substr(0, block.find("\r\n"));
    block.remove_prefix(std::min(block.size(), line.size() + 2));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string name = ascii_lower(line.substr(0, colon));
    const std::string_view value = line.substr(colon + 1);
    if (name == "content-disposition") {
      part.name = parameter(value, "name");
      part.filename = parameter(value, "filename");
    } else if (name == "content-type") {
      part.content_type =
          media_type(value.substr(std::min(value.find_first_not_of(' '), value.size())));
    }
  }
}

}  // namespace

Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body) {
  if (media_type(content_type) != "multipart/form-data") {
    return invalid_argument(
        fmt::format("The body's Content-Type is '{}'; it must be multipart/form-data.",
                    printable(media_type(content_type))));
  }
  const std::string boundary = parameter(content_type, "boundary");
  if (boundary.empty()) return invalid_argument("The form's Content-Type has no boundary.");
  const std::string delimiter = "\r\n--" + boundary;
  // The first delimiter stands at the very beginning, without a line break.
  size_t at = 0;
  if (body.starts_with(std::string_view(delimiter).substr(2))) {
    at = delimiter.size() - 2;
  } else {
    at = body.find(delimiter);
    if (at == std::string_view::npos)
      return invalid_argument("The form's boundary is not in the body.");
    at += delimiter.size();
  }
  std::vector<FormPart> parts;
  while (!body.substr(at).starts_with("--")) {
    const size_t headers = body.find("\r\n", at);
    const size_t begin = body.find("\r\n\r\n", at);
    const size_t end = begin == std::string_view::npos ? begin : body.find(delimiter, begin + 2);
    if (end == std::string_view::npos) return invalid_argument("A part of the form has no end.");
    if (parts.size() == kMostParts) {
      return invalid_argument(fmt::format("The form has more than {} parts.", kMostParts));
    }
    FormPart part;
    if (begin > headers + 2) read_headers(body.substr(headers + 2, begin - headers - 2), part);
    part.data = body.substr(std::min(begin + 4, end), end - std::min(begin + 4, end));
    parts.push_back(std::move(part));
    at = end + delimiter.size();
  }
  return parts;
}

}  // namespace tutti::serve
