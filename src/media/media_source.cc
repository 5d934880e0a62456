#include "media/media_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>

#include "media/data_url.h"
#include "media/media_file.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The path of "file:///PATH" or "file://localhost/PATH", its %XX decoded (RFC 8089); none when it
// is neither, or when it would end early as a C string.
std::optional<std::string> path_of_file_url(std::string_view url) {
  std::string_view rest = url.substr(std::string_view("file://").size());
  if (rest.starts_with("localhost/")) rest.remove_prefix(std::string_view("localhost").size());
  if (!rest.starts_with('/')) return std::nullopt;
  std::string path;
  for (size_t i = 0; i < rest.size(); ++i) {
    char c = rest[i];
    if (c == '?' || c == '#') break;
    if (c == '%') {
      const int high = i + 2 < rest.size() ? hex_digit(rest[i + 1]) : -1;
      const int low = high < 0 ? -1 : hex_digit(rest[i + 2]);
      if (low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    path += c;
  }
  return path;
}

// Paths of requests may be whole files that lost their "data:".
std::string shortened(const std::string& text) {
  constexpr size_t kMost = 120;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

// One sentence whether or not the file exists: requests must not find out what lies elsewhere.
Result<std::vector<std::byte>> read_file_url(const std::string& url, int64_t max_bytes,
                                             const std::string& allowed) {
  if (allowed.empty()) {
    return invalid_argument("it is a file:// URL; those are off unless the operator allows a path");
  }
  const std::optional<std::string> path = path_of_file_url(url);
  if (!path) return invalid_argument("the URL is no 'file:///PATH'");
  std::error_code error;
  const fs::path directory = fs::canonical(allowed, error);
  const fs::path resolved = error ? fs::path() : fs::weakly_canonical(*path, error);
  const auto inside = [&](const std::string& opened) { return is_below(opened, directory); };
  if (error || !inside(resolved.string())) {
    return invalid_argument(
        fmt::format("'{}' is not below the path that the operator allows", shortened(*path)));
  }
  return read_media_file(resolved.string(), max_bytes, inside);
}

bool is_host(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

}  // namespace

bool is_below(const fs::path& path, const fs::path& directory) {
  const auto [end, at] =
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return end == directory.end() && at != path.end();
}

Result<std::vector<std::byte>> read_media_source(const MediaItem& item, int64_t max_bytes,
                                                 const MediaSources& sources) {
  const std::string& from = item.path_or_url;
  if (from.empty()) return invalid_argument("it has neither a path, a URL nor bytes");
  const std::string scheme = url_scheme(from);
  if (scheme == "data") return decode_data_url(from, max_bytes);
  if (scheme == "http" || scheme == "https") return fetch_url(from, max_bytes, sources.urls);
  if (scheme == "file") return read_file_url(from, max_bytes, sources.directory);
  if (!scheme.empty()) {
    return invalid_argument(
        fmt::format("the URL has the scheme '{}'; allowed are data, http, https and file", scheme));
  }
  if (!item.trusted_path) {
    return invalid_argument(
        fmt::format("'{}' is a path, not a URL; allowed are data:, http://, https:// and file:// "
                    "URLs, and paths that the program itself vouches for",
                    shortened(from)));
  }
  return read_media_file(from, max_bytes);
}

Status check_media_sources(const std::vector<std::string>& allowed_domains,
                           const std::string& allowed_path) {
  for (const std::string& domain : allowed_domains) {
    if (is_host(domain)) continue;
    return invalid_argument(fmt::format("`allowed_media_domains` has '{}'; each must be the name "
                                        "of a host alone, such as example.org.",
                                        domain))
        .with_param("allowed_media_domains");
  }
  std::error_code ignored;
  if (!allowed_path.empty() && !fs::is_directory(allowed_path, ignored)) {
    return invalid_argument(
               fmt::format("`allowed_media_path` is '{}'; it must be a directory that exists.",
                           allowed_path))
        .with_param("allowed_media_path");
  }
  return {};
}

}  // namespace tutti
