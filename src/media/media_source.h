// Where the media of requests may come from: bytes, data: URLs, URLs of allowed hosts, files below
// an allowed directory, and paths that the caller vouches for.
//
// Thread: free functions, any thread; they wait for files and for the network. Errors are sentences
// without the item's name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tutti/request.h"
#include "tutti/status.h"

#include "media/url_fetch.h"

namespace tutti {

struct MediaSources {
  UrlPolicy urls;         // http:// and https://
  std::string directory;  // file:// URLs lie below it; empty: none is allowed
};

// The bytes of an item that has neither bytes nor a clip: of its data:, http(s):// or file:// URL,
// or of its path where that is trusted. Errors: a source that is not allowed, and what reading it
// may meet.
Result<std::vector<std::byte>> read_media_source(const MediaItem& item, int64_t max_bytes,
                                                 const MediaSources& sources);

// Errors name the option: a host that is none (a scheme, a path or a port with it), a directory
// that does not exist.
Status check_media_sources(const std::vector<std::string>& allowed_domains,
                           const std::string& allowed_path);

// Whether `path` lies below `directory`, not at it; both as std::filesystem::canonical() gives
// them.
bool is_below(const std::filesystem::path& path, const std::filesystem::path& directory);

}  // namespace tutti
